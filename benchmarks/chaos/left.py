"""What a process holds, compared with what it held before."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

from equipment.usage import open_files

__all__ = ("Held",)

#: How long what is closed may take to end, in seconds.
PATIENCE: Final = 8.0


class Held:
    """The tasks and descriptors of this process while it is idle."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._files = open_files()

    async def more(self, others: Callable[[], list[str]] = list) -> list[str]:
        """What is held now and was not held then, once it does not become less any more."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while (left := [*self._left(), *others()]) and loop.time() < end:
            await asyncio.sleep(0.1)
            gc.collect()
        return left

    def _left(self) -> list[str]:
        tasks = asyncio.all_tasks() - self._tasks
        files = open_files() - self._files
        return [f"task {task.get_coro()!r:.120}" for task in tasks] + (
            [f"{files} files"] if files > 0 else []
        )
