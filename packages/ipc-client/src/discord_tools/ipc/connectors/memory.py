"""Connects to a server in the same process, without a port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from discord_tools.ipc.errors import ConnectError
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc.transports.memory import memory_pair

__all__ = ("MemoryConnector",)


class MemoryConnector:
    """Joins a session with a server, or with whatever else speaks the protocol.

    The real client, codec and server meet in memory: ``ClientSession(connector=MemoryConnector(server.serve))``.

    Parameters
    ----------
    serve: Callable[[Transport], Awaitable[None]]
        Serves one connection until it ends.
    label: :class:`str`
        What to call it in errors and in the log.
    """

    def __init__(self, serve: Callable[[Transport], Awaitable[None]], label: str = "memory") -> None:
        self._serve = serve
        self._label = label
        #: Tasks that serve connections. Kept, since a task that nobody refers to may be collected.
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def label(self) -> str:
        """:class:`str`: What it is called in errors and in the log."""
        return self._label

    async def connect(self) -> Transport:
        """Joins a new pair of transports."""
        ours, theirs = memory_pair()
        task = asyncio.ensure_future(self._run(theirs))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return ours

    def failure(self, reason: str) -> ConnectError:
        return ConnectError(self._label, 0, reason)

    def forget(self) -> None:
        """Does nothing: there is only one place."""

    def abandon(self) -> None:
        self._serving.clear()

    async def close(self) -> None:
        """Waits until all connections have ended."""
        while self._serving:
            await asyncio.wait(tuple(self._serving))

    async def _run(self, transport: Transport) -> None:
        try:
            await self._serve(transport)
        finally:
            await transport.close()
