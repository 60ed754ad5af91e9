"""Passes every update on to all open pages, each through a bounded queue of its own."""

import asyncio
from collections.abc import AsyncIterable, Generator
from contextlib import contextmanager

from .models import Update

LAG = 200  # updates that a page may lag behind; then it is cut off, comes back by itself and loads everything


class Browsers:
    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Update | None]] = set()
        self._state: Update = {"type": "state", "data": "connecting"}

    async def relay(self, updates: AsyncIterable[Update]) -> None:
        async for update in updates:
            if update["type"] == "state":
                self._state = update
            for queue in tuple(self._queues):
                try:
                    queue.put_nowait(update)
                except asyncio.QueueFull:
                    self._cut(queue)

    @contextmanager
    def listening(self) -> Generator[asyncio.Queue[Update | None]]:
        """A queue that begins with how the connection with the bot is now; ``None`` is its end."""
        queue: asyncio.Queue[Update | None] = asyncio.Queue(LAG)
        queue.put_nowait(self._state)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def close(self) -> None:
        for queue in tuple(self._queues):
            self._cut(queue)

    def _cut(self, queue: asyncio.Queue[Update | None]) -> None:
        self._queues.discard(queue)
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(None)
