"""Messages over a WebSocket of aiohttp, on either side."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import ClientConnectionError, ClientWebSocketResponse, WSMessageTypeError, WSMsgType
from aiohttp.web import WebSocketResponse

from discord_tools.ipc.transports.base import Closed

__all__ = ("WebSocketTransport",)


class WebSocketTransport:
    """One WebSocket.

    Messages go out as binary frames, which spares the receiver a check that they are UTF-8.
    """

    def __init__(self, socket: ClientWebSocketResponse | WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, message: bytes) -> None:
        try:
            await self._socket.send_bytes(message)
        except (ConnectionError, ClientConnectionError, RuntimeError) as error:
            # aiohttp raises RuntimeError for a server's socket that was closed before it was prepared.
            raise Closed(str(error) or "the connection is closed") from error

    async def receive(self) -> bytes | str:
        try:
            message = await self._socket.receive()
        except (ConnectionError, ClientConnectionError, RuntimeError, WSMessageTypeError) as error:
            raise Closed(str(error) or "the connection is closed") from error
        if message.type is WSMsgType.BINARY or message.type is WSMsgType.TEXT:
            return message.data
        if message.type is WSMsgType.ERROR:
            raise Closed(f"broken WebSocket: {message.data or self._socket.exception()}")
        code = self._socket.close_code
        said = f" ({message.extra})" if message.type is WSMsgType.CLOSE and message.extra else ""
        raise Closed(f"closed with code {code}{said}", code=code)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        # An error says that it is closed already, which is what was asked for.
        with suppress(ConnectionError, ClientConnectionError, RuntimeError):
            # RFC 6455, 5.5.1: a reason has at most 123 bytes.
            await self._socket.close(code=code, message=reason.encode()[:123])
