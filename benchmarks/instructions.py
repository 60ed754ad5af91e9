"""``hatch run instructions``: how many instructions the processor needs for a request, an event and a stream item.

Times differ from run to run and from machine to machine by far more than most changes of the code bring; the number of
instructions hardly does. Valgrind counts it for a bot and a session in one process, joined in memory. What the system
does is left out, and so is what starting and stopping takes: each load runs twice, the second time with twice as many
operations, and the difference counts.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import discord
import msgspec
from msgspec import Struct

from benchmarks.machine import ALLOWED, description, versions
from benchmarks.table import ABSENT, rows
from benchmarks.world import KEY, QUESTIONS, stats
from discord_tools.ipc import ClientLimits, ClientSession, Request, Server, ServerLimits
from discord_tools.ipc.connectors.memory import MemoryConnector

__all__ = (
    "LOADS",
    "Counts",
    "Failed",
    "check_comparable",
    "count",
    "main",
    "out_of_proportion",
    "per_operation",
    "table",
    "total",
    "worse",
)

ROOT: Final = Path(__file__).parents[1]
OPERATIONS: Final = 1024
IN_FLIGHT: Final = 64
#: Percentage of growth from which on it is worse.
TOLERANCE: Final = 3.0
EVENT: Final = "tick"
#: Under Valgrind everything takes many times as long.
PATIENCE: Final = 120.0
#: What the measured program gets of the environment. Other variables change what Python, Valgrind or coverage do.
KEPT: Final = ("HOME", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR")


class Failed(Exception):
    """It cannot be counted, for the reason given."""


# -- what is counted


class Ends(NamedTuple):
    """Both ends of a connection."""

    server: Server[discord.Client]
    session: ClientSession


@asynccontextmanager
async def connected() -> AsyncGenerator[Ends]:
    """A server and a session that are joined in memory. The server's port is open, and nobody uses it."""
    async with discord.Client(intents=discord.Intents.none()) as bot:
        limits = ServerLimits(handshake_timeout=PATIENCE)
        server = Server(bot, "127.0.0.1", 0, KEY, multicast=False, limits=limits)
        session = ClientSession(
            connector=MemoryConnector(server.serve),
            timeout=PATIENCE,
            limits=ClientLimits(handshake_timeout=PATIENCE),
        )
        async with server, session:
            yield Ends(server, session)


def _add_routes(server: Server[discord.Client]) -> None:
    async def answer(request: Request, guild: int, top: int = 10) -> Any:
        return stats(guild, top)

    async def items(request: Request, n: int) -> AsyncGenerator[Any, None]:
        for number in range(n):
            yield stats(number)

    server.add_route(answer, "stats")
    server.add_route(items)


async def _alone(ends: Ends, operations: int) -> None:
    request, question = ends.session.request, QUESTIONS["stats"]
    for _ in range(operations):
        await request("stats", **question)


async def _at_once(ends: Ends, operations: int) -> None:
    request, question = ends.session.request, QUESTIONS["stats"]
    for _ in range(operations // IN_FLIGHT):
        await asyncio.gather(*(request("stats", **question) for _ in range(IN_FLIGHT)))


async def _events(ends: Ends, operations: int) -> None:
    publish, data = ends.server.publish, stats(1)
    async with ends.session.subscribe(EVENT) as events:
        for number in range(operations):
            await publish(EVENT, data)
            event = await anext(events)
            if event.seq != number + 1:
                raise RuntimeError(f"event {number + 1} came as {event!r}")


def _filtered(subscribers: int, *, matching: bool) -> Callable[[Ends, int], Awaitable[None]]:
    """Events of one guild, with subscribers that filter on a guild each. One of them gets the events, or none."""

    async def run(ends: Ends, operations: int) -> None:
        publish, data = ends.server.publish, stats(1)
        async with AsyncExitStack() as stack:
            subscribe = ends.session.subscribe
            subscriptions = [
                await stack.enter_async_context(subscribe(EVENT, guild_id=guild))
                for guild in range(1, subscribers + 1)
            ]
            guild, events = (subscribers, subscriptions[-1]) if matching else (0, None)
            for number in range(operations):
                await publish(EVENT, data, guild_id=guild)
                if events is not None:
                    event = await anext(events)
                    if event.seq != number + 1:
                        raise RuntimeError(f"event {number + 1} came as {event!r}")

    return run


async def _items(ends: Ends, operations: int) -> None:
    n = 0
    async for _ in ends.session.stream("items", n=operations):
        n += 1
    if n != operations:
        raise RuntimeError(f"{n} of {operations} items came")


class Load(NamedTuple):
    """Something that is done a number of times."""

    title: str
    run: Callable[[Ends, int], Awaitable[None]]


LOADS: Final = {
    "request": Load("request, alone", _alone),
    "requests": Load(f"request, {IN_FLIGHT} at once", _at_once),
    "event": Load("event to one subscriber", _events),
    "item": Load("stream item", _items),
    "filtered": Load("event to one subscriber with a filter", _filtered(1, matching=True)),
    "filtered-1000": Load("event to one of 1,000 subscribers with filters", _filtered(1000, matching=True)),
    "unmatched": Load("event that one filter does not match", _filtered(1, matching=False)),
    "unmatched-1000": Load("event that none of 1,000 filters matches", _filtered(1000, matching=False)),
}

#: How many times as much as the second load the first one may cost.
RATIOS: Final = {("filtered-1000", "filtered"): 2.0, ("unmatched-1000", "unmatched"): 2.0}


async def _run(load: Load, operations: int) -> None:
    async with connected() as ends:
        _add_routes(ends.server)
        # Otherwise the longer run may search the whole of discord.py for garbage once more than the shorter one.
        gc.collect()
        gc.freeze()
        await load.run(ends, operations)


# -- counting


class Counts(Struct):
    """One run: instructions per operation by the name of the load."""

    date: str
    python: str
    versions: dict[str, str]
    operations: int
    loads: dict[str, float]

    def save(self, path: Path) -> None:
        """Writes it."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    @classmethod
    def load(cls, path: Path) -> Counts:
        """Reads what :meth:`save` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


def total(report: str) -> int:
    """All instructions of a program, from what Cachegrind has written about it.

    Raises
    ------
    Failed
        They are not in there.
    """
    found = re.search(r"^summary: *(\d+)", report, re.MULTILINE)
    if found is None:
        raise Failed("Cachegrind's report has no summary")
    return int(found[1])


def per_operation(once: int, twice: int, operations: int) -> float:
    """Instructions for one operation, given those of a program with ``operations`` and of one with twice as many."""
    return (twice - once) / operations


def count(names: Sequence[str], operations: int = OPERATIONS) -> Counts:
    """Counts the instructions of some loads, with as many programs at a time as there are cores.

    Raises
    ------
    Failed
        Valgrind is missing, or a program did not do what it should.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Failed("Valgrind counts the instructions and is not installed (try: apt-get install valgrind)")
    for name in names:
        # It also leaves compiled modules behind, or the first program that is counted would have to compile them.
        _execute(_program(name, IN_FLIGHT))
    with ThreadPoolExecutor(len(ALLOWED) or 1) as pool:
        pairs = [
            (
                pool.submit(_count, valgrind, name, operations),
                pool.submit(_count, valgrind, name, 2 * operations),
            )
            for name in names
        ]
        loads = {
            name: per_operation(once.result(), twice.result(), operations)
            for name, (once, twice) in zip(names, pairs, strict=True)
        }
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Counts(today, description()["python"], versions(), operations, loads)


def _program(name: str, operations: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.instructions", "--operations", str(operations), "--run", name]


def _count(valgrind: str, name: str, operations: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        options = ["--quiet", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out}"]
        _execute([valgrind, *options, *_program(name, operations)])
        return total(out.read_text("utf-8", "replace"))


def _execute(command: list[str]) -> None:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment = {**kept, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr}")


# -- comparing


def _change(now: float, before: float) -> float:
    return (now / before - 1) * 100


def check_comparable(before: Counts, python: str, operations: int) -> None:
    """Makes sure that the earlier figures are of the same Python, whatever its patch level, and as many operations.

    Raises
    ------
    Failed
        They are not.
    """
    if python.rpartition(".")[0] != before.python.rpartition(".")[0]:
        raise Failed(f"{python} cannot be compared with {before.python}: each needs figures of its own")
    if operations != before.operations:
        raise Failed(
            f"{operations} operations cannot be compared with {before.operations}: the first ones cost more"
        )


def worse(now: Counts, before: Counts) -> list[str]:
    """The titles of the loads that need more instructions than before, beyond what is tolerated."""
    return [
        LOADS[name].title
        for name, figure in now.loads.items()
        if name in before.loads and _change(figure, before.loads[name]) > TOLERANCE
    ]


def out_of_proportion(now: Counts) -> list[str]:
    """What is wrong with the loads that cost too much in comparison with others of the same run."""
    found: list[str] = []
    for (name, other), limit in RATIOS.items():
        if name in now.loads and other in now.loads:
            ratio = now.loads[name] / now.loads[other]
            if ratio > limit:
                found.append(
                    f"{LOADS[name].title}: {ratio:.1f} times {LOADS[other].title}, at most {limit:g}"
                )
    return found


def table(now: Counts, before: Counts | None = None) -> str:
    """The figures as Markdown."""
    if before is None:
        lines = [(LOADS[name].title, f"{figure:,.0f}") for name, figure in now.loads.items()]
        return rows((now.python, "instructions"), lines)
    compared: list[tuple[str, ...]] = []
    for name, figure in now.loads.items():
        old = before.loads.get(name)
        was, change = (ABSENT, ABSENT) if old is None else (f"{old:,.0f}", f"{_change(figure, old):+z.1f}%")
        compared.append((LOADS[name].title, was, f"{figure:,.0f}", change))
    return rows((now.python, "before", "instructions", "change"), compared)


def _operations(text: str) -> int:
    if not text.isdecimal() or not int(text) or int(text) % IN_FLIGHT:
        raise argparse.ArgumentTypeError(f"it must be a multiple of {IN_FLIGHT}")
    return int(text)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hatch run instructions",
        description=(__doc__ or "").partition("\n")[2].strip(),
        epilog="Loads: " + "; ".join(f"{name} ({load.title})" for name, load in LOADS.items()),
    )
    parser.add_argument("loads", nargs="*", metavar="load", help="only these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="FILE",
        help=f"compare with figures that were kept, and fail where one is more than {TOLERANCE:g} %% worse",
    )
    parser.add_argument(
        "--operations",
        type=_operations,
        default=OPERATIONS,
        metavar="N",
        help=f"how many of each, and then twice as many (default: {OPERATIONS})",
    )
    parser.add_argument("--run", choices=tuple(LOADS), help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    unknown = [name for name in options.loads if name not in LOADS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(LOADS)}")
    return options


def main(given: Sequence[str] | None = None) -> None:
    """Runs it."""
    options = _arguments(given)
    if options.run is not None:
        asyncio.run(_run(LOADS[options.run], options.operations))
        return
    try:
        before = None if options.compare is None else Counts.load(options.compare)
        if before is not None:
            check_comparable(before, description()["python"], options.operations)
        now = count(list(dict.fromkeys(options.loads)) or list(LOADS), options.operations)
        if options.json is not None:
            now.save(options.json)
        print(table(now, before))
        found = [] if before is None else worse(now, before)
    except (Failed, OSError, msgspec.DecodeError) as error:
        sys.exit(f"instructions: {error}")
    if found:
        sys.exit(f"more than {TOLERANCE:g} % worse: {', '.join(found)}")
    if wrong := out_of_proportion(now):
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
