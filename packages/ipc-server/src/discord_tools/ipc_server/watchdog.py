"""Notices when the event loop is blocked, and names the route that blocks it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType
from typing import Final

from discord_tools.ipc.logs import Incidents

__all__ = ("Watchdog",)

log = logging.getLogger(__name__)

#: Seconds between two turns of the loop above which it counts as blocked.
THRESHOLD: Final = 0.5

#: Seconds between two signs of the loop.
BEAT: Final = 0.1


class Watchdog:
    """Watches the event loop from a thread, while the server runs.

    Parameters
    ----------
    routes: Callable[[], dict[:class:`types.CodeType`, :class:`str`]]
        Returns the code of all routes, with their names.
    """

    def __init__(self, routes: Callable[[], dict[CodeType, str]]) -> None:
        self._routes = routes
        #: Logs each route once a minute.
        self._incidents = Incidents(log)
        #: When the loop last had a turn, by the monotonic clock.
        self._last = 0.0
        #: How long the last block was, in seconds.
        self._block = 0.0
        #: When it ended, by the monotonic clock.
        self._block_ended = float("-inf")
        #: Fires with the next sign of the loop.
        self._timer: asyncio.TimerHandle | None = None
        #: Ends the thread.
        self._stop = threading.Event()
        #: Looks at the loop's thread.
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts watching the running event loop."""
        loop = asyncio.get_running_loop()
        self._last = time.monotonic()
        self._stop = threading.Event()
        self._beat(loop)
        self._thread = threading.Thread(
            target=self._watch,
            args=(threading.get_ident(), self._stop),
            name="ipc watchdog",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stops watching. The thread ends by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop.set()

    def was_blocked_for(self, seconds: float) -> bool:
        """Whether the loop was blocked lately, for at least that long: what is read now may be as old."""
        now = time.monotonic()
        if now - self._last >= max(seconds, THRESHOLD + BEAT):
            return True  # it has only just ended: the loop reads before it gives its next sign
        return self._block >= seconds and now - self._block_ended < self._block + 1.0

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        if now - self._last > THRESHOLD + BEAT:
            self._block, self._block_ended = now - self._last, now
        self._last = now
        self._timer = loop.call_later(BEAT, self._beat, loop)

    def _watch(self, thread: int, stop: threading.Event) -> None:
        reported = 0.0
        while not stop.wait(THRESHOLD / 2):
            last = self._last
            if time.monotonic() - last > THRESHOLD + BEAT and last != reported:
                reported = last
                self._report(thread)

    def _report(self, thread: int) -> None:
        """Names the route whose code the loop's thread runs."""
        routes = self._routes()
        frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage] (as faulthandler and debuggers do)
        while frame is not None:
            name = routes.get(frame.f_code)
            if name is not None:
                self._incidents.warning(
                    name,
                    "This route has blocked the event loop for more than %g s, so the bot did nothing else. Await what "
                    "takes long, or run it with asyncio.to_thread()",
                    THRESHOLD,
                )
                return
            frame = frame.f_back
