"""Bytes to frames and back; many frames in one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from discord_tools.ipc.errors import EncodeError
from discord_tools.ipc.wire.frames import Frame, Id

__all__ = ("Malformed", "Unreadable", "decode", "encode", "encode_given", "pack")


class Unreadable(Exception):
    """A message is not JSON, so nothing in it can be told apart."""


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


def decode(data: bytes | str) -> Sequence[Frame | Malformed]:
    """Reads one message: a frame or an array of frames.

    An array is a pack of independent frames, so a bad one spoils only itself.

    Raises
    ------
    Unreadable
        The message is not JSON.
    """
    try:
        message = _frames.decode(data)
    except msgspec.ValidationError:
        pass
    except UNREADABLE as error:
        raise Unreadable(_reason(error)) from None
    else:
        return [message] if isinstance(message, Frame) else message
    try:
        elements: Iterable[Any] = _elements.decode(data)
    except UNREADABLE:
        elements = (data,)
    return [_decode_one(element) for element in elements]


def _decode_one(data: bytes | str) -> Frame | Malformed:
    try:
        return _frame.decode(data)
    except UNREADABLE as error:
        return Malformed(_id_of(data), _reason(error))


def _id_of(data: bytes | str) -> Id:
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
