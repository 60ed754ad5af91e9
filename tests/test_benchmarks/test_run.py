from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from benchmarks import runner
from benchmarks.drive import Callers
from benchmarks.loads import LOADS, Load, Mode, load_named
from benchmarks.loops import Watch, loop_factory
from benchmarks.machine import Cores
from benchmarks.results import Results
from benchmarks.sides import SIDES, make_side
from benchmarks.sides.base import Caller, Heard
from benchmarks.sides.limit import Limit
from benchmarks.table import report
from benchmarks.world import QUESTIONS, ROUTES, event

TINY = Mode(
    "tiny",
    rounds=2,
    warm_up=0.01,
    seconds=0.05,
    idle_clients=3,
    idle_seconds=0.05,
    memory_requests=200,
    memory_step=100,
    starts=1,
)


@pytest.mark.parametrize(("route", "size"), [("stats", 150), ("members", 59_000), ("everybody", 1 << 20)])
def test_answers_are_as_large_as_the_table_says(route: str, size: int) -> None:
    answer = ROUTES[route](**QUESTIONS[route])
    assert len(msgspec.json.encode(answer)) == pytest.approx(size, rel=0.02)


def test_events_are_as_large_as_the_table_says() -> None:
    assert 130 <= len(msgspec.json.encode(event())) <= 170


def test_every_load_asks_for_what_there_is() -> None:
    for load in LOADS:
        assert bool(load.callers) != bool(load.subscribers)
        assert {route for route, _ in load.callers} <= QUESTIONS.keys()
        assert load_named(load.name) is load


async def test_callers_count_each_request_of_the_first_group_once() -> None:
    async with Limit().serve(0) as address, Limit().connect(address) as asker:
        figures = await Callers(Limit(), address, asker).drive([("stats", 4), ("nap", 2)], requests=100)
    assert 0 < figures["requests"] <= 98  # of a hundred; the others took one each at least
    assert figures["rate"] == pytest.approx(figures["requests"] / figures["seconds"])
    assert 0 < figures["p50"] <= figures["p99"] <= figures["seconds"] * 1e6


async def test_a_caller_that_fails_fails_the_turn() -> None:
    class Broken:
        async def call(self, route: str, data: dict[str, Any], /) -> Any:
            raise LookupError(route)

        async def subscribe(self, heard: Heard, /) -> None: ...

    with pytest.raises(ExceptionGroup) as caught:
        await Callers(Limit(), "", Broken()).drive([("stats", 2)], seconds=5.0)
    assert caught.group_contains(LookupError)


async def test_a_burst_is_over_when_every_subscriber_has_every_event() -> None:
    class Late:
        """Everybody but the first subscriber hears events some time after the call is answered."""

        def __init__(self) -> None:
            self.listeners: list[Heard] = []

        async def call(self, route: str, data: dict[str, Any], /) -> Any:
            loop = asyncio.get_running_loop()
            for number, heard in enumerate(self.listeners):
                for _ in range(data["n"]):
                    loop.call_later(0.02 * number, heard, {"at": time.perf_counter()})

        async def subscribe(self, heard: Heard, /) -> None:
            self.listeners.append(heard)

    late = Late()

    class Side(Limit):
        @asynccontextmanager
        async def connect(self, address: str) -> AsyncGenerator[Caller]:
            yield late

    callers = Callers(Side(), "", late)
    await callers.subscribe(3)
    figures = await callers.burst(3, 10, 0.01)
    await callers.leave()
    assert figures["requests"] == 30
    assert figures["seconds"] >= 0.04


async def test_leaving_disconnects_all_but_the_asker() -> None:
    connected = 0

    class Counted(Limit):
        @asynccontextmanager
        async def connect(self, address: str) -> AsyncGenerator[Caller]:
            nonlocal connected
            async with super().connect(address) as caller:
                connected += 1
                yield caller
                connected -= 1

    async with Limit().serve(0) as address, Counted().connect(address) as asker:
        callers = Callers(Counted(), address, asker)
        await callers.gather(60)
        assert connected == 61
        await callers.leave()
        assert connected == 1
        assert (await callers.drive([("stats", 1)], requests=1))["requests"] == 1


class Clock:
    """Goes on only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.cpu = 10.0

    def perf_counter(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.cpu

    def advance(self, seconds: float, cpu: float) -> None:
        self.now += seconds
        self.cpu += cpu


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the watch."""
    clock = Clock()
    monkeypatch.setattr("benchmarks.loops.time", clock)
    return clock


def test_the_watch_finds_the_longest_turn_of_a_loop(clock: Clock) -> None:
    watch = Watch()

    async def work() -> None:
        watch.start()
        for seconds, cpu in ((1.0, 0.5), (3.0, 0.5), (2.0, 1.5)):
            await asyncio.sleep(0)
            clock.advance(seconds, cpu)
        await asyncio.sleep(0)
        watch.on = False

    with asyncio.Runner(loop_factory=loop_factory("asyncio", watch)) as running:
        running.run(work())
    assert (watch.longest, watch.longest_cpu) == (3.0, 1.5)


def test_the_watch_leaves_out_what_the_loop_waits(clock: Clock) -> None:
    watch = Watch()
    watch.start()
    watch.begin()
    clock.advance(1.0, 0.5)
    watch.end()
    clock.advance(100.0, 0.0)
    watch.begin()
    clock.advance(2.0, 0.25)
    watch.end()
    assert (watch.longest, watch.longest_cpu) == (2.0, 0.5)


def test_the_watch_forgets_what_was_before() -> None:
    watch = Watch()
    watch.longest = watch.longest_cpu = 5.0
    watch.start()
    assert watch.longest == watch.longest_cpu == 0.0


def test_how_processes_were_pinned_is_said_where_they_were_not() -> None:
    assert "not pinned" in Cores(None, None).remark
    assert "shared core 3" in Cores(3, 3).remark
    assert Cores(0, 2).remark == "bot pinned to core 0, callers to core 2"


async def test_two_sides_take_turns_under_each_load_in_each_round() -> None:
    loads = [load_named("1"), load_named("full"), Load("events-2", "events", subscribers=2, burst=5)]
    results = await runner.run(TINY, ["limit", "ours"], loads)
    turns = [(cell.round, cell.load, cell.side) for cell in results.cells]
    assert turns == [
        (number, load.name, side) for number in range(2) for load in loads for side in ("limit", "ours")
    ]
    assert all(cell.requests > 0 and cell.rate > 0 and cell.bot_cpu >= 0 for cell in results.cells)
    assert all((cell.stall is not None) == (cell.load == "full") for cell in results.cells)
    assert results.start is not None
    assert results.start.connecting > 0
    assert results.idle is not None
    assert results.idle.clients == 3
    assert [sample.requests for sample in results.memory] in ([0, 100, 200], [])  # not every system tells
    assert "| **discord_tools.ipc** |" in report(results)


async def test_frames_travel_alone_where_packing_is_switched_off() -> None:
    results = await runner.run(TINY, ["ours-unbatched"], [load_named("64")])
    assert not results.skipped
    assert len(results.cells) == 2


async def test_a_side_whose_package_is_missing_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIDES, "limit", "no_such_module:Limit")
    results: Results = await runner.run(TINY, ["limit"], [load_named("1")])
    assert "no_such_module" in results.skipped["limit"]
    assert not results.cells
    with pytest.raises(ImportError):
        make_side("limit")
