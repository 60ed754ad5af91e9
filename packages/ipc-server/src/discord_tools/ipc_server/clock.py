"""The clock of a client."""

from __future__ import annotations

import math

__all__ = ("CallerClock",)


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
