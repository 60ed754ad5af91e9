"""The state of one connection, the same on both sides: whose calls are open, what is to be sent, what came in."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from discord_tools.ipc.errors import ErrorCodes, InvalidRequest, Overloaded, TooLarge
from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.wire.codec import Malformed, Unreadable, decode, encode, pack
from discord_tools.ipc.wire.frames import BYE, CANCEL, Bye, Cancel, ErrorObject, Frame, Id

__all__ = ("Answered", "ByeReceived", "CallReceived", "CancelReceived", "Event", "Peer", "Violated")

ContextT = TypeVar("ContextT")

#: After so many frames that break the protocol the connection is closed: each costs a line in the log and an answer.
MAX_VIOLATIONS: Final = 16

#: A violation is told in so many characters: the words of the other side in it can be as long as a message.
REASON_CHARS: Final = 500

NO_RESULT: Final = Raw(b"null")


class CallReceived(Struct, gc=False):
    """The other side calls. It gets exactly one :meth:`Peer.reply` or :meth:`Peer.fail`."""

    id: Id
    method: str
    params: Raw | UnsetType
    headers: dict[str, Any] | UnsetType


class CancelReceived(Struct, gc=False):
    """The other side does not wait for its call any more."""

    id: Id


class Answered(Struct):
    """A call of ours has its answer: ``result``, or ``error`` where that is set."""

    context: Any
    result: Raw | UnsetType
    error: ErrorObject | UnsetType


class ByeReceived(Struct, gc=False):
    """The other side is about to close and starts no more calls of ours."""

    reason: str


class Violated(Struct, gc=False):
    """The other side broke the protocol. It was told; when ``fatal``, the connection cannot go on."""

    reason: str
    fatal: bool


Event: TypeAlias = CallReceived | CancelReceived | Answered | ByeReceived | Violated


class Peer(Generic[ContextT]):
    """One side of one connection.

    Feed it what arrives, then take events and take messages to send. Taking swaps the list out, so nothing that is
    appended meanwhile is lost.

    Parameters
    ----------
    calls: :class:`int`
        How many calls of the other side may be open at once; further ones are answered with
        :exc:`~discord_tools.ipc.Overloaded`.
    message_bytes: :class:`int`
        The largest message the other side takes.
    """

    def __init__(self, *, calls: int, message_bytes: int) -> None:
        self.message_bytes: int = message_bytes
        self._calls: int = calls
        self._next_id: int = 1
        self._waiting: dict[Id, ContextT] = {}
        self._forgotten: set[Id] = set()
        self._open: set[Id] = set()
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._violations: int = 0
        self.pending_bytes: int = 0

    # -- our calls

    @property
    def waiting(self) -> int:
        """:class:`int`: How many of our calls have no answer yet."""
        return len(self._waiting)

    def call(
        self,
        method: str,
        params: Raw | Struct,
        context: ContextT,
        headers: dict[str, Any] | UnsetType = UNSET,
    ) -> Id:
        """Queues a call. ``context`` comes back with its answer.

        Raises
        ------
        TooLarge
            The call does not fit into one message. Nothing was queued.
        """
        number = self._next_id
        frame = encode(Frame("2.0", number, method, _raw(params), headers=headers))
        if len(frame) > self.message_bytes:
            raise TooLarge(f"the call has {len(frame)} bytes, the other side takes {self.message_bytes}")
        self._next_id = number + 1
        self._waiting[number] = context
        self._queue(frame)
        return number

    def forget(self, number: Id) -> None:
        """Gives up a call of ours and tells the other side. Its late answer is passed over."""
        if self._waiting.pop(number, UNSET) is not UNSET:
            self._forgotten.add(number)
            self.notify(CANCEL, Cancel(number))

    def abandon(self) -> list[ContextT]:
        """Gives up all of our calls because the connection is gone, and returns their contexts."""
        contexts, self._waiting = list(self._waiting.values()), {}
        self._forgotten.clear()
        return contexts

    def notify(self, method: str, params: Raw | Struct) -> None:
        """Queues a notification."""
        self._queue(encode(Frame("2.0", method=method, params=_raw(params))))

    def bye(self, reason: str) -> None:
        """Announces that this side is about to close."""
        self.notify(BYE, Bye(reason))

    # -- calls of the other side

    def reply(self, number: Id, result: bytes) -> None:
        """Queues the answer to a call of the other side. A second answer to the same call is passed over.

        Raises
        ------
        TooLarge
            The answer does not fit into one message. The call is still open.
        """
        if number in self._open:
            frame = encode(Frame("2.0", number, result=Raw(result)))
            if len(frame) > self.message_bytes:
                raise TooLarge(f"the answer has {len(frame)} bytes, the caller takes {self.message_bytes}")
            self._open.discard(number)
            self._queue(frame)

    def fail(self, number: Id, error: ErrorObject) -> None:
        """Queues an error as the answer to a call of the other side.

        Raises
        ------
        TooLarge
            The error does not fit into one message. The call is still open.
        """
        if number in self._open:
            frame = encode(Frame("2.0", number, error=error))
            if len(frame) > self.message_bytes:
                raise TooLarge(f"the error has {len(frame)} bytes, the caller takes {self.message_bytes}")
            self._open.discard(number)
            self._queue(frame)

    # -- input and output

    def feed(self, data: bytes | str) -> None:
        """Reads one message. Does nothing after a fatal violation."""
        if self._violations >= MAX_VIOLATIONS:
            return
        try:
            frames = decode(data)
        except Unreadable as error:
            self._violate(f"the message is not JSON: {error}", code=ErrorCodes.PARSE_ERROR)
            return
        for frame in frames:
            if self._violations >= MAX_VIOLATIONS:
                return  # one pack may hold 100,000 more of them
            if isinstance(frame, Malformed):
                self._violate(f"not a frame of JSON-RPC 2.0: {frame.reason}", about=frame.id)
            elif frame.jsonrpc != "2.0":
                self._violate("the member 'jsonrpc' must be \"2.0\"", about=frame.id)
            elif frame.method is UNSET:
                self._feed_reply(frame)
            elif frame.id is UNSET:
                self._feed_notification(frame.method, frame.params)
            else:
                self._feed_call(frame.id, frame.method, frame)

    def take_events(self) -> list[Event]:
        """Returns what happened since the last time."""
        events, self._events = self._events, []
        return events

    def take_messages(self) -> list[bytes]:
        """Returns the messages that are to be sent now."""
        frames, self._out = self._out, []
        self.pending_bytes = 0
        return pack(frames, min(PACK_BYTES, self.message_bytes)) if frames else []

    def _queue(self, frame: bytes) -> None:
        self._out.append(frame)
        self.pending_bytes += len(frame)

    def _feed_call(self, number: Id, method: str, frame: Frame) -> None:
        if number in self._open:
            # An error under this id would pass for the answer to the call that is still open.
            self._violate(f"the id {number!r} belongs to a call that is still open")
        elif len(self._open) >= self._calls:
            self._open.add(number)
            self.fail(number, ErrorObject(Overloaded.code, f"more than {self._calls} calls are in progress"))
        else:
            self._open.add(number)
            self._events.append(CallReceived(number, method, frame.params, frame.headers))

    def _feed_reply(self, frame: Frame) -> None:
        context: Any = UNSET if frame.id is UNSET else self._waiting.pop(frame.id, UNSET)
        if context is not UNSET:
            result = NO_RESULT if frame.result is UNSET else frame.result
            self._events.append(Answered(context, result, frame.error))
        elif frame.error is UNSET and (frame.id is UNSET or frame.result is UNSET):
            # With its id, so that a caller who forgot the method learns it.
            self._violate("a frame needs a method, or an id with a result or an error", about=frame.id)
        elif frame.id is None or frame.id is UNSET:
            # An error that names no call is the other side's complaint about us. Answering it could go on for ever.
            reason = "unknown" if frame.error is UNSET else frame.error.message
            self._violate(f"the other side reports: {reason}", answer=False)
        elif frame.id in self._forgotten:
            self._forgotten.discard(frame.id)
        else:
            self._violate(
                f"the id {frame.id!r} belongs to no call that waits for an answer",
                answer=frame.error is UNSET,
            )

    def _feed_notification(self, method: str, params: Raw | UnsetType) -> None:
        try:
            if method == CANCEL:
                self._events.append(CancelReceived(_params(params, Cancel).id))
            elif method == BYE:
                self._events.append(ByeReceived(_params(params, Bye).reason))
            # Other notifications are for later versions of the protocol; JSON-RPC 2.0 allows no answer to them.
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._violate(f"bad parameters of {method}: {error}")

    def _violate(
        self,
        reason: str,
        *,
        code: int = InvalidRequest.code,
        about: Id | UnsetType = None,
        answer: bool = True,
    ) -> None:
        reason = reason[:REASON_CHARS]
        self._violations += 1
        fatal = self._violations >= MAX_VIOLATIONS
        self._events.append(Violated(reason, fatal))
        if answer:
            number = None if about is UNSET or about in self._open else about
            self._queue(encode(Frame("2.0", number, error=ErrorObject(code, reason))))


def _raw(params: Raw | Struct) -> Raw:
    return params if isinstance(params, Raw) else Raw(encode(params))


StructT = TypeVar("StructT", bound=Struct)


def _params(params: Raw | UnsetType, type_: type[StructT]) -> StructT:
    return msgspec.json.decode(b"{}" if params is UNSET else params, type=type_)
