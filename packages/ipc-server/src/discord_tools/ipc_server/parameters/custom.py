"""Values that others make: converters of routes' authors, and pydantic."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import msgspec
from discord import app_commands
from discord.ext import commands

from discord_tools.ipc.errors import ConverterError, RemoteError
from discord_tools.ipc_server.parameters.binding import Binding
from discord_tools.ipc_server.parameters.faults import Path, path_text
from discord_tools.ipc_server.parameters.nodes import Node, Schemas

__all__ = (
    "ConverterNode",
    "PydanticNode",
    "converter_in",
    "converter_of_class",
    "is_of_commands",
    "is_pydantic",
    "refuse_converters_of_commands",
)


# -- converters


def converter_in(extra: Any) -> Callable[[Any, Any], Any] | None:
    """Returns the converter that an argument of ``Annotated`` is, or ``None`` where it is something else.

    Raises
    ------
    TypeError
        It is a function or a converter that cannot be called with a request and a value.
    """
    if isinstance(extra, msgspec.Meta):
        return None
    if isinstance(extra, type):
        return converter_of_class(extra)
    refuse_converters_of_commands(extra)
    convert: Any = getattr(extra, "convert", None)
    if not callable(convert) and callable(extra):
        # The method of an object that can be called has the annotations.
        is_function = inspect.isroutine(extra) or isinstance(extra, partial)
        convert = cast("Any", extra if is_function else extra.__call__)
    if not callable(convert):
        return None
    if not _takes_two(convert):
        raise TypeError(f"the converter {extra!r} must be a function (request, value)")
    return convert


def converter_of_class(cls: Any) -> Callable[[Any, Any], Any] | None:
    """Returns the method ``convert`` of a class, or ``None`` where it has none that takes a request and a value.

    Raises
    ------
    TypeError
        The class is a converter of discord.py's commands, or its method needs an object that cannot be made.
    """
    refuse_converters_of_commands(cls)
    if not callable(getattr(cls, "convert", None)):
        return None
    if isinstance(inspect.getattr_static(cls, "convert"), (classmethod, staticmethod)):
        return cls.convert if _takes_two(cls.convert) else None
    try:
        inspect.signature(cls.convert).bind(None, None, None)
    except (TypeError, ValueError):
        return None
    try:
        return cls().convert
    except TypeError as error:
        raise TypeError(
            f"{cls.__qualname__}() cannot be made without arguments ({error}): make convert a class method"
        ) from error


def is_of_commands(annotation: Any) -> bool:
    """Whether something is a converter or a transformer of discord.py's commands."""
    cls: Any = annotation if isinstance(annotation, type) else type(annotation)
    # Converter is a protocol: any class with a method convert would be a subclass.
    return commands.Converter in cls.__mro__ or app_commands.Transformer in cls.__mro__


def refuse_converters_of_commands(annotation: Any) -> None:
    """Raises :exc:`TypeError` for such a converter."""
    if is_of_commands(annotation):
        cls: Any = annotation if isinstance(annotation, type) else type(annotation)
        raise TypeError(
            f"{cls.__qualname__} is a converter of discord.py's commands, which need a context: "
            "write a function (request, value)"
        )


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


class ConverterNode(Node):
    """A value that a converter makes.

    Parameters
    ----------
    function: Callable
        The converter.
    inner: :class:`Node`
        What the converter is given.
    """

    def __init__(self, function: Callable[[Any, Any], Any], inner: Node) -> None:
        super().__init__(inner.wire, needs_guild=inner.needs_guild, summary=inner.summary)
        self.function = function
        self.inner = inner
        #: Whether it is known to return something to be awaited.
        self._is_async = inspect.iscoroutinefunction(function)

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        value = self.inner.convert(value, binding, path)
        if binding.incomplete or not binding.count(1, path):
            return None
        kept = binding.outcome(("converted", path))
        if kept is not None:
            return kept[0]
        if self._is_async:
            binding.postpone(
                ("converted", path), lambda: self._awaited(self.function(binding.request, value), path)
            )
            return None
        result = self._call(binding, value, path)
        if inspect.isawaitable(result):
            awaitable = result
            binding.postpone(("converted", path), lambda: self._awaited(awaitable, path))
            return None
        binding.keep(("converted", path), (result,))
        return result

    def _call(self, binding: Binding, value: Any, path: Path) -> Any:
        try:
            return self.function(binding.request, value)
        except Exception as error:
            raise _refusal(error, path) from error

    async def _awaited(self, awaitable: Awaitable[Any], path: Path) -> Any:
        try:
            return await awaitable
        except Exception as error:
            raise _refusal(error, path) from error

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return self.inner.schema(schemas)


def _refusal(error: Exception, path: Path) -> Exception:
    """What an exception of a converter becomes. An error with an endpoint is another bot's, and not for this caller."""
    if isinstance(error, RemoteError) and error.endpoint is None:
        return error
    return ConverterError(path_text(path), error)


# -- pydantic


def is_pydantic(annotation: Any) -> bool:
    """Whether an annotation is a model or a dataclass of pydantic's, or has its metadata."""
    if "pydantic" not in sys.modules:
        return False
    cls = getattr(annotation, "__origin__", annotation)
    if isinstance(cls, type):
        return hasattr(cls, "__pydantic_validator__") or hasattr(cls, "__pydantic_complete__")
    return type(annotation).__module__.partition(".")[0] in ("pydantic", "annotated_types")


class PydanticNode(Node):
    """What pydantic validates."""

    def __init__(self, annotation: Any) -> None:
        super().__init__(hashable=getattr(annotation, "__hash__", None) is not None)
        pydantic: Any = sys.modules["pydantic"]
        try:
            #: Validates values of the annotation.
            self._adapter: Any = pydantic.TypeAdapter(annotation)
        except Exception as error:
            # Its exceptions have a class of their own for each kind of mistake, and links to its documentation.
            raise TypeError(f"pydantic does not accept {annotation!r}: {error}") from error
        #: What it raises for values that are not valid.
        self._error: type[Exception] = pydantic.ValidationError

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        if not binding.count(1, path):
            return None
        try:
            # As JSON, since pydantic is stricter with objects of Python.
            return self._adapter.validate_json(msgspec.json.encode(value))
        except self._error as error:
            found = cast("Any", error).errors(include_url=False, include_context=False, include_input=False)
            for one in found:
                place = path
                for key in one["loc"]:
                    place = (place, key)
                binding.fault(place, one["msg"])
        except Exception as error:
            raise _refusal(error, path) from error
        return None

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        schema: dict[str, Any] = self._adapter.json_schema()
        definitions = schema.pop("$defs", {})
        return schemas.merge(schema, definitions)
