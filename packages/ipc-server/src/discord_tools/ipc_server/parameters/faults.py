"""What is wrong in the data of a call, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec

from discord_tools.ipc.errors import BadData, UnknownObject, Violation

__all__ = (
    "QUOTED",
    "UNREADABLE",
    "Path",
    "article",
    "bad_data",
    "elements_of",
    "from_decoder",
    "has_more_values",
    "members_of",
    "path_text",
    "shown",
)

#: A place in the data: a parameter's name, or the place around it with a member's name or an element's index.
Path: TypeAlias = "str | tuple[Path, str | int]"

#: What decoding raises.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)

#: Maximum number of faults that the data of an answer lists. Its text says how many there are.
MAX_FAULTS: Final = 100

#: Maximum number of faults that the text of an answer lists.
IN_TEXT: Final = 5

#: What msgspec calls the types that ids and other values are decoded as, and what is meant.
_EXPECTED: Final = {
    "`bool | int | float | str | null`": "a number or a string",
    "`bool | int | float | str | object | null`": "a number, a string or an object",
}

#: Maximum number of characters of a value, or of the name of a member, that a fault quotes.
QUOTED: Final = 100


def path_text(path: Path) -> str:
    """Writes a place as callers read it: ``settings.roles[2]``."""
    parts: list[str] = []
    while not isinstance(path, str):
        path, key = path
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key[:QUOTED]}")
    return "".join((path, *reversed(parts)))


def article(noun: str) -> str:
    """Returns the article for a noun."""
    return "an" if noun[:1] in "AEIO" else "a"


def members_of(value: Any) -> dict[str, Any] | None:
    """Returns a decoded object, and ``None`` for any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def elements_of(value: Any) -> list[Any] | None:
    """Returns a decoded array, and ``None`` for any other value."""
    return cast("list[Any]", value) if isinstance(value, list) else None


def has_more_values(value: Any, most: int) -> bool:
    """Whether decoded JSON has more than a number of values inside it."""
    count, left = 0, [value]
    while left and count <= most:
        inner: Any = left.pop()
        if (members := members_of(inner)) is not None:
            inner = members.values()
        elif elements_of(inner) is None:
            continue
        count += len(inner)
        if count <= most:
            left.extend(inner)
    return count > most


def shown(value: Any) -> str:
    """Describes a decoded value. The text is short, whatever the value is."""
    if isinstance(value, str):
        return (
            repr(value)
            if len(value) <= QUOTED
            else f"{value[:QUOTED]!r} and {len(value) - QUOTED} more characters"
        )
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return repr(value)
    return "an array" if isinstance(value, list) else "an object"


def from_decoder(error: Exception, name: str = "") -> Violation:
    """Takes msgspec's text apart: ``Expected `int`, got `str` - at `$[3].id```."""
    if isinstance(error, RecursionError):
        return Violation(path=name, message="is nested too deeply")
    text = str(error)
    for types, words in _EXPECTED.items():
        text = text.replace(types, words)
    message, found, path = text.rpartition(" - at `")
    if not found:
        return Violation(path=name, message=path)
    if path.startswith("key` in `"):
        path, message = path.removeprefix("key` in `"), f"wrong key: {message}"
    place = path.removeprefix("$").removesuffix("`")
    return Violation(path=name + place if name else place.removeprefix("."), message=message)


def bad_data(violations: Sequence[Violation], more: int = 0, *, only_unknown: bool = True) -> BadData:
    """Makes the exception: :exc:`UnknownObject` where nothing is wrong but ids that nothing has.

    ``more`` is the number of faults that are not listed, and ``only_unknown`` says whether those are of that kind.
    """
    parts = [f"{v['path']}: {v['message']}" if v["path"] else v["message"] for v in violations[:IN_TEXT]]
    if (left := len(violations) - IN_TEXT + more) > 0:
        parts.append(f"{left} more faults")
    unknown = only_unknown and all("kind" in violation for violation in violations)
    cls = UnknownObject if unknown else BadData
    return cls(f"bad data: {'; '.join(parts)}", data=list(violations[:MAX_FAULTS]))
