"""Runs the scenarios, one after another, and prints a table."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.chaos import __doc__ as what_it_is
from benchmarks.chaos.link import refusal, run_inside
from benchmarks.chaos.notes import Report
from benchmarks.chaos.scenarios import HALF_OPEN_LINK, SCENARIOS, Scenario, scenarios, usable_clients
from benchmarks.chaos.world import world
from loopback import LoopbackDiscord

HEAD: Final = (
    "scenario",
    "calls",
    "answered",
    "refused",
    "may have run",
    "killed",
    "lost",
    "twice",
    "mixed up",
    "late",
    "left behind",
    "verdict",
)


async def run(scenario: Scenario, seconds: float, seed: int) -> Report:
    """One scenario, from the start of its processes to the judgement."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            LoopbackDiscord(guilds=1, members=1) as discord_,
            world(discord_.port, Path(folder), scenario.load, seed, **scenario.options) as one,
        ):
            one.end = time.monotonic() + seconds
            await scenario.run(one)
            report = await one.finish()
    scenario.check(report)
    return report


def row(name: str, report: Report) -> str:
    """The line of the table for a scenario."""
    numbers = (
        report.calls,
        report.answered,
        report.refused,
        report.may_have_run,
        report.died,
        report.lost,
        report.twice,
        report.mixed_up,
        report.late,
        len(report.left),
    )
    return f"| {' | '.join((name, *map(str, numbers), 'yes' if report.well else '**NO**'))} |"


def details(name: str, report: Report) -> list[str]:
    """What the table has no room for."""
    lines = [f"{name}: {what}" for what in (*report.wrong[:9], *report.left[:9])]
    if report.errors:
        lines.append(f"{name}: errors: " + ", ".join(f"{n} x {what}" for what, n in report.errors.items()))
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hatch run chaos", description=what_it_is)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each scenario (default: 10)")
    parser.add_argument(
        "--scenario", action="append", choices=SCENARIOS, help="only this one; may be repeated"
    )
    parser.add_argument("--seed", type=int, help="of when what happens (default: another one each time)")
    clients = min(1000, 250 * (os.cpu_count() or 1))
    parser.add_argument(
        "--clients", type=int, default=clients, help=f"that are cut at once (default here: {clients})"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def go_inside(options: argparse.Namespace) -> str | None:
    """Begins again in a network namespace, where a scenario needs one. Returns why it cannot be had."""
    if options.inside or (options.scenario and HALF_OPEN_LINK not in options.scenario):
        return None
    reason = refusal()
    if reason is None:
        run_inside(sys.executable, "-m", "benchmarks.chaos", *sys.argv[1:], "--inside")
    return reason


def main() -> None:
    """Runs it."""
    options = arguments()
    without_link = go_inside(options)
    seed: int = random.randrange(1 << 30) if options.seed is None else options.seed
    random.seed(seed)  # the proxy's
    clients = usable_clients(options.clients)
    print(f"{options.seconds:g} s each, {clients} clients that are cut at once, --seed {seed}\n")
    if without_link is not None:
        print(f"{HALF_OPEN_LINK} is left out: {without_link}. half-open uses a proxy that drops.\n")
    elif options.inside:
        print(
            f"{HALF_OPEN_LINK} drops packets between two network namespaces, half-open uses a proxy that drops.\n"
        )
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    notes: list[str] = []
    failed = False
    for name, scenario in scenarios(clients).items():
        if name == HALF_OPEN_LINK and without_link is not None:
            continue
        if options.scenario is None or name in options.scenario:
            report = asyncio.run(run(scenario, options.seconds, seed))
            print(row(name, report), flush=True)
            notes += details(name, report)
            failed = failed or not report.well
    print("\n" + "\n".join(notes))
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
