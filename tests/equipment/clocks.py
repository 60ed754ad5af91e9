"""Clocks that a test moves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from discord_tools.ipc import logs

__all__ = ("Clock", "IncidentClock", "LoopClock")


class Clock:
    """A clock for what is given one. It shows :attr:`now`, which the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class LoopClock:
    """The clock of the running event loop, from now on.

    Parameters
    ----------
    stopped
        Whether time goes on only when the test says so.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, stopped: bool = False) -> None:
        loop = asyncio.get_running_loop()
        #: The clock as it was.
        self.real = loop.time
        #: The time when this began.
        self.began = loop.time()
        #: Seconds that it has gained since.
        self.ahead = 0.0
        self._stopped = stopped
        monkeypatch.setattr(loop, "time", self._time)

    def _time(self) -> float:
        return (self.began if self._stopped else self.real()) + self.ahead


class IncidentClock:
    """The clock of incidents in the log, which goes on only when the test says so. It is not that of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: self.now))

    def pass_period(self) -> None:
        """Goes on until a new line about the same incident is due."""
        self.now += logs.INCIDENT_PERIOD
