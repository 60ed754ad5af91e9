"""Subscriptions: events of the bot as they happen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from discord_tools.ipc.errors import DecodeError, ProtocolError, RequestTimeout, Unsupported
from discord_tools.ipc.streams import Connect, Feed, Stream
from discord_tools.ipc.wire.events import EventItem, Subscribe, Subscribed
from discord_tools.ipc.wire.frames import DISCOVER, SUBSCRIBE, ActingAs

if TYPE_CHECKING:
    from typing import Self

__all__ = ("Event", "EventInfo", "Gap", "Subscription", "checked_filter", "described_events")

log = logging.getLogger(__name__)

#: Maximum number of names of a session that are remembered as unknown, so that each is warned of once.
MAX_UNKNOWN: Final = 256

_first = msgspec.json.Decoder(Subscribed)
_next = msgspec.json.Decoder(EventItem)


class Event:
    """Something that happened on the bot. :class:`Subscription` yields it.

    .. versionadded:: 1.1

    Attributes
    ----------
    name: :class:`str`
        The name it was published under.
    seq: :class:`int`
        Its sequence number among the events of this name. They rise by one, whether or not a filter lets them
        through, and start again when the bot is restarted.
    epoch: :class:`str`
        The run of the bot that the sequence number belongs to.
    time: :class:`datetime.datetime`
        When it was published, by the bot's clock, in UTC.
    data: Any
        What was published with it.
    """

    __slots__ = ("data", "epoch", "name", "seq", "time")

    def __init__(self, name: str, seq: int, time: datetime, data: Any, epoch: str) -> None:
        self.name: str = name
        self.seq: int = seq
        self.epoch: str = epoch
        self.time: datetime = time
        self.data: Any = data

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r} seq={self.seq} data={self.data!r}>"


class Gap(Event):
    """A place where events are missing, because the reader was too slow or away for too long, or the bot restarted.

    It is an event without data, so that a loop that pays no attention goes on with the next event.

    .. versionadded:: 1.1

    Attributes
    ----------
    missed: Optional[:class:`int`]
        How many events of this name are missing. ``None`` where nobody can know: the bot was restarted.
    """

    __slots__ = ("missed",)

    def __init__(self, name: str, seq: int, time: datetime, missed: int | None, epoch: str) -> None:
        super().__init__(name, seq, time, None, epoch)
        self.missed: int | None = missed


class EventInfo(Struct, frozen=True):
    """What a bot says about the events of one name. :meth:`ClientSession.events` returns it.

    .. versionadded:: 1.2

    Attributes
    ----------
    name: :class:`str`
        The name, for :meth:`ClientSession.subscribe`.
    data: Dict[:class:`str`, Any]
        A JSON schema of the data, as far as the bot knows it. For an event of discord.py, ``title`` names the class.
        What it refers to is in its ``components``.
    filter: Tuple[:class:`str`, ...]
        The ids that are kept beside the data: filters of these names match whatever the data is.
    """

    name: str
    data: dict[str, Any] = {}
    filter: tuple[str, ...] = ()


class _Discovered(Struct):
    """What is read of the answer to ``rpc.discover``."""

    events: list[EventInfo] | UnsetType = field(name="x-events", default=UNSET)
    components: dict[str, dict[str, Any]] = {}


def described_events(raw: Raw) -> list[EventInfo]:
    """Reads the events in the answer to ``rpc.discover``.

    Raises
    ------
    Unsupported
        The bot's library describes no events.
    DecodeError
        The answer is of another form.
    """
    try:
        events = _discovered.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"the bot's description of its events cannot be understood: {error}") from error
    if events.events is UNSET:
        raise Unsupported(DISCOVER, "it does not describe its events")
    schemas = events.components.get("schemas", {})
    for event in events.events:
        found: dict[str, Any] = {}
        _collect(event.data, schemas, found)
        if found:
            event.data["components"] = {"schemas": found}
    return events.events


def _collect(schema: Any, schemas: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Collects the schemas that a schema refers to, directly or not."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(cast("list[Any]", one))
        elif isinstance(one, dict):
            members = cast("dict[str, Any]", one)
            waiting.extend(members.values())
            reference = members.get("$ref")
            name = reference.rpartition("/")[2] if isinstance(reference, str) else ""
            if name in schemas and name not in found:
                found[name] = schemas[name]
                waiting.append(schemas[name])


_discovered = msgspec.json.Decoder(_Discovered)


def checked_filter(filter: Mapping[str, Any] | None, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions of a filter, from a mapping and from keywords.

    Raises
    ------
    TypeError
        The filter is no mapping, has a name that is no string, or has a name of a keyword.
    """
    if filter is None:
        return dict(keywords)
    if not isinstance(filter, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f'filter must be a dict of names and values, not {filter!r:.100}; for data with a member "filter", write '
            'filter={"filter": ...}'
        )
    for name in filter:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the names in a filter must be str, not {name!r:.100}")
    if twice := filter.keys() & keywords.keys():
        raise TypeError(f"{min(twice)[:100]!r} is both in filter and a keyword")
    return {**filter, **keywords}


class _EventFeed(Feed[tuple[str, Raw]]):
    """Remembers the last event of each name, to go on from there when the bot has lost the subscription."""

    def __init__(self, subscribe: Subscribe, credit: int, unknown: set[str], user: ActingAs | None) -> None:
        super().__init__(SUBSCRIBE, Raw(msgspec.json.encode(subscribe)), credit, user)
        #: Names that the session has warned of.
        self._unknown = unknown
        #: Parameters of the next call: they follow the events that were received.
        self._subscribe = subscribe
        #: Whether the first item was received, which confirms the subscription.
        self._confirmed = False

    def received(self, items: list[Raw]) -> None:
        try:
            if not self._confirmed:
                first, items = _first.decode(items[0]), items[1:]
                self._confirmed = True
                self.took()
                self._subscribe.epoch = first.epoch
                self._subscribe.after = first.seq
                if first.unknown is not UNSET:
                    self._warn(first.unknown)
            for item in items:
                event = _next.decode(item)
                self._subscribe.after[event.event] = event.seq
        except (msgspec.DecodeError, UnicodeError, RecursionError, IndexError) as error:
            self.drop()
            self.finish(ProtocolError(f"the bot's events cannot be understood: {error}"))
        else:
            epoch = self._subscribe.epoch or ""
            self.put([(epoch, item) for item in items])

    def _warn(self, unknown: Mapping[str, str | None]) -> None:
        for name, similar in unknown.items():
            if name not in self._unknown and len(self._unknown) < MAX_UNKNOWN:
                self._unknown.add(name)
                hint = "." if similar is None else f", did you mean {similar[:100]!r}?"
                log.warning(
                    "The bot neither forwards nor has published an event %.100r so far%s Events of this name come "
                    "once it does; ClientSession.events() lists those that there are",
                    name,
                    hint,
                )

    def repeated(self, harmless: bool) -> Raw | None:
        self._confirmed = False
        return Raw(msgspec.json.encode(self._subscribe))


class Subscription(Stream[Event]):
    """Events as they happen. :meth:`ClientSession.subscribe` makes it.

    It begins with the first event that is asked for, or with ``async with``: inside the block it is certain that the
    bot knows of it. It outlives broken connections and restarts of the bot, and says where events were missed.

    Leaving the loop ends it on the bot, too, as soon as nothing refers to this object any more; with ``async with``,
    at the end of the block.

    .. versionadded:: 1.1

    .. container:: operations

        .. describe:: async for ... in x

            Iterates over :class:`Event` objects, with a :class:`Gap` where some are missing. Only one task may do so
            at a time. Cancelling the wait for an event loses none.

        .. describe:: async with x

            Asynchronously begins the subscription, and ends it at the end of the block.

    Attributes
    ----------
    events: Tuple[:class:`str`, ...]
        The names of the events.
    """

    def __init__(
        self,
        connect: Connect,
        subscribe: Subscribe,
        credit: int,
        timeout: float | None,
        unknown: set[str],
        user: ActingAs | None = None,
    ) -> None:
        super().__init__(connect, _EventFeed(subscribe, credit, unknown, user), _next)
        self._timeout = timeout
        self.events: tuple[str, ...] = tuple(subscribe.events)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            async with asyncio.timeout(self._timeout):
                await self._feed.begun()
        except TimeoutError as error:
            self._feed.drop()
            raise RequestTimeout(self.endpoint, self._timeout or 0) from error
        except BaseException:
            self._feed.drop()
            raise
        return self

    def _decode(self, item: Any) -> Event:
        epoch, raw = item
        event: EventItem = super()._decode(raw)  # pyright: ignore[reportAssignmentType]
        time = datetime.fromtimestamp(event.time, UTC)
        if event.missed is not UNSET:
            return Gap(event.event, event.seq, time, event.missed, epoch)
        return Event(event.event, event.seq, time, msgspec.json.decode(event.data), epoch)
