"""Filters of subscriptions: what they may have in them, and how they compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias, cast

from discord_tools.ipc.errors import BadData
from discord_tools.ipc_server.event_table import KEYS

__all__ = ("Filter", "Path", "Value", "values_at")

#: Maximum number of conditions of a filter. Each is checked for each event that the others match.
MAX_CONDITIONS: Final = 32

#: Maximum number of values of all conditions of a filter together. A subscriber is indexed by those of one condition.
MAX_VALUES: Final = 1024

#: Maximum number of names in the path of a condition.
MAX_DEPTH: Final = 16

#: A value as it is compared: Discord's ids are strings in JSON and numbers in Python, so numbers are compared as text.
Value: TypeAlias = str | bool | None

Path: TypeAlias = tuple[str, ...]


class Event(Protocol):
    """What a filter is compared with. Implemented by :class:`~.topics.Published`."""

    def values(self, path: str, parts: Path) -> Iterable[Value] | None:
        """The values at a path, or ``None`` where they are not known."""
        ...


class Filter:
    """Conditions, all of which an event has to fulfil.

    Parameters
    ----------
    wanted: Mapping[:class:`str`, Any]
        The wanted value by path, or a list of values of which one is enough.

    Raises
    ------
    BadData
        There are too many conditions or values, a path is too deep, or a value is an object.
    """

    __slots__ = ("_conditions", "number", "parts", "path", "paths", "wanted")

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        if len(wanted) > MAX_CONDITIONS:
            raise BadData(f"a filter has at most {MAX_CONDITIONS} conditions, not {len(wanted)}")
        #: The conditions: a path, the same in parts, and the values of which one is wanted.
        self._conditions: list[tuple[str, Path, frozenset[Value]]] = [
            (path, _parts(path), _alternatives(path, value)) for path, value in wanted.items()
        ]
        #: The paths of the conditions.
        self.paths: tuple[str, ...] = tuple(wanted)
        #: Number of the values of all conditions.
        self.number: int = sum(len(values) for _, _, values in self._conditions)
        if self.number > MAX_VALUES:
            raise BadData(f"a filter has at most {MAX_VALUES} values, not {self.number}")
        path, parts, values = min(self._conditions, key=_cost)
        #: The path of the condition that subscribers are indexed by.
        self.path: str = path
        #: The parts of that path.
        self.parts: Path = parts
        #: The values of that condition.
        self.wanted: frozenset[Value] = values

    @property
    def data_paths(self) -> list[str]:
        """list[:class:`str`]: Those that need the data of an event."""
        return [path for path in self.paths if path not in KEYS]

    def matches(self, event: Event) -> bool:
        """Whether an event fulfils all conditions, as far as its values are known."""
        for path, parts, wanted in self._conditions:
            values = event.values(path, parts)
            if values is not None and wanted.isdisjoint(values):
                return False
        return True


def _cost(condition: tuple[str, Path, frozenset[Value]]) -> tuple[int, int]:
    """The order in which conditions are preferred for the index: ids beside the data cost nothing to read."""
    path, _, values = condition
    return -KEYS.index(path) if path in KEYS else 1, len(values)


def _parts(path: str) -> Path:
    parts = tuple(path.split("."))
    if not all(parts):
        raise BadData(f"the path of a filter has an empty name: {path[:100]!r}")
    if len(parts) > MAX_DEPTH:
        raise BadData(f"the path of a filter has at most {MAX_DEPTH} names, not {len(parts)}: {path[:100]!r}")
    return parts


def _alternatives(path: str, value: Any) -> frozenset[Value]:
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    if any(isinstance(one, dict | list) for one in values):
        raise BadData(
            f"the filter of {path[:100]!r} has to be a text, a number, a boolean, null, or a list of these"
        )
    return frozenset(_comparable(one) for one in values)


def _comparable(value: Any) -> Value:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # 1.0 and 1 are the same number in JSON
    return str(value)


def values_at(data: Any, parts: Path) -> list[Value]:
    """The values at a path in data that was JSON. An array has those of its elements."""
    found: list[Any] = [data]
    for name in parts:
        found = [
            each[name]
            for one in found
            for each in (cast("list[Any]", one) if isinstance(one, list) else (one,))
            if isinstance(each, dict) and name in each
        ]
        if not found:
            return []
    flat = [
        each
        for one in found
        for each in (cast("list[Any]", one) if isinstance(one, list) else (one,))
        if not isinstance(each, dict | list)
    ]
    return [_comparable(one) for one in flat]
