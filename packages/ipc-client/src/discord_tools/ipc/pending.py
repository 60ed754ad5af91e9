"""What waits for the bot: requests, and their places among the calls that the bot accepts at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import msgspec
from msgspec import UNSET, Raw, UnsetType

from discord_tools.ipc.errors import IPCError, RequestTimeout
from discord_tools.ipc.wire.frames import ActingAs, Meta
from discord_tools.ipc.wire.received import Answered

__all__ = ("CallWindow", "Pending", "PendingRequest")


class Pending(Protocol):
    """A call that waits for the bot.

    Implemented by :class:`PendingRequest` for requests and by :class:`~.streams.Feed` for streams and subscriptions.

    Attributes
    ----------
    number: :class:`int`
        The number of the call in its conversation; 0 while it has none.
    frame: :class:`bytes`
        The frame of the call.
    endpoint: :class:`str`
        The endpoint that is called.
    """

    number: int
    frame: bytes
    endpoint: str

    def user(self) -> ActingAs | None:
        """Returns the user for whom it is made."""
        ...

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def answered(self, answer: Answered) -> None:
        """Takes the answer."""
        ...

    def received(self, items: list[Raw]) -> None:
        """Takes the next items."""
        ...

    def repeated(self, harmless: bool) -> Raw | None:
        """Returns the parameters to call with again; ``None`` where that may do harm. It is ``harmless`` where the call
        did not run, or may run twice.
        """
        ...

    def lost(self, error: IPCError) -> None:
        """Ends without an answer."""
        ...


class PendingRequest(asyncio.Future[Answered]):
    """A request that waits for its answer.

    It has no ``__init__``: a future without one takes less than half of the time to make.
    """

    __slots__ = ("deadline", "endpoint", "frame", "number", "timeout")

    #: Number of the call in its conversation; 0 while it has none.
    number: int
    #: The frame of the call.
    frame: bytes
    #: The endpoint that is called.
    endpoint: str
    #: When its time is over, by the loop's clock; ``None`` for never.
    deadline: float | None
    #: The timeout that the error names, in seconds.
    timeout: float

    def user(self) -> ActingAs | None:
        # It is in the frame, so calls without a user do not pay for it.
        meta = _params.decode(self.frame).meta
        return None if meta is UNSET else meta.acting_as

    def answered(self, answer: Answered) -> None:
        if not self.done():
            self.set_result(answer)

    def received(self, items: list[Raw]) -> None:
        """Ignores items: a plain call has none."""

    def repeated(self, harmless: bool) -> Raw | None:
        return _params.decode(self.frame).params if harmless else None

    def lost(self, error: IPCError) -> None:
        if not self.done():
            self.set_exception(error)

    def expire(self) -> None:
        """Ends because its time is over."""
        self.lost(RequestTimeout(self.endpoint, self.timeout))


class CallWindow:
    """Places for the calls that the bot accepts at a time. Further ones wait in the order in which they came."""

    def __init__(self) -> None:
        #: Number of places, which the bot tells at each connection.
        self._size = 1
        #: Number of free places. Negative after the bot reduced the number.
        self._free = 1
        #: Whether no places are given, because the bot is closing.
        self._held = False
        #: Requests that wait for a place, with the future that gives it to them.
        self._queue: deque[tuple[asyncio.Future[None], PendingRequest]] = deque()

    def hold(self) -> None:
        """Gives no more places until :meth:`resize`."""
        self._held = True

    def resize(self, size: int) -> None:
        """Sets the number of places."""
        self._held = False
        self._free += size - self._size
        self._size = size
        self._admit()

    def acquire(self) -> bool:
        """Takes a place. Returns ``False`` where none is free."""
        if self._free <= 0 or self._held:
            return False
        self._free -= 1
        return True

    async def wait(self, request: PendingRequest) -> None:
        """Waits for a place. Raises what ends the request meanwhile."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((place, request))
        request.add_done_callback(lambda _: place.cancel())
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()  # it was given in the very turn in which the wait was cancelled
            if request.done():
                request.result()
            raise

    def close(self, error: IPCError) -> None:
        """Ends what waits for a place."""
        for place, request in self._queue:
            if not place.done():  # otherwise nobody waits there any more
                request.lost(error)
        self._queue.clear()

    def release(self) -> None:
        """Gives a place back."""
        self._free += 1
        if self._queue:
            self._admit()

    def _admit(self) -> None:
        while self._queue and self._free > 0 and not self._held:
            place, _ = self._queue.popleft()
            if not place.done():
                self._free -= 1
                place.set_result(None)


class _Params(msgspec.Struct):
    params: Raw
    meta: Meta | UnsetType = UNSET  # with the user


_params = msgspec.json.Decoder(_Params)
