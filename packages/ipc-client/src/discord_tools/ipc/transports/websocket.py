"""Messages over a WebSocket of aiohttp, on either side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import ClientConnectionError, ClientWebSocketResponse, WSCloseCode, WSMsgType
from aiohttp.web import WebSocketResponse

from discord_tools.ipc.transports.base import Closed

__all__ = ("WebSocketTransport",)


#: Longer than aiohttp waits for the other side's close frame. It does not limit the wait for a socket that is full.
CLOSE_SECONDS: Final = 2.0


class WebSocketTransport:
    """One WebSocket.

    Messages go out as binary frames, which spares the receiver a check that they are UTF-8.

    Parameters
    ----------
    socket: Union[:class:`aiohttp.ClientWebSocketResponse`, :class:`aiohttp.web.WebSocketResponse`]
        The socket.
    abort: Optional[Callable[[], None]]
        Throws away what could not be sent by the time of :meth:`close`. Without it, the system keeps a connection
        whose other side does not read for a quarter of an hour.
    close_seconds: :class:`float`
        How long :meth:`close` may take. aiohttp's own limit counts anew with each message that still comes in.
    """

    def __init__(
        self,
        socket: ClientWebSocketResponse | WebSocketResponse,
        abort: Callable[[], None] | None = None,
        *,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self._socket = socket
        self._abort = abort
        self._close_seconds = close_seconds
        self._closing = False
        self._broken = False

    async def send(self, message: bytes) -> None:
        try:
            await self._socket.send_bytes(message)
        except asyncio.CancelledError:
            # Senders and close() wait for the same future of aiohttp, and close() cancels it when its time is over.
            task = asyncio.current_task()
            if self._closing and task is not None and not task.cancelling():
                raise Closed("the connection was given up") from None
            raise
        except (ConnectionError, ClientConnectionError, RuntimeError) as error:
            # RuntimeError: uvloop raises it for a closed transport.
            self._broken = not self._closing
            raise Closed(str(error) or "the connection is closed") from error

    async def receive(self) -> bytes | str:
        try:
            message = await self._socket.receive()
        except (ConnectionError, ClientConnectionError, RuntimeError) as error:
            # Answering a PING fails on a closing connection. RuntimeError: aiohttp's server, when asked too often.
            raise Closed(str(error) or "the connection is closed") from error
        if message.type is WSMsgType.BINARY or message.type is WSMsgType.TEXT:
            return message.data
        if message.type is WSMsgType.ERROR:
            raise Closed(f"broken WebSocket: {message.data or self._socket.exception()}")
        if message.type is WSMsgType.CLOSED and (self._broken or not self._closing):
            # The end without a close frame, as of a process that was killed. aiohttp gives it the code 1000.
            raise Closed("the connection broke")
        code = self._socket.close_code
        clean = code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY)
        said = f" ({message.extra})" if message.type is WSMsgType.CLOSE and message.extra else ""
        raise Closed(f"closed with code {code}{said}", clean=clean)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._closing:
            return
        self._closing = True
        try:
            async with asyncio.timeout(self._close_seconds):
                # RFC 6455, 5.5.1: a reason has at most 123 bytes, and they are UTF-8.
                said = reason.encode()[:123].decode(errors="ignore").encode()
                await self._socket.close(code=code, message=said)
        except (ConnectionError, ClientConnectionError, RuntimeError, TimeoutError):
            pass  # it is closed already, or will be now
        finally:
            if self._abort is not None:
                self._abort()
