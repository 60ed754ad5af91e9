"""Discord's ids, as JSON has them."""

from __future__ import annotations

from typing import Any, Final

__all__ = ("snowflake",)

#: Ids have 64 bits.
_END: Final = 1 << 64

#: Number of digits of the largest id.
_DIGITS: Final = 20


def snowflake(value: Any) -> int:
    """Returns an id, or -1 for what is none."""
    if type(value) is int:
        return value if 0 <= value < _END else -1
    # int() would accept spaces, signs, underscores and the digits of other scripts.
    if type(value) is str and len(value) <= _DIGITS and value.isascii() and value.isdigit():
        number = int(value)
        return number if number < _END and (value[0] != "0" or value == "0") else -1
    return -1
