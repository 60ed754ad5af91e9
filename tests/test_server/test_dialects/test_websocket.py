"""Sockets without our subprotocol, over pairs of memory transports: dialects, keys, order of answers, the end."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request, ServerLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.wire.dialects import JSONRPC
from discord_tools.ipc_server import brake, connections
from discord_tools.ipc_server.dialects import websocket
from discord_tools.ipc_server.dialects.websocket import MAX_WRONG_KEYS
from equipment.handlers import WaitingHandler
from equipment.key import KEY
from equipment.until import until
from test_server.tools import (
    FORGED,
    NOT_UNDERSTOOD,
    PORT,
    MemoryServer,
    assert_bounded_lines,
    better,
    caller,
    family,
    jsonrpc,
    memory_server,
    records_with,
)

#: A client that showed the key at the handshake.
KNOWN = caller(dialect=JSONRPC)

QUESTION = {"connect": True, "headers": {"Authorization": KEY}}
WRONG = {"connect": True, "headers": {"Authorization": "wrong"}}


class Routes(WaitingHandler):
    """Routes for these tests, and what they did."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__()
        self.ran: list[str] = []
        server.add_route(self.text)
        server.add_route(self.wait)

    async def text(self, request: Request) -> str:
        self.ran.append("text")
        return "text"

    async def wait(self, request: Request) -> str:
        self.ran.append("wait")
        return await super().wait(request)


def result(value: Any, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": value}


# -- the first message


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (jsonrpc("text"), result("text")),
        ([jsonrpc("text")], [result("text")]),
        (family("text"), "text"),
        (family("/text"), "text"),
        (better("text"), {"decoding": None, "code": 200, "response": "text"}),
        (QUESTION, {"message": "Connection success", "port": PORT, "code": 200}),
    ],
    ids=["JSON-RPC", "a batch", "discord-ext-ipc", "discord.py-tools", "better-ipc", "a port question"],
)
async def test_the_first_message_tells_the_dialect(bot: commands.Bot, message: Any, answer: Any) -> None:
    async with memory_server(bot) as server:
        Routes(server)
        assert await server.open_socket(KNOWN).ask(message) == answer


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\xff", b"17", b"{}"])
async def test_a_first_message_in_no_dialect_gets_the_answer_for_that_and_the_socket_goes_on(
    bot: commands.Bot, garbage: bytes
) -> None:
    async with memory_server(bot) as server:
        Routes(server)
        socket = server.open_socket()
        await socket.send(garbage)
        assert await socket.transport.receive() == NOT_UNDERSTOOD
        assert await socket.ask(family("text")) == "text"


async def test_a_client_that_showed_the_key_gets_an_answer_of_json_rpc_to_garbage(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        Routes(server)
        socket = server.open_socket(KNOWN)
        assert (await socket.ask(b"garbage"))["error"]["code"] == -32700
        assert await socket.ask(jsonrpc("text")) == result("text")


# -- keys


async def test_json_rpc_without_a_key_at_the_handshake_is_refused_and_closed(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        routes, socket = Routes(server), server.open_socket()
        assert (await socket.ask(jsonrpc("text")))["error"]["code"] == -32001
        assert (await socket.ended()).code == 1008
        assert routes.ran == []


@pytest.mark.parametrize(
    "wrong",
    [b"garbage", WRONG, family("text", key="wrong"), better("text", key=None)],
    ids=["garbage", "a port question", "discord-ext-ipc", "better-ipc"],
)
async def test_a_socket_is_closed_after_a_number_of_refused_messages(bot: commands.Bot, wrong: Any) -> None:
    async with memory_server(bot) as server:
        routes, socket = Routes(server), server.open_socket()
        for _ in range(MAX_WRONG_KEYS):
            await socket.ask(wrong)
        closed = await socket.ended()
        assert (closed.code, "too many requests that were refused" in closed.reason) == (1008, True)
        assert routes.ran == []


async def test_a_client_that_shows_no_key_in_time_is_disconnected(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="discord_tools")
    async with memory_server(bot, ServerLimits(handshake_timeout=0.01)) as server:
        socket = server.open_socket()
        assert (await socket.ended()).code == 1008
    (record,) = records_with(caplog, "No request with the right key in time")
    assert re.match(r"\[conn-\d+ 192\.0\.2\.1\] ", record.getMessage())
    assert (record.levelno, record.exc_info) == (logging.INFO, None)


@pytest.mark.parametrize("message", [family("text"), better("text")])
async def test_a_client_that_showed_the_key_in_time_stays(bot: commands.Bot, message: Any) -> None:
    passed = asyncio.Event()
    async with memory_server(bot, ServerLimits(handshake_timeout=0.05)) as server:
        Routes(server)
        socket = server.open_socket()
        await socket.ask(message)
        asyncio.get_running_loop().call_later(0.1, passed.set)
        await passed.wait()
        await socket.ask(message)
        assert not socket.serving.done()


async def test_a_socket_may_have_to_make_way_in_the_turn_in_which_its_time_is_over(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNAUTHENTICATED_PER_ADDRESS", 1)
    async with memory_server(bot, ServerLimits(handshake_timeout=0.001)) as server:
        Routes(server)
        older, newer = server.open_socket(), []
        await until(lambda: server.service.sockets)
        # The loop is blocked until the time is over. What it reads then starts before the older socket ends.
        asyncio.get_running_loop().call_soon(lambda: newer.append(server.open_socket()))
        time.sleep(0.01)  # noqa: ASYNC251
        closed = await older.ended()
        assert closed.code == 1008
        await newer[0].ended()
        assert newer[0].serving.exception() is None


async def test_a_client_counts_as_unauthenticated_until_it_shows_the_key(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="discord_tools")
    monkeypatch.setattr(connections, "UNAUTHENTICATED_PER_ADDRESS", 2)
    async with memory_server(bot) as server:
        Routes(server)
        known = server.open_socket(KNOWN)
        first, second = (server.open_socket() for _ in range(2))
        for socket in (first, second):
            assert await socket.ask(WRONG) != result("text")
        assert await first.ask(family("text")) == "text"
        # The first one counts no more, and neither does one that has closed.
        third = server.open_socket()
        assert await third.ask(family("text", key="wrong")) != "text"
        await third.close()
        fourth = server.open_socket()
        assert await fourth.ask(family("text", key="wrong")) != "text"
        assert await second.ask(WRONG) != result("text")
        # With another one there are too many, and the oldest of them is closed.
        fifth = server.open_socket()
        closed = await second.ended()
        assert closed.code == 1008
        assert "too many connections have shown no key" in closed.reason
        assert await fourth.ask(family("text")) == "text"
        assert await fifth.ask(family("text")) == "text"
        assert await known.ask(jsonrpc("text")) == result("text")
    assert not records_with(caplog, "in time")


async def test_a_port_question_does_not_authenticate(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(handshake_timeout=0.01)) as server:
        socket = server.open_socket()
        assert (await socket.ask(QUESTION))["port"] == PORT
        assert (await socket.ended()).code == 1008


# -- order of answers


@pytest.mark.parametrize("write", [family, better])
async def test_an_older_client_gets_its_answers_in_order(bot: commands.Bot, write: Any) -> None:
    async with memory_server(bot) as server:
        routes, socket = Routes(server), server.open_socket()
        await socket.send(write("wait"), write("text"))
        await until(lambda: len(routes.ran) == 2)
        routes.released.set()
        answers = [await socket.receive() for _ in range(2)]
    assert [one if write is family else one["response"] for one in answers] == ["done", "text"]


async def test_a_client_of_json_rpc_gets_its_answers_as_they_are_ready(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        routes, socket = Routes(server), server.open_socket(KNOWN)
        await socket.send(jsonrpc("wait", number=1), jsonrpc("text", number=2))
        assert await socket.receive() == result("text", 2)
        routes.released.set()
        assert await socket.receive() == result("done", 1)


# -- the end of a socket


async def test_a_client_that_disconnects_with_unread_answers_does_not_block_its_socket(
    bot: commands.Bot,
) -> None:
    async with memory_server(bot, ServerLimits(backlog_bytes=1)) as server:
        socket = server.open_socket(KNOWN)
        await socket.send(*[b"garbage"] * 10)
        await socket.transport.close()
        await asyncio.wait_for(socket.serving, 5)


async def test_a_client_that_does_not_read_its_answers_is_disconnected(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="discord_tools")
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.01)
    limits = ServerLimits(backlog_bytes=1, heartbeat=0.01)
    async with memory_server(bot, limits) as server:
        socket = server.open_socket(KNOWN, capacity=1)
        await socket.send(*[b"garbage"] * 3)
        await asyncio.wait_for(socket.serving, 5)
        assert (await socket.ended()).code == 1008
    (record,) = records_with(caplog, "The client does not read its answers")
    assert record.levelno == logging.INFO


async def test_a_client_that_reads_its_answers_late_is_served_again(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(backlog_bytes=1)) as server:
        Routes(server)
        socket = server.open_socket(KNOWN, capacity=1)
        sending = asyncio.create_task(socket.send(*[b"garbage"] * 10, jsonrpc("text")))
        answers = [await socket.receive() for _ in range(11)]
        await sending
    assert answers[-1] == result("text")


@pytest.mark.parametrize("message", [jsonrpc("wait"), family("wait"), better("wait")])
async def test_a_client_that_disconnects_cancels_its_calls(bot: commands.Bot, message: Any) -> None:
    async with memory_server(bot) as server:
        routes, socket = Routes(server), server.open_socket(KNOWN)
        await socket.send(message)
        await routes.started.wait()
        await socket.close()
        await asyncio.wait_for(routes.cancelled.wait(), 5)


async def test_a_socket_that_opens_while_the_server_is_draining_is_closed(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        server.admission.draining = True
        closed = await server.open_socket(KNOWN).ended()
    assert (closed.code, "the bot is shutting down" in closed.reason) == (1008, True)


async def test_the_end_of_the_server_cancels_calls_and_sends_their_answers(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 3600)  # which is only for clients that do not read
    async with memory_server(bot) as server:
        routes, socket = Routes(server), server.open_socket(KNOWN)
        await socket.send(jsonrpc("wait"))
        await routes.started.wait()
        await asyncio.wait_for(server.service.close(()), 5)
        answer = await socket.receive()
        assert (answer["id"], answer["error"]["code"]) == (1, -32006)
        with pytest.raises(Closed) as caught:
            await socket.transport.receive()
        assert caught.value.code == 1001
        assert routes.cancelled.is_set()
    assert not server.service.sockets


@pytest.mark.parametrize("write", [family, better])
async def test_a_client_that_guesses_keys_in_its_messages_is_disconnected_and_one_with_the_key_is_not(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    monkeypatch.setattr(brake, "REFUSED", brake.FREE)
    async with memory_server(bot) as server:
        routes, other = Routes(server), server.open_socket()
        sockets = [server.open_socket() for _ in range(brake.FREE)]
        for n, socket in enumerate(sockets):
            await socket.ask(write("text", key=f"guess {n}"))
        for socket in sockets:
            assert not socket.serving.done()
        await sockets[0].send(write("text", key="one guess too many"), write("text"))
        closed = await sockets[0].ended()
        assert (closed.code, "too many wrong keys" in closed.reason) == (1008, True)
        assert routes.ran == []
        assert "text" in json.dumps(await other.ask(write("text")))
        assert routes.ran == ["text"]


# -- messages that only a lenient decoder reads

LENIENT = {
    "not a number": b'{"n": NaN}',
    "infinity": b'{"n": -Infinity}',
    "half a surrogate pair": b'{"n": "\\ud800"}',
}


def with_data(write: Any, data: bytes, key: str) -> bytes:
    """A message with data that is no JSON."""
    empty = json.dumps(write("text", {"n": 5}, key)).encode()
    assert b'{"n": 5}' in empty
    return empty.replace(b'{"n": 5}', data)


@pytest.mark.parametrize("data", LENIENT.values(), ids=LENIENT)
@pytest.mark.parametrize("write", [family, better])
async def test_a_message_that_is_not_quite_json_is_answered_with_what_is_wrong_where_its_key_is_right(
    bot: commands.Bot, write: Any, data: bytes
) -> None:
    async with memory_server(bot) as server:
        routes, socket = Routes(server), server.open_socket()
        await socket.send(with_data(write, data, KEY))
        answer = await socket.receive()
        text = answer["error"] if write is family else answer["error_details"]
        assert "the message is not JSON: " in text
        assert answer["code"] != 200
        assert routes.ran == []
        # Its key was right, so it may go on.
        assert "text" in json.dumps(await socket.ask(write("text")))


@pytest.mark.parametrize("data", LENIENT.values(), ids=LENIENT)
@pytest.mark.parametrize("write", [family, better])
async def test_a_message_that_is_not_quite_json_is_refused_as_any_other_where_its_key_is_wrong(
    bot: commands.Bot, write: Any, data: bytes
) -> None:
    async with memory_server(bot) as server:
        Routes(server)
        socket = server.open_socket()
        await socket.send(with_data(write, data, "wrong"))
        refusal = await socket.receive()
        assert "JSON" not in json.dumps(refusal)
        assert refusal == await socket.ask(write("text", key="wrong"))


# -- lines in the log


@pytest.mark.parametrize("write", [family, better])
async def test_lines_about_a_socket_name_the_key_once_it_was_shown(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, write: Any
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")
    async with memory_server(bot) as server:
        Routes(server)
        before, after = server.open_socket(), server.open_socket(address="192.0.2.2")
        await before.ask(write("text", key="wrong"))
        await before.ask(write("text"))
        await after.ask(write("text"))
        await after.ask(write("text", key="wrong"))
        await before.close()
    first, second = (record.getMessage() for record in records_with(caplog, "wrong secret key"))
    end = records_with(caplog, "The connection has ended")[0]
    label = first[1 : first.index("]")]
    assert re.fullmatch(r"conn-\d+ 192\.0\.2\.1", label)
    assert re.match(r"\[conn-\d+ 192\.0\.2\.2 key secret_key\] ", second)
    assert end.getMessage().startswith(f"[{label} key secret_key] ")
    assert end.levelno == logging.DEBUG


async def test_lines_about_a_client_that_showed_its_key_at_the_handshake_name_the_key(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")
    async with memory_server(bot) as server:
        await server.open_socket(KNOWN).close()
    (record,) = records_with(caplog, "The connection has ended")
    assert record.getMessage().startswith(f"[{KNOWN.label}] ")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (family(FORGED, key=FORGED), "Refused a client of discord-ext-ipc"),
        (better(FORGED, key=FORGED), "Refused a client of better-ipc: wrong secret key"),
        (
            {"connect": True, "headers": {"Authorization": FORGED}},
            "Refused to tell the port: wrong secret key",
        ),
        (jsonrpc(FORGED), "Refused JSON-RPC without a secret key"),
    ],
    ids=["discord-ext-ipc", "better-ipc", "a port question", "JSON-RPC"],
)
async def test_a_refused_message_is_a_warning_without_its_words(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, message: Any, words: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")
    async with memory_server(bot) as server:
        socket = server.open_socket()
        await socket.ask(message)
        await socket.transport.close(1006, FORGED)
        await socket.ended()
    (record,) = records_with(caplog, words)
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert KEY not in caplog.text
    assert_bounded_lines(caplog)
