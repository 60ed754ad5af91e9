"""The main port: WebSockets of our own protocol; others are handed on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import hdrs, web

from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc.transports.websocket import WebSocketTransport
from discord_tools.ipc.wire.frames import SUBPROTOCOL
from discord_tools.ipc_server.dialects.listener import DialectListener, hung_up, upgrade_required
from discord_tools.ipc_server.gate import Gate

__all__ = ("WebSocketListener",)


class WebSocketListener:
    """Lets clients in, or not.

    Parameters
    ----------
    serve: Callable[[Transport], Awaitable[None]]
        Talks to one client until the end.
    plain: :class:`DialectListener`
        Takes those that do not offer our subprotocol.
    """

    def __init__(
        self,
        gate: Gate,
        limits: ServerLimits,
        serve: Callable[[Transport], Awaitable[None]],
        plain: DialectListener,
    ) -> None:
        self._gate = gate
        self._limits = limits
        self._serve = serve
        self._plain = plain
        self._connections = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        ours = SUBPROTOCOL in _offered(request)
        refusal = self._gate.refusal(request.headers) if ours else self._plain.refusal(request)
        if refusal is not None:
            self._gate.tell(
                "Refused a connection from %s with HTTP %d %s", request.remote, refusal, refusal.phrase
            )
            return web.Response(status=refusal, text=_REFUSALS[refusal])
        if self._connections >= self._limits.connections:
            self._gate.tell("Refused a connection from %s: %d are open", request.remote, self._connections)
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="too many connections")
        self._connections += 1
        try:
            return await (self._handle_ours(request) if ours else self._plain.handle(request))
        finally:
            self._connections -= 1

    async def _handle_ours(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            timeout=1.0,
            protocols=(SUBPROTOCOL,),
            autoping=False,  # the transport does that
            compress=False,
            max_msg_size=self._limits.message_bytes + 1,  # aiohttp takes less than that, not as much
        )
        if not socket.can_prepare(request).ok:
            return upgrade_required(f"connect with a WebSocket of the subprotocol {SUBPROTOCOL}")
        try:
            await socket.prepare(request)
            wire = request.transport
            abort = None if wire is None else wire.abort
            await self._serve(WebSocketTransport(socket, abort, wire=wire, heartbeat=self._limits.heartbeat))
        except ConnectionError as error:
            return hung_up(socket, error)
        return socket


def _offered(request: web.Request) -> list[str]:
    lines = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])
    return [one.strip() for line in lines for one in line.split(",")]


_REFUSALS = {
    HTTPStatus.UNAUTHORIZED: "wrong secret key",
    HTTPStatus.FORBIDDEN: "this origin may not connect",
}
