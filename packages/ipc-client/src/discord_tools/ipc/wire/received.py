"""What a :class:`~.peer.Peer` reports of the frames that it was fed."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Raw, Struct, UnsetType

from discord_tools.ipc.wire.frames import ErrorObject, Id, Meta

__all__ = (
    "Answered",
    "ByeReceived",
    "CallReceived",
    "CancelReceived",
    "ItemsReceived",
    "MoreReceived",
    "PeerEvent",
    "ProtocolViolation",
    "ReadyReceived",
)


class CallReceived(Struct, gc=False):
    """The other side calls. It gets exactly one answer.

    ``credit`` is set where it reads a stream: the number of items that it takes at first.
    """

    id: Id
    method: str
    params: Raw | UnsetType
    headers: dict[str, Any] | UnsetType
    credit: int | UnsetType
    meta: Meta | UnsetType


class CancelReceived(Struct, gc=False):
    """The other side no longer waits for its call."""

    id: Id


class MoreReceived(Struct, gc=False):
    """The other side takes ``n`` more items of a stream."""

    id: Id
    n: int


class ItemsReceived(Struct):
    """The next items of a stream that this side reads."""

    context: Any
    items: list[Raw]


class Answered(Struct):
    """A call of this side has its answer: ``result``, or ``error`` where that is set."""

    context: Any
    result: Raw
    error: ErrorObject | UnsetType


class ReadyReceived(Struct, gc=False):
    """The bot has become ready, or is no longer ready."""

    ready: bool


class ByeReceived(Struct, gc=False):
    """The other side is about to close and starts no more calls of this side."""

    reason: str


class ProtocolViolation(Struct, gc=False):
    """The other side broke the protocol, and an error was queued for it.

    After a ``fatal`` one, the connection must be closed.
    """

    reason: str
    fatal: bool


PeerEvent: TypeAlias = (
    CallReceived
    | CancelReceived
    | MoreReceived
    | ItemsReceived
    | Answered
    | ReadyReceived
    | ByeReceived
    | ProtocolViolation
)
