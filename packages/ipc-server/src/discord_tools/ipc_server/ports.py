"""The ports of a running server, and everything that listens on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from discord_tools.ipc.errors import ListenError
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc_server.dialects.http import HTTPDialect
from discord_tools.ipc_server.dialects.listener import DialectListener
from discord_tools.ipc_server.dialects.multicast import PortResolver
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.listeners.http import HTTPListener
from discord_tools.ipc_server.listeners.websocket import WebSocketListener

__all__ = ("Ports",)

log = logging.getLogger(__name__)


class Ports:
    """The main port and the multicast port.

    Parameters
    ----------
    serve: Callable[[Transport], Awaitable[None]]
        Talks to one client of our own protocol until the end.
    ready: Callable[[], bool]
        Tells whether the bot is ready.
    """

    def __init__(
        self,
        gate: Gate,
        dispatcher: Dispatcher,
        limits: ServerLimits,
        dialects: frozenset[str],
        serve: Callable[[Transport], Awaitable[None]],
        ready: Callable[[], bool],
    ) -> None:
        self._plain = plain = DialectService(gate, dispatcher, limits, dialects, lambda: self.port)
        main = WebSocketListener(gate, limits, serve, DialectListener(plain))
        self._main = HTTPListener(main.handle, HTTPDialect(plain, ready).routes(), limits=limits)
        self._multicast = HTTPListener(PortResolver(plain).handle, limits=limits)
        self.port: int = 0
        self.multicast_port: int | None = None

    async def start(self, host: str, port: int, multicast_port: int | None) -> None:
        """Listens. A multicast port that cannot be had is only logged."""
        self.port = await self._main.start(host, port)
        if multicast_port is not None:
            try:
                self.multicast_port = await self._multicast.start(host, multicast_port)
            except ListenError as error:
                log.warning(
                    "No multicasting: %s. Another bot may hold the multicast port; give this server another "
                    "multicast_port or multicast=False, and its clients the port %d",
                    error,
                    self.port,
                )

    def stop_listening(self) -> None:
        """Frees both ports. Connections stay."""
        self._plain.stop()
        self._main.stop_listening()
        self._multicast.stop_listening()

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Waits for the calls of all clients without our own protocol."""
        await self._plain.drain(spared)

    async def close(self, spared: Collection[asyncio.Task[Any]] = ()) -> None:
        """Frees both ports and ends all connections; calls in ``spared`` go on."""
        await self._plain.close(spared)
        await self._main.close()
        await self._multicast.close()
