"""The main port: WebSockets without our own subprotocol."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from msgspec import Raw

from discord_tools.ipc.errors import InvalidRequest
from discord_tools.ipc.wire.dialects import BETTER, CONNECT, FAMILY, JSONRPC
from discord_tools.ipc.wire.frames import SUBPROTOCOL, ErrorObject
from discord_tools.ipc.wire.jsonrpc import refuse
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.dialects.websocket import DialectSocket

__all__ = (
    "MAX_UNAUTHENTICATED",
    "UNAUTHENTICATED_BYTES",
    "DialectListener",
    "hung_up",
    "open_socket",
    "upgrade_required",
)

log = logging.getLogger(__name__)

#: The largest message of a client that showed no key at the handshake. Older clients show it in each message, so this
#: also bounds their data.
UNAUTHENTICATED_BYTES: Final = 512 * 1024

#: How many sockets may be open that have shown no key yet. A healthy one shows it within milliseconds.
MAX_UNAUTHENTICATED: Final = 64

_NOT_UNDERSTOOD: Final = refuse(
    Raw(b"null"), ErrorObject(InvalidRequest.code, "no request that this server understands")
)


class DialectListener:
    """Lets clients in that do not offer our own subprotocol. Origins and connections were checked before."""

    def __init__(self, service: DialectService) -> None:
        self._service = service
        self._older = service.dialects & {FAMILY, BETTER}
        self._speaks = self._older | service.dialects & {JSONRPC}
        if FAMILY in service.dialects:
            self._speaks |= {CONNECT}

    def refusal(self, request: web.Request) -> HTTPStatus | None:
        """Returns the HTTP status that a handshake is refused with, or ``None`` to let it in."""
        refusal = self._service.gate.refusal(request.headers)
        if refusal is not HTTPStatus.UNAUTHORIZED:
            return refusal
        # Older clients show their key in each message. A header with a wrong one comes from nobody of them.
        return None if self._older and hdrs.AUTHORIZATION not in request.headers else refusal

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        if not self._speaks:
            return upgrade_required(f"connect with a WebSocket of the subprotocol {SUBPROTOCOL}")
        service = self._service
        known = service.gate.refusal(request.headers) is None
        # Such a header is shown by nobody who would take a ping for an answer.
        heartbeat = service.limits.heartbeat if known and hdrs.AUTHORIZATION in request.headers else None
        size = service.limits.message_bytes if known else UNAUTHENTICATED_BYTES
        socket = open_socket(service, request, size, heartbeat, known=known)
        if isinstance(socket, web.Response):
            return socket
        talk = DialectSocket(service, socket, speaks=self._speaks, known=known, otherwise=_NOT_UNDERSTOOD)
        try:
            await talk.run(request)
        except ConnectionError as error:
            return hung_up(socket, error)
        return socket


def open_socket(
    service: DialectService, request: web.Request, size: int, heartbeat: float | None, *, known: bool
) -> web.WebSocketResponse | web.Response:
    """Makes the socket for a handshake, or the response that refuses it."""
    if not known and service.strangers >= MAX_UNAUTHENTICATED:
        service.gate.tell("Refused a connection from %s: too many have shown no key yet", request.remote)
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="too many connections")
    if len(service.sockets) >= service.limits.connections:
        service.gate.tell("Refused a connection from %s: %d are open", request.remote, len(service.sockets))
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="too many connections")
    # aiohttp takes less than the size that it is given, not as much.
    socket = web.WebSocketResponse(timeout=1.0, heartbeat=heartbeat, compress=False, max_msg_size=size + 1)
    if not socket.can_prepare(request).ok:
        return upgrade_required(f"connect with a WebSocket, as ClientSession does with {SUBPROTOCOL}")
    return socket


def upgrade_required(text: str) -> web.Response:
    """Tells a client that this is no web page."""
    return web.Response(status=HTTPStatus.UPGRADE_REQUIRED, text=text, headers={hdrs.UPGRADE: "websocket"})


def hung_up(socket: web.WebSocketResponse, error: ConnectionError) -> web.StreamResponse:
    """Ends the request of a client that hung up during the handshake."""
    log.debug("A client hung up during the handshake: %s", error)
    # aiohttp raises when it is to end a WebSocket that never began. This response goes nowhere.
    return socket if socket.prepared else web.Response(status=HTTPStatus.BAD_REQUEST)
