"""Handshakes, resumed conversations, and the end of all conversations, over pairs of memory transports."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request, ServerLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.wire.frames import HELLO
from discord_tools.ipc.wire.received import ByeReceived
from test_server.tools import IDEMPOTENT, native_client, until


async def test_the_welcome_names_the_limits_of_the_server(bot: commands.Bot) -> None:
    limits = ServerLimits(calls=7, message_bytes=12345, heartbeat=3.5)
    async with native_client(bot, limits, hello=False, ready=False) as native:
        welcome = await native.hello()
    assert welcome.pop("server").startswith("ipc-server/")
    assert len(welcome.pop("session")) >= 16
    assert welcome == {
        "resumed": False,
        "received": 0,
        "heartbeat": 3.5,
        "limits": {"calls": 7, "message_bytes": 12345},
        "ready": False,
        "idempotent": IDEMPOTENT,
    }


async def test_the_welcome_says_whether_the_bot_is_ready(bot: commands.Bot) -> None:
    async with native_client(bot, hello=False, ready=True) as native:
        assert (await native.hello())["ready"] is True


async def test_a_call_before_the_hello_is_refused_and_closes_the_connection(bot: commands.Bot) -> None:
    async with native_client(bot, hello=False) as native:
        await native.send({"jsonrpc": "2.0", "id": 5, "method": "/anything"})
        (answer,) = await native.receive()
        closed = await native.ended()
    assert answer["id"] == 5
    assert answer["error"]["code"] == -32600
    assert closed.code == 1002
    assert not native.server.made


async def test_each_of_many_calls_before_the_hello_is_refused(bot: commands.Bot) -> None:
    async with native_client(bot, hello=False) as native:
        await native.send([{"jsonrpc": "2.0", "id": n, "method": "/anything"} for n in range(3)])
        answers = await native.receive()
        await native.ended()
    assert [(answer["id"], answer["error"]["code"]) for answer in answers] == [(n, -32600) for n in range(3)]


async def test_of_thousands_of_calls_before_the_hello_only_some_are_answered(bot: commands.Bot) -> None:
    async with native_client(bot, hello=False) as native:
        await native.send([{"jsonrpc": "2.0", "id": n, "method": "/anything"} for n in range(5000)])
        answers = await native.receive()
        closed = await native.ended()
    assert 0 < len(answers) < 100
    assert closed.code == 1002


NO_JSON, NO_CALL = -32700, -32600


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", NO_JSON),
        (b"garbage", NO_JSON),
        (b"\xff\xfe", NO_JSON),
        (b"17", NO_CALL),
        (b"[]", NO_CALL),
        (b"[" * 100_000, NO_CALL),
        (b'{"jsonrpc":"2.0","id":[],"method":"rpc.hello"}', NO_CALL),
        (b'{"jsonrpc":"2.0","method":"rpc.hello","params":{"client":"x"}}', NO_CALL),
    ],
)
async def test_a_first_message_that_is_no_call_closes_the_connection(
    bot: commands.Bot, message: bytes, code: int
) -> None:
    async with native_client(bot, hello=False) as native:
        await native.send(message)
        (answer,) = await native.receive()
        closed = await native.ended()
    assert (answer["id"], answer["error"]["code"]) == (None, code)
    assert closed.code == 1002


@pytest.mark.parametrize("params", [{}, {"client": 5}, [1], {"client": "x", "timeout": "soon"}])
async def test_a_hello_with_bad_parameters_closes_the_connection(bot: commands.Bot, params: Any) -> None:
    async with native_client(bot, hello=False) as native:
        await native.send({"jsonrpc": "2.0", "id": 5, "method": HELLO, "params": params})
        (answer,) = await native.receive()
        closed = await native.ended()
    assert answer["id"] == 5
    assert answer["error"]["code"] == -32600
    assert closed.code == 1002


async def test_a_client_that_sends_no_hello_in_time_is_disconnected(bot: commands.Bot) -> None:
    async with native_client(bot, ServerLimits(handshake_timeout=0.01), hello=False) as native:
        closed = await native.ended()
    assert "no hello in time" in closed.reason


async def test_a_client_that_sent_its_hello_in_time_stays(bot: commands.Bot) -> None:
    passed = asyncio.Event()
    async with native_client(bot, ServerLimits(handshake_timeout=0.01)) as native:
        asyncio.get_running_loop().call_later(0.02, passed.set)
        await passed.wait()
        assert await native.is_served()


async def test_a_client_that_disconnects_before_its_hello_leaves_nothing(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    passed = asyncio.Event()
    async with native_client(bot, ServerLimits(handshake_timeout=0.01), hello=False) as native:
        await native.transport.close()
        await native.ended()
        asyncio.get_running_loop().call_later(0.02, passed.set)
        await passed.wait()
    assert "No hello within" not in caplog.text
    assert not native.server.made


async def test_an_unknown_token_begins_a_new_conversation(bot: commands.Bot) -> None:
    async with native_client(bot, hello=False) as native:
        welcome = await native.hello(session="made up", received=17)
        assert await native.is_served()
    assert welcome["resumed"] is False
    assert welcome["session"] not in ("made up", "")


@pytest.mark.parametrize(("code", "level"), [(1000, logging.DEBUG), (1006, logging.INFO)])
async def test_a_clean_close_is_logged_for_debugging_and_a_lost_connection_as_info(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, code: int, level: int
) -> None:
    caplog.set_level(logging.DEBUG)
    async with native_client(bot) as native:
        await native.transport.close(code)
        await native.ended()
    assert [r.levelno for r in caplog.records if "The connection has ended" in r.getMessage()] == [level]


@pytest.mark.parametrize("method", [HELLO, "/anything"])
async def test_a_client_that_disconnects_right_after_its_first_message_causes_no_error(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    async with native_client(bot, ServerLimits(resume_timeout=0), hello=False) as native:
        await native.send({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"client": "test"}})
        await native.transport.close(1006)
        await asyncio.wait_for(native.serving, 5)
        await until(lambda: all(conversation.over for conversation in native.server.made))
    assert len(native.server.made) == (method == HELLO)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


async def test_a_client_that_connects_while_the_server_ends_is_refused(bot: commands.Bot) -> None:
    go, started = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        started.set()
        await go.wait()

    async with native_client(bot) as native:
        native.add_route(wait)
        native.start_call("wait")
        await started.wait()
        draining = asyncio.create_task(native.server.conversations.drain(()))
        await until(lambda: any(isinstance(event, ByeReceived) for event in native.events))
        late = native.server.connect()
        with pytest.raises(Closed) as caught:
            await late.transport.receive()
        assert not draining.done()
        go.set()
        await draining
    assert caught.value.code == 1001
