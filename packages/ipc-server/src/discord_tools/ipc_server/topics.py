"""Topics: the subscribers of one name of events, indexed by what they filter on, and its latest events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol, TypeAlias, cast

import msgspec
from msgspec import Raw

from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.snowflakes import snowflake
from discord_tools.ipc.wire.events import EventItem
from discord_tools.ipc_server.access import NO_SCOPES
from discord_tools.ipc_server.event_table import KEYS, Keys
from discord_tools.ipc_server.filters import Filter, Path, Value, values_at
from discord_tools.ipc_server.requirements import Requirement

__all__ = ("NO_KEYS", "Ids", "Published", "Receiver", "Topic", "checked_keys")

#: Events without ids beside their data.
NO_KEYS: Final[Keys] = {}

#: One id or several, as users give them.
Ids: TypeAlias = "int | str | Collection[int | str] | None"

#: Size for which an event counts of which only the ids are kept, in bytes.
WITHOUT_DATA: Final = 512

#: Guilds, channels and users.
About: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]"

#: Names of the ids that say what an event is about, in that order.
_PLACES: Final = ("guild_id", "channel_id", "user_id")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode


class Receiver(Protocol):
    """A subscriber, as far as a topic needs it. Implemented by :class:`~.events.Subscriber`."""

    @property
    def filter(self) -> Filter | None:
        """What it filters on."""
        ...

    @property
    def is_indexed(self) -> bool:
        """Whether it is in the index, if it has a filter. Too many values are compared instead."""
        ...

    def offer(self, event: Published) -> None:
        """Takes an event, or leaves it out."""
        ...


class Published:
    """One event, encoded once for all its subscribers.

    Attributes
    ----------
    name: :class:`str`
        The name of the event.
    keys: Mapping[:class:`str`, tuple]
        The ids beside the data, by name.
    whole: :class:`bool`
        Whether these are all ids that there are. If not, the members of the data with these names count, too.
    scopes: frozenset[:class:`str`]
        What opens it to callers whose keys have scopes.
    requires: Optional[tuple[:class:`Requirement`, ...]]
        What it demands of acting users. ``None`` for what the events of its name demand.
    seq: :class:`int`
        Its number among the events of this name.
    order: :class:`int`
        Its number among all events.
    raw: Optional[:class:`bytes`]
        The data, as JSON. ``None`` if it was not encoded: no subscriber could have received it, or it failed.
    item: :class:`bytes`
        The item of a subscription. Empty without data.
    """

    __slots__ = (
        "_about",
        "_found",
        "item",
        "keys",
        "name",
        "order",
        "raw",
        "requires",
        "scopes",
        "seq",
        "whole",
    )

    def __init__(
        self,
        name: str,
        keys: Keys,
        whole: bool,
        scopes: frozenset[str] = NO_SCOPES,
        requires: tuple[Requirement, ...] | None = None,
    ) -> None:
        self.name = name
        self.keys = keys
        self.whole = whole
        self.scopes = scopes
        self.requires = requires
        self.raw: bytes | None = None
        self.item: bytes = b""
        #: While filters are compared: the decoded data under the empty path, and the values at the paths.
        self._found: dict[str, Any] | None = None
        #: The guilds, channels and users that it is about, once they were asked for.
        self._about: About | None = None

    def about(self) -> About | None:
        """The ids of the guilds, channels and users that it is about. ``None`` where they are not known: its data could
        not be written, or has something else in their place.
        """
        if self._about is None:
            found: list[tuple[int, ...]] = []
            for key in _PLACES:
                values = self.values(key, (key,))
                if values is None:
                    return None
                numbers = tuple(snowflake(value) for value in values if value is not None)
                if any(number < 0 for number in numbers):
                    return None
                found.append(numbers)
            self._about = found[0], found[1], found[2]
        return self._about

    def gap(self, missed: int = 1) -> bytes:
        """The item that stands for it and for those before it where they are missing."""
        return _encode(EventItem(self.name, self.seq, time.time(), missed=missed))

    def is_known(self, path: str) -> bool:
        """Whether the values at a path are known without the data."""
        return path in self.keys or (self.whole and path in KEYS)

    def values(self, path: str, parts: Path) -> Iterable[Value] | None:
        found = self.keys.get(path)
        if found is not None:
            return found
        if self.whole and path in KEYS:
            return ()
        if self.raw is None:
            return None
        if self._found is None:
            self._found = {"": _decode(self.raw)}
        elif path in self._found:
            return self._found[path]
        values = self._found[path] = values_at(self._found[""], parts)
        return values

    def tidy(self) -> None:
        """Drops the decoded data, which takes more memory than the event is counted for."""
        self._found = None


class Place:
    """The subscribers that want one value."""

    __slots__ = ("subscribers", "until")

    def __init__(self) -> None:
        #: In the order in which they came.
        self.subscribers: dict[Receiver, None] = {}
        #: Until when events with this value are kept without a subscriber, by the monotonic clock.
        self.until = 0.0


class Topic:
    """One name of events: its subscribers, and the latest events for replay."""

    def __init__(self, limits: ServerLimits, seq: int) -> None:
        self._limits = limits
        #: Sequence number of the last event.
        self.seq = seq
        #: Whether there was an event since the topic was made.
        self.has_events = False
        #: Number of subscriptions to this name.
        self.subscribers = 0
        #: Those without a filter.
        self.everything: dict[Receiver, None] = {}
        #: Those with one that are not in the index.
        self.compared: dict[Receiver, None] = {}
        #: The others, by the path and the values that they are indexed by.
        self.index: dict[str, dict[Value, Place]] = {}
        #: The parts of these paths.
        self._parts: dict[str, Path] = {}
        #: The latest events, oldest first.
        self.kept: deque[Published] = deque()
        #: Size of their items, in bytes.
        self._kept_bytes = 0
        #: Until when all events are kept without a subscriber, by the monotonic clock.
        self._keep_until = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether events are kept for a subscriber without a filter: there is one, or was one recently."""
        return bool(self.everything) or time.monotonic() < self._keep_until

    @property
    def is_filtered(self) -> bool:
        """Whether there is a subscriber with a filter, or was one recently."""
        return bool(self.index) or bool(self.compared)

    @property
    def is_idle(self) -> bool:
        """Whether it has no subscriber, and none that may come back in time."""
        return not self.subscribers and not self.index and not self.is_kept

    @property
    def dropped(self) -> int:
        """The sequence number of the last event that is not kept."""
        return self.seq - len(self.kept)

    def keep(self, event: Published, order: int) -> None:
        """Gives an event its numbers and its item, keeps it, and drops the oldest beyond the limits."""
        self.has_events = True
        self.seq = event.seq = self.seq + 1
        event.order = order
        if event.raw is None:
            self._kept_bytes += WITHOUT_DATA
        else:
            event.item = _encode(EventItem(event.name, event.seq, time.time(), Raw(event.raw)))
            self._kept_bytes += len(event.item)
        self.kept.append(event)
        limits = self._limits
        while len(self.kept) > limits.event_replay or self._kept_bytes > limits.event_replay_bytes:
            self._kept_bytes -= len(self.kept.popleft().item) or WITHOUT_DATA

    def skip(self) -> None:
        """Counts an event, and forgets those before it."""
        self.forget()
        self.has_events = True
        self.seq += 1

    def forget(self) -> None:
        """Drops all events that are kept."""
        self.kept.clear()
        self._kept_bytes = 0

    # -- subscribers

    def is_decided_by_keys(self, event: Published) -> bool:
        """Whether the data of an event is not needed to find its subscribers."""
        paths = (
            path for subscriber in self.compared if subscriber.filter for path in subscriber.filter.paths
        )
        return all(map(event.is_known, self.index)) and all(map(event.is_known, paths))

    def receivers(self, event: Published) -> list[Receiver] | None:
        """The subscribers that may want an event. ``None`` if no subscriber can get it, now or later."""
        found = dict(self.everything)
        wanted = self.is_kept
        for path, places in self.index.items():
            values = event.values(path, self._parts[path])
            if values is None:
                here = [*places.values()]
            else:
                here = [place for value in values if (place := places.get(value)) is not None]
            for place in here:
                found.update(place.subscribers)
                wanted = wanted or bool(place.subscribers) or time.monotonic() < place.until
        for subscriber in self.compared:
            if subscriber.filter is None or subscriber.filter.matches(event):
                found[subscriber] = None
                wanted = True
        return list(found) if wanted else None

    def join(self, subscriber: Receiver) -> None:
        """Adds a subscriber."""
        self.subscribers += 1
        wish = subscriber.filter
        if wish is None:
            self.everything[subscriber] = None
            return
        if not subscriber.is_indexed:
            self.compared[subscriber] = None
            return
        places = self.index.setdefault(wish.path, {})
        self._parts[wish.path] = wish.parts
        for value in wish.wanted:
            places.setdefault(value, Place()).subscribers[subscriber] = None
        self._tidy(wish.path)

    def leave(self, subscriber: Receiver, until: float) -> tuple[str, Collection[Value]]:
        """Removes a subscriber. What it wanted is kept for it until the given time.

        Returns
        -------
        tuple[:class:`str`, Collection]
            The path that it was indexed by, and the values that no subscriber wants any more, as far as they are kept.
        """
        self.subscribers -= 1
        wish = subscriber.filter
        if wish is None or not subscriber.is_indexed:
            del (self.everything if wish is None else self.compared)[subscriber]
            self._keep_until = until
            return "", ()
        places = self.index.get(wish.path, {})
        kept = wish.path in KEYS
        if not kept:
            # Whether an event has these values takes its data, so it costs no more to keep all events.
            self._keep_until = until
        left: list[Value] = []
        for value in wish.wanted:
            place = places[value]
            del place.subscribers[subscriber]
            if kept:
                place.until = until
                if not place.subscribers:
                    left.append(value)
            elif not place.subscribers:
                del places[value]
        self._tidy(wish.path)
        return wish.path, left

    def expire(self, path: str, values: Iterable[Value], now: float) -> None:
        """Removes values that no subscriber has wanted for long."""
        places = self.index.get(path, {})
        for value in values:
            place = places.get(value)
            if place is not None and not place.subscribers and place.until <= now:
                del places[value]
        self._tidy(path)
        if self.is_idle:
            self.forget()

    def _tidy(self, path: str) -> None:
        if not self.index.get(path, True):
            del self.index[path]
            del self._parts[path]


def checked_keys(**given: Ids) -> Keys:
    """The ids that were given for an event, as they are compared. Those that were left out are not in there.

    Raises
    ------
    TypeError
        One is neither a number nor a text.
    """
    return {
        name: tuple(_id(name, one) for one in _several(value))
        for name, value in given.items()
        if value is not None
    }


def _several(value: Any) -> Collection[Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return cast("Collection[Any]", value)
    return (value,)


def _id(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{name} must be an id, or a list of ids, not {value!r:.100}")
    return str(value)
