"""All tables, and the table of a class."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any, Final

from discord_tools.ipc_server.values import (
    activities,
    applications,
    channels,
    components,
    emojis,
    guilds,
    interactions,
    messages,
    moderation,
    raw_events,
    scalars,
    users,
)
from discord_tools.ipc_server.values.table import Table

__all__ = ("CLASSES", "SUBJECTS", "TABLES", "table_of")

#: Number of classes about which something is kept. A program may make classes while it runs.
CLASSES: Final = 4096

#: The tables by subject, in the order of the documentation.
SUBJECTS: Final[dict[str, tuple[Table, ...]]] = {
    "Users and members": users.TABLES,
    "Activities and presences": activities.TABLES,
    "Guilds": guilds.TABLES,
    "Channels and threads": channels.TABLES,
    "Messages": messages.TABLES,
    "Components": components.TABLES,
    "Emojis, stickers and sounds": emojis.TABLES,
    "Moderation": moderation.TABLES,
    "Applications": applications.TABLES,
    "Interactions and commands": interactions.TABLES,
    "Raw events": raw_events.TABLES,
    "Colours, flags, assets, ids": scalars.TABLES,
}

#: The tables by class.
TABLES: Final[dict[type[Any], Table]] = {
    cls: table for table in chain.from_iterable(SUBJECTS.values()) for cls in table.classes
}


@lru_cache(CLASSES)
def table_of(cls: type[Any]) -> Table | None:
    """The table of a class or of the nearest class that it inherits from."""
    return next((TABLES[base] for base in cls.__mro__ if base in TABLES), None)
