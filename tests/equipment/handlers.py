"""Handlers of routes that do not end by themselves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from discord_tools.ipc import Request

__all__ = ("StubbornHandler", "WaitingHandler", "insist_on")


async def insist_on(event: asyncio.Event) -> None:
    """Waits for an event, and ignores each cancellation meanwhile."""
    while not event.is_set():
        with suppress(asyncio.CancelledError):
            await event.wait()


class _Handler:
    """What both have in common. The events are those of all calls together."""

    def __init__(self) -> None:
        #: Set once a call has begun.
        self.started = asyncio.Event()
        #: Set by the test, to let calls end.
        self.released = asyncio.Event()
        #: Set once a call has come to its end, and was not cancelled.
        self.ended = asyncio.Event()


class WaitingHandler(_Handler):
    """A handler that ends when it is released or cancelled: the route is :meth:`wait`."""

    def __init__(self) -> None:
        super().__init__()
        #: Set once a call was cancelled.
        self.cancelled = asyncio.Event()

    async def wait(self, request: Request) -> str:
        self.started.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.ended.set()
        return "done"


class StubbornHandler(_Handler):
    """A handler that ends when it is released, and ignores its cancellation: the route is :meth:`stubborn`."""

    async def stubborn(self, request: Request) -> str:
        self.started.set()
        await insist_on(self.released)
        self.ended.set()
        return "late"
