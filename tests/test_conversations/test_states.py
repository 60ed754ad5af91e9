"""What a session says of itself, how it comes back, and how a dead peer is found out."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ClientLimits,
    ClientSession,
    ConnectionLost,
    Server,
    SessionClosed,
)
from discord_tools.ipc.transports.base import Closed
from equipment.proxy import Proxy
from loopback import LoopbackDiscord
from loopback.bots import make_bot
from loopback.server import TOKEN
from test_conversations.parts import KEY, Routes, Wire, connecting, serving, until, wired


class BotProcess:
    """A bot that can be killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            return (await self.process.stdout.readline()).decode().strip()


@asynccontextmanager
async def bot_process(port: int = 0) -> AsyncIterator[BotProcess]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "test_conversations.bot", str(port)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    bot = BotProcess(process)
    try:
        bot.port = int((await bot.line()).removeprefix("port "))
        yield bot
    finally:
        assert process.stdin is not None
        process.stdin.close()
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(20):
                await process.wait()
        # Otherwise the pipes stay open for as long as the system likes.
        process._transport.close()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# ---------------------------------------------------------------- states


async def test_a_session_tells_its_state(server: Server[commands.Bot]) -> None:
    async with Proxy(server.port) as proxy:
        proxy.closed = True
        session = connecting(proxy.port)
        assert session.state == "connecting"
        await session.start()
        assert session.state == "connecting"
        proxy.closed = False
        await asyncio.wait_for(session.wait_until_ready(), 5)
        assert session.state == "ready"
        proxy.closed = True
        proxy.cut()
        await until(lambda: session.state == "lost")
        proxy.closed = False
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
            assert session.state == "bot not ready"
            waiting = asyncio.create_task(session.wait_until_ready())
            await asyncio.sleep(0.05)
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
            await asyncio.sleep(0.01)
            await session.close()
            with pytest.raises(SessionClosed):
                await asyncio.wait_for(waiting, 5)


# ---------------------------------------------------------------- coming back


async def test_a_hundred_sessions_do_not_come_back_at_the_same_instant(server: Server[commands.Bot]) -> None:
    limits = ClientLimits(backoff_initial=2.0, backoff_max=2.0)
    async with Proxy(server.port) as proxy:
        sessions = [connecting(proxy.port, limits=limits) for _ in range(100)]
        try:
            await asyncio.gather(*(session.start() for session in sessions))
            assert proxy.cut() == 100
            await until(lambda: len(proxy.accepted) == 200)
            back = sorted(proxy.accepted[100:])
            # Evenly over two seconds, but for chance: no tenth of them holds a quarter of all.
            for at in back:
                assert sum(at <= other < at + 0.2 for other in back) < 25
        finally:
            await asyncio.gather(*(session.close() for session in sessions))


# ---------------------------------------------------------------- dead peers


async def test_a_half_open_socket_is_found_out_on_both_sides(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, heartbeat=0.2, resume_timeout=0.05) as server:
        routes = Routes(server)
        limits = ClientLimits(heartbeat=0.2, backoff_initial=0.01, backoff_max=0.05)
        async with Proxy(server.port) as proxy, connecting(proxy.port, limits=limits) as session:
            waiting = asyncio.create_task(session.request("wait", value=1))
            await asyncio.wait_for(routes.entered.wait(), 5)
            proxy.closed = True
            proxy.freeze()
            await asyncio.wait_for(routes.cancelled.wait(), 5)  # the bot gave the client up
            await until(lambda: session.state == "lost", 5)  # and the client the bot
            proxy.closed = False
            proxy.thaw()
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(waiting, 10)


async def test_an_idle_connection_is_kept_alive(loopback_bot: commands.Bot) -> None:
    async with (
        serving(loopback_bot, heartbeat=0.1) as server,
        Proxy(server.port) as proxy,
        connecting(proxy.port, limits=ClientLimits(heartbeat=0.1)) as session,
    ):
        await asyncio.sleep(0.6)  # the time itself is what this is about
        assert session.state == "ready"
        assert len(proxy.accepted) == 1


async def keep_asking(wire: Wire) -> None:
    async with asyncio.timeout(5):
        for n in itertools.count(2):
            await wire.call(n, "/echo", {"value": "x" * 2_000})
            await asyncio.sleep(0)


async def test_a_client_that_asks_and_does_not_read_is_given_up(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, heartbeat=0.1, backlog_bytes=1_000, resume_timeout=0.05) as server:
        routes = Routes(server)
        async with wired(server, capacity=1) as wire:
            await wire.hello()
            await wire.call(1, "/wait", {"value": 0})
            with pytest.raises(Closed):
                await keep_asking(wire)
            await asyncio.wait_for(routes.cancelled.wait(), 5)


async def test_a_frozen_bot_is_found_out() -> None:
    async with bot_process() as bot:
        limits = ClientLimits(heartbeat=0.2, handshake_timeout=0.3, backoff_initial=0.01, backoff_max=0.05)
        async with ClientSession(
            "127.0.0.1", bot.port, secret_key=KEY, limits=limits, connect_timeout=0.5
        ) as session:
            waiting = asyncio.create_task(session.request("wait", value=1))
            assert await bot.line() == "ran 1"
            bot.process.send_signal(signal.SIGSTOP)
            await until(lambda: session.state == "lost", 5)
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(waiting, 5)
            bot.process.send_signal(signal.SIGCONT)
            await asyncio.wait_for(session.wait_until_ready(), 5)
            assert await session.request("echo", value=2) == 2


async def test_a_bot_that_is_killed_between_a_call_and_its_answer_runs_it_again_only_if_it_may() -> None:
    limits = ClientLimits(backoff_initial=0.05, backoff_max=0.1)
    async with bot_process() as bot:
        session = ClientSession(
            "127.0.0.1", bot.port, secret_key=KEY, limits=limits, timeout=30, connect_timeout=20
        )
        async with session:
            risky = asyncio.create_task(session.request("wait", value=1))
            safe = asyncio.create_task(session.request("twice", value=2))
            assert {await bot.line(), await bot.line()} == {"ran 1", "ran 2"}
            bot.process.kill()
            await bot.process.wait()
            assert not risky.done()
            async with bot_process(bot.port) as restarted:
                with pytest.raises(ConnectionLost):
                    await risky
                assert await safe == 2
                assert await restarted.line() == "ran 2"
                assert await session.request("echo", value=3) == 3
