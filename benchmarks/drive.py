"""The callers of one side: how they ask, and what they saw."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.figures import percentile
from benchmarks.sides.base import Caller, Side
from benchmarks.world import QUESTIONS

__all__ = ("Callers", "summary")

PATIENCE = 60.0
#: Number of clients that connect at a time: a thousand at once would measure the queue of the listening socket.
CONNECT_AT_ONCE = 50


class Callers:
    """All clients of one process.

    Parameters
    ----------
    side: :class:`Side`
        The side.
    address: :class:`str`
        Where its bot is.
    asker: :class:`Caller`
        The client that asks.
    """

    def __init__(self, side: Side, address: str, asker: Caller) -> None:
        self._side = side
        self._address = address
        self._asker = asker
        self._more = AsyncExitStack()
        self._latencies = array("d")
        self._missing = 0
        self._complete: asyncio.Future[None] | None = None

    async def drive(
        self, callers: Sequence[tuple[str, int]], seconds: float | None = None, requests: int = 0
    ) -> dict[str, float]:
        """Has every caller ask again as soon as it is answered, for some time or for a number of requests.

        The figures are those of the first group of callers.
        """
        clock = time.perf_counter
        latencies = array("d")
        cpu, began = time.process_time(), clock()
        end = began + seconds if seconds is not None else float("inf")
        left = iter(range(requests)) if seconds is None else iter(int, 1)

        async def ask(route: str, kept: array[float]) -> None:
            call, data = self._asker.call, QUESTIONS[route]
            asked = clock()
            for _ in left:
                await call(route, data)
                answered = clock()
                kept.append(answered - asked)
                if answered >= end:
                    return
                asked = answered

        tasks: list[asyncio.Task[None]] = []
        for number, (route, count) in enumerate(callers):
            kept = array("d") if number else latencies
            tasks += [asyncio.create_task(ask(route, kept)) for _ in range(count)]
        await _all(tasks)
        return summary(latencies, clock() - began, time.process_time() - cpu)

    async def subscribe(self, count: int) -> None:
        """Connects ``count`` more clients that hear events."""
        for caller in await self._connect(count):
            await caller.subscribe(self._hear)

    async def burst(self, subscribers: int, size: int, seconds: float) -> dict[str, float]:
        """Asks for a burst of events when everybody has the last one, again and again for some time.

        Figures are for each event at each subscriber.
        """
        self._latencies = array("d")
        loop = asyncio.get_running_loop()
        cpu, began = time.process_time(), time.perf_counter()
        while time.perf_counter() < began + seconds:
            self._missing = subscribers * size
            self._complete = loop.create_future()
            async with asyncio.timeout(PATIENCE):
                await self._asker.call("burst", {"n": size})
                await self._complete
        return summary(self._latencies, time.perf_counter() - began, time.process_time() - cpu)

    async def gather(self, count: int) -> float:
        """Connects ``count`` more clients that do nothing. Returns how long it took, in seconds."""
        began = time.perf_counter()
        await self._connect(count)
        return time.perf_counter() - began

    async def leave(self) -> None:
        """Disconnects all clients but the one that asks."""
        await self._more.aclose()
        self._more = AsyncExitStack()

    def _hear(self, data: dict[str, Any]) -> None:
        self._latencies.append(time.perf_counter() - data["at"])
        self._missing -= 1
        if not self._missing and self._complete is not None:
            self._complete.set_result(None)

    async def _connect(self, count: int) -> list[Caller]:
        callers: list[Caller] = []
        while len(callers) < count:
            some = min(CONNECT_AT_ONCE, count - len(callers))
            contexts = [self._side.connect(self._address) for _ in range(some)]
            callers += await asyncio.gather(*map(self._more.enter_async_context, contexts))
        return callers


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(_wait(task))
    finally:
        for task in tasks:
            task.cancel()


async def _wait(task: asyncio.Task[None]) -> None:
    await task


def summary(latencies: array[float], seconds: float, cpu: float) -> dict[str, float]:
    """What one turn of one side came to. Times of single requests are in microseconds."""
    ordered = sorted(latencies)
    return {
        "requests": len(ordered),
        "seconds": seconds,
        "rate": len(ordered) / seconds,
        "p50": percentile(ordered, 0.5) * 1e6,
        "p99": percentile(ordered, 0.99) * 1e6,
        "caller_cpu": cpu / len(ordered) * 1e6,
    }
