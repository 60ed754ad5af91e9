"""Large values to JSON in pieces, so that the event loop can turn between them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

import msgspec

from discord_tools.ipc_server.values.encoder import Encoder
from discord_tools.ipc_server.values.errors import Step, Unwritable, step_of
from discord_tools.ipc_server.values.python import ARRAYS, field_names
from discord_tools.ipc_server.values.selecting import Chosen
from discord_tools.ipc_server.values.sizes import SLICE, Large

__all__ = ("pieces",)


def pieces(encoder: Encoder, value: Any) -> Iterator[bytes]:
    """Writes a value in pieces, none of which takes long.

    Raises
    ------
    TypeError
        A part of it cannot be written as JSON.
    """
    try:
        value = encoder.turned(value)
        try:
            yield encoder.encode(value, small=True)
        except Large:
            # Again, since the first time nothing is known about the class.
            yield from _large(encoder, encoder.turned(value))
    except RecursionError as error:
        raise Unwritable("the value contains itself, or is nested too deeply") from error


def _large(encoder: Encoder, value: Any) -> Iterator[bytes]:
    if isinstance(value, Chosen) and not value.is_collection:
        yield from _large_choice(encoder, value)
    elif isinstance(value, Chosen):
        yield from _large(encoder, value.each())
    elif isinstance(value, dict):
        yield b"{"
        yield from _members(encoder, list(cast("dict[Any, Any]", value).items()))
        yield b"}"
    elif isinstance(value, ARRAYS):
        yield b"["
        yield from _elements(encoder, list(cast("list[Any]", value)))
        yield b"]"
    else:
        yield from _large(encoder, _fields(value))


def _fields(value: Any) -> dict[str, Any] | list[Any]:
    """What msgspec writes by its fields, with the names that it has for them."""
    kind = cast("type[Any]", type(value))
    names = field_names(kind)
    assert names is not None  # everything else is not large, or has been turned
    found = [getattr(value, name, msgspec.UNSET) for name in names]
    wire: tuple[str, ...] = names
    tag: dict[Any, Any] = {}
    if isinstance(value, msgspec.Struct):
        config, wire = value.__struct_config__, value.__struct_encode_fields__
        tag = {} if config.tag is None else {config.tag_field: config.tag}
        if config.array_like:
            return [*tag.values(), *found]
    return tag | {name: field for name, field in zip(wire, found, strict=True) if field is not msgspec.UNSET}


def _elements(encoder: Encoder, items: list[Any]) -> Iterator[bytes]:
    for start in range(0, len(items), SLICE):
        part = items[start : start + SLICE]
        comma = b"," if start else b""
        try:
            yield comma + _slice(encoder, part, start)
        except Large:
            for n, item in enumerate(part, start):
                yield b"," if n else b""
                yield from _within(encoder, n, item)


def _slice(encoder: Encoder, part: list[Any], start: int) -> bytes:
    try:
        return encoder.encode(part, small=True)[1:-1]
    except Unwritable as error:
        error.steps[-1] = cast("int", error.steps[-1]) + start
        raise


def _members(encoder: Encoder, items: list[tuple[Any, Any]]) -> Iterator[bytes]:
    rest, first = iter(items), True
    while part := list(islice(rest, SLICE)):
        comma = b"" if first else b","
        first = False
        try:
            yield comma + encoder.encode(dict(part), small=True)[1:-1]
        except Large:
            for n, (key, item) in enumerate(part):
                yield (b"," if n else comma) + encoder.encode({key: None})[1 : -len(b":null}")] + b":"
                yield from _within(encoder, step_of(key), item)


def _within(encoder: Encoder, step: Step, value: Any) -> Iterator[bytes]:
    try:
        yield from pieces(encoder, value)
    except Unwritable as error:
        error.steps.append(step)
        raise


def _large_choice(encoder: Encoder, choice: Chosen) -> Iterator[bytes]:
    collections = choice.requested()
    start = encoder.encode(choice.without(collections))
    yield start[:-1]
    comma = b"," if len(start) > len(b"{}") else b""
    for field in collections:
        yield comma + encoder.encode(field.name) + b":"
        comma = b","
        yield from _within(encoder, field.name, choice.collection(field))
    yield b"}"
