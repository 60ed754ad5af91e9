"""What values are written as: tables of discord.py's classes, and the encoder that is made of them."""
