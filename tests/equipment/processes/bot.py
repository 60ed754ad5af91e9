"""``python -m equipment.processes.bot``: a bot as users run theirs, with routes that a test controls.

Its commands are ``state`` and ``release``; both work while the bot takes no requests, too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
from typing import Any

import discord
from discord.ext import commands

from discord_tools.ipc import Request, Server, ServerLimits, route
from equipment.key import KEY
from equipment.processes.lines import say, watch
from equipment.usage import resident_memory
from loopback import TOKEN, LoopbackConnector

#: An answer that costs nothing until it is written.
CACHED = "x" * 1_000_000


class Bot(commands.Bot):
    """A bot that records what happens to each call of ``hold``."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__("!", intents=discord.Intents.all(), guild_ready_timeout=0.05)
        self.loopback: int = options.loopback
        self.started: list[str] = []
        self.ended: dict[str, str] = {}
        self.released = asyncio.Event()
        self.ipc = Server(
            self,
            port=options.port,
            secret_key=KEY,
            multicast=options.multicast_port is not None,
            multicast_port=options.multicast_port or 0,
            limits=ServerLimits(
                heartbeat=options.heartbeat,
                grace_period=options.grace_period,
                resume_timeout=options.resume_timeout,
            ),
        )

    async def login(self, token: str) -> None:
        # A connector needs a running loop, and Bot.run starts the loop itself.
        self.http.connector = LoopbackConnector(self.loopback)
        await super().login(token)

    async def setup_hook(self) -> None:
        await self.ipc.start()

    async def on_ipc_ready(self) -> None:
        loop = type(asyncio.get_running_loop()).__module__
        say({"port": self.ipc.port, "multicast_port": self.ipc.multicast_port, "loop": loop})

    @route()
    async def echo(self, request: Request, number: int, spread: float = 0.0) -> dict[str, int]:
        await asyncio.sleep(random.uniform(0, spread))
        return {"number": number, "pid": os.getpid()}

    @route()
    async def hold(self, request: Request, name: str) -> str:
        """Answers after ``release``."""
        self.started.append(name)
        self.ended[name] = "cancelled"
        try:
            await self.released.wait()
            self.ended[name] = "answered"
        finally:
            self.ended[name] += " and cleaned up"
        return name

    @route(idempotent=True)
    async def hold_again(self, request: Request, name: str) -> str:
        """The same, and may run twice."""
        return await self.hold(request, name)

    @route()
    async def release(self, request: Request) -> None:
        self.released.set()

    @route()
    async def big(self, request: Request, size: int) -> str:
        return "x" * size

    @route()
    async def cached(self, request: Request) -> str:
        self.started.append("cached")
        await self.released.wait()
        return CACHED

    @route()
    async def state(self, request: Request) -> dict[str, Any]:
        return self.report()

    def report(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "started": self.started, "ended": self.ended, "memory": resident_memory()}

    def obey(self, command: dict[str, Any] | None) -> None:
        """Obeys a command, in the thread that reads stdin. ``None`` is the end of it."""
        match command:
            case None:
                os.kill(os.getpid(), signal.SIGINT)
            case {"op": "state"}:
                say(self.report())
            case {"op": "release"}:
                say({})  # the last line of the bot may follow at once
                self.loop.call_soon_threadsafe(self.released.set)
            case _:
                raise ValueError(f"no such command: {command}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loopback", type=int, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--multicast-port", type=int)
    parser.add_argument("--heartbeat", type=float, default=20.0)
    parser.add_argument("--grace-period", type=float, default=5.0)
    parser.add_argument("--resume-timeout", type=float, default=10.0)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    # What discord.py does for SIGINT. It knows no SIGTERM; this is how a bot makes one of the other.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    bot = Bot(options)
    watch(bot.obey)
    bot.run(TOKEN)
    say({"closed": bot.is_closed(), "ended": bot.ended})


if __name__ == "__main__":
    main()
