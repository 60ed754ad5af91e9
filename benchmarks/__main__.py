"""``hatch run bench``: see ``--help``."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
from pathlib import Path

from benchmarks.loads import FULL, LOADS, QUICK, load_named
from benchmarks.picture import picture
from benchmarks.results import Results
from benchmarks.runner import run
from benchmarks.sides import SIDES
from benchmarks.table import report

ROOT = Path(__file__).parents[1]
NAME = "benchmark"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hatch run bench",
        description="Measures discord_tools.ipc and others in turns; writes a table, a picture and the raw figures.",
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes, and rough; for a first look")
    parser.add_argument("--sides", help=f"only these, with commas between: {','.join(SIDES)}")
    parser.add_argument("--loads", help=f"only these: {','.join(load.name for load in LOADS)}")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument("--seconds", type=float, help="how long each side has a turn")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"the folder for {NAME}.md, {NAME}.svg and {NAME}.json (default: docs/_static, which the docs show; "
        "for less than a whole run: .cache/bench)",
    )
    parser.add_argument(
        "--again", type=Path, metavar="JSON", help="only write table and picture of an earlier run"
    )
    return parser.parse_args()


def _chosen(given: str | None, known: list[str]) -> list[str]:
    if given is None:
        return known
    names = [name.strip() for name in given.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def main() -> None:
    """Runs it."""
    options = _arguments()
    # The docs show whole runs only.
    part = options.quick or options.sides or options.loads or options.rounds or options.seconds
    out: Path = options.out or ROOT / (".cache/bench" if part else "docs/_static")
    if options.again is not None:
        results = Results.load(options.again)
    else:
        mode = QUICK if options.quick else FULL
        if options.rounds:
            mode = dataclasses.replace(mode, rounds=options.rounds)
        if options.seconds:
            mode = dataclasses.replace(mode, seconds=options.seconds)
        sides = _chosen(options.sides, list(SIDES))
        loads = [load_named(name) for name in _chosen(options.loads, [load.name for load in LOADS])]
        results = asyncio.run(run(mode, sides, loads))
    out.mkdir(parents=True, exist_ok=True)
    table = report(results)
    results.save(out / f"{NAME}.json")
    (out / f"{NAME}.md").write_text(table, "utf-8")
    (out / f"{NAME}.svg").write_text(picture(results), "utf-8")
    print(table)
    print(f"written to {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
