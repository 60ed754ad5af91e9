"""The bot's extensions: each can be loaded, unloaded and reloaded, and its routes come and go with it."""
