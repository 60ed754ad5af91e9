"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from benchmarks.figures import Spread
from benchmarks.results import Results
from benchmarks.targets import verdicts

__all__ = ("report", "rows", "short")

MIB: Final = 1 << 20
ABSENT: Final = "-"


def short(value: float) -> str:
    """Three significant digits; from a thousand on with thousands separated."""
    if value >= 1000:
        digits = len(str(int(value)))
        return f"{round(value, 3 - digits):,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def rows(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table. The first column is text, the others are numbers."""
    rule = [":---", *(["---:"] * (len(header) - 1))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def report(results: Results) -> str:
    """Everything, for the docs."""
    parts = [
        _head(results),
        _targets(results),
        _calls(results),
        _latencies(results),
        _mixed(results),
        _cpu(results),
        _sizes(results),
        _events(results),
        _stalls(results),
        _start(results),
        _idle(results),
        _memory(results),
        _notes(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(results: Results) -> str:
    machine = results.machine
    used = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return (
        f"Measured on {results.date} in {results.mode} mode: {results.rounds} rounds, {results.seconds:g} s for each "
        f"figure in each. {machine['cpu']}, {machine['cores']} cores, {machine['system']}, {machine['python']}; "
        f"{results.pinned}. {used}.\n\n"
        "Figures are medians over the rounds; ± is how far off the farthest round was. Ratios are taken within each "
        "round, and what stands after *ours is* is how many times as much as this side ours did with 64 in flight."
    )


def _targets(results: Results) -> str:
    lines = [
        (
            one.title,
            one.wanted,
            one.value or "not measured",
            ("met" if one.met else "missed") if one.value else "",
        )
        for one in verdicts(results)
    ]
    return "**What we aim at**\n\n" + rows(("Target", "Wanted", "Measured", ""), lines)


def _spread(found: Spread | None) -> str:
    if found is None:
        return ABSENT
    off = max(found.high - found.median, found.median - found.low)
    # Three numbers in each cell would make tables that nobody can read.
    return short(found.median) + (f" ±{off / found.median * 100:.0f}%" if off and found.median else "")


def _grid(
    results: Results,
    title: str,
    columns: Sequence[tuple[str, str, str]],
    *,
    show: Callable[[Spread | None], str] = _spread,
    ratio_to: str = "",
) -> str:
    """A row for each side, a column for each (heading, load, figure) that was measured.

    With ``ratio_to``, last comes how ours compares under the load of that name.
    """
    columns = [column for column in columns if column[1] in results.loads]
    if not columns:
        return ""
    header = ["", *(heading for heading, _, _ in columns)]
    compare = ratio_to in results.loads and "ours" in results.sides
    if compare:
        header.append("ours is")
    lines: list[list[str]] = []
    for side, (name, _) in results.sides.items():
        cells = [show(results.spread(side, load, figure)) for _, load, figure in columns]
        if all(cell == ABSENT for cell in cells):
            continue
        if compare:
            found = results.ratio("ours", side, ratio_to, columns[0][2])
            cells.append("" if side == "ours" or found is None else f"{short(found.median)}x")
        lines.append([f"**{name}**" if side == "ours" else name, *cells])
    return f"**{title}**\n\n" + rows(header, lines) if lines else ""


def _calls(results: Results) -> str:
    columns = [(f"{count} in flight", count, "rate") for count in ("1", "16", "64", "256")]
    return _grid(results, "Requests a second, answers of 150 bytes", columns, ratio_to="64")


def _latencies(results: Results) -> str:
    columns = [
        (f"{count}: {figure}", count, figure) for count in ("1", "64", "256") for figure in ("p50", "p99")
    ]
    return _grid(results, "Latency in microseconds, by requests in flight", columns)


def _mixed(results: Results) -> str:
    columns = [(f"alone: {figure}", "64", figure) for figure in ("p50", "p99")]
    columns += [(f"beside them: {figure}", "mixed", figure) for figure in ("p50", "p99")]
    if "mixed" not in results.loads:
        return ""
    title = "Latency in microseconds, 64 in flight, alone and beside 16 calls that sleep for 50 ms"
    return _grid(results, title, columns)


def _cpu(results: Results) -> str:
    columns = [(f"{count} in flight", count, "bot_cpu") for count in ("1", "16", "64", "256")]
    return _grid(results, "Microseconds of CPU time of the bot's process for each request", columns)


def _sizes(results: Results) -> str:
    columns = [
        ("59 kB, 16 in flight", "members", "rate"),
        ("bot CPU, µs", "members", "bot_cpu"),
        ("1 MiB, 4 in flight", "everybody", "rate"),
        ("bot CPU, µs", "everybody", "bot_cpu"),
    ]
    return _grid(results, "Requests a second, large answers", columns)


def _events(results: Results) -> str:
    columns: list[tuple[str, str, str]] = []
    for count in ("1", "10", "100"):
        columns.append((f"{count}: events a second", f"events-{count}", "rate"))
        columns.append(("bot CPU, µs", f"events-{count}", "bot_cpu"))
    return _grid(
        results, "Events, by subscribers; each event counts once for each subscriber that gets it", columns
    )


def _stalls(results: Results) -> str:
    columns = [
        ("on the clock", "full", "stall"),
        ("CPU time", "full", "stall_cpu"),
        ("requests a second", "full", "rate"),
    ]
    title = f"Longest turn of the bot's loop in milliseconds, {results.loads.get('full', '')}"
    return _grid(results, title, columns)


def _start(results: Results) -> str:
    start = results.start
    if start is None:
        return ""
    return (
        f"**Start of a dashboard.** Importing the client takes {short(start.importing)} ms, and connecting a session "
        f"{short(start.connecting)} ms."
    )


def _idle(results: Results) -> str:
    idle = results.idle
    if idle is None:
        return ""
    memory = (
        "" if idle.memory is None else f" and {short(idle.memory / idle.clients / 1024)} KiB of memory each"
    )
    return (
        f"**Idle clients.** {idle.clients:,} connected clients cost the bot's process {idle.cpu * 100:.2f} % of a core "
        f"({idle.cpu_without * 100:.2f} % without them){memory}, over {idle.seconds:g} s."
    )


def _memory(results: Results) -> str:
    if not results.memory:
        return ""
    wanted = (0, 100_000, 500_000, results.memory[-1].requests)
    shown = [sample for sample in results.memory if sample.requests in wanted]
    points = ", ".join(f"{sample.memory / MIB:.1f} MiB after {sample.requests:,}" for sample in shown)
    return f"**Memory of the bot's process** while it answers requests, 64 in flight: {points}."


def _notes(results: Results) -> str:
    lines = [f"- *{title}*: {note}." for title, note in results.sides.values()]
    lines += [f"- {name} did not take part: {why}." for name, why in results.skipped.items()]
    return "**The sides**\n\n" + "\n".join(lines)
