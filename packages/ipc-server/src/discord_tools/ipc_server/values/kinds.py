"""The kinds of values, and short ways to write fields of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

from discord_tools.ipc_server.snowflakes import SNOWFLAKE_SCHEMA
from discord_tools.ipc_server.values.table import Field, Function, Kind, Table

if TYPE_CHECKING:
    from typing import Unpack

__all__ = (
    "BITS", "BOOLEAN", "BYTES", "COLOR", "ENUM", "FLAGS", "INTEGER", "JSON", "NUMBER", "PERMISSIONS",
    "SNOWFLAKE", "TEXT", "TIMESTAMP", "URL", "boolean", "colour", "enum", "extra", "flags", "integer",
    "json", "made", "many", "nested", "number", "of", "one_of", "permissions", "snowflake", "text", "timestamp",
)  # fmt: skip

TEXT: Final = Kind("text", "{}", {"type": "string"})
BOOLEAN: Final = Kind("boolean", "{}", {"type": "boolean"})
INTEGER: Final = Kind("integer", "{}", {"type": "integer"})
NUMBER: Final = Kind("number", "{}", {"type": "number"})
SNOWFLAKE: Final = Kind("snowflake", "str({})", SNOWFLAKE_SCHEMA)
FLAGS: Final = Kind("flags", "{}.value", {"type": "integer"})
PERMISSIONS: Final = Kind("permissions", "str({}.value)", SNOWFLAKE_SCHEMA)
#: The same of an attribute that is a number.
BITS: Final = PERMISSIONS._replace(code="str({})")
ENUM: Final = Kind("enum", "{}.value", {"type": ["integer", "string"]})
TIMESTAMP: Final = Kind("timestamp", "{}", {"type": "string", "format": "date-time"})
COLOR: Final = Kind("color", "{}.value", {"type": "integer"})
URL: Final = Kind("URL", "{}.url", {"type": "string", "format": "uri"})
BYTES: Final = Kind("base64", "{}", {"type": "string"})
#: A part of a payload that discord.py keeps as it was.
JSON: Final = Kind("JSON", "{}", {})


class Options(TypedDict, total=False):
    """What fields may be, see :class:`Field`."""

    omit: bool
    extra: bool
    on_request: bool


# Each of these takes the name and, where it differs, the path of the attribute.


def text(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, TEXT, **options)


def boolean(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, BOOLEAN, **options)


def integer(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, INTEGER, **options)


def number(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, NUMBER, **options)


def snowflake(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, SNOWFLAKE, **options)


def flags(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, FLAGS, **options)


def permissions(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, PERMISSIONS, **options)


def enum(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, ENUM, **options)


def timestamp(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, TIMESTAMP, **options)


def colour(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, COLOR, **options)


def json(name: str, path: str = "", **options: Unpack[Options]) -> Field:
    return Field(name, path or name, JSON, **options)


def nested(cls: type | Table, name: str, path: str = "", **options: Unpack[Options]) -> Field:
    """An object of one class, written by its table whatever subclass it is of."""
    kind = Kind(cls.name if isinstance(cls, Table) else cls.__name__, "nested({})", {}, cls)
    return Field(name, path or name, kind, **options)


def one_of(classes: tuple[type, ...], name: str, path: str = "", **options: Unpack[Options]) -> Field:
    """An object that is written as its own class: one of several."""
    kind = Kind(" or ".join(cls.__name__ for cls in classes), "{}", {}, classes=classes)
    return Field(name, path or name, kind, **options)


def many(field: Field) -> Field:
    """An array of what ``field`` has."""
    return field._replace(kind=field.kind._replace(many=True))


def made(function: Function, kind: Kind, name: str, path: str = "", **options: Unpack[Options]) -> Field:
    """Made by a function of the attribute, or of the object where there is no path. The kind tells what it makes."""
    kind = kind._replace(code="call({})", function=function)
    return Field(name, path, kind, **options)


def of(field: Field, prepare: Function | None) -> Field:
    """A field of something that a function finds in the object, or of the object itself."""
    return field._replace(path="", prepare=prepare)


def extra(field: Field) -> Field:
    """A field that Discord does not have."""
    return field._replace(extra=True)
