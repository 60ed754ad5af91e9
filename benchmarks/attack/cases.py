"""The cases: what attacks, on which bot, and within which bounds it must stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.attack import floods, loads
from benchmarks.attack.crowd import Attack

__all__ = ("CASES", "Bounds", "Case", "case_named")

MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What an attack may cost.

    Times are of a normal machine, and are stretched on a slower one. ``tolerance`` is a factor for the longest stall:
    the garbage collector may run in any turn of the loop, and the ticker counts up to 2 ms before it. ``ratio`` bounds
    the neighbour's p99 in relation to the quiet phase, and ``floor`` is what is well in any case: its call may wait
    for two turns of the loop that are as long as is allowed.
    """

    stall_cpu: float = 0.020
    tolerance: float = 1.5
    memory: int = 48 * MIB
    files: int = 200
    lines: int = 20
    line_bytes: int = 16 << 10
    ratio: float = 3.0
    floor: float = 0.040
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One attack.

    ``newcomer`` is how further honest clients connect meanwhile: by the ``port``, or by the ``multicast`` port.
    ``files`` is the number of files that the bot may open, and ``inspect`` finds faults in what the bot tells.
    """

    name: str
    attack: Attack
    bounds: Bounds = Bounds()
    newcomer: str | None = "port"
    files: int | None = None
    group: str = ""
    inspect: Callable[[dict[str, Any]], list[str]] = lambda bot: []


def _frame_cases() -> list[Case]:
    ways = {
        "main": "before the key, main port",
        "multicast": "before the key, multicast port",
        "hello": "with the key, before the hello",
        "native": "with the key",
        "jsonrpc": "with the key, JSON-RPC",
        "older": "with the key, older client",
        "better": "with the key, better-ipc",
    }
    return [
        Case(
            name=f"{kind} {'8 sockets ' if many else ''}{way}".replace(" ", "-"),
            attack=floods.frames(kind, way, 8 if many else 1),
            group=f"{kind}, {where}",
        )
        for way, where in ways.items()
        for kind in floods.FRAMES
        for many in (False, True)
        if not many or (kind in ("pings", "pongs") and way in ("main", "native"))
    ]


def _guess_cases() -> list[Case]:
    # Five are answered at once, then each later than the last one; 40 in all. Those of one address share the count.
    bounds = Bounds(counts={"answered": 40})
    ways = ("post", "handshake", "jsonrpc handshake", "question header", "older", "better", "question")
    return [
        Case(
            name=f"guesses {way}".replace(" ", "-"),
            attack=floods.guesses(way),
            group="keys are guessed",
            bounds=bounds,
        )
        for way in ways
    ]


def _connection_cases() -> list[Case]:
    return [
        Case(
            name="idle-connections",
            attack=floods.idle(1150),
            files=1024,
            group="TCP connections that say nothing",
        ),
        Case(
            name="sockets-main-port-question",
            attack=floods.held(100, "main"),
            newcomer="multicast",
            group="WebSockets on the main port that show no key, while others ask for the port",
        ),
    ]


def _load_cases() -> list[Case]:
    cases = [
        Case(
            name=f"garbage {message} {way}".replace(" ", "-"),
            attack=loads.garbage(message, way),
            group="4 MiB of garbage",
        )
        for message in ("ones", "lists")
        for way in ("native", "jsonrpc", "post")
    ]
    for way in ("native", "jsonrpc", "post"):
        cases.append(
            Case(
                name=f"large-calls-{way}",
                attack=loads.large_calls(way),
                bounds=Bounds(memory=200 * MIB),
                group="calls of 4 MiB of a slow route",
            )
        )
    return cases


CASES: Final = (*_frame_cases(), *_guess_cases(), *_connection_cases(), *_load_cases())


def case_named(name: str) -> Case:
    """Returns a case.

    Raises
    ------
    LookupError
        There is none of that name.
    """
    for case in CASES:
        if case.name == name:
            return case
    raise LookupError(f"no case {name!r}; --list shows them")
