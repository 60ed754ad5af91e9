"""What kind of function a route is, and what functions return that may be coroutine functions."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from functools import partial
from types import MethodType
from typing import Any, Final, ForwardRef, cast, get_args, get_origin

from discord_tools.ipc_server.parameters.annotations import signature_of

__all__ = ("is_method", "item_of", "result_of", "unwrapped")

_STREAMS: Final = (AsyncGenerator, AsyncIterator, AsyncIterable)


def unwrapped(callback: Any) -> tuple[Any, bool]:
    """Returns what is called, and whether it is a method that has yet to be bound to an object.

    Raises
    ------
    TypeError
        It is a class method, which gets neither the request nor the cog first.
    """
    if isinstance(callback, classmethod):
        name = cast("Any", callback).__func__.__qualname__
        raise TypeError(f"{name} is a class method: make it a method or a static method")
    if isinstance(callback, staticmethod):
        return cast("Any", callback).__func__, False
    return callback, is_method(callback)


def _chain(callback: Any) -> Iterator[Any]:
    yield callback
    while hasattr(callback, "__wrapped__"):
        callback = callback.__wrapped__
        yield callback


def is_method(callback: Callable[..., Any]) -> bool:
    """Whether a function is a method that has yet to be bound to an object, as those in the body of a class are."""
    owner, _, name = getattr(callback, "__qualname__", "").rpartition(".")
    if not owner or owner.endswith("<locals>"):
        return False
    # A decorator gives its function the name of the one that it wraps, a bound method say.
    if any(isinstance(one, (MethodType, partial, staticmethod)) for one in _chain(callback)):
        return False
    return not _is_static(callback, owner, name) and not _begins_with_request(callback)


def _is_static(callback: Callable[..., Any], owner: str, name: str) -> bool:
    """Whether the class, where it can be found, has the function as a static method."""
    found: Any = sys.modules.get(callback.__module__)
    for part in owner.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        return False
    return isinstance(inspect.getattr_static(found, name, None), staticmethod)


def _begins_with_request(callback: Callable[..., Any]) -> bool:
    """Whether the request comes first, so that there is no place for an object.

    A static method of a class that is yet to be made shows it in no other way.
    """
    first = next(iter(signature_of(callback).parameters.values()), None)
    if first is None:
        return False
    annotation = first.annotation
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return first.name == "request" or text.strip("'\"").rpartition(".")[2] == "Request"


def item_of(annotation: Any) -> Any:
    """Returns the type of the items of a stream, from the annotation of its function: an iterator, or the item."""
    if annotation in _STREAMS:
        return Any
    return get_args(annotation)[0] if get_origin(annotation) in _STREAMS else annotation


async def result_of(returned: Any) -> Any:
    """Returns what a function has returned, or what that returns when it is awaited."""
    return await returned if inspect.isawaitable(returned) else returned
