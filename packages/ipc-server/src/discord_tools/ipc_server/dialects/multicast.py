"""Answers the multicast port: tells clients that have the key on which port the bot is.

For better-ipc it is a port like any other: its clients make all their calls there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from discord_tools.ipc.wire.dialects import BETTER, CONNECT
from discord_tools.ipc_server.dialects.listener import UNAUTHENTICATED_BYTES, hung_up, open_socket
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.dialects.websocket import DialectSocket

__all__ = ("PortResolver",)

#: A question has some hundred bytes.
QUESTION_BYTES: Final = 16 * 1024

_OTHERWISE: Final = b'{"error":"This port only tells the port of the bot.","code":400}'


class PortResolver:
    """Answers questions for the port, and the calls of better-ipc."""

    def __init__(self, service: DialectService) -> None:
        self._service = service
        self._speaks = frozenset({CONNECT}) | service.dialects & {BETTER}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        service = self._service
        if service.gate.refuses_origin(request.headers):
            return web.Response(status=HTTPStatus.FORBIDDEN, text="this origin may not connect")
        size = UNAUTHENTICATED_BYTES if BETTER in self._speaks else QUESTION_BYTES
        socket = open_socket(service, request, size, None, known=False)
        if isinstance(socket, web.Response):
            return socket
        # Nobody is known here before the first call: who only asks for the port has no reason to stay.
        talk = DialectSocket(service, socket, speaks=self._speaks, known=False, otherwise=_OTHERWISE)
        try:
            await talk.run(request)
        except ConnectionError as error:
            return hung_up(socket, error)
        return socket
