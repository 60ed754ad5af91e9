"""The state of one conversation, the same on both sides: whose calls are open, what is to be sent, what came in.

A conversation outlives its connections. Each side counts the messages of the other and keeps its own until they are
acknowledged; after a cut it sends again what the other has not received. So every message arrives exactly once and in
order, and calls, streams and subscriptions need know nothing of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from discord_tools.ipc.errors import ErrorCodes, InvalidRequest, Overloaded, TooLarge
from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.wire.codec import Malformed, Unreadable, decode, encode, encode_given, pack
from discord_tools.ipc.wire.frames import (
    ACK,
    BYE,
    CANCEL,
    ITEM,
    MORE,
    READY,
    Ack,
    Bye,
    Cancel,
    ErrorObject,
    Frame,
    Id,
    Item,
    More,
    Ready,
)

__all__ = (
    "Answered",
    "ByeReceived",
    "CallReceived",
    "CancelReceived",
    "Context",
    "Event",
    "ItemsReceived",
    "MoreReceived",
    "Peer",
    "ReadyReceived",
    "ProtocolViolation",
)

#: After so many frames that break the protocol the connection is closed: each costs a line in the log and an answer.
MAX_VIOLATIONS: Final = 16

#: So many messages, or so many bytes, are received between two acknowledgements: seldom enough to cost nothing, often
#: enough that the other side keeps little.
ACK_MESSAGES: Final = 32
ACK_BYTES: Final = 256 * 1024

#: A violation is told in so many characters: the words of the other side in it can be as long as a message.
REASON_CHARS: Final = 500

NO_RESULT: Final = Raw(b"null")

_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


class Context(Protocol):
    """What waits for the answer to a call of ours.

    It learns the call's number, which changes if it is called again, and the frame of the call.
    """

    number: int
    frame: bytes


class _Call(Struct, gc=False):
    """A call of ours. What it passes is written in one go with the frame around it."""

    jsonrpc: str
    id: int
    method: str
    params: Any
    headers: dict[str, Any] | UnsetType
    credit: int | UnsetType


class CallReceived(Struct, gc=False):
    """The other side calls. It gets exactly one :meth:`Peer.reply` or :meth:`Peer.fail`.

    With ``credit`` it reads a stream, and takes so many items at first.
    """

    id: Id
    method: str
    params: Raw | UnsetType
    headers: dict[str, Any] | UnsetType
    credit: int | UnsetType


class CancelReceived(Struct, gc=False):
    """The other side does not wait for its call any more."""

    id: Id


class MoreReceived(Struct, gc=False):
    """The other side takes more items of a stream."""

    id: Id
    n: int


class ItemsReceived(Struct):
    """The next items of a stream of ours."""

    context: Any
    items: list[Raw]


class Answered(Struct):
    """A call of ours has its answer: ``result``, or ``error`` where that is set."""

    context: Any
    result: Raw
    error: ErrorObject | UnsetType


class ReadyReceived(Struct, gc=False):
    """The bot has become ready, or is not any more."""

    ready: bool


class ByeReceived(Struct, gc=False):
    """The other side is about to close and starts no more calls of ours."""

    reason: str


class ProtocolViolation(Struct, gc=False):
    """The other side broke the protocol. It was told; when ``fatal``, the connection cannot go on."""

    reason: str
    fatal: bool


Event: TypeAlias = (
    CallReceived
    | CancelReceived
    | MoreReceived
    | ItemsReceived
    | Answered
    | ReadyReceived
    | ByeReceived
    | ProtocolViolation
)


class Peer:
    """One side of one conversation.

    Feed it what arrives, then take events and take messages to send.

    Parameters
    ----------
    calls: :class:`int`
        How many calls of the other side may be open at once; further ones are answered with
        :exc:`~discord_tools.ipc.Overloaded`.
    message_bytes: :class:`int`
        The largest message the other side takes.
    retained_bytes: :class:`int`
        How much is kept for sending again. Beyond it the oldest is dropped, and a conversation that would need it
        cannot be resumed.
    """

    def __init__(self, *, calls: int, message_bytes: int, retained_bytes: int) -> None:
        self.message_bytes: int = message_bytes
        self._calls = calls
        self._retained_limit = retained_bytes
        self._next_id = 1
        self._waiting: dict[Id, Any] = {}
        #: Calls from this number on were never sent.
        self._unsent = 1
        self._forgotten: set[Id] = set()
        self._open: set[Id] = set()
        self._out: list[bytes] = []
        self._items: dict[Id, list[Raw]] = {}
        self._inbox: deque[Frame | Malformed | Unreadable] = deque()
        self._violations = 0
        #: Called when there is something to send after there was nothing. It must not raise.
        self.wake: Callable[[], None] = _nobody
        #: Bytes that wait to be sent for the first time.
        self.pending_bytes: int = 0
        self._again: list[bytes] = []
        self._retained: deque[bytes] = deque()
        self._retained_bytes = 0
        self._sent = 0
        #: How many messages of the other side have come in.
        self.received: int = 0
        self._acknowledged = 0
        self._unacknowledged_bytes = 0

    # -- our calls

    def call(
        self,
        method: str,
        params: Any,
        context: Context,
        *,
        headers: dict[str, Any] | UnsetType = UNSET,
        credit: int | UnsetType = UNSET,
    ) -> None:
        """Queues a call. ``context`` gets its number, and comes back with its answer.

        Raises
        ------
        EncodeError
            The parameters cannot be written as JSON. Nothing was queued.
        TooLarge
            The call does not fit into one message. Nothing was queued.
        """
        number = self._next_id
        frame = encode_given(_Call("2.0", number, method, params, headers, credit))
        if len(frame) > self.message_bytes:
            raise TooLarge(f"the call has {len(frame)} bytes, the other side takes {self.message_bytes}")
        self._next_id = number + 1
        self._waiting[number] = context
        context.number = number
        context.frame = frame
        self._queue(frame)

    def more(self, number: Id, n: int) -> None:
        """Takes more items of a stream of ours."""
        if number in self._waiting:
            self.notify(MORE, More(number, n))

    def forget(self, number: int) -> None:
        """Gives up a call of ours. If it was sent, the other side is told, and its late answer is passed over."""
        context: Any = self._waiting.pop(number, None)
        if context is None:
            return
        if number < self._unsent:
            self._forgotten.add(number)
            self.notify(CANCEL, Cancel(number))
        else:
            self._out.remove(context.frame)
            self.pending_bytes -= len(context.frame)

    def sent_calls(self) -> list[Any]:
        """The contexts of our calls that have no answer and may have been received."""
        return [context for context in self._waiting.values() if context.number < self._unsent]

    def unsent_calls(self) -> list[Any]:
        """The contexts of our calls that were never sent."""
        return [context for context in self._waiting.values() if context.number >= self._unsent]

    def abandon(self) -> tuple[list[Any], list[Any]]:
        """Gives up all of our calls because the other side has lost the conversation.

        Returns
        -------
        Tuple[list, list]
            The contexts of those that were never sent, and of those that may have been received.
        """
        sent, unsent = self.sent_calls(), self.unsent_calls()
        self._waiting.clear()
        return unsent, sent

    def bye(self, reason: str = "") -> None:
        """Announces that this side is about to close, for good."""
        self.notify(BYE, Bye(reason))

    def notify(self, method: str, params: Struct) -> None:
        """Queues a notification."""
        self._queue(encode(Frame("2.0", method=method, params=Raw(encode(params)))))

    # -- calls of the other side

    @property
    def item_bytes(self) -> int:
        """:class:`int`: How many bytes an item of a stream may have."""
        return self.message_bytes - _ITEM_OVERHEAD

    def item(self, number: Id, item: bytes) -> None:
        """Queues an item of a stream that the other side reads. Items of one turn travel together.

        Raises
        ------
        TooLarge
            The item does not fit into one message.
        """
        if number in self._open:
            if len(item) > self.item_bytes:
                raise TooLarge(f"an item has {len(item)} bytes, the reader takes {self.message_bytes}")
            if not self._items:
                self.wake()
            self._items.setdefault(number, []).append(Raw(item))
            self.pending_bytes += len(item)

    def reply(self, number: Id, result: bytes) -> None:
        """Queues the answer to a call of the other side. A second answer to the same call is passed over.

        Raises
        ------
        TooLarge
            The answer does not fit into one message. The call is still open.
        """
        self._settle(number, encode(Frame("2.0", number, result=Raw(result))), "answer")

    def answer(self, number: Id, frame: bytes) -> None:
        """The same as :meth:`reply` with a frame that is encoded already, which spares a large answer a copy."""
        self._settle(number, frame, "answer")

    def fail(self, number: Id, error: ErrorObject) -> None:
        """Queues an error as the answer to a call of the other side.

        Raises
        ------
        TooLarge
            The error does not fit into one message. The call is still open.
        """
        self._settle(number, encode(Frame("2.0", number, error=error)), "error")

    def _settle(self, number: Id, frame: bytes, kind: str) -> None:
        if number not in self._open:
            return
        if len(frame) > self.message_bytes:
            raise TooLarge(f"the {kind} has {len(frame)} bytes, the caller takes {self.message_bytes}")
        self._open.discard(number)
        if self._items:
            # They come before the answer, which ends the stream.
            self._flush_items(number, self._items.pop(number, []))
        self._queue(frame)

    # -- input and output

    def feed(self, data: bytes | str) -> None:
        """Takes one message. Does nothing after a fatal violation."""
        if self._violations >= MAX_VIOLATIONS:
            return
        self.received += 1
        self._unacknowledged_bytes += len(data)
        try:
            self._inbox.extend(decode(data))
        except Unreadable as error:
            self._inbox.append(error)
        unacknowledged = self.received - self._acknowledged
        if unacknowledged >= ACK_MESSAGES or self._unacknowledged_bytes >= ACK_BYTES:
            self._acknowledged = self.received
            self._unacknowledged_bytes = 0
            self.notify(ACK, Ack(self.received))

    def next_event(self) -> Event | None:
        """Looks at what was fed, as far as the next event, or returns ``None`` when all has been looked at.

        One at a time, so that what one connection had no time for is left to the next one.
        """
        inbox = self._inbox
        while inbox:
            frame = inbox.popleft()
            event: Event | None
            if not isinstance(frame, Frame):
                if isinstance(frame, Malformed):
                    event = self._violate(f"not a frame of JSON-RPC 2.0: {frame.reason}", about=frame.id)
                else:
                    event = self._violate(f"the message is not JSON: {frame}", code=ErrorCodes.PARSE_ERROR)
            elif frame.jsonrpc != "2.0":
                event = self._violate("the member 'jsonrpc' must be \"2.0\"", about=frame.id)
            elif frame.method is UNSET:
                event = self._replied(frame)
            elif frame.id is UNSET:
                event = self._notified(frame.method, frame.params)
            elif frame.id in self._open:
                # An error under this id would pass for the answer to the call that is still open.
                event = self._violate(f"the id {frame.id!r} belongs to a call that is still open")
            else:
                self._open.add(frame.id)
                if len(self._open) <= self._calls:
                    return CallReceived(frame.id, frame.method, frame.params, frame.headers, frame.credit)
                problem = f"more than {self._calls} calls are in progress"
                self.fail(frame.id, ErrorObject(Overloaded.code, problem))
                continue
            if event is not None:
                return event
        return None

    def take_messages(self) -> list[bytes]:
        """Returns the messages that are to be sent now, and keeps them until they are acknowledged."""
        messages, self._again = self._again, []
        if self._items:
            streams, self._items = self._items, {}
            for number, items in streams.items():
                self._flush_items(number, items)
        if self._out:
            frames, self._out = self._out, []
            self._unsent = self._next_id
            self.pending_bytes = 0
            fresh = pack(frames, min(PACK_BYTES, self.message_bytes))
            self._sent += len(fresh)
            for message in fresh:
                self._retained.append(message)
                self._retained_bytes += len(message)
            while self._retained_bytes > self._retained_limit:
                self._retained_bytes -= len(self._retained.popleft())
            messages = messages + fresh if messages else fresh
        return messages

    def resume(self, received: int) -> bool:
        """Goes on over a new connection, after the other side has received so many messages.

        Returns
        -------
        :class:`bool`
            Whether it can: what is missing over there is still kept here.
        """
        if not self._acknowledge(received):
            return False
        self._again = list(self._retained)
        return True

    def _acknowledge(self, received: int) -> bool:
        dropped = self._sent - len(self._retained)
        if not dropped <= received <= self._sent:
            return False
        for _ in range(received - dropped):
            self._retained_bytes -= len(self._retained.popleft())
        return True

    def _queue(self, frame: bytes) -> None:
        if not self._out:
            self.wake()
        self._out.append(frame)
        self.pending_bytes += len(frame)

    def _flush_items(self, number: Id, items: list[Raw]) -> None:
        limit = min(PACK_BYTES, self.item_bytes)
        start = size = 0
        for end, item in enumerate(items):
            length = len(memoryview(item))
            if size and size + length > limit:
                self.notify(ITEM, Item(number, items[start:end]))
                start, size = end, 0
            size += length + 1
        if items:
            self.notify(ITEM, Item(number, items[start:]))

    def _replied(self, frame: Frame) -> Event | None:
        context: Any = UNSET if frame.id is UNSET else self._waiting.pop(frame.id, UNSET)
        if context is not UNSET:
            return Answered(context, NO_RESULT if frame.result is UNSET else frame.result, frame.error)
        if frame.error is UNSET and (frame.id is UNSET or frame.result is UNSET):
            # With its id, so that a caller who forgot the method learns it.
            return self._violate("a frame needs a method, or an id with a result or an error", about=frame.id)
        if frame.id is None or frame.id is UNSET:
            # An error that names no call is the other side's complaint about us. Answering it could go on for ever.
            reason = "unknown" if frame.error is UNSET else frame.error.message
            return self._violate(f"the other side reports: {reason}", answer=False)
        if frame.id in self._forgotten:
            self._forgotten.discard(frame.id)
            return None
        return self._violate(
            f"the id {frame.id!r} belongs to no call that waits for an answer", answer=frame.error is UNSET
        )

    def _notified(self, method: str, params: Raw | UnsetType) -> Event | None:
        try:
            if method == ITEM:
                item = _params(params, Item)
                context: Any = self._waiting.get(item.id, UNSET)
                if context is not UNSET:  # otherwise it was given up, and the other side does not know yet
                    return ItemsReceived(context, item.items)
            elif method == MORE:
                more = _params(params, More)
                return MoreReceived(more.id, more.n)
            elif method == ACK:
                received = _params(params, Ack).received
                # Fewer than were dropped meanwhile is no fault of the other side.
                if not self._acknowledge(received) and not 0 <= received <= self._sent:
                    return self._violate(
                        f"{received} messages cannot have been received, {self._sent} were sent"
                    )
            elif method == CANCEL:
                return CancelReceived(_params(params, Cancel).id)
            elif method == READY:
                return ReadyReceived(_params(params, Ready).ready)
            elif method == BYE:
                return ByeReceived(_params(params, Bye).reason)
            # Other notifications are for later versions of the protocol; JSON-RPC 2.0 allows no answer to them.
        except _UNREADABLE as error:
            return self._violate(f"bad parameters of {method}: {error}")
        return None

    def _violate(
        self,
        reason: str,
        *,
        code: int = InvalidRequest.code,
        about: Id | UnsetType = None,
        answer: bool = True,
    ) -> ProtocolViolation:
        reason = reason[:REASON_CHARS]
        self._violations += 1
        fatal = self._violations >= MAX_VIOLATIONS
        if fatal:
            self._inbox.clear()  # one pack may hold 100,000 more of them
        if answer:
            number = None if about is UNSET or about in self._open else about
            self._queue(encode(Frame("2.0", number, error=ErrorObject(code, reason))))
        return ProtocolViolation(reason, fatal)


#: What an item's frame weighs beyond the item, with the longest of ids.
_ITEM_OVERHEAD: Final = 1024

StructT = TypeVar("StructT", bound=Struct)


def _nobody() -> None:
    """Nothing is sent while there is no connection."""


def _params(params: Raw | UnsetType, type_: type[StructT]) -> StructT:
    return msgspec.json.decode(b"{}" if params is UNSET else params, type=type_)
