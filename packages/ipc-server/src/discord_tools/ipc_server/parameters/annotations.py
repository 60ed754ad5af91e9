"""Annotations, evaluated: of functions and of structures, whichever way they are written."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FrameType, SimpleNamespace
from typing import (
    Any,
    Final,
    ForwardRef,
    Generic,
    NotRequired,
    Required,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

__all__ = (
    "Names",
    "calling_frame",
    "class_hints",
    "evaluated",
    "function_of",
    "names_of",
    "resolved",
    "signature_of",
    "visible_names",
    "without_qualifiers",
)

#: The globals of a function, and names that are local to its definition.
Names = tuple[dict[str, Any], dict[str, Any]]

_HINT: Final = "is its import under TYPE_CHECKING?"


def function_of(callback: Any) -> Any:
    """Returns the function whose annotations a callable has: what it wraps, or is a part of."""
    while True:
        if isinstance(callback, partial):
            callback = cast("partial[Any]", callback).func
        elif isinstance(callback, (staticmethod, types.MethodType)):
            callback = cast("types.MethodType", callback).__func__
        elif hasattr(callback, "__wrapped__"):
            callback = callback.__wrapped__
        else:
            return callback


def signature_of(callback: Callable[..., Any]) -> inspect.Signature:
    """Returns the signature of a callable. Annotations that need names which are not known stay as they are."""
    if sys.version_info >= (3, 14):
        # Since Python 3.14 annotations are evaluated when they are asked for, and fail for names that only type
        # checkers know; the request may well have such a name.
        from annotationlib import Format

        return inspect.signature(callback, annotation_format=Format.FORWARDREF)
    return inspect.signature(callback)


def calling_frame() -> FrameType:
    """The frame that called the function which calls this. Annotations may use its names."""
    return sys._getframe(2)  # pyright: ignore[reportPrivateUsage] (as typing and enum do)


def visible_names(frame: FrameType) -> Iterator[tuple[str, Any]]:
    """The local names of the functions and classes around a frame. The innermost come last and take precedence."""
    frames: list[FrameType] = []
    module: Mapping[str, Any] = frame.f_globals
    current: FrameType | None = frame
    while current is not None and current.f_globals is module:
        frames.append(current)
        current = current.f_back
    for one in reversed(frames):
        if one.f_locals is not module:
            yield from list(one.f_locals.items())


def names_of(callback: Callable[..., Any], namespace: Mapping[str, Any]) -> Names:
    """Returns where names in the annotations of a callable are looked up."""
    function = function_of(callback)
    parameters = {one.__name__: one for one in getattr(function, "__type_params__", ())}
    return getattr(function, "__globals__", {}), {**parameters, **namespace}


def evaluated(annotation: Any, names: Names) -> Any:
    """Evaluates an annotation.

    Raises
    ------
    TypeError
        It cannot be evaluated. The text says which name is not known.
    """
    try:
        # One by one: what the request and the answer are annotated with may well be known to type checkers only.
        one = SimpleNamespace(__annotations__={"it": annotation})
        found = get_type_hints(one, *names, include_extras=True)["it"]
        missing = _unknown_name(found)
    except Exception as error:
        raise TypeError(f"{error}; {_HINT}") from error
    if missing is not None:
        raise TypeError(f"name {missing!r} is not defined; {_HINT}")
    return found


def _unknown_name(annotation: Any) -> str | None:
    """The first name in an evaluated annotation that is not known, or ``None``."""
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    return next((name for one in get_args(annotation) if (name := _unknown_name(one)) is not None), None)


def without_qualifiers(annotation: Any) -> Any:
    """An annotation without ``Required``, ``NotRequired`` and others that say something about the field alone."""
    while (origin := get_origin(annotation)) is not None and (
        origin in (Required, NotRequired) or getattr(origin, "_name", "") in ("ReadOnly", "Final")
    ):
        annotation = get_args(annotation)[0]
    return annotation


# -- aliases and generic classes


def resolved(annotation: Any) -> Any:
    """An annotation without aliases: ``type`` statements, new types, and variables that have a bound."""
    while True:
        origin = get_origin(annotation)
        if hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = _alias_value(annotation)
        elif type(origin).__name__ == "TypeAliasType":
            values = dict(zip(origin.__type_params__, get_args(annotation), strict=False))
            annotation = substituted(_alias_value(origin), values)
        elif isinstance(annotation, TypeVar):
            if annotation.__constraints__:
                annotation = Union[annotation.__constraints__]  # noqa: UP007 (it is made at run time)
            elif annotation.__bound__ is not None:
                annotation = annotation.__bound__
            else:
                return Any
        else:
            return annotation


def _alias_value(alias: Any) -> Any:
    try:
        return alias.__value__
    except NameError as error:
        raise TypeError(f"the type {alias} cannot be evaluated: {error}; {_HINT}") from error


def substituted(annotation: Any, values: Mapping[Any, Any]) -> Any:
    """Puts types in the place of variables."""
    if isinstance(annotation, TypeVar):
        return values.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or not values or isinstance(annotation, type):
        return annotation
    return annotation[tuple(values.get(one, one) for one in parameters)]


def _variables(cls: Any, args: tuple[Any, ...], into: dict[type, dict[Any, Any]]) -> None:
    """What the type variables of a class and of its bases stand for."""
    values = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    into[cls] = values
    own = cast("dict[str, Any]", cls.__dict__)
    bases: tuple[Any, ...] = own.get("__orig_bases__", cls.__bases__)
    for base in bases:
        origin: Any = get_origin(base) or base
        if origin is not Generic and origin not in into and hasattr(origin, "__mro__"):
            _variables(origin, tuple(substituted(one, values) for one in get_args(base)), into)


def class_hints(annotation: Any, names: Names) -> dict[str, Any]:
    """Returns the types of the fields of a structure, which may be generic.

    Raises
    ------
    TypeError
        One of them cannot be evaluated. The text says which name is not known.
    """
    cls: Any = get_origin(annotation) or annotation
    known = {**names[1], cls.__name__: cls}
    if sys.version_info < (3, 13):
        # Before 3.12.4, typing does not know the type parameters of a class.
        own = [one for base in reversed(cls.__mro__) for one in getattr(base, "__type_params__", ())]
        known |= {one.__name__: one for one in own}
    try:
        hints = get_type_hints(cls, localns=known, include_extras=True)
    except Exception as error:
        raise TypeError(f"the fields of {cls.__qualname__} cannot be evaluated: {error}; {_HINT}") from error
    variables: dict[type, dict[Any, Any]] = {}
    _variables(cls, get_args(annotation), variables)
    owners = {
        name: base
        for base in reversed(cls.__mro__ if cls.__mro__[1:] != (dict, object) else (cls,))
        for name in _own_annotations(base)
    }
    return {name: substituted(hint, variables.get(owners.get(name, cls), {})) for name, hint in hints.items()}


def _own_annotations(cls: type) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(cls, format=Format.FORWARDREF)
    return inspect.get_annotations(cls)
