"""``hatch run attack``: what hostile clients cost a bot.

Each case starts a fresh bot, an honest dashboard beside it, and an attacker. Meters inside the bot's process tell the
longest stall of its event loop, in CPU time, its memory, its open files and its log; the dashboard tells how long its
calls took. Prints a Markdown table, and ends with status 1 where a bound of a case is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.attack.case import Case
from benchmarks.attack.cases import CASES
from benchmarks.attack.judge import Verdict, judge, table
from benchmarks.attack.runner import run
from loopback import LoopbackDiscord

__all__ = ("main",)


async def run_all(cases: list[Case], seconds: float, scale: float) -> list[Verdict]:
    """Runs one case after the other."""
    verdicts: list[Verdict] = []
    async with LoopbackDiscord(guilds=1, members=3) as discord:
        for case in cases:
            began = time.monotonic()
            verdict = judge(case, await run(case, seconds, discord), scale=scale)
            verdicts.append(verdict)
            outcome = "; ".join(verdict.broken) or "within its bounds"
            print(f"{case.name}: {outcome} ({time.monotonic() - began:.1f} s)", file=sys.stderr)
    return verdicts


def as_json(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """All that was measured."""
    return [{"case": one.case.name, "broken": one.broken, **one.figures} for one in verdicts]


def chosen(patterns: list[str]) -> list[Case]:
    """The cases with one of these names; a name may have wildcards.

    Raises
    ------
    SystemExit
        There is none of a name.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(case.name, pattern) for case in CASES):
            raise SystemExit(f"no case {pattern!r}; --list shows them")
    return [
        case
        for case in CASES
        if not patterns or any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Runs it, and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="hatch run attack", description=(__doc__ or "").partition("\n")[2].strip()
    )
    parser.add_argument(
        "--case", action="append", default=[], metavar="NAME", help="only this one, or those like 'pings-*'"
    )
    parser.add_argument("--list", action="store_true", help="show the cases")
    parser.add_argument(
        "--seconds", type=float, default=1.5, help="how long each attack goes on (default: 1.5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go")
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    cases = chosen(options.case)
    if options.list:
        print("\n".join(f"{case.name}: {case.group}" for case in cases))
        return 0
    verdicts = asyncio.run(run_all(cases, options.seconds, options.scale))
    print(table(verdicts))
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(verdicts), indent=1))
    return 1 if any(verdict.broken for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
