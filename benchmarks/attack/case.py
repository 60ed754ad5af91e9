"""A case: what attacks, on which bot, and within which bounds it must stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.attack.crowd import Attack

__all__ = ("MIB", "Bounds", "Case")

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
