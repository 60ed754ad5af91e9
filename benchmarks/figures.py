"""Many numbers to few: medians, spreads, percentiles, ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ("Spread", "percentile", "ratio", "spread")


@dataclass(frozen=True)
class Spread:
    """A median with the lowest and the highest value."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The median and the range of some values.

    Raises
    ------
    ValueError
        There are none.
    """
    if not values:
        raise ValueError("no values")
    return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all values do not exceed (nearest rank).

    Parameters
    ----------
    values: Sequence[:class:`float`]
        The values, in ascending order.
    share: :class:`float`
        From 0 to 1: 0.5 is the median, more or less.

    Raises
    ------
    ValueError
        There are none.
    """
    if not values:
        raise ValueError("no values")
    return values[max(0, math.ceil(share * len(values)) - 1)]


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Spread | None:
    """How many times as much, round by round: what slows a round down slows both sides of it.

    ``None`` where no round has both.
    """
    rounds = [number for number in ours if theirs.get(number)]
    return spread([ours[number] / theirs[number] for number in rounds]) if rounds else None
