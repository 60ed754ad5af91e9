"""Finds out where in a value the problem is that has kept it from being written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from msgspec import UNSET

from discord_tools.ipc_server.values.errors import Step, Unwritable, step_of
from discord_tools.ipc_server.values.python import ARRAYS, BUILTIN, field_names

__all__ = ("problem",)

Function = Callable[[Any], Any]

#: Longest way to a problem, in steps.
DEPTH = 100


def problem(
    value: Any, error: Exception, write: Function, writers: Mapping[type[Any], Function]
) -> Unwritable:
    """Makes the error about a value.

    Parameters
    ----------
    value
        The value.
    error: :exc:`Exception`
        What writing it has raised.
    write: Callable
        Writes a part of it.
    writers: Mapping[:class:`type`, Callable]
        What makes values that can be written of objects of some classes.
    """
    if isinstance(error, Unwritable) and error.steps:
        return error  # known already
    if isinstance(error, RecursionError):
        return _cycle(value)
    steps: list[Step] = []
    while len(steps) < DEPTH:
        found = _failing(value, write, writers)
        if found is None:
            break
        step, value, error = found
        steps.append(step)
    made = error if isinstance(error, Unwritable) else Unwritable(_reason(value, error))
    made.steps.extend(reversed(steps))
    return made


def _failing(
    value: Any, write: Function, writers: Mapping[type[Any], Function]
) -> tuple[Step, Any, Exception] | None:
    """The first part of a value that cannot be written, with the way to it and what writing it raises."""
    for step, item in _children(value, writers):
        try:
            write({item.key: None} if isinstance(item, _Key) else item)
        except Exception as error:
            # A traceback refers to the frames that have the exception, so the value would stay until the garbage
            # collector comes.
            return step, item, error.with_traceback(None)
    return None


class _Key:
    """A key of an object, among its values."""

    def __init__(self, key: Any) -> None:
        self.key = key


def _reason(value: Any, error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return f"{value.key if isinstance(value, _Key) else value!r:.100} cannot be written as JSON: {error}"
    return (
        f"objects of type {type(value).__name__} cannot be written as JSON: {type(error).__name__}: {error}"
    )


def _children(value: Any, writers: Mapping[type[Any], Function]) -> Iterator[tuple[Step, Any]]:
    """What is in a value, with the way to it."""
    if type(value) in writers and type(value) not in (*BUILTIN, *ARRAYS, dict):
        try:
            value = writers[type(value)](value)
        except Exception:
            return  # it is the problem itself
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            yield step_of(key), _Key(key)
            yield step_of(key), item
    elif isinstance(value, ARRAYS):
        yield from enumerate(cast("list[Any]", value))
    else:
        kind = cast("type[Any]", type(value))
        names = field_names(kind) or ()
        wire: tuple[str, ...] = getattr(kind, "__struct_encode_fields__", names)
        for name, own in zip(wire, names, strict=True):
            if (item := getattr(value, own, UNSET)) is not UNSET:
                yield name, item


def _cycle(value: Any) -> Unwritable:
    """Finds the way to something that contains itself."""
    way: list[tuple[Step, Any, Iterator[tuple[Step, Any]]]] = [("", value, _children(value, {}))]
    seen = {id(value)}
    while way:
        step, item = next(way[-1][2], ("", None))
        if item is None:
            seen.discard(id(way.pop()[1]))
        elif id(item) in seen:
            made = Unwritable(f"an object of type {type(item).__name__} contains itself")
            made.steps.extend([step, *(each[0] for each in reversed(way[1:]))])
            return made
        elif type(item) not in BUILTIN and not isinstance(item, _Key):
            seen.add(id(item))
            way.append((step, item, _children(item, {})))
    return Unwritable("the value is nested too deeply")
