"""The soak, for a few seconds, and its judgement of what it measured."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def soak() -> Any:
    sys.path.insert(0, str(ROOT))  # its folder lies beside the tests
    try:
        from benchmarks import soak
    finally:
        sys.path.remove(str(ROOT))
    return soak


async def test_a_soak_of_five_seconds_finds_nothing() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "benchmarks.soak", "--seconds", "5"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    assert process.returncode == 0, f"{printed.decode()}\n{complaints.decode()}"
    assert "| handlers run for each call | 1 | 1.000000 | yes |" in printed.decode()
    assert complaints == b""


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
    soak: Any, bot: dict[str, Any], dashboards: dict[str, Any], cuts: int, breach: str | None
) -> None:
    rows = soak.verdict(120.0, {**BOT, **bot}, {**DASHBOARDS, **dashboards}, cuts)
    assert [what for what, _, _, well in rows if not well] == ([breach] if breach else [])


def test_a_short_soak_does_not_judge_memory_and_cuts_of_processes_that_still_warm_up(soak: Any) -> None:
    growing = {"memory": [n * MIB for n in range(10)]}
    rows = soak.verdict(5.0, {**BOT, **growing}, {**DASHBOARDS, **growing}, 1)
    assert all(well for *_, well in rows)
