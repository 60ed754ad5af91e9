"""Two transports in one process, joined back to back: real peers and real frames without a port."""

from __future__ import annotations

import asyncio
from collections import deque

from discord_tools.ipc.transports.base import Closed

__all__ = ("MemoryTransport", "memory_pair")


class MemoryTransport:
    """One end of a pair. What one end sends, the other receives.

    A pair holds at most ``capacity`` messages in each direction, so that a slow reader holds up the writer as a full
    socket does.
    """

    def __init__(self, capacity: int = 16) -> None:
        self._inbox: deque[bytes] = deque()
        self._capacity = capacity
        self._changed = asyncio.Event()
        self._closed: Closed | None = None
        self._other: MemoryTransport = self

    async def send(self, message: bytes) -> None:
        other = self._other
        while True:
            if other._closed is not None:
                raise Closed(other._closed.reason)
            if len(other._inbox) < other._capacity:
                break
            await other._wait()
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

    async def close(self, code: int = 1000, reason: str = "") -> None:
        for end in (self, self._other):
            if end._closed is None:
                end._closed = Closed(f"closed with code {code} ({reason})", code=code)
                end._wake()

    async def _wait(self) -> None:
        await self._changed.wait()

    def _wake(self) -> None:
        # Everyone waiting looks again at the state; a fresh event lets them wait for the next change.
        self._changed.set()
        self._changed = asyncio.Event()


def memory_pair(capacity: int = 16) -> tuple[MemoryTransport, MemoryTransport]:
    """Makes two joined transports.

    Parameters
    ----------
    capacity: :class:`int`
        How many messages may wait in each direction before sending waits. Defaults to 16.
    """
    one, two = MemoryTransport(capacity), MemoryTransport(capacity)
    one._other, two._other = two, one  # pyright: ignore[reportPrivateUsage]
    return one, two
