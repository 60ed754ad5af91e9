"""The bot's side of a conversation: the client's calls, their tasks and deadlines, whatever becomes of connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import UNSET, Raw

from discord_tools.ipc.connection import Connection
from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    RemoteError,
    TooLarge,
    UnknownEndpoint,
)
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.tasks import spawn
from discord_tools.ipc.transports.base import GOING_AWAY, REPLACED, Transport
from discord_tools.ipc.wire.frames import (
    DISCOVER,
    READY as READY_METHOD,
    RESERVED,
    SUBSCRIBE,
    ErrorObject,
    Hello,
    Id,
    Ready,
)
from discord_tools.ipc.wire.peer import (
    ByeReceived,
    CallReceived,
    CancelReceived,
    Event,
    MoreReceived,
    Peer,
    ProtocolViolation,
)
from discord_tools.ipc_server.dispatch import Dispatcher, settle
from discord_tools.ipc_server.encoding import encode_answer, encode_reply
from discord_tools.ipc_server.events import Hub, Subscriber

__all__ = ("Conversation", "error_object")

log = logging.getLogger(__name__)


#: After so many items of one stream the loop gets a turn.
ITEMS_PER_TURN: Final = 64


class _Call:
    """A call in progress."""

    # Most calls never touch these, and a default of the class costs nothing.
    streams: bool = False
    credit: int = 0
    deadline: float | None = None
    settled: bool = False
    expired: bool = False
    subscriber: Subscriber | None = None
    #: Set once it is known that the handler waits. One that does not has ended by then.
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    _more: asyncio.Event | None = None
    _burst: int = 0

    def __init__(self, talk: Conversation, event: CallReceived, headers: Mapping[str, Any]) -> None:
        self.talk = talk
        self.number: Id = event.id
        self.endpoint: str = event.method
        self.params: bytes = b"{}" if event.params is UNSET else event.params  # pyright: ignore[reportAttributeAccessIssue]
        self.headers: Mapping[str, Any] = headers if event.headers is UNSET else {**headers, **event.headers}
        if event.credit is not UNSET:
            self.streams = True
            self.credit = event.credit

    def is_crowded(self) -> bool:
        link = self.talk.link
        return link is not None and link.is_full()

    def answer(self, data: Any, /) -> None:
        self.talk.peer.answer(self.number, encode_reply(self.number, data))
        self.settled = True
        self.talk.check_backlog()

    async def send_json(self, data: Any, /) -> None:
        # A thousand answers may be ready for a client that reads none: they stay values until there is room.
        await self.talk.room()
        if self.settled:
            raise AlreadyResponded(self.endpoint)
        self.answer(data)

    async def send_item(self, data: Any) -> None:
        item = encode_answer(data)
        while self.credit <= 0 and not self.settled:
            self._more = asyncio.Event()
            await self._more.wait()
            self._burst = 0
        self._burst += 1
        if self._burst > ITEMS_PER_TURN:
            # A generator that never waits and a reader that takes a million items would leave no turn to the bot.
            self._burst = 0
            await asyncio.sleep(0)
        await self.talk.room()
        self.push(item)

    @property
    def takes(self) -> bool:
        """Whether the reader of a subscription takes an item now. If it does not, it is told to once it does."""
        if self.credit <= 0:
            return False
        if self.is_crowded():
            self.talk.pump_later()
            return False
        return True

    @property
    def largest(self) -> int:
        """How many bytes an item may have."""
        return self.talk.peer.item_bytes

    def push(self, item: bytes) -> None:
        """Sends an encoded item, on credit."""
        self.credit -= 1
        self.talk.peer.item(self.number, item)
        self.talk.check_backlog()

    def grant(self, n: int) -> None:
        """The reader takes more items."""
        self.credit += n
        if self._more is not None:
            self._more.set()
        if self.subscriber is not None:
            self.subscriber.pump()

    def ended(self) -> None:
        if self.task is not None:
            self.talk.forget(self)

    def leave(self) -> None:
        """Ends a subscription without an answer: its reader goes on with it in another conversation."""
        if self.subscriber is not None:
            self.subscriber.close()
        self.settled = True
        self.talk.forget(self)

    def fail(self, error: RemoteError) -> None:
        if not self.settled:
            self.talk.peer.fail(self.number, error_object(error))
            self.settled = True
            self.talk.check_backlog()

    def abort(self, error: RemoteError) -> None:
        """Answers with an error now and ends the handler: a handler that ignores it keeps nobody waiting."""
        self.fail(error)
        if self._more is not None:
            self._more.set()
        if self.task is not None:
            # A task that is cancelled before its first step never comes to the end of its own code.
            self.task.add_done_callback(lambda _: self.talk.forget(self))
            self.task.cancel()
        if self.subscriber is not None:
            self.subscriber.close()
            self.talk.forget(self)


class Conversation:
    """What one client and the bot have to say to each other.

    Parameters
    ----------
    token: :class:`str`
        What the client shows to go on with it.
    hello: :class:`Hello`
        What the client said first.
    """

    def __init__(
        self, token: str, hello: Hello, dispatcher: Dispatcher, hub: Hub, limits: ServerLimits
    ) -> None:
        self.token: str = token
        self.client: str = hello.client
        self.peer: Peer = Peer(
            calls=limits.calls,
            message_bytes=min(limits.message_bytes, hello.message_bytes or limits.message_bytes),
            retained_bytes=limits.retained_bytes,
        )
        self.peer.wake = self._wake
        #: Whether it is over: the client took its leave, or was away for too long.
        self.over: bool = False
        self._headers = hello.headers
        self._dispatcher = dispatcher
        self._hub = hub
        self._limits = limits
        self._seconds = (
            limits.call_timeout if hello.timeout is None else min(limits.call_timeout, hello.timeout)
        )
        self._loop = asyncio.get_running_loop()
        #: The connection of the moment.
        self.link: Connection | None = None
        self._spared: Collection[asyncio.Task[Any]] = ()
        # In the order in which they came, which is the order of their deadlines.
        self._calls: dict[_Call, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._open: dict[Id, _Call] = {}
        self._draining = False
        self._pumping: asyncio.Task[None] | None = None
        self._closings: set[asyncio.Task[None]] = set()

    # -- connections

    def attach(self, transport: Transport) -> Connection:
        """Goes on over this connection."""
        self.link = Connection(
            self.peer,
            transport,
            self._handle,
            backlog_bytes=self._limits.backlog_bytes,
            patience=1.5 * self._limits.heartbeat,  # as for a client that gives no sign of life
        )
        return self.link

    def take_up(self, received: int) -> bool:
        """Goes on after a cut, unless what the client has not received is not kept any more.

        From here on, nothing comes in over an older connection: the count of what was received must stand still. It
        is told and closed.
        """
        older, self.link = self.link, None
        if older is not None:
            older.stop()
            closing = self._loop.create_task(
                older.close(REPLACED, "another connection took this conversation over")
            )
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)
        return self.peer.resume(received)

    def detach(self, link: Connection) -> bool:
        """The connection is gone. Returns ``False`` where another one has taken its place before."""
        if self.link is not link:
            return False
        self.link = None
        return True

    def _wake(self) -> None:
        if self.link is not None:
            self.link.wake()

    def check_backlog(self) -> None:
        """Ends a conversation whose client is away and for whom too much waits."""
        if self.link is None and self.peer.pending_bytes > self._limits.retained_bytes:
            self.end("too much waits for a client that is away")

    async def room(self) -> None:
        """Waits until less is to be sent than the backlog may hold. While the client is away, nothing is."""
        if self.link is not None:
            await self.link.room()

    def pump_later(self) -> None:
        """Sends what waits for subscriptions as soon as there is room for it."""
        if self._pumping is None:
            self._pumping = self._loop.create_task(self._pump())

    async def _pump(self) -> None:
        await self.room()
        self._pumping = None
        for call in tuple(self._calls):
            if call.subscriber is not None:
                call.subscriber.pump()

    def tell_ready(self, ready: bool) -> None:
        """Tells the client whether the bot is ready."""
        self.peer.notify(READY_METHOD, Ready(ready))

    # -- the end

    def end(self, reason: str) -> None:
        """Ends what is in progress; nobody waits for it any more."""
        if not self.over:
            self.over = True
            log.debug("The conversation with %s is over: %s", self.client, reason)
            self._abort_all(reason)
            if self._sweeper is not None:
                self._sweeper.cancel()

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Takes no more calls and waits for those in progress, as long as the limits allow.

        Tasks in ``spared`` are not waited for: they are the routes that asked for all this.
        """
        self._draining = True
        self._spared = spared
        self.peer.bye("the bot is shutting down")
        for call in tuple(self._calls):
            if call.streams and call.subscriber is None:
                call.abort(Cancelled("the bot is shutting down"))  # it could go on for ever
        await self.settle()

    async def close(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Cancels what is in progress, but for the tasks in ``spared``, tells the callers so, and closes."""
        self._draining = True
        self._spared = spared
        self.end("the bot is shutting down")
        link = self.link
        if link is not None:
            await link.close(GOING_AWAY, "the bot is shutting down")
        await self.settle()

    async def settle(self) -> None:
        """Waits for the handlers in progress, as long as the limits allow."""
        others = self._closings if self._pumping is None else {*self._closings, self._pumping}
        await settle(self._calls, self._spared, self._limits.grace_period, others)

    def _abort_all(self, reason: str) -> None:
        for call in tuple(self._calls):
            if call.subscriber is not None:
                call.leave()
            elif call.task not in self._spared or call.task is None:
                call.abort(Cancelled(reason))

    # -- calls

    def _handle(self, event: Event) -> None:
        if isinstance(event, CallReceived):
            self._start(event)
        elif isinstance(event, CancelReceived):
            if call := self._open.pop(event.id, None):
                call.abort(Cancelled("the caller cancelled"))
        elif isinstance(event, MoreReceived):
            if call := self._open.get(event.id):
                call.grant(event.n)
        elif isinstance(event, ProtocolViolation):
            log.warning("%s broke the protocol: %s", self.client, event.reason)
            if event.fatal:
                self.end("the client broke the protocol too often")  # the peer reads nothing any more
        elif isinstance(event, ByeReceived):
            self.end("the client took its leave")

    def _start(self, event: CallReceived) -> None:
        if self._draining or self.over:
            self._refuse(event, NotReady("this conversation is over"))
            return
        if len(self._calls) >= self._limits.calls:
            # Answered calls whose handlers go on count, too: a client must not pile them up by cancelling.
            self._refuse(event, Overloaded(f"{len(self._calls)} of your calls are in progress"))
            return
        call = _Call(self, event, self._headers)
        if event.method.startswith(RESERVED):
            self._protocol_call(call)
            return
        now = self._loop.time()
        own = None if event.headers is UNSET else event.headers.get("timeout")
        if not isinstance(own, int | float) or own >= self._seconds:
            own = None
        if not call.streams:
            call.deadline = now + (self._seconds if own is None else own)
            if call.deadline <= now:
                call.fail(DeadlineExceeded("the time for this call is over"))
                return
        task = spawn(self._dispatcher.handle(call), self._loop)
        if task.done():
            return  # it never waited, so nobody could cancel it or lose patience
        call.task = task
        self._calls[call] = None
        self._open[event.id] = call
        if call.deadline is None:
            return
        if own is not None:
            call.timer = self._loop.call_at(call.deadline, _expire, call)
        elif self._sweeper is None:
            self._sweeper = self._loop.call_at(call.deadline, self._sweep)

    def _sweep(self) -> None:
        """Ends calls whose time is over. One timer serves all of them: a timer each costs a tenth of a small call."""
        self._sweeper = None
        now = self._loop.time()
        for call in tuple(self._calls):
            if call.deadline is None or call.timer is not None:
                continue
            if call.deadline > now:
                self._sweeper = self._loop.call_at(call.deadline, self._sweep)
                return
            if not call.expired:
                call.expired = True
                _expire(call)

    def forget(self, call: _Call) -> None:
        """The call is over."""
        if call.timer is not None:
            call.timer.cancel()
        self._calls.pop(call, None)
        if self._open.get(call.number) is call:
            del self._open[call.number]

    def _refuse(self, event: CallReceived, error: RemoteError) -> None:
        self.peer.fail(event.id, error_object(error))

    def _protocol_call(self, call: _Call) -> None:
        if call.endpoint == SUBSCRIBE and call.streams:
            self._subscribe(call)
        elif call.endpoint == DISCOVER:
            try:
                self.peer.reply(call.number, self._dispatcher.discover())
            except TooLarge as error:
                call.fail(error)
        else:
            call.fail(UnknownEndpoint("there is no such method"))

    def _subscribe(self, call: _Call) -> None:
        # No task: events are pushed by whoever publishes them, and credit by the reader.
        self._calls[call] = None
        self._open[call.number] = call
        try:
            call.subscriber = self._hub.subscribe(call)
            call.subscriber.begin()
        except RemoteError as error:
            call.fail(error)
            self.forget(call)


def _expire(call: _Call) -> None:
    call.abort(DeadlineExceeded("the time for this call is over"))


def error_object(error: RemoteError) -> ErrorObject:
    """An exception as it goes over the wire."""
    return ErrorObject(
        error.code, error.message, UNSET if error.data is None else Raw(encode_answer(error.data))
    )
