"""The multicast port: tells clients that have the key the port of the bot.

For better-ipc it is a port like any other: its clients make all their calls there.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from discord_tools.ipc.logs import connection_id
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc.wire.dialects import BETTER, CONNECT
from discord_tools.ipc_server.dialects.listener import UNAUTHENTICATED_BYTES, open_socket
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.dialects.websocket import DialectSocket
from discord_tools.ipc_server.listeners.websocket import accept

__all__ = ("PortResolver",)

#: The largest port question. A usual one has some hundred bytes.
QUESTION_BYTES: Final = 16 * 1024

_OTHERWISE: Final = b'{"error":"This port only tells the port of the bot.","code":400}'


class PortResolver:
    """Answers port questions, and the calls of better-ipc."""

    def __init__(self, service: DialectService) -> None:
        self._service = service
        #: The dialects that are spoken here.
        self._speaks = frozenset({CONNECT}) | service.dialects & {BETTER}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        service, connection = self._service, connection_id()
        refusal = service.gate.origin_refusal(request.headers)
        if refusal is not None:
            return web.Response(status=refusal.status, text=refusal.text)
        size = UNAUTHENTICATED_BYTES if BETTER in self._speaks else QUESTION_BYTES
        socket = open_socket(service, request, connection, size, None)
        if isinstance(socket, web.Response):
            return socket

        async def serve(transport: Transport) -> None:
            # Nobody is authenticated here before the first call: clients that ask for the port have no reason to stay.
            await DialectSocket(
                service,
                transport,
                connection,
                request.remote,
                caller=None,
                speaks=self._speaks,
                otherwise=_OTHERWISE,
            ).run()

        return await accept(request, socket, serve, heartbeat=None, text=True)
