"""What was promised, and whether it was kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Spread
from benchmarks.results import Results

__all__ = ("TARGETS", "Target", "Verdict", "verdicts")

#: After this number of requests all caches are filled, and the memory may not grow any more ...
SETTLED_REQUESTS: Final = 100_000
#: ... by more than this share.
GROWTH: Final = 0.02


@dataclass(frozen=True)
class Verdict:
    """One target, and what came of it. ``value`` is ``None`` where it was not measured."""

    title: str
    wanted: str
    value: str | None
    met: bool


@dataclass(frozen=True)
class Target:
    """A limit for one number."""

    title: str
    bound: float
    at_least: bool
    unit: str
    measure: Callable[[Results], Spread | None]

    def verdict(self, results: Results) -> Verdict:
        """Compares the median; the range shows how sure that is."""
        found = self.measure(results)
        wanted = f"{'≥' if self.at_least else '≤'} {_number(self.bound)}{self.unit}"
        if found is None:
            return Verdict(self.title, wanted, None, False)
        met = found.median >= self.bound if self.at_least else found.median <= self.bound
        value = f"{_number(found.median)}{self.unit}"
        if found.low != found.high:
            value += f" ({_number(found.low)} to {_number(found.high)})"
        return Verdict(self.title, wanted, value, met)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _against(other: str, load: str, figure: str) -> Callable[[Results], Spread | None]:
    return lambda results: results.ratio("ours", other, load, figure)


def _growth(results: Results) -> Spread | None:
    settled = [sample for sample in results.memory if sample.requests >= SETTLED_REQUESTS]
    if len(settled) < 2:
        return None
    grown = (settled[-1].memory / settled[0].memory - 1) * 100
    return Spread(grown, grown, grown)


def _stall(results: Results) -> Spread | None:
    found = results.spread("ours", "full", "stall_cpu")
    # The longest of all rounds counts: a stall that comes once is a stall.
    return None if found is None else Spread(found.high, found.high, found.high)


TARGETS: Final = (
    Target(
        "requests a second, 64 in flight, against *limit*", 0.6, True, "x", _against("limit", "64", "rate")
    ),
    Target("the same against grpc.aio", 15, True, "x", _against("grpc", "64", "rate")),
    Target("the same against nats-py", 2.5, True, "x", _against("nats", "64", "rate")),
    Target("the same against discord-ext-ipcx", 30, True, "x", _against("ipcx", "64", "rate")),
    Target("median latency, one at a time, against *limit*", 1.5, False, "x", _against("limit", "1", "p50")),
    Target(
        "CPU time of the bot's process for a request, 64 in flight, against *limit*",
        2,
        False,
        "x",
        _against("limit", "64", "bot_cpu"),
    ),
    Target("growth of memory after the first 100,000 requests", GROWTH * 100, False, "%", _growth),
    Target("longest stall of the bot's loop by its own work, under full load", 20, False, " ms", _stall),
)


def verdicts(results: Results) -> list[Verdict]:
    """All targets."""
    return [target.verdict(results) for target in TARGETS]
