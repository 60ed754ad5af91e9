"""One WebSocket without our own subprotocol: the first message tells who speaks, and a key comes before all else."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from aiohttp import ClientConnectionError, WSMessageTypeError, WSMsgType
from aiohttp.web import Request, WebSocketResponse
from msgspec import Raw

from discord_tools.ipc.errors import Cancelled, ErrorCodes, UnknownEndpoint
from discord_tools.ipc.wire.dialects import (
    CONNECT,
    JSONRPC,
    LegacyDialect,
    legacy,
    port_answer,
    port_refusal,
    question_key,
    recognise,
)
from discord_tools.ipc.wire.frames import ErrorObject
from discord_tools.ipc.wire.jsonrpc import refuse
from discord_tools.ipc_server.dialects.calls import ByteBudget, Caller, DialectCall
from discord_tools.ipc_server.dialects.service import DialectService, Exchange

__all__ = ("DialectSocket",)

log = logging.getLogger(__name__)

#: RFC 6455, 7.4.1: the other side breaks a rule of this side.
POLICY: Final = 1008

#: After so many wrong keys a socket is closed: each costs a line in the log and an answer.
MAX_WRONG_KEYS: Final = 8

#: After so many messages the loop gets a turn, also when more lie ready.
MESSAGES_PER_TURN: Final = 32

SECONDS_TO_LEAVE: Final = 1.0


class _Slot:
    """The place of one answer among those of a socket."""

    __slots__ = ("answer",)

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer: bytes | None = answer


class DialectSocket:
    """Talks to one client until the end.

    Older clients get their answers in the order of their questions, and never anything that they did not ask for:
    they take whatever comes for the answer. Answers to JSON-RPC requests go out as they are ready.

    Parameters
    ----------
    speaks: frozenset[:class:`str`]
        The dialects that are understood here.
    known: :class:`bool`
        Whether the key was right at the handshake already. JSON-RPC has no other place for it.
    otherwise: :class:`bytes`
        The answer to a first message in none of them.
    """

    def __init__(
        self,
        service: DialectService,
        socket: WebSocketResponse,
        *,
        speaks: frozenset[str],
        known: bool,
        otherwise: bytes,
    ) -> None:
        self._service = service
        self._socket = socket
        self._speaks = speaks
        self._known = known
        self._otherwise = otherwise
        self._who: str | None = None
        self._abort: Callable[[], None] | None = None
        self._counted = False
        self._wrong = 0
        self._take: Callable[[bytes | str], None] = self._take_first
        self._caller: Caller | None = None
        self._dialect: LegacyDialect | None = None
        self._calls: set[DialectCall] = set()
        self._exchanges: set[Exchange] = set()
        self._slots: deque[_Slot] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._patience: asyncio.Timeout | None = None
        self._hang_up: str | None = None
        self._leaving = False
        self._writer: asyncio.Task[None] | None = None

    async def run(self, request: Request) -> None:
        """Shakes hands and talks until one of both has gone. Raises :exc:`ConnectionError` for a broken handshake."""
        await self._socket.prepare(request)
        self._who = request.remote
        self._abort = None if request.transport is None else request.transport.abort
        service = self._service
        service.sockets.add(self)
        self._counted = not self._known
        service.strangers += self._counted
        self._writer = writer = asyncio.create_task(self._write(), name="ipc plain writer")
        try:
            if service.draining:
                self._hang_up = "the bot is shutting down"
            async with asyncio.timeout(None if self._known else service.limits.handshake_timeout) as self._patience:
                await self._read()
        except TimeoutError:
            self._hang_up = "no request with the right key in time"
            log.info("%s sent no request with the right key in time", self._who)
        finally:
            self._free_seat()
            service.sockets.discard(self)
            for call in tuple(self._calls):
                call.abort(Cancelled("the connection is gone"))
            for exchange in tuple(self._exchanges):
                exchange.abort(Cancelled("the connection is gone"))
            if self._hang_up is not None:
                await self.leave(POLICY, self._hang_up)
            writer.cancel()
            await asyncio.wait((writer,))

    async def leave(self, code: int, reason: str) -> None:
        """Sends the answers that are ready, and closes."""
        self._leaving = True
        self._wake.set()
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=SECONDS_TO_LEAVE)
        try:
            async with asyncio.timeout(SECONDS_TO_LEAVE):
                await self._socket.close(code=code, message=reason.encode())
        except (ConnectionError, ClientConnectionError, RuntimeError, TimeoutError):
            pass  # it is closed already, or will be now
        finally:
            # Otherwise the system keeps what a client that does not read has not taken, for a quarter of an hour.
            if self._abort is not None:
                self._abort()

    # -- in

    async def _read(self) -> None:
        turn = 0
        while self._hang_up is None:
            try:
                message = await self._socket.receive()
            except (ConnectionError, ClientConnectionError, RuntimeError, WSMessageTypeError) as error:
                log.debug("%s has gone: %r", self._who, error)
                return
            if message.type is not WSMsgType.TEXT and message.type is not WSMsgType.BINARY:
                return
            self._take(message.data)
            if self._waiting_bytes > self._service.limits.backlog_bytes and not await self._caught_up():
                self._hang_up = "the answers are not read"
                log.info("%s does not read its answers and is given up", self._who)
            turn += 1
            if turn % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _caught_up(self) -> bool:
        """Waits until the client has read its answers, as long as for one that gives no sign of life."""
        limits = self._service.limits
        try:
            async with asyncio.timeout(1.5 * limits.heartbeat):
                while self._waiting_bytes > limits.backlog_bytes:
                    self._flushed.clear()
                    await self._flushed.wait()
        except TimeoutError:
            return False
        return True

    def _welcome(self) -> None:
        """The client has shown the key, so it is a stranger no more and may stay."""
        if not self._known:
            self._known = True
            self._free_seat()
            if self._patience is not None:
                self._patience.reschedule(None)

    def _free_seat(self) -> None:
        self._service.strangers -= self._counted
        self._counted = False

    def _take_first(self, message: bytes | str) -> None:
        spoken = recognise(message)
        if spoken == CONNECT and spoken in self._speaks:
            self._answer_question(message)
            return
        if spoken is None and self._known and JSONRPC in self._speaks:
            spoken = JSONRPC  # which has an answer for what cannot be read, too
        if spoken is None or spoken not in self._speaks:
            self._say(self._otherwise)
            self._count_against(None)
        elif spoken == JSONRPC:
            self._take_first_jsonrpc(message)
        else:
            self._dialect = legacy(spoken, message)
            self._caller = self._service.shared_caller(self._dialect.name)
            self._take = self._take_legacy
            self._take_legacy(message)

    def _take_first_jsonrpc(self, message: bytes | str) -> None:
        if not self._known:
            text = "show the secret key in the Authorization header of the handshake"
            self._say(refuse(Raw(b"null"), ErrorObject(ErrorCodes.UNAUTHORIZED, text)))
            self._service.gate.tell("Refused %s: JSON-RPC without a secret key", self._who)
            self._hang_up = "unauthorized"
            return
        self._caller = self._service.caller()
        self._take = self._take_jsonrpc
        self._take_jsonrpc(message)

    def _take_jsonrpc(self, message: bytes | str) -> None:
        caller = self._caller
        assert caller is not None
        exchange: Exchange | None = None

        def done(answer: bytes | None) -> None:
            if exchange is not None:
                self._exchanges.discard(exchange)
            if answer is not None:
                self._say(answer)

        exchange = Exchange(self._service, caller, message, done)
        if exchange.open:
            self._exchanges.add(exchange)

    def _take_legacy(self, message: bytes | str) -> None:
        dialect, caller = self._dialect, self._caller
        assert dialect is not None
        assert caller is not None
        asked = dialect.read(message)
        if not self._service.gate.accepts(asked.key):
            self._say(dialect.unauthorized())
            self._count_against(dialect.label)
            return
        self._welcome()
        self._service.greet(dialect)
        if asked.endpoint is None:
            self._say(dialect.error(UnknownEndpoint("the request names no endpoint")))
            return
        slot = _Slot()
        self._slots.append(slot)

        def done(answer: bytes | None) -> None:
            self._calls.discard(call)
            self._fill(slot, answer or b"null")

        room = ByteBudget(dialect.reply_bytes)
        call = DialectCall(asked.endpoint, asked.params, asked.headers, dialect, room, done)
        self._calls.add(call)
        caller.start(call)

    def _answer_question(self, message: bytes | str) -> None:
        if self._service.gate.accepts(question_key(message)):
            self._say(port_answer(self._service.port()))
        else:
            self._say(port_refusal())
            self._service.gate.tell("Refused to tell the port: wrong secret key")
            self._count_against(None)

    def _count_against(self, label: str | None) -> None:
        """Notes a wrong key, or with ``None`` a message that is not understood."""
        self._wrong += 1
        if label is not None:
            self._service.gate.tell("Refused %s, a client of %s: wrong secret key", self._who, label)
        if self._wrong >= MAX_WRONG_KEYS:
            self._hang_up = "too many requests that were refused"

    # -- out

    def _say(self, answer: bytes) -> None:
        slot = _Slot()
        self._slots.append(slot)
        self._fill(slot, answer)

    def _fill(self, slot: _Slot, answer: bytes) -> None:
        slot.answer = answer
        self._waiting_bytes += len(answer)
        self._wake.set()

    async def _write(self) -> None:
        slots = self._slots
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while slots and (answer := slots[0].answer) is not None:
                    slots.popleft()
                    await self._socket.send_frame(answer, WSMsgType.TEXT)
                    self._waiting_bytes -= len(answer)
                    self._flushed.set()
                if self._leaving:
                    return
        except (ConnectionError, ClientConnectionError, RuntimeError) as error:
            # The reader meets the same end. Until then it must not wait for what never comes.
            log.debug("%s does not read any more: %r", self._who, error)
            self._waiting_bytes = 0
            self._flushed.set()
