"""Whether the data of a type is compared with patterns any number of times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import inspect

__all__ = ("repeats_patterns",)


def repeats_patterns(wire: Any) -> bool:
    """Whether one value of a type may have any number of strings that are compared with a pattern.

    Parameters
    ----------
    wire: Any
        The type as which msgspec decodes the value.
    """
    try:
        info = inspect.type_info(wire)
    except TypeError:  # none that msgspec describes
        return False
    seen: set[tuple[int, bool]] = set()
    left = [(info, False)]
    while left:
        one, repeated = left.pop()
        if (id(one), repeated) in seen:
            continue
        seen.add((id(one), repeated))
        if isinstance(one, inspect.StrType):
            if repeated and one.pattern is not None:
                return True
            continue
        repeated = repeated or isinstance(one, (inspect.CollectionType, inspect.DictType))
        left.extend((inner, repeated) for inner in _inside(one))
    return False


def _inside(info: Any) -> Iterator[Any]:
    """The types inside a type."""
    if isinstance(info, inspect.Metadata):
        yield info.type
    elif isinstance(info, inspect.UnionType):
        yield from info.types
    elif isinstance(info, inspect.CollectionType):
        yield info.item_type
    elif isinstance(info, inspect.TupleType):
        yield from info.item_types
    elif isinstance(info, inspect.DictType):
        yield info.key_type
        yield info.value_type
    elif isinstance(
        info, (inspect.StructType, inspect.TypedDictType, inspect.DataclassType, inspect.NamedTupleType)
    ):
        yield from (field.type for field in info.fields)
