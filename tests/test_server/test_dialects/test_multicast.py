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

from discord_tools.ipc import ClientSession, Server, ServerLimits, Unauthorized, UnprovenServer
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc_server import connections
from discord_tools.ipc_server.connections import UNAUTHENTICATED
from discord_tools.ipc_server.dialects.websocket import MAX_WRONG_KEYS
from equipment.key import KEY
from equipment.websockets import signature
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


# -- with a proof

NONCE = "c" * 32


def proving(nonce: str, key: str = KEY) -> dict[str, Any]:
    return {"connect": True, "nonce": NONCE, "proof": signature(key, "client", NONCE, nonce)}


async def challenged(ws: aiohttp.ClientWebSocketResponse) -> str:
    await ws.send_json({"connect": True, "nonce": NONCE})
    answer = await ws.receive_json(timeout=5)
    assert set(answer) == {"nonce"}
    return answer["nonce"]


@pytest.mark.parametrize("port", ["multicast", "main"])
async def test_a_proof_gets_the_port_and_a_proof(
    bot: commands.Bot, http: aiohttp.ClientSession, port: str
) -> None:
    async with serving(bot) as server:
        async with http.ws_connect(server.multicast_ws_url if port == "multicast" else server.ws_url) as ws:
            nonces = set[str]()
            for _ in range(2):
                nonce = await challenged(ws)
                nonces.add(nonce)
                await ws.send_json(proving(nonce))
                assert await ws.receive_json(timeout=5) == {
                    "message": "Connection success",
                    "port": server.port,
                    "code": 200,
                    "proof": signature(KEY, "server", NONCE, nonce, str(server.port)),
                }
        assert len(nonces) == 2


WRONG_PROOFS: dict[str, Any] = {
    "wrong key": lambda nonce: [proving(nonce, "wrong")],
    "no proof": lambda nonce: [{"connect": True, "nonce": NONCE, "proof": None}],
    "a number": lambda nonce: [{"connect": True, "nonce": NONCE, "proof": 5}],
    "not ASCII": lambda nonce: [{"connect": True, "nonce": NONCE, "proof": "ю" * 64}],
    "proof of a server": lambda nonce: [{**proving(nonce), "proof": signature(KEY, "server", NONCE, nonce)}],
    "another nonce of the server": lambda nonce: [proving("s" * 32)],
    "another nonce of the client": lambda nonce: [{**proving(nonce), "nonce": "d" * 32}],
    "a second question": lambda nonce: [{"connect": True, "nonce": NONCE}],
    "right, but after a wrong one": lambda nonce: [proving(nonce, "wrong"), proving(nonce)],
}


@pytest.mark.parametrize("wrong", WRONG_PROOFS)
async def test_a_wrong_proof_is_answered_like_a_wrong_key_and_counts_as_one(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    async with serving(bot) as server, http.ws_connect(server.multicast_ws_url) as ws:
        for message in WRONG_PROOFS[wrong](await challenged(ws)):
            await ws.send_json(message)
            assert await ws.receive_json(timeout=5) == {"error": "Invalid or no token provided.", "code": 403}
        assert "Refused to tell the port" in caplog.text
        failures = server._gate.brake._failures
        assert [one.count for one in failures.values()] == [len(WRONG_PROOFS[wrong]("n"))]
        await ws.send_json(proving(await challenged(ws)))
        assert (await ws.receive_json(timeout=5))["port"] == server.port


async def test_a_proof_is_used_once(bot: commands.Bot, http: aiohttp.ClientSession) -> None:
    async with serving(bot) as server, http.ws_connect(server.multicast_ws_url) as ws:
        proof = proving(await challenged(ws))
        for code in (200, 403):
            await ws.send_json(proof)
            assert (await ws.receive_json(timeout=5))["code"] == code
        async with http.ws_connect(server.multicast_ws_url) as other:
            await challenged(other)
            await other.send_json(proof)
            assert (await other.receive_json(timeout=5))["code"] == 403


@pytest.mark.parametrize("nonce", [None, "", 5, "n" * 21, "n" * 129, "n" * 31 + "\n", ["n" * 32]])
async def test_a_nonce_that_cannot_be_used_is_answered_with_what_one_is(
    bot: commands.Bot, http: aiohttp.ClientSession, nonce: object
) -> None:
    async with serving(bot) as server:
        answer = await ask(http, server, {"connect": True, "nonce": nonce})
    assert answer["code"] == 400
    assert "22 to 128 characters" in answer["error"]


async def test_nonces_that_cannot_be_used_close_the_connection(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot) as server, http.ws_connect(server.multicast_ws_url) as ws:
        for _ in range(MAX_WRONG_KEYS):
            await ws.send_json({"connect": True, "nonce": ""})
            assert (await ws.receive_json(timeout=5))["code"] == 400
        assert (await ws.receive(timeout=5)).type is WSMsgType.CLOSE


async def test_a_server_without_a_key_proves_nothing(bot: commands.Bot, http: aiohttp.ClientSession) -> None:
    async with serving(bot, secret_key=MISSING) as server:
        answer = await ask(http, server, {"connect": True, "nonce": NONCE})
        assert answer == {"message": "Connection success", "port": server.port, "code": 200}


async def test_a_session_with_a_key_does_not_trust_a_server_without_one(bot: commands.Bot) -> None:
    async with serving(bot, secret_key=MISSING) as server:
        options: dict[str, Any] = {"multicast_port": server.multicast_port, "connect_timeout": 0.1}
        async with ClientSession("127.0.0.1", secret_key=KEY, **options) as session:
            with pytest.raises(UnprovenServer, match="servers without a key"):
                await session.request("ping")


@pytest.mark.parametrize("options", [{}, {"secret_key": "wrong"}], ids=["no key", "wrong key"])
async def test_a_session_without_the_right_key_is_unauthorized(
    bot: commands.Bot, options: dict[str, Any]
) -> None:
    async with serving(bot) as server:
        session = ClientSession("127.0.0.1", multicast_port=server.multicast_port, **options)
        with pytest.raises(Unauthorized):
            await session.start()
        await session.close()


async def test_a_socket_whose_client_has_to_prove_is_not_the_oldest_one(
    bot: commands.Bot, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNAUTHENTICATED_PER_ADDRESS", 2)
    limits = ServerLimits(handshake_timeout=60)  # which is not what ends it
    async with (
        serving(bot, limits=limits) as server,
        http.ws_connect(server.multicast_ws_url) as asking,
        http.ws_connect(server.multicast_ws_url) as silent,
    ):
        nonce = await challenged(asking)
        async with http.ws_connect(server.multicast_ws_url):
            assert (await silent.receive(timeout=5)).type is WSMsgType.CLOSE
            await asking.send_json(proving(nonce))
            assert (await asking.receive_json(timeout=5))["port"] == server.port


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
