"""The multicast port: tells clients that have the key the port of the bot.

For better-ipc it is a port like any other: its clients make all their calls there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from discord_tools.ipc.logs import connection_id
from discord_tools.ipc.transports.websocket import WebSocketTransport
from discord_tools.ipc.wire.dialects import BETTER, CONNECT
from discord_tools.ipc_server.connections import Unauthenticated
from discord_tools.ipc_server.dialects.listener import UNAUTHENTICATED_BYTES, open_socket
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.dialects.websocket import DialectSocket
from discord_tools.ipc_server.gate import Refusal
from discord_tools.ipc_server.listeners.websocket import accept, refuse_request

__all__ = ("PortResolver",)

#: The largest port question. A usual one has some hundred bytes.
QUESTION_BYTES: Final = 16 * 1024

_OTHERWISE: Final = b'{"error":"This port only tells the port of the bot.","code":400}'


class PortResolver:
    """Answers port questions, and the calls of better-ipc."""

    def __init__(self, service: DialectService) -> None:
        self._service = service
        #: Sockets of this port that have not shown a key.
        self._unauthenticated = Unauthenticated()
        #: The dialects that are spoken here.
        self._speaks = frozenset({CONNECT}) | service.dialects & {BETTER}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        service, connection = self._service, connection_id()
        caller = service.gate.enter(request.headers, request.remote, CONNECT, connection)
        if isinstance(caller, Refusal):
            # Older clients show their key in the question only, so that is judged there.
            if caller.status is not HTTPStatus.UNAUTHORIZED or hdrs.AUTHORIZATION in request.headers:
                return await refuse_request(request, service.gate, caller, connection)
            caller = None
        elif hdrs.AUTHORIZATION not in request.headers:
            caller = None  # without a key, clients have no reason to stay after their question
        size = UNAUTHENTICATED_BYTES if BETTER in self._speaks else QUESTION_BYTES
        socket = open_socket(request, size, native=False)
        if isinstance(socket, web.Response):
            return socket

        async def serve(transport: WebSocketTransport) -> None:
            def authenticated() -> None:
                transport.answer_pings = True

            await DialectSocket(
                service,
                transport,
                connection,
                request.remote,
                caller=caller,
                unauthenticated=self._unauthenticated,
                authenticated=authenticated,
                speaks=self._speaks,
                otherwise=_OTHERWISE,
            ).run()

        return await accept(
            request, socket, serve, heartbeat=None, answer_pings=caller is not None, text=True
        )
