"""Routes that block the event loop are named, and calls that nobody waits for any more do not start afterwards."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CodeType, SimpleNamespace
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import DeadlineExceeded, Request
from discord_tools.ipc.wire.frames import Meta
from discord_tools.ipc_server import watchdog as watchdogs
from discord_tools.ipc_server.routes import Route, RouteTable
from discord_tools.ipc_server.watchdog import Watchdog
from equipment.clocks import IncidentClock, LoopClock
from equipment.serving import connecting, serving
from equipment.until import until
from test_server.tools import Failed, MemoryServer, NativeClient, native_client, records_with

NAMED = "has blocked the event loop"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop counts as blocked soon."""
    monkeypatch.setattr(watchdogs, "THRESHOLD", 0.02)
    monkeypatch.setattr(watchdogs, "BEAT", 0.005)


def block_until(condition: Any) -> None:
    """Blocks the loop until a condition holds, as a route does that computes."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.001)


# -- lines in the log


@pytest.mark.usefixtures("quick")
async def test_a_route_that_blocks_the_loop_is_named_in_a_warning(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    server = serving(bot)

    @server.route()
    async def blocking(request: Request) -> None:
        compute()

    def compute() -> None:  # the route is named although the loop is blocked in what it calls
        block_until(lambda: records_with(caplog, NAMED))

    async with server, connecting(server.port) as session:
        await session.request("blocking")
    (record,) = records_with(caplog, NAMED)
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(
        "[/blocking] This route has blocked the event loop for more than 0.02 s"
    )
    assert record.exc_info is None


@pytest.mark.usefixtures("quick")
async def test_a_partial_object_that_blocks_the_loop_is_named(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    server = serving(bot)

    async def work(word: str, request: Request) -> None:
        block_until(lambda: records_with(caplog, NAMED))

    server.add_route(partial(work, "x"), "blocking")
    async with server, connecting(server.port) as session:
        await session.request("blocking")
    (record,) = records_with(caplog, NAMED)
    assert record.getMessage().startswith("[/blocking] This route")


def test_routes_of_the_same_function_are_named_together(bot: commands.Bot) -> None:
    async def work(word: str, request: Request) -> None: ...

    table = RouteTable(bot)
    for name in ("one", "two", "three"):
        table.add(Route(partial(work, name), name))
    assert len(table.view()) == 3  # it finds the routes
    assert table.codes() == {work.__code__: "/one or 2 more of the same function"}


@pytest.mark.usefixtures("quick")
async def test_a_route_that_blocks_the_loop_again_and_again_is_one_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = IncidentClock(monkeypatch)
    monkeypatch.setattr(watchdogs, "BEAT", 0.0)  # the loop gives a sign in each turn
    noticed = 0

    def routes() -> dict[CodeType, str]:
        nonlocal noticed
        noticed += 1
        return {block.__code__: "/blocking"}

    def block() -> None:
        count = noticed
        block_until(lambda: noticed > count)

    with watching(routes):
        for _ in range(3):
            block()
            await until(lambda: caplog.messages)
            await turns()
        assert len(caplog.messages) == 1
        clock.pass_period()
        block()
        await until(lambda: len(caplog.messages) == 3)
    # The last one of the first minute may be logged by the thread when the next minute has begun.
    assert re.match(r"\[/blocking\] [12] more within a minute: ", caplog.messages[1])
    assert caplog.messages[2] == caplog.messages[0]


@pytest.mark.usefixtures("quick")
async def test_a_block_outside_of_routes_is_noticed_and_names_none(caplog: pytest.LogCaptureFixture) -> None:
    with watching() as watchdog:
        await until(lambda: not watchdog.was_blocked_for(0.05))
        time.sleep(0.1)  # noqa: ASYNC251
        await until(lambda: watchdog.was_blocked_for(0.05))
    assert not caplog.records


async def test_a_loop_that_is_only_busy_is_not_blocked(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    server = serving(bot)

    @server.route()
    async def busy(request: Request) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    async with server, connecting(server.port) as session:
        await session.request("busy")
    assert not records_with(caplog, NAMED)


async def test_the_thread_ends_with_the_server(bot: commands.Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdogs, "THRESHOLD", 0.02)
    for _ in range(3):
        async with serving(bot):
            assert len(threads()) >= 1
    await until(lambda: not threads())


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "ipc watchdog"]


# -- how long the loop was blocked


class Time:
    """The clock of a watchdog. Its thread never wakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(watchdogs, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(watchdogs, "BEAT", 0.0)


@contextmanager
def watching(routes: Callable[[], dict[CodeType, str]] = dict) -> Iterator[Watchdog]:
    watchdog = Watchdog(routes)
    watchdog.start()
    try:
        yield watchdog
    finally:
        watchdog.stop()


async def test_the_loop_was_blocked_for_the_time_between_two_of_its_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Time(monkeypatch)
    with watching() as watchdog:
        await turns()
        assert not watchdog.was_blocked_for(0.0)
        clock.now += 5.0
        await turns()
        assert watchdog.was_blocked_for(5.0)
        assert not watchdog.was_blocked_for(5.1)


async def test_a_short_pause_between_two_turns_is_no_block(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    with watching() as watchdog:
        for _ in range(10):
            clock.now += watchdogs.THRESHOLD
            await turns()
        assert not watchdog.was_blocked_for(0.1)


async def test_a_block_is_forgotten_once_what_was_waiting_then_has_been_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Time(monkeypatch)
    with watching() as watchdog:
        await turns()
        clock.now += 5.0
        await turns()
        for _ in range(int(5.0 / watchdogs.THRESHOLD) + 1):
            assert watchdog.was_blocked_for(5.0)
            clock.now += watchdogs.THRESHOLD
            await turns()
        clock.now += watchdogs.THRESHOLD
        assert not watchdog.was_blocked_for(5.0)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# -- calls that are older than their callers wait


class Loop:
    """The clocks of both sides."""

    def __init__(self, server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[int] = []
        #: What it has gained is what the bot's clock has gained on the client's since the first call.
        self.bot = LoopClock(monkeypatch)
        server.add_route(self.note)

    async def note(self, request: Request) -> int:
        self.ran.append(request["n"])
        return request["n"]

    async def call(self, native: NativeClient, n: int, timeout: float | None = 5.0) -> int:
        """Calls, with the client's clock."""
        meta = Meta(timeout=timeout, clock=self.bot.real())
        return await native.call("note", {"n": n}, meta=meta)


async def test_a_call_older_than_its_timeout_does_not_start_where_the_loop_was_blocked(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with native_client(bot) as native:
        loop = Loop(native.server, monkeypatch)
        assert await loop.call(native, 1) == 1
        loop.bot.ahead = native.server.blocked = 10.0
        with pytest.raises(Failed) as caught:
            await loop.call(native, 2)
        assert caught.value.code == DeadlineExceeded.code
        # One that its caller still waits for runs.
        assert await loop.call(native, 3, timeout=20.0) == 3
        loop.bot.ahead = 0.0
        assert await loop.call(native, 4) == 4
        assert loop.ran == [1, 3, 4]


async def test_a_call_that_seems_old_starts_where_the_loop_was_not_blocked_for_as_long(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with native_client(bot) as native:
        loop = Loop(native.server, monkeypatch)
        assert await loop.call(native, 1) == 1
        loop.bot.ahead = 10.0  # the client's clock was stopped, as that of a computer that slept
        assert await loop.call(native, 2) == 2
        native.server.blocked = 4.9
        assert await loop.call(native, 3) == 3
        native.server.blocked = 5.0
        with pytest.raises(Failed):
            await loop.call(native, 4)
        assert loop.ran == [1, 2, 3]


async def test_calls_without_a_clock_are_as_old_as_the_last_one_with_a_clock(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with native_client(bot) as native:
        loop = Loop(native.server, monkeypatch)
        assert await loop.call(native, 1) == 1
        loop.bot.ahead = native.server.blocked = 10.0
        with pytest.raises(Failed):
            await loop.call(native, 2)
        with pytest.raises(Failed) as caught:
            await native.call("note", {"n": 3}, meta=Meta(timeout=5.0))
        assert caught.value.code == DeadlineExceeded.code
        assert loop.ran == [1]


async def test_a_client_that_sends_no_clock_has_no_call_refused_for_its_age(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with native_client(bot) as native:
        loop = Loop(native.server, monkeypatch)
        for n in range(3):
            assert await native.call("note", {"n": n}, meta=Meta(timeout=5.0)) == n
            loop.bot.ahead = native.server.blocked = 10.0
        assert loop.ran == [0, 1, 2]
