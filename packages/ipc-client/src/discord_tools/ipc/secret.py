"""What a secret key must be to travel in an HTTP header."""

from __future__ import annotations

from typing import Any

from discord_tools.ipc.missing import MISSING

__all__ = ("checked_key",)


def checked_key(value: Any) -> str | None:
    """Returns the key, or ``None`` where none was given.

    An empty key is refused, not taken for none: it is what a missing environment variable often turns into, and
    would leave the door open.
    """
    if value is MISSING or value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"secret_key must be a str, not {type(value).__name__}")
    if not value.strip():
        raise ValueError("secret_key is empty")
    if value != value.strip() or not value.isprintable():
        raise ValueError("secret_key must not begin or end with white space nor hold control characters")
    return value
