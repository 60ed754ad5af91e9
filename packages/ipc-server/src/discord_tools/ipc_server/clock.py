"""The clock of a client, and turns of the event loop."""

from __future__ import annotations

import asyncio
import math
from typing import Final

__all__ = ("ITEMS_PER_TURN", "CallerClock", "TurnShare")

#: Maximum number of items that all streams of one client send in one turn of the loop.
ITEMS_PER_TURN: Final = 64


class CallerClock:
    """When a client last sent its clock, by the clock of this side. Calls that are read now are not older."""

    def __init__(self) -> None:
        #: The smallest difference of the two clocks, in seconds: the fastest message counts as taking no time.
        self._smallest = math.inf
        #: When the client last sent its clock.
        self.sent: float = math.inf

    def compare(self, time: float, now: float) -> None:
        """Takes the client's clock."""
        self._smallest = min(self._smallest, now - time)
        self.sent = time + self._smallest


class TurnShare:
    """What all streams of one client may send in one turn of the event loop, so that others get their turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: Number of items in this turn.
        self._items = 0

    def take(self) -> bool:
        """Takes an item. Returns ``False`` where no more may be sent in this turn."""
        if not self._items:
            self._loop.call_soon(self._end_turn)
        self._items += 1
        return self._items <= ITEMS_PER_TURN

    def _end_turn(self) -> None:
        self._items = 0
