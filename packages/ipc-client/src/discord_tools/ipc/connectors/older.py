"""Calls to a bot that still runs a server of discord-ext-ipc or discord-ext-ipcx.

Such a server answers one request at a time on a socket, with a bare value and nothing that tells which request it
belongs to. One of them closes the socket after each answer, the other keeps it. A ping is none of their habits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import aiohttp
from msgspec import Raw

from discord_tools.ipc.connectors.websocket import release
from discord_tools.ipc.errors import ConnectionLost, RequestTimeout, TooLarge, Unauthorized
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.wire.dialects import KeyRefused, ask, hear

__all__ = ("LegacyConnection", "Stale")

log = logging.getLogger(__name__)

#: How many requests may be in progress, each on a socket of its own: these servers have no bound themselves.
SOCKETS: Final = 16

#: A server that has not closed a socket so many seconds after an answer is one that keeps it.
PROBATION: Final = 1.0


class Stale(Exception):
    """The server cannot be reached any more. Nothing was sent, so another connection can take the call."""


class _Socket:
    """One socket with at most one request on it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: asyncio.Future[bytes | str] | None = None
        self._ended = False
        # Without somebody who reads, the end of the socket would be noticed by the next request only.
        self._reader = asyncio.create_task(self._read(), name="ipc legacy reader")

    @property
    def alive(self) -> bool:
        """:class:`bool`: Whether the other side has not closed it."""
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
        self._ended = True
        self._reader.cancel()
        try:
            await asyncio.wait((self._reader,))
            with suppress(aiohttp.ClientError, ConnectionError, RuntimeError):
                await self._socket.close()
        finally:
            release(self._socket)  # also where closing is cancelled

    async def _read(self) -> None:
        reason = "the server closed the connection"
        try:
            while True:
                message = await self._socket.receive()
                if (
                    message.type is not aiohttp.WSMsgType.TEXT
                    and message.type is not aiohttp.WSMsgType.BINARY
                ):
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


class LegacyConnection:
    """Stands where a :class:`Conversation` stands, and speaks as a client of those libraries.

    Parameters
    ----------
    dial: Callable[[], Awaitable[:class:`aiohttp.ClientWebSocketResponse`]]
        Opens a socket without subprotocol and heartbeat. Raises :exc:`OSError` or :exc:`aiohttp.ClientError`.
    host: :class:`str`
        Where the server is, for errors.
    port: :class:`int`
        Where the server is, for errors.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]],
        host: str,
        port: int,
        secret_key: str | None,
        limits: ClientLimits,
    ) -> None:
        self._dial = dial
        self._host = host
        self._port = port
        self._secret_key = secret_key
        self._limits = limits
        self._leaving = asyncio.Event()
        self._gone = "the session is closed"
        self._turns = asyncio.Semaphore(SOCKETS)
        self._idle: list[_Socket] = []
        self._all: set[_Socket] = set()
        self._keeps: bool | None = None
        self._probation: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """:class:`bool`: Whether calls may be made on it."""
        return not self._leaving.is_set()

    async def run(self) -> Closed:
        """Waits for the end: there is nothing to carry between requests."""
        log.info(
            "The bot at %s:%s runs a server of discord-ext-ipc or discord-ext-ipcx. Requests work, one at a time on a "
            "socket; all else needs discord_tools.ipc there, too",
            self._host,
            self._port,
        )
        try:
            await self._leaving.wait()
        finally:
            self._leaving.set()
            if self._probation is not None:
                self._probation.cancel()
            for socket in tuple(self._all):
                await self._drop(socket)
        return Closed(self._gone)

    async def call(
        self, endpoint: str, params: Raw, timeout: float | None, *, began: float | None = None
    ) -> Raw:
        """Asks and waits for the answer. Cancelling it does not cancel the route: these servers know no way.

        The timeout counts from ``began``, a time of the loop's clock, and else from now.

        Raises
        ------
        Stale
            The server cannot be reached any more. Nothing was sent.
        RequestTimeout
            No answer in time.
        ConnectionLost
            The connection ended before the answer.
        Unauthorized
            The server does not accept the key.
        RemoteError
            The server answered with an error.
        """
        question = ask(endpoint, params, self._secret_key)
        if len(question) > self._limits.message_bytes:
            raise TooLarge(f"the call has {len(question)} bytes, {self._limits.message_bytes} are the most")
        end = None
        if timeout is not None:
            end = timeout + (asyncio.get_running_loop().time() if began is None else began)
        try:
            async with asyncio.timeout_at(end), self._turns:
                reply = await self._exchange(endpoint, question)
        except TimeoutError as error:
            raise RequestTimeout(endpoint, timeout or 0.0) from error
        try:
            return hear(endpoint, reply)
        except KeyRefused:
            raise Unauthorized(self._host, self._port) from None

    async def close(self, reason: str) -> None:
        """Closes all sockets. Calls in progress raise :exc:`ConnectionLost`."""
        self._gone = reason
        self._leaving.set()
        for socket in tuple(self._all):
            await self._drop(socket)

    async def _exchange(self, endpoint: str, question: bytes) -> bytes | str:
        socket = await self._socket()
        try:
            reply = await socket.ask(question)
        except Closed as closed:
            await self._drop(socket)
            raise ConnectionLost(endpoint) from closed
        except BaseException:
            # Its answer may still come, and would be taken for that of the next request.
            await self._drop(socket)
            raise
        await self._put_back(socket)
        return reply

    async def _socket(self) -> _Socket:
        if self._leaving.is_set():
            raise Stale
        while self._idle:
            socket = self._idle.pop()
            if socket.alive:
                return socket
            await self._drop(socket)
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                opened = await self._dial()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._gone = str(error) or type(error).__name__
            self._leaving.set()
            raise Stale from error
        socket = _Socket(opened)
        self._all.add(socket)
        return socket

    async def _put_back(self, socket: _Socket) -> None:
        if self._keeps is None and self._probation is None and socket.alive:
            loop = asyncio.get_running_loop()
            self._probation = loop.call_later(PROBATION, self._judge, socket)
        elif self._keeps and socket.alive and not self._leaving.is_set():
            self._idle.append(socket)
        else:
            await self._drop(socket)

    def _judge(self, socket: _Socket) -> None:
        self._keeps = socket.alive
        if socket.alive and not self._leaving.is_set():
            self._idle.append(socket)

    async def _drop(self, socket: _Socket) -> None:
        if socket in self._all:
            self._all.discard(socket)
            await socket.close()
