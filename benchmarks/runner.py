"""One run: starts both processes of every side, and lets the sides take turns."""

from __future__ import annotations

import asyncio
import datetime
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from benchmarks.loads import Load, Mode
from benchmarks.machine import cores, description, versions
from benchmarks.processes import Contestant, Missing
from benchmarks.results import Cell, Idle, Results, Sample, Start
from benchmarks.sides import make_side
from loopback.process import LoopbackProcess

__all__ = ("run",)

OURS = "ours"


async def run(mode: Mode, sides: Sequence[str], loads: Sequence[Load]) -> Results:
    """Measures these sides under these loads."""
    where = cores()
    results = Results(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        mode=mode.name,
        rounds=mode.rounds,
        seconds=mode.seconds,
        machine=description(),
        versions=versions(),
        pinned=where.remark,
        sides={},
        skipped={},
        loads={load.name: load.title for load in loads},
    )
    async with AsyncExitStack() as started:
        discord_ = await started.enter_async_context(LoopbackProcess(guilds=2, members=5))
        contestants: list[Contestant] = []
        pushing: set[str] = set()
        for name in sides:
            contestant = Contestant(name, where, discord_.port)
            try:
                side = make_side(name)
                await started.enter_async_context(contestant)
            except (Missing, ImportError) as error:
                results.skipped[name] = str(error)
                _tell(f"{name} is left out: {error}")
                continue
            results.sides[name] = (side.title, side.note)
            if side.pushes:
                pushing.add(name)
            contestants.append(contestant)
        for number in range(mode.rounds):
            for load in loads:
                _tell(f"round {number + 1} of {mode.rounds}: {load.title}")
                for contestant in contestants:
                    if not load.subscribers or contestant.name in pushing:
                        results.cells.append(await _turn(contestant, load, mode, number))
        for contestant in contestants:
            if contestant.name == OURS:
                results.start = await _start(contestant, mode)
                results.idle = await _idle(contestant, mode)
                results.memory = await _memory(contestant, mode)
    return results


async def _turn(contestant: Contestant, load: Load, mode: Mode, number: int) -> Cell:
    """One side's turn."""
    if load.subscribers:
        op, arguments = "burst", {"subscribers": load.subscribers, "size": load.burst}
        await contestant.caller("subscribe", count=load.subscribers)
    else:
        op, arguments = "drive", {"callers": load.callers}
    await contestant.caller(op, seconds=mode.warm_up, **arguments)
    if load.watched:
        await contestant.bot("watch")
    before = await contestant.usage()
    figures = await contestant.caller(op, seconds=mode.seconds, **arguments)
    after = await contestant.usage()
    # A loop that nobody can see into has none.
    stall = (await contestant.bot("stall")) if load.watched else {"wall": 0, "cpu": 0}
    if load.subscribers:
        await contestant.caller("leave")
    return Cell(
        load=load.name,
        side=contestant.name,
        round=number,
        requests=figures["requests"],
        rate=figures["rate"],
        p50=figures["p50"],
        p99=figures["p99"],
        caller_cpu=figures["caller_cpu"],
        bot_cpu=(after.cpu - before.cpu) / figures["requests"] * 1e6,
        stall=stall["wall"] or None,
        stall_cpu=stall["cpu"] or None,
    )


async def _start(contestant: Contestant, mode: Mode) -> Start:
    """How long it takes to start: medians."""
    _tell(f"{mode.starts} starts of a dashboard")
    # Python itself starts each time, too.
    importing = [await _run("import discord_tools.ipc") - await _run("pass") for _ in range(mode.starts)]
    connecting = [await contestant.caller("gather", count=1) for _ in range(mode.starts)]
    await contestant.caller("leave")
    return Start(statistics.median(importing) * 1e3, statistics.median(connecting) * 1e3)


async def _run(code: str) -> float:
    """Runs a program of Python and returns how long it took, in seconds."""
    began = time.perf_counter()
    await (await asyncio.create_subprocess_exec(sys.executable, "-c", code)).wait()
    return time.perf_counter() - began


async def _idle(contestant: Contestant, mode: Mode) -> Idle:
    """What clients cost that are only connected."""
    _tell(f"{mode.idle_clients} idle clients for {mode.idle_seconds:g} s")
    alone = await contestant.usage()
    await asyncio.sleep(mode.idle_seconds)
    before = await contestant.usage()
    await contestant.caller("gather", count=mode.idle_clients)
    connected = await contestant.usage()
    await asyncio.sleep(mode.idle_seconds)
    after = await contestant.usage()
    await contestant.caller("leave")
    return Idle(
        clients=mode.idle_clients,
        seconds=mode.idle_seconds,
        cpu_without=(before.cpu - alone.cpu) / mode.idle_seconds,
        cpu=(after.cpu - connected.cpu) / mode.idle_seconds,
        memory=None if before.memory is None or after.memory is None else after.memory - before.memory,
    )


async def _memory(contestant: Contestant, mode: Mode) -> list[Sample]:
    """The memory of a bot's process that serves very many requests."""
    samples: list[Sample] = []
    for requests in range(0, mode.memory_requests + 1, mode.memory_step) if mode.memory_requests else ():
        if requests:
            _tell(f"{requests:,} of {mode.memory_requests:,} requests")
            await contestant.caller("drive", callers=(("stats", 64),), requests=mode.memory_step)
        memory = (await contestant.usage()).memory
        if memory is None:
            return []
        samples.append(Sample(requests, memory))
    return samples


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
