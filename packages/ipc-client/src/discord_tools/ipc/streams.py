"""Streams: items that the bot sends one after another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw

from discord_tools.ipc.conversation import Conversation
from discord_tools.ipc.errors import DecodeError, IPCError, WrongEventLoop
from discord_tools.ipc.pending import Pending
from discord_tools.ipc.wire.codes import error_of
from discord_tools.ipc.wire.frames import ActingAs
from discord_tools.ipc.wire.received import Answered

if TYPE_CHECKING:
    from typing import Self

__all__ = ("Connect", "Feed", "Stream")

T = TypeVar("T")
ItemT = TypeVar("ItemT")

Connect: TypeAlias = Callable[[], Awaitable[Conversation]]


class Decoder(Protocol):
    """Makes items of JSON. Implemented by :class:`msgspec.json.Decoder`."""

    def decode(self, raw: Raw, /) -> Any: ...


class Feed(Pending, Generic[ItemT]):
    """Items of a stream that wait for their reader.

    The conversation refers to it, and so does the reader's :class:`Stream`. Only the reader refers to the stream, so it
    is noticed when the reader drops it.

    Parameters
    ----------
    params: :class:`msgspec.Raw`
        The parameters of the call.
    credit: :class:`int`
        Number of items that the bot may send ahead of the reader.
    user: Optional[:class:`~discord_tools.ipc.wire.frames.ActingAs`]
        The user for whom the call is made.
    """

    def __init__(self, endpoint: str, params: Raw, credit: int, user: ActingAs | None = None) -> None:
        #: Number of the call in its conversation; 0 while it has none.
        self.number: int = 0
        #: Frame of the call.
        self.frame: bytes = b""
        self.endpoint: str = endpoint
        #: The user for whom the call is made.
        self._user = user
        #: The conversation that the call was made in.
        self.conversation: Conversation | None = None
        self._params = params
        self._credit = credit
        #: Items that the reader has not taken.
        self._items: deque[ItemT] = deque()
        #: Items taken since the bot was last granted credit.
        self._taken = 0
        #: Whether anything was received.
        self._begun = False
        #: The reader, while it waits.
        self._waiter: asyncio.Future[None] | None = None
        #: Whether no more items will come.
        self._ended = False
        #: What the stream ended with, until the reader has got it.
        self._error: IPCError | None = None

    async def begin(self, connect: Connect) -> None:
        """Calls the bot unless that was done. Raises :exc:`WrongEventLoop` outside of the loop that it was done in."""
        if self.conversation is not None:
            if self.conversation.loop is not asyncio.get_running_loop():
                raise WrongEventLoop
        elif not self._ended:
            conversation = await connect()
            if self.conversation is None and not self._ended:  # it may have been ended meanwhile
                conversation.open(self, self._params, self._credit)
                self.conversation = conversation

    async def begun(self) -> None:
        """Waits until something was received. Raises what ended it instead."""
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
        """Counts an item as taken, and grants credit after half of it was used."""
        self._taken += 1
        if self._taken * 2 >= self._credit and self.conversation is not None and not self._ended:
            self.conversation.take_more(self, self._taken)
            self._taken = 0

    def drop(self) -> None:
        """Ends it from this side. Queues at most a notification."""
        self._items.clear()
        if not self._ended:
            self.finish(None)
            if self.conversation is not None:
                self.conversation.forget(self)

    def finish(self, error: IPCError | None) -> None:
        """Ends it: no more items will come."""
        self._ended = True
        self._error = error
        self._notify()

    def put(self, items: list[ItemT]) -> None:
        """Adds items for the reader."""
        self._begun = True
        self._items.extend(items)
        self._notify()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("another task is waiting for the next item already")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def user(self) -> ActingAs | None:
        return self._user

    def done(self) -> bool:
        return self._ended

    def answered(self, answer: Answered) -> None:
        self.finish(None if answer.error is UNSET else error_of(self.endpoint, answer.error))

    def received(self, items: list[Any]) -> None:
        self.put(items)

    def repeated(self, harmless: bool) -> Raw | None:
        # Once there were items, beginning again would bring them twice.
        return self._params if harmless and not self._begun else None

    def lost(self, error: IPCError) -> None:
        if not self._ended:
            self.finish(error)


class Stream(Generic[T]):
    """The items of a route that streams, as they come. :meth:`ClientSession.stream` makes it.

    It begins with the first item that is asked for, or with ``async with``. The bot produces a limited number of
    items ahead of the reader (:attr:`ClientLimits.stream_items`) and then pauses, so a slow reader costs no memory on
    either side. The session reconnects without losing or repeating an item.

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
