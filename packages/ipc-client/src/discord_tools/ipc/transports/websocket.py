"""Messages over a WebSocket of aiohttp, on either side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from aiohttp import ClientConnectionError, ClientWebSocketResponse, WSMsgType
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
        Ends the connection at once, and throws away what could not be sent. Without it, the system keeps one whose
        other side does not read for a quarter of an hour.
    wire: Optional[:class:`asyncio.BaseTransport`]
        What is below the socket, for the heartbeat to hear that something comes in.
    heartbeat: Optional[:class:`float`]
        After so many seconds of silence at the latest the other side is pinged, and after half as many more the
        connection is given up. ``None`` for no heartbeat. The socket must be one that leaves pings to its user:
        aiohttp's own heartbeat costs more for each message than sending it.
    close_seconds: :class:`float`
        How long :meth:`close` may take. aiohttp's own limit counts anew with each message that still comes in.
    """

    def __init__(
        self,
        socket: ClientWebSocketResponse | WebSocketResponse,
        abort: Callable[[], None] | None = None,
        *,
        wire: asyncio.BaseTransport | None = None,
        heartbeat: float | None = None,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self._socket = socket
        self._abort = abort
        self._close_seconds = close_seconds
        self._closing = False
        self._broken = False
        self._loop = asyncio.get_running_loop()
        self._beat: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None
        #: Whether something came since the last look.
        self.heard: bool = False
        self._listening = False
        self._silent = False
        self._dead = False
        if wire is not None and heartbeat is not None:
            wire.set_protocol(_Ear(wire.get_protocol(), self))
            self._next_beat(heartbeat)

    async def send(self, message: bytes) -> None:
        try:
            await self._socket.send_bytes(message)
        except asyncio.CancelledError:
            if self._closing and not _is_cancelled():
                raise Closed("the connection was given up") from None
            raise
        except (ConnectionError, ClientConnectionError, RuntimeError) as error:
            # RuntimeError: uvloop raises it for a closed transport.
            self._broken = not self._closing
            raise Closed(str(error) or "the connection is closed") from error

    async def receive(self) -> bytes | str:
        self._listening = True
        try:
            while True:
                message = await self._socket.receive()
                if message.type is WSMsgType.BINARY or message.type is WSMsgType.TEXT:
                    return message.data
                if message.type is WSMsgType.PING:
                    await self._socket.pong(message.data)
                elif message.type is not WSMsgType.PONG:
                    break
        except (ConnectionError, ClientConnectionError, RuntimeError) as error:
            # Answering a PING fails on a closing connection. RuntimeError: aiohttp's server, when asked too often.
            self._stop_beating()
            raise Closed(str(error) or "the connection is closed") from error
        finally:
            self._listening = False
        self._stop_beating()
        if self._dead:
            raise Closed("it gives no sign of life")
        if message.type is WSMsgType.ERROR:
            raise Closed(f"broken WebSocket: {message.data or self._socket.exception()}")
        if message.type is WSMsgType.CLOSED and (self._broken or not self._closing):
            # The end without a close frame, as of a process that was killed. aiohttp gives it the code 1000.
            raise Closed("the connection broke")
        code = self._socket.close_code
        said = f" ({message.extra})" if message.type is WSMsgType.CLOSE and message.extra else ""
        raise Closed(f"closed with code {code}{said}", code=code)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._closing:
            return
        self._closing = True
        self._stop_beating()
        try:
            async with asyncio.timeout(self._close_seconds):
                # RFC 6455, 5.5.1: a reason has at most 123 bytes, and they are UTF-8.
                said = reason.encode()[:123].decode(errors="ignore").encode()
                await self._socket.close(code=code, message=said)
        except (ConnectionError, ClientConnectionError, RuntimeError, TimeoutError):
            pass  # it is closed already, or will be now
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
        finally:
            if self._abort is not None:
                self._abort()

    def _next_beat(self, heartbeat: float) -> None:
        self._beat = self._loop.call_later(heartbeat / 2, self._look, heartbeat)

    def _look(self, heartbeat: float) -> None:
        """Looks twice in the time of a heartbeat whether anything came. That costs next to nothing for each message.

        A loop that stood still meanwhile does no harm: it reads what has come in before the next look.
        """
        if self.heard or not self._listening:
            self.heard = self._silent = False
        elif not self._silent:
            self._silent = True
            self._ping = self._loop.create_task(self._send_ping(), name="ipc ping")
        else:
            self._dead = True
            if self._abort is not None:
                self._abort()
            return
        self._next_beat(heartbeat)

    async def _send_ping(self) -> None:
        # The reader meets the same end and says why.
        with contextlib.suppress(ConnectionError, ClientConnectionError, RuntimeError):
            await self._socket.ping()

    def _stop_beating(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        if self._ping is not None:
            self._ping.cancel()


class _Ear(asyncio.Protocol):
    """Hears that data comes in, and hands everything on to the protocol of aiohttp.

    A large message on a slow line is a sign of life long before it is whole, and a pong could only come after it.
    """

    def __init__(self, protocol: Any, transport: WebSocketTransport) -> None:
        self._protocol = protocol
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.heard = True
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def _is_cancelled() -> bool:
    """Whether it is this task that is cancelled. All who send and close wait for one future of aiohttp, and whichever
    of them is cancelled first cancels that for the others.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
