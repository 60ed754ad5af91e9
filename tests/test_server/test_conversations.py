"""How a server greets its clients, and how it parts with them, over a pair of memory transports."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request, ServerLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import memory_pair
from discord_tools.ipc.wire.frames import HELLO
from discord_tools.ipc.wire.peer import ByeReceived
from test_server.talk import IDEMPOTENT, talking, until


async def test_the_hello_tells_what_the_server_grants(bot: commands.Bot) -> None:
    limits = ServerLimits(calls=7, message_bytes=12345, heartbeat=3.5)
    async with talking(bot, limits, hello=False, ready=False) as talk:
        welcome = await talk.hello()
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


async def test_the_hello_tells_that_the_bot_is_ready(bot: commands.Bot) -> None:
    async with talking(bot, hello=False, ready=True) as talk:
        assert (await talk.hello())["ready"] is True


async def test_a_call_before_the_hello_is_refused_and_ends_the_conversation(bot: commands.Bot) -> None:
    async with talking(bot, hello=False) as talk:
        await talk.say({"jsonrpc": "2.0", "id": 5, "method": "/anything"})
        (answer,) = await talk.hear()
        closed = await talk.ended()
    assert answer["id"] == 5
    assert answer["error"]["code"] == -32600
    assert closed.code == 1002
    assert not talk.conversations


async def test_each_of_many_calls_before_the_hello_is_refused(bot: commands.Bot) -> None:
    async with talking(bot, hello=False) as talk:
        await talk.say([{"jsonrpc": "2.0", "id": n, "method": "/anything"} for n in range(3)])
        answers = await talk.hear()
        await talk.ended()
    assert [(answer["id"], answer["error"]["code"]) for answer in answers] == [(n, -32600) for n in range(3)]


async def test_of_very_many_calls_before_the_hello_some_are_refused(bot: commands.Bot) -> None:
    async with talking(bot, hello=False) as talk:
        await talk.say([{"jsonrpc": "2.0", "id": n, "method": "/anything"} for n in range(5000)])
        answers = await talk.hear()
        closed = await talk.ended()
    assert 0 < len(answers) < 100
    assert closed.code == 1002


NO_JSON, NO_CALL = -32700, -32600


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", NO_JSON),
        (b"rubbish", NO_JSON),
        (b"\xff\xfe", NO_JSON),
        (b"17", NO_CALL),
        (b"[]", NO_CALL),
        (b"[" * 100_000, NO_CALL),
        (b'{"jsonrpc":"2.0","id":[],"method":"rpc.hello"}', NO_CALL),
        (b'{"jsonrpc":"2.0","method":"rpc.hello","params":{"client":"x"}}', NO_CALL),
    ],
)
async def test_what_is_no_call_at_all_ends_the_conversation(
    bot: commands.Bot, message: bytes, code: int
) -> None:
    async with talking(bot, hello=False) as talk:
        await talk.say(message)
        (answer,) = await talk.hear()
        closed = await talk.ended()
    assert (answer["id"], answer["error"]["code"]) == (None, code)
    assert closed.code == 1002


@pytest.mark.parametrize("params", [{}, {"client": 5}, [1], {"client": "x", "timeout": "soon"}])
async def test_a_hello_that_is_none_ends_the_conversation(bot: commands.Bot, params: Any) -> None:
    async with talking(bot, hello=False) as talk:
        await talk.say({"jsonrpc": "2.0", "id": 5, "method": HELLO, "params": params})
        (answer,) = await talk.hear()
        closed = await talk.ended()
    assert answer["id"] == 5
    assert answer["error"]["code"] == -32600
    assert closed.code == 1002


async def test_a_client_that_says_no_hello_in_time_is_hung_up_on(bot: commands.Bot) -> None:
    async with talking(bot, ServerLimits(handshake_timeout=0.01), hello=False) as talk:
        closed = await talk.ended()
    assert "no hello in time" in closed.reason


async def test_a_client_that_said_hello_in_time_stays(bot: commands.Bot) -> None:
    passed = asyncio.Event()
    async with talking(bot, ServerLimits(handshake_timeout=0.01)) as talk:
        asyncio.get_running_loop().call_later(0.02, passed.set)
        await passed.wait()
        assert await talk.goes_on()


async def test_a_client_that_left_before_its_hello_is_forgotten(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    passed = asyncio.Event()
    async with talking(bot, ServerLimits(handshake_timeout=0.01), hello=False) as talk:
        await talk.transport.close()
        await talk.ended()
        asyncio.get_running_loop().call_later(0.02, passed.set)
        await passed.wait()
    assert "said no hello" not in caplog.text
    assert not talk.conversations


async def test_a_token_that_nobody_has_begins_a_new_conversation(bot: commands.Bot) -> None:
    async with talking(bot, hello=False) as talk:
        welcome = await talk.hello(session="made up", received=17)
        assert await talk.goes_on()
    assert welcome["resumed"] is False
    assert welcome["session"] not in ("made up", "")


@pytest.mark.parametrize(("code", "level"), [(1000, logging.DEBUG), (1006, logging.INFO)])
async def test_the_log_tells_a_leave_from_a_loss(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, code: int, level: int
) -> None:
    caplog.set_level(logging.DEBUG)
    async with talking(bot) as talk:
        await talk.transport.close(code)
        await talk.ended()
    assert [r.levelno for r in caplog.records if "test has gone" in r.getMessage()] == [level]


@pytest.mark.parametrize("method", [HELLO, "/anything"])
async def test_a_client_that_leaves_right_after_its_first_message_harms_nobody(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    async with talking(bot, ServerLimits(resume_timeout=0), hello=False) as talk:
        await talk.say({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"client": "test"}})
        await talk.transport.close(1006)
        await asyncio.wait_for(talk.serving, 5)
        await until(lambda: all(conversation.over for conversation in talk.conversations))
    assert len(talk.conversations) == (method == HELLO)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


async def test_a_client_that_comes_while_the_server_ends_is_turned_away(bot: commands.Bot) -> None:
    go, started = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        started.set()
        await go.wait()

    async with talking(bot) as talk:
        talk.route(wait)
        talk.send("wait")
        await started.wait()
        draining = asyncio.create_task(talk.sessions.drain(()))
        await until(lambda: any(isinstance(event, ByeReceived) for event in talk.events))
        near, far = memory_pair()
        await asyncio.wait_for(talk.sessions.serve(far), 5)
        with pytest.raises(Closed) as caught:
            await near.receive()
        assert not draining.done()
        go.set()
        await draining
    assert caught.value.code == 1001
