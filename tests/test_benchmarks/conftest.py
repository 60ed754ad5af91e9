"""The benchmark's own logic."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.results import Cell, Idle, Results, Sample, Start
from discord_tools.ipc.wire import outbox


def cell(side: str, load: str, number: int, rate: float, **figures: float) -> Cell:
    """A cell in which everything but the named figures follows from the rate."""
    usual = {
        "requests": int(rate),
        "p50": 1e6 / rate,
        "p99": 3e6 / rate,
        "caller_cpu": 5.0,
        "bot_cpu": 1e6 / rate,
    }
    return Cell(load=load, side=side, round=number, rate=rate, **{**usual, **figures})  # pyright: ignore[reportArgumentType]


@pytest.fixture
def results() -> Results:
    """Three rounds of two sides; in the last one the machine was half as fast."""
    cells = [
        cell(side, load, number, rate * speed, stall=30.0 + number, stall_cpu=10.0 + number)
        for load in ("1", "64", "full")
        for number, speed in enumerate((1.0, 1.2, 0.5))
        for side, rate in (("limit", 100_000.0), ("ours", 70_000.0))
    ]
    return Results(
        date="2026-01-02",
        mode="quick",
        rounds=3,
        seconds=0.1,
        machine={"cpu": "A & B <CPU>", "cores": 2, "system": "Linux 6", "python": "CPython 3.11"},
        versions={"ipc-client": "1.1.0"},
        pinned="bot pinned to core 0, callers to core 1",
        sides={"limit": ("limit", "a bare protocol"), "ours": ("discord_tools.ipc", "the real thing")},
        skipped={"nats": "No module named 'nats'"},
        loads={"1": "1 in flight", "64": "64 in flight", "full": "everything at once"},
        cells=cells,
        start=Start(123.4, 2.5),
        idle=Idle(1000, 3.0, 0.001, 0.004, 20_480_000),
        memory=[Sample(0, 50_000_000), Sample(100_000, 60_000_000), Sample(1_000_000, 60_600_000)],
    )


@pytest.fixture(autouse=True)
def packing() -> Iterator[None]:
    """Puts back what the side without packing changes for its whole process."""
    before = outbox.PACK_BYTES
    yield
    setattr(outbox, "PACK_BYTES", before)  # noqa: B010 (it is Final)
