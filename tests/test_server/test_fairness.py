"""No client takes all turns of the loop: streams, long lists and batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Cancelled, Request, ServerLimits, TooLarge
from discord_tools.ipc.wire.jsonrpc import read_body
from discord_tools.ipc.wire.received import ItemsReceived
from discord_tools.ipc_server.dialects.jsonrpc import Exchange
from discord_tools.ipc_server.dialects.service import HTTP
from discord_tools.ipc_server.encoding import LARGE, SLICE, encode_answer, encode_large
from discord_tools.ipc_server.turns import CANCELS_PER_TURN, ITEMS_PER_TURN, STARTS_PER_TURN, TurnBudget
from equipment.key import KEY
from equipment.until import until
from test_server.callers import MakeCaller, in_each_dialect
from test_server.tools import CALLER, Failed, caller, jsonrpc, memory_server, native_client


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.count = 0
        self._stopped = False
        self._next()

    def _next(self) -> None:
        if not self._stopped:
            self.count += 1
            asyncio.get_running_loop().call_soon(self._next)

    def __enter__(self) -> Turns:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True


# -- streams


async def test_all_streams_of_one_client_together_send_a_bounded_number_of_items_in_a_turn(
    bot: commands.Bot,
) -> None:
    sent: dict[int, int] = {}

    async def endless(request: Request) -> AsyncGenerator[int, None]:
        while True:
            # What was yielded before was sent in this turn.
            sent[turns.count] = sent.get(turns.count, 0) + 1
            yield 1

    async with native_client(bot, capacity=100_000) as native:
        with Turns() as turns:
            native.add_route(endless)
            for _ in range(4):
                native.start_call("endless", credit=2**40)
            await until(lambda: len(sent) >= 20)
            # Each stream also makes the item that it then waits to send.
            assert max(sent.values()) <= ITEMS_PER_TURN + 4
            assert max(sent.values()) >= ITEMS_PER_TURN


async def test_a_call_is_answered_while_another_client_reads_streams_that_never_wait(
    bot: commands.Bot,
) -> None:
    async def endless(request: Request) -> AsyncGenerator[int, None]:
        while True:
            yield 1

    async def ping(request: Request) -> str:
        return "pong"

    async with memory_server(bot) as server:
        server.add_route(endless)
        server.add_route(ping)
        one, other = server.connect(), server.connect(caller(connection="conn-1002"))
        await one.hello()
        await other.hello()
        for _ in range(10):
            one.start_call("endless", credit=2**40)
        await until(lambda: one.events)
        for _ in range(5):
            assert await other.call("ping") == "pong"
        assert all(isinstance(event, ItemsReceived) for event in one.events)


# -- long lists

LISTS: dict[str, list[Any]] = {
    "numbers": list(range(10 * LARGE)),
    "texts": ["ü\u2028'\"" * n for n in range(LARGE)],
    "a number of elements that is no multiple": [
        {"n": n, "list": [n]} for n in range(LARGE + SLICE // 2 + 1)
    ],
    "nothing": [None] * LARGE,
}


@pytest.mark.parametrize("value", LISTS.values(), ids=LISTS)
async def test_a_long_list_is_encoded_in_slices_with_a_turn_of_the_loop_after_each(value: list[Any]) -> None:
    with Turns() as turns:
        before = turns.count
        written = await encode_large(value, 2**30, TurnBudget(1 << 23).take)
        assert turns.count - before >= len(value) // SLICE
    assert written == encode_answer(value)
    assert await encode_large(tuple(value), len(written), TurnBudget(1 << 23).take) == written


async def test_a_list_with_enums_and_objects_of_discord_is_the_same_in_slices(
    loopback_bot: commands.Bot,
) -> None:
    (guild, _) = loopback_bot.guilds
    value = [guild, *guild.members, guild.verification_level, *guild.channels] * LARGE
    assert await encode_large(value, 2**30, TurnBudget(1 << 23).take) == encode_answer(value)


async def test_encoding_a_list_stops_soon_after_it_is_too_large() -> None:
    encoded: set[Any] = set()

    class Element:
        def keys(self) -> Any:
            encoded.add(self)
            return ["x"]

        def __getitem__(self, name: str) -> str:
            return "x" * 100

    with pytest.raises(TooLarge, match="stream it"):
        await encode_large([Element() for _ in range(10 * LARGE)], 50 * 100, TurnBudget(1 << 23).take)
    assert 50 <= len(encoded) + SLICE <= 50 + 2 * SLICE


@in_each_dialect
async def test_a_long_list_is_the_answer_that_it_would_be_in_one_go(
    bot: commands.Bot, make: MakeCaller
) -> None:
    value = [{"n": n, "text": "x" * (n % 7)} for n in range(3 * LARGE)]

    async def answer(request: Request) -> Any:
        return value

    async def respond(request: Request) -> None:
        await request.respond(tuple(value))

    async with memory_server(bot) as server:
        server.add_route(answer)
        server.add_route(respond)
        client = make(server, CALLER)
        assert (await client.call("answer")).result == value
        assert (await client.call("respond")).result == value


@in_each_dialect
async def test_a_long_list_that_the_caller_does_not_take_is_an_error_that_says_to_stream_it(
    bot: commands.Bot, make: MakeCaller
) -> None:
    async def answer(request: Request) -> Any:
        return ["x" * 20_000] * LARGE

    async with memory_server(bot, ServerLimits(message_bytes=100_000)) as server:
        server.add_route(answer)
        outcome = await make(server, CALLER).call("answer")
        assert outcome.error is not None
        assert "stream it" in outcome.error


async def test_another_call_is_answered_while_a_long_list_is_encoded(bot: commands.Bot) -> None:
    order: list[str] = []

    async def large(request: Request) -> Any:
        return list(range(1000 * SLICE))

    async def ping(request: Request) -> str:
        return "pong"

    async with native_client(bot) as native:
        native.add_route(large)
        native.add_route(ping)
        for name in ("large", "ping"):
            native.start_call(name).add_done_callback(lambda _, name=name: order.append(name))
        await until(lambda: len(order) == 2)
        assert order == ["ping", "large"]


# -- batches


async def test_a_batch_starts_a_bounded_number_of_requests_in_each_turn(bot: commands.Bot) -> None:
    started: dict[int, int] = {}

    async def count(request: Request) -> int:
        started[turns.count] = started.get(turns.count, 0) + 1
        return request["n"]

    async with memory_server(bot) as server:
        server.add_route(count)
        with Turns() as turns:
            batch = [jsonrpc("count", {"n": n}, n) for n in range(1000)]
            async with asyncio.timeout(5):
                answers = await server.post(batch, caller(dialect=HTTP))
        assert [one["result"] for one in answers] == list(range(1000))
        assert max(started.values()) <= STARTS_PER_TURN <= 64
        assert len(started) >= 1000 // STARTS_PER_TURN


async def test_batches_and_calls_of_many_sockets_start_a_bounded_number_of_calls_in_each_turn(
    bot: commands.Bot,
) -> None:
    started: dict[int, int] = {}

    async def count(request: Request) -> None:
        started[turns.count] = started.get(turns.count, 0) + 1

    async with memory_server(bot) as server:
        server.add_route(count)
        sockets = [server.open_socket(CALLER) for _ in range(10)]
        older = [server.open_socket() for _ in range(10)]
        with Turns() as turns:
            for number in range(5):
                for socket in sockets:
                    await socket.send([jsonrpc("count", {}, n) for n in range(number, number + 20)])
                for socket in older:
                    await socket.send({"endpoint": "count", "data": {}, "headers": {"Authorization": KEY}})
            for _ in range(5):
                for socket in sockets:
                    assert len(await socket.receive()) == 20
                for socket in older:
                    assert await socket.receive() is None
        assert sum(started.values()) == 10 * 5 * 21
        assert max(started.values()) <= STARTS_PER_TURN


async def test_a_batch_that_is_aborted_answers_the_requests_that_were_not_started(bot: commands.Bot) -> None:
    ran: list[int] = []
    done: list[Any] = []

    async def wait(request: Request) -> None:
        ran.append(request["n"])
        await asyncio.Event().wait()

    async with memory_server(bot) as server:
        server.add_route(wait)
        batch = [
            jsonrpc("wait", {"n": 0}, "first"),
            *(jsonrpc("wait", {"n": n}, n) for n in range(1, 500)),
            {"jsonrpc": "2.0", "method": "wait", "params": {"n": -1}},  # which asks for no answer
            17,
        ]
        body = read_body(json.dumps(batch), 1024)
        exchange = Exchange(server.service, caller(dialect=HTTP), None, body, done.append)
        starting = asyncio.create_task(exchange.start())
        await until(lambda: ran)
        assert exchange.open
        exchange.abort(Cancelled("the caller has disconnected"))
        await until(lambda: done)
        assert not exchange.open
        answers = json.loads(done[0])
        assert {one["id"] for one in answers} == {"first", None, *range(1, 500)}
        assert [one["error"]["code"] for one in answers if one["id"] is not None] == [Cancelled.code] * 500
        assert len(ran) <= 2 * STARTS_PER_TURN
        assert len(done) == 1
        await starting


async def test_a_socket_that_is_closed_starts_no_more_of_its_batch(bot: commands.Bot) -> None:
    ran = 0

    async def wait(request: Request) -> None:
        nonlocal ran
        ran += 1
        await asyncio.Event().wait()

    async with memory_server(bot) as server:
        server.add_route(wait)
        socket = server.open_socket(caller(dialect="jsonrpc"))
        await socket.send([jsonrpc("wait", {}, n) for n in range(1000)])
        await socket.close()
        for _ in range(100):
            await asyncio.sleep(0)
        assert ran < 1000
        assert server.service.calls.held_bytes == 0


async def test_the_error_about_a_long_list_reaches_a_native_client(bot: commands.Bot) -> None:
    async def answer(request: Request) -> Any:
        return ["x" * 1000] * LARGE

    async with native_client(bot, ServerLimits(message_bytes=4096)) as native:
        native.add_route(answer)
        with pytest.raises(Failed) as caught:
            await native.call("answer")
        assert caught.value.code == TooLarge.code


# -- the end of a client


async def test_calls_of_a_client_that_is_dropped_are_cancelled_some_in_each_turn(bot: commands.Bot) -> None:
    cancelled: dict[int, int] = {}
    number = 5 * CANCELS_PER_TURN

    async def hold(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled[turns.count] = cancelled.get(turns.count, 0) + 1

    async with native_client(bot) as native:
        native.add_route(hold)
        for _ in range(number):
            native.start_call("hold")
        conversation = native.conversation
        await until(lambda: conversation.account.calls == number)
        with Turns() as turns:
            conversation.evict("too much is held")
            assert conversation.over
            await until(lambda: not conversation.account.calls)
        assert sum(cancelled.values()) == number
        assert max(cancelled.values()) <= CANCELS_PER_TURN
