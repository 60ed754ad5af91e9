"""Values of Python that are not Discord's: what each is written as, by its class."""

from __future__ import annotations

import array
import datetime
import decimal
import enum
import sys
import uuid
from collections import UserDict, UserList, UserString, deque
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any, Final, cast

import msgspec
from discord.enums import Enum as DiscordEnum

__all__ = ("ARRAYS", "BUILTIN", "field_names", "is_discord_enum", "named_tuple", "scalar_of", "turn_of")

Function = Callable[[Any], Any]

#: What msgspec writes without a look: scalars of the standard library. Decimals and UUIDs become strings, durations
#: those of ISO 8601, bytes base64, and floats that are not finite null.
BUILTIN: Final[frozenset[type[Any]]] = frozenset({
    type(None), bool, int, float, str,
    bytes, bytearray, memoryview,
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
    decimal.Decimal, uuid.UUID,
    msgspec.Raw,
})  # fmt: skip

#: What msgspec writes as an array. Subclasses are written so, too.
ARRAYS: Final[tuple[type[Any], ...]] = (list, tuple, set, frozenset)

#: How to make the builtin of an object of a subclass, which may have overridden the usual ways.
_SCALARS: Final[dict[type[Any], Function]] = {
    bool: bool,
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: bytes,
    datetime.datetime: lambda value: datetime.datetime.combine(value.date(), value.timetz()),
    datetime.date: lambda value: datetime.date(value.year, value.month, value.day),
    datetime.time: lambda value: datetime.time(
        value.hour, value.minute, value.second, value.microsecond, value.tzinfo
    ),
    datetime.timedelta: lambda value: datetime.timedelta(value.days, value.seconds, value.microseconds),
    decimal.Decimal: decimal.Decimal,
    uuid.UUID: lambda value: uuid.UUID(int=value.int),
    UserString: str,
    PurePath: str,
}


def is_discord_enum(kind: type[Any]) -> bool:
    """Whether objects of a class are members of an enum of discord.py: these are tuples of a name and a value."""
    return kind.__module__ == DiscordEnum.__module__ and issubclass(kind, tuple) and "value" in dir(kind)  # pyright: ignore[reportUnknownArgumentType] (of Any)


def scalar_of(kind: type[Any]) -> Function | None:
    """How to make the builtin scalar of an object of a subclass of one."""
    if issubclass(kind, enum.Enum):
        return None
    numpy = sys.modules.get("numpy")
    for base in kind.__mro__:
        if base in _SCALARS:
            return _SCALARS[base]
        if numpy is not None and base is numpy.generic and not issubclass(kind, numpy.complexfloating):
            return None if issubclass(kind, numpy.void) else lambda value: value.item()
    return None


def field_names(kind: type[Any]) -> tuple[str, ...] | None:
    """The names of the fields of a class that msgspec writes by its fields: a Struct, a dataclass, one of attrs."""
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if "__dataclass_fields__" in dir(kind):
        return tuple(
            name for name, field in kind.__dataclass_fields__.items() if field._field_type.name == "_FIELD"
        )
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else tuple(attribute.name for attribute in attributes)


def turn_of(kind: type[Any]) -> Function | None:
    """What makes a list or a dict of an object of a class, or its value if it is an enum. ``None`` if nothing does."""
    if is_discord_enum(kind) or issubclass(kind, enum.Enum):
        return _value
    if issubclass(kind, tuple):
        return named_tuple if "_fields" in dir(kind) else list  # pyright: ignore[reportUnknownArgumentType] (of Any)
    if callable(getattr(kind, "model_dump", None)):
        return _dumped  # pydantic
    if callable(getattr(kind, "_asdict", None)):
        return _as_dict  # a row of SQLAlchemy
    if issubclass(kind, UserDict):
        return lambda value: value.data
    if issubclass(kind, Mapping) or (hasattr(kind, "keys") and hasattr(kind, "__getitem__")):
        return _mapping
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, (numpy.ndarray, numpy.void)):
        return lambda value: value.tolist()
    if issubclass(kind, (deque, range, UserList, array.array, Sequence, Set)) or kind in _VIEWS:
        return list
    return None


_NOTHING: Final[dict[Any, Any]] = {}
_VIEWS: Final[tuple[type[Any], ...]] = (
    type(_NOTHING.keys()),
    type(_NOTHING.values()),
    type(_NOTHING.items()),
)


def _value(member: Any) -> Any:
    return member.value


def _dumped(model: Any) -> Any:
    return _restored(model, model.model_dump())


def _restored(value: Any, dumped: Any) -> Any:
    """What pydantic makes of a value, with enums of discord.py in their places: it takes these for tuples."""
    kind = cast("type[Any]", type(value))
    if is_discord_enum(kind):
        return value
    if isinstance(dumped, dict):
        fields = cast("dict[Any, Any]", value if isinstance(value, dict) else getattr(value, "__dict__", {}))
        return {
            key: _restored(fields[key], item) if key in fields else item
            for key, item in cast("dict[Any, Any]", dumped).items()
        }
    if isinstance(dumped, list | tuple) and isinstance(value, list | tuple) and len(dumped) == len(value):  # pyright: ignore[reportUnknownArgumentType] (of Any)
        return [_restored(*pair) for pair in zip(value, dumped, strict=True)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] (of Any)
    return dumped  # pyright: ignore[reportUnknownVariableType] (of Any)


def _as_dict(row: Any) -> Any:
    return row._asdict()


def named_tuple(value: Any) -> dict[str, Any]:
    """The fields of a named tuple."""
    return dict(zip(value._fields, tuple(value), strict=True))


def _mapping(value: Any) -> dict[Any, Any]:
    return {key: value[key] for key in cast("Collection[Any]", value.keys())}
