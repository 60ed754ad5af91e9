"""The bot's session at Discord: a new one begins with an empty cache, so clients hear that the bot is not ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import discord
from discord.ext import commands

from discord_tools.ipc import NotReady, Request, Server
from discord_tools.ipc.wire.frames import READY
from equipment.peers import ScriptedClient
from equipment.serving import memory_client, serving
from equipment.until import until
from loopback import LoopbackDiscord


class Readiness:
    """What a client hears about the bot, and what others can ask it."""

    def __init__(self, server: Server[Any], client: ScriptedClient) -> None:
        self._server = server
        self._client = client

    async def heard(self) -> bool:
        """Waits until the client hears whether the bot is ready."""
        frame = await self._client.read()
        assert frame["method"] == READY
        return frame["params"]["ready"]

    async def health(self) -> int:
        url = f"http://127.0.0.1:{self._server.port}/health"
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            return response.status

    async def welcomed(self) -> bool:
        """Whether another client is welcomed by a bot that is ready."""
        async with memory_client(self._server) as other:
            return (await other.hello())["ready"]


@asynccontextmanager
async def listening(bot: commands.Bot) -> AsyncIterator[Readiness]:
    async with serving(bot) as server, memory_client(server) as client:
        assert (await client.hello())["ready"] is True
        yield Readiness(server, client)


async def test_a_new_session_at_discord_makes_the_bot_not_ready_until_it_has_its_guilds(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    connected, go_on = asyncio.Event(), asyncio.Event()
    parse = loopback_bot._connection._delay_ready  # pyright: ignore[reportPrivateUsage]

    async def delayed() -> None:
        # discord.py collects its guilds here. It is held, so that the test sees what is true in between.
        connected.set()
        await go_on.wait()
        await parse()

    async with listening(loopback_bot) as readiness:
        loopback_bot._connection._delay_ready = delayed  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
        assert await readiness.health() == 200
        await loopback_discord.drop_gateways(resumable=False)
        assert await readiness.heard() is False
        assert loopback_bot.is_ready()  # which is true from the first log-in on
        assert await readiness.health() == 503
        assert await readiness.welcomed() is False
        await connected.wait()
        go_on.set()
        assert await readiness.heard() is True
        assert await readiness.health() == 200
        assert await readiness.welcomed() is True


async def test_a_session_that_is_resumed_changes_nothing(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    resumed = asyncio.Event()

    async def note() -> None:
        resumed.set()

    loopback_bot.add_listener(note, "on_resumed")
    async with serving(loopback_bot) as server, memory_client(server) as client:

        @server.route()
        async def ping(request: Request) -> str:
            return "pong"

        assert (await client.hello())["ready"] is True
        await loopback_discord.drop_gateways()
        await resumed.wait()
        assert await Readiness(server, client).health() == 200
        await client.call(1, "ping")
        # A notice that the bot is not ready would come before the answer.
        frame = await client.read()
        assert (frame["id"], frame["result"]) == (1, "pong")


async def test_a_server_that_was_terminated_follows_the_session_no_more(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    def waiting() -> int:
        return sum(task.get_name() == "ipc hears connect" for task in asyncio.all_tasks())

    async with serving(loopback_bot):
        assert waiting() == 1
    await until(lambda: not waiting())


async def test_a_bot_that_has_not_logged_in_is_not_ready(bot: commands.Bot) -> None:
    async with serving(bot) as server, memory_client(server) as client:
        assert (await client.hello())["ready"] is False
        assert await Readiness(server, client).health() == 503


# -- guilds that are unavailable


@asynccontextmanager
async def asking(bot: commands.Bot) -> AsyncIterator[ScriptedClient]:
    async with serving(bot) as server, memory_client(server) as client:

        @server.route()
        async def name(request: Request, guild: discord.Guild) -> str:
            return guild.name

        @server.route()
        async def user(request: Request, user: discord.User) -> str:
            return user.name

        await client.hello()
        yield client


async def test_a_guild_that_is_unavailable_and_every_unknown_id_meanwhile_are_not_ready(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    one, other = loopback_discord.guilds
    async with asking(loopback_bot) as client:
        await client.call(1, "name", {"guild": 5})
        assert (await client.answer_to(1))["error"]["code"] == -32602
        set_unavailable(loopback_bot, one.id, True)
        await client.call(2, "name", {"guild": one.id})
        error = (await client.answer_to(2))["error"]
        assert (error["code"], error["message"]) == (NotReady.code, "the guild is unavailable at present")
        for number, (route, params) in enumerate((("name", {"guild": 5}), ("user", {"user": 5})), 3):
            await client.call(number, route, params)
            error = (await client.answer_to(number))["error"]
            assert error["code"] == NotReady.code
            assert error["message"] == "the bot has not received all of its guilds"
        await client.call(5, "name", {"guild": other.id})
        assert (await client.answer_to(5))["result"] == other.name
        set_unavailable(loopback_bot, one.id, False)
        await client.call(6, "name", {"guild": one.id})
        assert (await client.answer_to(6))["result"] == one.name
        await client.call(7, "user", {"user": 5})
        assert (await client.answer_to(7))["error"]["code"] == -32602


def set_unavailable(bot: commands.Bot, number: int, unavailable: bool) -> None:
    """What discord.py does when Discord reports an outage of a guild, and its end."""
    guild = bot.get_guild(number)
    assert guild is not None
    guild.unavailable = unavailable
