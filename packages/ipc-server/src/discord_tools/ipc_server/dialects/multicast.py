"""The multicast port: tells clients that have the key the port of the bot.

For better-ipc it is a port like any other: its clients make all their calls there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from discord_tools.ipc.logs import connection_id
from discord_tools.ipc.wire.dialects import BETTER, CONNECT
from discord_tools.ipc_server.browsers import Refusal
from discord_tools.ipc_server.dialects.listener import UNAUTHENTICATED_BYTES, DialectPort
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.listeners.websocket import refuse_request

__all__ = ("PortResolver",)

#: The largest port question. A usual one has some hundred bytes.
QUESTION_BYTES: Final = 16 * 1024

_OTHERWISE: Final = b'{"error":"This port only tells the port of the bot.","code":400}'


class PortResolver:
    """Answers port questions, and the calls of better-ipc."""

    def __init__(self, service: DialectService) -> None:
        self._service = service
        speaks = frozenset({CONNECT}) | service.dialects & {BETTER}
        #: Accepts the sockets.
        self._port = DialectPort(service, speaks, _OTHERWISE)
        #: The largest message.
        self._size = UNAUTHENTICATED_BYTES if BETTER in speaks else QUESTION_BYTES

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
        return await self._port.accept(request, connection, caller, size=self._size, heartbeat=None)
