"""The other end of a :class:`~equipment.processes.Program`: commands from stdin, answers to stdout."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any


def commands() -> asyncio.Queue[dict[str, Any] | None]:
    """The commands as they come; ``None`` at the end of stdin."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    watch(lambda command: loop.call_soon_threadsafe(queue.put_nowait, command))
    return queue


def watch(obey: Callable[[dict[str, Any] | None], object]) -> None:
    """Reads stdin in a thread, since not every event loop can read pipes."""

    def read() -> None:
        for line in sys.stdin:
            obey(json.loads(line))
        obey(None)

    threading.Thread(target=read, name="stdin", daemon=True).start()


async def orders() -> AsyncGenerator[str, None]:
    """The lines of stdin, up to an empty one or the end."""
    while order := (await asyncio.to_thread(sys.stdin.readline)).strip():
        yield order


def say(answer: dict[str, Any]) -> None:
    """Writes one line."""
    print(json.dumps(answer), flush=True)
