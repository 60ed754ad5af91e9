"""Ctrl-C, SIGTERM and ``bot.close()``: what is in progress is answered, and nothing is left."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace

import pytest
from discord.ext import commands

from discord_tools.ipc import (
    Cancelled,
    ClientSession,
    ConnectError,
    ConnectionLost,
    IPCError,
    Server,
)
from equipment.key import KEY
from equipment.ports import is_free
from equipment.processes import Program
from equipment.until import until
from test_end_to_end.conftest import Held, posix


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_bot_that_is_asked_to_end_answers_what_is_in_progress(discord_port: int, number: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        ClientSession(port=bot.ready["port"], secret_key=KEY, connect_timeout=0) as session,
    ):
        asked = [asyncio.ensure_future(session.request("hold", name="held")) for _ in range(20)]
        await until(lambda: bot.has_started(*["held"] * 20))
        bot.signal(number)
        await until(lambda: session.state == "lost")
        await bot.command("release")
        assert await asyncio.gather(*asked) == ["held"] * 20
        assert (await bot.answer())["closed"] is True
        assert await bot.ended() == 0
        bot.check()
        with pytest.raises(ConnectError):
            await session.request("state")


@posix
async def test_the_ports_are_free_while_the_bot_still_answers(discord_port: int) -> None:
    async with Program("bot", loopback=discord_port, multicast_port=0, grace_period=60) as bot:
        port, multicast_port = bot.ready["port"], bot.ready["multicast_port"]
        async with ClientSession(port=port, secret_key=KEY) as session:
            held = asyncio.ensure_future(session.request("hold", name="held"))
            await until(lambda: bot.has_started("held"))
            bot.signal(signal.SIGINT)
            await until(lambda: is_free(port) and is_free(multicast_port))
            async with Program(
                "bot", loopback=discord_port, port=port, multicast_port=multicast_port
            ) as successor:
                assert not held.done()
                await bot.command("release")
                assert await held == "held"
                assert (await bot.answer())["closed"] is True
                assert (await session.request("state"))["pid"] == successor.pid
                assert await bot.ended() == 0
                bot.check()
                await session.close()
                await successor.finish()


@posix
async def test_what_takes_longer_than_the_grace_period_is_cancelled(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port, grace_period=0.3) as bot,
        ClientSession(port=bot.ready["port"], secret_key=KEY, connect_timeout=0) as session,
    ):
        asked = asyncio.ensure_future(session.request("hold", name="long"))
        await until(lambda: bot.has_started("long"))
        bot.signal(signal.SIGINT)
        with pytest.raises(Cancelled, match="shutting down"):
            await asked
        assert (await bot.answer())["ended"] == {"long": "cancelled and cleaned up"}
        assert await bot.ended() == 0
        bot.check()


async def test_a_restart_under_load_answers_or_refuses_every_request(
    server: Server[commands.Bot], session: ClientSession, held: Held
) -> None:
    port, stopping = server.port, False
    outcomes: list[str] = []

    async def call(caller: int) -> None:
        number = 0
        while not stopping:
            number += 1
            try:
                answer = await session.request("echo", number=[caller, number], spread=0.01)
            except IPCError as error:
                outcomes.append(type(error).__name__)
            else:
                outcomes.append("answered" if answer == [caller, number] else "mixed up")

    callers = [asyncio.create_task(call(number)) for number in range(50)]
    for _ in range(5):
        seen = len(outcomes)
        await until(lambda seen=seen: len(outcomes) > seen + 300)
        await server.terminate_server()
        assert not server.is_running()
        # A server with a fixed port has it anyway.
        listening = server._listening  # pyright: ignore[reportPrivateUsage]
        server._listening = replace(listening, port=port)  # pyright: ignore[reportPrivateUsage]
        await server.start()
    stopping = True
    await asyncio.gather(*callers)
    # A call that the server refuses because it closes is sent again over the next connection, and so is everything that
    # was called meanwhile. Calls that were sent and never read are lost.
    assert set(outcomes) <= {"answered", ConnectionLost.__name__}
    assert outcomes.count("answered") > 1000
