"""Tasks that begin at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

__all__ = ("spawn",)

if sys.version_info >= (3, 12):

    def spawn(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """A task that runs at once up to its first wait; one that never waits costs no turn of the loop."""
        return asyncio.Task(coroutine, loop=loop, eager_start=True)

else:

    def spawn(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """A task."""
        return loop.create_task(coroutine)
