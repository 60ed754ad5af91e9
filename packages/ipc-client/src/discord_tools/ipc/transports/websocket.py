"""Messages over a WebSocket of aiohttp, on either side."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

from aiohttp import ClientConnectionError, ClientWebSocketResponse, WSMsgType
from aiohttp.web import WebSocketResponse

from discord_tools.ipc.transports.base import NORMAL, POLICY, PROTOCOL_ERROR, Closed

__all__ = (
    "REPORT_BYTES",
    "OpenSocket",
    "WebSocketTransport",
    "drop_file",
    "release",
    "tcp_of",
    "track",
    "untrack",
)

#: Longer than aiohttp waits for the other side's close frame. It does not limit the wait for a socket that is full.
CLOSE_TIMEOUT: Final = 2.0

#: Maximum number of pings and pongs within a second, after which the connection is closed. A healthy client sends one
#: per heartbeat; answering them without a bound would leave the event loop no turn.
MAX_CONTROL_FRAMES: Final = 32

#: Number of bytes that wait to be written above which a connection is closed without a close frame: the other side does
#: not read.
UNREAD_BYTES: Final = 256 * 1024

#: Bytes of an unfinished message after which it is reported, each time. Servers use less before a key was shown.
REPORT_BYTES: Final = 256 * 1024

#: Codes with which a connection is closed for what the other side did.
_FAULTS: Final = (POLICY, PROTOCOL_ERROR)

#: What aiohttp raises where a connection is closed. RuntimeError: uvloop for a closed transport, and aiohttp's server
#: when it is asked too often.
_ENDED: Final = (ConnectionError, ClientConnectionError, RuntimeError)


class WebSocketTransport:
    """One WebSocket. TCP loses nothing, and where it breaks, aiohttp ends the socket.

    Parameters
    ----------
    socket: Union[:class:`aiohttp.ClientWebSocketResponse`, :class:`aiohttp.web.WebSocketResponse`]
        The socket. It must leave pings to its user: aiohttp's own heartbeat costs more per message than sending it.
    abort: Optional[Callable[[], None]]
        Ends the connection at once, and drops what could not be sent. Without it, the system keeps a connection whose
        other side does not read for a quarter of an hour.
    tcp: Optional[:class:`asyncio.BaseTransport`]
        The TCP connection below the socket, for the heartbeat to notice incoming data.
    heartbeat: Optional[:class:`float`]
        Maximum silence before the other side is pinged, in seconds; after half as long again the connection is closed.
        ``None`` sends no pings.
    close_timeout: :class:`float`
        Maximum duration of :meth:`close`, in seconds. aiohttp's own limit starts again with each message that arrives.
    answer_pings: :class:`bool`
        Whether pings are answered. A client that has not shown a key must not make this side work.
    receiving: Optional[Callable[[WebSocketTransport, :class:`int`], None]]
        Called when a message that is not complete has grown, with the number of bytes.
    text: :class:`bool`
        Whether messages go out as text frames, which clients without our subprotocol expect. Binary frames save the
        receiver a check that they are UTF-8.
    """

    def __init__(
        self,
        socket: ClientWebSocketResponse | WebSocketResponse,
        abort: Callable[[], None] | None = None,
        *,
        tcp: asyncio.BaseTransport | None = None,
        heartbeat: float | None = None,
        close_timeout: float = CLOSE_TIMEOUT,
        answer_pings: bool = True,
        text: bool = False,
        receiving: Callable[[WebSocketTransport, int], None] | None = None,
    ) -> None:
        self._socket = socket
        self._abort = abort
        self._close_timeout = close_timeout
        self._text = text
        #: Whether pings are answered.
        self.answer_pings: bool = answer_pings
        #: Number of pings and pongs since :attr:`_control_since`.
        self._control_frames = 0
        #: When the present second of pings and pongs began, by the loop's clock.
        self._control_since = 0.0
        #: The event loop of the socket.
        self._loop = asyncio.get_running_loop()
        #: Whether :meth:`close` was called.
        self._closing = False
        #: Whether the connection is closed once everything is written.
        self._flushing = False
        #: Whether sending failed before this side closed.
        self._broken = False
        #: Timer of the next check by the heartbeat.
        self._beat: asyncio.TimerHandle | None = None
        #: Sends a ping. Kept, since a task that nobody refers to may be collected.
        self._ping: asyncio.Task[None] | None = None
        #: Whether data was received since the last check.
        self.heard: bool = False
        #: Called when a message that is not complete has grown.
        self._on_receiving = receiving
        #: Bytes of such a message after which it is reported, each time.
        self.report_bytes: int = REPORT_BYTES
        #: Bytes that were received since the last whole message.
        self.unfinished_bytes: int = 0
        #: How many of them were reported.
        self._reported = 0
        #: When the first of them were reported, by the loop's clock.
        self.receiving_since: float = 0.0
        #: Closes the connection because of a message that is not complete.
        self._eviction: asyncio.Task[None] | None = None
        #: Whether :meth:`receive` is waiting. Nothing can be heard while nobody reads.
        self._receiving = False
        #: Whether the last check found silence, so that a ping was sent.
        self._silent = False
        #: Whether the heartbeat closed the connection.
        self._timed_out = False
        #: The TCP connection below the socket.
        self._tcp = tcp
        track(self)
        if tcp is not None and (heartbeat is not None or receiving is not None):
            tcp.set_protocol(_Monitor(tcp.get_protocol(), self))
        if tcp is not None and heartbeat is not None:
            self._schedule_check(heartbeat)

    async def send(self, message: bytes) -> None:
        try:
            if self._text:
                await self._socket.send_frame(message, WSMsgType.TEXT)
            else:
                await self._socket.send_bytes(message)
        except asyncio.CancelledError:
            if self._closing and not _is_cancelled():
                raise Closed("the connection was closed") from None
            raise
        except _ENDED as error:
            self._broken = not self._closing
            raise Closed(str(error) or "the connection is closed") from error

    async def receive(self) -> bytes | str:
        self._receiving = True
        try:
            while True:
                message = await self._socket.receive()
                if message.type is WSMsgType.BINARY or message.type is WSMsgType.TEXT:
                    self.unfinished_bytes = self._reported = 0
                    return message.data
                if message.type is not WSMsgType.PING and message.type is not WSMsgType.PONG:
                    break
                if self._has_too_many_control_frames():
                    self._stop_heartbeat()
                    if self._abort is not None:
                        self._abort()
                    raise Closed(f"more than {MAX_CONTROL_FRAMES} pings and pongs in a second")
                if message.type is WSMsgType.PING and self.answer_pings:
                    await self._socket.pong(message.data)
        except _ENDED as error:
            # Answering a ping fails on a closing connection.
            self._stop_heartbeat()
            raise Closed(str(error) or "the connection is closed") from error
        finally:
            self._receiving = False
        self._stop_heartbeat()
        if self._timed_out:
            raise Closed("no answer to the heartbeat")
        if message.type is WSMsgType.ERROR:
            raise Closed(f"broken WebSocket: {message.data or self._socket.exception()}")
        if message.type is WSMsgType.CLOSED and (self._broken or not self._closing):
            # An end without a close frame, as of a process that was killed. aiohttp gives it the code 1000.
            raise Closed("the connection broke")
        code = self._socket.close_code
        reason = f" ({message.extra})" if message.type is WSMsgType.CLOSE and message.extra else ""
        raise Closed(f"closed with code {code}{reason}", code=code)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        if self._closing:
            return
        self._closing = True
        self._on_receiving = None
        self.unfinished_bytes = 0
        self._stop_heartbeat()
        try:
            async with asyncio.timeout(self._close_timeout):
                # RFC 6455, 5.5.1: a reason has at most 123 bytes, and they are UTF-8.
                message = reason.encode()[:123].decode(errors="ignore").encode()
                if code in _FAULTS and self._tcp is not None:
                    await self._close_at_once(self._tcp, code, message)
                    return
                await self._socket.close(code=code, message=message)
        except (*_ENDED, TimeoutError):
            pass  # it is closed already, or is aborted now
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
        finally:
            untrack(self)
            if self._abort is not None and not self._flushing:
                self._abort()

    async def _close_at_once(self, tcp: asyncio.BaseTransport, code: int, message: bytes) -> None:
        """Closes without waiting for the other side's close frame: aiohttp would read all that comes before it, without
        a turn for the loop. What was sent is still written, for as long as a close may take.
        """
        if isinstance(tcp, asyncio.WriteTransport) and tcp.get_write_buffer_size() > UNREAD_BYTES:
            return
        await self._socket.send_frame(code.to_bytes(2, "big") + message, WSMsgType.CLOSE)
        tcp.close()
        if self._abort is not None:
            self._flushing = True
            self._loop.call_later(self._close_timeout, self._abort)

    def heard_data(self, size: int) -> None:
        """Takes note that bytes were received."""
        self.heard = True
        self.unfinished_bytes += size
        if self.unfinished_bytes - self._reported > self.report_bytes and self._on_receiving is not None:
            if not self._reported:
                self.receiving_since = self._loop.time()
            grown = self.unfinished_bytes - self._reported
            self._reported = self.unfinished_bytes
            self._on_receiving(self, grown)

    def evict(self, reason: str) -> None:
        """Closes the connection, and drops the message that is not complete."""
        self.unfinished_bytes = 0
        self._eviction = self._loop.create_task(self.close(POLICY, reason), name="ipc eviction")

    def drop(self) -> None:
        """Ends the connection without its event loop, which is closed or another process's; see :func:`drop_file`."""
        drop_file(self._tcp)

    def _has_too_many_control_frames(self) -> bool:
        now = self._loop.time()
        if now - self._control_since > 1.0:
            self._control_since, self._control_frames = now, 0
        self._control_frames += 1
        return self._control_frames > MAX_CONTROL_FRAMES

    def _schedule_check(self, heartbeat: float) -> None:
        self._beat = self._loop.call_later(heartbeat / 2, self._check, heartbeat)

    def _check(self, heartbeat: float) -> None:
        """Checks for silence, twice per heartbeat, which costs next to nothing for each message.

        A loop that was blocked meanwhile does no harm: it reads what has arrived before the next check.
        """
        if self.heard or not self._receiving:
            self.heard = self._silent = False
        elif not self._silent:
            self._silent = True
            self._ping = self._loop.create_task(self._send_ping(), name="ipc ping")
        else:
            self._timed_out = True
            if self._abort is not None:
                self._abort()
            return
        self._schedule_check(heartbeat)

    async def _send_ping(self) -> None:
        # The reader meets the same end and says why.
        with contextlib.suppress(*_ENDED):
            await self._socket.ping()

    def _stop_heartbeat(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        if self._ping is not None:
            self._ping.cancel()


class _Monitor(asyncio.Protocol):
    """Counts incoming data, and passes everything on to aiohttp's protocol.

    A large message on a slow line shows that the other side is alive long before it is whole, and a pong could only
    come after it.
    """

    def __init__(self, protocol: Any, transport: WebSocketTransport) -> None:
        self._protocol = protocol
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.heard_data(len(data))
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
    """Whether it is this task that is cancelled. All that send and close wait for one future of aiohttp, and the first
    of them that is cancelled cancels it for the others.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class OpenSocket(Protocol):
    """A connection that a forked process must not share with its parent.

    Implemented by :class:`WebSocketTransport`, and by :class:`~discord_tools.ipc.connectors.older.OlderBridge` and its
    sockets.
    """

    def drop(self) -> None:
        """Ends the connection without its event loop; see :func:`drop_file`."""
        ...


def drop_file(tcp: asyncio.BaseTransport | None) -> None:
    """Ends a TCP connection for this process, without its event loop and without writing to it.

    The file is replaced, not closed: the selector of the loop, which a child process shares, is not changed.
    """
    socket = None if tcp is None else tcp.get_extra_info("socket")
    if socket is not None and socket.fileno() >= 0:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, socket.fileno())
        os.close(null)


def track(socket: OpenSocket) -> None:
    """Has an open connection dropped in processes that are forked."""
    _open.add(socket)


def untrack(socket: OpenSocket) -> None:
    """Takes note that a connection is closed."""
    _open.discard(socket)


def _drop_inherited() -> None:
    """Drops the connections of the parent in a process that was forked.

    Otherwise both would read and answer on them, and the other side would not notice the end of the parent.
    """
    _inherited.extend(_open)
    for socket in _inherited:
        socket.drop()


#: Open connections of this process.
_open: weakref.WeakSet[OpenSocket] = weakref.WeakSet()
#: Connections of the parent. Kept, since collecting them would touch its event loop.
_inherited: list[OpenSocket] = []

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_drop_inherited)


def release(socket: ClientWebSocketResponse) -> None:
    """Ends a connection at once and takes it out of the pool of its session.

    Closing would wait for what is still to be sent, indefinitely where the other side no longer reads. And aiohttp does
    not take a connection that was reset out of the pool until the garbage collector finds it: after a hundred such
    cuts, the pool has no connections left. There is no public way.
    """
    tcp: Any = tcp_of(socket)
    if tcp is not None:
        tcp.abort()
    response: Any = getattr(socket, "_response", None)
    if response is not None:
        response.close()


def tcp_of(socket: ClientWebSocketResponse) -> asyncio.BaseTransport | None:
    """The TCP connection below a socket, while it is open."""
    response: Any = getattr(socket, "_response", None)
    connection = None if response is None else response.connection
    return None if connection is None else connection.transport
