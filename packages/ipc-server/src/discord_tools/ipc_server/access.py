"""Scopes: which callers may use what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

from discord_tools.ipc.errors import Forbidden
from discord_tools.ipc_server.caller import Caller

__all__ = (
    "NO_SCOPES",
    "EventScopes",
    "Scopes",
    "checked_name",
    "checked_scopes",
    "event_refusal",
    "route_refusal",
)

#: Scopes, as users give them.
Scopes: TypeAlias = "Collection[str] | None"

#: What opens nothing to keys with scopes.
NO_SCOPES: Final[frozenset[str]] = frozenset()

#: Maximum length of the name of a scope or of a key, in characters: it is in log lines and in errors.
NAME_CHARS: Final = 100

#: Number of scopes of an event's name above which no more are remembered, of those that single events have.
MAX_SCOPES: Final = 256

#: Maximum number of events that the error for a subscription names.
NAMED_EVENTS: Final = 8


def checked_name(name: Any, what: str) -> str:
    """Returns the name of a scope or of a key.

    Raises
    ------
    TypeError
        It is not a string.
    ValueError
        It is empty or too long, or cannot be told apart in a line of the log.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {name!r:.100}")
    if not name or len(name) > NAME_CHARS:
        raise ValueError(f"{what} must have 1 to {NAME_CHARS} characters, not {len(name)}: {name!r:.100}")
    if name != name.strip() or not name.isprintable():
        raise ValueError(
            f"{what} must not begin or end with white space nor hold control characters: {name!r:.100}"
        )
    return name


def checked_scopes(scopes: Any, where: str) -> frozenset[str] | None:
    """Returns scopes as a set, or ``None`` where none were given.

    Raises
    ------
    TypeError
        It is one string, or no collection of strings.
    ValueError
        The name of a scope cannot be used.
    """
    if scopes is None:
        return None
    if isinstance(scopes, str | bytes):
        raise TypeError(f"{where}: scopes must be a collection of strings, not one string: [{scopes!r:.100}]")
    if not isinstance(scopes, Iterable):
        raise TypeError(f"{where}: scopes must be a collection of strings, not {scopes!r:.100}")
    names = [checked_name(one, f"{where}: a scope") for one in cast("Iterable[Any]", scopes)]
    if "*" in names:
        raise ValueError(
            f"{where}: there is no scope '*'. A key without scopes opens everything; a route or an event names each "
            "scope that opens it"
        )
    return frozenset(names)


class EventScopes:
    """Scopes of events by their names. Names without scopes are missing."""

    def __init__(self) -> None:
        #: Scopes that events of a name have, unless they are published with others.
        self.declared: dict[str, frozenset[str]] = {}
        #: All scopes that a name was declared or published with. A key with one of them may subscribe to it.
        self.opened: dict[str, frozenset[str]] = {}

    def declare(self, names: Iterable[str], scopes: frozenset[str] | None) -> None:
        """Adds scopes to those of the events of these names."""
        for name in names if scopes else ():
            for table in (self.declared, self.opened):
                table[name] = table.get(name, NO_SCOPES) | (scopes or NO_SCOPES)

    def remember(self, name: str, scopes: frozenset[str]) -> None:
        """Takes note of the scopes that an event was published with."""
        known = self.opened.get(name, NO_SCOPES)
        if not scopes <= known and len(known) < MAX_SCOPES:
            self.opened[name] = known | scopes


def route_refusal(caller: Caller, scopes: frozenset[str]) -> Forbidden:
    """The error for a caller whose key does not open a route with these scopes."""
    return Forbidden(f"this route {_needs(caller, scopes)}", data={"scopes": sorted(scopes)})


def event_refusal(
    caller: Caller, names: Iterable[str], scopes: Mapping[str, frozenset[str]]
) -> Forbidden | None:
    """The error for a subscription to events of these names. ``None`` if the caller may have them all.

    ``scopes`` has the scopes of the events that name any.
    """
    if caller.scopes is None:
        return None
    refused = [name for name in names if not caller.opens(scopes.get(name, NO_SCOPES))]
    if not refused:
        return None
    first = scopes.get(refused[0], NO_SCOPES)
    more = [f"{name[:NAME_CHARS]!r}" for name in refused[1:NAMED_EVENTS]]
    text = f"the event {refused[0][:NAME_CHARS]!r} {_needs(caller, first)}"
    if more:
        text += f"; so it is with {', '.join(more)}"
    needed = NO_SCOPES.union(*(scopes.get(name, NO_SCOPES) for name in refused))
    return Forbidden(text, data={"scopes": sorted(needed)})


def _needs(caller: Caller, scopes: Collection[str]) -> str:
    if not scopes:
        return f"names no scope, so it is closed to keys with scopes, such as {caller.key!r}"
    names = " or ".join(map(repr, sorted(scopes)))
    return f"needs the scope {names}, which the key {caller.key!r} does not have"
