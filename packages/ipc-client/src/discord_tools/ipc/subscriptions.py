"""Subscriptions: events of the bot as they happen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from discord_tools.ipc.errors import ProtocolError, RequestTimeout
from discord_tools.ipc.streams import Connect, Feed, Stream
from discord_tools.ipc.wire.events import EventItem, Subscribe, Subscribed
from discord_tools.ipc.wire.frames import SUBSCRIBE

if TYPE_CHECKING:
    from typing import Self

__all__ = ("Event", "Gap", "Subscription")

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


class _EventFeed(Feed[tuple[str, Raw]]):
    """Remembers the last event of each name, to go on from there when the bot has lost the subscription."""

    def __init__(self, subscribe: Subscribe, credit: int) -> None:
        super().__init__(SUBSCRIBE, Raw(msgspec.json.encode(subscribe)), credit)
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
            for item in items:
                event = _next.decode(item)
                self._subscribe.after[event.event] = event.seq
        except (msgspec.DecodeError, UnicodeError, RecursionError, IndexError) as error:
            self.drop()
            self.finish(ProtocolError(f"the bot's events cannot be understood: {error}"))
        else:
            epoch = self._subscribe.epoch or ""
            self.put([(epoch, item) for item in items])

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

    def __init__(self, connect: Connect, subscribe: Subscribe, credit: int, timeout: float | None) -> None:
        super().__init__(connect, _EventFeed(subscribe, credit), _next)
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
