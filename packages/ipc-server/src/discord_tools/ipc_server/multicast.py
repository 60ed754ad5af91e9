"""Answers the multicast port: tells clients that have the key on which port the bot is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from discord_tools.ipc_server.access import Gate

__all__ = ("PortResolver",)

log = logging.getLogger(__name__)

#: A question has some hundred bytes.
QUESTION_BYTES = 16 * 1024


class _Headers(msgspec.Struct):
    authorization: Any = msgspec.field(default=None, name="Authorization")


class _Question(msgspec.Struct):
    connect: bool = False
    headers: _Headers | None = None


class PortResolver:
    """Answers questions for the port.

    Parameters
    ----------
    port: Callable[[], :class:`int`]
        Tells the port.
    seconds: :class:`float`
        How long a client may take to ask.
    """

    def __init__(self, gate: Gate, port: Callable[[], int], seconds: float) -> None:
        self._gate = gate
        self._port = port
        self._seconds = seconds

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one ``GET /``."""
        if self._gate.refuses_origin(request.headers):
            return web.Response(status=403, text="this origin may not connect")
        socket = web.WebSocketResponse(timeout=1.0, compress=False, max_msg_size=QUESTION_BYTES)
        if not socket.can_prepare(request).ok:
            return web.Response(status=426, text="connect with a WebSocket", headers={"Upgrade": "websocket"})
        try:
            await socket.prepare(request)
            while (message := await socket.receive(timeout=self._seconds)).type in (
                WSMsgType.TEXT,
                WSMsgType.BINARY,
            ):
                await socket.send_str(msgspec.json.encode(self._answer(message.data)).decode())
        except (TimeoutError, ConnectionError) as error:
            log.debug("A client of the multicast port has gone: %r", error)
            if not socket.prepared:
                return web.Response(status=400)  # goes nowhere, and aiohttp needs one
        await socket.close()
        return socket

    def _answer(self, data: bytes | str) -> dict[str, Any]:
        try:
            question = msgspec.json.decode(data, type=_Question)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            question = _Question()
        if not question.connect:
            return {"error": "This port only tells the port of the bot.", "code": 400}
        if not self._gate.accepts(None if question.headers is None else question.headers.authorization):
            log.warning("Refused to tell the port: wrong secret key")
            return {"error": "Invalid or no token provided.", "code": 403}
        return {"message": "Connection success", "port": self._port(), "code": 200}
