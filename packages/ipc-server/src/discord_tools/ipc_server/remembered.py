"""Tables that remember a bounded number of things."""

from __future__ import annotations

from typing import TypeVar

__all__ = ("remember",)

K = TypeVar("K")
V = TypeVar("V")


def remember(table: dict[K, V], key: K, value: V, most: int) -> None:
    """Remembers something as the newest entry of a table, and forgets the oldest one where there would be too many."""
    table.pop(key, None)
    if len(table) >= most:
        del table[next(iter(table))]
    table[key] = value
