"""Slows down clients that guess keys. It counts failures only, so a right key is never delayed."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ("Brake",)

#: Number of wrong keys from one address that are answered without a delay: people mistype.
FREE: Final = 5

#: Number of wrong keys after which further ones are refused at once: HTTP gets status 429, a WebSocket is closed.
REFUSED: Final = 40

#: Delay of the first answer that is delayed, in seconds. It doubles with each further one.
FIRST_DELAY: Final = 0.05

#: The longest delay, in seconds.
LONGEST_DELAY: Final = 2.0

#: Seconds without a wrong key after which an address starts again.
FORGOTTEN_AFTER: Final = 60.0

#: Maximum number of addresses that are remembered. The one that failed longest ago is dropped first.
ADDRESSES: Final = 1024

#: Maximum number of answers that are delayed at a time, for each address and for all together. Further ones are
#: refused: each holds a connection.
WAITING_PER_ADDRESS: Final = 8
WAITING: Final = 64


class _Failures:
    """Wrong keys from one address."""

    __slots__ = ("count", "last", "waiting")

    def __init__(self) -> None:
        #: Number of wrong keys.
        self.count = 0
        #: When the last one came, by the loop's clock.
        self.last = 0.0
        #: Number of answers that are delayed.
        self.waiting = 0


class Brake:
    """Delays and then refuses answers to wrong keys, for each address."""

    def __init__(self) -> None:
        #: Failures by address, in the order of their last ones.
        self._failures: dict[str, _Failures] = {}
        #: Number of answers that are delayed.
        self._waiting = 0

    async def failed(self, address: str | None) -> bool:
        """Counts a wrong key and delays its answer. Returns ``False`` where it should get none."""
        now = asyncio.get_running_loop().time()
        key = address or "unknown"
        failures = self._failures.pop(key, None)
        if failures is None or (now - failures.last > FORGOTTEN_AFTER and not failures.waiting):
            failures = _Failures()
        self._failures[key] = failures
        if len(self._failures) > ADDRESSES:
            del self._failures[next(iter(self._failures))]
        failures.count += 1
        failures.last = now
        if failures.count <= FREE:
            return True
        if failures.count > REFUSED or failures.waiting >= WAITING_PER_ADDRESS or self._waiting >= WAITING:
            return False
        failures.waiting += 1
        self._waiting += 1
        try:
            await asyncio.sleep(min(LONGEST_DELAY, FIRST_DELAY * 2 ** (failures.count - FREE - 1)))
        finally:
            failures.waiting -= 1
            self._waiting -= 1
        return True
