"""Events to subscribers: topics, filters, bounded backlogs, and replay for subscribers that come back."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

import msgspec
from msgspec import UNSET, Raw

from discord_tools.ipc.errors import BadData, FellBehind, Overloaded, RemoteError
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.wire.events import EventItem, Subscribe, Subscribed
from discord_tools.ipc_server.encoding import STANDARD, encode_answer
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("Hub", "Subscriber")

_encode = msgspec.json.Encoder().encode
_subscribe = msgspec.json.Decoder(Subscribe)


class Reader(Protocol):
    """The call that reads a subscription. Implemented by :class:`~.incoming.NativeCall`."""

    params: bytes

    @property
    def takes(self) -> bool:
        """Whether it takes an item now. If not, it pumps the subscription once it does."""
        ...

    @property
    def largest(self) -> int:
        """The largest item that it takes, in bytes."""
        ...

    def push(self, item: bytes) -> None:
        """Sends an encoded item."""
        ...

    def abort(self, error: RemoteError) -> None:
        """Ends the subscription with an error."""
        ...


class Published:
    """One event, encoded once for all its subscribers.

    Attributes
    ----------
    name: :class:`str`
        The name of the event.
    seq: :class:`int`
        Its number among the events of this name.
    order: :class:`int`
        Its number among all events.
    raw: :class:`bytes`
        The data, as JSON.
    item: :class:`bytes`
        The item of a subscription.
    """

    __slots__ = ("_data", "item", "name", "order", "raw", "seq")

    def __init__(self, name: str, seq: int, order: int, raw: bytes) -> None:
        self.name = name
        self.seq = seq
        self.order = order
        self.raw = raw
        self.item: bytes = _encode(EventItem(name, seq, time.time(), Raw(raw)))
        #: The data, once it was decoded.
        self._data: Any = UNSET

    @property
    def data(self) -> Any:
        """The data as plain JSON values. It is decoded only when a filter asks for it."""
        if self._data is UNSET:
            self._data = msgspec.json.decode(self.raw)
        return self._data


class Topic:
    """One name of events: its subscribers, and the latest events for replay."""

    def __init__(self, limits: ServerLimits, seq: int) -> None:
        self._limits = limits
        #: Sequence number of the last event.
        self.seq = seq
        #: Whether there was an event since the topic was made.
        self.has_events = False
        #: Subscriptions to this name.
        self.subscribers: set[Subscriber] = set()
        #: The latest events, oldest first.
        self.kept: deque[Published] = deque()
        #: Size of their items, in bytes.
        self._kept_bytes = 0
        #: Until when events are kept without a subscriber, by the monotonic clock.
        self._keep_until = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether events are kept: there is a subscriber, or was one recently. Otherwise they are only counted."""
        return bool(self.subscribers) or time.monotonic() < self._keep_until

    @property
    def dropped(self) -> int:
        """The sequence number of the last event that is not kept."""
        return self.seq - len(self.kept)

    def keep(self, event: Published) -> None:
        """Keeps an event, and drops the oldest beyond the limits."""
        self.kept.append(event)
        self._kept_bytes += len(event.item)
        limits = self._limits
        while len(self.kept) > limits.event_replay or self._kept_bytes > limits.event_replay_bytes:
            self._kept_bytes -= len(self.kept.popleft().item)

    def forget(self) -> None:
        """Drops all events that are kept."""
        self.kept.clear()
        self._kept_bytes = 0

    def leave(self, subscriber: Subscriber) -> None:
        """Removes a subscriber."""
        self.subscribers.discard(subscriber)
        self._keep_until = time.monotonic() + self._limits.event_replay_timeout


class Hub:
    """All events of one server."""

    def __init__(self, limits: ServerLimits, encoder: Encoder = STANDARD) -> None:
        self._limits = limits
        self._encoder = encoder
        #: Topics by name. Those that clients made up are dropped with their last subscriber.
        self._topics: dict[str, Topic] = {}
        #: Number of events that were handed to subscribers.
        self._order = 0
        #: Number of all events. A new topic counts on from here, so that its numbers rise even if it had subscribers
        #: before.
        self._published = 0
        #: Identifies this run of the bot: sequence numbers of another run mean nothing here.
        self.epoch: Final[str] = secrets.token_hex(8)

    def publish(self, name: str, data: Any) -> None:
        """Hands an event to its subscribers.

        Raises
        ------
        TypeError
            The data cannot be written as JSON.
        """
        self._published += 1
        topic = self._topics.get(name)
        if topic is None:
            return  # nobody has ever subscribed to it
        if not topic.is_kept:
            topic.forget()
            topic.seq += 1
            return
        raw = encode_answer(data, self._encoder)
        topic.has_events = True
        topic.seq += 1
        self._order += 1
        event = Published(name, topic.seq, self._order, raw)
        topic.keep(event)
        for subscriber in tuple(topic.subscribers):
            subscriber.offer(event)

    def subscribe(self, call: Reader) -> Subscriber:
        """Makes a subscription. :meth:`Subscriber.begin` starts it.

        Raises
        ------
        BadData
            The parameters are no parameters of a subscription.
        """
        try:
            wish = _subscribe.decode(call.params)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise BadData(f"bad parameters of a subscription: {error}") from None
        if not wish.events or len(wish.events) > MAX_EVENTS:
            raise BadData(f"a subscription names 1 to {MAX_EVENTS} events")
        new = sum(name not in self._topics for name in wish.events)
        if len(self._topics) + new > MAX_TOPICS:
            raise Overloaded(
                f"there are {len(self._topics)} names of events with subscribers, no more are kept"
            )
        topics = {name: self._topic(name) for name in wish.events}
        return Subscriber(call, topics, wish, self._limits, self.epoch, self._release)

    def _topic(self, name: str) -> Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(self._limits, self._published)
        return topic

    def _release(self, name: str) -> None:
        """Drops a topic without events and subscribers: clients can make up any number of names."""
        topic = self._topics.get(name)
        if topic is not None and not topic.has_events and not topic.subscribers:
            del self._topics[name]


#: Maximum number of names in a subscription: more than a bot has events.
MAX_EVENTS: Final = 256

#: Maximum number of names with subscribers, or with events that are kept. Clients can make up names.
MAX_TOPICS: Final = 8192


class Subscriber:
    """One subscription. Events that its reader does not take yet wait in a bounded backlog.

    Parameters
    ----------
    call: :class:`Reader`
        The call that reads it.
    topics: Mapping[:class:`str`, :class:`Topic`]
        The topics that it subscribes to.
    wish: :class:`~discord_tools.ipc.wire.events.Subscribe`
        The parameters of the call.
    release: Callable[[:class:`str`], None]
        Drops a topic that is no longer needed.
    """

    def __init__(
        self,
        call: Reader,
        topics: Mapping[str, Topic],
        wish: Subscribe,
        limits: ServerLimits,
        epoch: str,
        release: Callable[[str], None],
    ) -> None:
        self._call = call
        self._topics = topics
        self._wish = wish
        self._limits = limits
        self._epoch = epoch
        self._release = release
        #: Returns whether the filter matches an event's data. ``None`` without a filter.
        self._matches = matcher(wish.filter)
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
    def held_bytes(self) -> int:
        """:class:`int`: Size of the events that wait for the reader, in bytes."""
        return self._queue_bytes + sum(map(len, self._first))

    def begin(self) -> None:
        """Confirms the subscription and replays the events that the reader asks for."""
        positions: dict[str, int] = {}
        lost: list[bytes] = []
        replay: list[Published] = []
        for name, topic in self._topics.items():
            topic.subscribers.add(self)
            after, missed = self._position(name, topic)
            positions[name] = after
            if missed != 0:
                lost.append(_encode(EventItem(name, after, time.time(), missed=missed)))
            replay.extend(event for event in topic.kept if event.seq > after)
        replay.sort(key=lambda event: event.order)
        self._first.append(_encode(Subscribed(self._epoch, positions)))
        self._first.extend(lost)
        self._first.extend(self._item(event) for event in replay if self._wants(event))
        self.pump()

    def _position(self, name: str, topic: Topic) -> tuple[int, int | None]:
        """After which event the subscription begins, and how many the reader has missed up to there."""
        if self._wish.epoch not in (None, self._epoch):
            # Its numbers belong to an earlier run. All events of this run are new to the reader.
            return topic.dropped, None
        after = max(0, self._wish.after.get(name, topic.seq))
        if after > topic.seq:
            return topic.dropped, None  # so does a number that this run has not reached
        if after < topic.dropped:
            return topic.dropped, topic.dropped - after
        return after, 0

    def offer(self, event: Published) -> None:
        """Sends an event, or adds it to the backlog, if the filter matches."""
        if not self._wants(event):
            return
        call, item = self._call, self._item(event)
        if not self._missed and not self._first and not self._queue and call.takes:
            call.push(item)
        elif self._missed or not self._has_room(len(item)):
            if self._wish.drop:
                call.abort(FellBehind("the reader of this subscription is too slow"))
                return
            count, _ = self._missed.get(event.name, (0, 0))
            self._missed[event.name] = (count + 1, event.seq)
        else:
            self._put(item)

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
        for name, topic in self._topics.items():
            topic.leave(self)
            self._release(name)
        self._first.clear()
        self._queue.clear()

    def _wants(self, event: Published) -> bool:
        return self._matches is None or self._matches(event.data)

    def _item(self, event: Published) -> bytes:
        """The item of an event; a gap where the reader does not take an item of that size."""
        if len(event.item) <= self._call.largest:
            return event.item
        return _encode(EventItem(event.name, event.seq, time.time(), missed=1))

    def _has_room(self, size: int) -> bool:
        limits = self._limits
        return (
            len(self._queue) < limits.event_backlog and self._queue_bytes + size <= limits.event_backlog_bytes
        )

    def _put(self, item: bytes) -> None:
        self._queue.append(item)
        self._queue_bytes += len(item)


def matcher(wanted: Mapping[str, Any]) -> Callable[[Any], bool] | None:
    """Returns a function that tells whether data has the wanted values, or ``None`` without a filter."""
    if not wanted:
        return None
    tests = [(path.split("."), _alternatives(value)) for path, value in wanted.items()]

    def matches(data: Any) -> bool:
        return all(_comparable(_inner(data, path)) in values for path, values in tests)

    return matches


def _inner(data: Any, path: list[str]) -> Any:
    for key in path:
        if not isinstance(data, dict):
            return UNSET
        data = cast("dict[str, Any]", data).get(key, UNSET)
    return data


def _alternatives(value: Any) -> frozenset[Any]:
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return frozenset(_comparable(one) for one in values)


def _comparable(value: Any) -> Any:
    """A value as it is compared: Discord's ids are strings in JSON and numbers in Python."""
    if isinstance(value, bool) or value is None or value is UNSET:
        return value
    return str(value)
