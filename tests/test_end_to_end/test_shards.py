"""A bot with two shards has one server, which is ready when both are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, Request, Server
from equipment.serving import connecting, serving
from equipment.until import until
from loopback import LoopbackDiscord
from loopback.bots import running_bot


class Sharded(NamedTuple):
    """A bot of two shards, its server, and a session that is connected to it."""

    discord: LoopbackDiscord
    bot: commands.AutoShardedBot
    server: Server[Any]
    session: ClientSession


@pytest.fixture
async def sharded() -> AsyncIterator[Sharded]:
    async with (
        LoopbackDiscord(guilds=4) as discord_,
        running_bot(discord_, cls=commands.AutoShardedBot, shard_count=2) as bot,
        serving(bot) as server,
    ):

        @server.route()
        async def shard(request: Request, guild: discord.Guild, member: discord.Member) -> list[int]:
            return [guild.shard_id, member.id]

        async with connecting(server.port) as session:
            yield Sharded(discord_, bot, server, session)
    assert discord_.unhandled == []


async def test_guilds_and_members_of_both_shards_are_found(sharded: Sharded) -> None:
    found = [
        await sharded.session.request("shard", guild=guild.id, member=guild.members[0].user.id)
        for guild in sharded.discord.guilds
    ]
    members = [guild.members[0].user.id for guild in sharded.discord.guilds]
    assert found == [[number % 2, member] for number, member in enumerate(members)]


async def test_events_of_both_shards_are_forwarded(sharded: Sharded) -> None:
    sharded.server.forward("message", "shard_disconnect")
    async with sharded.session.subscribe("message", "shard_disconnect") as events:
        for guild in sharded.discord.guilds[:2]:
            await sharded.discord.say(guild.text_channels[0], guild.members[0], guild.name)
        heard = [(await anext(aiter(events))).data["guild_id"] for _ in range(2)]
        await sharded.discord.drop_gateways(shard=1)
        lost = await anext(aiter(events))
        await sharded.discord.wait_until(lambda: sharded.discord.resumes == 1)
    assert sorted(heard) == sorted(str(guild.id) for guild in sharded.discord.guilds[:2])
    assert (lost.name, lost.data) == ("shard_disconnect", 1)


async def test_a_shard_that_resumes_leaves_the_bot_ready(sharded: Sharded) -> None:
    resumed = asyncio.Event()

    async def note(shard: int) -> None:
        resumed.set()

    sharded.bot.add_listener(note, "on_shard_resumed")
    await sharded.discord.drop_gateways(shard=1)
    await resumed.wait()
    assert sharded.session.state == "ready"
    guild = sharded.discord.guilds[1]
    assert await sharded.session.request("shard", guild=guild.id, member=guild.members[0].user.id)


async def test_a_shard_with_a_new_session_makes_the_bot_not_ready_until_it_has_its_guilds(
    sharded: Sharded,
) -> None:
    state: Any = sharded.bot._connection  # pyright: ignore[reportPrivateUsage]
    delayed, go_on = state._delay_ready, asyncio.Event()

    async def delay() -> None:
        await go_on.wait()
        await delayed()

    state._delay_ready = delay
    await sharded.discord.drop_gateways(shard=1, resumable=False)
    await until(lambda: sharded.session.state == "bot not ready")
    go_on.set()
    await until(lambda: sharded.session.state == "ready")
    for guild in sharded.discord.guilds:
        assert await sharded.session.request("shard", guild=guild.id, member=guild.members[0].user.id)
