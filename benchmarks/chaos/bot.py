"""The bot's process: ``python -m benchmarks.chaos.bot``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks.chaos.left import Held
from benchmarks.chaos.notes import RAN, Notes
from discord_tools.ipc import Request, Server, ServerLimits
from equipment.key import KEY
from equipment.processes.lines import commands, say
from loopback.bots import running_bot

try:
    import resource
except ImportError:  # Windows
    resource = None


class Routes:
    """One route, which notes each of its runs before it answers."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        #: Number of runs in progress.
        self.running = 0

    async def note(self, request: Request, key: str, pause: float, text: str) -> dict[str, Any]:
        self.running += 1
        try:
            self._notes.add(RAN, key)
            if pause:
                await asyncio.sleep(pause)
            return {"key": key, "text": text}
        finally:
            self.running -= 1

    def left(self) -> list[str]:
        return [f"{self.running} routes"] if self.running else []


def calls_of(server: Server[Any]) -> list[str]:
    """The calls that any conversation holds."""
    conversations = server._conversations._all.values()  # pyright: ignore[reportPrivateUsage]
    calls = sum(len(one._calls) for one in conversations)  # pyright: ignore[reportPrivateUsage]
    return [f"{calls} calls"] if calls else []


async def serve(options: argparse.Namespace) -> None:
    notes = Notes(options.notes)
    routes = Routes(notes)
    limits = ServerLimits(heartbeat=options.heartbeat, connections=4096)
    queue = commands()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queue.put_nowait, None)
    async with running_bot(options.discord) as bot:
        server = Server(bot, options.host, 0, KEY, multicast=False, limits=limits)
        server.add_route(routes.note)
        async with server:
            held = Held()
            say({"port": server.port})
            while await queue.get() is not None:
                say({"left": await held.more(lambda: [*routes.left(), *calls_of(server)])})
    notes.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--discord", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--heartbeat", type=float, required=True)
    parser.add_argument("--files", type=int, help="how many descriptors it may have")
    parser.add_argument("--log", help="the file of the log")
    options = parser.parse_args()
    if options.files and resource is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options.files, options.files))
    if options.log:
        logging.basicConfig(filename=options.log, level=logging.DEBUG)
        logging.raiseExceptions = (
            False  # it would write a traceback for each line to the standard error stream
        )
    else:
        logging.basicConfig(stream=sys.stderr, level=logging.CRITICAL)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
