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

from discord_tools.ipc_server.forks import DiscordEnum
from discord_tools.ipc_server.values.errors import Unwritable

__all__ = ("ARRAYS", "BUILTIN", "field_names", "is_discord_enum", "named_tuple", "scalar_of", "turn_of")

Function = Callable[[Any], Any]

#: Collections whose elements have an order.
_ORDERED: Final = (list, tuple, deque)

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
            return None if issubclass(kind, numpy.void) else _item
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
        return _of_numpy
    if issubclass(kind, (deque, range, UserList, array.array, Sequence, Set)) or kind in _VIEWS:
        return list
    return None


_NOTHING: Final[dict[Any, Any]] = {}
_VIEWS: Final[tuple[type[Any], ...]] = (
    type(_NOTHING.keys()),
    type(_NOTHING.values()),
    type(_NOTHING.items()),
)


def _item(scalar: Any) -> Any:
    """The scalar of Python that is equal to one of numpy."""
    item = scalar.item()
    if scalar.dtype.char == "g":
        return float(scalar)  # Its item() returns the scalar itself.
    if scalar.dtype.kind in "mM" and isinstance(item, int):
        # Python's times end at microseconds, so item() has returned a number that says nothing without its unit.
        if scalar.dtype.kind == "M":
            return str(scalar)
        unit = f"objects of type timedelta64 with the unit of {scalar!r:.100} cannot be written as JSON"
        raise Unwritable(f"{unit}: convert them with astype('timedelta64[us]')")
    return item


def _of_numpy(value: Any) -> Any:
    """A record as an object, an array as a list."""
    names = value.dtype.names
    if names is not None and not getattr(value, "ndim", 0):
        return {name: value[name] for name in names}
    if (names is None and value.dtype.kind not in "mM" and value.dtype.char != "g") or not value.ndim:
        return value.tolist()
    return list(value)


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
        fields = _parts(value, kind)
        return {
            key: _restored(fields[key], item) if key in fields else item
            for key, item in cast("dict[Any, Any]", dumped).items()
        }
    if isinstance(value, set | frozenset) and any(map(is_discord_enum, map(type, cast("set[Any]", value)))):
        return [*cast("set[Any]", value)]  # sets have no order by which both could be compared
    if isinstance(dumped, _ORDERED) and isinstance(value, _ORDERED) and len(dumped) == len(value):  # pyright: ignore[reportUnknownArgumentType] (of Any)
        return [_restored(*pair) for pair in zip(value, dumped, strict=True)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] (of Any)
    return dumped  # pyright: ignore[reportUnknownVariableType] (of Any)


def _parts(value: Any, kind: type[Any]) -> Mapping[str, Any]:
    """What is in an object, by the names under which pydantic writes it."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    names = field_names(kind) or getattr(kind, "_fields", None)
    if names is None:
        return getattr(value, "__dict__", {})
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _as_dict(row: Any) -> Any:
    return row._asdict()


def named_tuple(value: Any) -> dict[str, Any]:
    """The fields of a named tuple."""
    return dict(zip(value._fields, tuple(value), strict=True))


def _mapping(value: Any) -> dict[Any, Any]:
    names = list(cast("Collection[Any]", value.keys()))
    made = {name: value[name] for name in names}
    if len(made) < len(names):  # columns of a join
        double = next(name for name in names if names.count(name) > 1)
        raise Unwritable(
            f"the {type(value).__name__} has several columns named {double!r:.100}: give each a name of its own"
        )
    return made
