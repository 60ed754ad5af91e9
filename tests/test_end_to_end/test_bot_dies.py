"""A bot that is killed, restarted, moved or frozen under load, and the dashboard that outlives it."""

from __future__ import annotations

import asyncio
import signal

import pytest

from discord_tools.ipc import ClientLimits, ClientSession, ConnectionLost
from equipment.key import KEY
from equipment.ports import closing, listening
from equipment.processes import Program
from equipment.until import PATIENCE, until
from test_end_to_end.conftest import posix

CALLERS = 50

#: What a request may end with while the bot is gone. Nothing else, and above all not with another's answer.
TYPED = {"answered", "ConnectionLost", "ConnectError", "ResolutionError"}


async def answered(dashboard: Program, by: Program, at_least: int = 500) -> bool:
    """Whether the bot has answered some of the load, and all has been answered so often."""
    load = await dashboard.command("outcomes")
    return by.pid in load["answered_by"] and load["outcomes"]["answered"] >= at_least


def check(load: dict[str, object], dashboard: Program) -> dict[str, int]:
    outcomes = load["outcomes"]
    assert isinstance(outcomes, dict)
    assert outcomes.keys() <= TYPED, load
    assert dashboard.is_running()
    return outcomes


async def test_a_bot_killed_under_load_loses_no_request_and_its_successor_answers(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        Program("dashboard", port=bot.ready["port"]) as dashboard,
    ):
        await dashboard.command("load", callers=CALLERS)
        await until(lambda: answered(dashboard, bot))
        bot.kill()
        assert await bot.ended() != 0
        async with Program("bot", loopback=discord_port, port=bot.ready["port"]) as successor:
            assert (await dashboard.command("until_answered"))["pid"] == successor.pid
            await until(lambda: answered(dashboard, successor))
            load = await dashboard.command("stop")
            outcomes = check(load, dashboard)
            assert outcomes["ConnectionLost"] >= 1
            await dashboard.finish()
            await successor.finish()


async def test_a_bot_that_is_down_for_longer_than_requests_wait_is_found_again(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        Program("dashboard", port=bot.ready["port"], connect_timeout=1.5) as dashboard,
    ):
        await dashboard.command("load", callers=CALLERS)
        await until(lambda: answered(dashboard, bot))
        bot.kill()
        await bot.ended()

        async def given_up() -> bool:
            load = await dashboard.command("outcomes")
            assert load["outcomes"].get("ConnectionLost", 0) <= CALLERS
            return load["outcomes"].get("ConnectError", 0) >= CALLERS

        # Each caller has waited twice: for the answer that was lost with the bot, and for a connection.
        await until(given_up)
        async with Program("bot", loopback=discord_port, port=bot.ready["port"]) as successor:
            assert (await dashboard.command("until_answered"))["pid"] == successor.pid
            load = await dashboard.command("stop")
            check(load, dashboard)
            assert "(tried for 1.5 s)" in load["last"]
            await dashboard.finish()
            await successor.finish()


async def test_a_bot_that_comes_back_on_another_port_is_found_by_the_multicast_port(
    discord_port: int,
) -> None:
    async with Program("bot", loopback=discord_port, multicast_port=0) as bot:
        multicast_port = bot.ready["multicast_port"]
        async with Program("dashboard", multicast_port=multicast_port) as dashboard:
            await dashboard.command("load", callers=CALLERS)
            await until(lambda: answered(dashboard, bot))
            bot.kill()
            await bot.ended()
            async with (
                # Holds the port that the first bot had, so that the second one cannot get the same.
                listening(closing, bot.ready["port"]),
                Program("bot", loopback=discord_port, multicast_port=multicast_port) as successor,
            ):
                assert successor.ready["port"] != bot.ready["port"]
                assert (await dashboard.command("until_answered"))["pid"] == successor.pid
                check(await dashboard.command("stop"), dashboard)
                await dashboard.finish()
                await successor.finish()


async def test_a_bot_killed_again_and_again_is_found_each_time(discord_port: int) -> None:
    async with Program("bot", loopback=discord_port) as bot:
        port = bot.ready["port"]
        async with Program("dashboard", port=port, connect_timeout=0.5) as dashboard:

            async def refused() -> int:
                load = await dashboard.command("outcomes")
                return load["outcomes"].get("ConnectError", 0)

            async def refused_since(before: int) -> bool:
                return await refused() >= before + CALLERS

            await dashboard.command("load", callers=CALLERS)
            await until(lambda: answered(dashboard, bot, at_least=1))
            bot.kill()
            await bot.ended()
            for _ in range(2):
                async with Program("bot", loopback=discord_port, port=port) as successor:
                    await until(lambda bot=successor: answered(dashboard, bot, at_least=1))
                    successor.kill()
                    await successor.ended()
            # Now that there is no bot any more, each caller gets an error that says so.
            before = await refused()
            await until(lambda: refused_since(before))
            outcomes = check(await dashboard.command("stop"), dashboard)
            assert outcomes["ConnectionLost"] >= 1
            assert outcomes["ConnectError"] >= 1
            await dashboard.finish()


@posix
async def test_a_frozen_bot_is_given_up_by_the_heartbeat_and_found_when_it_goes_on(discord_port: int) -> None:
    limits = ClientLimits(heartbeat=0.4, handshake_timeout=0.5)
    async with (
        Program("bot", loopback=discord_port) as bot,
        Program(
            "dashboard", port=bot.ready["port"], heartbeat=0.4, handshake_timeout=0.5, connect_timeout=0.5
        ) as dashboard,
    ):
        await dashboard.send("request", route="hold", data={"name": "mine"})
        async with ClientSession(port=bot.ready["port"], secret_key=KEY, limits=limits) as session:
            await until(lambda: bot.has_started("mine"))
            bot.signal(signal.SIGSTOP)
            assert (await dashboard.answer())["error"] == "ConnectionLost"
            # Its port still takes connections: that is the kernel's doing. Only the handshake tells.
            down = await dashboard.command("request", route="echo", data={"number": 1})
            assert down["error"] == "ConnectError"
            await until(lambda: session.state == "lost")
            bot.signal(signal.SIGCONT)
            assert (await dashboard.command("until_answered"))["pid"] == bot.pid
            await asyncio.wait_for(session.wait_until_ready(), PATIENCE)
        await dashboard.finish()
        await bot.finish()


async def test_a_bot_killed_between_a_call_and_its_answer_runs_it_again_only_if_it_may(
    discord_port: int,
) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        ClientSession(port=bot.ready["port"], secret_key=KEY, connect_timeout=20) as session,
    ):
        risky = asyncio.create_task(session.request("hold", name="risky"))
        safe = asyncio.create_task(session.request("hold_again", name="safe"))
        await until(lambda: bot.has_started("risky", "safe"))
        bot.kill()
        await bot.ended()
        assert not risky.done()
        async with Program("bot", loopback=discord_port, port=bot.ready["port"]) as successor:
            with pytest.raises(ConnectionLost):
                await risky
            await until(lambda: successor.has_started("safe"))
            await session.request("release")
            assert await safe == "safe"
            assert (await session.request("state"))["started"] == ["safe"]
            await session.close()
            await successor.finish()
