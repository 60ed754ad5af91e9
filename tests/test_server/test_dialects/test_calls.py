"""Calls of clients that do not speak our own protocol: one answer each, deadlines, and the end of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import (
    AlreadyResponded,
    Cancelled,
    DeadlineExceeded,
    Overloaded,
    RemoteError,
    Request,
    RouteError,
    ServerLimits,
    TooLarge,
)
from discord_tools.ipc_server.admission import Account, Admission
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.dialects.calls import ERROR_BYTES, ByteBudget, DialectCall, DialectCalls
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.routes import Route, RouteTable
from discord_tools.ipc_server.turns import TurnBudget
from equipment.handlers import StubbornHandler, WaitingHandler
from equipment.until import until
from test_server.tools import CALLER


class Bare:
    """Writes answers and errors with nothing around them."""

    def result(self, result: bytes) -> bytes:
        return result

    def error(self, error: RemoteError) -> bytes:
        return error.message.encode()


BARE = Bare()


class Calls:
    """Calls of one caller, and their answers."""

    def __init__(self, bot: commands.Bot, **limits: Any) -> None:
        self.table = RouteTable(bot)
        bounds = ServerLimits(**limits)
        budget = MemoryBudget(bounds.total_bytes, tuple, lambda: 0)
        self.admission = Admission(bounds, budget)
        self.calls = DialectCalls(
            Dispatcher(bot, self.table), self.admission, budget, TurnBudget(1 << 23), bounds
        )
        self.answers: list[bytes | None] = []

    def add_route(self, callback: Any) -> None:
        self.table.add(Route(callback))

    def make(
        self, endpoint: str, params: bytes = b"{}", *, writer: Bare | None = BARE, budget: int = 10_000
    ) -> DialectCall:
        return DialectCall(CALLER, endpoint, params, {}, writer, ByteBudget(budget), self.answers.append)

    def start(self, endpoint: str, params: bytes = b"{}", **options: Any) -> DialectCall:
        call = self.make(endpoint, params, **options)
        self.calls.start(call)
        return call

    async def answer(self, endpoint: str, params: bytes = b"{}", **options: Any) -> bytes | None:
        """Calls and waits for the handler to end."""
        call = self.start(endpoint, params, **options)
        if call.task is not None:
            await asyncio.wait((call.task,), timeout=5)
        return self.answers.pop()


async def echo(request: Request) -> str:
    return "echo"


# -- one answer


async def test_a_call_gets_the_answer_of_its_route(bot: commands.Bot) -> None:
    calls = Calls(bot)
    calls.add_route(echo)
    assert await calls.answer("echo") == b'"echo"'
    assert await calls.answer("/echo") == b'"echo"'
    assert calls.answers == []


async def test_a_second_answer_is_an_error_of_the_route(bot: commands.Bot) -> None:
    raised: list[BaseException] = []

    async def twice(request: Request) -> None:
        await request.respond(1)
        with pytest.raises(AlreadyResponded) as caught:
            await request.respond(2)
        raised.append(caught.value)

    calls = Calls(bot)
    calls.add_route(twice)
    assert await calls.answer("twice") == b"1"
    assert len(raised) == 1
    assert calls.answers == []


async def test_a_call_without_a_reader_of_its_answer_is_done_once_without_one(bot: commands.Bot) -> None:
    ran: list[str] = []

    async def notified(request: Request) -> str:
        ran.append(request.endpoint)
        return "unread"

    calls = Calls(bot)
    calls.add_route(notified)
    assert await calls.answer("notified", writer=None) is None
    assert await calls.answer("nothing", writer=None) is None
    assert ran == ["/notified"]
    assert calls.answers == []


async def test_a_route_that_streams_is_refused(bot: commands.Bot) -> None:
    async def items(request: Request) -> AsyncGenerator[int, None]:
        yield 1

    calls = Calls(bot)
    calls.add_route(items)
    answer = await calls.answer("items")
    assert answer is not None
    assert b"this route streams" in answer


# -- sizes


def test_a_budget_is_spent_until_nothing_is_left() -> None:
    budget = ByteBudget(100)
    budget.take(60)
    with pytest.raises(TooLarge, match="41 bytes, the caller takes 40"):
        budget.take(41)
    budget.take(40)
    assert budget.left == 0


async def test_an_answer_beyond_the_budget_becomes_an_error(bot: commands.Bot) -> None:
    async def large(request: Request, size: int) -> str:
        return "x" * size

    calls = Calls(bot)
    calls.add_route(large)
    assert await calls.answer("large", b'{"size":98}', budget=100) == b'"%b"' % (b"x" * 98)
    answer = await calls.answer("large", b'{"size":99}', budget=100)
    assert answer == b"the answer has 101 bytes, the caller takes 100"


async def test_a_small_error_is_sent_even_if_the_budget_is_spent_and_a_large_one_is_not(
    bot: commands.Bot,
) -> None:
    async def fail(request: Request, size: int) -> None:
        raise RouteError(404, "x" * size)

    calls = Calls(bot)
    calls.add_route(fail)
    small, large = ERROR_BYTES, ERROR_BYTES + 1
    assert await calls.answer("fail", b'{"size":%d}' % small, budget=0) == b"x" * small
    answer = await calls.answer("fail", b'{"size":%d}' % large, budget=0)
    assert answer == b"the answer has %d bytes, the caller takes 0" % large


# -- deadlines and cancellation


async def test_a_call_ends_with_the_deadline_of_the_server(bot: commands.Bot) -> None:
    handler = WaitingHandler()

    async def wait(request: Request) -> None:
        assert request.deadline is not None
        await handler.wait(request)

    calls = Calls(bot, call_timeout=0.01)
    calls.add_route(wait)
    assert await calls.answer("wait") == b"the time for this call is over"
    assert handler.cancelled.is_set()


async def test_a_call_that_is_aborted_is_answered_even_if_its_handler_goes_on(bot: commands.Bot) -> None:
    handler = StubbornHandler()

    calls = Calls(bot, calls=1)
    calls.add_route(handler.stubborn)
    call = calls.start("stubborn")
    await handler.started.wait()
    call.abort(DeadlineExceeded("too late"))
    assert calls.answers == [b"too late"]
    # It counts as long as it runs.
    assert await calls.answer("stubborn") == b"1 of your calls are in progress"
    handler.released.set()
    assert call.task is not None
    await asyncio.wait((call.task,), timeout=5)
    assert calls.answers == [b"too late"]


async def test_a_call_that_is_aborted_before_its_first_step_counts_no_longer(bot: commands.Bot) -> None:
    calls = Calls(bot, calls=1)
    calls.add_route(echo)
    first = calls.start("echo")
    first.abort(Cancelled("the caller has disconnected"))
    assert first.task is not None
    await asyncio.wait((first.task,))
    assert await calls.answer("echo") == b'"echo"'
    assert calls.answers == [b"the caller has disconnected"]


async def test_a_call_whose_task_is_cancelled_before_its_first_step_is_answered(bot: commands.Bot) -> None:
    calls = Calls(bot)
    calls.add_route(echo)
    call = calls.start("echo")
    assert call.task is not None
    call.task.cancel()
    await until(lambda: calls.answers)
    assert calls.answers == [b"the call was cancelled"]


async def test_an_answer_after_the_call_was_aborted_is_an_error_of_the_route(bot: commands.Bot) -> None:
    started = asyncio.Event()
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def late(request: Request) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(AlreadyResponded) as caught:
                await request.respond("too late")
            outcome.set_result(caught.value.endpoint)

    calls = Calls(bot)
    calls.add_route(late)
    call = calls.start("late")
    await started.wait()
    call.abort(Cancelled("the caller has disconnected"))
    assert await asyncio.wait_for(outcome, 5) == "/late"
    assert calls.answers == [b"the caller has disconnected"]


# -- accounts and the end


async def test_a_call_with_an_account_of_its_own_does_not_count_in_the_one_of_its_caller(
    bot: commands.Bot,
) -> None:
    async def wait(request: Request) -> None:
        await asyncio.Event().wait()

    calls = Calls(bot, calls=1)
    calls.add_route(wait)
    accounts = [Account(), Account(), None]
    for _ in range(2):
        for account in accounts:
            calls.calls.start(calls.make("wait"), account)
    # The second call of each is refused.
    assert calls.answers == [b"1 of your calls are in progress"] * 3
    calls.calls.abort(())
    await calls.calls.drain(())
    assert [one.calls for one in accounts if one is not None] == [0, 0]


async def test_a_refused_call_has_no_task_and_is_answered_at_once(bot: commands.Bot) -> None:
    calls = Calls(bot, calls=1)
    calls.add_route(echo)
    first = calls.start("echo")
    call = calls.start("echo")
    assert (call.task, call.settled) == (None, True)
    assert calls.answers == [Overloaded("1 of your calls are in progress").message.encode()]
    assert first.task is not None
    await asyncio.wait((first.task,))


async def test_draining_waits_for_calls_in_progress_but_not_for_spared_ones(bot: commands.Bot) -> None:
    handler = WaitingHandler()
    calls = Calls(bot, grace_period=60)
    calls.add_route(handler.wait)
    spared, other = calls.start("wait"), calls.start("wait")
    assert spared.task is not None
    assert other.task is not None
    draining = asyncio.create_task(calls.calls.drain((spared.task,)))
    await asyncio.sleep(0)  # its first step
    assert not draining.done()
    other.task.cancel()
    async with asyncio.timeout(5):
        await draining
    assert not spared.task.done()
    calls.calls.abort((spared.task,))
    handler.released.set()
    await asyncio.wait((spared.task,), timeout=5)
    assert calls.answers == [b"the route was cancelled", b'"done"']


async def test_draining_waits_no_longer_than_the_grace_period(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait(request: Request) -> None:
        await asyncio.Event().wait()

    calls = Calls(bot, grace_period=0.01)
    calls.add_route(wait)
    call = calls.start("wait")
    await asyncio.wait_for(calls.calls.drain(()), 5)
    assert "Still running after 0.01 s: /wait" in caplog.text
    calls.calls.abort(())
    assert calls.answers == [b"the bot is shutting down"]
    assert call.task is not None
    await until(call.task.done)
