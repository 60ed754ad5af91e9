"""Messages of older clients and servers: from an envelope to an endpoint, its data and a key, and back.

The first message on a socket tells which library wrote it. Texts and members are exactly theirs, since programs that
are no longer maintained compare them.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from discord_tools.ipc.errors import DiscordError, RemoteError, RouteError, RouteFailed, UnknownEndpoint
from discord_tools.ipc.wire.codec import UNREADABLE, as_bytes, encode, too_many_values
from discord_tools.ipc.wire.codes import remote_error

__all__ = (
    "BETTER",
    "CONNECT",
    "FAMILY",
    "JSONRPC",
    "Asked",
    "BetterDialect",
    "FamilyDialect",
    "KeyRefused",
    "LegacyDialect",
    "OriginalDialect",
    "Spoken",
    "ask",
    "hear",
    "legacy",
    "port_answer",
    "port_refusal",
    "question_key",
    "recognise",
)

#: The names under which dialects are switched on and off.
JSONRPC: Final = "jsonrpc"
FAMILY: Final = "discord-ext-ipc"
BETTER: Final = "better-ipc"
#: The port question, which all of them share.
CONNECT: Final = "connect"

Spoken: TypeAlias = Literal["jsonrpc", "discord-ext-ipc", "better-ipc", "connect"]


class _Envelope(Struct):
    """All members that tell the dialects apart. As Raw, since nothing is known about their types."""

    jsonrpc: Raw | UnsetType = UNSET
    endpoint: Raw | UnsetType = UNSET
    headers: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    secret: Raw | UnsetType = UNSET
    kwargs: Raw | UnsetType = UNSET
    connect: Raw | UnsetType = UNSET


class _KeyHeader(Struct, rename={"key": "Authorization"}, omit_defaults=True):
    """The header with the key."""

    key: str | UnsetType = UNSET


_envelope: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)


def recognise(message: bytes | str) -> Spoken | None:
    """Returns the dialect of a first message on a socket; ``None`` where it is in none of them."""
    data = as_bytes(message)
    if data.lstrip(b" \t\r\n").startswith(b"["):
        return JSONRPC
    envelope, _ = _read(data)
    if envelope.jsonrpc is not UNSET:
        return JSONRPC
    if envelope.secret is not UNSET or envelope.kwargs is not UNSET:
        return BETTER
    if envelope.endpoint is not UNSET:
        return FAMILY
    return CONNECT if envelope.connect is not UNSET and bytes(envelope.connect) == b"true" else None


class Asked(Struct):
    """What an older client asks for. ``endpoint`` is ``None`` where it names none.

    ``problem`` tells what is wrong with a message that only Python's own, lenient decoder can read.
    """

    endpoint: str | None
    params: bytes
    key: Any
    headers: dict[str, Any]
    problem: str | None = None


class LegacyDialect(Protocol):
    """How one of the older libraries writes questions and answers.

    Implemented by :class:`FamilyDialect`, :class:`OriginalDialect` and :class:`BetterDialect`.

    Attributes
    ----------
    name: :class:`str`
        The name it is switched off by.
    label: :class:`str`
        The libraries that speak it, for the log.
    reply_bytes: :class:`int`
        The largest message that its clients take; a larger one kills them.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    reply_bytes: ClassVar[int]

    def read(self, message: bytes | str) -> Asked:
        """Reads a question. What cannot be read asks for nothing, with no key."""
        ...

    def result(self, result: bytes) -> bytes:
        """Writes an answer, itself JSON already."""
        ...

    def error(self, error: RemoteError) -> bytes:
        """Writes an error."""
        ...

    def unauthorized(self) -> bytes:
        """Writes that the key is wrong."""
        ...


# ---------------------------------------------------------------- discord-ext-ipc and its descendants


class FamilyDialect:
    """discord-ext-ipc, its forks nextcord-ext-ipc and pycord-ext-ipc, and discord-ext-ipcx.

    ``name``, ``label`` and ``reply_bytes`` are those of :class:`LegacyDialect`.
    """

    name: ClassVar[str] = FAMILY
    label: ClassVar[str] = "discord-ext-ipc or one of its forks (ipcx, nextcord-ext-ipc, pycord-ext-ipc)"
    # aiohttp's default for clients; it refuses what is exactly as large, too.
    reply_bytes: ClassVar[int] = 4 * 1024 * 1024 - 1

    #: The text for a wrong key.
    _unauthorized: ClassVar[str] = "Invalid or no token provided."
    #: The text for an endpoint that does not exist.
    _unknown: ClassVar[str] = "Invalid or no endpoint given."

    def read(self, message: bytes | str) -> Asked:
        envelope, problem = _read(message)
        headers = _object(envelope.headers)
        key = headers.pop("Authorization", None)
        return Asked(_text(envelope.endpoint), _params(envelope.data), key, headers, problem)

    def result(self, result: bytes) -> bytes:
        return result

    def error(self, error: RemoteError) -> bytes:
        if isinstance(error, UnknownEndpoint):
            return self._write(self._unknown, 400)
        if isinstance(error, RouteFailed | DiscordError):
            # The name of its class was always sent, and nothing else is.
            cause = error.__cause__ or error
            return self._write(f"IPC route raised error of type {type(cause).__name__}", 500)
        return self._write(error.message, error.code if isinstance(error, RouteError) else 500)

    def unauthorized(self) -> bytes:
        return self._write(self._unauthorized, 403)

    def _write(self, text: str, code: int) -> bytes:
        return encode({"error": text, "code": code})


class OriginalDialect(FamilyDialect):
    """discord.py-tools 1.0: the same envelope, always a leading slash, other ``label`` and texts."""

    label: ClassVar[str] = "discord.py-tools"
    #: The text for a wrong key.
    _unauthorized: ClassVar[str] = "Unauthorized"
    #: The text for an endpoint that does not exist.
    _unknown: ClassVar[str] = "Invalid endpoint provided"


# ---------------------------------------------------------------- better-ipc


class BetterDialect:
    """better-ipc 2.0. ``name``, ``label`` and ``reply_bytes`` are those of :class:`LegacyDialect`."""

    name: ClassVar[str] = BETTER
    label: ClassVar[str] = "better-ipc"
    # The default of the library "websockets", which its clients use.
    reply_bytes: ClassVar[int] = 1024 * 1024

    def read(self, message: bytes | str) -> Asked:
        envelope, problem = _read(message)
        return Asked(_text(envelope.endpoint), _params(envelope.kwargs), _plain(envelope.secret), {}, problem)

    def result(self, result: bytes) -> bytes:
        # A text, or nothing, travels as it is; everything else as JSON inside of JSON.
        if result == b"null" or result.startswith(b'"'):
            return encode({"decoding": None, "code": 200, "response": Raw(result)})
        return encode({"decoding": "JSON", "code": 200, "response": result.decode()})

    def error(self, error: RemoteError) -> bytes:
        if isinstance(error, UnknownEndpoint):
            details = "The route that you're trying to call doesn't exist!"
            return self._write(404, "Unknown endpoint!", details)
        if isinstance(error, RouteError):
            # Its clients know these numbers and fail on others.
            code = error.code if error.code in (403, 404) else 500
            return self._write(code, error.message, error.message)
        return self._write(500, "Unexpected error occurred while calling the route!", error.message)

    def unauthorized(self) -> bytes:
        return self._write(403, "Unauthorized", "You're trying to connect with an invalid secret key!")

    def _write(self, code: int, error: str, details: str) -> bytes:
        members = {"decoding": None, "code": code, "response": None, "error": error, "error_details": details}
        return encode(members)


_FAMILY: Final = FamilyDialect()
_ORIGINAL: Final = OriginalDialect()
_BETTER: Final = BetterDialect()


def legacy(spoken: Spoken, message: bytes | str) -> LegacyDialect:
    """The dialect of a first message that :func:`recognise` took for one of the older libraries'."""
    if spoken == BETTER:
        return _BETTER
    endpoint = _text(_read(message)[0].endpoint)
    return _ORIGINAL if endpoint is not None and endpoint.startswith("/") else _FAMILY


# ---------------------------------------------------------------- the port question


def question_key(message: bytes | str) -> Any:
    """Returns the key in a port question, or ``None``."""
    return _FAMILY.read(message).key


def port_answer(port: int) -> bytes:
    """Writes the answer to a port question."""
    return encode({"message": "Connection success", "port": port, "code": 200})


def port_refusal() -> bytes:
    """Writes the answer to a port question with a wrong key."""
    return _FAMILY.unauthorized()


# ---------------------------------------------------------------- our client at an older server


class KeyRefused(Exception):
    """An older server does not accept the key."""


class _Refusal(Struct, forbid_unknown_fields=True):
    error: str
    code: int


_refusal: msgspec.json.Decoder[_Refusal] = msgspec.json.Decoder(_Refusal)


def ask(endpoint: str, params: bytes, key: str | None) -> bytes:
    """Writes a question as the clients of discord-ext-ipc do, for a server of that family."""
    question = {
        "endpoint": endpoint.removeprefix("/"),
        "data": Raw(params),
        "headers": {"Authorization": key},
    }
    return encode(question)


def hear(endpoint: str, reply: bytes | str) -> Raw:
    """Reads the answer to :func:`ask`: bare JSON, or an error with exactly the members ``error`` and ``code``.

    Raises
    ------
    KeyRefused
        The server does not accept the key.
    RemoteError
        The server answered with an error.
    """
    try:
        refusal = _refusal.decode(reply)
    except UNREADABLE:
        return Raw(as_bytes(reply))
    error: RemoteError
    match refusal.code:
        case 401 | 403:
            raise KeyRefused
        case 400:
            error = UnknownEndpoint(refusal.error)
        case 500:
            error = RouteFailed(refusal.error)
        case _:
            raise remote_error(endpoint, refusal.code, refusal.error, None)
    error.endpoint = endpoint
    raise error


# ---------------------------------------------------------------- pieces


def _read(message: bytes | str) -> tuple[_Envelope, str | None]:
    """Returns the members of a message, and what is wrong with one that only Python's own decoder can read.

    That accepts NaN and halves of surrogate pairs, which the clients of these libraries write. Their key is read, so
    that they get an error that tells what is wrong.
    """
    excess = too_many_values(message)
    try:
        envelope = _envelope.decode(message)
        return (envelope, None) if excess is None else (_without_data(envelope), excess)
    except UNREADABLE as error:
        problem = str(error)
    if excess is not None:
        return _Envelope(), excess
    try:
        members = json.loads(message)
    except (ValueError, RecursionError):
        return _Envelope(), problem
    if not isinstance(members, dict):
        return _Envelope(), problem
    known = {name: _rewritten(members[name]) for name in _Envelope.__struct_fields__ if name in members}
    return _Envelope(**known), f"the message is not JSON: {problem}"


def _without_data(envelope: _Envelope) -> _Envelope:
    """What is read of a message with too many values: what tells its dialect, and its key."""
    key = Raw(b"{}")
    if envelope.headers is not UNSET:
        with contextlib.suppress(*UNREADABLE):
            key = Raw(encode(msgspec.json.decode(envelope.headers, type=_KeyHeader)))
    known: dict[str, Any] = {
        name: Raw(b"null") for name in _Envelope.__struct_fields__ if getattr(envelope, name) is not UNSET
    }
    for name in ("endpoint", "secret"):
        # A text has no values in it.
        if name in known and bytes(getattr(envelope, name))[:1] == b'"':
            known[name] = getattr(envelope, name)
    return _Envelope(**{**known, "headers": key})


def _rewritten(value: Any) -> Raw:
    try:
        return Raw(encode(value))
    except (TypeError, ValueError, RecursionError):
        return Raw(b"null")


def _plain(raw: Raw | UnsetType) -> Any:
    try:
        return None if raw is UNSET else msgspec.json.decode(raw)
    except UNREADABLE:
        return None


def _text(raw: Raw | UnsetType) -> str | None:
    value = _plain(raw)
    return value if isinstance(value, str) and value else None


def _object(raw: Raw | UnsetType) -> dict[str, Any]:
    try:
        return {} if raw is UNSET else msgspec.json.decode(raw, type=dict[str, Any])
    except UNREADABLE:
        return {}


def _params(raw: Raw | UnsetType) -> bytes:
    return b"{}" if raw is UNSET or bytes(raw) == b"null" else bytes(raw)
