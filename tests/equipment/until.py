"""Waiting for a condition, and for the event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ("PATIENCE", "settle", "until")

#: Seconds after which a test gives up: far more than anything takes, also on a busy machine.
PATIENCE = 10.0

#: Turns of the event loop in which everything has run that needs no input from outside.
TURNS = 100


async def until(condition: Callable[[], object | Awaitable[object]], seconds: float = PATIENCE) -> Any:
    """Waits until a condition holds, and returns its value. The condition may be asynchronous.

    It is for conditions that notify nothing when they change. Where there is an event or a future, wait for that.
    """
    async with asyncio.timeout(seconds):
        turns = iter(range(TURNS))
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            # Without a pause at first: most conditions need only turns of the loop, whose clock may be a stopped one.
            await asyncio.sleep(0.001 if next(turns, None) is None else 0)


async def settle() -> None:
    """Lets everything run that needs no input from outside of the event loop."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
