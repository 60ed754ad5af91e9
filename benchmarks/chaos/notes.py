"""Files that outlive a kill, and what they tell about each call."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

__all__ = (
    "ANSWERED",
    "BEGUN",
    "MAY_HAVE_RUN",
    "MIXED_UP",
    "RAN",
    "REFUSED",
    "Line",
    "Notes",
    "Report",
    "judge",
    "read",
)

#: What a caller notes before the call, and what a route notes before its answer.
BEGUN: Final = "begun"
RAN: Final = "ran"

#: What a caller notes at the end of a call: its answer; an error that says that nothing ran; one that leaves it open;
#: the answer to another call.
ANSWERED: Final = "answered"
REFUSED: Final = "refused"
MAY_HAVE_RUN: Final = "may-have-run"
MIXED_UP: Final = "mixed-up"

#: A route that begins later than this after its caller gave up should not have been started, in seconds.
LATE: Final = 0.25


class Line(NamedTuple):
    """One line of a file."""

    what: str
    key: str
    time: float
    error: str


class Notes:
    """A file that lines are appended to. Each is with the system before :meth:`add` returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, what: str, key: str, error: str = "-") -> None:
        """Appends a line, with the time of a clock that all processes share."""
        os.write(self._file, f"{what} {key} {time.monotonic():.6f} {error}\n".encode())

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> list[Line]:
    """The lines of a file. One that a kill has cut off is left out."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    fields = (line.split() for line in lines if line.endswith("\n"))
    return [Line(what, key, float(when), error) for what, key, when, error in fields]


@dataclass
class Report:
    """What became known of the calls of a scenario."""

    calls: int = 0
    answered: int = 0
    refused: int = 0
    may_have_run: int = 0
    #: Calls of callers that were killed themselves.
    died: int = 0
    #: Calls whose callers learned nothing.
    lost: int = 0
    twice: int = 0
    mixed_up: int = 0
    #: Calls that were started although their callers had given up.
    late: int = 0
    #: Errors that callers got, with how often.
    errors: Counter[str] = field(default_factory=Counter[str])
    #: What was not as it was told.
    wrong: list[str] = field(default_factory=list[str])
    #: Tasks, descriptors and processes that are left, and complaints of processes.
    left: list[str] = field(default_factory=list[str])

    @property
    def well(self) -> bool:
        return not self.wrong and not self.left and self.answered > 0

    def fail(self, key: str, what: str) -> None:
        self.wrong.append(f"{key} {what}")


def judge(ran: Iterable[Line], told: Iterable[tuple[list[Line], bool]]) -> Report:
    """Compares what ran with what callers noted.

    ``told`` has the lines of each process of callers, and whether it was killed.
    """
    report = Report()
    began = {line.key: line.time for line in ran}
    runs = Counter(line.key for line in ran)
    known: set[str] = set()
    for lines, killed in told:
        ends = {line.key: line for line in lines if line.what != BEGUN}
        for key in (line.key for line in lines if line.what == BEGUN):
            known.add(key)
            report.calls += 1
            _judge_one(report, key, ends.get(key), began.get(key), killed)
    for key, times in runs.items():
        if times > 1:
            report.twice += 1
            report.fail(key, f"ran {times} times")
        if key not in known:
            report.mixed_up += 1
            report.fail(key, "ran, and nobody has called it")
    return report


def _judge_one(report: Report, key: str, end: Line | None, began: float | None, killed: bool) -> None:
    if end is None:
        if killed:
            report.died += 1
        else:
            report.lost += 1
            report.fail(key, "has no answer and no error")
        return
    if end.error != "-":
        report.errors[end.error] += 1
    if end.what == ANSWERED:
        report.answered += 1
        if began is None:
            report.fail(key, "was answered and did not run")
    elif end.what == REFUSED:
        report.refused += 1
        if began is not None:
            report.fail(key, f"ran, although {end.error} says that it did not")
    elif end.what == MAY_HAVE_RUN:
        report.may_have_run += 1
        if began is not None and end.error == "RequestTimeout" and began > end.time + LATE:
            report.late += 1
            report.fail(key, f"was started {began - end.time:.2f} s after its caller had given up")
    else:
        report.mixed_up += 1
        report.fail(key, "got the answer to another call")
