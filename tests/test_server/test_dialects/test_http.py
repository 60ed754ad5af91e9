"""``POST /`` over real connections: callers, their account, and lines in the log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import tracemalloc
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import Request, ServerLimits
from discord_tools.ipc.missing import MISSING
from equipment.handlers import WaitingHandler
from equipment.key import KEY
from equipment.until import settle, until
from test_server.tools import FORGED, assert_bounded_lines, http_url, jsonrpc, records_with, serving

KEYED = {"Authorization": KEY}


async def post(http: aiohttp.ClientSession, url: str, message: Any) -> Any:
    async with http.post(url, json=message, headers=KEYED) as response:
        return await response.json()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "kex"}, 401),
        ({"Authorization": "ключ"}, 401),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
async def test_a_refused_post_is_logged_with_its_connection_and_its_status(
    bot: commands.Bot,
    http: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
    status: int,
) -> None:
    async with (
        serving(bot) as server,
        http.post(http_url(server), json=jsonrpc("echo"), headers=headers) as response,
    ):
        assert response.status == status
        assert (await response.json())["error"]["code"] == -32001
    (record,) = records_with(caplog, "Refused with HTTP")
    assert re.fullmatch(rf"\[conn-\d+ 127\.0\.0\.1\] Refused with HTTP {status}", record.getMessage())
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


async def test_a_line_about_a_call_by_post_names_its_connection_its_address_and_its_key(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(bot) as server:
        for _ in range(2):
            await post(http, http_url(server), jsonrpc(FORGED))
    # One line for all that a caller asks for in vain.
    (record,) = records_with(caplog, "There is no endpoint ")
    assert re.match(r"\[conn-\d+ 127\.0\.0\.1 key secret_key\]", record.getMessage())
    assert_bounded_lines(caplog)


LARGE = "x" * 1_000_000


@pytest.mark.parametrize(
    "message",
    [
        {**jsonrpc("wait"), "other": LARGE},
        [jsonrpc("wait"), jsonrpc("drop", {"text": LARGE}, number=2)],
        [jsonrpc("wait"), {**jsonrpc("wait", number=2), "meta": {"acting_as": {"token": LARGE}}}],
    ],
    ids=["a member that is not read", "data of another call", "a token"],
)
async def test_a_post_holds_nothing_but_the_data_of_its_calls_in_progress(
    bot: commands.Bot, http: aiohttp.ClientSession, message: Any
) -> None:
    body, calls, gate, started = json.dumps(message).encode(), 6, asyncio.Event(), 0
    async with serving(bot) as server:

        @server.route()
        async def wait(request: Request) -> None:
            nonlocal started
            started += 1
            await gate.wait()

        @server.route()
        async def drop(request: Request) -> None:
            """Reads nothing."""

        async def call() -> Any:
            async with http.post(http_url(server), data=body, headers=KEYED) as response:
                return await response.json()

        await post(http, http_url(server), jsonrpc("echo"))
        tracemalloc.start()
        try:
            tasks = [asyncio.create_task(call()) for _ in range(calls)]
            await until(lambda: started == calls)
            await settle()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < len(LARGE)
        gate.set()
        await asyncio.gather(*tasks)


async def test_posts_over_different_connections_share_one_account(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot, limits=ServerLimits(calls=1)) as server, aiohttp.ClientSession() as another:
        waiting, url = WaitingHandler(), http_url(server)
        server.add_route(waiting.wait)
        first = asyncio.create_task(post(http, url, jsonrpc("wait")))
        await waiting.started.wait()
        assert (await post(another, url, jsonrpc("echo")))["error"]["code"] == -32004
        waiting.released.set()
        assert (await first)["result"] == "done"
        assert (await post(another, url, jsonrpc("echo")))["result"] == {}


async def test_a_post_while_the_server_is_draining_did_not_run(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot) as server, aiohttp.ClientSession() as another:
        waiting, url = WaitingHandler(), http_url(server)
        server.add_route(waiting.wait)
        await post(http, url, jsonrpc("echo"))  # so that there is a connection when the port is freed
        first = asyncio.create_task(post(another, url, jsonrpc("wait")))
        await waiting.started.wait()
        ending = asyncio.create_task(server.terminate_server())
        await asyncio.sleep(0)  # its first step
        refused = (await post(http, url, jsonrpc("echo")))["error"]
        assert (refused["code"], refused["data"]) == (-32003, {"ran": False})
        waiting.released.set()
        assert (await first)["result"] == "done"
        await ending


async def test_without_a_key_a_post_has_none(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(bot, secret_key=MISSING) as server:
        await post(http, http_url(server), jsonrpc("nothing"))
    (record,) = records_with(caplog, "There is no endpoint ")
    assert re.match(r"\[conn-\d+ 127\.0\.0\.1 no key\] ", record.getMessage())


async def test_bodies_that_are_never_complete_count_and_are_refused_where_memory_is_needed(
    bot: commands.Bot,
) -> None:
    size = 900_000
    async with serving(bot, limits=ServerLimits(total_bytes=4 * size)) as server:
        head = (
            f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {KEY}\r\nContent-Length: {size + 1}\r\n\r\n"
        ).encode()
        connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        for _ in range(6):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head + b"x" * size)
            await writer.drain()
            connections.append((reader, writer))
        async with asyncio.timeout(5):
            answer = (await connections[0][0].readuntil(b"}}")).decode()
        assert answer.startswith("HTTP/1.1 503 ")
        assert "the bot holds too much for its clients" in answer
        for _, writer in connections:
            writer.transport.abort()
