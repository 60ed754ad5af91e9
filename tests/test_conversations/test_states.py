"""The state of a session, how it reconnects, and how a dead peer is noticed."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ClientLimits,
    ConnectionLost,
    Server,
    SessionClosed,
)
from discord_tools.ipc.transports.base import Closed
from equipment.key import KEY
from equipment.peers import ScriptedClient
from equipment.proxy import Proxy
from equipment.serving import connecting, memory_client, serving
from equipment.until import until
from loopback import LoopbackDiscord
from loopback.bots import make_bot
from loopback.server import TOKEN
from test_conversations.routes import Routes

# ---------------------------------------------------------------- states


async def test_a_session_tells_its_state(server: Server[commands.Bot]) -> None:
    async with Proxy(server.port) as proxy:
        proxy.refusing = True
        session = connecting(proxy.port)
        assert session.state == "connecting"
        await session.start()
        assert session.state == "connecting"
        proxy.refusing = False
        await asyncio.wait_for(session.wait_until_ready(), 5)
        assert session.state == "ready"
        proxy.refusing = True
        proxy.cut()
        await until(lambda: session.state == "lost")
        proxy.refusing = False
        await asyncio.wait_for(session.wait_until_ready(), 5)
        assert session.state == "ready"
        await session.close()
        assert session.state == "closed"
        with pytest.raises(SessionClosed):
            await session.wait_until_ready()


async def test_waiting_until_ready_connects_by_itself(server: Server[commands.Bot]) -> None:
    session = connecting(server.port)
    await asyncio.wait_for(session.wait_until_ready(), 5)
    assert session.state == "ready"
    await session.close()


async def test_a_bot_that_is_not_ready_yet_says_so_and_tells_when_it_is(
    loopback_discord: LoopbackDiscord,
) -> None:
    bot = make_bot(loopback_discord)
    async with bot:
        await bot.login(TOKEN)
        async with serving(bot) as server, connecting(server.port) as session:
            Routes(server)
            assert session.state == "bot not ready"
            waiting = asyncio.create_task(session.wait_until_ready())
            await session.request("echo", value=1)  # what the server sent before has arrived by then
            assert not waiting.done()
            running = asyncio.create_task(bot.connect())
            await asyncio.wait_for(waiting, 10)
            assert session.state == "ready"
            assert bot.is_ready()
        await bot.close()
        await running


async def test_a_server_that_was_started_before_log_in_tells_when_the_bot_is_ready(
    loopback_discord: LoopbackDiscord,
) -> None:
    bot = make_bot(loopback_discord)
    async with (
        Server(bot, port=0, secret_key=KEY, multicast=False) as server,
        connecting(server.port) as session,
    ):
        assert session.state == "bot not ready"
        waiting = asyncio.create_task(session.wait_until_ready())
        async with bot:
            running = asyncio.create_task(bot.start(TOKEN))
            await asyncio.wait_for(waiting, 10)
            await bot.close()
            await running


async def test_closing_ends_the_wait_until_ready(loopback_discord: LoopbackDiscord) -> None:
    bot = make_bot(loopback_discord)
    async with bot:
        await bot.login(TOKEN)
        async with serving(bot) as server, connecting(server.port) as session:
            waiting = asyncio.create_task(session.wait_until_ready())
            await asyncio.sleep(0)
            await session.close()
            with pytest.raises(SessionClosed):
                await asyncio.wait_for(waiting, 5)


# ---------------------------------------------------------------- coming back


async def test_a_hundred_sessions_reconnect_at_different_times(
    server: Server[commands.Bot], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    uniform = random.uniform

    def recorded(low: float, high: float) -> float:
        pauses.append(uniform(low, high))
        return pauses[-1]

    monkeypatch.setattr(random, "uniform", recorded)
    limits = ClientLimits(backoff_initial=0.2, backoff_max=0.2)
    async with Proxy(server.port) as proxy:
        sessions = [connecting(proxy.port, limits=limits) for _ in range(100)]
        try:
            await asyncio.gather(*(session.start() for session in sessions))
            assert proxy.cut() == 100
            await until(lambda: proxy.accepted == 200)
            assert len(pauses) == 100
            # Evenly over the longest pause, but for chance: no tenth of it holds a quarter of all.
            for at in pauses:
                assert sum(at <= other < at + 0.02 for other in pauses) < 25
        finally:
            await asyncio.gather(*(session.close() for session in sessions))


# ---------------------------------------------------------------- dead peers


async def test_a_half_open_socket_is_noticed_on_both_sides(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, heartbeat=0.2, resume_timeout=0.05) as server:
        routes = Routes(server)
        limits = ClientLimits(heartbeat=0.2, backoff_initial=0.01, backoff_max=0.05)
        async with Proxy(server.port) as proxy, connecting(proxy.port, limits=limits) as session:
            waiting = asyncio.create_task(session.request("wait", value=1))
            await asyncio.wait_for(routes.entered.wait(), 5)
            proxy.refusing = True
            proxy.freeze()
            await asyncio.wait_for(routes.cancelled.wait(), 5)  # the bot gave the client up
            await until(lambda: session.state == "lost", 5)  # and the client the bot
            proxy.refusing = False
            proxy.thaw()
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(waiting, 10)


async def test_an_idle_connection_is_kept_alive(loopback_bot: commands.Bot) -> None:
    async with (
        serving(loopback_bot, heartbeat=0.1) as server,
        Proxy(server.port) as proxy,
        connecting(proxy.port, limits=ClientLimits(heartbeat=0.1)) as session,
    ):
        pieces = proxy.pieces
        await until(lambda: proxy.pieces > pieces + 10)  # pings and pongs: nothing else is sent
        assert session.state == "ready"
        assert proxy.accepted == 1


async def keep_asking(client: ScriptedClient) -> None:
    async with asyncio.timeout(5):
        for n in itertools.count(2):
            await client.call(n, "/echo", {"value": "x" * 2_000})
            await asyncio.sleep(0)


async def test_a_client_that_asks_and_does_not_read_is_given_up(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, heartbeat=0.1, backlog_bytes=1_000, resume_timeout=0.05) as server:
        routes = Routes(server)
        async with memory_client(server, capacity=1) as client:
            await client.hello()
            await client.call(1, "/wait", {"value": 0})
            with pytest.raises(Closed):
                await keep_asking(client)
            await asyncio.wait_for(routes.cancelled.wait(), 5)
