"""Answers of native calls while others wait to be sent: they are encoded and sent when there is capacity."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request, ServerLimits
from equipment.until import until
from test_server.tools import NativeClient, RecordedEvents, native_client

#: A client that reads nothing fills this backlog with one answer.
SMALL_BACKLOG = ServerLimits(backlog_bytes=50_000)


async def large(request: Request) -> str:
    return "x" * 60_000


def calls(count: int, method: str) -> list[dict[str, Any]]:
    return [{"jsonrpc": "2.0", "id": number, "method": method} for number in range(count)]


async def receive_answers(native: NativeClient, count: int) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    while len(answers) < count:
        answers += await native.receive()
    return answers


async def test_answers_wait_until_earlier_ones_are_sent(bot: commands.Bot) -> None:
    recorded = RecordedEvents(bot)
    async with native_client(bot, SMALL_BACKLOG, hello=False, capacity=1) as native:
        native.add_route(large)
        await native.shake_hands()
        await native.send(calls(10, "large"))
        await until(lambda: recorded.names.count("ipc_request_completion"))
        # The client has read nothing, so no more than the first answers are on their way.
        assert recorded.names.count("ipc_request_completion") < 5
        answers = await receive_answers(native, 10)
        await until(lambda: recorded.names.count("ipc_request_completion") == 10)
    assert {answer["id"] for answer in answers} == set(range(10))
    assert all(answer["result"] == "x" * 60_000 for answer in answers)


async def test_a_response_waits_until_earlier_answers_are_sent(bot: commands.Bot) -> None:
    done: list[Request] = []

    async def respond(request: Request) -> None:
        await request.respond("x" * 60_000)
        done.append(request)

    async with native_client(bot, SMALL_BACKLOG, hello=False, capacity=1) as native:
        native.add_route(respond)
        await native.shake_hands()
        await native.send(calls(10, "respond"))
        await until(lambda: done)
        assert len(done) < 5
        await receive_answers(native, 10)
        await until(lambda: len(done) == 10)


async def test_a_call_whose_answer_waits_ends_with_its_deadline(bot: commands.Bot) -> None:
    limits = ServerLimits(backlog_bytes=50_000, call_timeout=0.05)
    recorded = RecordedEvents(bot)
    async with native_client(bot, limits, hello=False, capacity=1) as native:
        native.add_route(large)
        await native.shake_hands()
        conversation = native.conversation
        await native.send(calls(10, "large"))
        await until(lambda: conversation.has_calls)
        await until(lambda: not conversation.has_calls)
        answers = await receive_answers(native, 10)
    codes = [answer["error"]["code"] if "error" in answer else None for answer in answers]
    assert codes[0] is None
    assert codes[-1] == -32005
    assert "ipc_error" not in recorded.names
    # Those whose answers would have waited were not started.
    assert recorded.names.count("ipc_request_completion") < 10


@pytest.mark.parametrize("size", [10, 100_000])
async def test_an_answer_that_cannot_be_encoded_fails_though_it_had_to_wait(
    bot: commands.Bot, size: int
) -> None:
    async def unwritable(request: Request) -> list[Any]:
        return ["x" * size, object()]

    async with native_client(bot, SMALL_BACKLOG, hello=False, capacity=1) as native:
        native.add_route(large)
        native.add_route(unwritable)
        await native.shake_hands()
        await native.send([*calls(5, "large"), {"jsonrpc": "2.0", "id": "last", "method": "unwritable"}])
        answers = await receive_answers(native, 6)
    (failed,) = [answer for answer in answers if answer["id"] == "last"]
    assert failed["error"]["code"] == -32603


async def test_while_a_client_is_away_its_answers_do_not_wait(bot: commands.Bot) -> None:
    release = asyncio.Event()
    started: list[Request] = []
    done: list[Request] = []

    async def respond(request: Request) -> None:
        started.append(request)
        await release.wait()
        await request.respond("x" * 60_000)
        done.append(request)

    async with native_client(bot, SMALL_BACKLOG, hello=False, capacity=1) as native:
        native.add_route(respond)
        token = (await native.shake_hands())["session"]
        await native.send(calls(5, "respond"))
        await until(lambda: len(started) == 5)
        await native.transport.close(1006)
        await native.ended()
        release.set()
        await until(lambda: len(done) == 5)
        # They are kept for the next connection.
        again = native.server.connect()
        await again.shake_hands(session=token)
        assert {answer["id"] for answer in await receive_answers(again, 5)} == set(range(5))
