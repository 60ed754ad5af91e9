"""The client's side of a conversation: its calls and streams, over one connection after another."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, Raw, UnsetType

from discord_tools.ipc._version import __version__
from discord_tools.ipc.connection import Connection
from discord_tools.ipc.errors import (
    ConnectionLost,
    IPCError,
    ProtocolError,
    RequestTimeout,
    TooLarge,
    remote_error,
)
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.transports.base import NORMAL, REPLACED, Closed, Transport
from discord_tools.ipc.wire.codec import Malformed, Unreadable, decode, encode, encode_given
from discord_tools.ipc.wire.frames import HELLO, ErrorObject, Frame, Hello, Welcome
from discord_tools.ipc.wire.peer import (
    Answered,
    ByeReceived,
    CallReceived,
    Event,
    ItemsReceived,
    Peer,
    ProtocolViolation,
    ReadyReceived,
)

__all__ = ("Conversation", "Pending", "error_of")

log = logging.getLogger(__name__)

AGENT: Final = f"ipc-client/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"
_NO_ROUTES: Final = ErrorObject(-32601, "this side has no routes")


class Pending(Protocol):
    """What waits for the bot: a request, a stream or a subscription."""

    number: int
    frame: bytes
    endpoint: str

    def answered(self, answer: Answered) -> None:
        """Its answer is here."""
        ...

    def received(self, items: list[Raw]) -> None:
        """Its next items are here."""
        ...

    def again(self, idempotent: bool) -> Raw | None:
        """The parameters to call with once more after it may have run, or ``None`` where that may do harm."""
        ...

    def lost(self, error: IPCError) -> None:
        """It will have no answer."""
        ...


class _Request(asyncio.Future[Answered]):
    """A request that waits for its answer.

    It has no ``__init__``: a future without one takes less than half of the time to make.
    """

    __slots__ = ("deadline", "endpoint", "frame", "number", "timer")

    number: int
    frame: bytes
    endpoint: str
    deadline: float
    timer: asyncio.TimerHandle | None

    def answered(self, answer: Answered) -> None:
        if not self.done():
            self.set_result(answer)

    def received(self, items: list[Raw]) -> None:
        """A plain call has no items; a server that sends some breaks the protocol, which harms nobody here."""

    def again(self, idempotent: bool) -> Raw | None:
        return _params.decode(self.frame).params if idempotent else None

    def lost(self, error: IPCError) -> None:
        if not self.done():
            self.set_exception(error)


class Conversation:
    """Calls go in, answers come out, whatever becomes of the connections in between.

    Parameters
    ----------
    limits: :class:`ClientLimits`
        What this side grants.
    timeout: Optional[:class:`float`]
        How long requests wait, for the server to know.
    headers: Mapping[:class:`str`, Any]
        What calls carry.
    """

    def __init__(self, limits: ClientLimits, timeout: float | None, headers: Mapping[str, Any]) -> None:
        self._limits = limits
        self._timeout = timeout
        self._headers = dict(headers)
        self._peer = self._new_peer(limits.message_bytes)
        self._token: str | None = None
        self._link: Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._slots = _Slots()
        self._timed: dict[_Request, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._leaving = False
        #: Set while the connection is there and the bot is ready.
        self.ready: asyncio.Event = asyncio.Event()

    @property
    def usable(self) -> bool:
        """:class:`bool`: Whether there is a connection that takes calls."""
        return self._link is not None and not self._leaving

    @property
    def received(self) -> int:
        """:class:`int`: How many messages have come in after the hello."""
        return self._peer.received

    # -- calls

    async def call(self, endpoint: str, params: Any, seconds: float | None) -> Raw:
        """Calls and waits for the answer. Cancelling it cancels the call on the other side, too.

        Raises
        ------
        EncodeError
            The parameters cannot be written as JSON.
        RequestTimeout
            No answer in time.
        ConnectionLost
            The call was sent, and its answer is lost.
        RemoteError
            The other side answered with an error.
        """
        if seconds is not None and seconds <= 0:
            raise RequestTimeout(endpoint, self._timeout or seconds)  # nobody would wait for it
        request = _Request(loop=self._loop)
        request.endpoint = endpoint
        request.timer = None
        headers = UNSET if seconds is None else self._limit(request, seconds)
        slots = self._slots
        try:
            if not slots.take():
                params = Raw(encode_given(params))  # as it is now, and not when its turn comes
                await slots.wait(request)
            try:
                self._peer.call(endpoint, params, request, headers=headers)
                answer = await request
            except (asyncio.CancelledError, RequestTimeout):
                self._peer.forget(request.number)
                raise
            finally:
                slots.give()
        finally:
            self._timed.pop(request, None)
            if request.timer is not None:
                request.timer.cancel()
        if answer.error is not UNSET:
            raise error_of(endpoint, answer.error)
        return answer.result

    def _limit(self, request: _Request, seconds: float) -> dict[str, Any] | UnsetType:
        """Gives a request its time. Returns what the server has to know about that beyond the hello."""
        request.deadline = self._loop.time() + seconds
        if seconds != self._timeout:
            # It waited for a connection, so less is left than the hello promised.
            request.timer = self._loop.call_at(request.deadline, _expire, request, self._timeout or seconds)
            return {"timeout": seconds}
        self._timed[request] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_at(request.deadline, self._sweep)
        return UNSET

    def _sweep(self) -> None:
        """Ends requests whose time is over. They have the same time each, so the oldest come first and one timer
        serves all of them: a timer each costs a tenth of a small request.
        """
        self._sweeper = None
        now = self._loop.time()
        for request in tuple(self._timed):
            if request.deadline > now:
                self._sweeper = self._loop.call_at(request.deadline, self._sweep)
                return
            del self._timed[request]
            _expire(request, self._timeout or 0.0)

    def open(self, pending: Pending, params: Raw, credit: int) -> None:
        """Calls for a stream.

        Raises
        ------
        TooLarge
            The call does not fit into one message.
        """
        self._peer.call(pending.endpoint, params, pending, credit=credit)

    def more(self, pending: Pending, n: int) -> None:
        """Takes more items of a stream."""
        self._peer.more(pending.number, n)

    def forget(self, pending: Pending) -> None:
        """Gives a stream up."""
        self._peer.forget(pending.number)

    def give_up(self, error: IPCError) -> None:
        """Ends the requests: the connection does not come back in time. Those that were never sent get ``error``.

        Streams and subscriptions wait on, since nothing of them is lost yet.
        """
        self._look()
        self._slots.end(error)
        unsent, sent = self._peer.unsent_calls(), self._peer.sent_calls()
        for pending, why in (*((one, error) for one in unsent), *((one, None) for one in sent)):
            if isinstance(pending, _Request):
                self._peer.forget(pending.number)
                pending.lost(why or ConnectionLost(pending.endpoint))

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
        return encode(Frame("2.0", 0, HELLO, Raw(encode(hello))))

    def welcomed(self, message: bytes | str) -> None:
        """Takes the answer to the hello: goes on where it was, or begins anew.

        Raises
        ------
        ProtocolError
            It is no answer to a hello.
        Closed
            It cannot go on where it was. The next connection begins anew.
        """
        welcome = _welcome(message)
        if not welcome.resumed:
            self._begin(welcome)
        elif not self._peer.resume(welcome.received):
            self._token = None
            raise Closed("what the server has not received is not kept any more")
        self._token = welcome.session
        self._peer.message_bytes = welcome.limits.message_bytes
        self._slots.resize(max(1, welcome.limits.calls))
        self._leaving = False
        self._set_ready(welcome.ready)

    def attach(self, transport: Transport) -> Connection:
        """Takes calls from now on, for :meth:`carry` to carry them over this connection."""
        self._link = Connection(self._peer, transport, self._handle, backlog_bytes=sys.maxsize)
        return self._link

    async def carry(self, link: Connection) -> Closed:
        """Runs over one connection until that ends."""
        try:
            closed = await link.run()
        finally:
            self._link = None
            self.ready.clear()
        if closed.code == REPLACED:
            # Somebody else presented our token. Taking it back would go to and fro for ever.
            log.warning("Another client took this conversation over; beginning a new one")
            self._token = None
        return closed

    async def close(self) -> None:
        """Takes leave, closes the connection, and ends everything that waits."""
        self._leaving = True
        if self._link is not None:
            reason = "the session is closed"
            self._peer.bye(reason)
            await self._link.close(NORMAL, reason, seconds=self._limits.close_timeout)

    def end(self, error: IPCError) -> None:
        """Ends everything that waits."""
        self._look()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        unsent, maybe = self._peer.abandon()
        self._token = None  # what is answered to these calls from now on would belong to nobody
        for pending in (*unsent, *maybe):
            pending.lost(error)
        self._slots.end(error)
        self.ready.set()  # whoever waits for it looks at the state again

    def _new_peer(self, message_bytes: int) -> Peer:
        peer = Peer(calls=0, message_bytes=message_bytes, retained_bytes=self._limits.retained_bytes)
        peer.wake = self._wake
        return peer

    def _wake(self) -> None:
        if self._link is not None:
            self._link.wake()

    def _begin(self, welcome: Welcome) -> None:
        """Begins a new conversation with what the old one left: the other side has lost it."""
        self._look()
        unsent, maybe = self._peer.abandon()
        self._peer = self._new_peer(welcome.limits.message_bytes)
        idempotent = frozenset(welcome.idempotent)
        for pending, sent in (*((one, False) for one in unsent), *((one, True) for one in maybe)):
            # The new peer counts from 1 again. Who was cancelled in this very turn must not end another's call there.
            pending.number = 0
            endpoint = pending.endpoint if pending.endpoint.startswith("/") else f"/{pending.endpoint}"
            params = pending.again(not sent or endpoint in idempotent)
            if params is None:
                pending.lost(ConnectionLost(pending.endpoint))
                continue
            try:
                credit = UNSET if isinstance(pending, _Request) else self._limits.stream_items
                self._peer.call(pending.endpoint, params, pending, credit=credit)
            except TooLarge as error:
                pending.lost(error)

    def _set_ready(self, ready: bool) -> None:
        (self.ready.set if ready else self.ready.clear)()

    def _look(self) -> None:
        """Looks at what the last connection brought and had no time for."""
        while (event := self._peer.next_event()) is not None:
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Answered):
            event.context.answered(event)
        elif isinstance(event, ItemsReceived):
            event.context.received(event.items)
        elif isinstance(event, ReadyReceived):
            self._set_ready(event.ready)
        elif isinstance(event, ByeReceived):
            log.info("The bot takes leave: %s", event.reason)
            self._leaving = True
            self._slots.hold()
        elif isinstance(event, ProtocolViolation):
            log.warning("The bot broke the protocol: %s", event.reason)
            if event.fatal:
                self._token = None  # this peer reads nothing any more
        elif isinstance(event, CallReceived):
            self._peer.fail(event.id, _NO_ROUTES)


class _Slots:
    """How many more requests the server takes at a time. Further ones wait here, in the order in which they came."""

    def __init__(self) -> None:
        self._free = 1
        self._size = 1
        self._held = False
        self._queue: deque[tuple[asyncio.Future[None], _Request]] = deque()

    def hold(self) -> None:
        """Gives no more places, until the next connection tells how many there are."""
        self._held = True

    def resize(self, size: int) -> None:
        self._held = False
        self._free += size - self._size
        self._size = size
        self._admit()

    def take(self) -> bool:
        """Takes a place if there is one."""
        if self._free <= 0 or self._held:
            return False
        self._free -= 1
        return True

    async def wait(self, request: _Request) -> None:
        """Waits for a place. Raises what ends the request meanwhile."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((place, request))
        request.add_done_callback(lambda _: place.cancel())
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give()  # it came in the very turn in which the wait was cancelled
            if request.done():
                request.result()
            raise

    def end(self, error: IPCError) -> None:
        """Ends whatever waits for a place."""
        for place, request in self._queue:
            if not place.done():  # otherwise nobody waits there any more
                request.lost(error)
        self._queue.clear()

    def give(self) -> None:
        """Gives a place back."""
        self._free += 1
        if self._queue:
            self._admit()

    def _admit(self) -> None:
        while self._queue and self._free > 0 and not self._held:
            place, _ = self._queue.popleft()
            if not place.done():
                self._free -= 1
                place.set_result(None)


class _Params(msgspec.Struct):
    params: Raw


_params = msgspec.json.Decoder(_Params)


def _expire(request: _Request, seconds: float) -> None:
    request.lost(RequestTimeout(request.endpoint, seconds))


def error_of(endpoint: str, error: ErrorObject) -> IPCError:
    """The exception for an error that came over the wire."""
    data: Any = None
    if error.data is not UNSET:
        try:
            data = msgspec.json.decode(error.data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            log.warning("The data of an error of %r cannot be read", endpoint)
    return remote_error(endpoint, error.code, error.message, data)


def _welcome(message: bytes | str) -> Welcome:
    try:
        frame = decode(message)[0]
        if isinstance(frame, Malformed):
            raise ProtocolError(f"the server's answer to {HELLO} is no frame: {frame.reason}")
        if frame.error is not UNSET:
            raise ProtocolError(f"the server refuses the {HELLO}: {frame.error.message}")
        return msgspec.json.decode(b"{}" if frame.result is UNSET else frame.result, type=Welcome)
    except (Unreadable, IndexError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"the server's answer to {HELLO} cannot be understood: {error}") from error
