"""Events to subscribers: topics, filters, bounded backlogs, and replay for subscribers that come back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET

from discord_tools.ipc.errors import BadData, FellBehind, Forbidden, Overloaded, RemoteError
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.wire.events import EventItem, Subscribe, Subscribed
from discord_tools.ipc_server.access import NO_SCOPES, EventScopes, event_refusal
from discord_tools.ipc_server.call import Reader
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.encoding import STANDARD, encode_answer
from discord_tools.ipc_server.event_bounds import Share, SubscriptionBounds, checked_size
from discord_tools.ipc_server.event_demands import EventDemands
from discord_tools.ipc_server.event_table import Keys
from discord_tools.ipc_server.filters import Filter, Value
from discord_tools.ipc_server.nearest import Nearest
from discord_tools.ipc_server.requirements import Requirement
from discord_tools.ipc_server.topics import NO_KEYS, Published, Receiver, Topic
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("Hub", "Subscriber")

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_subscribe = msgspec.json.Decoder(Subscribe)


#: Maximum number of names in a subscription: more than a bot has events.
MAX_EVENTS: Final = 256

#: Maximum number of values for which events are kept although no subscriber wants them any more.
MAX_LEFT: Final = 8192

#: Maximum number of names of events that are remembered, to tell subscribers of those that the bot does not use.
MAX_KNOWN: Final = 4096

#: Maximum number of names of a subscription that the bot says it does not use.
MAX_UNKNOWN: Final = 8

#: Maximum number of names with subscribers, or with events that are kept. Clients can make up names.
MAX_TOPICS: Final = 16384


class Source(Protocol):
    """An event of discord.py. Implemented by :class:`~.event_table.spec.EventSpec`."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def has_all_keys(self) -> bool:
        """Whether it has no other ids than those beside its data."""
        ...

    def keys(self, args: tuple[Any, ...]) -> Keys:
        """The ids beside its data."""
        ...

    def data(self, args: tuple[Any, ...], keys: Keys) -> Any:
        """Its data."""
        ...


class Audience(Protocol):
    """Which events the reader of a subscription hears. Implemented by :class:`~.audience.Audience`."""

    def hears(self, event: Published) -> bool | None:
        """Whether it hears an event. ``None`` where somebody has to be asked first."""
        ...

    async def decide(self, event: Published) -> bool:
        """Asks, and returns whether it hears the event. Raises :exc:`RemoteError` where nobody knows."""
        ...


class Hub:
    """All events of one server."""

    def __init__(self, limits: ServerLimits, encoder: Encoder = STANDARD) -> None:
        #: Sizes and timeouts.
        self.limits: Final = limits
        self._encoder = encoder
        #: Topics by name. Those that clients made up are dropped with their last subscriber.
        self._topics: dict[str, Topic] = {}
        #: Number of events that were handed to subscribers.
        self._order = 0
        #: Number of all events. A new topic counts on from here, so that its numbers rise even if it had subscribers
        #: before.
        self._published = 0
        #: Bounds what subscriptions may have.
        self._bounds = SubscriptionBounds()
        #: Values that no subscriber wants any more, with the topic, until when events with them are kept, oldest first.
        self._left: deque[tuple[float, Topic, str, Collection[Value]]] = deque()
        #: Number of these values.
        self._left_values = 0
        #: Names that the bot forwards, has declared or has published, with what is known about their data.
        self.known: dict[str, Any] = {}
        #: Finds the one of them that is most like one that does not exist.
        self._nearest = Nearest()
        #: What opens events to callers whose keys have scopes.
        self.scopes: EventScopes = EventScopes()
        #: What events demand of acting users.
        self.demands: EventDemands = EventDemands()
        #: Identifies this run of the bot: sequence numbers of another run mean nothing here.
        self.epoch: Final[str] = secrets.token_hex(8)

    def publish(
        self,
        name: str,
        data: Any,
        keys: Keys = NO_KEYS,
        scopes: frozenset[str] | None = None,
        requires: tuple[Requirement, ...] | None = None,
    ) -> None:
        """Hands an event to its subscribers. Its scopes are those that were declared for the name, unless it has its
        own.

        Raises
        ------
        TypeError
            The data cannot be written as JSON.
        """
        self._published += 1
        if name not in self.known:
            self.learn(name)
        if scopes is None:
            scopes = self.scopes.declared.get(name, NO_SCOPES)
        elif name in self.known:
            self.scopes.remember(name, scopes)
        if self._left:
            self.sweep()
        topic = self._topics.get(name)
        if topic is None:
            return  # nobody has ever subscribed to it
        event = Published(name, keys, False, scopes, requires)
        if topic.index or topic.compared:
            self._hand_out(topic, event, self._encoded(topic, event, lambda: data))
        elif topic.everything or topic.is_kept:
            event.raw = encode_answer(data, self._encoder)
            self._order += 1
            topic.keep(event, self._order)
            for subscriber in tuple(topic.everything):
                subscriber.offer(event)
        else:
            topic.skip()

    def forward(self, source: Source, args: tuple[Any, ...]) -> None:
        """Hands an event of discord.py to its subscribers. Its data is made only if one of them can get it.

        Raises
        ------
        Exception
            The data cannot be made, or cannot be written as JSON. Subscribers have got a gap in its place.
        """
        self._published += 1
        if self._left:
            self.sweep()
        topic = self._topics.get(source.name)
        if topic is None:
            return
        if not topic.is_filtered and not topic.is_kept:
            topic.skip()
            return
        event = Published(source.name, NO_KEYS, False, self.scopes.declared.get(source.name, NO_SCOPES))
        try:
            event.keys = keys = source.keys(args)
            event.whole = source.has_all_keys
            receivers = self._encoded(topic, event, lambda: source.data(args, keys))
        except Exception:
            self._hand_out(topic, event, topic.receivers(event) or ())
            raise
        self._hand_out(topic, event, receivers)

    def _encoded(self, topic: Topic, event: Published, make: Callable[[], Any]) -> Iterable[Receiver]:
        """The subscribers that may want an event. If there are none, its data is not encoded."""
        if topic.is_decided_by_keys(event):
            receivers = topic.receivers(event)
            if receivers is not None:
                event.raw = encode_answer(make(), self._encoder)
        else:
            event.raw = encode_answer(make(), self._encoder)
            receivers = topic.receivers(event)
        return receivers or ()

    def _hand_out(self, topic: Topic, event: Published, receivers: Iterable[Receiver]) -> None:
        self._order += 1
        topic.keep(event, self._order)
        for subscriber in receivers:
            subscriber.offer(event)
        event.tidy()

    # -- names

    def learn(self, name: str, about: Any = None) -> None:
        """Remembers a name that the bot uses, and what is known about its data."""
        if name in self.known or len(self.known) < MAX_KNOWN:
            self.known[name] = about

    def unknown(self, names: Iterable[str]) -> dict[str, str | None]:
        """Names that the bot does not use so far, with the most similar one that it does use. Not all if they are many:
        comparing names takes time, and a subscriber may make up any number. For the same reason the most similar one is
        missing where too many were compared lately.
        """
        if len(self.known) >= MAX_KNOWN:
            return {}  # it may use any
        found = (name for name in names if name not in self.known)
        return {name: self._nearest.find(name, self.known) for name in islice(found, MAX_UNKNOWN)}

    # -- subscriptions

    def subscribe(self, call: Reader, share: Share | None = None, caller: Caller | None = None) -> Subscriber:
        """Makes a subscription. :meth:`Subscriber.begin` starts it.

        Parameters
        ----------
        call: :class:`Reader`
            The call that reads it.
        share: Optional[:class:`Share`]
            What its client may still have.
        caller: Optional[:class:`Caller`]
            Who subscribes. ``None`` for a caller that may have all events.

        Raises
        ------
        BadData
            The parameters are no parameters of a subscription.
        Forbidden
            The caller's key does not open one of the events.
        Overloaded
            There are too many names, or too many bytes of parameters.
        """
        size = checked_size(call.params)
        try:
            wish = _subscribe.decode(call.params)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise BadData(f"bad parameters of a subscription: {error}") from None
        if not wish.events or len(wish.events) > MAX_EVENTS:
            raise BadData(f"a subscription names 1 to {MAX_EVENTS} events")
        if caller is not None and (refusal := event_refusal(caller, wish.events, self.scopes.opened)):
            raise refusal
        share = share or Share()
        share.check(len(wish.events), wish.filter)
        wanted = Filter(wish.filter) if wish.filter else None
        self._bounds.check(size, wanted)
        self.sweep()
        new = sum(name not in self._topics for name in wish.events)
        if len(self._topics) + new > MAX_TOPICS:
            self._drop_idle()
            if len(self._topics) + new > MAX_TOPICS:
                raise Overloaded(
                    f"there are {len(self._topics)} names of events with subscribers, no more are kept"
                )
        topics = {name: self._topic(name) for name in wish.events}
        taken = self._bounds.places(len(topics), wanted, share.places)
        subscriber = Subscriber(self, call, topics, wish, wanted, size, taken)
        subscriber.scopes = None if caller is None else caller.scopes
        self._bounds.add(size, wanted, subscriber.places)
        return subscriber

    def _topic(self, name: str) -> Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(self.limits, self._published)
        return topic

    def leave(self, subscriber: Subscriber, topics: Mapping[str, Topic], size: int) -> None:
        """Removes a subscriber. What it wanted is kept for a while, in case it comes back."""
        self._bounds.remove(size, subscriber.filter, subscriber.places)
        until = time.monotonic() + self.limits.event_replay_timeout
        for name, topic in topics.items():
            path, values = topic.leave(subscriber, until)
            self._left.append((until, topic, path, values))
            self._left_values += len(values) or 1
            if not topic.has_events and not topic.subscribers:
                self._topics.pop(name, None)  # clients can make up any number of names
        self.sweep()

    def sweep(self) -> None:
        """Forgets what has been kept for subscribers that did not come back in time."""
        now = time.monotonic() if self._left else 0.0
        while self._left and (self._left[0][0] <= now or self._left_values > MAX_LEFT):
            until, topic, path, values = self._left.popleft()
            self._left_values -= len(values) or 1
            topic.expire(path, values, until)

    def _drop_idle(self) -> None:
        for name, topic in tuple(self._topics.items()):
            if topic.is_idle:
                del self._topics[name]


class Subscriber:
    """One subscription. Events that its reader does not take yet wait in a bounded backlog.

    Parameters
    ----------
    hub: :class:`Hub`
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
    """

    def __init__(
        self,
        hub: Hub,
        call: Reader,
        topics: Mapping[str, Topic],
        wish: Subscribe,
        wanted: Filter | None,
        size: int,
        places: int | None,
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
        #: Size of its parameters, in bytes.
        self._size = size
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
            self._miss(event)
        else:
            self._put(item)

    def _miss(self, event: Published) -> None:
        """Counts an event as left out. A gap takes its place once the backlog has capacity."""
        count, _ = self._missed.get(event.name, (0, 0))
        self._missed[event.name] = (count + 1, event.seq)

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
            len(self._undecided) >= limits.event_backlog
            or self._undecided_bytes + size > limits.event_backlog_bytes
        ):
            self._miss(event)
            return
        self._undecided.append(event)
        self._undecided_bytes += size
        if self._deciding is None:
            self._deciding = asyncio.get_running_loop().create_task(self._decide(), name="ipc judges a reader")

    async def _decide(self) -> None:
        audience = self.audience
        while self._undecided and audience is not None:
            try:
                heard = await audience.decide(self._undecided[0])
            except RemoteError:
                # Discord does not answer. The rest would wait for as long, each.
                for event in self._undecided:
                    self._miss(event)
                self._undecided.clear()
                self._undecided_bytes = 0
                break
            except Exception:
                # An is_owner() of the bot's own.
                log.exception("Judging an acting user failed")
                heard = False
            if self._undecided:  # it may have been closed meanwhile
                event = self._undecided.popleft()
                self._undecided_bytes -= len(event.item)
                event.tidy()
                if heard:
                    self._deliver(event)
        self._deciding = None
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
        topics, self._topics = self._topics, {}
        if topics:
            self._hub.leave(self, topics, self._size)
        self._first.clear()
        self._queue.clear()
        self._undecided.clear()
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
