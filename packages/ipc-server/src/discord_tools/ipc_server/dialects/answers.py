"""Answers on their way to a client that does not speak our subprotocol."""

from __future__ import annotations

import asyncio
from collections import deque

from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc_server.admission import SMALL_BYTES
from discord_tools.ipc_server.budget import MemoryBudget

__all__ = ("Answers", "Place")


class Place:
    """The place of one answer among those of a socket."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        #: The answer, once it is ready.
        self.answer: bytes | None = None


class Answers:
    """Sends answers in the order in which their places were taken.

    Parameters
    ----------
    max_bytes: :class:`int`
        Size of the answers that may wait, in bytes, above which the socket is not read.
    """

    def __init__(self, transport: Transport, budget: MemoryBudget, max_bytes: int) -> None:
        self._transport = transport
        self._budget = budget
        self._max_bytes = max_bytes
        #: Places of the answers that were not sent, in order.
        self._places: deque[Place] = deque()
        #: Size of the answers that are ready and not sent, in bytes.
        self._size = 0
        #: Set when an answer is ready, or when no more will come.
        self._ready = asyncio.Event()
        #: Set when an answer was sent.
        self._sent = asyncio.Event()
        #: Whether the sender ends after the answers that are ready.
        self._finishing = False
        #: Whether nothing is sent any more.
        self._ended = False

    def reserve(self) -> Place:
        """Takes the place of an answer that is still to come."""
        place = Place()
        self._places.append(place)
        return place

    def fill(self, place: Place, answer: bytes) -> None:
        """Puts an answer into its place."""
        if self._ended:
            return
        place.answer = answer
        self._size += len(answer)
        if len(answer) > SMALL_BYTES:
            self._budget.add(len(answer))
        self._ready.set()

    def put(self, answer: bytes) -> None:
        """Adds an answer that is ready."""
        self.fill(self.reserve(), answer)

    def finish(self) -> None:
        """Ends :meth:`run` after the answers that are ready."""
        self._finishing = True
        self._ready.set()

    @property
    def size(self) -> int:
        """Size of the answers that wait, in bytes."""
        return self._size

    def clear(self) -> None:
        """Drops the answers that wait, and those to come."""
        self._ended = True
        self._places.clear()
        self._size = 0
        self._sent.set()

    def is_full(self) -> bool:
        """Whether more waits than may wait."""
        return self._size > self._max_bytes and not self._ended

    def must_wait(self) -> bool:
        """Whether handlers may not start yet."""
        return self.is_full() or (self._budget.is_spent and self._size > SMALL_BYTES)

    async def wait_to_start(self) -> None:
        """Waits until handlers may start."""
        while self.must_wait():
            self._sent.clear()
            await self._sent.wait()

    async def wait_for_capacity(self, timeout: float) -> bool:
        """Waits until less waits than may wait. Returns ``False`` where the client does not read in time."""
        try:
            async with asyncio.timeout(timeout):
                while self.is_full():
                    self._sent.clear()
                    await self._sent.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Sends answers until the transport is closed."""
        places = self._places
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                while places and (answer := places[0].answer) is not None:
                    places.popleft()
                    await self._transport.send(answer)
                    self._size = max(0, self._size - len(answer))
                    self._sent.set()
                if self._finishing:
                    return
        except Closed:
            pass  # the reader meets the same end
        finally:
            # Until then it must not wait for what is never sent.
            self.clear()
