"""One port with an HTTP server of aiohttp on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeAlias

from aiohttp import web

from discord_tools.ipc.errors import ListenError
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc_server.listeners.sockets import BACKLOG, addresses_of, listen

__all__ = ("HTTPListener",)

#: For so many seconds a connection may wait for its next request.
KEEPALIVE: Final = 60.0

#: With so many connections that wait for a request it is looked which of them are gone, and then with twice as many as
#: are left.
LOOK_AT: Final = 64

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


class HTTPListener:
    """Listens on a port and hands every ``GET /`` to a handler.

    Parameters
    ----------
    handler: Callable[[:class:`aiohttp.web.Request`], Awaitable[:class:`aiohttp.web.StreamResponse`]]
        Answers each request.
    more: Iterable[:class:`aiohttp.web.RouteDef`]
        Other requests that are answered on this port.
    limits: :class:`ServerLimits`
        How many connections may wait for a request at once, which is ``connections``, and how long the first one may
        take, which is ``handshake_timeout``.
    """

    def __init__(
        self,
        handler: Handler,
        more: Iterable[web.RouteDef] = (),
        *,
        limits: ServerLimits = ServerLimits(),  # noqa: B008 (it is frozen)
    ) -> None:
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/", handler)
        app.router.add_routes(more)
        # Conversations are ended by the server before this; whatever is still there has had its time.
        # A body that was refused is read on for a moment only, which its sender needs to see the refusal.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            lingering_time=0.5,
            keepalive_timeout=KEEPALIVE,
        )
        self._limits = limits
        #: The connections that wait for a request, the longest waiting first, and whether they had one before.
        self._idle: dict[web.RequestHandler, bool] = {}
        self._look_at = LOOK_AT
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listens, and returns the port: the system's choice where ``port`` is 0.

        Raises
        ------
        ListenError
            The address cannot be had.
        """
        try:
            sockets = listen(await addresses_of(host), host, port)
        except OSError as error:
            if isinstance(error, ListenError):
                raise
            raise ListenError(host, port, error.strerror or str(error)) from error
        port = sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        try:
            await self._runner.setup()
            for opened in sockets:
                # Made first and started then, unlike a site of aiohttp does: starting waits, and where that is
                # cancelled there would be a server that nobody knows and nobody can close.
                server = await loop.create_server(
                    self._accept, sock=opened, backlog=BACKLOG, start_serving=False
                )
                self._servers.append(server)
                await server.start_serving()
        except BaseException:
            await self.close()
            for opened in sockets:
                opened.close()
            raise
        return port

    def stop_listening(self) -> None:
        """Frees the port. Connections stay."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    async def close(self) -> None:
        """Frees the port and ends all connections."""
        self.stop_listening()
        self._idle.clear()
        await self._runner.cleanup()
        if self._tasks:
            # It cancels handlers and does not wait for them. They have connections to close, and a moment for it.
            await asyncio.wait(self._tasks, timeout=1.0)
        # Transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)

    def _accept(self) -> web.RequestHandler:
        # aiohttp limits neither the number of connections nor the time until the first request. Without a limit, a
        # stranger who says nothing could use up all files that the system lets the bot have.
        server = self._runner.server
        assert server is not None, "setup() makes it"
        connection = server()
        self._look_later(connection, False)
        self._wait(connection, False)
        return connection

    def _wait(self, connection: web.RequestHandler, had_one: bool) -> None:
        self._idle[connection] = had_one
        if len(self._idle) > min(self._look_at, self._limits.connections):
            # aiohttp tells nobody which of them are gone. A new one has no transport yet.
            self._idle = {one: had for one, had in self._idle.items() if not had or one.transport is not None}
            self._look_at = max(LOOK_AT, 2 * len(self._idle))
        if len(self._idle) > self._limits.connections:
            self._drop(next(iter(self._idle)))

    def _look_later(self, connection: web.RequestHandler, last: bool) -> None:
        # Twice, since a loop that stood still for long has not looked at what came in meanwhile.
        asyncio.get_running_loop().call_later(self._limits.handshake_timeout / 2, self._look, connection, last)

    def _look(self, connection: web.RequestHandler, last: bool) -> None:
        if self._idle.get(connection) is not False:
            return
        if last:
            self._drop(connection)
        else:
            self._look_later(connection, True)

    def _drop(self, connection: web.RequestHandler) -> None:
        del self._idle[connection]
        if connection.transport is not None:  # otherwise it is gone already
            connection.transport.abort()

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        connection = request.protocol
        self._idle.pop(connection, None)
        another = True
        try:
            response = await handler(request)
            another = not isinstance(response, web.WebSocketResponse)
            return response
        finally:
            if another:
                self._wait(connection, True)
