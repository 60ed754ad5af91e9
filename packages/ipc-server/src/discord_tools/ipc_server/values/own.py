"""Checks of the encoders that users register for their classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ("checked_class", "checked_function")

#: What JSON has. Everything is made of these, so that they cannot become something else.
_JSON = (bool, dict, float, int, list, object, set, str, tuple, type, type(None))


def checked_class(cls: Any) -> type[Any]:
    """Returns a class that can have an encoder. Raises :exc:`TypeError` for everything else."""
    if not isinstance(cls, type):
        raise TypeError(f"encoder() takes a class, as in @server.encoder(MyClass), not {cls!r:.100}")
    if cls in _JSON:
        raise TypeError(
            f"{cls.__name__} has a form in JSON, which cannot be changed; give a class of your own"
        )
    if getattr(cls, "_is_protocol", False):
        raise TypeError(
            f"{cls.__name__} is a protocol, from which classes need not inherit; give the classes themselves, "
            f"such as discord.User and discord.Member instead of discord.abc.User"
        )
    return cls  # pyright: ignore[reportUnknownVariableType] (of Any)


def checked_function(function: Any) -> Callable[[Any], Any]:
    """Returns a function that can be an encoder. Raises :exc:`TypeError` for everything else."""
    if not callable(function):
        raise TypeError(f"an encoder is a function that takes an object, not {function!r:.100}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"an encoder cannot wait: {function!r:.100} must be a plain function")
    return function
