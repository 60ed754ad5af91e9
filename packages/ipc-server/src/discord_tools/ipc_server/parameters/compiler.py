"""From an annotation to the node that makes its values."""

from __future__ import annotations

import collections.abc as abc
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin

import msgspec
from msgspec import Meta, UnsetType

from discord_tools.ipc_server.forks import RangeTransformer, commands, discord
from discord_tools.ipc_server.parameters.annotations import Names, evaluated, names_of, resolved, signature_of
from discord_tools.ipc_server.parameters.custom import (
    ConverterNode,
    PydanticNode,
    converter_in,
    converter_of_class,
    is_of_commands,
    is_pydantic,
    refuse_converters_of_commands,
)
from discord_tools.ipc_server.parameters.messages import InviteNode, MessageNode
from discord_tools.ipc_server.parameters.nodes import (
    Array,
    Choice,
    Constrained,
    Node,
    Nullable,
    Plain,
    Recursive,
    Table,
    Tuple,
)
from discord_tools.ipc_server.parameters.objects import Cached, Lookup, is_looked_up
from discord_tools.ipc_server.parameters.structures import Structure, fields_of, is_structure
from discord_tools.ipc_server.parameters.values import EnumNode, value_node

__all__ = ("Compiler", "is_plain")

#: What collections become, by their annotation.
_ARRAYS: Final[dict[Any, Callable[[Any], Any]]] = {
    list: list,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    set: set,
    abc.Set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
}
_TABLES: Final = (dict, abc.Mapping, abc.MutableMapping)


class Compiler:
    """Compiles the annotations of one function.

    Parameters
    ----------
    names: Names
        Where names in the annotations of structures are looked up.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        #: Structures that are being compiled.
        self._open: dict[Any, Recursive] = {}
        #: Whether objects are taken from the cache alone.
        self._cached = False

    def compile(self, annotation: Any) -> Node:
        """Returns the node of an annotation.

        Raises
        ------
        TypeError
            Its values cannot be made from JSON. The text says what to write instead.
        """
        annotation = resolved(annotation)
        if not self._is_special(annotation, set()) and is_plain(annotation):
            return Plain(annotation)
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return self._annotated(args[0], annotation)
        if origin in (Union, types.UnionType):
            return self._union(annotation, args)
        if is_pydantic(annotation):
            return self._pydantic(annotation)
        if origin in _ARRAYS:
            return self._array(annotation, args[0], _ARRAYS[origin])
        if origin is tuple:
            if len(args) == 2 and args[1] is Ellipsis:
                return self._array(annotation, args[0], tuple)
            return _plain_or(Tuple([self.compile(one) for one in args]))
        if origin in _TABLES:
            return self._table(annotation, *args)
        convert = converter_of_class(annotation) if isinstance(annotation, type) else None
        if convert is not None:
            return self._converter(convert)
        if is_structure(annotation):
            return self._structure(annotation)
        return self._leaf(annotation)

    # -- what msgspec cannot make on its own

    def _is_special(self, annotation: Any, seen: set[Any]) -> bool:
        """Whether anything in an annotation is not plain data. Structures are looked through."""
        annotation = resolved(annotation)
        args = get_args(annotation)
        if get_origin(annotation) is Annotated:
            extras = annotation.__metadata__
            return any(
                converter_in(one) is not None or is_pydantic(one) for one in extras
            ) or self._is_special(args[0], seen)
        if _is_special_leaf(annotation):
            return True
        if is_structure(annotation):
            if annotation in seen:
                return False
            seen.add(annotation)
            return any(self._is_special(one.annotation, seen) for one in fields_of(annotation, self._names))
        return any(self._is_special(one, seen) for one in args if not isinstance(one, (str, int, bytes)))

    def _leaf(self, annotation: Any) -> Node:
        if is_looked_up(annotation):
            return Lookup((annotation,), cached=self._cached)
        if annotation is discord.abc.User:
            return Lookup((discord.Member, discord.User), cached=self._cached)
        if annotation in (discord.Message, discord.PartialMessage):
            return MessageNode(annotation, cached=self._cached)
        if annotation is discord.Invite:
            if self._cached:
                raise TypeError("invites are not cached by discord.py, so Cached finds none")
            return InviteNode()
        if (found := value_node(annotation)) is not None:
            return found
        if (range_ := _range(annotation)) is not None and is_plain(range_):
            return Plain(range_)
        refuse_converters_of_commands(annotation)
        if get_origin(annotation) is not None:
            raise TypeError(f"{annotation} cannot be made from JSON: use a list, set, tuple or dict")
        raise TypeError(_cannot(annotation))

    def _pydantic(self, annotation: Any) -> Node:
        for name, field in getattr(annotation, "model_fields", {}).items():
            if (found := _of_discord(field.annotation, set())) is not None:
                raise TypeError(
                    f"{annotation.__name__}.{name}: pydantic cannot make a {found.__name__}: use a dataclass, or take "
                    "its id as an int"
                )
        return PydanticNode(annotation)

    def _converter(self, convert: Callable[[Any, Any], Any]) -> Node:
        """A converter is given what its parameter for the value is annotated with."""
        names = names_of(convert, self._names[1])
        parameter = list(signature_of(convert).parameters.values())[1]
        annotation = parameter.annotation
        inner: Node = Plain(Any)
        if annotation is not parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            inner = Compiler(names).compile(evaluated(annotation, names))
        return ConverterNode(convert, inner)

    # -- what has parts

    def _annotated(self, base: Any, annotation: Any) -> Node:
        extras = annotation.__metadata__
        if any(is_pydantic(one) for one in extras):
            return PydanticNode(annotation)
        converters = [found for one in extras if (found := converter_in(one)) is not None]
        if len(converters) > 1:
            raise TypeError(f"{annotation} has {len(converters)} converters: give one")
        outer = self._cached
        self._cached = outer or any(one is Cached or isinstance(one, Cached) for one in extras)
        try:
            node = self._converter(converters[0]) if converters else self.compile(base)
        finally:
            self._cached = outer
        metas = [one for one in extras if isinstance(one, Meta)]
        return _plain_or(Constrained(node, metas), node) if metas else node

    def _union(self, annotation: Any, args: tuple[Any, ...]) -> Node:
        # What is left out has a default, so UNSET is never sent.
        rest = [one for one in args if one not in (type(None), None, UnsetType)]
        nodes = [self.compile(one) for one in rest]
        node = nodes[0]
        lookups = [one for one in nodes if isinstance(one, Lookup)]
        if len(nodes) > 1:
            if len(lookups) == len(nodes):
                classes = tuple(cls for one in lookups for cls in one.classes)
                node = Lookup(classes, cached=any(one.cached for one in lookups))
            elif all(isinstance(one, Structure) or not one.converts for one in nodes):
                node = _plain_or(Choice(nodes))
            else:
                raise TypeError(f"{annotation} mixes Discord's objects with other types: use two parameters")
        return _plain_or(Nullable(node), node) if type(None) in args or None in args else node

    def _array(self, annotation: Any, element: Any, make: Callable[[Any], Any]) -> Node:
        node = self.compile(element)
        if make in (set, frozenset) and not node.hashable:
            raise TypeError(f"{annotation}: its elements cannot be in a set, use a list")
        if node.converts:
            return Array(node, make)
        collection: Any = make
        return Plain(tuple[node.wire, ...] if make is tuple else collection[node.wire])

    def _table(self, annotation: Any, key: Any, value: Any) -> Node:
        keys, values = self.compile(key), self.compile(value)
        if keys.converts and not isinstance(keys, (Lookup, EnumNode)):
            raise TypeError(f"{annotation}: keys are text or ids")
        return _plain_or(Table(keys, values), keys, values)

    def _structure(self, annotation: Any) -> Node:
        if annotation in self._open:
            return self._open[annotation]
        cls: Any = get_origin(annotation) or annotation
        recursive = self._open[annotation] = Recursive()
        try:
            fields: list[Any] = []
            for field in fields_of(annotation, self._names):
                try:
                    fields.append((field, self.compile(field.annotation)))
                except TypeError as error:
                    raise TypeError(f"{cls.__name__}.{field.keyword}: {error}") from None
        finally:
            del self._open[annotation]
        recursive.inner = Structure(annotation, fields)
        return recursive.inner


def _plain_or(node: Node, *parts: Node) -> Node:
    """Has msgspec alone make what has no part that needs more."""
    inner: Sequence[Node] = parts or getattr(node, "inner", None) or getattr(node, "nodes", ())
    return node if any(one.converts for one in inner) else Plain(node.wire)


def _is_special_leaf(annotation: Any) -> bool:
    if is_pydantic(annotation) or _range(annotation) is not None or is_of_commands(annotation):
        return True
    if not isinstance(annotation, type):
        return False
    return annotation.__module__.partition(".")[0] == "discord" or converter_of_class(annotation) is not None


def _of_discord(annotation: Any, seen: set[Any]) -> type | None:
    """The first class of discord.py in the annotation of a model's field, or ``None``."""
    annotation = resolved(annotation)
    if isinstance(annotation, type) and annotation.__module__.partition(".")[0] == "discord":
        return annotation
    inner = list(get_args(annotation))
    if isinstance(annotation, type) and annotation not in seen:
        seen.add(annotation)
        inner += [field.annotation for field in getattr(annotation, "model_fields", {}).values()]
    return next((found for one in inner if (found := _of_discord(one, seen)) is not None), None)


def _range(annotation: Any) -> Any:
    """The constraints of a ``Range`` of discord.py, in msgspec's form."""
    # For type checkers, both are Annotated.
    found: Any = annotation
    if isinstance(found, cast("type[Any]", RangeTransformer)):
        option = discord.AppCommandOptionType
        kinds: dict[Any, type] = {option.integer: int, option.number: float, option.string: str}
        kind, low, high = kinds[found.type], found.min_value, found.max_value
    elif isinstance(found, cast("type[Any]", commands.Range)):
        kind, low, high = found.annotation, found.min, found.max
    else:
        return None
    if kind is str:
        return Annotated[str, Meta(min_length=low, max_length=high)]
    return Annotated[kind, Meta(ge=low, le=high)]


# -- plain data


def is_plain(annotation: Any) -> bool:
    """Whether msgspec makes the values of an annotation. It does not where names in a structure are local.

    Raises
    ------
    TypeError
        Nothing makes values of this annotation.
    """
    try:
        msgspec.json.Decoder(annotation, strict=False)
        unknown = _custom_type(msgspec.inspect.type_info(annotation), set())
    except NameError:
        return False
    if unknown is not None:
        raise TypeError(_cannot(unknown))
    return True


def _cannot(annotation: Any) -> str:
    name = getattr(annotation, "__qualname__", None) or repr(annotation)
    if getattr(annotation, "__module__", "").partition(".")[0] == "discord":
        instead = "take its id as an int, or " if hasattr(annotation, "id") else ""
        return f"{name} cannot be made from JSON: {instead}write Annotated[{name}, converter]"
    return f"{name} cannot be made from JSON: make it a dataclass, or write Annotated[{name}, converter]"


def _custom_type(info: Any, seen: set[int]) -> Any:
    """The first type in an annotation that msgspec does not know, or ``None``."""
    if isinstance(info, msgspec.inspect.CustomType):
        return info.cls
    if id(info) in seen:
        return None
    seen.add(id(info))
    inner: list[Any] = list(getattr(info, "types", ()) or getattr(info, "item_types", ()))
    inner += [field.type for field in getattr(info, "fields", ())]
    for attribute in ("item_type", "key_type", "value_type", "type"):
        if isinstance(one := getattr(info, attribute, None), msgspec.inspect.Type):
            inner.append(one)
    return next((found for one in inner if (found := _custom_type(one, seen)) is not None), None)
