"""How large values are that are written in one go, and whether they are ready for that as they are."""

from __future__ import annotations

from collections.abc import Collection
from gc import get_referents
from typing import Any, Final, TypeAlias

from discord_tools.ipc_server.values.python import ARRAYS

__all__ = ("ELEMENTS", "LARGE", "OBJECT", "SLICE", "WIDE", "Budget", "Large", "are_ready", "count")

#: Number of elements of a list or an object from which on it is written in slices.
LARGE: Final = 256

#: Number of elements of a list that are written without a turn of the event loop.
SLICE: Final = 32

#: Number of elements of all lists and objects of an answer together from which on it is written in slices. It takes a
#: few milliseconds at most.
ELEMENTS: Final = 4096

#: An object of Discord counts as this number of elements, since it costs as much.
OBJECT: Final = 16

#: Number of elements of a list or an object from which on all that it contains is checked level by level first. With
#: fewer ones, this costs more than a check of each.
WIDE: Final = 8

#: Maximum number of such levels.
LEVELS: Final = 16

#: Lists and objects that msgspec writes as they are, where their elements are ready.
_CONTAINERS: Final[frozenset[type[Any]]] = frozenset({dict, *ARRAYS})

#: How many elements may still come before a value is large, in a list of one number.
Budget: TypeAlias = list[int]


class Large(Exception):
    """A value is too large to be written in one go."""


def count(number: int, budget: Budget) -> None:
    """Counts the elements of a list or an object. Without a bound the budget is greater than any number of them."""
    left = budget[0] = budget[0] - number
    if left < 0 or (number >= LARGE and left < ELEMENTS):
        raise Large


def are_ready(items: Collection[Any], plain: set[type[Any]], budget: Budget) -> bool:
    """Whether msgspec writes some values as they are, as far as that can be said level by level.

    No code of Python runs for most single elements, so this costs a fraction of a check of each.

    Parameters
    ----------
    items: Collection
        The values: the elements of a list, or the values of an object.
    plain: Set[:class:`type`]
        The types of scalars that are ready.
    budget: List[:class:`int`]
        Counts what they contain, if they are ready.

    Raises
    ------
    Large
        They contain too much.
    """
    left, found = budget[0], items
    bounded = left <= ELEMENTS
    kinds: set[type[Any]] = set(map(type, found))
    for _ in range(LEVELS):
        others = kinds - plain
        if not others <= _CONTAINERS:
            return False
        if len(others) < len(kinds):
            found = [each for each in found if type(each) in _CONTAINERS]
        number = sum(map(len, found))
        left -= number
        if left < 0 or (number >= LARGE and bounded and max(map(len, found)) >= LARGE):
            raise Large
        if number > ELEMENTS:
            return False
        # What the garbage collector goes through: the elements of lists, the values of dicts, and the keys of those
        # that have not only strings.
        found = get_referents(*found)
        kinds = set(map(type, found))
        if kinds <= plain:
            budget[0] = left
            return True
    return False
