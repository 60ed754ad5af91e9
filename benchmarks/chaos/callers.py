"""The callers' process: ``python -m benchmarks.chaos.callers``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
from pathlib import Path
from typing import Any, Final

from benchmarks.chaos.left import Held
from benchmarks.chaos.link import enter
from benchmarks.chaos.notes import ANSWERED, BEGUN, MAY_HAVE_RUN, MIXED_UP, REFUSED, Notes
from discord_tools.ipc import (
    ClientLimits,
    ClientSession,
    ConnectError,
    IPCError,
    NotReady,
    Overloaded,
)
from equipment.key import KEY
from equipment.processes.lines import commands, say

#: Errors that say that the route did not run.
NOTHING_RAN: Final = (ConnectError, NotReady, Overloaded)


class Callers:
    """Callers that make one call after the other, several on each session."""

    def __init__(self, options: argparse.Namespace, notes: Notes) -> None:
        self._notes = notes
        self._name: str = options.name
        self._random = random.Random(options.seed)
        self._sizes: tuple[int, ...] = (0, 10, 100) if options.small else (0, 100, 2_000, 50_000)
        self._pause: float = options.pause
        self._going = True
        self._sessions = [
            ClientSession(
                options.host,
                options.port,
                secret_key=KEY,
                timeout=options.timeout,
                connect_timeout=options.connect_timeout,
                limits=ClientLimits(
                    heartbeat=options.heartbeat, handshake_timeout=min(5.0, 2 * options.heartbeat)
                ),
            )
            for _ in range(options.sessions)
        ]
        self._tasks = [
            asyncio.create_task(self._call_on(session, f"{index}.{number}"))
            for index, session in enumerate(self._sessions)
            for number in range(options.callers)
        ]

    async def stop(self) -> None:
        """Lets each call come to its end, and closes the sessions."""
        self._going = False
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(session.close() for session in self._sessions))
        self._tasks.clear()
        self._sessions.clear()

    async def _call_on(self, session: ClientSession, name: str) -> None:
        number = 0
        while self._going:
            number += 1
            key = f"{self._name}.{name}.{number}"
            self._notes.add(BEGUN, key)
            self._notes.add(*await self._call(session, key))
            await asyncio.sleep(self._random.random() * self._pause)

    async def _call(self, session: ClientSession, key: str) -> tuple[str, str, str]:
        text = "x" * self._random.randint(0, self._random.choice(self._sizes))
        pause = self._random.choice((0, 0, 0.01, 0.05))
        try:
            answer: Any = await session.request("note", key=key, pause=pause, text=text)
        except IPCError as error:
            return REFUSED if isinstance(error, NOTHING_RAN) else MAY_HAVE_RUN, key, type(error).__name__
        return ANSWERED if answer == {"key": key, "text": text} else MIXED_UP, key, "-"


async def serve(options: argparse.Namespace) -> None:
    queue = commands()
    held = Held()
    notes = Notes(options.notes)
    callers = Callers(options, notes)
    say({})
    await queue.get()
    await callers.stop()
    notes.close()
    say({"left": await held.more()})
    await queue.get()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--beside", type=int, help="a process in whose network namespace they are")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--connect-timeout", type=float, required=True)
    parser.add_argument("--pause", type=float, required=True)
    parser.add_argument("--heartbeat", type=float, required=True)
    parser.add_argument("--small", action="store_true")
    logging.basicConfig(level=logging.CRITICAL)
    options = parser.parse_args()
    if options.beside is not None:
        enter(options.beside)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
