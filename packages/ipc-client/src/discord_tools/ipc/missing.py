"""The default of a parameter that was not given."""

from __future__ import annotations

from typing import Any, Final

__all__ = ("MISSING",)


class _Missing:
    """Prints as ``...``, which is how signatures in the documentation show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "..."

    def __bool__(self) -> bool:
        return False


MISSING: Final[Any] = _Missing()
