"""Event loops, one of which can tell how long its longest turn took."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any

__all__ = ("Watch", "loop_factory")


class Watch:
    """The longest turn of a loop since it was asked for: on the clock, and in CPU time of the loop's own thread.

    The second leaves out what other processes on the same core took.
    """

    def __init__(self) -> None:
        self.on: bool = False
        self._began = 0.0
        self._cpu = 0.0
        self.longest: float = 0.0
        self.longest_cpu: float = 0.0

    def start(self) -> None:
        """Forgets what was, and looks from the next turn on."""
        self.longest = self.longest_cpu = self._began = 0.0
        self.on = True

    def begin(self) -> None:
        """A turn begins."""
        self._began = time.perf_counter()
        self._cpu = time.thread_time()

    def end(self) -> None:
        """The turn is over: the loop looks for what to do next."""
        if self._began:
            self.longest = max(self.longest, time.perf_counter() - self._began)
            self.longest_cpu = max(self.longest_cpu, time.thread_time() - self._cpu)


class _WatchedSelector(selectors.DefaultSelector):
    """What happens between two looks at the sockets is one turn of the loop."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not self._watch.on:
            return super().select(timeout)
        self._watch.end()
        events = super().select(timeout)
        self._watch.begin()
        return events


def loop_factory(kind: str, watch: Watch) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes loops of ``asyncio``, which ``watch`` sees into, or of ``uvloop``, which it does not."""
    if kind == "uvloop":
        import uvloop  # only its side needs it

        new: Any = uvloop.new_event_loop
        return new
    return lambda: asyncio.SelectorEventLoop(_WatchedSelector(watch))
