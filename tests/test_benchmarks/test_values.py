"""The loads of ``hatch run values``, with few objects."""

from __future__ import annotations

from benchmarks.values import TARGETS, measure


async def test_every_load_with_a_target_is_measured() -> None:
    results = await measure(rounds=1, seconds=0.001, scale=0.01)
    assert {each.title for each in results} == TARGETS.keys()
    assert all(each.objects > 0 and each.plain > 0 and each.stall > 0 for each in results)
