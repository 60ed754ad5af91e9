"""What a broken or hostile client can send: it gets an error, it is logged, and all other clients go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import WSMsgType
from discord.ext import commands

from discord_tools.ipc import ClientSession, Server
from equipment.key import KEY
from equipment.serving import serving
from equipment.until import until
from equipment.websockets import HELLO, WebSocketClient, frame_header, unread_client, websocket_client
from test_end_to_end.conftest import Held

DEEP = b"[" * 90_000 + b"]" * 90_000
DEEP_OBJECT = b'{"a":' * 90_000 + b"1" + b"}" * 90_000


def call(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "echo", **members}).encode()


@pytest.fixture
async def bystander(session: ClientSession, held: Held) -> AsyncIterator[ClientSession]:
    """Another session with a request in progress, which nothing here may disturb."""
    asked = asyncio.ensure_future(session.request("hold", name="bystander"))
    await held.began("bystander").wait()
    yield session
    assert session.is_connected()
    held.release.set()
    assert await asked == "bystander"


@pytest.fixture
async def raw(server: Server[commands.Bot], bystander: ClientSession) -> AsyncIterator[WebSocketClient]:
    async with websocket_client(server.port, server.secret_key) as client:
        yield client


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"hello", -32700, "JSON is malformed"),
        (b"", -32700, "truncated"),
        (b"{", -32700, "truncated"),
        (b'{"jsonrpc":"2.0","id":1,"method":"echo"} and more', -32700, "JSON is malformed"),
        (DEEP, -32600, "not a frame"),
        (DEEP_OBJECT, -32700, "nested too deeply"),
        (b'{"jsonrpc":"2.0","id":1,"method":"echo","params":' + DEEP_OBJECT + b"}", -32700, "too deeply"),
        (b'{"jsonrpc":"2.0","id":1,"method":"echo","headers":' + DEEP_OBJECT + b"}", -32700, "too deeply"),
        (b"7", -32600, "not a frame"),
        (b'"hello"', -32600, "not a frame"),
        (b"null", -32600, "not a frame"),
        (b"[1]", -32600, "not a frame"),
        (b"{}", -32600, "jsonrpc"),
        (call(jsonrpc="1.0"), -32600, "jsonrpc"),
        (call(method=7), -32600, "not a frame"),
        (call(method=None), -32600, "not a frame"),
        (b'{"jsonrpc":"2.0","id":1}', -32600, "method"),
        (call(id={}), -32600, "not a frame"),
        (call(id=[1]), -32600, "not a frame"),
        (call(params="text"), -32602, "object"),
        (call(params=7), -32602, "object"),
        (call(headers=[]), -32600, "not a frame"),
    ],
)
async def test_a_message_that_is_no_call_is_answered_with_an_error(
    raw: WebSocketClient, data: bytes, code: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in (WSMsgType.TEXT, WSMsgType.BINARY):
        await raw.socket.send_frame(data, kind)
        error = (await raw.read())["error"]
        assert error["code"] == code
        assert words in json.dumps(error)
    await raw.call("next", "echo", {"number": 1})
    assert (await raw.read())["result"] == 1
    if code != -32602:
        assert any("broke the protocol" in record.getMessage() for record in caplog.records)


async def test_invalid_utf8_in_a_text_frame_closes_the_connection(
    raw: WebSocketClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="discord_tools")
    await raw.send_text(b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}')
    # RFC 6455, 8.1: the frame, not only what is in it, is broken.
    assert (await raw.ended()).code == 1007
    await until(lambda: "'raw'] The connection has ended" in caplog.text)


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", bytes(range(256)), b'{"jsonrpc":"2.0","id":1,"method":"\xff"}']
)
async def test_binary_garbage_is_answered_with_an_error(raw: WebSocketClient, data: bytes) -> None:
    await raw.send_bytes(data)
    assert (await raw.read())["error"]["code"] in (-32700, -32600)
    await raw.call("next", "echo", {"number": 1})
    assert (await raw.read())["result"] == 1


async def test_invalid_utf8_in_the_data_is_answered_with_an_error(raw: WebSocketClient) -> None:
    await raw.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"echo","params":{"number":"\xff\xfe"}}')
    assert (await raw.read())["error"]["code"] in (-32700, -32602)
    await raw.call("next", "echo", {"number": 1})
    assert (await raw.read())["result"] == 1


async def test_a_message_over_the_limit_closes_the_connection_with_1009(
    server: Server[commands.Bot], bystander: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="discord_tools")
    async with unread_client(server.port, server.secret_key) as (reader, writer):
        # The header says how much there is to come. It need not come.
        writer.write(frame_header(server.limits.message_bytes + 1))
        # RFC 6455, 5.5.1: a close frame begins with its code.
        async with asyncio.timeout(5):
            assert (1009).to_bytes(2, "big") in (await reader.read())[-120:]
    await until(lambda: "'raw'] The connection has ended" in caplog.text)


async def test_a_message_over_the_limit_that_does_come_is_not_kept(
    raw: WebSocketClient, server: Server[commands.Bot]
) -> None:
    # The connection may be reset before the client has read why it is closed.
    with contextlib.suppress(ConnectionError):
        await raw.send_bytes(b" " * (4 * server.limits.message_bytes))
    assert (await raw.ended()).code in (1009, 1006, None)


async def test_the_limit_of_a_message_can_be_set(loopback_bot: commands.Bot) -> None:
    async with (
        serving(loopback_bot, message_bytes=5000) as server,
        websocket_client(server.port, KEY) as raw,
    ):
        await raw.send_bytes(b" " * 4900)
        assert (await raw.read())["error"]["code"] == -32700
        await raw.send_bytes(b" " * 5001)
        assert (await raw.ended()).code == 1009


async def test_an_id_that_is_still_in_use_is_refused_and_the_first_call_is_answered(
    raw: WebSocketClient, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    await raw.call(5, "hold", {"name": "mine"})
    await held.began("mine").wait()
    await raw.call(5, "hold", {"name": "not mine"})
    refused = await raw.read()
    # With the id it would pass for the answer to the first call.
    assert refused["id"] is None
    assert "still open" in refused["error"]["message"]
    held.release.set()
    assert await raw.read() == {"jsonrpc": "2.0", "id": 5, "result": "mine"}
    assert "not mine" not in held.started
    assert "still open" in caplog.text


async def test_a_reply_to_nothing_is_refused(raw: WebSocketClient, caplog: pytest.LogCaptureFixture) -> None:
    await raw.send({"jsonrpc": "2.0", "id": 99, "result": 1})
    assert "99" in (await raw.read())["error"]["message"]
    await until(lambda: "broke the protocol" in caplog.text)


async def test_cancelling_an_unknown_call_does_no_harm(raw: WebSocketClient) -> None:
    await raw.send({"jsonrpc": "2.0", "method": "rpc.cancel", "params": {"id": 12345}})
    await raw.call(1, "echo", {"number": 1})
    assert (await raw.read())["result"] == 1


@pytest.mark.parametrize("params", [None, {}, {"id": []}, [1]])
async def test_a_cancel_of_nothing_is_an_error(raw: WebSocketClient, params: Any) -> None:
    await raw.send({"jsonrpc": "2.0", "method": "rpc.cancel", "params": params})
    assert "rpc.cancel" in (await raw.read())["error"]["message"]


async def test_an_unknown_notification_is_ignored(raw: WebSocketClient) -> None:
    await raw.send({"jsonrpc": "2.0", "method": "rpc.later"})
    await raw.send({"jsonrpc": "2.0", "method": "echo", "params": {"number": 1}})
    await raw.call(1, "echo", {"number": 2})
    assert await raw.read() == {"jsonrpc": "2.0", "id": 1, "result": 2}


async def test_a_protocol_method_of_a_later_version_is_an_unknown_endpoint(raw: WebSocketClient) -> None:
    await raw.call(1, "rpc.subscribe", {"events": ["join"]})
    assert (await raw.read())["error"]["code"] == -32601


async def test_bad_frames_in_a_pack_do_not_spoil_the_good_ones(raw: WebSocketClient) -> None:
    await raw.send_text(
        b"[" + b",".join([call(params={"number": 7}), b"7", b"{}", call(id=2, params={"number": 8})]) + b"]"
    )
    found: dict[Any, Any] = {}
    while not {1, 2} <= found.keys():
        frame = await raw.read()
        found[frame["id"]] = frame.get("result")
    assert found == {1: 7, 2: 8, None: None}


@pytest.mark.parametrize("packed", [False, True])
async def test_a_thousand_violations_end_the_connection_and_not_the_log(
    raw: WebSocketClient, packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if packed:
        await raw.send_text(b"[" + b",".join([b"7"] * 1000) + b"]")
    else:
        await raw.send_texts([b"7"] * 1000)
    assert (await raw.ended()).code == 1002
    lines = [record for record in caplog.records if "broke the protocol" in record.getMessage()]
    assert 1 <= len(lines) < 50


async def test_a_call_before_the_hello_is_refused(
    server: Server[commands.Bot], bystander: ClientSession, held: Held
) -> None:
    async with websocket_client(server.port, server.secret_key, hello=False) as raw:
        await raw.call(1, "hold", {"name": "early"})
        assert "rpc.hello" in (await raw.read())["error"]["message"]
        assert (await raw.ended()).code == 1002
    assert "early" not in held.started


async def test_a_client_that_says_nothing_is_closed_in_time(loopback_bot: commands.Bot) -> None:
    async with (
        serving(loopback_bot, handshake_timeout=0.1) as server,
        websocket_client(server.port, KEY, hello=False) as raw,
    ):
        assert (await raw.ended()).code == 1002


@pytest.mark.parametrize("params", [[], {"client": 7}, {}, None, {"client": "x", "timeout": "long"}])
async def test_a_hello_that_says_nothing_useful_is_refused(server: Server[commands.Bot], params: Any) -> None:
    async with websocket_client(server.port, server.secret_key, hello=False) as raw:
        await raw.send({**HELLO, "params": params})
        assert (await raw.read())["error"]["code"] == -32600
        assert (await raw.ended()).code == 1002


async def test_a_second_hello_does_not_disturb_the_calls_in_progress(
    raw: WebSocketClient, held: Held
) -> None:
    await raw.call(5, "hold", {"name": "mine"})
    await held.began("mine").wait()
    await raw.send(HELLO)
    assert (await raw.read())["id"] == "hello"
    held.release.set()
    assert (await raw.read())["result"] == "mine"


@pytest.mark.parametrize("timeout", [-1, 0, 1e308, -1e308])
async def test_an_absurd_timeout_does_no_harm(
    server: Server[commands.Bot], bystander: ClientSession, timeout: float
) -> None:
    async with websocket_client(server.port, server.secret_key, hello=False) as raw:
        await raw.send({**HELLO, "params": {"client": "raw", "timeout": timeout}})
        assert "result" in await raw.read()
        await raw.call(1, "echo", {"number": 1})
        answer = await raw.read()
        assert answer.get("result") == 1 or answer["error"]["code"] == -32005


@pytest.mark.parametrize("number", ["text", "", 0, -1, 1.5, 2**53, 2**80, None])
async def test_any_id_of_json_rpc_comes_back_as_it_was(raw: WebSocketClient, number: Any) -> None:
    await raw.call(number, "echo", {"number": 1})
    assert await raw.read() == {"jsonrpc": "2.0", "id": number, "result": 1}


async def test_a_client_that_disconnects_in_the_middle_of_a_frame_does_no_harm(
    server: Server[commands.Bot], bystander: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="discord_tools")
    async with unread_client(server.port, server.secret_key) as (_, writer):
        writer.write(frame_header(1000) + b"abc")
        await writer.drain()
    await until(lambda: "'raw'] The connection has ended" in caplog.text)
    assert await bystander.request("echo", number=1) == 1


async def test_http_that_is_no_websocket_gets_an_error_that_says_so(
    server: Server[commands.Bot], bystander: ClientSession
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {server.secret_key}\r\n\r\n".encode())
    assert b" 426 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_bytes_that_are_no_http_do_no_harm(
    server: Server[commands.Bot], bystander: ClientSession
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(bytes(range(256)) + b"\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert await bystander.request("echo", number=1) == 1
