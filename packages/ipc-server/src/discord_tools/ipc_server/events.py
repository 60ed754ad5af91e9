"""Events to subscribers: names, topics and filters, and what is kept for subscribers that come back."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Final, Protocol

import msgspec

from discord_tools.ipc.errors import BadData, Overloaded
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.wire.events import decode_subscribe
from discord_tools.ipc_server.access import NO_SCOPES, EventScopes, checked_scopes, event_refusal
from discord_tools.ipc_server.call import Reader
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.encoding import STANDARD, encode_answer
from discord_tools.ipc_server.event_bounds import Share, SubscriptionBounds, checked_size
from discord_tools.ipc_server.event_demands import EventDemands
from discord_tools.ipc_server.event_table import Keys
from discord_tools.ipc_server.filters import Filter, Value
from discord_tools.ipc_server.nearest import Nearest
from discord_tools.ipc_server.requirements import Requirement
from discord_tools.ipc_server.subscriber import Subscriber
from discord_tools.ipc_server.topics import NO_KEYS, Published, Receiver, Topic
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("Hub",)


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


class Spec(Protocol):
    """What is known about an event of discord.py. Implemented by :class:`~.event_table.spec.EventSpec`."""

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


class Hub:
    """All events of one server."""

    def __init__(self, limits: ServerLimits, encoder: Encoder = STANDARD) -> None:
        #: Sizes and timeouts.
        self.limits: ServerLimits = limits
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
        self.epoch: str = secrets.token_hex(8)

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
        # Without the properties of the topic: most events come here.
        if topic.index or topic.compared:
            self._hand_out(topic, event, self._encoded(topic, event, lambda: data))
        elif topic.everything or topic.is_kept:
            event.raw = encode_answer(data, self._encoder)
            self._hand_out(topic, event, tuple(topic.everything))
        else:
            topic.skip()

    def forward(self, spec: Spec, args: tuple[Any, ...]) -> None:
        """Hands an event of discord.py to its subscribers. Its data is made only if one of them can get it.

        Raises
        ------
        Exception
            The data cannot be made, or cannot be written as JSON. Subscribers have got a gap in its place.
        """
        self._published += 1
        if self._left:
            self.sweep()
        topic = self._topics.get(spec.name)
        if topic is None:
            return
        if not topic.is_filtered and not topic.is_kept:
            topic.skip()
            return
        event = Published(spec.name, NO_KEYS, False, self.scopes.declared.get(spec.name, NO_SCOPES))
        try:
            event.keys = keys = spec.keys(args)
            event.whole = spec.has_all_keys
            receivers = self._encoded(topic, event, lambda: spec.data(args, keys))
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

    def declare(self, names: Collection[str], scopes: Any, requires: Any, where: str) -> None:
        """Sets what opens events of these names and what they demand of acting users, as users give it.

        Raises
        ------
        TypeError
            One of them is something else. Nothing was set.
        ValueError
            A scope has no usable name.
        """
        opening = checked_scopes(scopes, where)
        self.demands.declare(names, requires, where)
        self.scopes.declare(names, opening)

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
            What the subscriptions of its client take. It is counted there until it is closed. Defaults to a new one.
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
            wish = decode_subscribe(call.params)
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
        taken = self._bounds.places(len(topics), wanted, share.places_left)
        subscriber = Subscriber(self, call, topics, wish, wanted, size, taken, share)
        subscriber.scopes = None if caller is None else caller.scopes
        self._bounds.add(size, wanted, subscriber.places)
        share.add(subscriber)
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
