"""The name that is nearest to one that does not exist, at a bounded cost."""

from __future__ import annotations

from collections.abc import Collection
from difflib import SequenceMatcher
from heapq import nlargest
from itertools import islice
from time import monotonic
from typing import Final

__all__ = ("Nearest",)

#: Maximum number of characters of a name that does not exist for which the nearest one is searched, and of that one.
NAME_CHARS: Final = 64

#: Names that are compared with names that do not exist at once, and in each second, for all clients together. Beyond
#: it, callers of such a name do not learn the nearest one.
WORK_AT_ONCE: Final = 10_000
WORK_PER_SECOND: Final = 5_000

#: How alike two names are at least, from 0 to 1.
_ALIKE: Final = 0.6

#: Number of names that are compared in detail, and the work for all of these.
_DETAILED: Final = 5
_DETAILED_WORK: Final = 200

#: Number of bits for the letters and the pairs of letters of a name. It is prime.
_BITS: Final = 509


class Nearest:
    """Finds the nearest of some names. While it has done too much, it finds none."""

    def __init__(self) -> None:
        #: The names that were prepared, as their owner has them.
        self._names: object = None
        #: Number of these names.
        self._number = 0
        #: Letters and pairs of letters, as bits, and the spelling without case, by name.
        self._prepared: dict[str, tuple[int, str]] = {}
        #: Work that may still be done.
        self._work: float = WORK_AT_ONCE
        #: When that was counted.
        self._counted = monotonic()

    def find(self, name: str, names: Collection[str]) -> str | None:
        """Returns the nearest name, or ``None`` where none is near.

        Parameters
        ----------
        name: :class:`str`
            The name that does not exist.
        names: Collection[:class:`str`]
            All names. They are prepared again only where this is another object than the last time. Names that were
            added at the end of the same object are prepared, too.
        """
        if not 1 < len(name) <= NAME_CHARS:
            return None
        if names is not self._names:
            self._names, self._number, self._prepared = names, 0, {}
        if len(names) > self._number:
            for one in islice(names, self._number, None):
                if len(one) <= NAME_CHARS:
                    self._prepared[one] = _prepare(one)
            self._number = len(names)
        if not self._afford(len(self._prepared) + _DETAILED_WORK):
            return None
        bits, spelling = _prepare(name)
        count = bits.bit_count()

        def share(one: str) -> float:
            other = self._prepared[one][0]
            return (bits & other).bit_count() / (count + other.bit_count() or 1)

        best, best_ratio = None, _ALIKE
        matcher = SequenceMatcher(None, "", spelling, autojunk=False)
        for one in nlargest(_DETAILED, self._prepared, share):
            matcher.set_seq1(self._prepared[one][1])
            if (ratio := matcher.ratio()) >= best_ratio and (best is None or ratio > best_ratio):
                best, best_ratio = one, ratio
        return best

    def _afford(self, work: int) -> bool:
        now = monotonic()
        self._work = min(WORK_AT_ONCE, self._work + (now - self._counted) * WORK_PER_SECOND)
        self._counted = now
        if self._work < work:
            return False
        self._work -= work
        return True


def _prepare(name: str) -> tuple[int, str]:
    spelling = name.strip("/").casefold()
    bits = 0
    for one, following in zip(spelling, (*spelling[1:], "/"), strict=True):
        bits |= 1 << ord(one) % _BITS | 1 << (ord(one) * 31 + ord(following)) % _BITS
    return bits, spelling
