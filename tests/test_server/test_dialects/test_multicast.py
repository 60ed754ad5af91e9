"""The multicast port tells the port, to those who have the key."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType
from discord.ext import commands

from discord_tools.ipc import ClientSession, Server, ServerLimits
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc_server import connections
from discord_tools.ipc_server.connections import UNAUTHENTICATED
from equipment.key import KEY
from test_server.tools import serving

ASK = {"connect": True, "headers": {"Authorization": KEY}}


async def ask(http: aiohttp.ClientSession, server: Server[Any], question: Any) -> Any:
    async with http.ws_connect(server.multicast_ws_url) as ws:
        if isinstance(question, bytes):
            await ws.send_bytes(question)
        else:
            await ws.send_str(question if isinstance(question, str) else json.dumps(question))
        message = await ws.receive(timeout=5)
    assert message.type is WSMsgType.TEXT
    return json.loads(message.data)


async def test_a_client_with_the_key_gets_the_port(bot: commands.Bot, http: aiohttp.ClientSession) -> None:
    async with serving(bot) as server:
        answer = await ask(http, server, ASK)
        assert answer == {"message": "Connection success", "port": server.port, "code": 200}
        assert await ask(http, server, json.dumps(ASK).encode()) == answer


@pytest.mark.parametrize(
    "headers", [{}, None, {"Authorization": None}, {"Authorization": "kex"}, {"Authorization": 5}]
)
async def test_a_wrong_key_is_answered_with_an_error_and_logged(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, headers: Any
) -> None:
    async with serving(bot) as server:
        answer = await ask(http, server, {"connect": True, "headers": headers})
    assert answer == {"error": "Invalid or no token provided.", "code": 403}
    assert "Refused to tell the port: wrong secret key" in caplog.text


async def test_a_server_without_a_key_answers_every_client(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot, secret_key=MISSING) as server:
        for headers in ({"Authorization": None}, {}):
            assert (await ask(http, server, {"connect": True, "headers": headers}))["port"] == server.port
        assert (await ask(http, server, {"connect": True}))["code"] == 200


@pytest.mark.parametrize(
    "question",
    [
        "",
        "no JSON",
        "[]",
        "17",
        "{}",
        '{"connect":false}',
        '{"connect":"yes"}',
        b"\xff",
        "[" * 9000,
        '{"endpoint":"x"}',
    ],
)
async def test_any_other_question_gets_an_error_and_the_connection_stays(
    bot: commands.Bot, http: aiohttp.ClientSession, question: str | bytes
) -> None:
    async with serving(bot) as server, http.ws_connect(server.multicast_ws_url) as ws:
        await (ws.send_bytes(question) if isinstance(question, bytes) else ws.send_str(question))
        assert (await ws.receive_json(timeout=5))["code"] == 400
        await ws.send_json(ASK)
        assert (await ws.receive_json(timeout=5))["port"] == server.port


async def test_a_question_that_is_too_long_closes_the_connection(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    # With better-ipc, this port takes whole calls.
    async with serving(bot, dialects=()) as server, http.ws_connect(server.multicast_ws_url) as ws:
        await ws.send_str("x" * 20_000)
        assert (await ws.receive(timeout=5)).type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
        assert (await ask(http, server, ASK))["port"] == server.port


async def test_a_web_page_is_refused_unless_it_may_connect(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot, origins=["https://good.example"]) as server:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(server.multicast_ws_url, origin="https://evil.example")
        assert caught.value.status == 403
        async with http.ws_connect(server.multicast_ws_url, origin="https://good.example") as ws:
            await ws.send_json(ASK)
            assert (await ws.receive_json(timeout=5))["port"] == server.port


async def test_a_request_without_an_upgrade_gets_426(bot: commands.Bot, http: aiohttp.ClientSession) -> None:
    async with serving(bot) as server, http.get(server.multicast_ws_url.replace("ws:", "http:")) as response:
        assert response.status == 426
        assert response.headers["Upgrade"] == "websocket"


async def test_a_client_that_asks_nothing_is_disconnected(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    limits = ServerLimits(handshake_timeout=0.01)
    async with serving(bot, limits=limits) as server, http.ws_connect(server.multicast_ws_url) as ws:
        assert (await ws.receive(timeout=5)).type is WSMsgType.CLOSE


async def test_a_client_that_disconnects_after_the_handshake_leaves_nothing(bot: commands.Bot) -> None:
    async with serving(bot) as server:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.multicast_port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert b"101" in await reader.readline()
            writer.transport.abort()


async def test_a_session_without_a_port_finds_the_server(bot: commands.Bot) -> None:
    async with serving(bot) as server:

        @server.route()
        async def ping(request: Any) -> str:
            return "pong"

        async with ClientSession(
            "127.0.0.1", multicast_port=server.multicast_port, secret_key=KEY
        ) as session:
            assert await session.request("ping") == "pong"
            assert session.url == server.ws_url


# -- sockets without a key


@pytest.mark.parametrize("held", ["main", "multicast"])
async def test_a_port_question_is_answered_while_any_number_of_sockets_show_no_key(
    bot: commands.Bot, http: aiohttp.ClientSession, held: str
) -> None:
    async with serving(bot) as server, AsyncExitStack() as sockets:
        url = server.ws_url if held == "main" else server.multicast_ws_url
        for _ in range(UNAUTHENTICATED + 1):
            await sockets.enter_async_context(http.ws_connect(url))
        assert (await ask(http, server, ASK))["port"] == server.port


async def test_a_client_that_shows_the_key_in_its_handshake_never_makes_way(
    bot: commands.Bot, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNAUTHENTICATED_PER_ADDRESS", 1)
    limits = ServerLimits(handshake_timeout=60)  # which is not what ends it
    async with serving(bot, limits=limits) as server, http.ws_connect(server.multicast_ws_url) as older:
        headers = {"Authorization": KEY}
        async with (
            http.ws_connect(server.multicast_ws_url, headers=headers) as one,
            http.ws_connect(server.multicast_ws_url, headers=headers) as other,
        ):
            for ws in (one, other, older):
                await ws.send_json(ASK)
                assert (await ws.receive_json(timeout=5))["port"] == server.port
        # A question with the key makes nobody stay, so this one counts still.
        async with http.ws_connect(server.multicast_ws_url):
            message = await older.receive(timeout=5)
            assert message.type is WSMsgType.CLOSE
            assert message.extra == "too many connections have shown no key"
