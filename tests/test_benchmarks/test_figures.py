from __future__ import annotations

import pytest

from benchmarks.figures import Spread, percentile, ratio, spread


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert spread([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)
    assert spread([4.0, 2.0]) == Spread(3.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0), (0.0, 1.0)]
)
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(
    share: float, expected: float
) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == expected


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0


def test_figures_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_ratio_is_taken_within_each_round() -> None:
    # The medians alone would say 20 / 10 = 2.
    assert ratio({0: 10.0, 1: 20.0, 2: 300.0}, {0: 10.0, 1: 5.0, 2: 100.0}) == Spread(3.0, 1.0, 4.0)


def test_a_ratio_leaves_out_rounds_that_only_one_side_has() -> None:
    assert ratio({0: 10.0, 1: 20.0}, {1: 10.0, 2: 1.0}) == Spread(2.0, 2.0, 2.0)
    assert ratio({0: 10.0}, {1: 10.0}) is None
