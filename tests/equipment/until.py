"""Waiting for a condition."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ("PATIENCE", "until")

#: Seconds after which a test gives up: far more than anything takes, also on a busy machine.
PATIENCE = 10.0


async def until(condition: Callable[[], object | Awaitable[object]], seconds: float = PATIENCE) -> Any:
    """Waits until a condition holds, and returns its value. The condition may be asynchronous.

    It is for conditions that notify nothing when they change. Where there is an event or a future, wait for that.
    """
    async with asyncio.timeout(seconds):
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.001)
