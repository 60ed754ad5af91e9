from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import aiohttp
import pytest

from discord_tools.ipc import ResolutionError, Unauthorized
from discord_tools.ipc.address import Address
from discord_tools.ipc.connectors.multicast import resolve
from equipment.key import KEY
from equipment.websockets import ScriptedWebSocket, WebSocketBot, multicast_bot, port_answer


async def ask(bot: WebSocketBot, key: str | None = KEY) -> int:
    async with bot as multicast, aiohttp.ClientSession() as http:
        return await in_time(resolve(http, Address(host="127.0.0.1", port=multicast.port), key))


async def in_time(awaitable: Awaitable[int]) -> int:
    async with asyncio.timeout(5):
        return await awaitable


@pytest.mark.parametrize("key", [KEY, None, "ключ"])
async def test_the_question_is_what_older_servers_understand(key: str | None) -> None:
    questions: list[Any] = []

    def answer(question: Any) -> Any:
        questions.append(question)
        return port_answer(8000)

    assert await ask(multicast_bot(answer), key) == 8000
    assert questions == [{"connect": True, "headers": {"Authorization": key}}]


@pytest.mark.parametrize(
    "answer",
    [
        port_answer(8000),
        {"message": "Connection success", "port": "8000", "code": 200},
        {"message": "Successfully connected", "code": 200, "port": 8000},
        {"port": 8000},
    ],
)
async def test_a_port_is_taken_from_every_dialect(answer: Any) -> None:
    assert await ask(multicast_bot(answer)) == 8000


@pytest.mark.parametrize("answer", ['{"port":8000}', b'{"port":8000}'], ids=["text", "binary"])
async def test_the_answer_may_be_text_or_binary(answer: str | bytes) -> None:
    assert await ask(multicast_bot(answer)) == 8000


async def test_a_ping_before_the_answer_is_no_answer() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.transport.receive()
        await far.socket.ping()
        await far.send(port_answer(8000))
        await far.ended()

    assert await ask(WebSocketBot(script, protocols=())) == 8000


async def test_an_answer_counts_even_if_the_server_does_not_close() -> None:
    ended = asyncio.Event()

    async def script(far: ScriptedWebSocket) -> None:
        await far.transport.receive()
        await far.send(port_answer(8000))
        await ended.wait()

    async with WebSocketBot(script, protocols=()) as multicast, aiohttp.ClientSession() as http:
        address = Address(host="127.0.0.1", port=multicast.port)
        try:
            assert await in_time(resolve(http, address, KEY)) == 8000
        finally:
            ended.set()


@pytest.mark.parametrize("code", [401, 403])
async def test_a_key_that_is_refused_is_unauthorized(code: int) -> None:
    with pytest.raises(Unauthorized) as caught:
        await ask(multicast_bot({"error": "Invalid or no token provided.", "code": code}))
    assert caught.value.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"nonsense", "something else listens there"),
        (b"5", "something else listens there"),
        (b'{"port":[]}', "something else listens there"),
        (b'{"port":true}', "something else listens there"),
        (b'{"port":"eight"}', "something else listens there"),
        (b'{"port":"\xff"}', "something else listens there"),
        (b'{"error":' + b"[" * 60_000, "something else listens there"),
        (b'{"port":0}', "names no port"),
        (b'{"port":-1}', "names no port"),
        (b'{"port":65536}', "names no port"),
        (b'{"port":null}', "names no port"),
        (b"{}", "names no port"),
        (b'{"error":"out of order","code":500}', "it answers with an error: out of order"),
    ],
    ids=lambda value: value[:24].decode(errors="replace") if isinstance(value, bytes) else "",
)
async def test_an_answer_without_a_port_is_a_resolution_error(answer: bytes, reason: str) -> None:
    with pytest.raises(ResolutionError, match=reason) as caught:
        await ask(multicast_bot(answer))
    assert caught.value.host == "127.0.0.1"
    assert caught.value.port > 0


async def test_closing_without_an_answer_is_a_resolution_error() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.transport.receive()

    with pytest.raises(ResolutionError, match="without an answer"):
        await ask(WebSocketBot(script, protocols=()))


async def test_an_answer_that_is_too_large_is_a_resolution_error() -> None:
    with pytest.raises(ResolutionError, match="without an answer"):
        await ask(multicast_bot(b'{"port":8000,"error":"' + b"x" * 100_000 + b'"}'))
