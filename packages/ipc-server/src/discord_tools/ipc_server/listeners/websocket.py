"""The main port: WebSockets of our own subprotocol. Other requests are passed on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web

from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.logs import connection_id
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc.transports.websocket import WebSocketTransport
from discord_tools.ipc.wire.frames import MISSING_HEADERS, SUBPROTOCOL
from discord_tools.ipc_server.browsers import Refusal
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.caller import NATIVE, Caller
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.listeners.http import Handler

__all__ = ("WebSocketListener", "accept", "offered_subprotocols", "refuse_request", "upgrade_required")

log = logging.getLogger(__name__)


class WebSocketListener:
    """Accepts native clients that show the right key.

    Parameters
    ----------
    budget: :class:`MemoryBudget`
        Bounds the memory that is held for all clients.
    serve: Callable[[Transport, Caller], Awaitable[None]]
        Serves one connection until it ends.
    others: Callable[[:class:`aiohttp.web.Request`], Awaitable[:class:`aiohttp.web.StreamResponse`]]
        Handles requests that do not offer our subprotocol.
    """

    def __init__(
        self,
        gate: Gate,
        limits: ServerLimits,
        budget: MemoryBudget,
        serve: Callable[[Transport, Caller], Awaitable[None]],
        others: Handler,
    ) -> None:
        self._gate = gate
        self._limits = limits
        self._budget = budget
        self._serve = serve
        self._others = others

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        if SUBPROTOCOL not in offered_subprotocols(request):
            return await self._others(request)
        connection = connection_id()
        caller = self._gate.enter(request.headers, request.remote, NATIVE, connection)
        if isinstance(caller, Refusal):
            return await refuse_request(request, self._gate, caller, connection)
        socket = web.WebSocketResponse(
            timeout=1.0,
            protocols=(SUBPROTOCOL,),
            autoping=False,  # the transport answers pings
            compress=False,
            max_msg_size=self._limits.message_bytes + 1,  # aiohttp takes less than that, not as much
        )
        missing = _missing_headers(request)
        if missing:
            self._gate.incidents.warning(
                "upgrade",
                "A reverse proxy does not pass the handshake of a WebSocket on: %s is missing. See the guide about "
                "reverse proxies",
                ", ".join(missing),
                label=caller.label,
            )
            return upgrade_required("a reverse proxy does not pass the handshake on", missing)
        if not socket.can_prepare(request).ok:
            return upgrade_required(f"connect with a WebSocket of the subprotocol {SUBPROTOCOL}")

        async def serve(transport: WebSocketTransport) -> None:
            await self._serve(transport, caller)

        return await accept(request, socket, serve, budget=self._budget, heartbeat=self._limits.heartbeat)


async def refuse_request(
    request: web.Request,
    gate: Gate,
    refusal: Refusal,
    connection: str,
    response: web.Response | None = None,
) -> web.Response:
    """Refuses a request. A wrong key is answered later, and then no longer, where many came from its address."""
    address = str(request.remote)
    gate.incidents.warning(address, "Refused with HTTP %d", refusal.status, label=f"{connection} {address}")
    if response is None:
        response = web.Response(status=refusal.status, text=refusal.text)
    if refusal.status is HTTPStatus.UNAUTHORIZED and not await gate.brake.failed(request.remote):
        response = web.Response(status=HTTPStatus.TOO_MANY_REQUESTS, text="too many wrong keys")
        response.force_close()
    return response


async def accept(
    request: web.Request,
    socket: web.WebSocketResponse,
    serve: Callable[[WebSocketTransport], Awaitable[None]],
    *,
    budget: MemoryBudget,
    heartbeat: float | None,
    answer_pings: bool = True,
    text: bool = False,
) -> web.StreamResponse:
    """Completes the handshake of a WebSocket and serves it until it ends."""
    try:
        await socket.prepare(request)
    except ConnectionError as error:
        log.debug("A client closed during the handshake: %s", error)
        # aiohttp raises when it is to end a WebSocket that never began. This response goes nowhere.
        return socket if socket.prepared else web.Response(status=HTTPStatus.BAD_REQUEST)
    tcp = request.transport
    abort = None if tcp is None else tcp.abort
    transport = WebSocketTransport(
        socket,
        abort,
        tcp=tcp,
        heartbeat=heartbeat,
        answer_pings=answer_pings,
        text=text,
        receiving=budget.receives,
    )
    await serve(transport)
    return socket


def upgrade_required(text: str, missing: Sequence[str] = ()) -> web.Response:
    """Tells a client that this is not a web page, and which lines of its handshake did not arrive."""
    headers: dict[str, str] = {hdrs.UPGRADE: "websocket"}
    if missing:
        headers[MISSING_HEADERS] = ", ".join(missing)
    return web.Response(status=HTTPStatus.UPGRADE_REQUIRED, text=text, headers=headers)


def _missing_headers(request: web.Request) -> list[str]:
    """The lines that are missing in the handshake of a WebSocket. Those for one hop only are dropped by proxies that do
    not know WebSockets, while the others arrive.
    """
    if hdrs.SEC_WEBSOCKET_KEY not in request.headers:
        return []  # it was no handshake
    missing = ["HTTP/1.1"] if request.version < HttpVersion11 else []
    if request.headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        missing.append("Upgrade")
    if "upgrade" not in request.headers.get(hdrs.CONNECTION, "").lower():
        missing.append("Connection")
    return missing


def offered_subprotocols(request: web.Request) -> list[str]:
    """The subprotocols that a client offers at the handshake."""
    lines = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])
    return [one.strip() for line in lines for one in line.split(",")]
