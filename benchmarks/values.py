"""``hatch run values``: what answers made of discord.py's objects cost, against the same plain dicts.

The objects are those of a real bot on the loopback Discord. Both sides are measured in turns, and the ratio of the
medians counts, since times differ between machines. The stall is the longest turn of the event loop while a large
answer is written in slices.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from discord_tools.ipc_server.encoding import encode_answer, encode_large
from discord_tools.ipc_server.turns import TurnBudget
from loopback import LoopbackDiscord
from loopback.bots import running_bot

__all__ = ("Result", "compare", "main", "measure", "stall")

#: Highest ratio of each load.
TARGETS: Final = {"100 members": 3.0, "1,000 guilds": 1.5, "5,000 members": 3.0}

#: Longest turn of the event loop, in milliseconds.
LONGEST_STALL: Final = 20.0


class Result(NamedTuple):
    """Times of a load, in microseconds."""

    title: str
    objects: float
    plain: float
    stall: float

    @property
    def ratio(self) -> float:
        """How many times as much objects cost."""
        return self.objects / self.plain


def _time(encode: Callable[[], object], seconds: float) -> float:
    """Microseconds for one call."""
    end, n, begin = time.perf_counter() + seconds, 0, time.perf_counter()
    while time.perf_counter() < end:
        encode()
        n += 1
    return (time.perf_counter() - begin) / n * 1e6


def compare(objects: Sequence[Any], rounds: int, seconds: float) -> tuple[float, float]:
    """Microseconds for objects and for the same plain dicts: medians of rounds in turns."""
    plain = msgspec.json.decode(encode_answer(objects))
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        ours.append(_time(lambda: encode_answer(objects), seconds))
        theirs.append(_time(lambda: encode_answer(plain), seconds))
    return statistics.median(ours), statistics.median(theirs)


async def stall(objects: Sequence[Any]) -> float:
    """The longest turn of the event loop while an answer is written, in milliseconds."""
    writing = asyncio.create_task(encode_large(objects, 2**40, TurnBudget(2**40).take))
    longest, last = 0.0, time.perf_counter()
    while not writing.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest * 1e3


async def measure(rounds: int, seconds: float, scale: float = 1.0) -> list[Result]:
    """Measures all loads, with ``scale`` times as many objects."""
    results: list[Result] = []
    sizes = {
        name: max(1, int(size * scale)) for name, size in (("few", 100), ("many", 5000), ("guilds", 1000))
    }

    async def add(title: str, objects: Sequence[Any]) -> None:
        gc.collect()
        results.append(Result(title, *compare(objects, rounds, seconds), await stall(objects)))

    async with (
        LoopbackDiscord(guilds=1, members=sizes["many"], roles=6) as discord,
        running_bot(discord) as bot,
    ):
        members = list(bot.guilds[0].members)
        await add("100 members", members[: sizes["few"]])
        await add("5,000 members", members)
    async with LoopbackDiscord(guilds=sizes["guilds"], members=1) as discord, running_bot(discord) as bot:
        await add("1,000 guilds", list(bot.guilds))
    return results


def main() -> None:
    """Prints a table, and ends with status 1 if something costs more than it may."""
    parser = argparse.ArgumentParser(prog="hatch run values", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="how long each side has a turn")
    options = parser.parse_args()
    results = asyncio.run(measure(options.rounds, options.seconds))
    print(
        "| load | objects, us | plain dicts, us | ratio | at most | longest stall, ms |\n|---|---|---|---|---|---|"
    )
    for each in results:
        figures = f"{each.objects:.0f} | {each.plain:.0f} | {each.ratio:.2f} | {TARGETS[each.title]}"
        print(f"| {each.title} | {figures} | {each.stall:.1f} |")
    if any(each.ratio > TARGETS[each.title] or each.stall > LONGEST_STALL for each in results):
        raise SystemExit(1)


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    main()
