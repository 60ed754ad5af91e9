"""Calls of routes with checks, limits, hooks and error handlers: what runs, in which order, what the caller gets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncGenerator
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    BadData,
    Cancelled,
    CheckFailed,
    DeadlineExceeded,
    Forbidden,
    MaxConcurrencyReached,
    OnCooldown,
    Overloaded,
    RemoteError,
    Request,
    Route,
    RouteError,
    RouteFailed,
    RouteGroup,
    check,
    cooldown,
    max_concurrency,
    route,
)
from discord_tools.ipc_server.guard import GuardedCall
from equipment.until import until
from loopback import LoopbackDiscord
from loopback.bots import running_bot
from test_server.callers import MakeCaller, in_each_dialect
from test_server.tools import CALLER, RecordedEvents, memory_server, records_with

#: Longer than any test.
LONG = 600


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- checks


async def yes(request: Request) -> bool:
    return True


@pytest.mark.parametrize("answer", [True, 1, "yes", [0]])
async def test_a_check_that_returns_something_true_lets_the_call_run(bot: commands.Bot, answer: Any) -> None:
    @route()
    @check(lambda _: answer)
    async def work(request: Request) -> str:
        return "done"

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        assert await session.request("work") == "done"


@pytest.mark.parametrize("answer", [False, None, 0, ""])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_check_that_returns_something_false_refuses_the_call(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, answer: Any, waits: bool
) -> None:
    ran: list[Request] = []

    async def coroutine(request: Request) -> Any:
        await asyncio.sleep(0)
        return answer

    @route()
    @check(coroutine if waits else lambda _: answer)
    async def work(request: Request) -> None:
        ran.append(request)

    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(CheckFailed) as caught:
            await session.request("work")
        await until(lambda: recorded)
    assert (caught.value.code, caught.value.endpoint) == (-32010, "work")
    assert caught.value.message == "a check of this route refused the call"
    assert isinstance(caught.value, Forbidden)
    assert not ran
    assert recorded.names == ["raw_ipc_request"]
    assert not failures(caplog)


async def test_an_error_of_the_library_in_a_check_is_the_answer(bot: commands.Bot) -> None:
    def no(request: Request) -> bool:
        raise RouteError(401, "log in first", data={"url": "/login"})

    @route()
    @check(no)
    async def work(request: Request) -> None: ...

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(RouteError) as caught:
            await session.request("work")
    assert (caught.value.code, caught.value.data) == (401, {"url": "/login"})


async def test_another_error_in_a_check_is_a_failure_of_the_route_which_does_not_run(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: Request) -> bool:
        raise ZeroDivisionError("secret text")

    ran: list[Request] = []

    @route()
    @check(broken)
    async def work(request: Request) -> None:
        ran.append(request)

    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(RouteFailed) as caught:
            await session.request("work")
        await until(lambda: "ipc_error" in recorded.names)
    assert "secret" not in str(caught.value)
    assert caught.value.error_id is not None
    assert records_with(caplog, caught.value.error_id)
    assert not ran


async def test_a_check_reads_the_data_before_it_is_bound(bot: commands.Bot) -> None:
    @route()
    @check(lambda request: request.get("secret") == 7)
    async def work(request: Request, secret: int, number: int) -> int:
        return number

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        assert await session.request("work", secret=7, number=1) == 1
        with pytest.raises(CheckFailed):
            await session.request("work", secret=8, number="x")
        with pytest.raises(BadData):
            await session.request("work", secret=7, number="x")


async def test_data_that_is_no_object_is_bad_data_for_a_check(bot: commands.Bot) -> None:
    @route()
    @check(lambda request: len(request) >= 0)
    async def work(request: Request) -> None: ...

    async with memory_server(bot) as server:
        server.add_route(work)
        native = server.connect()
        await native.hello()
        with pytest.raises(Exception, match="JSON object") as caught:
            await native.call("work", 17)
    assert caught.value.args[0] == BadData.code


@pytest.mark.parametrize("refusal", [CheckFailed, OnCooldown])
async def test_nothing_is_fetched_for_a_call_that_is_refused(
    loopback_discord: LoopbackDiscord, refusal: type[Exception]
) -> None:
    @route()
    @check(lambda request: request["allowed"])
    @cooldown(1, LONG)
    async def name(request: Request, user: discord.User, allowed: bool) -> str:
        return user.name

    known, unknown = loopback_discord.add_user("hedy"), loopback_discord.add_user("ada")
    asked = loopback_discord.rest.requests
    # A bot with the usual intents has neither of them in its cache.
    async with (
        running_bot(loopback_discord, intents=discord.Intents.default()) as bot,
        memory_server(bot) as server,
        server.session() as session,
    ):
        server.add_route(name)
        assert await session.request("name", user=known.id, allowed=True) == "hedy"
        before = asked.total()
        with pytest.raises(refusal):
            await session.request("name", user=unknown.id, allowed=refusal is OnCooldown)
        assert asked[f"GET /users/{known.id}"] == 1
        assert asked.total() == before


@in_each_dialect
async def test_a_check_holds_in_each_dialect(bot: commands.Bot, make: MakeCaller) -> None:
    @route()
    @check(lambda _: False)
    async def work(request: Request) -> None: ...

    async with memory_server(bot) as server:
        server.add_route(work)
        assert "refused" in str((await make(server, CALLER).call("work")).error)


# -- cogs


class Guarded(commands.Cog):
    """A cog with everything that a cog may have."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.allowed: Any = True

    async def cog_ipc_check(self, request: Request) -> Any:
        self.log.append("check of the cog")
        return self.allowed

    async def cog_ipc_before_invoke(self, request: Request) -> None:
        self.log.append("before of the cog")

    async def cog_ipc_after_invoke(self, request: Request) -> None:
        self.log.append("after of the cog")

    async def cog_ipc_error(self, request: Request, error: Exception) -> None:
        self.log.append(f"error of the cog: {error!r}")

    @route()
    async def work(self, request: Request) -> str:
        self.log.append("route")
        return "done"

    @work.before_invoke
    async def before_work(self, request: Request) -> None:
        self.log.append("before")

    @work.after_invoke
    async def after_work(self, request: Request) -> None:
        self.log.append("after")

    @work.error
    async def work_error(self, request: Request, error: Exception) -> None:
        self.log.append(f"error: {error!r}")

    @route()
    async def fail(self, request: Request) -> None:
        raise ValueError


async def test_hooks_run_around_the_route_those_of_the_route_first(bot: commands.Bot) -> None:
    cog = Guarded()
    await bot.add_cog(cog)
    async with memory_server(bot) as server, server.session() as session:
        assert await session.request("work") == "done"
    assert cog.log == [
        "check of the cog",
        "before",
        "before of the cog",
        "route",
        "after",
        "after of the cog",
    ]


async def test_the_check_of_the_cog_refuses_all_of_its_routes(bot: commands.Bot) -> None:
    cog = Guarded()
    cog.allowed = False
    await bot.add_cog(cog)
    async with memory_server(bot) as server, server.session() as session:
        for name in ("work", "fail"):
            with pytest.raises(CheckFailed):
                await session.request(name)
    assert "route" not in cog.log
    assert not [line for line in cog.log if line.startswith(("before", "after"))]


async def test_the_hooks_of_a_cog_may_be_plain_functions(bot: commands.Bot) -> None:
    class Cog(commands.Cog):
        def cog_ipc_check(self, request: Request) -> bool:
            return request.get("allowed", False)

        def cog_ipc_error(self, request: Request, error: Exception) -> Any:
            return type(error).__name__

        @route()
        async def work(self, request: Request) -> str:
            return "done"

    await bot.add_cog(Cog())
    async with memory_server(bot) as server, server.session() as session:
        assert await session.request("work", allowed=True) == "done"
        assert await session.request("work") == "CheckFailed"


async def test_the_hooks_of_a_cog_hold_for_methods_that_it_adds_itself(bot: commands.Bot) -> None:
    class Cog(commands.Cog):
        def cog_ipc_check(self, request: Request) -> bool:
            return request["allowed"]

        async def work(self, request: Request) -> Any:
            return request.cog is self

    cog = Cog()
    async with memory_server(bot) as server, server.session() as session:
        assert server.add_route(cog.work).cog is cog
        assert await session.request("work", allowed=True) is True
        with pytest.raises(CheckFailed):
            await session.request("work", allowed=False)


async def test_the_class_of_the_client_has_hooks_for_its_own_routes_too() -> None:
    class Bot(discord.Client):
        def cog_ipc_check(self, request: Request) -> bool:
            return False

        @route()
        async def work(self, request: Request) -> None: ...

    async with (
        Bot(intents=discord.Intents.none()) as client,
        memory_server(client) as server,
        server.session() as session,
    ):
        with pytest.raises(CheckFailed):
            await session.request("work")


async def test_all_of_it_in_its_order(bot: commands.Bot) -> None:
    log: list[str] = []

    def asks(what: str) -> Any:
        return lambda _: log.append(what) or True

    def key(request: Request) -> None:
        log.append("cooldown")

    def slot(request: Request) -> None:
        log.append("concurrency")

    group = RouteGroup("outer", checks=[asks("check of the outer group")])
    inner = group.group("inner", checks=[asks("check of the inner group")])

    @inner.before_invoke
    async def before_inner(request: Request) -> None:
        log.append("before of the inner group")

    @group.before_invoke
    async def before(request: Request) -> None:
        log.append("before of the outer group")

    class Cog(commands.Cog):
        def cog_ipc_check(self, request: Request) -> bool:
            log.append("check of the cog")
            return True

        @max_concurrency(1, slot)
        @check(asks("check 1"))
        @check(asks("check 2"))
        @cooldown(5, 1, key)
        @inner.route()
        async def work(self, request: Request) -> None:
            log.append("route")

        @work.before_invoke
        async def before(self, request: Request) -> None:
            log.append("before")

    await bot.add_cog(Cog())
    async with memory_server(bot) as server, server.session() as session:
        await session.request("outer/inner/work")
    assert log == [
        "check of the cog",
        "check of the outer group",
        "check of the inner group",
        "check 1",
        "check 2",
        "concurrency",
        "cooldown",
        "before",
        "before of the inner group",
        "before of the outer group",
        "route",
    ]


# -- hooks


async def test_a_hook_that_raises_before_the_route_keeps_it_from_running(bot: commands.Bot) -> None:
    log: list[str] = []

    @route()
    async def work(request: Request) -> None:
        log.append("route")

    @work.before_invoke
    async def before(request: Request) -> None:
        raise RouteError(503, "the database is away")

    @work.after_invoke
    async def after(request: Request) -> None:
        log.append("after")

    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(RouteError, match="the database is away"):
            await session.request("work")
        await until(lambda: recorded)
    assert log == []
    assert recorded.names == ["raw_ipc_request"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_hook_that_raises_after_the_route_takes_the_place_of_the_answer(
    bot: commands.Bot, fails: bool
) -> None:
    log: list[str] = []

    class Cog(commands.Cog):
        @route()
        async def work(self, request: Request) -> str:
            if fails:
                raise ValueError
            return "done"

        @work.after_invoke
        async def after(self, request: Request) -> None:
            raise RouteError(500, "not committed")

        async def cog_ipc_after_invoke(self, request: Request) -> None:
            log.append("after of the cog")

    await bot.add_cog(Cog())
    async with memory_server(bot) as server, server.session() as session:
        with pytest.raises(RouteError, match="not committed"):
            await session.request("work")
    assert log == ["after of the cog"]


async def test_hooks_run_after_a_route_that_fails_or_is_cancelled(bot: commands.Bot) -> None:
    log: list[str] = []
    started = asyncio.Event()

    @route()
    async def work(request: Request, fail: bool) -> None:
        if fail:
            raise RouteError(1, "no")
        started.set()
        await asyncio.Event().wait()

    @work.after_invoke
    async def after(request: Request) -> None:
        await asyncio.sleep(0)
        log.append(f"after {request['fail']}")

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(RouteError):
            await session.request("work", fail=True)
        calling = asyncio.create_task(session.request("work", fail=False))
        await started.wait()
        calling.cancel()
        await until(lambda: len(log) == 2)
    assert log == ["after True", "after False"]


async def test_hooks_run_around_a_stream(bot: commands.Bot) -> None:
    log: list[str] = []

    @route()
    async def items(request: Request, n: int) -> AsyncGenerator[int, None]:
        for number in range(n):
            log.append(str(number))
            yield number

    @items.before_invoke
    async def before(request: Request) -> None:
        log.append("before")

    @items.after_invoke
    async def after(request: Request) -> None:
        log.append("after")

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(items)
        assert [item async for item in session.stream("items", n=2)] == [0, 1]
    assert log == ["before", "0", "1", "after"]


# -- cooldowns and concurrency


async def test_a_cooldown_arrives_with_the_time_to_wait(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    @route()
    @cooldown(1, LONG)
    async def work(request: Request, number: int) -> int:
        return number

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        assert await session.request("work", number=1) == 1
        with pytest.raises(OnCooldown) as caught:
            await session.request("work", number=1)
    assert LONG - 60 < caught.value.retry_after <= LONG + 1
    assert (caught.value.rate, caught.value.per) == (1, LONG)
    assert isinstance(caught.value, Overloaded)
    assert not failures(caplog)


async def test_a_call_that_a_check_refuses_does_not_count_and_one_with_bad_data_does(
    bot: commands.Bot,
) -> None:
    @route()
    @check(lambda request: request["allowed"])
    @cooldown(1, LONG)
    async def work(request: Request, allowed: bool, number: int = 0) -> None: ...

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        for _ in range(3):
            with pytest.raises(CheckFailed):
                await session.request("work", allowed=False)
        with pytest.raises(BadData):
            await session.request("work", allowed=True, number="x")
        with pytest.raises(OnCooldown):
            await session.request("work", allowed=True)


class Gate:
    """A route that runs until it may end."""

    def __init__(self, *rules: Any) -> None:
        self.running = 0
        self.most = 0
        self.go = asyncio.Event()

        @route()
        async def work(request: Request) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await self.go.wait()
            finally:
                self.running -= 1

        for rule in rules:
            rule(work)
        self.route: Route[Any] = work


async def test_more_calls_at_a_time_than_a_route_takes_are_refused(bot: commands.Bot) -> None:
    gate = Gate(max_concurrency(2))
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(gate.route)
        calls = [asyncio.create_task(session.request("work")) for _ in range(2)]
        await until(lambda: gate.running == 2)
        with pytest.raises(MaxConcurrencyReached, match="takes 2 calls at a time") as caught:
            await session.request("work")
        assert caught.value.number == 2
        gate.go.set()
        await asyncio.gather(*calls)
        await session.request("work")
    assert gate.most == 2


async def test_more_calls_than_a_route_takes_wait_if_it_says_so(bot: commands.Bot) -> None:
    gate = Gate(max_concurrency(2, wait=True))
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(gate.route)
        calls = [asyncio.create_task(session.request("work")) for _ in range(9)]
        await until(lambda: gate.running == 2)
        gate.go.set()
        await asyncio.gather(*calls)
    assert gate.most == 2


async def test_a_call_that_waits_ends_with_its_caller_and_leaves_its_place(bot: commands.Bot) -> None:
    gate = Gate(max_concurrency(1, wait=True))
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(gate.route)
        first = asyncio.create_task(session.request("work"))
        await until(lambda: gate.running == 1)
        second = asyncio.create_task(session.request("work"))
        (slots,) = gate.route.usage.slots.values()
        await until(lambda: len(slots) == 2)
        second.cancel()
        await until(lambda: len(slots) == 1)
        gate.go.set()
        await first
        await session.request("work")
        assert len(slots) == 0


@pytest.mark.parametrize("outcome", ["error", "cancelled", "bad data", "cooldown"])
async def test_a_slot_is_given_back_whatever_happens(bot: commands.Bot, outcome: str) -> None:
    started = asyncio.Event()

    @max_concurrency(1)
    @route()
    async def work(request: Request, number: int = 0) -> None:
        if outcome == "error":
            raise RouteError(1, "no")
        started.set()
        if outcome == "cancelled":
            await asyncio.Event().wait()

    if outcome == "cooldown":
        cooldown(1, LONG)(work)
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        calling = asyncio.create_task(session.request("work", number="x" if outcome == "bad data" else 0))
        if outcome == "cancelled":
            await started.wait()
            calling.cancel()
        await asyncio.wait((calling,), timeout=5)
        if outcome == "cooldown":
            with pytest.raises(OnCooldown):
                await session.request("work")
        (slots,) = work.usage.slots.values()
        await until(lambda: len(slots) == 0)
        calling.cancelled() or calling.exception()


# -- timeouts


async def test_a_route_that_takes_too_long_is_cancelled_and_its_caller_told_why(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    @route(timeout=0.01)
    async def work(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("route")

    @work.error
    async def failed(request: Request, error: Exception) -> str:
        ended.append("handler")
        return "handled"

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(DeadlineExceeded, match=r"the route takes at most 0\.01 s"):
            await session.request("work")
        await until(lambda: ended)
    assert ended == ["route"]
    (record,) = records_with(caplog, "Route '/work' was cancelled: it took longer than its timeout of 0.01 s")
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


async def test_a_route_that_ignores_its_cancellation_keeps_nobody_waiting(bot: commands.Bot) -> None:
    go = asyncio.Event()
    ended: list[Any] = []

    @route(timeout=0.01)
    async def work(request: Request) -> str:
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()
        ended.append(request)
        return "late"

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(DeadlineExceeded):
            await session.request("work")
        assert not ended
        go.set()
        await until(lambda: ended)


async def test_a_timeout_holds_for_checks_too(bot: commands.Bot) -> None:
    async def waits(request: Request) -> bool:
        await asyncio.Event().wait()
        return True

    @check(waits)
    @route(timeout=0.01)
    async def work(request: Request) -> None: ...

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(DeadlineExceeded):
            await session.request("work")


async def test_a_timeout_ends_a_stream_too(bot: commands.Bot) -> None:
    @route(timeout=0.05)
    async def items(request: Request) -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(items)
        stream = session.stream("items")
        assert await anext(stream) == 1
        with pytest.raises(DeadlineExceeded):
            await anext(stream)


async def test_a_timeout_is_the_deadline_that_the_route_sees_unless_the_callers_is_earlier(
    bot: commands.Bot,
) -> None:
    async def left(request: Request) -> float | None:
        return request.deadline

    async with memory_server(bot) as server, server.session() as session:
        for name, timeout in (("short", 5), ("long", LONG)):
            server.add_route(route(name, timeout=timeout)(left))
        assert 0 < await session.request("short") <= 5
        assert 5 < await session.request("long") <= 30


async def test_a_call_in_time_leaves_nothing_until_the_end_of_its_timeout(bot: commands.Bot) -> None:
    @route(timeout=LONG)
    async def work(request: Request) -> str:
        return "done"

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        for _ in range(5):
            assert await session.request("work") == "done"
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, GuardedCall)]


async def test_the_callers_own_timeout_still_holds(bot: commands.Bot) -> None:
    gate = Gate(check(yes))
    async with memory_server(bot) as server:
        server.add_route(gate.route)
        async with server.session() as session:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await session.request("work")
            await until(lambda: gate.running == 0)


# -- error handlers


async def test_an_error_goes_to_the_route_then_to_the_cog_then_to_the_event(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    class Cog(Guarded):
        @route()
        async def broken(self, request: Request) -> None:
            raise ZeroDivisionError("text")

        @broken.error
        async def broken_error(self, request: Request, error: Exception) -> None:
            self.log.append(f"error: {error!r}")

    cog = Cog()
    await bot.add_cog(cog)
    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server, server.session() as session:
        with pytest.raises(RouteFailed):
            await session.request("broken")
        await until(lambda: len(recorded) == 3)
    assert cog.log[-2:] == [
        "error: ZeroDivisionError('text')",
        "error of the cog: ZeroDivisionError('text')",
    ]
    assert recorded.names == ["raw_ipc_request", "ipc_error", "ipc_request_completion"]
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize("value", ["sorry", 0, False, [], {}])
async def test_what_a_handler_returns_is_the_answer_and_no_other_handler_is_called(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    class Cog(Guarded):
        @route()
        async def broken(self, request: Request) -> None:
            raise ZeroDivisionError

        @broken.error
        async def broken_error(self, request: Request, error: Exception) -> Any:
            return value

    cog = Cog()
    await bot.add_cog(cog)
    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server, server.session() as session:
        assert await session.request("broken") == value
        await until(lambda: len(recorded) == 2)
    assert not [line for line in cog.log if line.startswith("error")]
    assert recorded.names == ["raw_ipc_request", "ipc_request_completion"]
    assert not failures(caplog)


async def test_a_handler_may_respond_with_null(bot: commands.Bot, caplog: pytest.LogCaptureFixture) -> None:
    @route()
    async def broken(request: Request) -> str:
        raise ZeroDivisionError

    @broken.error
    async def failed(request: Request, error: Exception) -> None:
        await request.respond(None)

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(broken)
        assert await session.request("broken") is None
    assert not failures(caplog)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(RouteError(404, "no such guild"), RouteError), (Forbidden("no"), Forbidden)],
)
async def test_what_a_handler_raises_takes_the_place_of_the_error(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, raised: RemoteError, expected: type[RemoteError]
) -> None:
    seen: list[Exception] = []

    class Cog(commands.Cog):
        @route()
        async def broken(self, request: Request) -> None:
            raise KeyError("x")

        @broken.error
        async def broken_error(self, request: Request, error: Exception) -> None:
            raise raised from error

        async def cog_ipc_error(self, request: Request, error: Exception) -> None:
            seen.append(error)

    await bot.add_cog(Cog())
    async with memory_server(bot) as server, server.session() as session:
        with pytest.raises(expected) as caught:
            await session.request("broken")
    assert caught.value.message == raised.message
    assert seen == [raised]
    assert not failures(caplog)


async def test_a_handler_that_fails_is_logged_with_the_error_it_should_have_handled(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    @route()
    async def broken(request: Request) -> None:
        raise KeyError("the first one")

    @broken.error
    async def failed(request: Request, error: Exception) -> None:
        raise ZeroDivisionError("the second one")

    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(broken)
        with pytest.raises(RouteFailed) as caught:
            await session.request("broken")
        await until(lambda: len(recorded) == 3)
    (record,) = failures(caplog)
    assert str(caught.value.error_id) in record.getMessage()
    assert "the first one" in caplog.text
    assert "the second one" in caplog.text
    assert isinstance(recorded[1][1][1], ZeroDivisionError)


async def test_an_answer_of_a_handler_that_cannot_be_encoded_is_a_failure(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    @route()
    async def broken(request: Request) -> None:
        raise KeyError("the first one")

    @broken.error
    async def failed(request: Request, error: Exception) -> Any:
        return object()

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(broken)
        with pytest.raises(RouteFailed):
            await session.request("broken")
    assert len(failures(caplog)) == 1
    assert "the first one" in caplog.text


async def test_an_answer_of_the_route_that_cannot_be_encoded_goes_to_the_handler(bot: commands.Bot) -> None:
    @route()
    async def work(request: Request) -> Any:
        return object()

    @work.error
    async def failed(request: Request, error: Exception) -> str:
        return type(error).__name__

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        assert await session.request("work") == "Unwritable"


async def test_refusals_and_errors_of_the_route_itself_go_to_the_handler(bot: commands.Bot) -> None:
    @route()
    @check(lambda request: request["allowed"])
    @cooldown(3, LONG)
    async def work(request: Request, allowed: bool, number: int = 0) -> None:
        raise RouteError(404, "no")

    @work.error
    async def failed(request: Request, error: Exception) -> Any:
        return [type(error).__name__, getattr(error, "retry_after", 0) > 0]

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        assert await session.request("work", allowed=False) == ["CheckFailed", False]
        assert await session.request("work", allowed=True) == ["RouteError", False]
        assert await session.request("work", allowed=True, number="x") == ["BadData", False]
        assert await session.request("work", allowed=True) == ["RouteError", False]
        assert await session.request("work", allowed=True) == ["OnCooldown", True]


async def test_an_unguarded_route_has_its_handler_too(bot: commands.Bot) -> None:
    @route()
    async def work(request: Request, number: int) -> None: ...

    @work.error
    async def failed(request: Request, error: Exception) -> Any:
        return str(type(error).__name__)

    assert not work.rules.guards
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        assert await session.request("work") == "BadData"


async def test_a_handler_is_not_called_for_a_stream_that_is_called_as_a_request(bot: commands.Bot) -> None:
    called: list[Exception] = []

    @route()
    async def items(request: Request) -> AsyncGenerator[int, None]:
        yield 1

    @items.error
    async def failed(request: Request, error: Exception) -> None:
        called.append(error)

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(items)
        with pytest.raises(RemoteError, match="this route streams"):
            await session.request("items")
    assert not called


async def test_a_handler_after_the_answer_cannot_answer_again(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    @route()
    async def work(request: Request) -> None:
        await request.respond("early")
        raise KeyError("the first one")

    @work.error
    async def failed(request: Request, error: Exception) -> str:
        return "late"

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        assert await session.request("work") == "early"
        await until(lambda: failures(caplog))
    assert "AlreadyResponded" in caplog.text
    assert "the first one" in caplog.text


async def test_a_handler_that_is_cancelled_by_its_caller_ends(bot: commands.Bot) -> None:
    state: list[str] = []

    @route()
    async def work(request: Request) -> None:
        raise KeyError

    @work.error
    async def failed(request: Request, error: Exception) -> None:
        state.append("begins")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            state.append("cancelled")
            raise

    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        calling = asyncio.create_task(session.request("work"))
        await until(lambda: state == ["begins"])
        calling.cancel()
        await until(lambda: len(recorded) == 2)
    assert state == ["begins", "cancelled"]
    assert recorded.names == ["raw_ipc_request", "ipc_request_completion"]


async def test_a_handler_that_cancels_itself_is_answered_with_cancelled(bot: commands.Bot) -> None:
    @route()
    async def work(request: Request) -> None:
        raise KeyError

    @work.error
    async def failed(request: Request, error: Exception) -> None:
        raise asyncio.CancelledError

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(Cancelled):
            await session.request("work")


async def test_a_handler_is_within_the_timeout_of_the_route(bot: commands.Bot) -> None:
    @route(timeout=0.02)
    async def work(request: Request) -> None:
        raise KeyError

    @work.error
    async def failed(request: Request, error: Exception) -> None:
        await asyncio.Event().wait()

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(DeadlineExceeded):
            await session.request("work")


# -- error handlers of streams


def stream_of(outcome: Any) -> Route[Any]:
    @route()
    async def items(request: Request) -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise KeyError("x")

    @items.error
    async def failed(request: Request, error: Exception) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return items


async def read(bot: commands.Bot, made: Route[Any]) -> tuple[list[Any], Exception | None]:
    items: list[Any] = []
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(made)
        try:
            async for item in session.stream("items"):
                items.append(item)
        except RemoteError as error:
            return items, error
    return items, None


async def test_what_a_handler_of_a_stream_returns_is_the_last_item(bot: commands.Bot) -> None:
    assert await read(bot, stream_of("the end")) == ([1, 2, "the end"], None)


async def test_a_handler_of_a_stream_that_returns_nothing_leaves_the_error(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    items, error = await read(bot, stream_of(None))
    assert items == [1, 2]
    assert isinstance(error, RouteFailed)
    assert len(failures(caplog)) == 1


async def test_what_a_handler_of_a_stream_raises_is_its_end(bot: commands.Bot) -> None:
    items, error = await read(bot, stream_of(RouteError(404, "gone")))
    assert items == [1, 2]
    assert isinstance(error, RouteError)


async def test_the_last_item_of_a_handler_waits_for_its_reader(bot: commands.Bot) -> None:
    made = stream_of("the end")
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(made)
        async with session.stream("items") as stream:
            items = [item async for item in stream]
    assert items == [1, 2, "the end"]


@pytest.mark.parametrize("end", ["the reader leaves", "the time is over"])
async def test_a_handler_of_a_stream_that_does_not_end_is_cancelled(bot: commands.Bot, end: str) -> None:
    state: list[str] = []

    @route(timeout=0.1 if end == "the time is over" else None)
    async def items(request: Request) -> AsyncGenerator[int, None]:
        yield 1
        raise KeyError("x")

    @items.error
    async def failed(request: Request, error: Exception) -> None:
        state.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            state.append("ends")

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(items)
        stream = session.stream("items")
        assert await anext(stream) == 1
        await until(lambda: state)
        if end == "the reader leaves":
            await stream.aclose()
        else:
            with pytest.raises(DeadlineExceeded):
                await anext(stream)
        await until(lambda: len(state) == 2)
    assert state == ["begins", "ends"]


# -- in each dialect


@in_each_dialect
async def test_a_handler_answers_in_each_dialect(bot: commands.Bot, make: MakeCaller) -> None:
    @route()
    async def work(request: Request) -> None:
        raise KeyError("x")

    @work.error
    async def failed(request: Request, error: Exception) -> Any:
        return {"handled": type(error).__name__}

    async with memory_server(bot) as server:
        server.add_route(work)
        outcome = await make(server, CALLER).call("work")
    assert (outcome.result, outcome.error) == ({"handled": "KeyError"}, None)


@in_each_dialect
async def test_a_timeout_of_a_route_holds_in_each_dialect(bot: commands.Bot, make: MakeCaller) -> None:
    ended: list[Request] = []

    @route(timeout=0.02)
    async def work(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(request)

    async with memory_server(bot) as server:
        server.add_route(work)
        outcome = await make(server, CALLER).call("work")
        await until(lambda: ended)
    assert "at most 0.02 s" in str(outcome.error)
