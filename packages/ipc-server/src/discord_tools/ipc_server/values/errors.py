"""The error about a value that has no form in JSON, and where it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ("Step", "Unwritable", "place", "step_of")

#: One step into a value: the key of an object, the name of a field, the index of an array.
Step = str | int

#: Longest path in an error, in steps. A value may be nested a thousand times.
STEPS = 12

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}").fullmatch


def place(path: Sequence[Step]) -> str:
    """Writes a path as one would in Python or JavaScript: ``members[3].activity``."""
    shown = path if len(path) <= STEPS else (*path[: STEPS // 2], "...", *path[-STEPS // 2 :])
    parts: list[str] = []
    for step in shown:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif step == "..." or _WORD(step):
            parts.append(f".{step}" if parts else step)
        else:
            # A key may have characters that a log cannot write.
            parts.append(f"[{step if len(step) <= 60 else f'{step:.60}...'!a}]")
    return "".join(parts)


def step_of(key: Any) -> Step:
    """The step that a key of a dict is."""
    return key if type(key) is str else f"{key!s:.100}"


class Unwritable(TypeError):
    """A value has no form in JSON.

    Parameters
    ----------
    reason: :class:`str`
        What is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        #: What is wrong.
        self.reason = reason
        #: The way from the value to the whole answer, innermost first.
        self.steps: list[Step] = []

    def __str__(self) -> str:
        where = place(self.steps[::-1])
        return f"{where}: {self.reason}" if where else self.reason
