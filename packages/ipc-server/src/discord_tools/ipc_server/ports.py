"""The ports of a running server, and what listens on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from discord_tools.ipc.errors import ListenError
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc_server.budget import Holder
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.connections import Connections
from discord_tools.ipc_server.dialects.http import HTTPDialect
from discord_tools.ipc_server.dialects.listener import DialectListener
from discord_tools.ipc_server.dialects.multicast import PortResolver
from discord_tools.ipc_server.dialects.service import OLDER, DialectService
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.listeners.http import HTTPListener
from discord_tools.ipc_server.listeners.websocket import WebSocketListener
from discord_tools.ipc_server.listening import Listening
from discord_tools.ipc_server.shared import Shared

__all__ = ("Ports",)

log = logging.getLogger(__name__)


class Ports:
    """The main port, the Unix sockets and the multicast port.

    Parameters
    ----------
    listening: :class:`Listening`
        Where to listen.
    shared: :class:`Shared`
        What all clients of the server share.
    serve: Callable[[Transport, Caller], Awaitable[None]]
        Serves one native connection until it ends.
    ready: Callable[[], bool]
        Returns whether the bot is ready.
    """

    def __init__(
        self,
        listening: Listening,
        gate: Gate,
        shared: Shared,
        dialects: frozenset[str],
        serve: Callable[[Transport, Caller], Awaitable[None]],
        ready: Callable[[], bool],
    ) -> None:
        limits, budget = shared.limits, shared.budget
        self._listening = listening
        if listening.path != "/":
            dialects -= OLDER  # their clients know no path
        # One count for both ports.
        connections = Connections(limits)
        #: What clients without our subprotocol share.
        self._dialects = service = DialectService(
            gate,
            shared.dispatcher,
            shared.admission,
            budget,
            shared.turns,
            connections,
            limits,
            dialects,
            lambda: self.port,
            shared.encoder,
        )
        native = WebSocketListener(gate, limits, budget, serve, DialectListener(service).handle)
        #: Listens on the main port.
        self._main = HTTPListener(
            native.handle,
            HTTPDialect(service, ready).routes(),
            paths=listening.paths,
            tls=listening.tls,
            proxies=listening.proxies,
            connections=connections,
            incidents=gate.incidents,
        )
        #: Listens on the multicast port.
        self._multicast = HTTPListener(
            PortResolver(service).handle,
            paths=listening.paths,
            tls=listening.tls,
            proxies=listening.proxies,
            connections=connections,
            incidents=gate.incidents,
        )
        #: The main port, once it is open. 0 where there are only Unix sockets.
        self.port: int = 0
        #: The multicast port, once it is open.
        self.multicast_port: int | None = None

    async def start(self, multicast_port: int | None) -> None:
        """Opens the sockets. A multicast port that cannot be opened is only logged. Without a main port there is
        nothing that it could tell, so it is not opened.
        """
        host, port = self._listening.host, self._listening.port
        if port is not None:
            self.port = await self._main.start(host, port)
        for path in self._listening.unix:
            await self._main.start_unix(path, self._listening.unix_mode)
        if port is not None and multicast_port is not None:
            try:
                self.multicast_port = await self._multicast.start(host, multicast_port)
            except ListenError as error:
                log.warning(
                    "No multicasting: %s. Another bot may hold the multicast port; give this server another "
                    "multicast_port or multicast=False, and its clients the port %d",
                    error,
                    self.port,
                )

    @property
    def holders(self) -> Iterable[Holder]:
        """Iterable[:class:`Holder`]: The open sockets of clients without our subprotocol."""
        return self._dialects.sockets

    @property
    def held_bytes(self) -> int:
        """:class:`int`: Size of the data of their calls in progress, in bytes."""
        return self._dialects.calls.held_bytes

    def compare_callers(self) -> None:
        """Ends the calls and closes the sockets of these clients whose keys are not accepted any more."""
        self._dialects.compare_callers()

    def stop_listening(self) -> None:
        """Frees both ports. Connections stay."""
        self._main.stop_listening()
        self._multicast.stop_listening()

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Waits for the calls of clients without our subprotocol."""
        await self._dialects.drain(spared)

    async def close(self, spared: Collection[asyncio.Task[Any]] = ()) -> None:
        """Frees both ports and closes all connections; calls in ``spared`` go on."""
        await self._dialects.close(spared)
        await self._main.close()
        await self._multicast.close()
