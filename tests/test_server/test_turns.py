"""What is done in one turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from discord.ext import commands

from discord_tools.ipc import Request
from discord_tools.ipc.wire.received import ItemsReceived
from discord_tools.ipc_server.admission import Account
from discord_tools.ipc_server.turns import (
    CONNECTIONS_PER_TURN,
    LARGE_BYTES,
    TURN_BYTES,
    AnswersToCome,
    TurnBudget,
)
from equipment.until import until
from test_server.callers import MakeCaller, in_each_dialect
from test_server.tools import CALLER, caller, memory_server

ANSWERS = 1 << 23


class Log:
    """Takes turns and notes in which turn of the loop it got them."""

    def __init__(self, budget: TurnBudget) -> None:
        self.budget = budget
        #: What got a turn, with the number of the turn.
        self.got: list[tuple[str, int]] = []

    def take(self, name: str, size: int, *, answer: bool = False) -> asyncio.Task[None]:
        async def take() -> None:
            await self.budget.take(size, answer=answer)
            self.got.append((name, self.budget.number))

        return asyncio.create_task(take())

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.got]


async def test_what_is_larger_than_a_turn_has_one_for_itself_in_order() -> None:
    log = Log(TurnBudget(ANSWERS))
    await asyncio.gather(*(log.take(name, 10 * TURN_BYTES) for name in "abcd"))
    assert log.names == list("abcd")
    assert len({turn for _, turn in log.got}) == 4


async def test_small_ones_share_a_turn() -> None:
    log = Log(TurnBudget(ANSWERS))
    await asyncio.gather(*(log.take(name, TURN_BYTES // 4) for name in "abcdefgh"))
    assert log.names == list("abcdefgh")
    assert len({turn for _, turn in log.got}) == 2


async def test_answers_come_before_what_else_waits() -> None:
    log = Log(TurnBudget(ANSWERS))
    waiting = [log.take(name, TURN_BYTES) for name in "abc"]
    waiting += [log.take(name, TURN_BYTES, answer=True) for name in "xy"]
    await asyncio.gather(*waiting)
    assert log.names == ["a", "x", "y", "b", "c"]


async def test_one_that_is_cancelled_leaves_its_turn_to_the_next() -> None:
    log = Log(TurnBudget(ANSWERS))
    waiting = [log.take(name, TURN_BYTES) for name in "abcd"]
    await asyncio.sleep(0)
    waiting[1].cancel()
    waiting[2].cancel()
    await asyncio.wait(waiting)
    assert log.names == ["a", "d"]


def test_a_budget_that_was_closed_works_in_the_next_event_loop() -> None:
    budget = TurnBudget(ANSWERS)

    async def spend() -> None:
        budget.spend(TURN_BYTES)
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)  # before the turn ends

    loop = asyncio.new_event_loop()
    spending = loop.create_task(spend())
    loop.run_forever()
    assert spending.done()
    loop.close()
    budget.close()
    asyncio.run(asyncio.wait_for(budget.take(1), 5))


async def test_the_handlers_of_a_large_route_start_one_by_one_for_each_caller() -> None:
    budget, one, other = TurnBudget(ANSWERS), Account(), Account()
    budget.encoded("/large", ANSWERS)
    assert await budget.begin("/large", one.answers) == ANSWERS
    second = asyncio.create_task(budget.begin("/large", one.answers))
    assert await budget.begin("/large", other.answers) == ANSWERS
    await asyncio.sleep(0)
    assert not second.done()
    assert (one.answers.size, one.held_bytes) == (ANSWERS, ANSWERS)
    one.answers.end(ANSWERS)
    assert await second == ANSWERS


async def test_a_handler_that_is_cancelled_while_it_waits_holds_nothing() -> None:
    budget, account = TurnBudget(ANSWERS), Account()
    budget.encoded("/large", ANSWERS)
    others = [asyncio.create_task(budget.take(TURN_BYTES)) for _ in range(3)]
    starting = asyncio.create_task(budget.begin("/large", account.answers))
    await asyncio.sleep(0)
    assert account.answers.size == ANSWERS
    starting.cancel()
    await asyncio.wait((starting,))
    assert account.answers.size == 0
    await asyncio.gather(*others)


async def test_a_route_whose_answers_become_small_does_not_wait_any_more() -> None:
    budget = TurnBudget(ANSWERS)
    budget.encoded("/a", LARGE_BYTES + 1)
    assert budget.must_wait("/a", -1)
    assert not budget.must_wait("/b", -1)
    budget.encoded("/a", LARGE_BYTES)
    assert not budget.must_wait("/a", -1)
    assert await budget.begin("/a", AnswersToCome()) == 0


# -- in a server


@in_each_dialect
async def test_large_answers_of_many_callers_are_made_in_different_turns(
    bot: commands.Bot, make: MakeCaller
) -> None:
    made: list[int] = []

    async def large(request: Request) -> str:
        made.append(server.turns.number)
        return "x" * (2 * TURN_BYTES)

    async with memory_server(bot) as server:
        server.add_route(large)
        clients = [make(server, caller(address=f"192.0.2.{n}", connection=f"conn-{n}")) for n in range(1, 6)]
        assert len((await clients[0].call("large")).result) == 2 * TURN_BYTES
        made.clear()
        outcomes = await asyncio.gather(*(client.call("large") for client in clients))
        assert [len(outcome.result) for outcome in outcomes] == [2 * TURN_BYTES] * 5
        assert len(set(made)) == 5, f"turns: {made}"


async def test_calls_of_other_routes_do_not_wait_for_large_answers(bot: commands.Bot) -> None:
    order: list[str] = []

    async def large(request: Request) -> str:
        order.append("large")
        return "x" * (2 * TURN_BYTES)

    async def small(request: Request) -> str:
        order.append("small")
        return "small"

    async with memory_server(bot) as server:
        server.add_route(large)
        server.add_route(small)
        one, other = server.connect(CALLER), server.connect(caller(address="192.0.2.9", connection="conn-9"))
        await one.hello()
        await other.hello()
        await one.call("large")
        order.clear()
        calls = [one.start_call("large") for _ in range(20)]
        await until(lambda: "large" in order)
        assert await other.call("small") == "small"
        assert order.index("small") < 15
        await asyncio.gather(*calls)


@pytest.mark.parametrize("size", [LARGE_BYTES // 2, 2 * TURN_BYTES])
async def test_items_of_a_stream_arrive_whole_whatever_their_size(bot: commands.Bot, size: int) -> None:
    async def items(request: Request) -> AsyncGenerator[str, None]:
        for number in range(4):
            yield str(number) * size

    async with memory_server(bot) as server:
        server.add_route(items)
        native = server.connect(CALLER)
        await native.hello()
        assert await native.call("items", credit=10) is None
        received = [
            bytes(item) for event in native.events if isinstance(event, ItemsReceived) for item in event.items
        ]
        assert received == [b'"%b"' % (b"%d" % number * size) for number in range(4)]
        assert server.turns.large.keys() == ({"/items"} if size > LARGE_BYTES else set())


async def test_a_bounded_number_of_connections_go_on_in_one_turn_and_in_order() -> None:
    budget, loop = TurnBudget(ANSWERS), asyncio.get_running_loop()
    turn, going_on = 0, True
    went_on: list[tuple[int, int]] = []

    def count() -> None:
        nonlocal turn
        turn += 1
        if going_on:
            loop.call_soon(count)

    async def work(number: int) -> None:
        for _ in range(3):
            await budget.rest()
            went_on.append((turn, number))

    count()
    await asyncio.gather(*map(work, range(3 * CONNECTIONS_PER_TURN)))
    going_on = False
    turns = [at for at, _ in went_on]
    assert max(turns.count(at) for at in turns) <= CONNECTIONS_PER_TURN
    first = [number for _, number in went_on[: 3 * CONNECTIONS_PER_TURN]]
    assert sorted(first) == [*range(3 * CONNECTIONS_PER_TURN)]


async def test_a_connection_that_is_cancelled_while_it_waits_leaves_its_turn_to_others() -> None:
    budget = TurnBudget(ANSWERS)
    waiting = [asyncio.create_task(budget.rest()) for _ in range(2 * CONNECTIONS_PER_TURN + 1)]
    await asyncio.sleep(0)
    for task in waiting[CONNECTIONS_PER_TURN:-1]:
        task.cancel()
    async with asyncio.timeout(5):
        await waiting[-1]
        assert [task.cancelled() for task in waiting[CONNECTIONS_PER_TURN:-1]] == [
            True
        ] * CONNECTIONS_PER_TURN


async def test_closing_ends_the_wait_of_connections() -> None:
    budget = TurnBudget(ANSWERS)
    waiting = [asyncio.create_task(budget.rest()) for _ in range(50 * CONNECTIONS_PER_TURN)]
    await asyncio.sleep(0)
    budget.close()
    for _ in range(3):
        await asyncio.sleep(0)
    assert all(task.done() for task in waiting)
