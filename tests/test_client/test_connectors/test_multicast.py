from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from discord_tools.ipc import ConnectError, ResolutionError, Unauthorized, UnprovenServer
from discord_tools.ipc.address import Address
from discord_tools.ipc.connectors.multicast import resolve
from equipment.key import KEY
from equipment.websockets import ScriptedWebSocket, WebSocketBot, multicast_bot, port_answer, signature

NONCE = "n" * 32


async def ask(bot: WebSocketBot, key: str | None = KEY, *, older_servers: bool = False) -> int:
    async with bot as multicast, aiohttp.ClientSession() as http:
        address = Address(host="127.0.0.1", port=multicast.port)
        return await in_time(resolve(http, address, key, older_servers))


async def in_time(awaitable: Awaitable[int]) -> int:
    async with asyncio.timeout(5):
        return await awaitable


class Recorder:
    """A multicast port that keeps all that it is sent, and gives these answers."""

    def __init__(self, *answers: Any) -> None:
        self.messages: list[Any] = []
        self.bot = WebSocketBot(self._script, protocols=())
        self._answers = answers

    async def _script(self, far: ScriptedWebSocket) -> None:
        while True:  # until the client closes
            self.messages.append(json.loads(await far.transport.receive()))
            answer = self._answers[len(self.messages) - 1]
            await far.socket.send_json(answer(self.messages[-1]) if callable(answer) else answer)

    @property
    def shown(self) -> str:
        """Everything that the client sent, with the heads of its requests."""
        return str([self.messages, [dict(request.headers) for request in self.bot.requests]])


# -- with a proof


@pytest.mark.parametrize("key", [KEY, "ключ"])
async def test_both_sides_prove_the_key_and_neither_shows_it(key: str) -> None:
    def prove(question: Any) -> Any:
        return {**port_answer(8000), "proof": signature(key, "server", question["nonce"], NONCE, "8000")}

    recorder = Recorder({"nonce": NONCE}, prove)
    assert await ask(recorder.bot, key) == 8000
    first, second = recorder.messages
    assert first == {"nonce": first["nonce"], "connect": True, "headers": {"Authorization": None}}
    assert second == {**first, "proof": signature(key, "client", first["nonce"], NONCE)}
    assert key not in recorder.shown
    assert "Authorization" not in recorder.bot.requests[0].headers


async def test_each_question_has_a_nonce_of_its_own() -> None:
    recorder = Recorder({"nonce": NONCE}, port_answer(1), {"nonce": NONCE}, port_answer(1))
    async with recorder.bot as multicast, aiohttp.ClientSession() as http:
        for _ in range(2):
            with pytest.raises(UnprovenServer):
                await resolve(http, Address(host="127.0.0.1", port=multicast.port), KEY, False)
    nonces = {message["nonce"] for message in recorder.messages}
    assert len(nonces) == len(recorder.bot.requests) == 2


@pytest.mark.parametrize(
    "proof",
    [
        lambda question: None,
        lambda question: "",
        lambda question: "ю" * 64,
        lambda question: 5,
        lambda question: [],
        lambda question: question["proof"],
        lambda question: signature(KEY, "client", question["nonce"], NONCE, "8000"),
        lambda question: signature("another key", "server", question["nonce"], NONCE, "8000"),
        lambda question: signature(KEY, "server", question["nonce"], NONCE, "8001"),
        lambda question: signature(KEY, "server", question["nonce"], "m" * 32, "8000"),
        lambda question: signature(KEY, "server", "m" * 32, NONCE, "8000"),
        lambda question: signature(KEY, "server", NONCE, question["nonce"], "8000"),
        lambda question: signature(KEY, "server", question["nonce"], NONCE),
    ],
    ids=[
        *("none", "empty", "not ASCII", "a number", "a list", "reflected", "of the client", "another key"),
        *("another port", "another question", "an older question", "nonces swapped", "without the port"),
    ],
)
@pytest.mark.parametrize("older_servers", [False, True])
async def test_a_wrong_proof_is_of_another_program(proof: Callable[[Any], Any], older_servers: bool) -> None:
    recorder = Recorder({"nonce": NONCE}, lambda question: {**port_answer(8000), "proof": proof(question)})
    with pytest.raises(UnprovenServer, match="another program listens there"):
        await ask(recorder.bot, older_servers=older_servers)
    assert KEY not in recorder.shown


@pytest.mark.parametrize("nonce", ["", "n" * 21, "n" * 129, "n" * 31 + "\n", "ю" * 32, 5, [], True, {}])
async def test_a_nonce_that_cannot_be_used_is_not_signed(nonce: object) -> None:
    recorder = Recorder({"nonce": nonce})
    with pytest.raises(ResolutionError, match="its nonce is bad"):
        await ask(recorder.bot)
    assert len(recorder.messages) == 1


async def test_a_proof_that_is_refused_is_unauthorized() -> None:
    recorder = Recorder({"nonce": NONCE}, {"error": "Invalid or no token provided.", "code": 403})
    with pytest.raises(Unauthorized):
        await ask(recorder.bot)
    assert KEY not in recorder.shown


@pytest.mark.parametrize(
    "answer",
    [
        port_answer(8000),
        {"error": "Invalid or no token provided.", "code": 403},
        {"error": "Unauthorized", "code": 401},
    ],
    ids=["a port", "403", "401"],
)
async def test_an_answer_without_a_proof_is_refused_and_the_key_is_not_shown(answer: Any) -> None:
    recorder = Recorder(answer)
    with pytest.raises(UnprovenServer, match="older_servers=True") as caught:
        await ask(recorder.bot)
    assert isinstance(caught.value, ConnectError)
    assert KEY not in recorder.shown


# -- in clear


async def test_without_a_key_the_question_is_what_older_servers_understand() -> None:
    recorder = Recorder(port_answer(8000))
    assert await ask(recorder.bot, None) == 8000
    assert recorder.messages == [{"connect": True, "headers": {"Authorization": None}}]


@pytest.mark.parametrize("key", [KEY, "ключ"])
@pytest.mark.parametrize("code", [401, 403])
async def test_an_older_server_is_shown_the_key_where_it_is_accepted(key: str, code: int) -> None:
    recorder = Recorder({"error": "Unauthorized", "code": code}, port_answer(8000))
    assert await ask(recorder.bot, key, older_servers=True) == 8000
    assert recorder.messages[1:] == [{"connect": True, "headers": {"Authorization": key}}]


async def test_an_older_server_without_a_key_is_not_shown_ours() -> None:
    recorder = Recorder(port_answer(8000))
    assert await ask(recorder.bot, older_servers=True) == 8000
    assert KEY not in recorder.shown


@pytest.mark.parametrize(
    "answer",
    [
        port_answer(8000),
        {"message": "Connection success", "port": "8000", "code": 200},
        {"message": "Successfully connected", "code": 200, "port": 8000},
        {"port": 8000},
    ],
)
@pytest.mark.parametrize("key", [KEY, None])
async def test_a_port_is_taken_from_every_dialect(answer: Any, key: str | None) -> None:
    assert await ask(multicast_bot(answer, key=None), key, older_servers=True) == 8000


@pytest.mark.parametrize("answer", ['{"port":8000}', b'{"port":8000}'], ids=["text", "binary"])
async def test_the_answer_may_be_text_or_binary(answer: str | bytes) -> None:
    assert await ask(multicast_bot(answer), None) == 8000


async def test_a_ping_before_the_answer_is_no_answer() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.transport.receive()
        await far.socket.ping()
        await far.send(port_answer(8000))
        await far.ended()

    assert await ask(WebSocketBot(script, protocols=()), None) == 8000


async def test_an_answer_counts_even_if_the_server_does_not_close() -> None:
    ended = asyncio.Event()

    async def script(far: ScriptedWebSocket) -> None:
        await far.transport.receive()
        await far.send(port_answer(8000))
        await ended.wait()

    async with WebSocketBot(script, protocols=()) as multicast, aiohttp.ClientSession() as http:
        address = Address(host="127.0.0.1", port=multicast.port)
        try:
            assert await in_time(resolve(http, address, None, False)) == 8000
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


async def test_an_error_names_the_path_of_the_multicast_port() -> None:
    bot = multicast_bot(port_answer(8000), key=None)
    async with bot as multicast, aiohttp.ClientSession() as http:
        address = Address(host="127.0.0.1", port=multicast.port, path="/ipc/")
        with pytest.raises(UnprovenServer) as caught:
            await in_time(resolve(http, address, KEY, older_servers=False))
    assert caught.value.address == f"ws://127.0.0.1:{multicast.port}/ipc/"
