"""A bot that is killed, restarted, moved or frozen under load, and the dashboard that outlives it."""

from __future__ import annotations

import asyncio
import signal
import time

from discord_tools.ipc import ClientSession
from equipment.processes import SECRET_KEY, Program
from test_end_to_end.tools import posix, until

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
            began = time.monotonic()
            assert (await dashboard.command("until_answered"))["pid"] == successor.pid
            assert time.monotonic() - began < 2.0
            await until(lambda: answered(dashboard, successor))
            load = await dashboard.command("stop")
            outcomes = check(load, dashboard)
            assert outcomes["ConnectionLost"] >= 1
            assert load["slowest"] < 10.0
            await dashboard.finish()
            await successor.finish()


async def test_a_bot_that_is_down_for_five_seconds_is_found_again_within_two(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        Program("dashboard", port=bot.ready["port"], connect_timeout=2.5) as dashboard,
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
            began = time.monotonic()
            assert (await dashboard.command("until_answered"))["pid"] == successor.pid
            assert time.monotonic() - began < 2.0
            load = await dashboard.command("stop")
            check(load, dashboard)
            assert "(tried for 2.5 s)" in load["last"]
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
                Occupied(bot.ready["port"]),
                Program("bot", loopback=discord_port, multicast_port=multicast_port) as successor,
            ):
                began = time.monotonic()
                assert successor.ready["port"] != bot.ready["port"]
                assert (await dashboard.command("until_answered"))["pid"] == successor.pid
                assert time.monotonic() - began < 2.0
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
            # With nobody there any more, each caller is told so.
            before = await refused()
            await until(lambda: refused_since(before))
            outcomes = check(await dashboard.command("stop"), dashboard)
            assert outcomes["ConnectionLost"] >= 1
            assert outcomes["ConnectError"] >= 1
            await dashboard.finish()


@posix
async def test_a_frozen_bot_is_given_up_by_the_heartbeat_and_found_when_it_goes_on(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        Program(
            "dashboard", port=bot.ready["port"], heartbeat=0.4, handshake_timeout=0.5, connect_timeout=0.5
        ) as dashboard,
    ):
        await dashboard.send("request", route="hold", data={"name": "mine"})
        async with ClientSession(port=bot.ready["port"], secret_key=SECRET_KEY) as session:

            async def began() -> bool:
                return "mine" in (await session.request("state"))["started"]

            await until(began)
        bot.signal(signal.SIGSTOP)
        answer = await dashboard.answer()
        assert answer["error"] == "ConnectionLost"
        # Half as long again as the heartbeat, and what the machine adds to it.
        assert answer["seconds"] < 3.0
        # Its port still takes connections: that is the kernel's doing. Only the handshake tells.
        down = await dashboard.command("request", route="echo", data={"number": 1})
        assert down["error"] == "ConnectError"
        bot.signal(signal.SIGCONT)
        assert (await dashboard.command("until_answered"))["pid"] == bot.pid
        await dashboard.finish()
        await bot.finish()


class Occupied:
    """Listens on a port and hangs up on everybody."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> None:
        self._server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", self._port)

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None, "entered"
        self._server.close()
        await self._server.wait_closed()
