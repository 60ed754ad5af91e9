"""The main port: which clients are accepted, and how others are refused, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType
from discord.ext import commands

from discord_tools.ipc import ClientSession, Request, Server, ServerLimits, Unauthorized
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.wire.frames import SUBPROTOCOL
from discord_tools.ipc_server import brake
from equipment.until import until
from equipment.websockets import RawWebSocket, frame_header, upgrade_request
from test_server import tools
from test_server.tools import FORGED, assert_bounded_lines, records_with

#: A server without a key, unless one is given.
serving = partial(tools.serving, multicast=False, secret_key=MISSING)


async def refused(http: aiohttp.ClientSession, server: Server[Any], **options: Any) -> int:
    options = {"protocols": (SUBPROTOCOL,), **options}
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(server.ws_url, **options)
    return caught.value.status


def frame(number: int, method: str, params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


async def test_a_wrong_key_is_refused_before_the_upgrade(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(bot, secret_key="key") as server:
        for headers in ({}, {"Authorization": "kex"}, {"Authorization": ""}):
            assert await refused(http, server, headers=headers) == 401
    assert re.search(r"\[conn-\d+ 127\.0\.0\.1\] Refused with HTTP 401$", caplog.text, re.MULTILINE)
    assert "kex" not in caplog.text


async def test_a_web_page_is_refused_before_the_upgrade(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot, secret_key="key", origins=["https://good.example"]) as server:
        headers = {"Authorization": "key"}
        assert await refused(http, server, origin="https://evil.example") == 403
        async with http.ws_connect(
            server.ws_url, protocols=(SUBPROTOCOL,), origin="https://good.example", headers=headers
        ) as ws:
            assert ws.protocol == SUBPROTOCOL


@pytest.mark.parametrize("key", ["key", "Schlüssel-鍵"])
async def test_a_session_with_the_key_is_accepted(bot: commands.Bot, key: str) -> None:
    async with serving(bot, secret_key=key) as server:
        async with ClientSession("127.0.0.1", server.port, secret_key=key) as session:
            assert await session.request("echo", a=1) == {"a": 1}
        with pytest.raises(Unauthorized):
            async with ClientSession("127.0.0.1", server.port, secret_key=key + "x"):
                pass


async def test_the_key_is_not_among_the_headers_that_a_route_sees(bot: commands.Bot) -> None:
    async with serving(bot, secret_key="key") as server:

        @server.route()
        async def headers(request: Request) -> Any:
            return dict(request.headers)

        async with ClientSession("127.0.0.1", server.port, secret_key="key", headers={"a": 1}) as session:
            assert await session.request("headers") == {"a": 1}


@pytest.mark.parametrize("protocols", [(), ("chat",), ("discord-tools.ipc.2",)])
async def test_a_websocket_without_the_subprotocol_gets_426_where_no_dialect_is_enabled(
    bot: commands.Bot, http: aiohttp.ClientSession, protocols: tuple[str, ...]
) -> None:
    async with serving(bot, dialects=()) as server:
        assert await refused(http, server, protocols=protocols) == 426


async def test_a_request_that_is_no_websocket_gets_an_http_error(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot) as server:
        url = server.ws_url.replace("ws:", "http:")
        async with http.get(url) as response:
            assert response.status == 426
            assert SUBPROTOCOL in await response.text()
        async with http.put(url) as response:
            assert response.status == 405
        async with http.get(url + "/elsewhere") as response:
            assert response.status == 404


async def test_more_connections_than_allowed_get_503_and_a_free_place_can_be_taken(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(bot, limits=ServerLimits(connections=1)) as server:
        async with ClientSession("127.0.0.1", server.port) as session:
            assert await session.request("echo") == {}
            assert await refused(http, server) == 503
        async with ClientSession("127.0.0.1", server.port) as session:
            assert await session.request("echo") == {}
    assert "Refused with HTTP 503: ServerLimits.connections allows no more connections" in caplog.text


async def test_a_message_over_the_limit_closes_only_its_own_connection(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with (
        serving(bot, limits=ServerLimits(message_bytes=5000)) as server,
        ClientSession("127.0.0.1", server.port) as session,
        http.ws_connect(server.ws_url, protocols=(SUBPROTOCOL,)) as ws,
    ):
        await session.start()
        await ws.send_str(frame(1, "rpc.hello", {"client": "x" * 6000}))
        message = await ws.receive(timeout=5)
        assert (message.type, message.data) == (WSMsgType.CLOSE, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)
        assert await session.request("echo", a=1) == {"a": 1}


@pytest.mark.parametrize("garbage", [b"\xff\x00garbage", b"\x83\x00", b"\xc2\x80"])
async def test_bytes_that_are_no_frames_close_only_their_own_connection(
    bot: commands.Bot, garbage: bytes
) -> None:
    async with serving(bot) as server, ClientSession("127.0.0.1", server.port) as session:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Protocol: discord-tools.ipc.1\r\n\r\n" + garbage
        )
        assert b"101" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
        assert await session.request("echo", a=1) == {"a": 1}


async def test_a_client_that_disconnects_during_the_handshake_leaves_nothing(bot: commands.Bot) -> None:
    async with serving(bot, limits=ServerLimits(handshake_timeout=0.2)) as server:
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Protocol: discord-tools.ipc.1\r\n\r\n"
            )
            await writer.drain()
            writer.transport.abort()
        async with ClientSession("127.0.0.1", server.port) as session:
            assert await session.request("echo") == {}


async def test_text_and_binary_messages_are_read_alike(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot) as server, http.ws_connect(server.ws_url, protocols=(SUBPROTOCOL,)) as ws:
        await ws.send_str(frame(1, "rpc.hello", {"client": "x"}))
        await ws.receive_bytes(timeout=5)
        await ws.send_bytes(frame(2, "echo", {"a": 1}).encode())
        assert json.loads(await ws.receive_bytes(timeout=5)) == {
            "jsonrpc": "2.0",
            "id": 2,
            "result": {"a": 1},
        }


async def test_lines_about_a_connection_name_its_ids_its_address_its_key_and_quote_the_client(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")
    async with serving(bot, secret_key="key") as server:
        headers = {"Authorization": "key"}
        async with http.ws_connect(server.ws_url, protocols=(SUBPROTOCOL,), headers=headers) as ws:
            await ws.send_str(frame(1, "rpc.hello", {"client": FORGED[:200]}))
            await ws.receive(timeout=5)
            await ws.close(code=1000, message=FORGED.encode()[:123])
        await until(lambda: records_with(caplog, "The connection has ended"))
    (record,) = records_with(caplog, "The connection has ended")
    label = rf"\[conv-\d+ conn-\d+ 127\.0\.0\.1 key secret_key {re.escape(repr(FORGED[:100]))}\] "
    assert re.match(label, record.getMessage())
    assert "forged line" in record.getMessage()
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)
    assert_bounded_lines(caplog)


# -- subprotocols


@pytest.mark.parametrize("offered", ["graphql-ws", "discord-tools.ipc.2", "soap, chat"])
async def test_a_foreign_subprotocol_is_refused_without_a_line_in_the_log(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, http: aiohttp.ClientSession, offered: str
) -> None:
    async with Server(bot, "127.0.0.1", 0, multicast_port=0, secret_key="key") as server:
        for port in (server.port, server.multicast_port):
            caplog.clear()
            request = upgrade_request(
                "Authorization: key", f"Sec-WebSocket-Protocol: {offered}", subprotocol=False
            )
            socket = await RawWebSocket.open(port, request)
            assert socket.status == 400
            await socket.close()
            assert caplog.messages == []


async def test_the_subprotocol_jsonrpc_is_selected_on_the_main_port(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(bot, secret_key="key") as server:
        options = {"protocols": ("soap", "jsonrpc"), "headers": {"Authorization": "key"}}
        async with http.ws_connect(server.ws_url, **options) as ws:
            assert ws.protocol == "jsonrpc"
            await ws.send_str(frame(1, "echo", {"a": 1}))
            assert json.loads((await ws.receive(timeout=5)).data)["result"] == {"a": 1}
    assert caplog.messages == []


async def test_the_subprotocol_jsonrpc_is_refused_where_that_dialect_is_switched_off(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot, secret_key="key", dialects=("better-ipc",)) as server:
        options = {"protocols": ("jsonrpc",), "headers": {"Authorization": "key"}}
        assert await refused(http, server, **options) == 400


# -- pings

PING, PONG = 0x9, 0xA


async def test_pings_are_answered_from_the_moment_when_the_key_was_shown(bot: commands.Bot) -> None:
    async with serving(bot, secret_key="key") as server:
        socket = await RawWebSocket.open(server.port, upgrade_request(subprotocol=False))
        for _ in range(20):
            socket.send(b"early", PING)
        ask = {"endpoint": "echo", "data": {"a": 1}, "headers": {"Authorization": "key"}}
        socket.send(json.dumps(ask).encode(), RawWebSocket.TEXT)
        # Were they answered, a pong would come first.
        opcode, payload = await socket.receive()
        assert (opcode, json.loads(payload)) == (RawWebSocket.TEXT, {"a": 1})
        socket.send(b"late", PING)
        assert await socket.receive() == (PONG, b"late")
        socket.cut()
        await socket.close()


# -- wrong keys


async def test_a_wrong_key_is_refused_without_an_answer_after_too_many_and_the_right_one_is_accepted(
    bot: commands.Bot, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake, "REFUSED", brake.FREE)
    async with serving(bot, secret_key="key") as server:
        url, headers = server.ws_url.replace("ws:", "http:"), {"Authorization": "kex"}
        for _ in range(brake.FREE):
            async with http.post(url, headers=headers) as response:
                assert response.status == 401
        for method in ("POST", "GET"):
            async with http.request(method, url, headers=headers) as response:
                assert (response.status, await response.text()) == (429, "too many wrong keys")
                assert response.headers["Connection"] == "close"
        assert await refused(http, server, headers=headers) == 429
        async with ClientSession("127.0.0.1", server.port, secret_key="key") as session:
            assert await session.request("echo", a=1) == {"a": 1}
        body = {"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {"a": 1}}
        async with http.post(url, headers={"Authorization": "key"}, json=body) as response:
            assert (await response.json())["result"] == {"a": 1}


# -- messages that are not complete

UNFINISHED = 900_000


async def unfinished(server: Server[Any], subprotocol: bool) -> RawWebSocket:
    """Sends most of a message, and not its end."""
    request = upgrade_request("Authorization: key", subprotocol=subprotocol)
    socket = await RawWebSocket.open(server.port, request)
    assert socket.status == 101
    socket.writer.write(frame_header(1 << 20) + b"x" * UNFINISHED)
    return socket


@pytest.mark.parametrize("subprotocol", [True, False], ids=["native", "dialect"])
async def test_messages_that_are_never_complete_count_and_the_first_of_them_are_dropped(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, subprotocol: bool
) -> None:
    limits = ServerLimits(total_bytes=4 * UNFINISHED)
    async with (
        serving(bot, secret_key="key", limits=limits) as server,
        ClientSession("127.0.0.1", server.port, secret_key="key") as session,
    ):
        budget = server._shared.budget  # pyright: ignore[reportPrivateUsage]
        sockets: list[RawWebSocket] = []
        for number in range(1, 5):
            sockets.append(await unfinished(server, subprotocol))
            # More than half of it is a multiple of what is reported.
            await until(lambda n=number: sum(m.unfinished_bytes > 600_000 for m in budget._receiving) == n)
        sockets.append(await unfinished(server, subprotocol))
        opcode, payload = await sockets[0].receive()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (RawWebSocket.CLOSE, 1008)
        assert payload[2:] == b"the bot holds too much for its clients"
        # The last of them is not in the way of the others, and can be completed.
        assert await session.request("echo", a="x" * 100_000) == {"a": "x" * 100_000}
        sockets[4].writer.write(b"x" * ((1 << 20) - UNFINISHED))
        await sockets[4].receive()
        for socket in sockets:
            socket.cut()
    assert "did not send on" in caplog.text
