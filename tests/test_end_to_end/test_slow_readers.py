"""A client that asks for much and reads nothing costs a bounded amount of memory, and other clients nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, Request
from discord_tools.ipc.missing import MISSING
from equipment.key import KEY
from equipment.processes import Program
from equipment.serving import serving
from equipment.until import PATIENCE, until
from equipment.websockets import unread_client

MEGABYTE = 1_000_000


async def all_held(session: ClientSession) -> bool:
    return (await session.request("state"))["started"].count("cached") == 1000


def calls(count: int, method: str, **params: object) -> list[dict[str, object]]:
    return [{"jsonrpc": "2.0", "id": number, "method": method, "params": params} for number in range(count)]


async def test_a_client_that_never_reads_does_not_grow_the_bot(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        ClientSession(port=bot.ready["port"], secret_key=KEY) as session,
    ):
        before = (await session.request("state"))["memory"]
        if before is None:
            pytest.skip("this system does not tell a process's memory in /proc")
        thousand = calls(1000, "big", size=MEGABYTE)
        async with unread_client(bot.ready["port"], KEY, *[thousand, thousand]):
            most = 0
            for _ in range(200):
                # Each of these is answered while a gigabyte is waiting to be asked for.
                most = max(most, (await session.request("state"))["memory"] - before)
                assert await session.request("echo", number=1) == {"number": 1, "pid": bot.pid}
            # The backlog of 8 MiB, and the calls that one portion of a message starts.
            assert most < 200 * MEGABYTE
        await session.close()
        await bot.finish()


async def test_answers_that_are_ready_at_once_are_written_one_after_the_other(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        ClientSession(port=bot.ready["port"], secret_key=KEY) as session,
    ):
        before = (await session.request("state"))["memory"]
        if before is None:
            pytest.skip("this system does not tell a process's memory in /proc")
        async with unread_client(bot.ready["port"], KEY, calls(1000, "cached")):
            await until(lambda: all_held(session))
            await session.request("release")
            most = 0
            for _ in range(100):
                most = max(most, (await session.request("state"))["memory"] - before)
            assert most < 100 * MEGABYTE
        await session.close()
        await bot.finish()


async def test_a_client_that_reads_after_all_gets_every_answer(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        ClientSession(port=bot.ready["port"], secret_key=KEY) as session,
    ):
        async with unread_client(bot.ready["port"], KEY, calls(50, "big", size=MEGABYTE)) as (
            reader,
            _,
        ):
            for _ in range(50):
                await session.request("echo", number=1)
            answers = 0
            while answers < 50:
                await reader.readuntil(b'"result":"xx')
                answers += 1
                await reader.readexactly(MEGABYTE - 10)
        await session.close()
        await bot.finish()


@pytest.mark.parametrize("each", [100, MEGABYTE])
async def test_a_server_ends_though_a_client_does_not_read(
    loopback_bot: commands.Bot, each: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = serving(loopback_bot, grace_period=0.1, backlog_bytes=MEGABYTE)
    ran = asyncio.Event()

    @server.route()
    async def big(request: Request, size: int) -> str:
        ran.set()
        return "x" * size

    async with server, unread_client(server.port, KEY, calls(100, "big", size=each)):
        await ran.wait()
        async with asyncio.timeout(PATIENCE):
            await server.terminate_server()


async def test_a_client_that_does_not_read_for_long_is_given_up(
    loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"heartbeat": 0.3, "grace_period": 0.1, "backlog_bytes": MEGABYTE, "resume_timeout": 0.1}
    server = serving(loopback_bot, **limits)
    ended: list[str] = []

    @server.route()
    async def big(request: Request, size: int) -> str:
        return "x" * size

    @server.route()
    async def hold(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hold")

    caplog.set_level("INFO", logger="discord_tools")
    async with (
        server,
        unread_client(server.port, KEY, calls(1, "hold"), calls(100, "big", size=MEGABYTE)[1:]),
    ):
        await until(lambda: ended == ["hold"])
        await until(
            lambda: any("The connection has ended" in record.getMessage() for record in caplog.records)
        )


async def test_a_client_of_json_rpc_that_does_not_read_for_long_is_given_up(
    loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    # Without a key there is no heartbeat for such clients, which would notice by itself that this one does not read.
    limits = {"heartbeat": 0.2, "grace_period": 0.1, "backlog_bytes": MEGABYTE}
    server = serving(loopback_bot, host="127.0.0.1", secret_key=MISSING, **limits)

    @server.route()
    async def big(request: Request, size: int) -> str:
        return "x" * size

    caplog.set_level("INFO", logger="discord_tools")
    each = calls(50, "big", size=MEGABYTE)
    async with (
        server,
        unread_client(server.port, None, *each, subprotocol=False) as (reader, _),
        asyncio.timeout(PATIENCE),
    ):
        await until(lambda: "does not read its answers" in caplog.text)
        await until(lambda: "ipc plain writer" not in {task.get_name() for task in asyncio.all_tasks()})
        with suppress(ConnectionError):
            while await reader.read(MEGABYTE):
                pass
