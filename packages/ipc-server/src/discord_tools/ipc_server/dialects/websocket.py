"""WebSockets without our subprotocol: the first message tells the dialect, and a key comes before everything else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Raw

from discord_tools.ipc.errors import BadData, Cancelled, RemoteError, UnknownEndpoint
from discord_tools.ipc.logs import LabelledLogger
from discord_tools.ipc.transports.base import POLICY, Closed, Transport
from discord_tools.ipc.wire.codes import UNAUTHORIZED
from discord_tools.ipc.wire.dialects import (
    CONNECT,
    JSONRPC,
    LegacyDialect,
    legacy,
    recognise,
)
from discord_tools.ipc.wire.frames import ErrorObject
from discord_tools.ipc.wire.jsonrpc import read_body, refuse
from discord_tools.ipc_server.admission import Account
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.connections import Unauthenticated
from discord_tools.ipc_server.dialects.answers import Answers
from discord_tools.ipc_server.dialects.calls import ByteBudget, DialectCall
from discord_tools.ipc_server.dialects.jsonrpc import Exchange
from discord_tools.ipc_server.dialects.port_question import PortQuestions
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.keys import REVOKED
from discord_tools.ipc_server.turns import LARGE_BYTES

__all__ = ("DialectSocket", "JsonRpcSocket", "LegacySocket")

log = logging.getLogger(__name__)

#: Number of wrong keys after which a socket is closed: each costs a line in the log and an answer.
MAX_WRONG_KEYS: Final = 8

#: Messages after which the loop gets a turn, although more may lie ready.
MESSAGES_PER_TURN: Final = 32

#: How long a socket that is closed may take to send the answers that are ready, in seconds.
CLOSE_TIMEOUT: Final = 1.0


class Dialogue(Protocol):
    """Takes the messages of one socket, once the first one told the dialect.

    Implemented by :class:`LegacySocket` and :class:`JsonRpcSocket`.
    """

    async def take(self, message: bytes | str) -> None:
        """Takes a message. Must not wait for anything but turns of the event loop."""
        ...

    def abort(self, error: RemoteError) -> None:
        """Cancels the calls in progress."""
        ...


class DialectSocket:
    """One socket, from the handshake to the end.

    Parameters
    ----------
    transport: :class:`Transport`
        The socket. Its messages must go out as text.
    connection: :class:`str`
        The short id of the connection.
    address: Optional[:class:`str`]
        The remote address.
    caller: Optional[:class:`Caller`]
        Who the client is, where it showed the right key at the handshake. JSON-RPC has no other place for it.
    unauthenticated: :class:`Unauthenticated`
        Counts it, until a message shows the right key.
    authenticated: Callable[[], None]
        Called when a message shows the right key.
    speaks: frozenset[:class:`str`]
        The dialects that are spoken here.
    otherwise: :class:`bytes`
        The answer to a first message in none of them.
    """

    def __init__(
        self,
        service: DialectService,
        transport: Transport,
        connection: str,
        address: str | None,
        *,
        caller: Caller | None,
        unauthenticated: Unauthenticated,
        authenticated: Callable[[], None],
        speaks: frozenset[str],
        otherwise: bytes,
    ) -> None:
        self._service = service
        self._transport = transport
        self._unauthenticated = unauthenticated
        #: Called when a message shows the right key.
        self._on_authenticated = authenticated
        self._speaks = speaks
        self._otherwise = otherwise
        self.connection: str = connection
        self.address: str | None = address
        self.caller: Caller | None = caller
        #: Precedes lines with the id of the connection, the address and, once it is known, the name of the key.
        self.log: LabelledLogger = LabelledLogger(
            log, f"{connection} {address}" if caller is None else caller.label
        )
        #: Answers on their way out.
        self.answers: Answers = Answers(transport, service.budget, service.limits.backlog_bytes)
        #: What takes the messages, once the first one told the dialect.
        self._dialogue: Dialogue | None = None
        #: What answers port questions, once there was one.
        self._port_questions: PortQuestions | None = None
        #: Number of messages with a wrong key, or that were not understood.
        self._refused = 0
        #: The answer to the last message, if that had a wrong key. It waits for the brake.
        self._refusal: bytes | None = None
        #: Ends the wait for the right key.
        self._timeout: asyncio.Timeout | None = None
        #: Why this side closes, once it does.
        self._closing: str | None = None
        #: Sends the answers.
        self._sender: asyncio.Task[None] | None = None

    @property
    def service(self) -> DialectService:
        """:class:`DialectService`: What all these sockets share."""
        return self._service

    @property
    def held_bytes(self) -> int:
        return self.answers.size

    @property
    def is_away(self) -> bool:
        return False

    @property
    def has_calls(self) -> bool:
        return self._dialogue is not None

    @property
    def is_blocked(self) -> bool:
        return self.answers.size > 0

    def evict(self, reason: str) -> None:
        if self._dialogue is not None:
            self._dialogue.abort(Cancelled(reason))
        self.answers.clear()
        if self._sender is not None:
            self._sender.cancel()  # it waits for a client that does not read
        self._close_soon(reason)

    def revoke(self) -> None:
        if self.caller is not None and self._service.gate.renewed(self.caller) is None:
            if self._dialogue is not None:
                self._dialogue.abort(Cancelled(REVOKED))
            self._close_soon(REVOKED)

    async def run(self) -> None:
        """Reads and answers messages until either side closes."""
        service = self._service
        service.sockets.add(self)
        if self.caller is None:
            self._unauthenticated.add(self._make_way, self.address)
        self._sender = sender = asyncio.create_task(self.answers.run(), name="ipc dialect sender")
        try:
            if service.admission.draining:
                self._closing = "the bot is shutting down"
            self.revoke()  # the key may have been since the handshake
            patience = None if self.caller is not None else service.limits.handshake_timeout
            async with asyncio.timeout(patience) as self._timeout:
                await self._read()
        except TimeoutError:
            if self._closing is None:  # otherwise the wait was ended to close the connection
                self._closing = text = "No request with the right key in time"
                service.gate.incidents.warning(
                    str(self.address), text, label=self.log.label, level=logging.INFO
                )
        finally:
            self._unauthenticated.discard(self._make_way)
            service.sockets.discard(self)
            if self._dialogue is not None:
                self._dialogue.abort(Cancelled("the connection is gone"))
            if self._closing is not None:
                await self.close(POLICY, self._closing)
            sender.cancel()
            await asyncio.wait((sender,))
            # The traceback of its cancellation refers to an answer, which would stay until the garbage collector comes.
            self._sender = None
            await self._transport.close()

    async def close(self, code: int, reason: str) -> None:
        """Sends the answers that are ready, and closes."""
        self.answers.finish()
        if self._sender is not None:
            await asyncio.wait((self._sender,), timeout=CLOSE_TIMEOUT)
        await self._transport.close(code, reason)

    def authenticated(self, caller: Caller) -> None:
        """Takes note that a message showed the right key, so the client may stay."""
        if self.caller is None:
            self.caller = caller
            self.log.label = caller.label
            self._unauthenticated.discard(self._make_way)
            self._on_authenticated()
            if self._timeout is not None:
                self._timeout.reschedule(None)

    def refuse_key(self, answer: bytes, message: str, *args: object) -> None:
        """Refuses a message with a wrong key, which is logged with ``message``. The answer waits for the brake."""
        self._refusal = answer
        self._service.gate.incidents.warning(str(self.address), message, *args, label=self.log.label)
        self._count_refused()

    def _count_refused(self) -> None:
        self._refused += 1
        if self._refused >= MAX_WRONG_KEYS:
            self._closing = "too many requests that were refused"

    async def _read(self) -> None:
        turn, starts = 0, self._service.starts
        while self._closing is None:
            try:
                message = await self._transport.receive()
            except Closed as closed:
                self.log.debug("The connection has ended: %.500r", closed.reason)
                return
            if len(message) > LARGE_BYTES:
                await self._service.turns.take(len(message))
            if not starts.try_take():
                await starts.take()
            if self._dialogue is None:
                await self._take_first(message)
            else:
                await self._dialogue.take(message)
            del message  # it would stay until the next one comes
            if self._refusal is not None:
                refusal, self._refusal = self._refusal, None
                if await self._service.gate.brake.failed(self.address):
                    self.answers.put(refusal)
                else:
                    self._closing = "too many wrong keys"
            # As long as for a client that does not answer the heartbeat.
            patience = 1.5 * self._service.limits.heartbeat
            if self.answers.is_full() and not await self.answers.wait_for_capacity(patience):
                self._closing = "the answers are not read"
                self.log.info("The client does not read its answers")
            turn += 1
            if turn % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _take_first(self, message: bytes | str) -> None:
        """Takes a message before the dialect is known."""
        spoken = recognise(message)
        if spoken == CONNECT and spoken in self._speaks:
            self._answer_port_question(message)
            return
        if spoken is None and self.caller is not None and JSONRPC in self._speaks:
            spoken = JSONRPC  # which has an answer for what cannot be read, too
        if spoken is None or spoken not in self._speaks:
            self.answers.put(self._otherwise)
            self._count_refused()
        elif spoken != JSONRPC:
            self._dialogue = LegacySocket(self, legacy(spoken, message))
            await self._dialogue.take(message)
        elif self.caller is not None:
            self._dialogue = JsonRpcSocket(self, self.caller)
            await self._dialogue.take(message)
        else:
            text = "show the secret key in the Authorization header of the handshake"
            answer = refuse(Raw(b"null"), ErrorObject(UNAUTHORIZED, text))
            self.refuse_key(answer, "Refused JSON-RPC without a secret key")
            self._closing = "unauthorized"

    def _answer_port_question(self, message: bytes | str) -> None:
        if self._port_questions is None:
            self._port_questions = PortQuestions(self._service, self.address, self.connection)
        answer = self._port_questions.answer(message)
        if answer.refused is not None:
            self.refuse_key(answer.message, "Refused to tell the port: %s", answer.refused)
            return
        self.answers.put(answer.message)
        if answer.counts:
            self._count_refused()
        if answer.waits:
            self._unauthenticated.renew(self._make_way)

    def _make_way(self) -> None:
        """Closes the connection, because too many have not shown a key."""
        self._close_soon("too many connections have shown no key")

    def _close_soon(self, reason: str) -> None:
        self._closing = reason
        if (
            self._timeout is not None and not self._timeout.expired()
        ):  # one that has expired takes no other time
            self._timeout.reschedule(asyncio.get_running_loop().time())


class LegacySocket:
    """A client of an older library.

    It gets its answers in the order of its questions, and nothing that it did not ask for: it would take that for the
    answer. It shows its key in each message.
    """

    def __init__(self, socket: DialectSocket, dialect: LegacyDialect) -> None:
        self._socket = socket
        self._dialect = dialect
        #: Calls in progress.
        self._calls: set[DialectCall] = set()

    async def take(self, message: bytes | str) -> None:
        socket, dialect, service = self._socket, self._dialect, self._socket.service
        asked = dialect.read(message)
        caller = service.gate.identify(asked.key, socket.address, dialect.name, socket.connection)
        if caller is None:
            socket.refuse_key(
                dialect.unauthorized(), "Refused a client of %s: wrong secret key", dialect.label
            )
            return
        socket.authenticated(caller)
        service.mention(dialect)
        if asked.problem is not None:
            socket.answers.put(dialect.error(BadData(asked.problem)))
            return
        if asked.endpoint is None:
            socket.answers.put(dialect.error(UnknownEndpoint("the request names no endpoint")))
            return
        place = socket.answers.reserve()

        def done(answer: bytes | None) -> None:
            self._calls.discard(call)
            socket.answers.fill(place, answer or b"null")

        budget = ByteBudget(dialect.reply_bytes)
        call = DialectCall(
            caller,
            asked.endpoint,
            asked.params,
            asked.headers,
            dialect,
            budget,
            done,
            socket.answers,
        )
        self._calls.add(call)
        # Clients of this kind make a connection for each request, so a bound for each connection would be none.
        service.calls.start(call)

    def abort(self, error: RemoteError) -> None:
        for call in tuple(self._calls):
            call.abort(error)


class JsonRpcSocket:
    """A client of JSON-RPC 2.0. Answers go out as they are ready: their ids tell what they answer."""

    def __init__(self, socket: DialectSocket, caller: Caller) -> None:
        self._socket = socket
        self._caller = caller
        #: Bounds the calls of this connection.
        self._account = Account()
        #: Messages that are not answered.
        self._exchanges: set[Exchange] = set()

    async def take(self, message: bytes | str) -> None:
        service = self._socket.service

        def done(answer: bytes | None) -> None:
            self._exchanges.discard(exchange)
            if answer is not None:
                self._socket.answers.put(answer)

        body = read_body(message, service.limits.calls)
        exchange = Exchange(service, self._caller, self._account, body, done, self._socket.answers)
        self._exchanges.add(exchange)
        await exchange.start()

    def abort(self, error: RemoteError) -> None:
        for exchange in tuple(self._exchanges):
            exchange.abort(error)
