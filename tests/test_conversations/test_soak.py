"""The soak, for a few seconds, and its judgement of what it measured."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import soak
from equipment.checkout import run_module


async def test_a_soak_of_five_seconds_finds_nothing() -> None:
    ended = await run_module("benchmarks.soak", "--seconds", "5")
    assert ended.status == 0, ended
    assert "| handlers run for each call | 1 | 1.000000 | yes |" in ended.output
    assert not ended.errors


MIB = 1 << 20
BOT = {"runs": {"a": 5, "b": 6}, "published": 100, "wrong": [], "memory": [50 * MIB] * 200}
DASHBOARDS = {
    "calls": {"a": 5, "b": 6},
    "events": [100, 100],
    "streams": 3,
    "wrong": [],
    "memory": [60 * MIB] * 200,
}


@pytest.mark.parametrize(
    ("bot", "dashboards", "cuts", "breach"),
    [
        ({}, {}, 2400, None),
        ({}, {}, 10, "cuts of each connection"),
        ({"runs": {"a": 5, "b": 7}}, {}, 2400, "handlers run for each call"),
        ({"runs": {"a": 6, "b": 5}}, {}, 2400, "handlers run for each call"),
        ({}, {"events": [100, 99]}, 2400, "events at each subscriber, in order"),
        ({}, {"streams": 0}, 2400, "streams whole"),
        ({}, {"wrong": ["a call: RequestTimeout"]}, 2400, "anything else that went wrong"),
        ({"wrong": ["a called number 1 after 0 calls"]}, {}, 2400, "anything else that went wrong"),
        ({"memory": [n * MIB // 10 for n in range(200)]}, {}, 2400, "memory of the bot"),
        ({}, {"memory": [n * MIB // 10 for n in range(200)]}, 2400, "memory of the dashboards"),
    ],
)
def test_each_breach_is_found(
    bot: dict[str, Any], dashboards: dict[str, Any], cuts: int, breach: str | None
) -> None:
    rows = soak.verdict(120.0, {**BOT, **bot}, {**DASHBOARDS, **dashboards}, cuts)
    assert [what for what, _, _, well in rows if not well] == ([breach] if breach else [])


def test_a_short_soak_does_not_judge_memory_and_cuts_of_processes_that_still_warm_up() -> None:
    growing = {"memory": [n * MIB for n in range(10)]}
    rows = soak.verdict(5.0, {**BOT, **growing}, {**DASHBOARDS, **growing}, 1)
    assert all(well for *_, well in rows)
