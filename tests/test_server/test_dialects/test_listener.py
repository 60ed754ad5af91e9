"""The main port for WebSockets without our subprotocol: which of them are accepted."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import Request, Server
from discord_tools.ipc_server import budget
from equipment.key import KEY
from equipment.until import until
from equipment.websockets import RawWebSocket, frame_header, upgrade_request
from test_server.tools import jsonrpc, records_with, serving

KEYED = {"Authorization": KEY}


async def refused(http: aiohttp.ClientSession, url: str, **options: Any) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(url, **options)
    return caught.value.status


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"Authorization": "kex"}}, 401),
        ({"headers": {"Authorization": ""}}, 401),
        ({"origin": "https://evil.example"}, 403),
    ],
)
async def test_a_refused_socket_is_logged_with_its_connection_and_its_status(
    bot: commands.Bot,
    http: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    status: int,
) -> None:
    async with serving(bot) as server:
        assert await refused(http, server.ws_url, **options) == status
    (record,) = records_with(caplog, "Refused with HTTP")
    assert re.fullmatch(rf"\[conn-\d+ 127\.0\.0\.1\] Refused with HTTP {status}", record.getMessage())
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


async def test_a_client_without_a_key_is_refused_where_no_older_library_is_served(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot, dialects=("jsonrpc",)) as server:
        assert await refused(http, server.ws_url) == 401
        async with http.ws_connect(server.ws_url, headers=KEYED) as socket:
            await socket.send_json(jsonrpc("echo"))
            assert (await socket.receive_json())["result"] == {}


def url(server: Server[Any], port: str) -> str:
    return server.ws_url if port == "main" else server.multicast_ws_url


async def test_lines_about_a_socket_of_json_rpc_name_its_connection_its_address_and_its_key(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(bot) as server, http.ws_connect(server.ws_url, headers=KEYED) as socket:
        await socket.send_json(jsonrpc("nothing"))
        await asyncio.wait_for(socket.receive(), 5)
    (record,) = records_with(caplog, "There is no endpoint ")
    assert re.match(r"\[conn-\d+ 127\.0\.0\.1 key secret_key\] ", record.getMessage())


@pytest.mark.parametrize("port", ["main", "multicast"])
async def test_unfinished_messages_without_a_key_are_dropped_and_a_large_first_message_with_it_is_answered(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setattr(budget, "WITHOUT_KEY", 5 * 60_000)
    async with serving(bot, multicast=True) as server:

        @server.route()
        async def size(request: Request, x: str) -> dict[str, int]:
            return {"size": len(x)}

        at = server.port if port == "main" else server.multicast_port
        clients = [await RawWebSocket.open(at, upgrade_request(subprotocol=False)) for _ in range(6)]
        for each in clients[:5]:
            each.writer.write(frame_header(100_000) + bytes(50_000))
            await asyncio.wait_for(each.writer.drain(), 5)
        held = server._shared.budget._without_key  # pyright: ignore[reportPrivateUsage]
        await until(lambda: sum(one.unfinished_bytes >= 50_000 for one in held) == 5)
        question = {"endpoint": "size", "kwargs": {"x": "x" * 200_000}, "secret": KEY}
        client = clients[5]
        text = json.dumps(question).encode()
        client.writer.write(b"\x81" + frame_header(len(text))[1:] + text)
        async with asyncio.timeout(10):
            # The first messages make way. The last one is as large, and complete before it would be its turn.
            opcode, reason = await clients[0].receive()
            assert opcode == RawWebSocket.CLOSE
            assert reason[2:] == b"too many bytes of messages without a key"
            assert json.loads((await client.receive())[1])["code"] == 200
        for one in clients:
            one.writer.close()
