"""Handshakes, resumed conversations, and the end of all conversations, over pairs of memory transports."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import ServerLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.wire.frames import HELLO
from discord_tools.ipc.wire.received import ByeReceived
from discord_tools.ipc_server.caller import Caller
from equipment.handlers import WaitingHandler
from equipment.until import until
from test_server.tools import (
    CALLER,
    FORGED,
    IDEMPOTENT,
    MemoryServer,
    NativeClient,
    assert_bounded_lines,
    caller,
    memory_server,
    native_client,
    records_with,
)


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
        "features": ["acting_as"],
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
    assert "No hello in time" not in caplog.text
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
    waiting = WaitingHandler()
    async with native_client(bot) as native:
        native.add_route(waiting.wait)
        native.start_call("wait")
        await waiting.started.wait()
        draining = asyncio.create_task(native.server.conversations.drain(()))
        await until(lambda: any(isinstance(event, ByeReceived) for event in native.events))
        late = native.server.connect()
        with pytest.raises(Closed) as caught:
            await late.transport.receive()
        assert not draining.done()
        waiting.released.set()
        await draining
    assert caught.value.code == 1001


# -- whose conversation it is


WAIT = {"jsonrpc": "2.0", "id": 7, "method": "wait"}
DONE = {"jsonrpc": "2.0", "id": 7, "result": "done"}


async def test_a_conversation_is_resumed_from_another_address(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with memory_server(bot) as server:
        waiting, one = WaitingHandler(), server.connect()
        server.add_route(waiting.wait)
        token = (await one.shake_hands())["session"]
        await one.send(WAIT)
        await waiting.started.wait()
        await one.transport.close(1006)
        await one.ended()
        two = server.connect(caller(address="192.0.2.99", connection="conn-1002"))
        welcome = await two.shake_hands(session=token)
        assert (welcome["resumed"], welcome["session"], welcome["received"]) == (True, token, 1)
        waiting.released.set()
        assert await two.receive() == [DONE]
        await two.transport.close(1006)
        await two.ended()
        (conversation,) = server.made
    first, second = records_with(caplog, "The connection has ended")
    assert f"[{conversation.id} conn-1001 192.0.2.1 key secret_key 'test'] " in first.getMessage()
    assert f"[{conversation.id} conn-1002 192.0.2.99 key secret_key 'test'] " in second.getMessage()


OTHERS = {
    "of another key": caller(key="another", connection="conn-1002"),
    "without a key": caller(key=None, connection="conn-1002"),
    "of another dialect": caller(dialect="another", connection="conn-1002"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_a_token_of_a_connected_client_resumes_nothing_for_a_caller(
    bot: commands.Bot, other: Caller
) -> None:
    async with memory_server(bot) as server:
        waiting, one = WaitingHandler(), server.connect()
        server.add_route(waiting.wait)
        token = (await one.shake_hands())["session"]
        await one.send(WAIT)
        await waiting.started.wait()
        two = server.connect(other)
        welcome = await two.hello(session=token, received=0)
        assert welcome["resumed"] is False
        assert welcome["session"] != token
        assert await two.is_served()
        waiting.released.set()
        # The conversation of the other client goes on over its connection.
        assert await one.receive() == [DONE]
        assert [conversation.caller for conversation in server.made] == [CALLER, other]
        assert not any(conversation.over for conversation in server.made)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_a_token_of_a_client_that_is_away_resumes_nothing_for_a_caller(
    bot: commands.Bot, other: Caller
) -> None:
    async with memory_server(bot) as server:
        waiting, one = WaitingHandler(), server.connect()
        server.add_route(waiting.wait)
        token = (await one.shake_hands())["session"]
        await one.send(WAIT)
        await waiting.started.wait()
        await one.transport.close(1006)
        await one.ended()
        welcome = await server.connect(other).shake_hands(session=token)
        assert welcome["resumed"] is False
        assert welcome["session"] != token
        # Its own client still finds it.
        again = server.connect(caller(connection="conn-1003"))
        assert (await again.shake_hands(session=token))["resumed"] is True
        waiting.released.set()
        assert await again.receive() == [DONE]


async def test_a_client_that_stays_away_loses_its_conversation_though_another_has_shown_its_token(
    bot: commands.Bot,
) -> None:
    async with memory_server(bot, ServerLimits(resume_timeout=0.01)) as server:
        one = server.connect()
        token = (await one.shake_hands())["session"]
        await one.transport.close(1006)
        await one.ended()
        assert not server.made[0].over
        await server.connect(OTHERS["of another key"]).shake_hands(session=token)
        await until(lambda: server.made[0].over)
        assert not server.made[1].over
        assert (await server.connect().shake_hands(session=token))["resumed"] is False


async def leave(server: MemoryServer, number: int) -> str:
    """Connects a client whose connection then breaks, and returns its token."""
    native = server.connect(caller(connection=f"conn-{number}"))
    token = (await native.shake_hands())["session"]
    await native.transport.close(1006)
    await native.ended()
    return token


async def test_of_too_many_clients_that_are_away_the_one_away_for_longest_is_dropped(
    bot: commands.Bot,
) -> None:
    async with memory_server(bot, ServerLimits(connections=2)) as server:
        tokens = [await leave(server, number) for number in range(4)]
        assert [conversation.over for conversation in server.made] == [True, True, False, False]
        resumed = [(await server.connect().shake_hands(session=token))["resumed"] for token in tokens]
        assert resumed == [False, False, True, True]


async def test_clients_that_are_connected_do_not_count_as_away(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(connections=2)) as server:
        for _ in range(5):
            await server.connect().shake_hands()
        await leave(server, 6)
        await leave(server, 7)
        assert not any(conversation.over for conversation in server.made)


# -- lines in the log


async def fail_to_send_a_hello(native: NativeClient) -> None:
    await native.ended()


async def disconnect_before_the_hello(native: NativeClient) -> None:
    await native.transport.close(1006)
    await native.serving


async def send_a_call_as_the_first_message(native: NativeClient) -> None:
    await native.send({"jsonrpc": "2.0", "id": 1, "method": FORGED})
    await native.ended()


@pytest.mark.parametrize(
    ("act", "words", "level"),
    [
        (fail_to_send_a_hello, "No hello in time", logging.INFO),
        (disconnect_before_the_hello, "closed before its hello", logging.DEBUG),
        (send_a_call_as_the_first_message, "Refused a hello: ", logging.WARNING),
    ],
)
async def test_a_line_about_a_failed_handshake_names_the_connection_the_address_and_the_key(
    bot: commands.Bot,
    caplog: pytest.LogCaptureFixture,
    act: Callable[[NativeClient], Awaitable[None]],
    words: str,
    level: int,
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")
    async with memory_server(bot, ServerLimits(handshake_timeout=0.05)) as server:
        await act(server.connect())
    (record,) = records_with(caplog, words)
    assert record.getMessage().startswith("[conn-1001 192.0.2.1 key secret_key] ")
    assert (record.levelno, record.exc_info) == (level, None)
    assert_bounded_lines(caplog)


async def test_a_line_about_a_conversation_names_both_ids_the_address_the_key_and_the_client(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")
    async with memory_server(bot) as server:
        one, two = server.connect(), server.connect(caller(key=None, connection="conn-1002"))
        await one.hello()
        await two.hello()
        for native in (one, two):
            await native.connection.close(1000, "done")
            await native.ended()
        ids = [conversation.id for conversation in server.made]
    assert all(re.fullmatch(r"conv-\d+", one) for one in ids)
    assert len(set(ids)) == 2
    first, second = records_with(caplog, "The connection has ended")
    assert first.getMessage().startswith(f"[{ids[0]} conn-1001 192.0.2.1 key secret_key 'test'] ")
    assert second.getMessage().startswith(f"[{ids[1]} conn-1002 192.0.2.1 no key 'test'] ")


@pytest.mark.parametrize("name", [FORGED[:256], "x" * 256, "\u202e"])
async def test_the_name_of_a_client_is_quoted_and_bounded_in_the_log(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")
    async with memory_server(bot) as server:
        native = server.connect()
        await native.hello(client=name)
        await native.send(b"garbage")
        await until(lambda: native.violations)
        await native.transport.close(1006, FORGED)
        await native.ended()
    assert len(records_with(caplog, "broke the protocol")) == 1
    assert len(records_with(caplog, "The connection has ended")) == 1
    assert_bounded_lines(caplog)
