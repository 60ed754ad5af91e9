"""The frames on the wire: JSON-RPC 2.0 calls, notifications and replies, and the parameters of our own methods."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

__all__ = (
    "ACK",
    "BYE",
    "CANCEL",
    "DISCOVER",
    "HELLO",
    "ITEM",
    "MISSING_HEADERS",
    "MORE",
    "READY",
    "RESERVED",
    "SUBPROTOCOL",
    "SUBSCRIBE",
    "TICKET",
    "Ack",
    "ActingAs",
    "Bye",
    "Cancel",
    "ErrorObject",
    "Frame",
    "Id",
    "Item",
    "Meta",
    "More",
    "NotRun",
    "Ready",
)

SUBPROTOCOL: Final = "discord-tools.ipc.1"

#: Response header that tells which lines of a WebSocket's handshake did not arrive, because a proxy dropped them.
MISSING_HEADERS: Final = "IPC-Missing"

#: Prefix of the methods that belong to the protocol; JSON-RPC 2.0 reserves it for that.
RESERVED: Final = "rpc."
HELLO: Final = "rpc.hello"
CANCEL: Final = "rpc.cancel"
ITEM: Final = "rpc.item"
MORE: Final = "rpc.more"
DISCOVER: Final = "rpc.discover"
SUBSCRIBE: Final = "rpc.subscribe"
TICKET: Final = "rpc.ticket"
ACK: Final = "rpc.ack"
READY: Final = "rpc.ready"
BYE: Final = "rpc.bye"

Id: TypeAlias = int | str | float | None


class ErrorObject(Struct, omit_defaults=True, gc=False):
    """The ``error`` member of a reply."""

    code: int
    message: str
    data: Raw | UnsetType = UNSET


class ActingAs(Struct, omit_defaults=True, gc=False):
    """The user for whom a call is made: ``user_id``, or ``token``, an access token of Discord's OAuth2 that tells, or
    both. The token is a secret of the user.

    .. versionadded:: 1.2
    """

    user_id: str | int | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"<ActingAs user_id={self.user_id!r:.100} token={'***' if self.token else None}>"


class Meta(Struct, omit_defaults=True, gc=False):
    """What the protocol says about a call, apart from the caller's own headers.

    ``timeout`` is how long the caller still waits, in seconds. ``clock`` is the caller's clock, in seconds from any
    point: now and then a call brings it, so that a bot that was blocked can tell how old the calls are that it reads.
    ``acting_as`` is the user for whom the call is made. It is only for servers whose welcome has this feature: others
    would ignore it, and run the route without the user.

    .. versionadded:: 1.2
    """

    timeout: float | None = None
    clock: float | None = None
    acting_as: ActingAs | None = None


class NotRun(Struct):
    """``data`` of the error that refuses a call. With ``ran`` false, the caller may send it again elsewhere.

    .. versionadded:: 1.2
    """

    ran: bool = True


class Frame(Struct, gc=False):
    """A call (``id``, ``method``), a notification (``method`` alone) or a reply (``id`` and ``result`` or ``error``).

    One type for all three, so that one pass of a compiled decoder reads a pack of them. Parameters and results stay
    encoded: only their users know their types.

    ``headers`` are the caller's own; peers of 1.0 and 1.1 also look for the call's ``timeout`` there.
    """

    jsonrpc: str | UnsetType = UNSET
    id: Id | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET
    headers: dict[str, Any] | UnsetType = UNSET
    credit: int | UnsetType = UNSET
    meta: Meta | UnsetType = UNSET


class Cancel(Struct):
    """Parameters of ``rpc.cancel``: the caller no longer waits for this call."""

    id: Id


class Item(Struct):
    """Parameters of ``rpc.item``: the next items of a stream, while its call is open."""

    id: Id
    items: list[Raw]


class More(Struct):
    """Parameters of ``rpc.more``: the reader of a stream takes ``n`` more items."""

    id: Id
    n: int


class Ack(Struct):
    """Parameters of ``rpc.ack``: the number of messages of this conversation that were received."""

    received: int


class Ready(Struct):
    """Parameters of ``rpc.ready``: whether the bot is ready, when that changes."""

    ready: bool


class Bye(Struct):
    """Parameters of ``rpc.bye``: the sender closes the connection soon and starts no more calls of the other side."""

    reason: str
