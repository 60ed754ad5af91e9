"""Answers to JSON, Discord's objects included: Discord's own field names and types, ids and permissions as strings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from discord_tools.ipc.errors import RemoteError, TooLarge
from discord_tools.ipc.wire.codec import encode
from discord_tools.ipc.wire.frames import ErrorObject, Frame, Id
from discord_tools.ipc_server.values.encoder import Encoder, Reply
from discord_tools.ipc_server.values.pieces import pieces
from discord_tools.ipc_server.values.sizes import LARGE, SLICE, Large

__all__ = (
    "LARGE",
    "SLICE",
    "STANDARD",
    "encode_answer",
    "encode_large",
    "encode_reply",
    "encode_small",
    "error_object",
    "reply_with",
)

#: Writes values where no class has an encoder of its own.
STANDARD: Final = Encoder()


# Each of these first tries to write without a look at the values. Nearly all answers are dicts of nothing but scalars,
# which the garbage collector does not track, and asking for that costs a tenth of the look. An exception there does not
# say where the problem is, so the value is then written with the look: that succeeds, or raises one that says it.


def encode_answer(value: Any, encoder: Encoder = STANDARD) -> bytes:
    """Writes an answer as JSON.

    Raises
    ------
    TypeError
        A part of it cannot be written as JSON.
    """
    if type(value) is dict and not encoder.is_mixed(value):  # pyright: ignore[reportUnknownArgumentType] (of Any)
        try:
            return encoder.json(value)
        except Exception:
            pass  # Written again below.
    return encoder.encode(value)


def encode_small(value: Any, encoder: Encoder = STANDARD) -> bytes | None:
    """Writes an answer as JSON. Returns ``None`` if it is large, so that :func:`encode_large` has to write it.

    Raises
    ------
    TypeError
        A part of it cannot be written as JSON.
    """
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] (of Any)
    if kind is dict and not encoder.is_mixed(value) and len(value) < LARGE:
        try:
            return encoder.json(value)
        except Exception:
            pass  # Written again below.
    try:
        return encoder.encode(value, small=True)
    except Large:
        return None


def encode_reply(number: Id, value: Any, encoder: Encoder = STANDARD) -> bytes | None:
    """Writes a whole reply of JSON-RPC 2.0. In one go, since an answer is copied each time it is passed on.

    Returns ``None`` if it is large, so that :func:`encode_large` has to write it.

    Raises
    ------
    TypeError
        A part of it cannot be written as JSON.
    """
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] (of Any)
    if (
        (kind is dict and not encoder.is_mixed(value) and len(value) < LARGE)
        or kind in encoder.plain
        or (kind is list and len(value) < LARGE and encoder.plain.issuperset(map(type, value)))
    ):
        try:
            return encoder.json(Reply("2.0", number, value))
        except Exception:
            pass  # Written again below.
    try:
        return encoder.encode(value, number, small=True)
    except Large:
        return None


async def encode_large(
    value: Any, limit: int, take: Callable[[int], Awaitable[None]], encoder: Encoder = STANDARD
) -> bytes:
    """Writes a value as JSON in pieces, with a turn of the event loop after each, so that the bot is not blocked.

    ``take`` waits for a turn in which a piece of that size may be encoded.

    Raises
    ------
    TypeError
        A part of it cannot be written as JSON.
    TooLarge
        It has more than ``limit`` bytes. The rest is not encoded.
    """
    parts: list[bytes] = []
    size = expected = 0
    rest = pieces(encoder, value)
    while True:
        await take(expected)
        part = next(rest, None)
        if part is None:
            break
        size += len(part)
        # About as large as those before. Some are nothing but a comma or a name.
        expected = max(len(part), expected // 2)
        if size > limit:
            raise TooLarge(
                f"the answer has more than {limit} bytes, which the caller does not take: stream it"
            )
        parts.append(part)
        await asyncio.sleep(0)
    # Joining is copying, which large answers must not do in one turn all together.
    await take(size)
    return b"".join(parts)


def reply_with(number: Id, result: bytes) -> bytes:
    """Writes a reply around a result that is encoded already."""
    return encode(Frame("2.0", number, result=msgspec.Raw(result)))


def error_object(error: RemoteError, encoder: Encoder = STANDARD) -> ErrorObject:
    """Makes the ``error`` member of a reply from an exception. Raises what :func:`encode_answer` raises."""
    data = msgspec.UNSET if error.data is None else msgspec.Raw(encode_answer(error.data, encoder))
    return ErrorObject(error.code, error.message, data)
