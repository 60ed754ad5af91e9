"""``python -m test_conversations.bot``: a bot in a process of its own, which a test may kill or stop.

Prints its port, and a line for each run of a route. The end of stdin ends it.
"""

from __future__ import annotations

import asyncio
import sys

from test_conversations.parts import KEY

from discord_tools.ipc import Request, Server, ServerLimits
from loopback import LoopbackDiscord
from loopback.bots import running_bot


async def main(port: int) -> None:
    async with LoopbackDiscord(guilds=1, members=1) as discord_, running_bot(discord_) as bot:
        server = Server(
            bot,
            "127.0.0.1",
            port,
            KEY,
            multicast=False,
            limits=ServerLimits(heartbeat=0.4, resume_timeout=0.1),
        )

        @server.route()
        async def echo(request: Request, value: int) -> int:
            return value

        @server.route()
        async def wait(request: Request, value: int) -> None:
            print("ran", value, flush=True)
            await asyncio.Event().wait()

        @server.route(idempotent=True)
        async def twice(request: Request, value: int) -> int:
            print("ran", value, flush=True)
            if not again:
                await asyncio.Event().wait()
            return value

        again = port != 0
        async with server:
            print("port", server.port, flush=True)
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
