"""``python -m benchmarks.attack.neighbour``: an honest dashboard, which notices what an attack costs others."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from typing import Any, Final

from benchmarks.figures import percentile
from discord_tools.ipc import ClientSession, IPCError
from discord_tools.ipc.missing import MISSING
from equipment.processes.lines import orders, say

__all__ = ("main",)

#: Seconds between two calls.
PAUSE: Final = 0.003

#: Seconds between two clients that connect.
NEWCOMER_PAUSE: Final = 0.1

#: How long any call may take, in seconds.
PATIENCE: Final = 5.0


class Phase:
    """How long the calls of one phase took, in seconds, and what failed."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.newcomers: list[float] = []
        self.errors: Counter[str] = Counter()

    def report(self) -> dict[str, Any]:
        """The phase in figures."""
        return {
            "calls": len(self.times),
            "p99": percentile(sorted(self.times), 0.99) if self.times else 0.0,
            "slowest": max(self.times, default=0.0),
            "newcomers": len(self.newcomers),
            "newcomer_slowest": max(self.newcomers, default=0.0),
            "errors": dict(self.errors),
        }


class Neighbour:
    """Calls all the time, and connects again and again as others do."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.phase: Phase = Phase()

    def session(self, port: int | None) -> ClientSession:
        """A client, which asks the multicast port where it is given no port."""
        return ClientSession(
            "127.0.0.1",
            MISSING if port is None else port,
            multicast_port=self._options.multicast_port,
            secret_key=self._options.key,
            timeout=PATIENCE,
            connect_timeout=PATIENCE,
        )

    async def call(self, session: ClientSession) -> None:
        """Calls until it is cancelled."""
        while True:
            phase, began = self.phase, time.perf_counter()
            try:
                await session.request("small", number=1)
            except IPCError as error:
                phase.errors[f"{type(error).__name__}: {error}"[:200]] += 1
            phase.times.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE)

    async def connect(self, port: int | None) -> None:
        """Connects, calls once and closes, until it is cancelled."""
        while True:
            phase, began = self.phase, time.perf_counter()
            try:
                async with self.session(port) as session:
                    await session.request("small", number=2)
            except IPCError as error:
                phase.errors[f"newcomer: {type(error).__name__}: {error}"[:200]] += 1
            phase.newcomers.append(time.perf_counter() - began)
            await asyncio.sleep(NEWCOMER_PAUSE)


async def serve(options: argparse.Namespace) -> None:
    """Reports a phase for each line of stdin."""
    neighbour = Neighbour(options)
    async with neighbour.session(options.port) as session:
        tasks = [asyncio.create_task(neighbour.call(session))]
        if options.newcomer != "none":
            port = options.port if options.newcomer == "port" else None
            tasks.append(asyncio.create_task(neighbour.connect(port)))
        say({})
        async for _ in orders():
            ended, neighbour.phase = neighbour.phase, Phase()
            say(ended.report())
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--multicast-port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--newcomer", choices=("port", "multicast", "none"), default="none")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
