"""State of one conversation, the same on both sides: open calls, what is to be sent, what was received.

It has no socket, clock or task. A conversation outlives its connections: see :mod:`.outbox` for how messages arrive
exactly once and in order, so that calls, streams and subscriptions need not know about cuts.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from discord_tools.ipc.errors import BadData, InvalidRequest, Overloaded, RequestTooLarge, TooLarge
from discord_tools.ipc.wire.codec import (
    UNREADABLE,
    Malformed,
    Refused,
    Unreadable,
    decode,
    decode_one,
    encode,
    encode_given,
)
from discord_tools.ipc.wire.codes import PARSE_ERROR
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
    Meta,
    More,
    Ready,
)
from discord_tools.ipc.wire.outbox import Outbox, notification
from discord_tools.ipc.wire.received import (
    Answered,
    ByeReceived,
    CallReceived,
    CancelReceived,
    ItemsReceived,
    MoreReceived,
    PeerEvent,
    ProtocolViolation,
    ReadyReceived,
)

__all__ = ("OpenCall", "Peer")

#: Number of violations after which the connection is closed: each costs a line in the log and an answer.
MAX_VIOLATIONS: Final = 16

#: Messages, or bytes, received between two acknowledgements: rare enough to cost nothing, frequent enough that the
#: other side retains little.
ACK_MESSAGES: Final = 32
ACK_BYTES: Final = 256 * 1024

#: Maximum length of the text about a violation: it quotes the other side, whose words can be as long as a message.
REASON_CHARS: Final = 500

NO_RESULT: Final = Raw(b"null")

ContextT = TypeVar("ContextT")
StructT = TypeVar("StructT", bound=Struct)


class OpenCall(NamedTuple, Generic[ContextT]):
    """A call of this side without an answer. ``sent`` tells whether the other side may have received it."""

    number: int
    context: ContextT
    sent: bool


class _Call(Struct, gc=False):
    """The frame of a call. Its parameters are encoded in one go with the frame around them."""

    jsonrpc: str
    id: int
    method: str
    params: Any
    headers: dict[str, Any] | UnsetType
    credit: int | UnsetType
    meta: Meta | UnsetType


class Peer(Generic[ContextT]):
    """One side of one conversation.

    Feed it what arrives, then take events and take messages to send.

    Parameters
    ----------
    calls: :class:`int`
        Maximum number of open calls of the other side; further ones are answered with
        :exc:`~discord_tools.ipc.Overloaded`.
    message_bytes: :class:`int`
        The largest message that the other side takes, in bytes.
    retained_bytes: :class:`int`
        Maximum size of what is retained to be sent again after a cut, in bytes.
    trusted: :class:`bool`
        Whether messages are decoded whatever they hold. Otherwise a call with too many values is answered with
        :exc:`~discord_tools.ipc.BadData`.
    """

    def __init__(self, *, calls: int, message_bytes: int, retained_bytes: int, trusted: bool = True) -> None:
        #: Maximum number of open calls of the other side.
        self._max_calls = calls
        #: Whether messages are decoded whatever they hold.
        self._trusted = trusted
        #: What this side sends.
        self.outbox: Outbox = Outbox(message_bytes, retained_bytes)
        #: Queues a frame.
        self._put = self.outbox.put
        #: Id of the next call of this side.
        self._next_id = 1
        #: What waits for the answers to calls of this side, by the ids of the calls.
        self._waiting: dict[Any, ContextT] = {}
        #: Calls with this id or a higher one were never sent.
        self._unsent = 1
        #: Calls that this side cancelled. Their answers may still come and are ignored.
        self._forgotten: set[Id] = set()
        #: Ids of the calls of the other side that have no answer.
        self._open: set[Id] = set()
        #: What was fed and not looked at.
        self._inbox: deque[Frame | Raw | Refused | Unreadable] = deque()
        #: Size of the message that was fed last, in bytes.
        self.message_size: int = 0
        #: Number of violations of the other side.
        self._violations = 0
        #: Number of messages that were received in this conversation.
        self.received: int = 0
        #: Number of messages that the other side knows to have been received.
        self._acknowledged = 0
        #: Size of the messages received since the last acknowledgement, in bytes.
        self._unacknowledged_bytes = 0

    # -- calls of this side

    def call(
        self,
        method: str,
        params: Any,
        context: ContextT,
        *,
        headers: dict[str, Any] | UnsetType = UNSET,
        credit: int | UnsetType = UNSET,
        meta: Meta | UnsetType = UNSET,
    ) -> tuple[int, bytes]:
        """Queues a call. Returns its number and its frame. ``context`` comes back with its answer.

        Raises
        ------
        EncodeError
            The parameters cannot be written as JSON. Nothing was queued.
        RequestTooLarge
            The call does not fit into one message. Nothing was queued.
        """
        number = self._next_id
        frame = encode_given(_Call("2.0", number, method, params, headers, credit, meta))
        if len(frame) > self.outbox.message_bytes:
            raise RequestTooLarge(method, len(frame), self.outbox.message_bytes)
        self._next_id = number + 1
        self._waiting[number] = context
        self._put(frame)
        return number, frame

    def take_more(self, number: int, n: int) -> None:
        """Grants credit for ``n`` more items of a stream that this side reads."""
        if number in self._waiting:
            self.notify(MORE, More(number, n))

    def forget(self, number: int, frame: bytes) -> None:
        """Cancels a call of this side. If it was sent, ``rpc.cancel`` is queued and its late answer is ignored."""
        if self._waiting.pop(number, None) is None:
            return
        if number < self._unsent:
            self._forgotten.add(number)
            self.notify(CANCEL, Cancel(number))
        else:
            self.outbox.withdraw(frame)

    def open_calls(self) -> list[OpenCall[ContextT]]:
        """The calls of this side that have no answer."""
        return [OpenCall(number, context, number < self._unsent) for number, context in self._waiting.items()]

    def abandon(self) -> list[OpenCall[ContextT]]:
        """Forgets all calls of this side, because the other side has lost the conversation, and returns them."""
        calls = self.open_calls()
        self._waiting.clear()
        return calls

    def bye(self, reason: str = "") -> None:
        """Announces that this side is about to close for good."""
        self.notify(BYE, Bye(reason))

    def notify(self, method: str, params: Struct) -> None:
        """Queues a notification."""
        self._put(notification(method, params))

    # -- calls of the other side

    def item(self, number: Id, item: bytes) -> None:
        """Queues an item of a stream that the other side reads. Raises :exc:`~discord_tools.ipc.TooLarge`."""
        if number in self._open:
            self.outbox.put_item(number, item)

    def reply(self, number: Id, result: bytes) -> None:
        """Queues the answer to a call of the other side. A second answer to the same call is ignored.

        Raises
        ------
        TooLarge
            The answer does not fit into one message. The call is still open.
        """
        self._answer(number, encode(Frame("2.0", number, result=Raw(result))), "answer")

    def answer(self, number: Id, frame: bytes) -> None:
        """The same as :meth:`reply` with a frame that is encoded already, which saves copying a large answer."""
        self._answer(number, frame, "answer")

    def fail(self, number: Id, error: ErrorObject) -> None:
        """Queues an error as the answer to a call of the other side.

        Raises
        ------
        TooLarge
            The error does not fit into one message. The call is still open.
        """
        self._answer(number, encode(Frame("2.0", number, error=error)), "error")

    def _answer(self, number: Id, frame: bytes, kind: str) -> None:
        if number not in self._open:
            return
        if len(frame) > self.outbox.message_bytes:
            raise TooLarge(f"the {kind} has {len(frame)} bytes, the caller takes {self.outbox.message_bytes}")
        self._open.discard(number)
        if self.outbox.items:
            self.outbox.finish_items(number)
        self._put(frame)

    # -- input and output

    def feed(self, data: bytes | str) -> None:
        """Takes one message. Ignored after a fatal violation."""
        if self._violations >= MAX_VIOLATIONS:
            return
        self.received += 1
        self.message_size = size = len(data)
        self._unacknowledged_bytes += size
        try:
            self._inbox.extend(decode(data, trusted=self._trusted))
        except Unreadable as error:
            self._inbox.append(error)
        unacknowledged = self.received - self._acknowledged
        if unacknowledged >= ACK_MESSAGES or self._unacknowledged_bytes >= ACK_BYTES:
            self._acknowledged = self.received
            self._unacknowledged_bytes = 0
            self.notify(ACK, Ack(self.received))

    def next_event(self) -> PeerEvent | None:
        """Reads what was fed as far as the next event, or returns ``None`` at its end.

        One at a time, so that what one connection had no time for is left to the next one.
        """
        inbox = self._inbox
        while inbox:
            frame = inbox.popleft()
            event: PeerEvent | None
            # Asked for once, since nearly everything is a frame.
            if not isinstance(frame, Frame):
                # One at a time, so that none is decoded after a fatal violation.
                element = decode_one(frame, trusted=self._trusted) if isinstance(frame, Raw) else frame
                if not isinstance(element, Frame):
                    if (event := self._unreadable(element)) is not None:
                        return event
                    continue
                frame = element
            if frame.jsonrpc != "2.0":
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
                if len(self._open) <= self._max_calls:
                    return CallReceived(
                        frame.id, frame.method, frame.params, frame.headers, frame.credit, frame.meta
                    )
                problem = f"more than {self._max_calls} calls are in progress"
                self.fail(frame.id, ErrorObject(Overloaded.code, problem))
                continue
            if event is not None:
                return event
        return None

    def _unreadable(self, element: Malformed | Refused | Unreadable) -> ProtocolViolation | None:
        if isinstance(element, Refused):
            return self._refuse(element)
        if isinstance(element, Malformed):
            return self._violate(f"not a frame of JSON-RPC 2.0: {element.reason}", about=element.id)
        return self._violate(f"the message cannot be read: {element}", code=PARSE_ERROR)

    def _refuse(self, call: Refused) -> ProtocolViolation | None:
        """Answers a call that is not decoded. What names no call is a violation."""
        if call.id is None or call.id in self._open:
            return self._violate(call.reason, about=call.id)
        self._open.add(call.id)
        self.fail(call.id, ErrorObject(BadData.code, call.reason))
        return None

    def take_messages(self) -> list[bytes]:
        """Returns the messages that are to be sent now, and retains them until they are acknowledged."""
        self._unsent = self._next_id
        return self.outbox.take_messages()

    def resume(self, received: int) -> bool:
        """Goes on over a new connection; see :meth:`.Outbox.resume`."""
        return self.outbox.resume(received)

    def _replied(self, frame: Frame) -> PeerEvent | None:
        context = self._waiting.pop(frame.id, None)
        if context is not None:
            return Answered(context, NO_RESULT if frame.result is UNSET else frame.result, frame.error)
        if frame.error is UNSET and (frame.id is UNSET or frame.result is UNSET):
            # With its id, so that a caller who forgot the method learns it.
            return self._violate("a frame needs a method, or an id with a result or an error", about=frame.id)
        if frame.id is None or frame.id is UNSET:
            # An error that names no call is a complaint about this side. Both sides could answer complaints forever.
            reason = "unknown" if frame.error is UNSET else frame.error.message
            return self._violate(f"the other side reports: {reason}", answer=False)
        if frame.id in self._forgotten:
            self._forgotten.discard(frame.id)
            return None
        return self._violate(
            f"the id {frame.id!r} belongs to no call that waits for an answer", answer=frame.error is UNSET
        )

    def _notified(self, method: str, params: Raw | UnsetType) -> PeerEvent | None:
        try:
            if method == ITEM:
                item = _params(params, Item)
                context = self._waiting.get(item.id)
                if context is not None:  # otherwise it was cancelled, and the other side does not know yet
                    return ItemsReceived(context, item.items)
            elif method == MORE:
                more = _params(params, More)
                return MoreReceived(more.id, more.n)
            elif method == ACK:
                received, sent = _params(params, Ack).received, self.outbox.sent
                # Fewer than were dropped meanwhile is not a fault of the other side.
                if not self.outbox.acknowledge(received) and not 0 <= received <= sent:
                    return self._violate(f"{received} messages cannot have been received, {sent} were sent")
            elif method == CANCEL:
                return CancelReceived(_params(params, Cancel).id)
            elif method == READY:
                return ReadyReceived(_params(params, Ready).ready)
            elif method == BYE:
                return ByeReceived(_params(params, Bye).reason)
            # Other notifications belong to later versions of the protocol; JSON-RPC 2.0 allows no answer to them.
        except UNREADABLE as error:
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
            self._put(encode(Frame("2.0", number, error=ErrorObject(code, reason))))
        return ProtocolViolation(reason, fatal)


def _params(params: Raw | UnsetType, type_: type[StructT]) -> StructT:
    return msgspec.json.decode(b"{}" if params is UNSET else params, type=type_)
