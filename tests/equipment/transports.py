"""A transport in memory that can be stopped."""

from __future__ import annotations

import asyncio

from discord_tools.ipc.transports.memory import MemoryTransport

__all__ = ("StoppableTransport", "stoppable_pair")


class StoppableTransport(MemoryTransport):
    """A transport that does not return from sending, or from closing, until the test allows it.

    So does a socket whose other side neither reads nor answers.
    """

    def __init__(self) -> None:
        super().__init__()
        #: Set while closing may return.
        self.may_close = asyncio.Event()
        self.may_close.set()
        #: Set while sending may return.
        self.may_send = asyncio.Event()
        self.may_send.set()
        #: Set once something was sent.
        self.sending = asyncio.Event()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await super().close(code, reason)
        await self.may_close.wait()

    async def send(self, message: bytes) -> None:
        await super().send(message)
        self.sending.set()
        await self.may_send.wait()


def stoppable_pair() -> tuple[MemoryTransport, StoppableTransport]:
    """Two joined transports, the second of which can be stopped."""
    near, far = MemoryTransport(), StoppableTransport()
    near._other, far._other = far, near  # pyright: ignore[reportPrivateUsage]
    return near, far
