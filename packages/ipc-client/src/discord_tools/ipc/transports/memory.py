"""Two transports in one process, joined back to back: real peers and real frames without a port."""

from __future__ import annotations

import asyncio
from collections import deque

from discord_tools.ipc.transports.base import NORMAL, Closed

__all__ = ("MemoryTransport", "memory_pair")


class MemoryTransport:
    """One end of a pair. What one end sends, the other receives.

    A pair holds at most ``capacity`` messages in each direction, so that a slow reader holds up the writer as a full
    socket does.
    """

    def __init__(self, capacity: int = 16) -> None:
        self._capacity = capacity
        #: Messages that wait to be received here.
        self._inbox: deque[bytes] = deque()
        #: Set when the inbox or the state of this end changes, and then replaced.
        self._changed = asyncio.Event()
        #: Why this end is closed, or ``None`` while it is open.
        self._closed: Closed | None = None
        #: Whether the next message that is sent here is lost.
        self._dropping = False
        #: The end that receives what this one sends.
        self._other: MemoryTransport = self

    async def send(self, message: bytes) -> None:
        other = self._other
        while True:
            if other._closed is not None:
                raise Closed(other._closed.reason)
            if len(other._inbox) < other._capacity:
                break
            await other._wait()
        if self._dropping:
            self._close_both(Closed("a message was lost"))
        else:
            other._inbox.append(message)
            other._wake()

    async def receive(self) -> bytes | str:
        while not self._inbox:
            if self._closed is not None:
                raise Closed(self._closed.reason, code=self._closed.code)
            await self._wait()
        message = self._inbox.popleft()
        self._wake()
        return message

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        self._close_both(Closed(f"closed with code {code} ({reason})", code=code))

    def drop_next(self) -> None:
        """Loses the next message that is sent here, as a network does that breaks: both ends are closed by it."""
        self._dropping = True

    def _close_both(self, closed: Closed) -> None:
        for end in (self, self._other):
            if end._closed is None:
                end._closed = closed
                end._wake()

    async def _wait(self) -> None:
        await self._changed.wait()

    def _wake(self) -> None:
        # All that wait check the state again; a new event lets them wait for the next change.
        self._changed.set()
        self._changed = asyncio.Event()


def memory_pair(capacity: int = 16) -> tuple[MemoryTransport, MemoryTransport]:
    """Makes two joined transports.

    Parameters
    ----------
    capacity: :class:`int`
        Maximum number of messages that wait in each direction; beyond it, sending waits. Defaults to 16.
    """
    one, two = MemoryTransport(capacity), MemoryTransport(capacity)
    one._other, two._other = two, one  # pyright: ignore[reportPrivateUsage]
    return one, two
