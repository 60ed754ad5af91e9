"""The chaos suite, for a moment each, and what it takes for a breach."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.chaos import notes
from equipment.checkout import run_module


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGSTOP nor a limit of descriptors")
@pytest.mark.parametrize("scenario", ["kill-bot", "stop-bot", "restart-bot"])
async def test_a_moment_of_chaos_loses_nothing(scenario: str) -> None:
    ended = await run_module("benchmarks.chaos", "--seconds", "1", "--seed", "1", "--scenario", scenario)
    assert ended.status == 0, ended
    (row,) = [line for line in ended.output.splitlines() if line.startswith(f"| {scenario} |")]
    assert row.endswith("| 0 | 0 | 0 | 0 | 0 | yes |")


@pytest.mark.parametrize(
    ("ran", "told", "killed", "breach"),
    [
        ([1.1], [("begun", 1.0, "-"), ("answered", 1.2, "-")], False, None),
        ([], [("begun", 1.0, "-"), ("refused", 1.2, "ConnectError")], False, None),
        ([1.1], [("begun", 1.0, "-"), ("may-have-run", 1.2, "ConnectionLost")], False, None),
        ([], [("begun", 1.0, "-"), ("may-have-run", 1.2, "ConnectionLost")], False, None),
        ([1.1], [("begun", 1.0, "-")], True, None),
        ([1.1], [("begun", 1.0, "-")], False, "has no answer"),
        ([1.1, 1.2], [("begun", 1.0, "-"), ("answered", 1.3, "-")], False, "ran 2 times"),
        ([], [("begun", 1.0, "-"), ("answered", 1.2, "-")], False, "did not run"),
        ([1.1], [("begun", 1.0, "-"), ("refused", 1.2, "ConnectError")], False, "says that it did not"),
        ([1.1], [("begun", 1.0, "-"), ("mixed-up", 1.2, "-")], False, "another call"),
        ([1.1], [], False, "nobody has called it"),
        ([2.5], [("begun", 1.0, "-"), ("may-have-run", 2.0, "RequestTimeout")], False, "had given up"),
    ],
)
def test_each_breach_is_found(
    ran: list[float], told: list[tuple[str, float, str]], killed: bool, breach: str | None
) -> None:
    runs = [notes.Line("ran", "a", when, "-") for when in ran]
    lines = [notes.Line(what, "a", when, error) for what, when, error in told]
    wrong = notes.judge(runs, [(lines, killed)]).wrong
    assert (breach is None) == (not wrong)
    assert all(breach in what for what in wrong)


def test_a_line_that_a_kill_has_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    written = notes.Notes(path)
    written.add("begun", "a")
    written.close()
    with path.open("a") as file:
        file.write("answered a 1.")
    assert [(line.what, line.key) for line in notes.read(path)] == [("begun", "a")]
    assert notes.read(tmp_path / "none") == []
