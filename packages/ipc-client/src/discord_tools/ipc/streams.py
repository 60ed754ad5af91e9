"""Streams: what comes from the bot bit by bit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw

from discord_tools.ipc.conversation import Conversation, Pending, error_of
from discord_tools.ipc.errors import DecodeError, IPCError
from discord_tools.ipc.wire.peer import Answered

if TYPE_CHECKING:
    from typing import Self

__all__ = ("Connect", "Feed", "Stream")

T = TypeVar("T")
ItemT = TypeVar("ItemT")

Connect: TypeAlias = Callable[[], Awaitable[Conversation]]


class Decoder(Protocol):
    """Makes items of JSON."""

    def decode(self, raw: Raw, /) -> Any: ...


class Feed(Pending, Generic[ItemT]):
    """What has come in of a stream and waits for its reader.

    The conversation holds it, and the reader's :class:`Stream` holds it; but nothing holds the stream itself, so that
    it is noticed when the reader lets go of it.
    """

    def __init__(self, endpoint: str, params: Raw, credit: int) -> None:
        self.number: int = 0
        self.frame: bytes = b""
        self.endpoint: str = endpoint
        self.conversation: Conversation | None = None
        self._params = params
        self._credit = credit
        self._items: deque[ItemT] = deque()
        self._taken = 0
        self._begun = False
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._error: IPCError | None = None

    async def begin(self, connect: Connect) -> None:
        """Calls the bot unless that has been done."""
        if self.conversation is None and not self._ended:
            conversation = await connect()
            if self.conversation is None and not self._ended:  # it may have been ended meanwhile
                conversation.open(self, self._params, self._credit)
                self.conversation = conversation

    async def begun(self) -> None:
        """Waits for the first sign of the other side. Raises what ended it instead."""
        while not self._begun and not self._ended:
            await self._wait()
        if not self._begun and self._error is not None:
            raise self._error

    async def next(self) -> ItemT:
        """Waits for the next item. Raises :exc:`StopAsyncIteration` at the end. Cancelling it loses none."""
        while not self._items:
            if self._ended:
                error, self._error = self._error, None
                raise StopAsyncIteration if error is None else error
            await self._wait()
        self.took()
        return self._items.popleft()

    def took(self) -> None:
        """One item is out of the way. The other side is told now and then."""
        self._taken += 1
        if self._taken * 2 >= self._credit and self.conversation is not None and not self._ended:
            self.conversation.more(self, self._taken)
            self._taken = 0

    def drop(self) -> None:
        """Ends it from this side. Queues a notification at the most."""
        self._items.clear()
        if not self._ended:
            self.finish(None)
            if self.conversation is not None:
                self.conversation.forget(self)

    def finish(self, error: IPCError | None) -> None:
        """No more items will come."""
        self._ended = True
        self._error = error
        self._notice()

    def put(self, items: list[ItemT]) -> None:
        """More items are here."""
        self._begun = True
        self._items.extend(items)
        self._notice()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("another task is waiting for the next item already")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _notice(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def answered(self, answer: Answered) -> None:
        self.finish(None if answer.error is UNSET else error_of(self.endpoint, answer.error))

    def received(self, items: list[Any]) -> None:
        self.put(items)

    def again(self, idempotent: bool) -> Raw | None:
        # Once there were items, beginning again would bring them twice.
        return self._params if idempotent and not self._begun else None

    def lost(self, error: IPCError) -> None:
        if not self._ended:
            self.finish(error)


class Stream(Generic[T]):
    """The items of a route that streams, as they come. :meth:`ClientSession.stream` makes it.

    It begins with the first item that is asked for, or with ``async with``. The bot produces a limited number of
    items ahead of the reader (:attr:`ClientLimits.stream_items`) and then pauses, so a slow reader costs no memory on
    either side. A broken connection is mended underneath without losing or repeating an item.

    Leaving the loop ends the stream on the bot, too, as soon as nothing refers to this object any more; with
    ``async with``, at the end of the block.

    .. versionadded:: 1.1

    .. container:: operations

        .. describe:: async for ... in x

            Iterates over the items. Only one task may do so at a time. Cancelling the wait for an item loses none.

        .. describe:: async with x

            Asynchronously begins the stream, and ends it at the end of the block.
    """

    def __init__(self, connect: Connect, feed: Feed[Any], decoder: Decoder) -> None:
        self._connect = connect
        self._feed = feed
        self._decoder = decoder

    @property
    def endpoint(self) -> str:
        """:class:`str`: The endpoint that streams."""
        return self._feed.endpoint

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        await self._feed.begin(self._connect)
        return self._decode(await self._feed.next())

    async def __aenter__(self) -> Self:
        await self._feed.begin(self._connect)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._feed.drop()

    async def aclose(self) -> None:
        """|coro|

        Ends the stream, on the bot too. Calling it again does nothing.
        """
        self._feed.drop()

    def __del__(self) -> None:
        # Leaving a loop early drops the last reference. There is nobody left to await anything.
        self._feed.drop()

    def _decode(self, item: Any) -> T:
        try:
            return self._decoder.decode(item)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._feed.drop()
            raise DecodeError(f"an item of {self.endpoint!r} is not what was asked for: {error}") from error
