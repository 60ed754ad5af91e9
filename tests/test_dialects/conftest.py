"""A bot that serves every dialect at once, and routes for all tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import Request, RouteError, Server
from equipment.recordings import RECORDED_KEY
from equipment.serving import serving as serve
from loopback import LoopbackDiscord
from loopback.bots import running_bot

#: All clients of this folder show it, not only the recorded ones.
KEY = RECORDED_KEY


class HeldRoutes:
    """Holds routes up until a test opens it, and records what happens to them."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.opened = asyncio.Event()
        self.marked = asyncio.Event()
        self.runs = 0


def add_routes(server: Server[Any], held: HeldRoutes) -> None:
    @server.route()
    async def get_member_count(request: Request) -> int:
        return 42

    @server.route()
    async def nothing(request: Request) -> None:
        return None

    @server.route()
    async def text(request: Request) -> str:
        return "text"

    @server.route()
    async def echo(request: Request) -> dict[str, Any]:
        return {"data": dict(request)}

    @server.route()
    async def listing(request: Request) -> list[Any]:
        return [1, "zwei", None]

    @server.route()
    async def fails(request: Request) -> None:
        raise ValueError("a secret of the bot")

    @server.route()
    async def refuses(request: Request) -> None:
        raise RouteError(404, "no such member")

    @server.route()
    async def unwritable(request: Request) -> None:
        raise RouteError(404, "\ud800")

    @server.route()
    async def verbose(request: Request, size: int) -> None:
        raise RouteError(404, "x" * size)

    @server.route()
    async def headers(request: Request) -> Any:
        return dict(request.headers)

    @server.route()
    async def large(request: Request, size: int) -> str:
        return "x" * size

    @server.route()
    async def waits(request: Request, answer: int = 0) -> int:
        held.runs += 1
        held.entered.set()
        try:
            await held.opened.wait()
        except asyncio.CancelledError:
            held.cancelled.set()
            raise
        return answer

    @server.route()
    async def marks(request: Request) -> str:
        held.marked.set()
        return "marked"

    @server.route()
    async def guild_name(request: Request, guild: discord.Guild) -> str:
        return guild.name


@pytest.fixture
async def loopback() -> AsyncIterator[LoopbackDiscord]:
    async with LoopbackDiscord(guilds=1, members=2) as loopback:
        yield loopback
        assert not loopback.unhandled


@pytest.fixture
async def bot(loopback: LoopbackDiscord) -> AsyncIterator[commands.Bot]:
    async with running_bot(loopback) as bot:
        yield bot


@pytest.fixture
def held() -> HeldRoutes:
    return HeldRoutes()


Serving = Callable[..., AbstractAsyncContextManager[Server[commands.Bot]]]


@pytest.fixture
def serving(bot: commands.Bot, held: HeldRoutes) -> Serving:
    """Makes a server with all routes, on free ports; see :func:`equipment.serving.serving`."""

    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[Server[commands.Bot]]:
        server = serve(bot, **{"host": "127.0.0.1", "multicast_port": 0, "secret_key": KEY, **options})
        add_routes(server, held)
        async with server:
            yield server

    return make


@pytest.fixture
async def server(serving: Serving) -> AsyncIterator[Server[commands.Bot]]:
    async with serving() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def keyed() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session that shows the key."""
    async with aiohttp.ClientSession(headers={"Authorization": KEY}) as http:
        yield http
