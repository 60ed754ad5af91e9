"""A subscription: bounded backlogs, replay, and who may have which event."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import msgspec
from msgspec import UNSET

from discord_tools.ipc.errors import FellBehind, Forbidden, RemoteError
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.wire.events import EventItem, Subscribe, Subscribed
from discord_tools.ipc_server.access import EventScopes, event_refusal
from discord_tools.ipc_server.call import Reader
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.event_bounds import Share
from discord_tools.ipc_server.filters import Filter
from discord_tools.ipc_server.topics import Published, Topic

__all__ = ("Audience", "Subscriber")

_encode = msgspec.json.Encoder().encode


class Audience(Protocol):
    """Which events the reader of a subscription hears. Implemented by :class:`~.audience.Audience`."""

    def hears(self, event: Published) -> bool | None:
        """Whether it hears an event. ``None`` where somebody has to be asked first."""
        ...

    async def decide(self, event: Published) -> bool:
        """Asks, and returns whether it hears the event. Raises :exc:`RemoteError` where nobody knows."""
        ...


class Events(Protocol):
    """All events of a server, as far as a subscription needs them. Implemented by :class:`~.events.Hub`."""

    limits: ServerLimits
    scopes: EventScopes
    epoch: str

    def unknown(self, names: Iterable[str], /) -> dict[str, str | None]:
        """Names that the bot does not use so far, with the most similar one that it does use."""
        ...

    def leave(self, subscriber: Subscriber, topics: Mapping[str, Topic], size: int, /) -> None:
        """Removes a subscriber."""
        ...


class Subscriber:
    """One subscription. Events that its reader does not take yet wait in a bounded backlog.

    Parameters
    ----------
    hub: :class:`Events`
        All events.
    call: :class:`Reader`
        The call that reads it.
    topics: Mapping[:class:`str`, :class:`Topic`]
        The topics that it subscribes to.
    wish: :class:`~discord_tools.ipc.wire.events.Subscribe`
        The parameters of the call.
    wanted: Optional[:class:`Filter`]
        Its filter.
    size: :class:`int`
        Size of its parameters, in bytes.
    places: Optional[:class:`int`]
        Number of places that it takes in the index. ``None`` if it is not in there.
    share: :class:`Share`
        What the subscriptions of its client take.
    """

    def __init__(
        self,
        hub: Events,
        call: Reader,
        topics: Mapping[str, Topic],
        wish: Subscribe,
        wanted: Filter | None,
        size: int,
        places: int | None,
        share: Share,
    ) -> None:
        self._hub = hub
        self._call = call
        #: The topics that it subscribes to. None once it has ended.
        self._topics: Mapping[str, Topic] = topics
        self._wish = wish
        #: Sizes and timeouts.
        self._limits = hub.limits
        #: What it filters on.
        self.filter: Filter | None = wanted
        #: Whether topics index it by the values of its filter.
        self.is_indexed: bool = places is not None
        #: Number of places that it takes in the index.
        self.places: int = places or 0
        #: Scopes of its reader's key, of which an event must have one. None for a key that opens everything.
        self.scopes: frozenset[str] | None = None
        #: What its reader's acting user hears. None for a reader who hears all.
        self.audience: Audience | None = None
        #: Events of which it is not known whether the reader hears them, and those after them.
        self._undecided: deque[Published] = deque()
        #: Size of these, in bytes.
        self._undecided_bytes = 0
        #: Finds that out, while there are some.
        self._deciding: asyncio.Task[None] | None = None
        #: For names with events that were too many to wait, too: their number, and the last sequence number. They come
        #: after those that wait.
        self._undecided_missed: dict[str, tuple[int, int]] = {}
        #: Size of its parameters, in bytes.
        self._size = size
        #: What the subscriptions of its client take.
        self._share = share
        #: Confirmation and replayed events, which do not make a reader slow.
        self._first: deque[bytes] = deque()
        #: Items that wait for the reader.
        self._queue: deque[bytes] = deque()
        #: Size of these items, in bytes.
        self._queue_bytes = 0
        #: For names with missing events: their number, and the last sequence number.
        self._missed: dict[str, tuple[int, int]] = {}

    @property
    def names(self) -> int:
        """:class:`int`: Number of names that it subscribes to."""
        return len(self._topics)

    @property
    def values(self) -> int:
        """:class:`int`: Number of values of its filter."""
        return 0 if self.filter is None else self.filter.number

    @property
    def held_bytes(self) -> int:
        """:class:`int`: Size of its parameters and of the events that wait for the reader, in bytes."""
        return self._size + self._queue_bytes + self._undecided_bytes + sum(map(len, self._first))

    def begin(self) -> None:
        """Confirms the subscription and replays the events that the reader asks for."""
        positions: dict[str, int] = {}
        lost: list[bytes] = []
        replay: list[Published] = []
        for name, topic in self._topics.items():
            topic.join(self)
            after, missed = self._position(name, topic)
            positions[name] = after
            if missed != 0:
                lost.append(_encode(EventItem(name, after, time.time(), missed=missed)))
            for event in topic.kept:
                if event.seq > after and self._may_have(event):
                    replay.append(event)
                event.tidy()
        replay.sort(key=lambda event: event.order)
        if self.audience is not None:
            replay = self._heard(replay, self.audience)
        confirmation = Subscribed(self._hub.epoch, positions, self._hub.unknown(self._topics) or UNSET)
        self._first.append(_encode(confirmation))
        self._first.extend(lost)
        self._first.extend(self._replayed(replay))
        self.pump()

    def _replayed(self, events: Iterable[Published]) -> Iterator[bytes]:
        """The items of events that are kept. Those without data are gaps, one for several in a row."""
        missed: dict[str, tuple[int, Published]] = {}
        for event in events:
            name = event.name
            if event.raw is None:
                missed[name] = missed.get(name, (0, event))[0] + 1, event
                continue
            if name in missed:
                count, last = missed.pop(name)
                yield last.gap(count)
            yield self._item(event)
        for count, last in missed.values():
            yield last.gap(count)

    def _position(self, name: str, topic: Topic) -> tuple[int, int | None]:
        """After which event the subscription begins, and how many the reader has missed up to there."""
        if self._wish.epoch not in (None, self._hub.epoch):
            # Its numbers belong to an earlier run. All events of this run are new to the reader.
            return topic.dropped, None
        after = max(0, self._wish.after.get(name, topic.seq))
        if after > topic.seq:
            return topic.dropped, None  # so does a number that this run has not reached
        if after < topic.dropped:
            return topic.dropped, topic.dropped - after
        return after, 0

    def offer(self, event: Published) -> None:
        """Sends an event, or adds it to the backlog, if the reader may have it and the filter matches."""
        if self.filter is not None and not self.filter.matches(event):
            return
        if self.scopes is not None and self.scopes.isdisjoint(event.scopes):
            return
        if self.audience is not None:
            verdict = None if self._undecided else self.audience.hears(event)
            if not verdict:
                if verdict is None:
                    self._postpone(event)
                return
        self._deliver(event)

    def _deliver(self, event: Published) -> None:
        call, item = self._call, event.item
        if not 0 < len(item) <= call.largest:
            item = event.gap()
        if not self._missed and not self._first and not self._queue and call.takes:
            call.push(item)
        elif self._missed or not self._has_room(len(item)):
            if self._wish.drop:
                call.abort(FellBehind("the reader of this subscription is too slow"))
                return
            # A gap takes its place once the backlog has capacity.
            _add(self._missed, event.name, 1, event.seq)
        else:
            self._put(item)

    # -- events that wait until it is known whether the acting user hears them

    def _heard(self, events: list[Published], audience: Audience) -> list[Published]:
        """Those of some events that the user hears, up to the first of which that is not known."""
        heard: list[Published] = []
        for event in events:
            verdict = None if self._undecided else audience.hears(event)
            event.tidy()
            if verdict is None:
                self._postpone(event)
            elif verdict:
                heard.append(event)
        return heard

    def _postpone(self, event: Published) -> None:
        limits, size = self._limits, len(event.item)
        if (
            self._undecided_missed
            or len(self._undecided) >= limits.event_backlog
            or self._undecided_bytes + size > limits.event_backlog_bytes
        ):
            _add(self._undecided_missed, event.name, 1, event.seq)
            return
        self._undecided.append(event)
        self._undecided_bytes += size
        if self._deciding is None:
            self._deciding = asyncio.get_running_loop().create_task(
                self._decide(), name="ipc judges a reader"
            )

    async def _decide(self) -> None:
        audience = self.audience
        while self._undecided and audience is not None:
            try:
                heard = await audience.decide(self._undecided[0])
            except RemoteError:
                # Discord does not answer. The rest would wait for as long, each.
                for event in self._undecided:
                    _add(self._undecided_missed, event.name, 1, event.seq)
                self._undecided.clear()
                self._undecided_bytes = 0
                break
            if self._undecided:  # it may have been closed meanwhile
                event = self._undecided.popleft()
                self._undecided_bytes -= len(event.item)
                event.tidy()
                # The key may have lost the scope meanwhile.
                if heard and (self.scopes is None or not self.scopes.isdisjoint(event.scopes)):
                    self._deliver(event)
        self._deciding = None
        missed, self._undecided_missed = self._undecided_missed, {}
        if missed and self._wish.drop:
            self._call.abort(FellBehind("too many events waited until the acting user was judged"))
            return
        for name, (count, seq) in missed.items():
            _add(self._missed, name, count, seq)
        self.pump()

    def renew(self, caller: Caller) -> Forbidden | None:
        """Takes note of what the reader's key opens now. Returns the error where one of the events is not among it."""
        self.scopes = caller.scopes
        return event_refusal(caller, self._topics, self._hub.scopes.opened)

    def pump(self) -> None:
        """Sends what waits, as far as the reader takes items."""
        call = self._call
        while self._first and call.takes:
            call.push(self._first.popleft())
        while self._queue and call.takes:
            item = self._queue.popleft()
            self._queue_bytes -= len(item)
            call.push(item)
        if self._missed and len(self._queue) * 2 <= self._limits.event_backlog:
            # The backlog has capacity again. Gaps come in their place, before the next event.
            missed, self._missed = self._missed, {}
            for name, (count, seq) in missed.items():
                self._put(_encode(EventItem(name, seq, time.time(), missed=count)))
            self.pump()

    def close(self) -> None:
        """Ends the subscription."""
        if self._topics:
            self._share.remove(self)
            topics, self._topics = self._topics, {}
            self._hub.leave(self, topics, self._size)
        self._first.clear()
        self._queue.clear()
        self._undecided.clear()
        self._missed.clear()
        self._undecided_missed.clear()
        if self._deciding is not None:
            self._deciding.cancel()

    def _may_have(self, event: Published) -> bool:
        # Repeated in offer(), where a call would cost more than the comparison.
        if self.scopes is not None and self.scopes.isdisjoint(event.scopes):
            return False
        return self.filter is None or self.filter.matches(event)

    def _item(self, event: Published) -> bytes:
        """The item of an event; a gap where it has no data, or the reader does not take an item of that size."""
        return event.item if 0 < len(event.item) <= self._call.largest else event.gap()

    def _has_room(self, size: int) -> bool:
        limits = self._limits
        return (
            len(self._queue) < limits.event_backlog and self._queue_bytes + size <= limits.event_backlog_bytes
        )

    def _put(self, item: bytes) -> None:
        self._queue.append(item)
        self._queue_bytes += len(item)


def _add(missed: dict[str, tuple[int, int]], name: str, number: int, seq: int) -> None:
    """Counts events of a name as left out, up to a sequence number."""
    count, last = missed.get(name, (0, 0))
    missed[name] = count + number, max(last, seq)
