"""Bytes to frames and back; many frames in one message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from discord_tools.ipc.errors import EncodeError
from discord_tools.ipc.wire.frames import Frame, Id

__all__ = (
    "MAX_VALUES",
    "Malformed",
    "Refused",
    "Unreadable",
    "as_bytes",
    "count_values",
    "decode",
    "decode_one",
    "encode",
    "encode_given",
    "is_array",
    "pack",
    "refused_id",
    "too_many_values",
)


#: Maximum size of an array of frames, in bytes. Packs of this library are half as large, and a larger frame travels
#: alone. Without it, one message could hold a million frames, which take seconds and gigabytes to decode.
MAX_PACK_BYTES: Final = 512 * 1024


#: Maximum number of values in one message to the bot: commas and opening brackets outside of its texts. Decoding more
#: would block the loop, and they can take thirty times the memory of the message.
MAX_VALUES: Final = 100_000

#: Size up to which a message cannot have too many values to be decoded in one turn of the loop, in bytes.
_SPARSE_BYTES: Final = 128 * 1024

#: Numbers of quotes and backslashes up to which texts are left out of the count. With more, it would take too long.
_MAX_QUOTES: Final = 4096
_MAX_BACKSLASHES: Final = 200_000


#: The id of a call, as one of its first members or as its last one.
_ID_AT_START: Final = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18}|"\w{1,64}")\s*,'
).match
_ID_AT_END: Final = re.compile(rb',\s*"id"\s*:\s*(\d{1,18}|"\w{1,64}")\s*\}\s*\Z').search


class Unreadable(Exception):
    """Nothing in a message can be read: it is not JSON, or an array of frames that is too large."""


class Malformed(Struct):
    """One element of a message that is JSON but not a frame."""

    id: Id
    reason: str


class Refused(Struct):
    """One element of a message that is not decoded, because it has too many values."""

    id: Id
    reason: str


class _WithId(Struct):
    """What can be read of something that is not a frame, or not decoded."""

    id: Id = None


_frames = msgspec.json.Decoder(list[Frame] | Frame)
_frame = msgspec.json.Decoder(Frame)
_elements = msgspec.json.Decoder(list[Raw])
_with_id = msgspec.json.Decoder(_WithId)

encode = msgspec.json.Encoder().encode


def encode_given(data: Any) -> bytes:
    """Writes what the caller of this library passes.

    Raises
    ------
    EncodeError
        It cannot be written as JSON.
    """
    try:
        return encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"the data cannot be written as JSON: {error}") from error


#: msgspec raises the first for bad JSON and for wrong types, the second for text that is not UTF-8, the third for
#: JSON nested deeper than the interpreter's stack allows.
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


def as_bytes(message: bytes | str) -> bytes:
    """Returns a message as bytes. Halves of surrogate pairs stay what they are, for the decoder to refuse."""
    return message.encode(errors="surrogatepass") if isinstance(message, str) else message


def decode(data: bytes | str, *, trusted: bool = True) -> Sequence[Frame | Raw | Refused]:
    """Reads one message: a frame or an array of frames.

    An array is a pack of independent frames, so a bad one does not affect the others. Where there is one, all elements
    stay encoded, for :func:`decode_one` to read as many as are wanted. So they do in a pack that is not ``trusted`` and
    has too many values to be decoded in one go; a single frame with too many is refused.

    Raises
    ------
    Unreadable
        Nothing in the message can be read.
    """
    if len(data) > MAX_PACK_BYTES and is_array(data):
        raise Unreadable(f"an array of frames may have {MAX_PACK_BYTES} bytes, this one has {len(data)}")
    # The size is compared here, too, to save a call for each message.
    if not trusted and len(data) > _SPARSE_BYTES and (reason := too_many_values(data)) is not None:
        if not is_array(data):
            return [Refused(refused_id(data), reason)]
    else:
        try:
            message = _frames.decode(data)
        except msgspec.ValidationError:
            pass
        except UNREADABLE as error:
            raise Unreadable(_reason(error)) from None
        else:
            return [message] if isinstance(message, Frame) else message
    try:
        return _elements.decode(data)
    except UNREADABLE:
        return [Raw(as_bytes(data))]


def too_many_values(message: bytes | str) -> str | None:
    """Returns why a message is not decoded, where it has too many values for that, otherwise ``None``."""
    if len(message) <= _SPARSE_BYTES:
        return None
    number = count_values(as_bytes(message))
    if number <= MAX_VALUES:
        return None
    return (
        f"a request may have {MAX_VALUES} values, this one has about {number}: send them in several requests"
    )


def count_values(data: bytes) -> int:
    """Returns an upper bound of the number of values in JSON, without decoding it."""
    number = _structure(data)
    if number <= MAX_VALUES:
        return number
    # Perhaps they are in texts, such as a table with commas.
    if b'\\"' in data:
        if data.count(b"\\") > _MAX_BACKSLASHES:
            return number
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if data.count(b'"') > _MAX_QUOTES:
        return number
    return sum(map(_structure, data.split(b'"')[::2]))


def _structure(data: bytes) -> int:
    """The number of commas and opening brackets."""
    return len(data) - len(data.translate(None, b",[{"))


def decode_one(data: Raw, *, trusted: bool = True) -> Frame | Malformed | Refused:
    """Reads one element of a message."""
    if not trusted:
        encoded = bytes(data)
        if (reason := too_many_values(encoded)) is not None:
            return Refused(refused_id(encoded), reason)
    try:
        return _frame.decode(data)
    except UNREADABLE as error:
        return Malformed(_id_of(data), _reason(error))


def refused_id(message: bytes | str) -> Id:
    """Returns the id of a call that is not decoded, from where clients write it; ``None`` where it is not there."""
    data = as_bytes(message)
    match = _ID_AT_START(data, 0, 256) or _ID_AT_END(data, max(0, len(data) - 256))
    return None if match is None else msgspec.json.decode(match[1], type=Id)


def is_array(data: bytes | str) -> bool:
    """Whether a message is an array, or begins with more white space than any client writes."""
    start = data[:64].lstrip()
    return start[:1] in ("[", b"[") or not start


def _id_of(data: Raw) -> Id:
    try:
        return _with_id.decode(data).id
    except UNREADABLE:
        return None


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeError):
        return "not UTF-8"
    return str(error)


def pack(frames: list[bytes], limit: int) -> list[bytes]:
    """Joins encoded frames into as few messages as the limit allows. A frame over the limit travels alone."""
    if len(frames) == 1:
        return frames
    messages: list[bytes] = []
    start = size = 0
    for end, frame in enumerate(frames):
        # Each frame costs a comma or the opening bracket, and the last one the closing bracket.
        if size and size + 1 + len(frame) + 1 > limit:
            messages.append(_join(frames[start:end]))
            start, size = end, 0
        size += 1 + len(frame)
    messages.append(_join(frames[start:]))
    return messages


def _join(frames: list[bytes]) -> bytes:
    return frames[0] if len(frames) == 1 else b"[" + b",".join(frames) + b"]"
