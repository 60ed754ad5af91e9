"""What every side has to offer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Protocol

from benchmarks.world import NAP_SECONDS, ROUTES, event

__all__ = ("Caller", "Heard", "Side", "answer")

#: Called with the data of each event.
Heard = Callable[[dict[str, Any]], None]


class Caller(Protocol):
    """One client."""

    async def call(self, route: str, data: dict[str, Any], /) -> Any:
        """Asks, and returns the answer as plain objects."""
        ...

    async def subscribe(self, heard: Heard, /) -> None:
        """Has ``heard`` called for each event from now on. Only sides that push events."""
        ...


class Side(Protocol):
    """One way to talk to a bot."""

    #: What the table calls it.
    title: ClassVar[str]
    #: How it was set up, for the notes under the table.
    note: ClassVar[str]
    #: ``asyncio`` or ``uvloop``, for both of its processes.
    loop: ClassVar[str]
    #: Whether it can push events.
    pushes: ClassVar[bool]

    def serve(self, discord_port: int) -> AbstractAsyncContextManager[str]:
        """Serves, in the bot's process, and gives the address for :meth:`connect`.

        ``discord_port`` is where the loopback Discord is, for sides that have a real bot.
        """
        ...

    def connect(self, address: str) -> AbstractAsyncContextManager[Caller]:
        """Connects one client."""
        ...


async def answer(
    route: str, data: dict[str, Any], publish: Callable[[dict[str, Any]], Awaitable[None]] | None = None
) -> Any:
    """What a bot without a framework does with a call."""
    plain = ROUTES.get(route)
    if plain is not None:
        return plain(**data)
    if route == "nap":
        await asyncio.sleep(NAP_SECONDS)
        return None
    if route == "burst" and publish is not None:
        for _ in range(data["n"]):
            await publish(event())
        return None
    raise LookupError(route)
