"""What is measured, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ("FULL", "LOADS", "QUICK", "Load", "Mode", "load_named")


@dataclass(frozen=True)
class Load:
    """Some callers that ask as fast as they are answered.

    The figures are those of the first group; the others are there to disturb. Without groups it is a load of events:
    ``subscribers`` hear bursts of ``burst`` events.
    """

    name: str
    title: str
    callers: tuple[tuple[str, int], ...] = ()
    subscribers: int = 0
    burst: int = 50
    #: Whether the longest turn of the bot's loop is looked for. It costs a little, so only here.
    watched: bool = False


LOADS: Final = (
    Load("1", "1 in flight", (("stats", 1),)),
    Load("16", "16 in flight", (("stats", 16),)),
    Load("64", "64 in flight", (("stats", 64),)),
    Load("256", "256 in flight", (("stats", 256),)),
    Load("members", "answers of 59 kB, 16 in flight", (("members", 16),)),
    Load("everybody", "answers of 1 MiB, 4 in flight", (("everybody", 4),)),
    Load("mixed", "64 in flight beside 16 that sleep 50 ms", (("stats", 64), ("nap", 16))),
    Load(
        "full",
        "224 of 150 B, 30 of 59 kB and 2 of 1 MiB at once",
        (("stats", 224), ("members", 30), ("everybody", 2)),
        watched=True,
    ),
    Load("events-1", "events to 1 subscriber", subscribers=1),
    Load("events-10", "events to 10 subscribers", subscribers=10),
    Load("events-100", "events to 100 subscribers", subscribers=100),
)


def load_named(name: str) -> Load:
    """The load of that name."""
    return next(load for load in LOADS if load.name == name)


@dataclass(frozen=True)
class Mode:
    """How thoroughly.

    ``warm_up`` and ``seconds`` are for one side under one load in one round. ``idle_clients`` are connected for
    ``idle_seconds``. The memory is read after every ``memory_step`` requests until ``memory_requests``.
    A dashboard is started ``starts`` times.
    """

    name: str
    rounds: int
    warm_up: float
    seconds: float
    idle_clients: int
    idle_seconds: float
    memory_requests: int
    memory_step: int = 50_000
    starts: int = 9


QUICK: Final = Mode("quick", 3, 0.03, 0.15, 300, 2.0, 0)
# Twice the heartbeat's time: each idle client gets a ping at least once.
FULL: Final = Mode("full", 5, 0.5, 1.5, 1000, 45.0, 1_000_000)
