"""Handlers of routes that do not end when they should."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from discord_tools.ipc import Request

__all__ = ("StubbornHandler", "insist_on")


async def insist_on(event: asyncio.Event) -> None:
    """Waits for an event, and ignores each cancellation meanwhile."""
    while not event.is_set():
        with suppress(asyncio.CancelledError):
            await event.wait()


class StubbornHandler:
    """A handler that ignores its cancellation: the route is :meth:`stubborn`."""

    def __init__(self) -> None:
        #: Set once a call has begun.
        self.started = asyncio.Event()
        #: Set by the test, which lets the handler end.
        self.released = asyncio.Event()
        #: Set once a call has come to its end.
        self.ended = asyncio.Event()

    async def stubborn(self, request: Request) -> str:
        self.started.set()
        await insist_on(self.released)
        self.ended.set()
        return "late"
