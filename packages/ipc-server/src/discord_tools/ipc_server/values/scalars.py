"""Tables of what is one value in JSON: colours, flags, assets, ids."""

from __future__ import annotations

from typing import Final

from discord_tools.ipc_server.forks import BaseFlags, discord
from discord_tools.ipc_server.values.kinds import COLOR, FLAGS, INTEGER, PERMISSIONS, URL, snowflake
from discord_tools.ipc_server.values.table import Table

__all__ = ("TABLES",)

TABLES: Final = (
    Table(discord.Asset, scalar=URL),
    Table(discord.Colour, scalar=COLOR),
    Table(discord.Permissions, scalar=PERMISSIONS),
    # All classes of flags, Intents and SystemChannelFlags for example.
    Table(BaseFlags, scalar=FLAGS),
    # Discord has these as a list of numbers.
    Table(discord.AutoModPresets, scalar=INTEGER._replace(code="{}.to_array()")),
    Table(discord.Object, snowflake("id")),
)
