"""The main port: WebSockets of our own protocol."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import hdrs, web

from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc.transports.websocket import WebSocketTransport
from discord_tools.ipc.wire.frames import SUBPROTOCOL
from discord_tools.ipc_server.access import Gate

__all__ = ("WebSocketListener",)

log = logging.getLogger(__name__)


class WebSocketListener:
    """Lets clients in, or not.

    Parameters
    ----------
    serve: Callable[[Transport], Awaitable[None]]
        Talks to one client until the end.
    """

    def __init__(
        self, gate: Gate, limits: ServerLimits, serve: Callable[[Transport], Awaitable[None]]
    ) -> None:
        self._gate = gate
        self._limits = limits
        self._serve = serve
        self._connections = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        refusal = self._gate.refusal(request.headers)
        if refusal is not None:
            log.warning(
                "Refused a connection from %s with HTTP %d %s", request.remote, refusal, refusal.phrase
            )
            return web.Response(status=refusal, text=_REFUSALS[refusal])
        if self._connections >= self._limits.connections:
            log.warning("Refused a connection from %s: %d are open", request.remote, self._connections)
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="too many connections")
        socket = web.WebSocketResponse(
            timeout=1.0,
            protocols=(SUBPROTOCOL,),
            heartbeat=self._limits.heartbeat,
            compress=False,
            max_msg_size=self._limits.message_bytes + 1,  # aiohttp takes less than that, not as much
        )
        ready = socket.can_prepare(request)
        if not ready.ok or ready.protocol != SUBPROTOCOL:
            text = f"connect with a WebSocket of the subprotocol {SUBPROTOCOL}"
            return web.Response(
                status=HTTPStatus.UPGRADE_REQUIRED, text=text, headers={hdrs.UPGRADE: "websocket"}
            )
        self._connections += 1
        try:
            await socket.prepare(request)
            transport = request.transport
            await self._serve(WebSocketTransport(socket, None if transport is None else transport.abort))
        except ConnectionError as error:
            log.debug("A client hung up during the handshake: %s", error)
            # aiohttp raises when it is to end a WebSocket that never began. This response goes nowhere.
            return socket if socket.prepared else web.Response(status=HTTPStatus.BAD_REQUEST)
        finally:
            self._connections -= 1
        return socket


_REFUSALS = {
    HTTPStatus.UNAUTHORIZED: "wrong secret key",
    HTTPStatus.FORBIDDEN: "this origin may not connect",
}
