"""Bounds the memory that a server holds for all of its clients together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from discord_tools.ipc.logs import Incidents

__all__ = ("RECOUNT", "Holder", "MemoryBudget")

log = logging.getLogger(__name__)

#: Share of the limit that may be added before all is counted again.
STEP: Final = 1 / 16

#: Share of the limit that is held after memory was freed, so that the next message does not free again.
RELIEF: Final = 0.75

#: Seconds after which memory is counted again while calls are refused.
RECOUNT: Final = 0.25


class Holder(Protocol):
    """Somebody that memory is held for. Implemented by :class:`~.conversation.Conversation`."""

    @property
    def held_bytes(self) -> int:
        """Bytes that are held: data of calls, answers that wait, retained messages, events that wait."""
        ...

    @property
    def is_away(self) -> bool:
        """Whether there is no connection at present."""
        ...

    @property
    def has_calls(self) -> bool:
        """Whether calls are in progress."""
        ...

    @property
    def is_blocked(self) -> bool:
        """Whether the client does not read what waits for it."""
        ...

    def evict(self, reason: str) -> None:
        """Ends it and closes its connection."""
        ...


class MemoryBudget:
    """Counts the bytes that are held for clients, and frees some where there are too many.

    Counting all for each message would cost more than the message. So what is added is summed up, and when it is a
    share of the limit, all holders are counted.

    Parameters
    ----------
    limit: :class:`int`
        Maximum number of bytes.
    holders: Callable[[], Iterable[Holder]]
        Returns all holders, those that are away for longest first.
    others: Callable[[], :class:`int`]
        Returns the bytes that are held besides, and end by themselves.
    """

    def __init__(
        self, limit: int, holders: Callable[[], Iterable[Holder]], others: Callable[[], int]
    ) -> None:
        self._limit = limit
        self._holders = holders
        self._others = others
        #: Logs evictions, which clients can cause any number of times.
        self._incidents = Incidents(log)
        #: Bytes that may be added before all is counted again.
        self._step = int(limit * STEP)
        #: Bytes that were added since all was counted.
        self._added = 0
        #: Whether more is held than may be, so that calls with data are refused.
        self.is_spent: bool = False
        #: Counts again while calls are refused.
        self._recount: asyncio.TimerHandle | None = None

    def add(self, size: int) -> None:
        """Takes note that more bytes are held."""
        self._added += size
        if self._added > self._step:
            self.check()

    def check(self) -> None:
        """Counts all, and frees memory where too much is held."""
        self._added = 0
        if self._recount is not None:
            self._recount.cancel()
            self._recount = None
        held = {holder: size for holder in self._holders() if (size := holder.held_bytes)}
        total = sum(held.values()) + self._others()
        if total > self._limit:
            total = self._free(held, total)
        self.is_spent = total > self._limit
        if self.is_spent:
            # What is left are calls in progress of clients that read: they end by themselves.
            self._recount = asyncio.get_running_loop().call_later(RECOUNT, self.check)

    def close(self) -> None:
        """Stops counting."""
        if self._recount is not None:
            self._recount.cancel()
            self._recount = None
        self.is_spent = False

    def _free(self, held: dict[Holder, int], total: int) -> int:
        """Ends clients that are away, the longest away first, then those that do not read, the largest first."""
        away = sorted((one for one in held if one.is_away), key=lambda one: one.has_calls)
        blocked = sorted(
            (one for one in held if one.is_blocked and not one.is_away), key=lambda one: -held[one]
        )
        evicted = 0
        for holder in (*away, *blocked):
            if total <= self._limit * RELIEF:
                break
            holder.evict("the bot holds too much for its clients")
            total -= held[holder]
            evicted += 1
        if evicted:
            self._incidents.warning(
                "memory",
                "More than %d bytes were held for clients: %d that were away or did not read were dropped",
                self._limit,
                evicted,
            )
        return total
