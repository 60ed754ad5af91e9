"""Routes for the tests in this folder."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request, Server
from loopback import LoopbackDiscord

posix = pytest.mark.skipif(
    "sys.platform == 'win32'", reason="Windows has no SIGSTOP, and no SIGINT for one process"
)


@dataclass
class Held:
    """What happened to the calls of the route ``hold``."""

    started: dict[str, asyncio.Event] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def began(self, name: str) -> asyncio.Event:
        return self.started.setdefault(name, asyncio.Event())


@pytest.fixture
async def held(server: Server[commands.Bot]) -> AsyncIterator[Held]:
    """Adds routes to ``server``: ``echo``, ``hold`` and ``big``."""
    held = Held()

    @server.route()
    async def echo(request: Request, number: Any = None, spread: float = 0.0) -> Any:
        await asyncio.sleep(random.uniform(0, spread))
        return number

    @server.route()
    async def hold(request: Request, name: str) -> str:
        held.began(name).set()
        held.ended[name] = "answered"
        try:
            await held.release.wait()
        except asyncio.CancelledError:
            held.ended[name] = "cancelled"
            raise
        finally:
            held.ended[name] += " and cleaned up"
        return name

    @server.route()
    async def big(request: Request, size: int) -> str:
        return "x" * size

    yield held
    held.release.set()


@pytest.fixture
async def discord_port() -> AsyncIterator[int]:
    """The port of a loopback Discord, for bots in other processes."""
    async with LoopbackDiscord(guilds=1) as discord_:
        yield discord_.port
