"""Meters inside the bot's process: its event loop, memory, open files and log."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import time
from pathlib import Path
from typing import Any, Final

from equipment.usage import open_files, resident_memory

__all__ = ("NORMAL_SECONDS", "Lines", "Meters", "reference", "waited")

#: Seconds between two ticks.
TICK: Final = 0.002

#: Ticks between two looks at memory and open files.
SAMPLE_EVERY: Final = 5

#: What :func:`reference` takes on a normal machine, in seconds. Bounds are stretched on a slower one.
NORMAL_SECONDS: Final = 0.020

#: Number of steps of the reference operation.
STEPS: Final = 400_000

#: Number of lines of the log that are kept for the report, and their length.
KEPT_LINES: Final = 40
KEPT_CHARS: Final = 300


def reference() -> float:
    """CPU time of a fixed loop in pure Python, in seconds: the median of five runs."""
    times: list[float] = []
    for _ in range(5):
        began = time.thread_time()
        total = 0
        for step in range(STEPS):
            total = (total + step * 3) & 0xFFFF
        times.append(time.thread_time() - began)
    return sorted(times)[2]


class Lines(logging.Handler):
    """Counts what all loggers write, tracebacks included.

    Parameters
    ----------
    key: :class:`str`
        The secret key, which must not be in any line.
    """

    def __init__(self, key: str) -> None:
        super().__init__(logging.INFO)
        self._key = key
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        #: Number of lines.
        self.count: int = 0
        #: Their size in bytes.
        self.size: int = 0
        #: Number of log calls whose text had the key.
        self.with_key: int = 0
        #: The first lines.
        self.first: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as error:  # counted, as any other line
            text = f"{record.name}: a line that cannot be formatted: {error!r}"
        lines = text.split("\n")
        self.count += len(lines)
        self.size += len(text.encode(errors="replace")) + 1
        self.with_key += self._key in text
        if len(self.first) < KEPT_LINES:
            self.first += [line[:KEPT_CHARS] for line in lines[: KEPT_LINES - len(self.first)]]


class Meters:
    """Watches the process between :meth:`begin` and :meth:`end`."""

    def __init__(self, key: str) -> None:
        #: Counts the lines of all loggers.
        self.lines: Lines = Lines(key)
        #: What was measured since the beginning.
        self._figures: dict[str, float] = {}
        #: CPU time at the beginning, in seconds.
        self._cpu = 0.0
        #: When it began.
        self._began = 0.0
        #: How long this process had waited for a core by then, in seconds.
        self._waited = 0.0
        #: Time of the collector in the present gap, in seconds of CPU.
        self._collected = 0.0
        #: When the collector began.
        self._collecting = 0.0
        #: The ticker.
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Starts measuring."""
        # What was there before the attack does not cost the collector time.
        gc.collect()
        gc.freeze()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak of the memory starts again
        files, memory = open_files(), resident_memory() or 0
        self.lines.count = self.lines.size = self.lines.with_key = 0
        self.lines.first.clear()
        self._figures = {
            "stall": 0.0,
            "stall_cpu": 0.0,
            "collector_cpu": 0.0,
            "files_before": files,
            "files": files,
            "memory_before": memory,
            "memory": memory,
            "refused_opens": 0,
        }
        self._cpu, self._began, self._waited = time.process_time(), time.perf_counter(), waited()
        gc.callbacks.append(self._on_collector)
        self._task = asyncio.create_task(self._tick(), name="ticker")

    async def end(self) -> dict[str, Any]:
        """Returns what was measured."""
        figures = self._figures
        figures["cpu"] = time.process_time() - self._cpu
        figures["waited"] = waited() - self._waited
        figures["seconds"] = time.perf_counter() - self._began
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        gc.callbacks.remove(self._on_collector)
        figures["memory"] = max(figures["memory"], peak_memory())
        lines = self.lines
        return {
            **figures,
            "lines": lines.count,
            "line_bytes": lines.size,
            "lines_with_key": lines.with_key,
            "log": lines.first[:],
        }

    async def _tick(self) -> None:
        figures, ticks = self._figures, 0
        while True:
            self._collected = 0.0
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            figures["stall"] = max(figures["stall"], time.perf_counter() - wall - TICK)
            figures["stall_cpu"] = max(figures["stall_cpu"], time.thread_time() - cpu)
            figures["collector_cpu"] = max(figures["collector_cpu"], self._collected)
            ticks += 1
            if ticks % SAMPLE_EVERY == 0:
                self._sample()

    def _sample(self) -> None:
        figures = self._figures
        figures["memory"] = max(figures["memory"], resident_memory() or 0)
        try:
            figures["files"] = max(figures["files"], open_files())
            with open(os.devnull):
                pass
        except OSError:
            figures["refused_opens"] += 1

    def _on_collector(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self._collected += time.thread_time() - self._collecting


def waited() -> float:
    """How long this process waited for a core that others used, in seconds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def peak_memory() -> int:
    """Peak of the resident memory since the beginning, in bytes; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
