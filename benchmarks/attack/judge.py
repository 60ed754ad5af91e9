"""Compares what was measured with the bounds of a case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.attack.case import Case
from benchmarks.attack.meters import NORMAL_SECONDS

__all__ = ("Verdict", "judge", "table")

MIB: Final = 1 << 20

#: A machine with more to do than this gives no figures to judge by.
MOST_CROWDED: Final = 4.0

_HEAD: Final = (
    "| case | stall, CPU ms | stall, ms | CPU | memory, MiB | files | log lines | p99, ms (quiet) | newcomers |  |",
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
)


@dataclass(frozen=True)
class Verdict:
    """A case, what was measured, and which bounds it broke, in words."""

    case: Case
    figures: dict[str, Any]
    broken: list[str]


def judge(case: Case, figures: dict[str, Any], *, scale: float = 1.0) -> Verdict:
    """Finds the bounds that are broken. A ``scale`` below 1 makes all bounds of times and sizes narrower."""
    bounds, bot = case.bounds, figures["bot"]
    slow = max(1.0, figures["reference"] / NORMAL_SECONDS) * scale
    quiet, attacked = figures["quiet"], figures["attacked"]
    limits: list[tuple[str, float, float, float, str]] = [
        ("stall", bot["stall_cpu"], bounds.stall_cpu * bounds.tolerance * slow, 1e3, "ms of CPU"),
        ("memory", bot["memory"] - bot["memory_before"], bounds.memory * scale, 1 / MIB, "MiB more"),
        ("files", bot["files"] - bot["files_before"], bounds.files * scale, 1, "more open files"),
        ("log", bot["lines"], bounds.lines * scale, 1, "lines"),
        ("log", bot["line_bytes"], bounds.line_bytes * scale, 1, "bytes"),
        (
            "neighbour's p99",
            attacked["p99"],
            max(bounds.ratio * quiet["p99"], bounds.floor * slow * _crowded(bot)) * scale,
            1e3,
            "ms",
        ),
        ("files refused to the bot", bot["refused_opens"], 0, 1, "times"),
        ("the key in the log", bot["lines_with_key"], 0, 1, "times"),
    ]
    for name, most in bounds.counts.items():
        limits.append((name, figures["attacker"]["counts"].get(name, 0), most, 1, "times"))
    broken = [
        f"{name}: {got * unit:.4g} {words} (at most {most * unit:.4g})"
        for name, got, most, unit, words in limits
        if got > most
    ]
    broken += [f"neighbour: {count} x {error}" for error, count in attacked["errors"].items()]
    broken += figures["attacker"]["faults"]
    broken += [
        f"a forged line: {line}" for line in bot["log"] if line.lstrip("\x1b[31m").startswith("FORGED")
    ]
    broken += case.inspect(bot)
    return Verdict(case, figures, broken)


def _crowded(bot: dict[str, Any]) -> float:
    """How much longer the bot's work took because other processes used its core. The neighbour waits as long."""
    return min(MOST_CROWDED, 1 + bot["waited"] / max(bot["cpu"], 0.001))


def table(verdicts: list[Verdict]) -> str:
    """All cases as a Markdown table, and below it what is broken."""
    rows = [*_HEAD, *map(_row, verdicts)]
    for verdict in verdicts:
        if verdict.broken:
            rows += ["", f"**{verdict.case.name}**", "", *(f"- {what}" for what in verdict.broken)]
    return "\n".join(rows)


def _row(verdict: Verdict) -> str:
    bot, attacked, quiet = (verdict.figures[part] for part in ("bot", "attacked", "quiet"))
    cells = (
        verdict.case.name,
        f"{bot['stall_cpu'] * 1e3:.1f}",
        f"{bot['stall'] * 1e3:.1f}",
        f"{bot['cpu'] / bot['seconds']:.0%}",
        f"{(bot['memory'] - bot['memory_before']) / MIB:+.1f}",
        f"{bot['files'] - bot['files_before']:+.0f}",
        f"{bot['lines']}",
        f"{attacked['p99'] * 1e3:.1f} ({quiet['p99'] * 1e3:.1f})",
        f"{attacked['newcomers']}",
        "**BROKEN**" if verdict.broken else "yes",
    )
    return f"| {' | '.join(cells)} |"
