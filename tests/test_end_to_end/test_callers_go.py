"""Callers that cancel, run out of time, or vanish: their handlers end, too."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, Request, RequestTimeout, Server, SessionClosed
from equipment.key import KEY
from equipment.processes import Program
from equipment.serving import serving
from equipment.until import PATIENCE, until
from equipment.websockets import frame_header, unread_client
from test_end_to_end.conftest import Held, posix


async def test_cancelling_a_request_cancels_its_handler(session: ClientSession, held: Held) -> None:
    asked = asyncio.ensure_future(session.request("hold", name="a"))
    await held.began("a").wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await until(lambda: held.ended.get("a") == "cancelled and cleaned up")


async def test_a_timeout_around_a_request_ends_its_handler(session: ClientSession, held: Held) -> None:
    timeout = asyncio.timeout(None)

    async def ask() -> None:
        async with timeout:
            await session.request("hold", name="a")

    asked = asyncio.create_task(ask())
    await held.began("a").wait()
    timeout.reschedule(0)  # the time is over
    with pytest.raises(TimeoutError):
        await asked
    await until(lambda: held.ended.get("a") == "cancelled and cleaned up")


async def test_the_sessions_timeout_reaches_the_handler(server: Server[commands.Bot], held: Held) -> None:
    left: list[float | None] = []

    @server.route()
    async def look(request: Request) -> None:
        left.append(request.deadline)
        await held.release.wait()

    async with ClientSession(port=server.port, secret_key=str(server.secret_key), timeout=0.2) as session:
        with pytest.raises(RequestTimeout) as caught:
            await session.request("look")
        assert (caught.value.endpoint, caught.value.seconds) == ("look", 0.2)
        with pytest.raises(RequestTimeout):
            await session.request("hold", name="a")
        await until(lambda: held.ended.get("a") == "cancelled and cleaned up")
    assert left[0] is not None
    assert 0 < left[0] <= 0.2


async def test_closing_the_session_cancels_its_handlers(server: Server[commands.Bot], held: Held) -> None:
    async with ClientSession(port=server.port, secret_key=str(server.secret_key)) as session:
        asked = asyncio.ensure_future(session.request("hold", name="a"))
        await held.began("a").wait()
    await until(lambda: held.ended.get("a") == "cancelled and cleaned up")
    with pytest.raises(SessionClosed):
        await asked


async def test_a_client_process_that_vanishes_and_stays_away_loses_its_handlers(discord_port: int) -> None:
    async with Program("bot", loopback=discord_port, resume_timeout=0.2) as bot:
        async with Program("dashboard", port=bot.ready["port"]) as dashboard:
            await dashboard.send("request", route="hold", data={"name": "mine"})
            await until(lambda: bot.has_started("mine"))
            dashboard.kill()
            await dashboard.ended()
        await until(lambda: bot.has_cancelled("mine"))
        await bot.finish()


@posix
async def test_a_client_process_that_freezes_is_given_up_by_the_heartbeat(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port, heartbeat=0.4, resume_timeout=0.1) as bot,
        Program("dashboard", port=bot.ready["port"]) as dashboard,
    ):
        await dashboard.send("request", route="hold", data={"name": "mine"})
        await until(lambda: bot.has_started("mine"))
        dashboard.signal(signal.SIGSTOP)
        await until(lambda: bot.has_cancelled("mine"))
        dashboard.signal(signal.SIGCONT)
        assert (await dashboard.answer())["error"] == "ConnectionLost"
        assert (await dashboard.command("until_answered"))["pid"] == bot.pid
        await dashboard.finish()
        await bot.finish()


async def test_a_client_of_json_rpc_that_disconnects_while_its_answers_wait_loses_its_handlers_at_once(
    loopback_bot: commands.Bot,
) -> None:
    """It is not read while it does not read its answers, for as long as it may still be there."""
    started, cancelled = asyncio.Event(), asyncio.Event()
    server = serving(loopback_bot, message_bytes=1 << 27, backlog_bytes=1, heartbeat=600.0)

    @server.route()
    async def big(request: Request) -> str:
        return "x" * 50_000_000

    @server.route()
    async def hold(request: Request) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with server:
        held = {"jsonrpc": "2.0", "id": 1, "method": "hold"}
        async with unread_client(server.port, KEY, held, subprotocol=False) as (reader, writer):
            await asyncio.wait_for(started.wait(), PATIENCE)
            for number in (2, 3):
                data = json.dumps({"jsonrpc": "2.0", "id": number, "method": "big"}).encode()
                writer.write(frame_header(len(data)) + data)
                # The first answer has begun, and its rest waits for a reader. The second call does not start.
                await asyncio.wait_for(reader.readuntil(b"xxx"), PATIENCE)
            assert not cancelled.is_set()
        await asyncio.wait_for(cancelled.wait(), PATIENCE)


async def test_a_client_that_takes_long_to_send_one_large_call_is_not_given_up(
    loopback_bot: commands.Bot,
) -> None:
    server = serving(loopback_bot, heartbeat=0.2)

    @server.route()
    async def measure(request: Request, text: str) -> dict[str, int]:
        return {"length": len(text)}

    params = {"text": "x" * 10_000}
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "measure", "params": params}).encode()
    message = frame_header(len(call)) + call
    async with server, unread_client(server.port, KEY) as (reader, writer), asyncio.timeout(PATIENCE):
        for start in range(0, len(message), 500):
            writer.write(message[start : start + 500])
            # A slow network: all of it takes five heartbeats, and no pong can be sent in between.
            await asyncio.sleep(0.05)
        await reader.readuntil(b'"result":{"length":10000}')
