"""What the dashboard makes of the bot's events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest_asyncio
from dashboard.feed import EVENTS, changes, states  # conftest puts its folder on the path
from discord.ext import commands

from discord_tools.ipc import ClientLimits, ClientSession, Server
from equipment.key import KEY
from equipment.serving import serving
from equipment.until import PATIENCE

CARD = {"id": "1", "name": "Tea House", "icon_url": None, "member_count": 3}


@pytest_asyncio.fixture
async def narrow(loopback_bot: commands.Bot) -> AsyncIterator[Server[commands.Bot]]:
    """A server that keeps one event for a reader, and none for one that comes later."""
    async with serving(loopback_bot, event_backlog=1, event_replay=0) as server:
        yield server


async def test_events_become_changes_with_their_name_and_time(narrow: Server[commands.Bot]) -> None:
    async with ClientSession(port=narrow.port, secret_key=KEY) as session, aclosing(changes(session)) as feed:
        coming = asyncio.ensure_future(anext(feed))
        await subscribed(session)
        await narrow.publish("message", {"guild": CARD, "message": {"id": "2"}})
        update = await asyncio.wait_for(coming, PATIENCE)
        assert update["type"] == "change"
        assert update["data"].pop("at").endswith("+00:00")
        assert update["data"] == {"kind": "message", "guild": CARD, "message": {"id": "2"}}


async def test_a_guild_as_discord_py_tells_of_it_becomes_what_the_page_knows_of_one(
    narrow: Server[commands.Bot], loopback_bot: commands.Bot
) -> None:
    narrow.forward("guild_update")
    guild = loopback_bot.guilds[0]
    async with ClientSession(port=narrow.port, secret_key=KEY) as session, aclosing(changes(session)) as feed:
        coming = asyncio.ensure_future(anext(feed))
        await subscribed(session)
        loopback_bot.dispatch("guild_update", guild, guild)
        update = await asyncio.wait_for(coming, PATIENCE)
        card = {"id": str(guild.id), "name": guild.name, "icon_url": None, "member_count": guild.member_count}
        assert update["data"]["kind"] == "guild_update"
        assert update["data"]["guild"] == card


async def test_a_gap_tells_the_page_that_it_missed_something(narrow: Server[commands.Bot]) -> None:
    limits = ClientLimits(stream_items=2)
    async with (
        ClientSession(port=narrow.port, secret_key=KEY, limits=limits) as session,
        aclosing(changes(session)) as feed,
    ):
        coming = asyncio.ensure_future(anext(feed))
        await subscribed(session)
        for _ in range(20):
            await narrow.publish("message", {"guild": CARD, "message": {"id": "2"}})
        assert (await asyncio.wait_for(coming, PATIENCE))["type"] == "change"
        async with asyncio.timeout(PATIENCE):
            while (await anext(feed))["type"] != "missed":
                pass


async def test_the_state_comes_once_for_each_time_it_changes(narrow: Server[commands.Bot]) -> None:
    async with ClientSession(port=narrow.port, secret_key=KEY) as session, aclosing(states(session)) as feed:
        async with asyncio.timeout(PATIENCE):
            assert await anext(feed) == {"type": "state", "data": "ready"}
            await narrow.terminate_server()
            assert await anext(feed) == {"type": "state", "data": "lost"}


async def subscribed(session: ClientSession) -> None:
    """Waits until the bot knows of the feed's subscription: it takes calls in their order."""
    for _ in range(2):  # the first time, the feed has not begun yet
        async with session.subscribe(*EVENTS):
            pass
