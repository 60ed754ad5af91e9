"""The table of all events of discord.py, and the groups that they belong to.

Sources of names and arguments: discord.py's documentation of 2.7 and its calls of ``dispatch()``, which a test compares
with this table. Members of the ``raw_...`` events have the names that Discord's gateway gives them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from discord_tools.ipc_server.event_table import activities, clients, guilds, members, messages
from discord_tools.ipc_server.event_table.spec import KEYS, Declared, EventSpec, Keys, custom

__all__ = (
    "EVENTS",
    "GROUPS",
    "KEYS",
    "LONGEST_TYPO",
    "Declared",
    "EventSpec",
    "Keys",
    "custom",
    "events_of",
    "nearest",
)

#: Names longer than this have no nearest name: comparing them takes time that grows with the square of the length.
LONGEST_TYPO: Final = 64

_ROWS: Final = (*messages.ROWS, *members.ROWS, *guilds.ROWS, *activities.ROWS, *clients.ROWS)

#: All events by name.
EVENTS: Final[Mapping[str, EventSpec]] = {row.name: row for row in _ROWS}

#: Names of the events of each group. ``*`` has all that concern Discord; ``gateway`` is for debugging only.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    **{
        group: tuple(row.name for row in _ROWS if group in row.groups)
        for group in dict.fromkeys(group for row in _ROWS for group in row.groups)
    },
    "*": tuple(row.name for row in _ROWS if "gateway" not in row.groups),
}


def events_of(name: str) -> tuple[str, ...] | None:
    """The names that a name stands for: an event, with or without ``on_``, or a group. ``None`` for neither."""
    event = name.removeprefix("on_")
    return (event,) if event in EVENTS else GROUPS.get(name)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name among ``names`` that is most like another one, or ``None`` where none is."""
    if len(name) > LONGEST_TYPO:
        return None
    found = difflib.get_close_matches(name, names, 1)
    return found[0] if found else None
