"""A web dashboard for the bot. It needs ``ipc-client`` and nothing else: no discord.py, no token."""
