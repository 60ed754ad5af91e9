"""The main port: WebSockets without our subprotocol."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from aiohttp import web
from msgspec import Raw

from discord_tools.ipc.errors import InvalidRequest
from discord_tools.ipc.logs import connection_id
from discord_tools.ipc.transports.websocket import REPORT_BYTES, WebSocketTransport
from discord_tools.ipc.wire.dialects import BETTER, CONNECT, FAMILY, JSONRPC
from discord_tools.ipc.wire.frames import SUBPROTOCOL, ErrorObject
from discord_tools.ipc.wire.jsonrpc import refuse
from discord_tools.ipc_server.browsers import Refusal
from discord_tools.ipc_server.budget import REPORT_WITHOUT_KEY
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.connections import Unauthenticated
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.dialects.websocket import DialectSocket
from discord_tools.ipc_server.gate import shows_key
from discord_tools.ipc_server.listeners.websocket import (
    accept,
    offered_subprotocols,
    refuse_request,
    upgrade_required,
)

__all__ = ("UNAUTHENTICATED_BYTES", "DialectListener", "DialectPort")

#: The largest message of a client that showed no key at the handshake. Older clients show it in each message, so this
#: also bounds their data.
UNAUTHENTICATED_BYTES: Final = 512 * 1024

_NOT_UNDERSTOOD: Final = refuse(
    Raw(b"null"), ErrorObject(InvalidRequest.code, "no request that this server understands")
)


class DialectPort:
    """Accepts the WebSockets of dialects at one port.

    Parameters
    ----------
    speaks: frozenset[:class:`str`]
        The dialects that are spoken here.
    otherwise: :class:`bytes`
        The answer to a first message in none of them.
    subprotocols: Collection[:class:`str`]
        The subprotocols that their clients may offer.
    native: :class:`bool`
        Whether the port takes our own subprotocol, too.
    """

    def __init__(
        self,
        service: DialectService,
        speaks: frozenset[str],
        otherwise: bytes,
        *,
        subprotocols: Collection[str] = (),
        native: bool = False,
    ) -> None:
        self._service = service
        self.speaks: frozenset[str] = speaks
        self._otherwise = otherwise
        self._subprotocols = subprotocols
        self._native = native
        #: Sockets of this port that have not shown a key.
        self._unauthenticated = Unauthenticated()

    async def accept(
        self,
        request: web.Request,
        connection: str,
        caller: Caller | None,
        *,
        size: int,
        heartbeat: float | None,
    ) -> web.StreamResponse:
        """Completes a handshake and serves the socket until it ends.

        ``caller`` is given where the handshake showed the right key, and ``size`` is that of the largest message.
        """
        socket = self._open(request, size)
        if isinstance(socket, web.Response):
            return socket

        budget = self._service.budget

        async def serve(transport: WebSocketTransport) -> None:
            if caller is None:
                transport.report_bytes = REPORT_WITHOUT_KEY
                budget.without_key(transport, request.remote)

            def authenticated() -> None:
                transport.answer_pings = True
                transport.report_bytes = REPORT_BYTES
                budget.with_key(transport)

            try:
                await DialectSocket(
                    self._service,
                    transport,
                    connection,
                    request.remote,
                    caller=caller,
                    unauthenticated=self._unauthenticated,
                    authenticated=authenticated,
                    speaks=self.speaks,
                    otherwise=self._otherwise,
                ).run()
            finally:
                budget.with_key(transport)

        return await accept(
            request,
            socket,
            serve,
            budget=budget,
            heartbeat=heartbeat,
            answer_pings=caller is not None,
            text=True,
        )

    def _open(self, request: web.Request, size: int) -> web.WebSocketResponse | web.Response:
        """Makes the socket for a handshake, or the response that refuses it."""
        offered = offered_subprotocols(request)
        if offered and not set(offered).intersection(self._subprotocols):
            # Accepted without it, the client would close, and aiohttp would log the client's words.
            known = (SUBPROTOCOL, *self._subprotocols) if self._native else self._subprotocols
            text = "this port has no subprotocol"
            if known:
                text = f"the subprotocols of this port are {', '.join(known)}"
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=text)
        # aiohttp takes less than the size that it is given, not as much. The transport answers pings.
        socket = web.WebSocketResponse(
            timeout=1.0, autoping=False, compress=False, protocols=self._subprotocols, max_msg_size=size + 1
        )
        if not socket.can_prepare(request).ok:
            return upgrade_required(f"connect with a WebSocket, as ClientSession does with {SUBPROTOCOL}")
        return socket


class DialectListener:
    """Accepts clients that do not offer our subprotocol."""

    def __init__(self, service: DialectService) -> None:
        self._service = service
        #: The dialects of older libraries that are spoken.
        self._older = service.dialects & {FAMILY, BETTER}
        speaks = self._older | service.dialects & {JSONRPC}
        if FAMILY in service.dialects:
            speaks |= {CONNECT}
        subprotocols = (JSONRPC,) if JSONRPC in speaks else ()
        #: Accepts their sockets.
        self._port = DialectPort(service, speaks, _NOT_UNDERSTOOD, subprotocols=subprotocols, native=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        service, connection = self._service, connection_id()
        caller = service.gate.enter(request.headers, request.remote, JSONRPC, connection)
        showed = shows_key(request.headers)
        if isinstance(caller, Refusal):
            # Older clients show their key in each message. None of them sends a header with a wrong one.
            if caller.status is not HTTPStatus.UNAUTHORIZED or showed or not self._older:
                return await refuse_request(request, service.gate, caller, connection)
            caller = None
        if not self._port.speaks:
            return upgrade_required(f"connect with a WebSocket of the subprotocol {SUBPROTOCOL}")
        return await self._port.accept(
            request,
            connection,
            caller,
            size=UNAUTHENTICATED_BYTES if caller is None else service.limits.message_bytes,
            # Clients that take a ping for an answer do not send this header.
            heartbeat=service.limits.heartbeat if showed else None,
        )
