"""A call of a native client in progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import UNSET

from discord_tools.ipc.errors import AlreadyResponded, RemoteError, TooLarge
from discord_tools.ipc.wire.frames import ErrorObject, Id
from discord_tools.ipc.wire.outbox import Outbox
from discord_tools.ipc.wire.received import CallReceived
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.admission import SMALL_BYTES, Account, measure
from discord_tools.ipc_server.budget import RECOUNT, MemoryBudget
from discord_tools.ipc_server.call import cancel_other
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.encoding import (
    encode_large,
    encode_reply,
    encode_small,
    error_object,
    reply_with,
)
from discord_tools.ipc_server.judge import unverified
from discord_tools.ipc_server.subscriber import Subscriber
from discord_tools.ipc_server.turns import LARGE_BYTES, TurnBudget
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("Channel", "NativeCall")


class Channel(Protocol):
    """The conversation of a call, as far as the call needs it.

    Implemented by :class:`~.conversation.Conversation`.
    """

    caller: Caller
    #: Writes answers as JSON.
    encoder: Encoder
    #: Whether more waits to be sent than the backlog may hold.
    is_full: Callable[[], bool]
    #: Whether another item of a stream may be sent in this turn of the loop.
    may_send_item: Callable[[], bool]
    #: Bounds what is decoded and encoded in one turn of the loop.
    turns: TurnBudget
    #: Bounds the calls of the client.
    account: Account
    #: What is sent to the client.
    outbox: Outbox
    #: Bounds the memory that is held for all clients.
    budget: MemoryBudget

    @property
    def item_bytes(self) -> int:
        """The largest item that the client takes, in bytes."""
        ...

    async def wait_for_capacity(self) -> None:
        """Waits until the backlog has capacity."""
        ...

    def must_wait(self) -> bool:
        """Whether handlers may not start yet."""
        ...

    def send_answer(self, number: Id, frame: bytes) -> None:
        """Queues the answer to a call."""
        ...

    def send_error(self, number: Id, error: ErrorObject) -> None:
        """Queues an error as the answer to a call."""
        ...

    def send_item(self, number: Id, item: bytes) -> None:
        """Queues an item of a stream."""
        ...

    def pump_later(self) -> None:
        """Has subscriptions send what waits, as soon as the backlog has capacity."""
        ...

    def forget(self, call: NativeCall) -> None:
        """Takes note that a call is over."""
        ...


class NativeCall:
    """A call in progress."""

    # Defaults of the class, since most calls never change these.
    #: Whether the caller reads a stream.
    streams: bool = False
    #: Number of items that the reader of a stream takes.
    credit: int = 0
    #: When nobody waits for the answer any more, by the loop's clock.
    deadline: float | None = None
    #: Size of the data, in bytes, where it came in a large message: it counts in the caller's account.
    size: int = 0
    #: Size that its answer may have, in bytes, where its route is a large one.
    expected: int = 0
    #: Number of the turn of the loop in which its handler began, where it had to wait for one.
    _turn: int = -1
    #: Whether it has its answer, or needs none.
    settled: bool = False
    #: The name and the code of the error that answered it. Not the error, which refers to what was called.
    failure: tuple[str, int] | None = None
    #: The user for whom it is made.
    acting: ActingUser | None = None
    #: Whether it is the call of a subscription whose acting user is judged first.
    subscribes: bool = False
    #: The subscription, where this is the call of one.
    subscriber: Subscriber | None = None
    #: Runs the handler. Set once the handler waits: one that does not has ended by then.
    task: asyncio.Task[None] | None = None
    #: Set when the reader of a stream grants credit.
    _more: asyncio.Event | None = None

    def __init__(self, channel: Channel, event: CallReceived, headers: Mapping[str, Any]) -> None:
        self._channel = channel
        #: Id of the call in its conversation.
        self.number: Id = event.id
        method = event.method
        #: The name of the route, with its leading slash.
        self.endpoint: str = method if method[:1] == "/" else f"/{method}"
        #: The data, as JSON.
        self.params: bytes = b"{}" if event.params is UNSET else event.params  # pyright: ignore[reportAttributeAccessIssue]
        #: The caller's own headers.
        self.headers: Mapping[str, Any] = headers
        if event.credit is not UNSET:
            self.streams = True
            self.credit = event.credit

    def measure(self, others_bytes: int) -> None:
        """Finds out the size of the data and of what else the call holds, of which ``others_bytes`` are given."""
        number = self.number
        self.size = measure(self.params) + (len(number) if isinstance(number, str) else 0) + others_bytes

    @property
    def caller(self) -> Caller:
        return self._channel.caller

    def renew(self, caller: Caller, dispatcher: Dispatcher) -> None:
        """Ends it if the caller's key does not open any more what was called."""
        if self.subscriber is None:
            refusal = dispatcher.refusal(self, caller)
        else:
            refusal = self.subscriber.renew(caller) or unverified(self.acting, caller)
        if refusal is not None:
            self.abort(refusal)

    def must_wait(self) -> bool:
        channel = self._channel
        if channel.turns.large and not self.streams and channel.turns.must_wait(self.endpoint, -1):
            return True
        # Nothing of it is asked while little waits, which is nearly always.
        return (channel.outbox.pending_bytes > LARGE_BYTES or channel.budget.is_spent) and channel.must_wait()

    async def wait_to_start(self) -> None:
        channel = self._channel
        while channel.must_wait():
            await channel.wait_for_capacity()
            if channel.must_wait():  # too much is held for all clients together
                await asyncio.sleep(RECOUNT)
        if not self.streams:  # which wait with each item, and may go on indefinitely
            self.expected = await channel.turns.begin(self.endpoint, channel.account.answers)
            self._turn = channel.turns.number

    def answer(self, data: Any, /) -> bool:
        channel = self._channel
        if channel.outbox.pending_bytes > LARGE_BYTES and channel.is_full():
            return False
        large = channel.turns.large
        if large and channel.turns.must_wait(self.endpoint, self._turn):
            return False
        reply = encode_reply(self.number, data, channel.encoder)
        if reply is None:
            return False
        channel.send_answer(self.number, reply)
        self.settled = True
        if large or len(reply) > SMALL_BYTES:
            self._encoded(len(reply))
        return True

    async def send_json(self, data: Any, /) -> None:
        # A thousand answers may be ready for a client that reads none: they are encoded when there is capacity.
        channel = self._channel
        turns = channel.turns
        await channel.wait_for_capacity()
        await turns.take_for(self.endpoint, self._turn)
        reply = encode_reply(self.number, data, channel.encoder)
        if reply is None:
            result = await encode_large(data, channel.item_bytes, turns.take, channel.encoder)
            reply = reply_with(self.number, result)
        if self.settled:
            raise AlreadyResponded(self.endpoint)
        channel.send_answer(self.number, reply)
        self.settled = True
        self._encoded(len(reply))

    def _encoded(self, size: int) -> None:
        """Takes note of the size of the answer."""
        if size > SMALL_BYTES:
            self._channel.budget.add(size)
        if not self.streams:  # the answer of a stream only ends it
            self._channel.turns.encoded(self.endpoint, size)

    async def send_item(self, data: Any, /) -> None:
        while self.credit <= 0 and not self.settled:
            self._more = asyncio.Event()
            await self._more.wait()
        while not self._channel.may_send_item():  # noqa: ASYNC110 (each turn of the loop allows a number of items)
            # Generators that never wait and readers that take a million items would leave no turn to the bot.
            await asyncio.sleep(0)
        await self._channel.wait_for_capacity()
        turns = self._channel.turns
        if turns.large:
            await turns.take_for(self.endpoint, -1)
        item = encode_small(data, self._channel.encoder)
        if item is None:
            most = self._channel.item_bytes
            try:
                item = await encode_large(data, most, turns.take, self._channel.encoder)
            except TooLarge:
                text = (
                    f"an item has more than {most} bytes, which the reader does not take: yield smaller ones"
                )
                raise TooLarge(text) from None
        if len(item) > LARGE_BYTES or turns.large:
            turns.encoded(self.endpoint, len(item))
        self.push(item)

    @property
    def takes(self) -> bool:
        """Whether the reader of a subscription takes an item now. Otherwise it is pumped once it does."""
        if self.credit <= 0:
            return False
        if self._channel.is_full():
            self._channel.pump_later()
            return False
        return True

    @property
    def largest(self) -> int:
        """The largest item that the reader takes, in bytes."""
        return self._channel.item_bytes

    def push(self, item: bytes) -> None:
        """Sends an encoded item, on credit."""
        self.credit -= 1
        self._channel.send_item(self.number, item)

    def grant(self, n: int) -> None:
        """Takes note that the reader takes ``n`` more items."""
        self.credit += n
        if self._more is not None:
            self._more.set()
        if self.subscriber is not None:
            self.subscriber.pump()

    def ended(self) -> None:
        if self.expected:
            # Also for a handler that had its turn at once and never waited, so that it has no task.
            self._channel.account.answers.end(self.expected)
            self.expected = 0
        if self.task is not None:
            self._channel.forget(self)

    def leave(self) -> None:
        """Ends a subscription without an answer: its reader continues it in another conversation."""
        if self.subscriber is not None:
            self.subscriber.close()
        self.settled = True
        self._channel.forget(self)
        if self.task is not None:
            self.task.cancel()  # its user is being judged

    def fail(self, error: RemoteError) -> None:
        if not self.settled:
            self._channel.send_error(self.number, error_object(error, self._channel.encoder))
            self.failure = type(error).__name__, error.code
            self.settled = True

    def refuse(self, error: RemoteError) -> None:
        """Answers a subscription that does not begin with an error."""
        self.fail(error)
        self._channel.forget(self)

    def give_up(self, error: RemoteError) -> None:
        """Ends it where nobody waits for it any more."""
        if self.subscriber is not None or self.subscribes:
            self.leave()
        else:
            self.abort(error)

    def abort(self, error: RemoteError) -> None:
        """Answers with an error now and cancels the handler: one that ignores that keeps nobody waiting."""
        self.fail(error)
        if self._more is not None:
            self._more.set()
        if self.task is not None:
            # A task that is cancelled before its first step never comes to the end of its own code.
            self.task.add_done_callback(lambda _: self._channel.forget(self))
            cancel_other(self.task)
        if self.subscriber is not None:
            self.subscriber.close()
            self._channel.forget(self)
