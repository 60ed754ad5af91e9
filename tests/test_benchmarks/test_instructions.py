from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.instructions import (
    LOADS,
    OPERATIONS,
    ROOT,
    Counts,
    Failed,
    check_comparable,
    count,
    main,
    out_of_proportion,
    per_operation,
    table,
    total,
    worse,
)
from benchmarks.machine import description

PYTHON = description()["python"]


def counts(**loads: float) -> Counts:
    return Counts("2026-01-02", PYTHON, {}, OPERATIONS, loads)


@pytest.fixture
def valgrind() -> None:
    """Valgrind, which CI must have."""
    if shutil.which("valgrind") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must count instructions, and there is no Valgrind on its PATH")
        pytest.skip("there is no Valgrind to count instructions with: install it")


def test_the_total_is_read_from_the_report() -> None:
    assert total("desc: I1 cache:\nevents: Ir\nfn=main\n1 99\nsummary: 1234567890\n") == 1_234_567_890
    assert total("summary:  17 0 0\n") == 17


def test_a_report_without_a_total_is_an_error() -> None:
    with pytest.raises(Failed, match="no summary"):
        total("events: Ir\nfn=main\n1 99\n")


def test_what_both_programs_do_once_does_not_count() -> None:
    start_up = 5_000_000
    assert per_operation(start_up + 100 * 70, start_up + 200 * 70, 100) == 70


def test_worse_is_what_needs_more_than_three_percent_more() -> None:
    before = counts(request=1000.0, event=1000.0, item=1000.0)
    assert worse(counts(request=1029.0, event=1031.0, item=500.0), before) == [LOADS["event"].title]


def test_a_load_that_was_not_counted_before_is_not_worse() -> None:
    now, before = counts(request=1000.0, item=9.0), counts(request=1000.0)
    assert worse(now, before) == []
    assert table(now, before).splitlines()[-1] == "| stream item | - | 9 | - |"


def test_a_load_may_cost_a_limited_multiple_of_another() -> None:
    few, many = "filtered", "filtered-1000"
    assert out_of_proportion(counts(**{few: 100.0, many: 200.0})) == []
    (text,) = out_of_proportion(counts(**{few: 100.0, many: 201.0}))
    assert text.startswith(f"{LOADS[many].title}: 2.0 times")
    assert out_of_proportion(counts(**{many: 201.0})) == []


def test_the_table_shows_the_change() -> None:
    text = table(counts(request=319_000.0, item=44_271.4), counts(request=290_000.0, item=44_271.0))
    assert text.splitlines() == [
        f"| {PYTHON} | before | instructions | change |",
        "| :--- | ---: | ---: | ---: |",
        "| request, alone | 290,000 | 319,000 | +10.0% |",
        "| stream item | 44,271 | 44,271 | +0.0% |",
    ]


def test_figures_are_read_as_they_were_kept(tmp_path: Path) -> None:
    kept = counts(request=319_000.5)
    kept.save(tmp_path / "kept.json")
    assert Counts.load(tmp_path / "kept.json") == kept


@pytest.mark.parametrize(
    ("python", "operations", "complaint"),
    [("CPython 3.10.1", OPERATIONS, "3.10.1 cannot"), (PYTHON, 64, "64 operations cannot")],
)
def test_figures_of_another_kind_are_not_compared(python: str, operations: int, complaint: str) -> None:
    with pytest.raises(Failed, match=complaint):
        check_comparable(counts(), python, operations)


def test_the_patch_level_of_python_does_not_matter() -> None:
    check_comparable(counts(), f"{PYTHON.rpartition('.')[0]}.99", OPERATIONS)


@pytest.mark.parametrize(("figure", "fails"), [(1029.0, False), (1031.0, True)])
def test_the_command_fails_where_it_has_become_worse(
    figure: float,
    fails: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts(item=1000.0).save(tmp_path / "before.json")
    monkeypatch.setattr(instructions, "count", lambda names, operations: counts(item=figure))
    given = ["item", "--compare", str(tmp_path / "before.json"), "--json", str(tmp_path / "now.json")]
    if fails:
        with pytest.raises(SystemExit, match="more than 3 % worse: stream item"):
            main(given)
    else:
        main(given)
    assert f"| stream item | 1,000 | {figure:,.0f} |" in capsys.readouterr().out
    assert Counts.load(tmp_path / "now.json").loads == {"item": figure}


def test_figures_that_are_not_there_are_an_error_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No such file"):
        main(["--compare", str(tmp_path / "missing.json")])


@pytest.mark.parametrize("given", [["nothing"], ["--operations", "65"], ["--operations", "0"]])
def test_what_cannot_be_counted_is_refused(given: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(given)
    assert caught.value.code == 2


def test_a_missing_valgrind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="Valgrind counts the instructions and is not installed"):
        main([])


def test_a_program_that_fails_is_named_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(Failed, match="--run nothing ended with status 2") as caught:
        count(["nothing"])
    assert "invalid choice: 'nothing'" in str(caught.value)


@pytest.mark.parametrize("name", LOADS)
def test_each_load_runs(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks.instructions", "--operations", "64", "--run", name]
    subprocess.run(command, cwd=ROOT, check=True, timeout=30)


@pytest.mark.usefixtures("valgrind")
@pytest.mark.timeout(240)
def test_a_stream_item_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["item", "--operations", "256", "--json", str(tmp_path / "now.json")])
    kept = Counts.load(tmp_path / "now.json")
    assert (kept.python, kept.operations) == (PYTHON, 256)
    assert 1_000 < kept.loads["item"] < 1_000_000
    assert f"| stream item | {kept.loads['item']:,.0f} |" in capsys.readouterr().out
