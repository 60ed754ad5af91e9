"""``python -m benchmarks.attack.bot``: the bot that is attacked, with meters inside."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, Final

from benchmarks.attack.meters import Meters, reference
from discord_tools.ipc import Request, Server
from equipment.processes.lines import orders, say
from loopback.bots import running_bot

__all__ = ("main",)

#: An answer of 3.7 MiB: 2,000 members.
MEMBERS: Final = [
    {"id": str(10**17 + n), "name": f"member {n:05}", "about": "x" * 1_850, "roles": [n, n + 1], "bot": False}
    for n in range(2_000)
]


class Routes:
    """What the bot answers."""

    def __init__(self) -> None:
        #: Headers of the calls of :meth:`headers`.
        self.seen: list[dict[str, Any]] = []

    async def small(self, request: Request, number: int = 0) -> int:
        """The call of an honest dashboard."""
        return number

    async def hold(self, request: Request) -> str:
        """Takes long, and keeps its data as long."""
        kept = request
        await asyncio.sleep(30)
        return kept.endpoint

    async def take(self, request: Request, x: Any = None) -> int:
        """Decodes its data."""
        return len(request)

    async def big(self, request: Request, size: int = 4_000_000) -> str:
        """An answer of that size."""
        return "x" * size

    async def members(self, request: Request) -> list[dict[str, Any]]:
        """A large answer of many parts."""
        return MEMBERS

    async def endless(self, request: Request) -> AsyncGenerator[int, None]:
        """Items without an end, without a pause."""
        number = 0
        while True:
            yield number
            number += 1

    async def headers(self, request: Request) -> str:
        """Keeps the headers, for :func:`report`."""
        self.seen.append(dict(request.headers))
        return "ok"


def limit_files(number: int) -> None:
    """Bounds the files that this process may open."""
    import resource  # not on Windows

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


async def serve(options: argparse.Namespace) -> None:
    """Runs the bot until the end of stdin."""
    meters, routes = Meters(options.key), Routes()
    logging.basicConfig(level=logging.INFO, handlers=[meters.lines])
    async with running_bot(options.discord) as bot:
        server: Server[Any] = Server(
            bot, "127.0.0.1", 0, options.key, multicast=True, multicast_port=options.multicast_port
        )
        for route in (
            *(routes.small, routes.take, routes.hold, routes.big, routes.members),
            *(routes.endless, routes.headers),
        ):
            server.add_route(route)
        async with server:
            say({"port": server.port, "multicast_port": server.multicast_port})
            async for order in orders():
                if order == "reference":
                    say({"reference": reference()})
                elif order == "begin":
                    meters.begin()
                    say({})
                else:
                    say({**await meters.end(), "headers": routes.seen})


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--discord", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--multicast-port", type=int, default=0)
    parser.add_argument("--files", type=int)
    options = parser.parse_args()
    if options.files:
        limit_files(options.files)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
