"""discord-ext-ipcx, the real package, on a real bot."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from discord.ext import commands
from discord.ext.ipcx import Client, Server, route

from benchmarks.sides.base import Caller, Heard, answer
from benchmarks.world import KEY
from loopback.bots import running_bot

__all__ = ("Ipcx",)


class Guilds(commands.Cog):
    @route()
    async def stats(self, data: Any) -> Any:
        return await answer("stats", {"guild": data.guild, "top": data.top})

    @route()
    async def members(self, data: Any) -> Any:
        return await answer("members", {})

    @route()
    async def everybody(self, data: Any) -> Any:
        return await answer("everybody", {})

    @route()
    async def nap(self, data: Any) -> Any:
        return await answer("nap", {})


class _Caller:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def call(self, route: str, data: dict[str, Any], /) -> Any:
        return await self._client.request(route, **data)

    async def subscribe(self, heard: Heard, /) -> None:
        raise NotImplementedError


class Ipcx:
    title: ClassVar[str] = "discord-ext-ipcx"
    note: ClassVar[str] = "the real package on a discord.py bot, secret key, no multicasting"
    loop: ClassVar[str] = "asyncio"
    pushes: ClassVar[bool] = False

    @asynccontextmanager
    async def serve(self, discord_port: int) -> AsyncGenerator[str]:
        # It cannot tell which port the system has picked, so one is picked for it.
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]

        async def setup(bot: commands.Bot) -> None:
            await bot.add_cog(Guilds())
            server = Server(bot, host="127.0.0.1", port=port, secret_key=KEY, do_multicast=False)
            await server.start()

        async with running_bot(discord_port, setup=setup):
            yield str(port)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncGenerator[Caller]:
        async with Client(host="127.0.0.1", port=int(address), secret_key=KEY) as client:
            yield _Caller(client)
