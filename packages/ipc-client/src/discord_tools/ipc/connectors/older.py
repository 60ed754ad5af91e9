"""Bridges a session to a bot that still runs a server of discord-ext-ipc or discord-ext-ipcx.

Towards the session it is a server of our protocol, in memory. Towards the bot it is a client of theirs: such a server
answers one request at a time on a socket, with a bare value and nothing that tells which request it belongs to. One of
them closes the socket after each answer, the other keeps it. Their clients take a ping for an answer, so none is sent.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import aiohttp
import msgspec
from msgspec import UNSET, Raw

from discord_tools.ipc.address import Address
from discord_tools.ipc.connection import Connection
from discord_tools.ipc.errors import NotReady, RemoteError, Unauthorized
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.logs import LabelledLogger
from discord_tools.ipc.settings import without_key
from discord_tools.ipc.transports.base import GOING_AWAY, NORMAL, Closed, Transport
from discord_tools.ipc.transports.memory import memory_pair
from discord_tools.ipc.transports.websocket import drop_file, release, tcp_of, track, untrack
from discord_tools.ipc.wire.codec import UNREADABLE, encode
from discord_tools.ipc.wire.codes import CONNECTION_LOST, PARSE_ERROR
from discord_tools.ipc.wire.dialects import KeyRefused, ask, hear
from discord_tools.ipc.wire.frames import ErrorObject, Id, NotRun
from discord_tools.ipc.wire.handshake import Grants, Welcome, decode_hello, encode_welcome
from discord_tools.ipc.wire.peer import Peer
from discord_tools.ipc.wire.received import CallReceived, CancelReceived, PeerEvent

__all__ = ("OlderBridge",)

log = logging.getLogger(__name__)

#: Maximum number of requests in progress, each on a socket of its own: these servers have no bound themselves.
SOCKETS: Final = 16

#: Seconds after which a server that has not closed a socket after an answer is taken for one that keeps it.
PROBATION: Final = 1.0

AGENT: Final = "a server of an older library"

_NOT_RUN: Final = ErrorObject(NotReady.code, "the bot is gone", Raw(encode(NotRun(ran=False))))
_CANCELLED: Final = ErrorObject(-32006, "the caller cancelled")
_LOST: Final = ErrorObject(CONNECTION_LOST, "the connection ended before the answer")

Dial = Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]]


class _Unreachable(Exception):
    """No socket can be opened, so the request was not sent."""


class _Socket:
    """One socket with at most one request on it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        #: The TCP connection below it.
        self._tcp = tcp_of(socket)
        #: The request that waits for its answer.
        self._waiting: asyncio.Future[bytes | str] | None = None
        #: Whether either side has closed it.
        self._ended = False
        # Without a reader, the next request would be the first to notice the end of the socket.
        self._reader = asyncio.create_task(self._read(), name="ipc older reader")
        track(self)

    @property
    def alive(self) -> bool:
        """:class:`bool`: Whether it can take a request."""
        return not self._ended

    async def ask(self, question: bytes) -> bytes | str:
        """Sends a question and waits for the answer. Raises :exc:`Closed`."""
        self._waiting = waiting = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send_str(question.decode())
            return await waiting
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            raise Closed(str(error) or "the connection is closed") from error
        finally:
            self._waiting = None

    async def close(self) -> None:
        """Closes it, even if this is cancelled."""
        self._ended = True
        self._reader.cancel()
        try:
            await asyncio.wait((self._reader,))
            with suppress(aiohttp.ClientError, ConnectionError, RuntimeError):
                await self._socket.close()
        finally:
            untrack(self)
            release(self._socket)

    def drop(self) -> None:
        """Ends it without its event loop, which is closed or another process's."""
        self._ended = True
        drop_file(self._tcp)

    async def _read(self) -> None:
        reason = "the server closed the connection"
        try:
            while True:
                message = await self._socket.receive()
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    break
                if self._waiting is None or self._waiting.done():
                    # It would pass for the answer to the next request.
                    reason = "the server sent an answer that nobody asked for"
                    break
                self._waiting.set_result(message.data)
        except (aiohttp.ClientError, ConnectionError, RuntimeError, TypeError) as error:
            reason = str(error) or reason
        finally:
            self._ended = True
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_exception(Closed(reason))


class OlderBridge:
    """A connection to an older server, until that cannot be reached any more.

    Parameters
    ----------
    dial: Callable[[], Awaitable[:class:`aiohttp.ClientWebSocketResponse`]]
        Opens a socket without subprotocol. Raises :exc:`OSError` or :exc:`aiohttp.ClientError`.
    address: :class:`Address`
        Where the server is, for errors and the log.
    refused: Callable[[Unauthorized], None]
        Called when the server refuses the key, just before the connection is closed.
    """

    def __init__(
        self,
        dial: Dial,
        address: Address,
        secret_key: str | None,
        limits: ClientLimits,
        refused: Callable[[Unauthorized], None],
    ) -> None:
        self._dial = dial
        self._address = address
        self._secret_key = secret_key
        self._limits = limits
        self._refused = refused
        #: Precedes every line with the address.
        self._log = LabelledLogger(log, address.label)
        #: The calls of the session and their answers.
        self._peer: Peer[Any] = Peer(calls=sys.maxsize, message_bytes=sys.maxsize, retained_bytes=0)
        #: Requests in progress, by the id of their call.
        self._tasks: dict[Id, asyncio.Task[None]] = {}
        #: Bounds the number of sockets.
        self._sockets_left = asyncio.Semaphore(SOCKETS)
        #: All open sockets.
        self._sockets: set[_Socket] = set()
        #: Open sockets without a request, of a server that keeps them.
        self._idle: list[_Socket] = []
        #: Whether the server keeps sockets; ``None`` while that is not known.
        self._keeps: bool | None = None
        #: Fires when it is known.
        self._probation: asyncio.TimerHandle | None = None
        #: The connection with the session, once it has begun.
        self._connection: Connection | None = None
        #: Closes that connection, after the server was lost.
        self._closing: asyncio.Task[None] | None = None

    def drop(self) -> None:
        """Ends all sockets without their event loop, which is closed or another process's."""
        for socket in self._sockets:
            socket.drop()

    def open(self) -> Transport:
        """Starts serving the session, and returns the transport to it."""
        ours, theirs = memory_pair()
        return _BridgedTransport(ours, asyncio.create_task(self._serve(theirs), name="ipc older server"))

    async def _serve(self, transport: Transport) -> None:
        self._log.info(
            "The bot runs a server of discord-ext-ipc or discord-ext-ipcx. Requests work; streams and events need "
            "discord_tools.ipc there, too"
        )
        try:
            number, _ = decode_hello(await transport.receive())
            grants = Grants(SOCKETS, self._limits.message_bytes)
            welcome = Welcome(
                server=AGENT, heartbeat=self._limits.heartbeat, limits=grants, ready=True, streams=False
            )
            await transport.send(encode_welcome(number, welcome))
            self._connection = Connection(
                self._peer, transport, self._handle, self._address.label, backlog_bytes=sys.maxsize
            )
            self._peer.outbox.wake = self._connection.wake
            await self._connection.run()
        except Closed:
            pass  # the session is gone
        finally:
            await self._end()
            await transport.close()

    async def _end(self) -> None:
        if self._probation is not None:
            self._probation.cancel()
        others = [*self._tasks.values(), *(() if self._closing is None else (self._closing,))]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        for socket in tuple(self._sockets):
            await self._drop(socket)

    def _handle(self, event: PeerEvent) -> None:
        if isinstance(event, CallReceived):
            task = asyncio.create_task(self._call(event), name="ipc older request")
            self._tasks[event.id] = task
            task.add_done_callback(lambda _: self._tasks.pop(event.id, None))
        elif isinstance(event, CancelReceived) and (task := self._tasks.get(event.id)) is not None:
            task.cancel()  # the route goes on: these servers know no way to cancel it

    async def _call(self, call: CallReceived) -> None:
        endpoint, number = call.method, call.id
        question = ask(endpoint, b"{}" if call.params is UNSET else bytes(call.params), self._secret_key)
        error = _CANCELLED
        try:
            async with self._sockets_left:
                reply = hear(endpoint, await self._exchange(question))
            msgspec.json.decode(reply, type=Raw)
        except RemoteError as raised:
            error = ErrorObject(raised.code, without_key(raised.message, self._secret_key))
        except Closed:
            error = _LOST
        except UNREADABLE as unreadable:
            error = ErrorObject(PARSE_ERROR, f"the answer is not JSON: {unreadable}")
        except KeyRefused:
            error = _NOT_RUN  # here; the next attempt to connect raises what is wrong
            self._refused(Unauthorized(*self._address.facts))
            self._leave("the server does not accept the secret key")
        except _Unreachable as unreachable:
            error = _NOT_RUN
            self._leave(str(unreachable))
        else:
            self._peer.reply(number, bytes(reply))
            return
        finally:
            # Ignored after an answer.
            self._peer.fail(number, error)

    def _leave(self, reason: str) -> None:
        """Ends the connection with the session, which connects again."""
        if self._closing is None and self._connection is not None:
            self._closing = asyncio.create_task(self._connection.close(GOING_AWAY, reason))

    async def _exchange(self, question: bytes) -> bytes | str:
        socket = await self._socket()
        try:
            reply = await socket.ask(question)
        except BaseException:
            # Its answer may still come, and would pass for that of the next request.
            await self._drop(socket)
            raise
        await self._put_back(socket)
        return reply

    async def _socket(self) -> _Socket:
        while self._idle:
            socket = self._idle.pop()
            if socket.alive:
                return socket
            await self._drop(socket)
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                opened = await self._dial()
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError: the given session was closed.
            raise _Unreachable(str(error) or type(error).__name__) from error
        socket = _Socket(opened)
        self._sockets.add(socket)
        return socket

    async def _put_back(self, socket: _Socket) -> None:
        if self._keeps is None and self._probation is None and socket.alive:
            self._probation = asyncio.get_running_loop().call_later(PROBATION, self._judge, socket)
        elif self._keeps and socket.alive:
            self._idle.append(socket)
        else:
            await self._drop(socket)

    def _judge(self, socket: _Socket) -> None:
        self._keeps = socket.alive
        if socket.alive:
            self._idle.append(socket)

    async def _drop(self, socket: _Socket) -> None:
        if socket in self._sockets:
            self._sockets.discard(socket)
            await socket.close()


class _BridgedTransport:
    """The session's end of the memory pair. Closing it also closes the sockets behind the bridge."""

    def __init__(self, transport: Transport, server: asyncio.Task[None]) -> None:
        #: Serves the other end, until that is closed.
        self._server = server
        #: Sends to the bridge.
        self.send = transport.send
        #: Receives from the bridge.
        self.receive = transport.receive
        #: Closes the session's end.
        self._close = transport.close

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        await self._close(code, reason)
        await asyncio.wait((self._server,))
