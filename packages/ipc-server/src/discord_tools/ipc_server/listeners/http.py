"""One port with an HTTP server of aiohttp on it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from aiohttp import hdrs, web

from discord_tools.ipc.errors import ListenError
from discord_tools.ipc.logs import Incidents, connection_id
from discord_tools.ipc_server.connections import Connections
from discord_tools.ipc_server.listeners.proxies import UNIX, Proxies
from discord_tools.ipc_server.listeners.sockets import BACKLOG, addresses_of, listen, listen_unix, remove_unix
from discord_tools.ipc_server.listeners.tls import TLS, HandshakeTLS

__all__ = ("HTTPListener",)

#: Seconds that a connection may wait for its next request.
KEEPALIVE: Final = 60.0

#: Maximum number of connections that are accepted in one turn of the event loop.
ACCEPTED_PER_TURN: Final = 16

#: Not every platform has them.
_AF_UNIX: Final = getattr(socket, "AF_UNIX", None)

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


class HTTPListener:
    """Listens on a port, and perhaps on Unix sockets, and passes every ``GET`` of its path to a handler.

    Parameters
    ----------
    handler: Callable[[:class:`aiohttp.web.Request`], Awaitable[:class:`aiohttp.web.StreamResponse`]]
        Answers each request.
    more: Iterable[:class:`aiohttp.web.RouteDef`]
        Other requests that are answered on this port, below the path.
    paths: Sequence[:class:`str`]
        The paths. They begin and end with ``/``, and are answered without the one at the end, too.
    tls: Optional[:class:`ssl.SSLContext`]
        The certificate of the port. Unix sockets are without TLS, since they do not leave the machine.
    proxies: Optional[:class:`Proxies`]
        Those that tell the addresses of clients.
    connections: :class:`Connections`
        Counts and bounds the connections of all ports.
    incidents: :class:`Incidents`
        Logs connections that are refused.
    """

    def __init__(
        self,
        handler: Handler,
        more: Iterable[web.RouteDef] = (),
        *,
        paths: Sequence[str] = ("/",),
        tls: ssl.SSLContext | None = None,
        proxies: Proxies | None = None,
        connections: Connections,
        incidents: Incidents | None = None,
    ) -> None:
        app = web.Application(middlewares=[self._count])
        for path in paths:
            app.router.add_routes(_below(path, [web.get("/", handler), *more]))
        # Conversations are ended by the server before this; what is still running has had its time.
        # A body that was refused is read on for a moment only, which its sender needs to see the refusal.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_QuietLogger(log, {}),  # pyright: ignore[reportArgumentType] (it has the methods that are used)
            auto_decompress=False,
            handle_signals=False,
            shutdown_timeout=1.0,
            lingering_time=0.5,
            keepalive_timeout=KEEPALIVE,
        )
        self._connections = connections
        self._proxies = proxies
        #: The TLS of the port, if it has any.
        self._tls = None if tls is None else TLS(tls, connections.handshakes)
        #: Unix sockets, with the inodes of their files.
        self._files: list[tuple[str, int]] = []
        #: Logs connections that are refused.
        self._incidents = Incidents(log) if incidents is None else incidents
        #: Listening sockets, while the port is open.
        self._servers: list[asyncio.Server] = []
        #: Tasks that handle requests.
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
        await self._serve(sockets, self._accept if self._tls is None else self._accept_tls)
        return port

    async def start_unix(self, path: str, mode: int) -> None:
        """Listens on a Unix socket, too.

        Raises
        ------
        ListenError
            The path cannot be had.
        """
        opened, inode = listen_unix(path, mode)
        self._files.append((path, inode))
        await self._serve([opened], self._accept)

    async def _serve(self, sockets: list[socket.socket], accept: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._runner.server is None:
                await self._runner.setup()
            for opened in sockets:
                create = loop.create_server if opened.family != _AF_UNIX else loop.create_unix_server
                # Created first and started afterwards, unlike in a site of aiohttp: starting waits, and where that is
                # cancelled there would be a server that nobody refers to and nobody can close.
                server = await create(accept, sock=opened, backlog=ACCEPTED_PER_TURN, start_serving=False)
                self._servers.append(server)
                await server.start_serving()
                # asyncio uses one number for both.
                opened.listen(BACKLOG)
        except BaseException:
            await self.close()
            for opened in sockets:
                opened.close()
            raise

    def stop_listening(self) -> None:
        """Frees the port. Connections stay."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        files, self._files = self._files, []
        for path, inode in files:
            remove_unix(path, inode)

    async def close(self) -> None:
        """Frees the port and ends all connections."""
        self.stop_listening()
        if self._tls is not None:
            await self._tls.close()
        await self._runner.cleanup()
        if self._tasks:
            # It cancels handlers and does not wait for them. They have a moment to close their connections.
            await asyncio.wait(self._tasks, timeout=1.0)
        # Transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)

    def _accept(self) -> web.RequestHandler:
        server = self._runner.server
        assert server is not None, "setup() makes it"
        connection = server()
        self._connections.accepted(connection)
        return connection

    def _accept_tls(self) -> asyncio.Protocol:
        assert self._tls is not None, "it is used with TLS only"
        return HandshakeTLS(self._tls, self._accept)

    def _identified(self, request: web.Request) -> web.Request:
        """The request with the address of its client, where that is not the address of the connection."""
        peer = request.remote or UNIX
        if self._proxies is not None:
            peer = self._proxies.client(peer, request.headers.getall("X-Forwarded-For", ()))
        return request if peer == request.remote else request.clone(remote=peer)

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        connection = request.protocol
        if self._proxies is not None or not request.remote:
            request = self._identified(request)
        kept = True
        try:
            if not self._connections.begin(connection):
                kept = False
                text = "Refused with HTTP %d: ServerLimits.connections allows no more connections"
                address, status = str(request.remote), HTTPStatus.SERVICE_UNAVAILABLE
                self._incidents.warning(address, text, status, label=f"{connection_id()} {address}")
                response = web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="too many connections")
                response.force_close()
                return response
            refusal = _refuse_body(request)
            response = await handler(request) if refusal is None else refusal
            kept = not isinstance(response, web.WebSocketResponse)
            return response
        finally:
            self._connections.end(connection, kept=kept)


def _below(path: str, routes: list[web.RouteDef]) -> list[web.RouteDef]:
    """Moves routes below a path."""
    moved = [web.RouteDef(one.method, path[:-1] + one.path, one.handler, one.kwargs) for one in routes]
    if path != "/":
        # Other clients may leave out the slash at the end, and a redirect would lose a handshake.
        moved += [
            web.RouteDef(one.method, path[:-1], one.handler, one.kwargs) for one in routes if one.path == "/"
        ]
    return moved


def _refuse_body(request: web.Request) -> web.Response | None:
    """Refuses a body that no handler reads, or that is compressed: it may inflate to a thousand times its size."""
    if request.method == "GET" and request.body_exists:
        response = web.Response(status=HTTPStatus.BAD_REQUEST, text="a GET request must not have a body")
    elif hdrs.CONTENT_ENCODING in request.headers:
        response = web.Response(status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text="send the body uncompressed")
    else:
        return None
    response.force_close()
    return response


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs at most one line a minute of each kind of error that clients cause in aiohttp's HTTP parser.

    aiohttp logs each malformed request with its traceback, which would let any client fill the bot's log.
    """

    def __init__(self, logger: logging.Logger, extra: dict[str, object]) -> None:
        super().__init__(logger, extra)
        #: Logs the first of each kind.
        self._incidents = Incidents(logger)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level < logging.WARNING:
            self.logger.log(
                level, msg, *args, **kwargs
            )  # debug lines, which are off unless somebody wants them
            return
        error = sys.exc_info()[1] if kwargs.get("exc_info") is True else kwargs.get("exc_info")
        name = type(error).__name__ if isinstance(error, BaseException) else "no exception"
        self._incidents.warning("http", f"A request could not be handled: {name}")
