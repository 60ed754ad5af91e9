"""First messages of a connection: the client's hello and the server's welcome, to bytes and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from discord_tools.ipc.errors import InvalidRequest, ProtocolError
from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.wire.codec import (
    UNREADABLE,
    Unreadable,
    decode,
    decode_one,
    encode,
    is_array,
    pack,
    refused_id,
)
from discord_tools.ipc.wire.codes import PARSE_ERROR
from discord_tools.ipc.wire.frames import HELLO, ErrorObject, Frame, Id

__all__ = (
    "ACTING_AS",
    "Grants",
    "Hello",
    "InvalidHello",
    "Welcome",
    "decode_hello",
    "decode_welcome",
    "encode_hello",
    "encode_refusal",
    "encode_welcome",
)

#: Maximum number of calls in place of a hello that are answered, each under its id. One message may hold 100,000.
MAX_REFUSED: Final = 16

#: Maximum length of a client's name, in characters.
MAX_CLIENT_CHARS: Final = 256

#: Maximum size of the headers that a client's calls carry, in bytes: they are kept as long as the conversation.
MAX_HEADERS_BYTES: Final = 8 * 1024

#: Maximum size of a hello, in bytes. A larger one is not decoded.
MAX_HELLO_BYTES: Final = 64 * 1024

#: The smallest value of a hello's ``message_bytes``: errors and welcomes must fit.
MIN_MESSAGE_BYTES: Final = 4 * 1024


#: The feature of a server that takes ``acting_as`` in the ``meta`` of calls.
ACTING_AS: Final = "acting_as"


class Hello(Struct, omit_defaults=True):
    """Parameters of the first call on a connection.

    ``session`` is the token of the conversation to resume, and ``received`` the number of its messages that this side
    has received. ``timeout`` is how long the client waits for an answer, in seconds, ``message_bytes`` the largest
    message that it takes, and ``headers`` what its calls carry: sent once, they do not weigh on every call.
    """

    client: str
    session: str | None = None
    received: int = 0
    timeout: float | None = None
    message_bytes: int | None = None
    headers: dict[str, Any] = {}


class Grants(Struct):
    """What the server accepts: calls in progress at a time, and the size of a message."""

    calls: int
    message_bytes: int


class Welcome(Struct, kw_only=True):
    """Result of the first call on a connection. A server of version 1.0 has no conversations to resume.

    ``resumed`` tells whether the conversation goes on. Then ``received`` is the number of its messages that the server
    has received, and both sides send what the other has not received. Otherwise ``session`` names a new one.
    ``idempotent`` are the routes that may run twice. ``streams`` is ``False`` at a bot of an older library, which
    neither streams nor publishes events. ``features`` names members of calls that the server understands, and that
    older ones would ignore.
    """

    server: str
    session: str | None = None
    resumed: bool = False
    received: int = 0
    heartbeat: float
    limits: Grants
    ready: bool
    idempotent: list[str] = []
    streams: bool | UnsetType = UNSET
    features: list[str] = []


class InvalidHello(Exception):
    """The first message of a client is not a hello.

    Attributes
    ----------
    numbers: Sequence[Id]
        The ids of the calls that are refused by it.
    code: :class:`int`
        The code of the error that they are answered with.
    """

    def __init__(self, reason: str, numbers: Sequence[Id] = (None,), code: int = InvalidRequest.code) -> None:
        super().__init__(reason)
        self.numbers: Sequence[Id] = numbers
        self.code: int = code


def encode_hello(hello: Hello) -> bytes:
    """Writes the first message of a connection."""
    return encode(Frame("2.0", 0, HELLO, Raw(encode(hello))))


def decode_hello(message: bytes | str) -> tuple[Id, Hello]:
    """Reads the first message of a connection. Raises :exc:`InvalidHello`."""
    if len(message) > MAX_HELLO_BYTES and not is_array(message):
        text = f"a {HELLO} may have {MAX_HELLO_BYTES} bytes, this message has {len(message)}"
        raise InvalidHello(text, (refused_id(message),))
    try:
        elements = decode(message, trusted=False)
    except Unreadable as error:
        raise InvalidHello(f"the message cannot be read: {error}", code=PARSE_ERROR) from None
    frames = [
        decode_one(one, trusted=False) if isinstance(one, Raw) else one for one in elements[:MAX_REFUSED]
    ]
    frame = frames[0] if len(elements) == 1 else None
    if not isinstance(frame, Frame) or frame.id is UNSET or frame.method != HELLO:
        calls = [one.id for one in frames if isinstance(one, Frame) and one.id is not UNSET]
        raise InvalidHello(f"the first message must be one call of {HELLO}", calls or (None,))
    try:
        hello = msgspec.json.decode(b"{}" if frame.params is UNSET else frame.params, type=Hello)
    except UNREADABLE as error:
        raise InvalidHello(f"bad parameters of {HELLO}: {error}", (frame.id,)) from None
    _check(hello, frame.id)
    return frame.id, hello


def _check(hello: Hello, number: Id) -> None:
    """Refuses a hello that would cost memory for as long as the conversation lasts, or leaves no room for an answer."""
    if len(hello.client) > MAX_CLIENT_CHARS:
        raise InvalidHello(f"the name of a client may have {MAX_CLIENT_CHARS} characters", (number,))
    size = len(encode(hello.headers))
    if size > MAX_HEADERS_BYTES:
        raise InvalidHello(
            f"the headers of a client may have {MAX_HEADERS_BYTES} bytes, these have {size}", (number,)
        )
    if hello.message_bytes is not None and hello.message_bytes < MIN_MESSAGE_BYTES:
        text = (
            f"a client must take messages of {MIN_MESSAGE_BYTES} bytes, this one takes {hello.message_bytes}"
        )
        raise InvalidHello(text, (number,))


def encode_welcome(number: Id, welcome: Welcome) -> bytes:
    """Writes the answer to the hello with that id."""
    return encode(Frame("2.0", number, result=Raw(encode(welcome))))


def decode_welcome(message: bytes | str) -> Welcome:
    """Reads the answer to a hello.

    Raises
    ------
    ProtocolError
        It refuses the hello, or cannot be understood.
    """
    try:
        frame = decode(message)[0]
        if isinstance(frame, Raw):
            frame = decode_one(frame)
        if not isinstance(frame, Frame):
            raise ProtocolError(f"the server's answer to {HELLO} is not a frame: {frame.reason}")
        if frame.error is not UNSET:
            raise ProtocolError(f"the server refuses the {HELLO}: {frame.error.message}")
        return msgspec.json.decode(b"{}" if frame.result is UNSET else frame.result, type=Welcome)
    except (Unreadable, IndexError, *UNREADABLE) as error:
        raise ProtocolError(f"the server's answer to {HELLO} cannot be understood: {error}") from error


def encode_refusal(error: InvalidHello) -> list[bytes]:
    """Writes the messages that answer what is not a hello."""
    reason = ErrorObject(error.code, str(error))
    return pack([encode(Frame("2.0", number, error=reason)) for number in error.numbers], PACK_BYTES)
