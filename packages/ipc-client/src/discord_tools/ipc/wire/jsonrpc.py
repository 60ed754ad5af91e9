"""JSON-RPC 2.0 as in its specification, for any client: one request, or a batch that is answered by one array.

Under our own subprotocol an array is only a pack of frames; see :mod:`.codec` for that.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from discord_tools.ipc.errors import BadData, InvalidRequest
from discord_tools.ipc.wire.codec import UNREADABLE, as_bytes, encode, refused_id, too_many_values
from discord_tools.ipc.wire.codes import PARSE_ERROR
from discord_tools.ipc.wire.frames import ActingAs, ErrorObject

__all__ = ("Body", "Fault", "JsonRpcRequest", "answer", "join", "read_body", "refuse")

NULL = Raw(b"null")

#: Maximum number of requests in a batch, whatever the server allows.
MAX_BATCH: Final = 1024

#: Maximum size of the id of a request of JSON-RPC, in bytes. It is held until the request is answered.
MAX_ID_BYTES: Final = 1024


class JsonRpcRequest(Struct):
    """A request. Without an ``id`` it is a notification, which is never answered.

    The id is kept as it was written: a number that no float can hold comes back unchanged.
    """

    id: Raw | UnsetType
    method: str
    params: bytes
    headers: dict[str, Any]
    acting_as: ActingAs | None = None


class Fault(Struct):
    """Something invalid in place of a request. ``answer`` tells the client so."""

    answer: bytes


class Body(Struct):
    """One message: its requests and faults in order, and whether an array answers them."""

    items: list[JsonRpcRequest | Fault]
    batch: bool


class _Meta(Struct):
    """What is read of the ``meta`` of a request."""

    acting_as: ActingAs | None = None


class _Request(Struct):
    """A request as it is written, before its members are checked."""

    jsonrpc: str
    method: str
    id: Raw | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    headers: dict[str, Any] | UnsetType = UNSET
    meta: _Meta | UnsetType = UNSET


_request: msgspec.json.Decoder[_Request] = msgspec.json.Decoder(_Request)


def read_body(message: bytes | str, most: int) -> Body:
    """Reads one message with at most ``most`` requests in it, and never more than :data:`MAX_BATCH`."""
    data = as_bytes(message)
    if not data.lstrip(b" \t\r\n").startswith(b"["):
        excess = too_many_values(data)
        return Body(
            [_read_one(data) if excess is None else _excessive(Raw(encode(refused_id(data))), excess)],
            batch=False,
        )
    most = min(most, MAX_BATCH)
    try:
        elements = [one for one in msgspec.structs.astuple(_batch().decode(data)) if one is not UNSET]
    except UNREADABLE as error:
        return Body([Fault(refuse(NULL, ErrorObject(PARSE_ERROR, f"not JSON: {error}")))], batch=False)
    if not elements:
        return Body([_invalid("a batch must not be empty")], batch=False)
    if len(elements) > most:
        # A few bytes of garbage would make some hundred bytes of answer each.
        return Body([_invalid(f"a batch may have at most {most} requests")], batch=False)
    if (excess := too_many_values(data)) is not None:
        return Body([_excessive(NULL, excess)], batch=False)
    return Body([_read_one(bytes(element)) for element in elements], batch=True)


@cache
def _batch() -> msgspec.json.Decoder[Any]:
    # A decoder of lists would make an object of each of two million elements before their number could be checked. One
    # of an array-like Struct skips the elements that it has no field for.
    fields = [(f"f{number}", Raw | UnsetType, UNSET) for number in range(MAX_BATCH + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("Batch", fields, array_like=True))


def answer(number: Raw, result: bytes) -> bytes:
    """Writes the answer to the request with that id."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (bytes(number), result)


def refuse(number: Raw, error: ErrorObject) -> bytes:
    """Writes an error as the answer to the request with that id."""
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (bytes(number), encode(error))


def join(answers: list[bytes]) -> bytes | None:
    """The answer to a batch; ``None`` where nothing in it asked for one."""
    return b"[" + b",".join(answers) + b"]" if answers else None


def _read_one(data: bytes) -> JsonRpcRequest | Fault:
    try:
        request = _request.decode(data)
    except msgspec.ValidationError as error:
        return _invalid(str(error))
    except UNREADABLE as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else f"not JSON: {error}"
        return Fault(refuse(NULL, ErrorObject(PARSE_ERROR, reason)))
    if request.jsonrpc != "2.0":
        return _invalid("the member 'jsonrpc' must be \"2.0\"")
    # Copied, since a Raw keeps the whole message.
    number = request.id if request.id is UNSET else Raw(bytes(request.id))
    if number is not UNSET and not _is_id(bytes(number)):
        return _invalid(
            f"the id must be a string, a number or null, in UTF-8, with at most {MAX_ID_BYTES} bytes"
        )
    params = b"{}" if request.params is UNSET else bytes(request.params)
    if params[:1] not in b"{[":
        return _invalid("params must be an object or an array")
    headers = {} if request.headers is UNSET else request.headers
    acting_as = None if request.meta is UNSET else request.meta.acting_as
    return JsonRpcRequest(number, request.method, params, headers, acting_as)


def _is_id(data: bytes) -> bool:
    try:
        # msgspec does not look into what it leaves encoded, and an id is sent back as it is.
        data.decode()
    except UnicodeError:
        return False
    return data[:1] in _ID_STARTS and len(data) <= MAX_ID_BYTES


_ID_STARTS = frozenset(bytes((byte,)) for byte in b'"-0123456789n')


def _excessive(number: Raw, reason: str) -> Fault:
    return Fault(refuse(number, ErrorObject(BadData.code, reason)))


def _invalid(reason: str) -> Fault:
    return Fault(refuse(NULL, ErrorObject(InvalidRequest.code, f"invalid request: {reason}")))
