"""The suite of attacks itself: it attacks for a moment, and a broken bound is an exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.attack.__main__ import main
from benchmarks.attack.cases import CASES, Bounds, Case, case_named
from benchmarks.attack.grabbed import ANSWERS, Grabber, judge_program
from benchmarks.attack.judge import judge, table
from benchmarks.attack.leaks import found, headers_seen
from benchmarks.attack.wire import TEXT, Target, frame


def figures(**bot: Any) -> dict[str, Any]:
    """What is measured where nothing happens."""
    phase = {
        "calls": 100,
        "p99": 0.001,
        "slowest": 0.002,
        "newcomers": 3,
        "newcomer_slowest": 0.01,
        "errors": {},
    }
    usual = {
        "stall": 0.001,
        "stall_cpu": 0.001,
        "cpu": 0.1,
        "seconds": 1.0,
        "waited": 0.0,
        "collector_cpu": 0.0,
        "memory": 1,
        "memory_before": 1,
        "files": 9,
        "files_before": 9,
        "refused_opens": 0,
        "lines": 0,
        "line_bytes": 0,
        "lines_with_key": 0,
        "log": [],
        "headers": [],
    }
    return {
        "bot": {**usual, **bot},
        "quiet": phase,
        "attacked": phase,
        "attacker": {"counts": {}, "faults": []},
        "reference": 0.02,
    }


def case(**bounds: Any) -> Case:
    return Case(name="nothing", attack=lambda target: None, bounds=Bounds(**bounds))


def test_nothing_breaks_no_bound() -> None:
    verdict = judge(case(), figures())
    assert not verdict.broken
    assert "| nothing | 1.0 | 1.0 | 10% | +0.0 | +0 | 0 | 1.0 (1.0) | 3 | yes |" in table([verdict])


@pytest.mark.parametrize(
    ("measured", "word"),
    [
        ({"stall_cpu": 0.031}, "stall"),
        ({"memory": 1 << 30}, "memory"),
        ({"files": 1000}, "files"),
        ({"lines": 21}, "log"),
        ({"line_bytes": 1 << 20}, "log"),
        ({"lines_with_key": 1}, "key"),
        ({"refused_opens": 1}, "refused to the bot"),
        ({"log": ["FORGED line"]}, "forged"),
    ],
)
def test_each_bound_is_judged(measured: dict[str, Any], word: str) -> None:
    (broken,) = judge(case(), figures(**measured)).broken
    assert word in broken


def test_bounds_of_times_are_wider_on_a_slower_machine() -> None:
    slow = {**figures(stall_cpu=0.05), "reference": 0.04}
    assert not judge(case(), slow).broken
    assert judge(case(), slow, scale=0.5).broken


def test_counts_of_the_attacker_are_bounded() -> None:
    measured = figures()
    measured["attacker"]["counts"]["answered"] = 41
    assert judge(case(counts={"answered": 40}), measured).broken


def test_names_are_unique_and_found() -> None:
    assert len({one.name for one in CASES}) == len(CASES)
    assert all(one.group for one in CASES)
    assert case_named("pings-main").name == "pings-main"
    with pytest.raises(LookupError, match="--list"):
        case_named("none")
    with pytest.raises(SystemExit, match="--list"):
        main(["--case", "none", "--list"])


def test_the_key_is_found_wherever_an_exception_keeps_it() -> None:
    class Info:
        def __init__(self) -> None:
            self.lines = [{"Authorization": "the-key"}]

    def raised(cause: BaseException | None) -> BaseException:
        error = RuntimeError("refused")
        error.__cause__ = cause
        return error

    carrier = OSError("x")
    carrier.info = Info()  # pyright: ignore[reportAttributeAccessIssue]
    assert found("the-key", raised(carrier)) == ["RuntimeError.cause.info.lines.0.Authorization"]
    assert found("the-key", raised(ValueError("has the-key in it")))
    assert not found("the-key", raised(ValueError("has none")))


def test_headers_of_requests_are_judged() -> None:
    assert headers_seen({"headers": []}) == ["the route did not run"]
    assert headers_seen({"headers": [{"authorization": "key-1"}]})
    assert not headers_seen({"headers": [{"X-Kept": "kept"}]})


@pytest.mark.parametrize(("size", "head"), [(1, 6), (125, 6), (126, 8), (1 << 16, 14)])
def test_frames_have_a_mask_of_zeros(size: int, head: int) -> None:
    made = frame(TEXT, b"x" * size)
    assert made[0] == 0x81
    assert len(made) == head + size
    assert made[head - 4 : head] == bytes(4)


@pytest.mark.parametrize("seen", ["trapped", "shown", "nothing"])
def test_a_program_at_the_multicast_port_is_judged_by_what_it_got(seen: str) -> None:
    target = Target(1, 1, "key-1", until=0.0)

    grabber = Grabber(target, ANSWERS["asks"])
    grabber.trapped = int(seen == "trapped")
    grabber.seen = ["{'Authorization': 'key-1'}" if seen == "shown" else "{}"]
    judge_program(target, grabber)
    assert len(target.faults) == (seen != "nothing")
    assert "key-1" not in str(target.faults)


def test_an_attack_ends_in_time() -> None:
    assert not Target(1, 1, "", until=0.0).going


@pytest.mark.timeout(120)
def test_two_attacks_for_a_moment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("guesses-post", "leak-headers-jsonrpc")
    arguments = [f"--case={name}" for name in chosen]
    # No times are asserted here: the bounds are as wide as can be.
    status = main([*arguments, "--seconds=0.3", "--scale=1000", f"--json={tmp_path / 'figures.json'}"])
    written = json.loads((tmp_path / "figures.json").read_text())
    assert [one["case"] for one in written] == list(chosen)
    assert status == 0, [one["broken"] for one in written]
    assert 5 <= written[0]["attacker"]["counts"]["answered"] <= 40
    assert written[0]["attacked"]["calls"] > 0
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in chosen)


@pytest.mark.timeout(120)
def test_a_broken_bound_is_an_exit_status() -> None:
    assert main(["--case=guesses-post", "--seconds=0.1", "--scale=1e-9"]) == 1
