"""Members of the data of errors, which another side may have written."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from discord_tools.ipc.snowflakes import snowflake

__all__ = ("field_of", "id_of", "seconds_of", "strings_of")

FieldT = TypeVar("FieldT")


def field_of(data: object, name: str, *kinds: type[FieldT]) -> FieldT | None:
    """A member of an error's data, which another side may have written: ``None`` where it is not of these kinds."""
    value = cast("dict[str, Any]", data).get(name) if isinstance(data, dict) else None
    return value if isinstance(value, kinds) and not isinstance(value, bool) else None


def strings_of(data: object, name: str) -> list[str]:
    found = cast("list[Any] | None", field_of(data, name, list))
    return [one for one in found or [] if isinstance(one, str)]


def id_of(data: object, name: str) -> int | None:
    number = snowflake(field_of(data, name, str))
    return None if number < 0 else number


def seconds_of(data: object, name: str) -> float | None:
    value = field_of(data, name, int, float)
    # Neither NaN, nor infinite, nor an integer that is too large for a float.
    return float(value) if value is not None and 0 <= value < 2**53 else None
