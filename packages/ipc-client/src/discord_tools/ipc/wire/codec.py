"""Bytes to frames and back; many frames in one message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from discord_tools.ipc.errors import EncodeError
from discord_tools.ipc.wire.frames import Frame, Id

__all__ = ("Malformed", "Unreadable", "decode", "decode_one", "encode", "encode_given", "pack")


#: Maximum size of an array of frames, in bytes. Packs of this library are half as large, and a larger frame travels
#: alone. Without it, one message could hold a million frames, which take seconds and gigabytes to decode.
MAX_PACK_BYTES: Final = 512 * 1024


class Unreadable(Exception):
    """Nothing in a message can be read: it is not JSON, or an array of frames that is too large."""


class Malformed(Struct):
    """One element of a message that is JSON but not a frame."""

    id: Id
    reason: str


class _WithId(Struct):
    """What can be read of something that is not a frame."""

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


def decode(data: bytes | str) -> Sequence[Frame | Raw]:
    """Reads one message: a frame or an array of frames.

    An array is a pack of independent frames, so a bad one does not affect the others. Where there is one, all elements
    stay encoded, for :func:`decode_one` to read as many as are wanted.

    Raises
    ------
    Unreadable
        Nothing in the message can be read.
    """
    if len(data) > MAX_PACK_BYTES and _is_array(data):
        raise Unreadable(f"an array of frames may have {MAX_PACK_BYTES} bytes, this one has {len(data)}")
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
        return [Raw(data.encode() if isinstance(data, str) else data)]


def decode_one(data: Raw) -> Frame | Malformed:
    """Reads one element of a message."""
    try:
        return _frame.decode(data)
    except UNREADABLE as error:
        return Malformed(_id_of(data), _reason(error))


def _is_array(data: bytes | str) -> bool:
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
