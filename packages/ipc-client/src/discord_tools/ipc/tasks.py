"""Tasks that begin at once, and work that cancelling does not interrupt."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

__all__ = ("LoopLock", "complete", "spawn")


class LoopLock:
    """A lock for the running event loop. It may be made before there is a loop, and used by one after the other."""

    def __init__(self) -> None:
        #: The lock, and the event loop that it belongs to.
        self._lock: tuple[asyncio.Lock, asyncio.AbstractEventLoop] | None = None

    def __call__(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._lock is None or self._lock[1] is not loop:
            self._lock = asyncio.Lock(), loop
        return self._lock[0]


async def complete(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine to its end, even if this is cancelled: then :exc:`asyncio.CancelledError` is raised afterwards.

    For clean-up that must not be done by halves and takes a bounded time.
    """
    task = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None and (task.cancelled() or task.exception() is None):
        raise cancelled
    task.result()


if sys.version_info >= (3, 12):

    def spawn(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """A task that runs at once up to its first wait; one that never waits costs no turn of the loop."""
        return asyncio.Task(coroutine, loop=loop, eager_start=True)

else:

    def spawn(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """A task."""
        return loop.create_task(coroutine)
