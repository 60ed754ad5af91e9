"""Counts the open connections of all ports of a server, and bounds them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

from aiohttp import web

from discord_tools.ipc.limits import ServerLimits

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None

__all__ = ("Connections", "Unauthenticated", "usable_connections")

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Share of the files that the system lets the process open which connections may take. The rest is for the bot.
FILES_SHARE: Final = 0.5

#: Connections beyond the limit that may be open for a moment, to be told that there are too many.
REFUSED: Final = 8

#: Maximum number of connections that have not sent a request, in all and from one address; never more than half of all
#: connections. A client sends one within milliseconds, but after a restart hundreds may connect at once.
NEW: Final = 512
NEW_PER_ADDRESS: Final = 256

#: Maximum number of open WebSockets at one port that have not shown a key, in all and from one address.
UNAUTHENTICATED: Final = 64
UNAUTHENTICATED_PER_ADDRESS: Final = 32

#: Number of idle connections at which closed ones are swept; afterwards, twice the number left.
SWEEP_AT: Final = 64


def usable_connections(limits: ServerLimits) -> int:
    """Returns how many connections there may be: the limit, or less where the system allows fewer open files."""
    if resource is None:
        return limits.connections
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    share = limits.connections if files == resource.RLIM_INFINITY else int(files * FILES_SHARE)
    if share < limits.connections:
        log.info(
            "At most %d connections instead of %d: the process may open %d files, and keeps half of them for the bot",
            share,
            limits.connections,
            files,
        )
    return max(1, min(limits.connections, share))


class Connections:
    """The open connections, from accepting to the end.

    aiohttp limits neither the number of connections nor the time until the first request. Without a limit, a client
    that sends nothing could use up all files that the system lets the bot open.

    A connection without a request in progress is closed when its place is needed, the longest idle one first.

    Parameters
    ----------
    limits: :class:`ServerLimits`
        How many connections there may be, and how long the first request may take.
    """

    def __init__(self, limits: ServerLimits) -> None:
        #: Maximum number of connections.
        self._limit = usable_connections(limits)
        #: How long the first request may take, in seconds.
        self._timeout = limits.handshake_timeout
        #: Connections that have not sent a request, with their addresses; oldest first.
        self._new: dict[web.RequestHandler, str] = {}
        #: Connections that are kept alive after a request, longest idle first. Closed ones stay until they are swept.
        self._idle: dict[web.RequestHandler, None] = {}
        #: Connections with a request in progress. An open WebSocket is one.
        self._busy: set[web.RequestHandler] = set()
        #: Connections with a request that is refused because there are too many.
        self._refused: set[web.RequestHandler] = set()
        #: Number of idle connections at which closed ones are swept.
        self._sweep_at = SWEEP_AT

    def accepted(self, connection: web.RequestHandler) -> None:
        """Counts a new connection, and closes it unless it sends a request in time."""
        # It gets its transport in the next turn of the loop, and cannot be closed before that.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._opened, connection)

    def begin(self, connection: web.RequestHandler) -> bool:
        """Counts a connection with a request in progress. Returns ``False`` where there are too many."""
        self._new.pop(connection, None)
        self._idle.pop(connection, None)
        if len(self._busy) >= self._limit:
            self._refused.add(connection)
            return False
        self._busy.add(connection)
        self._evict()
        return True

    def end(self, connection: web.RequestHandler, *, kept: bool) -> None:
        """Counts a request as ended. ``kept`` tells whether the connection may send another one."""
        self._refused.discard(connection)
        if connection in self._busy:
            self._busy.discard(connection)
            if kept:
                # Its response is still to be sent, so what exceeds the limit is left to the next connection.
                self._idle[connection] = None

    def __len__(self) -> int:
        return len(self._new) + len(self._idle) + len(self._busy) + len(self._refused)

    def _opened(self, connection: web.RequestHandler) -> None:
        if connection.transport is None:  # it is closed already
            return
        self._new[connection] = address = _address_of(connection)
        self._check_later(connection, last=False)
        if len(self._new) > min(NEW, self._limit // 2 + REFUSED):
            _close(self._new, next(iter(self._new)))
        elif len(self._new) > NEW_PER_ADDRESS:
            self._close_from(address)
        self._evict()

    def _evict(self) -> None:
        if len(self) > self._limit or len(self._idle) >= self._sweep_at:
            # aiohttp does not report which of them are closed.
            self._new = _open(self._new)
            self._idle = _open(self._idle)
            self._sweep_at = max(SWEEP_AT, 2 * len(self._idle))
        while len(self) > self._limit and (connection := self._longest_idle()) is not None:
            _close(self._idle, connection)
        while self._new and len(self) > self._limit + REFUSED:
            _close(self._new, next(iter(self._new)))

    def _longest_idle(self) -> web.RequestHandler | None:
        for connection in self._idle:
            # While a response is being sent, its connection is not idle yet.
            if connection.transport is None or not connection.transport.get_write_buffer_size():
                return connection
        return None

    def _close_from(self, address: str) -> None:
        """Closes the oldest connection from an address that has too many."""
        if Counter(self._new.values())[address] > NEW_PER_ADDRESS:
            _close(self._new, next(one for one, other in self._new.items() if other == address))

    def _check_later(self, connection: web.RequestHandler, *, last: bool) -> None:
        # Twice, since a loop that was blocked for long has not read what arrived meanwhile.
        asyncio.get_running_loop().call_later(self._timeout / 2, self._check, connection, last)

    def _check(self, connection: web.RequestHandler, last: bool) -> None:
        if connection not in self._new:
            return
        if not last and connection.transport is not None:
            self._check_later(connection, last=True)
            return
        _close(self._new, connection)


def _open(connections: dict[web.RequestHandler, T]) -> dict[web.RequestHandler, T]:
    return {one: what for one, what in connections.items() if one.transport is not None}


def _close(waiting: dict[web.RequestHandler, T], connection: web.RequestHandler) -> None:
    del waiting[connection]
    if connection.transport is not None:  # otherwise it is closed already
        connection.transport.abort()


class Unauthenticated:
    """Open WebSockets of one port that have not shown a key.

    A new one is always admitted. Where there are too many, the oldest one is closed, of the address that has too many
    or of all: a healthy client shows its key within milliseconds.
    """

    def __init__(self) -> None:
        #: Closes each of them, with its address; oldest first.
        self._sockets: dict[Callable[[], None], str] = {}

    def add(self, close: Callable[[], None], address: str | None) -> None:
        """Counts a socket. ``close`` is called where it has to make way."""
        self._sockets[close] = address or "unknown"
        counts = Counter(self._sockets.values())
        if counts[self._sockets[close]] > UNAUTHENTICATED_PER_ADDRESS:
            self._close(next(one for one, other in self._sockets.items() if other == self._sockets[close]))
        elif len(self._sockets) > UNAUTHENTICATED:
            self._close(next(iter(self._sockets)))

    def renew(self, close: Callable[[], None]) -> None:
        """Counts a socket as the newest one, since its client has to answer once more."""
        if (address := self._sockets.pop(close, None)) is not None:
            self._sockets[close] = address

    def discard(self, close: Callable[[], None]) -> None:
        """Counts a socket as authenticated or closed."""
        self._sockets.pop(close, None)

    def _close(self, close: Callable[[], None]) -> None:
        del self._sockets[close]
        close()


def _address_of(connection: web.RequestHandler) -> str:
    peer: Any = None if connection.transport is None else connection.transport.get_extra_info("peername")
    return str(peer[0]) if peer else "unknown"
