"""What was measured, as it is kept: JSON, from which table and picture can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.figures import Spread, ratio, spread

__all__ = ("Cell", "Idle", "Results", "Sample", "Start")


class Cell(Struct):
    """One side under one load in one round. Latencies and CPU times are microseconds, stalls milliseconds."""

    load: str
    side: str
    round: int
    requests: int
    rate: float
    p50: float
    p99: float
    caller_cpu: float
    bot_cpu: float
    stall: float | None = None
    stall_cpu: float | None = None


class Idle(Struct):
    """What idle clients cost the bot. ``cpu`` is the share of one core, ``memory`` the bytes of all clients."""

    clients: int
    seconds: float
    cpu_without: float
    cpu: float
    memory: int | None


class Start(Struct):
    """How long a dashboard takes to start, in milliseconds: to import the client, and to connect a session."""

    importing: float
    connecting: float


class Sample(Struct):
    """The memory of the bot's process after a number of requests."""

    requests: int
    memory: int


class Results(Struct):
    """One run."""

    date: str
    mode: str
    rounds: int
    seconds: float
    machine: dict[str, Any]
    versions: dict[str, str]
    pinned: str
    #: Title and note of each side that took part, in order.
    sides: dict[str, tuple[str, str]]
    #: Why a side did not take part.
    skipped: dict[str, str]
    #: What was measured with each load's name.
    loads: dict[str, str]
    cells: list[Cell] = []
    start: Start | None = None
    idle: Idle | None = None
    memory: list[Sample] = []

    def of(self, side: str, load: str, figure: str) -> dict[int, float]:
        """A figure of one side under one load, by round."""
        found: dict[int, float] = {}
        for cell in self.cells:
            value: float | None = getattr(cell, figure)
            if cell.side == side and cell.load == load and value is not None:
                found[cell.round] = value
        return found

    def spread(self, side: str, load: str, figure: str) -> Spread | None:
        """The same over all rounds; ``None`` where it was not measured."""
        values = list(self.of(side, load, figure).values())
        return spread(values) if values else None

    def ratio(self, side: str, other: str, load: str, figure: str) -> Spread | None:
        """How many times as much as another side, round by round."""
        return ratio(self.of(side, load, figure), self.of(other, load, figure))

    def save(self, path: Path) -> None:
        """Writes it."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Reads what :meth:`save` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
