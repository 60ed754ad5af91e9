"""A Discord on 127.0.0.1 that unmodified discord.py bots log in to. Test equipment, never distributed.

Examples
--------
.. code-block:: python

    async with LoopbackDiscord(guilds=2, members=5) as discord_, running_bot(discord_) as bot:
        await discord_.say(discord_.guilds[0].text_channels[0], discord_.guilds[0].members[0], "!ping")
        assert (await discord_.wait_sent()).content == "pong"
    assert discord_.unhandled == []

The parts: ``model`` is the state and ``payloads`` is that as Discord's JSON; ``rest`` and ``gateway`` are the
two halves of Discord's API and ``server`` joins them; ``connector`` and ``bots`` are the bot's side. Only
``loopback.bots`` imports discord.py.
"""

from .connector import LoopbackConnector
from .model import Channel, ChannelType, Guild, Member, Message, Role, User
from .server import TOKEN, LoopbackDiscord

__all__ = (
    "TOKEN",
    "Channel",
    "ChannelType",
    "Guild",
    "LoopbackConnector",
    "LoopbackDiscord",
    "Member",
    "Message",
    "Role",
    "User",
)
