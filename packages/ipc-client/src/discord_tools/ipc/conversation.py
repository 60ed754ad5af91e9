"""Client side of a conversation: its calls and streams, across connections."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, Raw, UnsetType

from discord_tools.ipc._version import __version__
from discord_tools.ipc.connection import Connection
from discord_tools.ipc.deadlines import Deadlines
from discord_tools.ipc.errors import (
    Cancelled,
    ConnectionLost,
    IPCError,
    RequestTimeout,
    RequestTooLarge,
    SessionClosed,
    UnknownEndpoint,
    Unsupported,
)
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.logs import LabelledLogger, connection_id, conversation_id
from discord_tools.ipc.pending import CallWindow, Pending, PendingRequest
from discord_tools.ipc.transports.base import NORMAL, REPLACED, Closed, Transport
from discord_tools.ipc.wire.codec import encode_given
from discord_tools.ipc.wire.codes import did_not_run, error_of
from discord_tools.ipc.wire.frames import ActingAs, ErrorObject, Meta
from discord_tools.ipc.wire.handshake import ACTING_AS, Hello, Welcome, decode_welcome, encode_hello
from discord_tools.ipc.wire.peer import Peer
from discord_tools.ipc.wire.received import (
    Answered,
    ByeReceived,
    CallReceived,
    ItemsReceived,
    PeerEvent,
    ProtocolViolation,
    ReadyReceived,
)

__all__ = ("Conversation",)

log = logging.getLogger(__name__)

AGENT: Final = f"ipc-client/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"
#: Seconds between two calls that bring the clock.
CLOCK_INTERVAL: Final = 1.0

_NO_ROUTES: Final = ErrorObject(UnknownEndpoint.code, "this side has no routes")


class Conversation:
    """Sends calls and hands out their answers, over one connection after another.

    Parameters
    ----------
    limits: :class:`ClientLimits`
        What this side grants.
    timeout: Optional[:class:`float`]
        How long requests usually wait, in seconds. The bot learns it once, by the hello.
    headers: Mapping[:class:`str`, Any]
        What calls carry.
    """

    def __init__(self, limits: ClientLimits, timeout: float | None, headers: Mapping[str, Any]) -> None:
        self._limits = limits
        self._timeout = timeout
        self._headers = dict(headers)
        #: The event loop of the conversation.
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        #: Short id for the log.
        self.id: str = conversation_id()
        #: Precedes lines with the ids of the conversation and, while there is one, of its connection.
        self.log: LabelledLogger = LabelledLogger(log, self.id)
        #: Calls and messages of this conversation. Replaced when the bot has lost the conversation.
        self._peer = self._new_peer(limits.message_bytes)
        #: What resumes the conversation. ``None`` until the first welcome, and where it cannot be resumed.
        self._token: str | None = None
        #: The current connection.
        self._connection: Connection | None = None
        #: Places for the calls that the bot accepts at a time.
        self._window = CallWindow()
        #: Ends requests whose time is over.
        self._deadlines: Deadlines[PendingRequest] = Deadlines(self.loop, PendingRequest.expire)
        #: Calls that the bot refused because it was closing. The next connection sends them again.
        self._refused: list[Pending] = []
        #: When the bot last got this side's clock.
        self._clock_sent = -math.inf
        #: Whether this side is closing for good.
        self._closing = False
        #: Whether either side has announced that it is about to close.
        self._leaving = False
        #: Whether the bot streams. Those of older libraries do not.
        self._streams = True
        #: Whether the bot takes calls that are made for a user. Those of older libraries would ignore the user.
        self._takes_users = False
        #: Set while there is a connection and the bot is ready.
        self.ready: asyncio.Event = asyncio.Event()

    @property
    def usable(self) -> bool:
        """:class:`bool`: Whether there is a connection that takes calls."""
        return self._connection is not None and not self._leaving

    @property
    def received(self) -> int:
        """:class:`int`: Number of messages received after the welcome."""
        return self._peer.received

    # -- calls

    async def call(
        self, endpoint: str, params: Any, timeout: float | None, user: ActingAs | None = None
    ) -> Raw:
        """Calls and waits for the answer. Cancelling it cancels the call on the other side, too.

        Raises
        ------
        Unsupported
            The call is made for a user, and the bot is of an older library.
        EncodeError
            The parameters cannot be written as JSON.
        RequestTooLarge
            The call does not fit into one message.
        RequestTimeout
            No answer in time.
        ConnectionLost
            The call was sent, and its answer is lost.
        RemoteError
            The other side answered with an error.
        """
        if timeout is not None and timeout <= 0:
            raise RequestTimeout(endpoint, self._timeout or timeout)  # nobody would wait for it
        request = PendingRequest(loop=self.loop)
        request.endpoint = endpoint
        headers: dict[str, Any] | UnsetType = UNSET
        meta: Meta | UnsetType = UNSET
        if timeout is None:
            request.deadline = None
        else:
            request.timeout = self._timeout or timeout
            now = self.loop.time()
            request.deadline = now + timeout
            self._deadlines.add(request, request.deadline)
            if timeout != self._timeout:
                # It waited for a connection, so less is left than the hello said.
                headers, meta = _time_left(timeout)
            elif now - self._clock_sent > CLOCK_INTERVAL:
                # So that a bot that was blocked for long can tell which calls have expired meanwhile.
                self._clock_sent = now
                meta = Meta(clock=now)
        window = self._window
        try:
            if not window.acquire():
                params = Raw(encode_given(params))  # as it is now, and not when its turn comes
                await window.wait(request)
            try:
                if user is not None:
                    meta = self._with_user(endpoint, user, meta)
                request.number, request.frame = self._peer.call(
                    endpoint, params, request, headers=headers, meta=meta
                )
                answer = await request
            except (asyncio.CancelledError, RequestTimeout):
                self._peer.forget(request.number, request.frame)
                raise
            finally:
                window.release()
        finally:
            self._deadlines.discard(request)
        if answer.error is not UNSET:
            raise error_of(endpoint, answer.error)
        return answer.result

    def open(self, pending: Pending, params: Raw, credit: int) -> None:
        """Calls for a stream.

        Raises
        ------
        RequestTooLarge
            The call does not fit into one message.
        Unsupported
            The bot is of an older library.
        """
        if not self._streams:
            raise Unsupported(pending.endpoint)
        meta: Meta | UnsetType = UNSET
        if (user := pending.user()) is not None:
            meta = self._with_user(pending.endpoint, user, meta)
        pending.number, pending.frame = self._peer.call(
            pending.endpoint, params, pending, credit=credit, meta=meta
        )

    def take_more(self, pending: Pending, n: int) -> None:
        """Grants credit for ``n`` more items of a stream."""
        self._peer.take_more(pending.number, n)

    def forget(self, pending: Pending) -> None:
        """Cancels a stream."""
        self._peer.forget(pending.number, pending.frame)

    def give_up(self, error: IPCError) -> None:
        """Ends the requests: the connection does not come back in time. Those that never ran get ``error``.

        Streams and subscriptions go on waiting, since nothing of them is lost yet.
        """
        self._read_rest()
        self._window.close(error)
        for call in self._peer.open_calls():
            if isinstance(call.context, PendingRequest):
                self._peer.forget(call.number, call.context.frame)
                call.context.lost(ConnectionLost(call.context.endpoint) if call.sent else error)
        for pending in self._refused:
            if isinstance(pending, PendingRequest):
                pending.lost(error)

    # -- connections

    def hello(self) -> bytes:
        """The first message on a connection."""
        hello = Hello(
            AGENT,
            self._token,
            self._peer.received,
            self._timeout,
            self._limits.message_bytes,
            self._headers,
        )
        return encode_hello(hello)

    def welcomed(self, message: bytes | str) -> None:
        """Takes the answer to the hello: resumes the conversation, or begins a new one.

        Raises
        ------
        ProtocolError
            It is not an answer to a hello.
        Closed
            The conversation cannot be resumed. The next connection begins a new one.
        """
        welcome = decode_welcome(message)
        self._streams = welcome.streams is not False
        self._takes_users = ACTING_AS in welcome.features
        if not welcome.resumed:
            self._begin(welcome)
        elif not self._peer.resume(welcome.received):
            self._token = None
            raise Closed("what the server has not received is no longer retained")
        self._token = welcome.session
        self._peer.outbox.message_bytes = welcome.limits.message_bytes
        refused, self._refused = self._refused, []
        for pending in refused:
            self._call_again(pending, True)
        self._window.resize(max(1, welcome.limits.calls))
        self._leaving = False
        self._set_ready(welcome.ready)

    def attach(self, transport: Transport, address: str) -> Connection:
        """Takes calls from now on, for :meth:`carry` to carry them over this connection to ``address``."""
        label = self.log.label = f"{self.id} {connection_id()} {address}"
        self._connection = Connection(self._peer, transport, self._handle, label, backlog_bytes=sys.maxsize)
        return self._connection

    async def carry(self, connection: Connection) -> Closed:
        """Runs over one connection until that ends."""
        try:
            closed = await connection.run()
        finally:
            self._connection = None
            self.ready.clear()
        if closed.code == REPLACED:
            # Another client presented our token. Taking the conversation back could go on
            # forever.
            self.log.warning("Another client took this conversation over; a new one begins")
            self._token = None
        return closed

    async def close(self) -> None:
        """Announces the end and closes the connection."""
        self._leaving = self._closing = True
        if self._connection is not None:
            reason = "the session is closed"
            self._peer.bye(reason)
            await self._connection.close(NORMAL, reason, timeout=self._limits.close_timeout)

    def end(self, error: IPCError) -> None:
        """Ends everything that waits."""
        self._read_rest()
        self._deadlines.close()
        self._token = None  # what is answered to these calls from now on would belong to nobody
        for call in self._peer.abandon():
            call.context.lost(error)
        refused, self._refused = self._refused, []
        for pending in refused:
            pending.lost(error)
        self._window.close(error)
        self.ready.set()  # what waits for it checks the state again

    def _new_peer(self, message_bytes: int) -> Peer[Pending]:
        peer: Peer[Pending] = Peer(
            calls=0, message_bytes=message_bytes, retained_bytes=self._limits.retained_bytes
        )
        peer.outbox.wake = self._wake
        return peer

    def _wake(self) -> None:
        if self._connection is not None:
            self._connection.wake()

    def _begin(self, welcome: Welcome) -> None:
        """Begins a new conversation with the calls of the old one: the other side has lost it."""
        self._read_rest()
        calls = self._peer.abandon()
        self._peer = self._new_peer(welcome.limits.message_bytes)
        idempotent = frozenset(welcome.idempotent)
        for call in calls:
            pending = call.context
            # The new peer counts from 1 again. One that is cancelled in this very turn must not end another call there.
            pending.number = 0
            endpoint = pending.endpoint if pending.endpoint.startswith("/") else f"/{pending.endpoint}"
            self._call_again(pending, not call.sent or endpoint in idempotent)

    def _call_again(self, pending: Pending, harmless: bool) -> None:
        """Sends a call again, or ends it where that may do harm."""
        if pending.done():
            return
        params = pending.repeated(harmless)
        if params is None:
            pending.lost(ConnectionLost(pending.endpoint))
            return
        try:
            if not isinstance(pending, PendingRequest):
                self.open(pending, params, self._limits.stream_items)
                return
            headers, meta = UNSET, UNSET
            if pending.deadline is not None:
                headers, meta = _time_left(max(0.0, pending.deadline - self.loop.time()))
            if (user := pending.user()) is not None:
                meta = self._with_user(pending.endpoint, user, meta)
            pending.number, pending.frame = self._peer.call(
                pending.endpoint, params, pending, headers=headers, meta=meta
            )
        except (RequestTooLarge, Unsupported) as error:
            pending.lost(error)

    def _with_user(self, endpoint: str, user: ActingAs, meta: Meta | UnsetType) -> Meta:
        """Adds the user of a call to what the protocol says about it. Raises :exc:`Unsupported`."""
        if not self._takes_users:
            raise Unsupported(endpoint, "it would run it without the acting user")
        if meta is UNSET:
            return Meta(acting_as=user)
        meta.acting_as = user
        return meta

    def _set_ready(self, ready: bool) -> None:
        (self.ready.set if ready else self.ready.clear)()

    def _read_rest(self) -> None:
        """Handles what the last connection received and had no time for."""
        while (event := self._peer.next_event()) is not None:
            self._handle(event)

    def _handle(self, event: PeerEvent) -> None:
        if isinstance(event, Answered):
            if event.error is UNSET:
                event.context.answered(event)
            else:
                self._failed(event.context, event, event.error)
        elif isinstance(event, ItemsReceived):
            event.context.received(event.items)
        elif isinstance(event, ReadyReceived):
            self._set_ready(event.ready)
        elif isinstance(event, ByeReceived):
            self.log.info("The bot is about to close: %.200s", event.reason)
            self._leaving = True
            self._window.hold()
        elif isinstance(event, ProtocolViolation):
            self.log.warning("The bot broke the protocol: %s", event.reason)
            if event.fatal:
                self._token = None  # this peer reads nothing any more
        elif isinstance(event, CallReceived):
            self._peer.fail(event.id, _NO_ROUTES)

    def _failed(self, pending: Pending, answer: Answered, error: ErrorObject) -> None:
        if did_not_run(error):
            pending.number = 0
            self._refused.append(pending)
        elif self._closing and error.code == Cancelled.code:
            pending.lost(SessionClosed())  # the bot cancelled it because this side is closing
        else:
            pending.answered(answer)


def _time_left(seconds: float) -> tuple[dict[str, Any], Meta]:
    """What tells the bot how long the caller still waits: in the headers for bots of 1.0 and 1.1."""
    return {"timeout": seconds}, Meta(seconds)
