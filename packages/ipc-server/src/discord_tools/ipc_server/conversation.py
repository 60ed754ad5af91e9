"""Server side of a conversation: its calls, streams and subscriptions, across connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any

from msgspec import UNSET

from discord_tools.ipc.connection import Connection
from discord_tools.ipc.deadlines import Deadlines
from discord_tools.ipc.errors import Cancelled, RemoteError
from discord_tools.ipc.logs import LabelledLogger, conversation_id
from discord_tools.ipc.tasks import spawn
from discord_tools.ipc.transports.base import GOING_AWAY, POLICY, REPLACED, Transport
from discord_tools.ipc.wire.frames import (
    READY as READY_METHOD,
    RESERVED,
    SUBSCRIBE,
    TICKET,
    ErrorObject,
    Id,
    Ready,
)
from discord_tools.ipc.wire.handshake import Hello
from discord_tools.ipc.wire.outbox import Outbox
from discord_tools.ipc.wire.peer import Peer
from discord_tools.ipc.wire.received import (
    ByeReceived,
    CallReceived,
    CancelReceived,
    MoreReceived,
    PeerEvent,
    ProtocolViolation,
)
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.admission import FEW_BYTES, FEW_CALLS, SMALL_BYTES, Account, closing
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.call import expire, expired, wait_for_handlers
from discord_tools.ipc_server.call_headers import CallHeaders
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.event_bounds import Share
from discord_tools.ipc_server.incoming import NativeCall
from discord_tools.ipc_server.shared import Shared
from discord_tools.ipc_server.subscribing import subscribe
from discord_tools.ipc_server.turns import TurnBudget, TurnShare, in_turns
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("Conversation",)

log = logging.getLogger(__name__)


class Conversation:
    """Runs the calls of one client, over one connection after another.

    Parameters
    ----------
    token: :class:`str`
        What the client shows to resume it.
    hello: :class:`Hello`
        The client's first message.
    caller: :class:`Caller`
        Who the client is.
    shared: :class:`Shared`
        What all conversations of the server share.
    """

    def __init__(self, token: str, hello: Hello, caller: Caller, shared: Shared) -> None:
        limits = shared.limits
        self.token: str = token
        #: Who calls, over the present connection or the last one.
        self.caller: Caller = caller
        #: Short id for the log.
        self.id: str = conversation_id()
        #: The client's name for itself.
        self._client_name = hello.client
        #: Precedes lines with the ids of the conversation and its connection.
        self.log: LabelledLogger = LabelledLogger(log, "")
        #: Calls and messages.
        self._peer: Peer[Any] = Peer(
            calls=limits.calls,
            message_bytes=min(limits.message_bytes, hello.message_bytes or limits.message_bytes),
            retained_bytes=limits.retained_bytes,
            trusted=False,
        )
        #: What is sent to the client.
        self.outbox: Outbox = self._peer.outbox
        self.outbox.wake = self._wake
        #: Whether it has ended: the client said so, or was away for too long.
        self.over: bool = False
        #: Decides whether calls may start.
        self._admission = shared.admission
        #: Runs calls.
        self._dispatcher = shared.dispatcher
        #: Bounds the memory that is held for all clients.
        self.budget: MemoryBudget = shared.budget
        #: Writes answers as JSON.
        self.encoder: Encoder = shared.encoder
        self._shared = shared
        #: Bounds what is decoded and encoded in one turn of the loop.
        self.turns: TurnBudget = shared.turns
        #: Sizes and timeouts.
        self._limits = limits
        #: The event loop of the conversation.
        self._loop = asyncio.get_running_loop()
        #: What its calls carry beside their data.
        self._headers = CallHeaders(hello, limits.call_timeout, self._loop)
        #: The current connection.
        self._connection: Connection | None = None
        #: Whether more waits to be sent than the backlog may hold. While the client is away, nothing is sent.
        self.is_full: Callable[[], bool] = bool
        #: Calls whose handlers have not ended, and subscriptions.
        self._calls: dict[NativeCall, None] = {}
        #: The same by their ids, as long as the client may refer to them.
        self._by_id: dict[Id, NativeCall] = {}
        #: Bounds the calls.
        self.account: Account = Account()
        #: Cancels the calls that are yet to be cancelled, once it is over.
        self._ending: Callable[[], None] = lambda: None
        #: What its subscriptions take.
        self._subscriptions = Share()
        #: Ends calls whose time is over.
        self._deadlines: Deadlines[NativeCall] = Deadlines(self._loop, expire)
        #: Tasks of handlers that are neither waited for nor cancelled: they asked for the end of the server.
        self._spared: Collection[asyncio.Task[Any]] = ()
        #: Whether another item of a stream may be sent in this turn of the loop.
        self.may_send_item: Callable[[], bool] = TurnShare(self._loop).take
        #: Pumps subscriptions as soon as the backlog has capacity.
        self._pumping: asyncio.Task[None] | None = None
        #: Tasks that close connections which were replaced.
        self._closings: set[asyncio.Task[None]] = set()
        self._label()

    # -- connections

    def welcomed(self, caller: Caller) -> None:
        """Goes on with the caller of the new connection, or with what the key opens now. Ends what it does not open."""
        before, self.caller = self.caller, caller
        self._label()
        same = caller.scopes == before.scopes and caller.verified_users_only == before.verified_users_only
        for call in () if same else tuple(self._calls):
            call.renew(caller, self._dispatcher)

    @property
    def received(self) -> int:
        """:class:`int`: Number of messages received after the welcome."""
        return self._peer.received

    def attach(self, transport: Transport) -> Connection:
        """Goes on over this connection."""
        self._connection = Connection(
            self._peer,
            transport,
            self._handle,
            self.log.label,
            backlog_bytes=self._limits.backlog_bytes,
            backlog_timeout=1.5
            * self._limits.heartbeat,  # as for a client that does not answer the heartbeat
            turns=self.turns,
        )
        self.is_full = self._connection.is_full
        return self._connection

    def resume(self, received: int) -> bool:
        """Goes on after a cut, unless what the client has not received is no longer retained.

        From here on, nothing is read from an older connection, so that the count of what was received does not change.
        That connection is closed.
        """
        older, self._connection = self._connection, None
        self._close_later(older, REPLACED, "another connection took this conversation over")
        return self._peer.resume(received)

    def _close_later(self, old: Connection | None, code: int, reason: str, *, flush: bool = False) -> None:
        if old is not None:
            if not flush:
                old.stop()
            closing = self._loop.create_task(old.close(code, reason))
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)

    def detach(self, connection: Connection) -> bool:
        """Takes note that a connection has ended. Returns ``False`` where another one has replaced it."""
        if self._connection is not connection:
            return False
        self._connection = None
        self.is_full = bool
        return True

    def tell_ready(self, ready: bool) -> None:
        """Tells the client whether the bot is ready."""
        self._peer.notify(READY_METHOD, Ready(ready))

    def _wake(self) -> None:
        if self._connection is not None:
            self._connection.wake()

    def _label(self) -> None:
        self.log.label = f"{self.id} {self.caller.label} {self._client_name[:100]!r}"

    # -- what its calls need

    @property
    def item_bytes(self) -> int:
        return self.outbox.item_bytes

    async def wait_for_capacity(self) -> None:
        # While the client is away nothing is sent, so there is nothing to wait for.
        if self._connection is not None:
            await self._connection.wait_for_capacity()

    def must_wait(self) -> bool:
        if not self.budget.is_spent or self._connection is None:
            return self.is_full()
        return self.is_full() or self.outbox.pending_bytes > SMALL_BYTES

    def send_answer(self, number: Id, frame: bytes) -> None:
        self._peer.answer(number, frame)
        if self._connection is None:
            self._check_backlog()

    def send_error(self, number: Id, error: ErrorObject) -> None:
        self._peer.fail(number, error)
        if self._connection is None:
            self._check_backlog()

    def send_item(self, number: Id, item: bytes) -> None:
        self._peer.item(number, item)
        if len(item) > SMALL_BYTES:
            self.budget.add(len(item))
        if self._connection is None:
            self._check_backlog()

    def pump_later(self) -> None:
        if self._pumping is None:
            self._pumping = self._loop.create_task(self._pump())

    def forget(self, call: NativeCall) -> None:
        self._deadlines.discard(call)
        if call in self._calls:
            del self._calls[call]
            self.account.calls -= 1
            if call.size:
                self.account.size -= call.size
        if self._by_id.get(call.number) is call:
            del self._by_id[call.number]

    def _check_backlog(self) -> None:
        """Ends a conversation whose client is away and for whom too much waits."""
        if self.outbox.pending_bytes > self._limits.retained_bytes:
            self.end("too much waits for a client that is away")

    async def _pump(self) -> None:
        await self.wait_for_capacity()
        self._pumping = None
        for call in tuple(self._calls):
            if call.subscriber is not None:
                call.subscriber.pump()

    # -- what is held for it

    @property
    def held_bytes(self) -> int:
        waiting = sum(call.subscriber.held_bytes for call in self._calls if call.subscriber is not None)
        return self.outbox.held_bytes + self.account.held_bytes + waiting

    @property
    def is_away(self) -> bool:
        return self._connection is None

    @property
    def has_calls(self) -> bool:
        return any(call.subscriber is None for call in self._calls)

    @property
    def is_blocked(self) -> bool:
        return self._connection is not None and self._connection.is_blocked

    def evict(self, reason: str) -> None:
        self.end(reason)
        self._close_later(self._connection, POLICY, reason)
        self.outbox.clear()

    def revoke(self, reason: str, spared: Collection[asyncio.Task[Any]]) -> None:
        """Ends it and closes the connection, after the callers of its calls have been answered."""
        self._spared = spared
        self._peer.bye(reason)  # so that no more calls are sent, which would be lost
        self.end(reason)
        self._close_later(self._connection, POLICY, reason, flush=True)

    # -- the end

    def end(self, reason: str) -> None:
        """Cancels what is in progress; nobody waits for it any more. Many calls take several turns of the loop."""
        if not self.over:
            self.over = True
            self.log.debug("The conversation is over: %s", reason)
            cancel = partial(self._cancel, Cancelled(reason))
            self._ending = in_turns(self._calls, cancel, self._deadlines.close)

    def _cancel(self, error: RemoteError, call: NativeCall) -> None:
        if call in self._calls and (call.task is None or call.task not in self._spared):
            call.give_up(error)

    def drain(self, spared: Collection[asyncio.Task[Any]]) -> Coroutine[Any, Any, None]:
        """Waits for the calls in progress, up to the grace period, while no more are admitted.

        Tasks in ``spared`` are not waited for: they are the routes that asked for the end of the server.
        """
        # What the client gets is queued at once: a task for it could be cancelled before its first step.
        self._spared = spared
        self._peer.bye("the bot is shutting down")
        for call in tuple(self._calls):
            if call.streams and call.subscriber is None and not call.subscribes:
                call.abort(Cancelled("the bot is shutting down"))  # it could go on indefinitely
        return self.wait_for_handlers()

    async def close(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Cancels what is in progress, except the tasks in ``spared``, tells the callers so, and closes."""
        self._spared = spared
        self.end("the bot is shutting down")
        self._ending()
        connection = self._connection
        if connection is not None:
            await connection.close(GOING_AWAY, "the bot is shutting down")
        await self.wait_for_handlers()

    async def wait_for_handlers(self) -> None:
        """Waits for the handlers in progress, up to the grace period."""
        others = self._closings if self._pumping is None else {*self._closings, self._pumping}
        await wait_for_handlers(self._calls, self._spared, self._limits.grace_period, others)

    # -- calls

    def _handle(self, event: PeerEvent) -> None:
        if isinstance(event, CallReceived):
            self._start(event)
        elif isinstance(event, CancelReceived):
            if call := self._by_id.pop(event.id, None):
                call.abort(Cancelled("the caller cancelled"))
        elif isinstance(event, MoreReceived):
            if call := self._by_id.get(event.id):
                call.grant(event.n)
        elif isinstance(event, ProtocolViolation):
            text, label = "The client broke the protocol: %.500r", self.log.label
            self._shared.incidents.warning(self.caller.account_label, text, event.reason, label=label)
            if event.fatal:
                self.end("the client broke the protocol too often")  # the peer reads nothing any more
        elif isinstance(event, ByeReceived):
            self.end("the client closed it")

    def _start(self, event: CallReceived) -> None:
        headers, timeout = self._headers.common, self._headers.timeout
        if event.headers is not UNSET or event.meta is not UNSET:
            headers, timeout = self._headers.of(event)
        call = NativeCall(self, event, headers)
        if event.meta is not UNSET and event.meta.acting_as is not None:
            call.acting = ActingUser(event.meta.acting_as)
        size = self._peer.message_size
        over = "this conversation is over"
        refusal = closing(over) if self.over else self._admission.refusal(self.account, size)
        if refusal is not None:
            self._dispatcher.refuse(call, refusal)
            return
        if size > SMALL_BYTES:
            # Before the handler starts, which may run at once and whose request refers to the data. It is a view into
            # the whole message, which would be held for it.
            call.params = params = bytes(call.params)
            # Headers of its own may be as large as the message.
            others = 0 if headers is self._headers.common else size
            # Small calls may come in a large pack. They count as all small calls do, and are not worth measuring.
            if others or len(params) > FEW_BYTES or type(event.id) is str:
                call.measure(others)
        if event.method.startswith(RESERVED) and event.method != TICKET:
            self._protocol_call(event.method, call)
            return
        if not call.streams:
            now = self._loop.time()
            call.deadline = now + timeout
            if timeout <= 0 or (
                now - self._headers.clock.sent > timeout and self._shared.was_blocked_for(timeout)
            ):
                # It was waiting here for as long as its caller waits. A clock that was stopped, as that of a computer
                # that slept, counts only if this side was blocked as well.
                self._dispatcher.refuse(call, expired())
                return
        task = spawn(self._dispatcher.handle(call), self._loop)
        if task.done():
            return  # it never waited, so it could neither be cancelled nor expire
        call.task = task
        self._count(call)
        if call.deadline is not None:
            self._deadlines.add(call, call.deadline)

    def _count(self, call: NativeCall) -> None:
        """Counts a call as in progress, until :meth:`forget`."""
        account = self.account
        self._calls[call] = None
        self._by_id[call.number] = call
        account.calls += 1
        if call.size:
            account.size += call.size
            self.budget.add(call.size)
        elif not account.calls % FEW_CALLS:
            self.budget.add(FEW_CALLS * SMALL_BYTES)

    def _protocol_call(self, method: str, call: NativeCall) -> None:
        if method == SUBSCRIBE and call.streams:
            self._count(call)
            subscribe(call, self._shared, self._subscriptions)
        else:
            try:
                self._peer.reply(call.number, self._dispatcher.describe(method, self.caller))
            except RemoteError as error:
                call.fail(error)
