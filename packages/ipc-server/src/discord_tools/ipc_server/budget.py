"""Bounds the memory that a server holds for all of its clients together."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from discord_tools.ipc.logs import Incidents

__all__ = ("RECOUNT", "REPORT_WITHOUT_KEY", "Holder", "MemoryBudget", "Receiving")

log = logging.getLogger(__name__)

#: Share of the limit that may be added before all is counted again.
STEP: Final = 1 / 16

#: Share of the limit that is held after memory was freed, so that the next message does not free again.
RELIEF: Final = 0.75

#: Seconds after which memory is counted again while calls are refused.
RECOUNT: Final = 0.25

#: Maximum number of bytes of messages that are not complete, of all connections that have not shown a key. Beyond it,
#: the longest unfinished message of the address that has most of them is dropped: that of a healthy client is complete
#: within milliseconds.
WITHOUT_KEY: Final = 4 * 1024 * 1024

#: Bytes of an unfinished message of such a connection after which it is reported, each time. Smaller ones are never
#: dropped.
REPORT_WITHOUT_KEY: Final = 16 * 1024

#: Seconds after which a message that is not complete is taken for stalled, where memory is needed.
STALLED: Final = 2.0


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


class Receiving(Protocol):
    """A message that is not complete.

    Implemented by :class:`~discord_tools.ipc.transports.websocket.WebSocketTransport` and
    :class:`~.dialects.http.RequestBody`.

    Attributes
    ----------
    unfinished_bytes: :class:`int`
        Bytes that were received. 0 once it is complete, or given up.
    receiving_since: :class:`float`
        When it began, by the loop's clock.
    """

    unfinished_bytes: int
    receiving_since: float

    def evict(self, reason: str) -> None:
        """Closes its connection."""
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
        #: Large messages that are being received, longest first. Those that have ended stay until all is counted.
        self._receiving: dict[Receiving, None] = {}
        #: Connections that have not shown a key, with their addresses.
        self._without_key: dict[Receiving, str] = {}
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

    def receives(self, message: Receiving, size: int) -> None:
        """Takes note that ``size`` more bytes of a message were received, and that it is not complete."""
        self._receiving[message] = None
        if message in self._without_key:
            self._free_without_key()
        self.add(size)

    def without_key(self, connection: Receiving, address: str | None) -> None:
        """Takes note of a connection that has not shown a key, so its messages share a bound of their own.

        It has to report its messages each :data:`REPORT_WITHOUT_KEY` bytes.
        """
        self._without_key[connection] = str(address)

    def with_key(self, connection: Receiving) -> None:
        """Takes note that a connection has shown a key, or has ended."""
        self._without_key.pop(connection, None)

    def check(self) -> None:
        """Counts all, and frees memory where too much is held."""
        self._added = 0
        if self._recount is not None:
            self._recount.cancel()
            self._recount = None
        held = {holder: size for holder in self._holders() if (size := holder.held_bytes)}
        self._receiving = {message: None for message in self._receiving if message.unfinished_bytes}
        total = sum(held.values()) + self._others() + sum(one.unfinished_bytes for one in self._receiving)
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
        self._receiving.clear()
        self._without_key.clear()
        self.is_spent = False

    def _free_without_key(self) -> None:
        sizes = {
            one: one.unfinished_bytes
            for one in self._without_key
            if one.unfinished_bytes > REPORT_WITHOUT_KEY
        }
        while sum(sizes.values()) > WITHOUT_KEY:
            by_address: Counter[str] = Counter()
            for one, size in sizes.items():
                by_address[self._without_key[one]] += size
            address = by_address.most_common(1)[0][0]
            longest = min(
                (one for one in sizes if self._without_key[one] == address),
                key=lambda one: one.receiving_since,
            )
            del sizes[longest]
            longest.evict("too many bytes of messages without a key")
            self._incidents.warning(
                "without a key",
                "An unfinished message was dropped: connections without a key have sent more than %d bytes of them",
                WITHOUT_KEY,
                label=address,
            )

    def _free(self, held: dict[Holder, int], total: int) -> int:
        """Closes what is stalled, and returns what is left.

        First the messages that take longer than those of a healthy client, then the clients that are away, the longest
        away first, then those that do not read, the largest first, and last the other messages that are not complete.
        """
        away = sorted((one for one in held if one.is_away), key=lambda one: one.has_calls)
        blocked = sorted(
            (one for one in held if one.is_blocked and not one.is_away), key=lambda one: -held[one]
        )
        sizes: dict[Holder | Receiving, int] = {
            **held,
            **{one: one.unfinished_bytes for one in self._receiving},
        }
        late = asyncio.get_running_loop().time() - STALLED if self._receiving else 0.0
        stalled = [one for one in self._receiving if one.receiving_since < late]
        recent = [one for one in self._receiving if one.receiving_since >= late]
        evicted = 0
        for one in (*stalled, *away, *blocked, *recent):
            if total <= self._limit * RELIEF:
                break
            one.evict("the bot holds too much for its clients")
            total -= sizes[one]
            evicted += 1
        if evicted:
            self._incidents.warning(
                "memory",
                "More than %d bytes were held for clients: %d that were away, did not read or did not send on were "
                "dropped",
                self._limit,
                evicted,
            )
        return total
