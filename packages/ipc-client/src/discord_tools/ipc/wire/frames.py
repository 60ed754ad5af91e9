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
    "MORE",
    "READY",
    "RESERVED",
    "SUBPROTOCOL",
    "SUBSCRIBE",
    "Ack",
    "Bye",
    "Cancel",
    "ErrorObject",
    "Frame",
    "Grants",
    "Hello",
    "Id",
    "Item",
    "More",
    "Ready",
    "Welcome",
)

SUBPROTOCOL: Final = "discord-tools.ipc.1"

#: Methods that start so belong to the protocol; JSON-RPC 2.0 reserves the prefix for that.
RESERVED: Final = "rpc."
HELLO: Final = "rpc.hello"
CANCEL: Final = "rpc.cancel"
ITEM: Final = "rpc.item"
MORE: Final = "rpc.more"
DISCOVER: Final = "rpc.discover"
SUBSCRIBE: Final = "rpc.subscribe"
ACK: Final = "rpc.ack"
READY: Final = "rpc.ready"
BYE: Final = "rpc.bye"

Id: TypeAlias = int | str | float | None


class ErrorObject(Struct, omit_defaults=True, gc=False):
    """The ``error`` member of a reply."""

    code: int
    message: str
    data: Raw | UnsetType = UNSET


class Frame(Struct, gc=False):
    """A call (``id``, ``method``), a notification (``method`` alone) or a reply (``id`` and ``result`` or ``error``).

    One type for all three, because then one pass of a compiled decoder reads a pack of them. Parameters and results
    stay as they came: only who uses them knows their type.
    """

    jsonrpc: str | UnsetType = UNSET
    id: Id | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET
    headers: dict[str, Any] | UnsetType = UNSET
    credit: int | UnsetType = UNSET


class Hello(Struct, omit_defaults=True):
    """Parameters of the first call on a connection.

    ``session`` is the token of a conversation that is to go on, and ``received`` how many messages of it have come
    in. ``timeout`` is how many seconds the client waits for an answer, ``message_bytes`` the largest message it takes,
    and ``headers`` what its calls carry; said once, they do not weigh on every call.
    """

    client: str
    session: str | None = None
    received: int = 0
    timeout: float | None = None
    message_bytes: int | None = None
    headers: dict[str, Any] = {}


class Grants(Struct):
    """What the server accepts."""

    calls: int
    message_bytes: int


class Welcome(Struct, kw_only=True):
    """Result of the first call on a connection. A server of version 1.0 has no conversations to go on with.

    ``resumed`` tells whether the conversation goes on: then ``received`` is how many messages of it have come in, and
    both sides send what the other has not received. Otherwise ``session`` names a new one. ``idempotent`` are the
    routes that may run twice.
    """

    server: str
    session: str | None = None
    resumed: bool = False
    received: int = 0
    heartbeat: float
    limits: Grants
    ready: bool
    idempotent: list[str] = []


class Cancel(Struct):
    """Parameters of ``rpc.cancel``: the caller does not wait for this call any more."""

    id: Id


class Item(Struct):
    """Parameters of ``rpc.item``: the next items of a stream, while its call is open."""

    id: Id
    items: list[Raw]


class More(Struct):
    """Parameters of ``rpc.more``: the reader of a stream takes so many items more."""

    id: Id
    n: int


class Ack(Struct):
    """Parameters of ``rpc.ack``: so many messages of this conversation have come in and need not be kept."""

    received: int


class Ready(Struct):
    """Parameters of ``rpc.ready``: whether the bot is ready, when that changes."""

    ready: bool


class Bye(Struct):
    """Parameters of ``rpc.bye``: this side closes the connection soon and starts no more calls on it."""

    reason: str
