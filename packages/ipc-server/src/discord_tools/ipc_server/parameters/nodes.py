"""How the value of an annotation is made from decoded JSON: a tree with a node for each part of the annotation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Optional, Protocol, TypeAlias, Union

import msgspec

from discord_tools.ipc_server.parameters.binding import Binding
from discord_tools.ipc_server.parameters.faults import Path, from_decoder

#: What ids and other small values are decoded as. Arrays and objects in their place are refused before they are made.
Scalar: TypeAlias = int | float | str | bool | None

__all__ = (
    "Scalar",
    "Array",
    "Choice",
    "Constrained",
    "Node",
    "Nullable",
    "Plain",
    "Recursive",
    "Schemas",
    "Table",
    "Tuple",
)


class Schemas(Protocol):
    """Writes the JSON schema of a plain annotation. Implemented by :class:`~.components.Components`."""

    def plain(self, annotation: Any) -> dict[str, Any]:
        """Returns the schema of an annotation that msgspec knows."""
        ...

    def merge(self, schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        """Adds schemas that a library has made, and returns the one that refers to them, as ``#/$defs/name`` so far."""
        ...

    def define(self, owner: Any, name: str, make: Callable[[Schemas], dict[str, Any]]) -> dict[str, Any]:
        """Adds the schema of a type once, under a name of its own, and returns a reference to it."""
        ...


class Node:
    """A part of an annotation.

    Parameters
    ----------
    wire: Any
        The type as which msgspec decodes the JSON.
    needs_guild: :class:`bool`
        Whether an id alone does not tell which object is meant.
    hashable: :class:`bool`
        Whether the value can be in a set.
    is_guild: :class:`bool`
        Whether the value is the guild for what stands beside it.
    is_channel: :class:`bool`
        Whether the value is the channel for messages beside it.
    summary: :class:`str`
        What is sent, in words. Empty where the schema says it.
    """

    #: Whether the decoded value is not yet the value of the parameter.
    converts: bool = True

    def __init__(
        self,
        wire: Any = Any,
        *,
        needs_guild: bool = False,
        hashable: bool = True,
        is_guild: bool = False,
        is_channel: bool = False,
        summary: str = "",
    ) -> None:
        self.wire = wire
        self.needs_guild = needs_guild
        self.hashable = hashable
        self.is_guild = is_guild
        self.is_channel = is_channel
        self.summary = summary

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        """Makes the value. What it returns has no meaning while the binding is incomplete."""
        raise NotImplementedError

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        """Returns the JSON schema of what is sent."""
        raise NotImplementedError


class Plain(Node):
    """What msgspec makes on its own."""

    converts = False

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        return value

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return schemas.plain(self.wire)


class Nullable(Node):
    """What may be ``None``."""

    def __init__(self, inner: Node) -> None:
        super().__init__(
            inner.wire if inner.wire is Any else Optional[inner.wire],  # noqa: UP045 (it is made at run time)
            needs_guild=inner.needs_guild,
            hashable=inner.hashable,
            is_guild=inner.is_guild,
            is_channel=inner.is_channel,
            summary=inner.summary,
        )
        self.inner = inner

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        return None if value is None else self.inner.convert(value, binding, path)

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return {"anyOf": [self.inner.schema(schemas), {"type": "null"}]}


_CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


class Constrained(Node):
    """What has constraints of :class:`msgspec.Meta`, the length of an array say."""

    def __init__(self, inner: Node, metas: Sequence[msgspec.Meta]) -> None:
        super().__init__(
            Annotated[(inner.wire, *metas)],  # pyright: ignore[reportInvalidTypeForm] (made at run time)
            needs_guild=inner.needs_guild,
            hashable=inner.hashable,
            is_guild=inner.is_guild,
            is_channel=inner.is_channel,
            summary=inner.summary,
        )
        self.inner = inner
        base: Any = Any
        if isinstance(inner, Array | Tuple | Table):
            base = dict[str, Any] if isinstance(inner, Table) else list[Any]
        elif any(getattr(meta, name) is not None for meta in metas for name in _CONSTRAINTS):
            raise TypeError("constraints are for numbers, text and collections, not for objects")
        #: What describes the constraints.
        self._described = Annotated[(base, *metas)]

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        return self.inner.convert(value, binding, path)

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return {**schemas.plain(self._described), **self.inner.schema(schemas)}


class Array(Node):
    """A list, a set, or another collection of values of one kind."""

    def __init__(self, inner: Node, make: Callable[[Iterable[Any]], Any]) -> None:
        super().__init__(
            list[inner.wire],
            needs_guild=inner.needs_guild,
            hashable=make is frozenset or (make is tuple and inner.hashable),
            summary=re.sub("^The id of an? ", "The ids of objects of type ", inner.summary),
        )
        self.inner = inner
        self._make = make

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        if not binding.count(len(value), path):
            return None
        convert = self.inner.convert
        items = [convert(item, binding, (path, index)) for index, item in enumerate(value)]
        if self._make is list or binding.incomplete:
            return items
        return self._make(items)

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return {"type": "array", "items": self.inner.schema(schemas)}


class Tuple(Node):
    """A tuple with a type for each element."""

    def __init__(self, inner: Sequence[Node]) -> None:
        super().__init__(
            tuple[tuple(node.wire for node in inner)],
            needs_guild=any(node.needs_guild for node in inner),
            hashable=all(node.hashable for node in inner),
        )
        self.inner = inner

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        pairs = zip(self.inner, value, strict=True)
        return tuple([node.convert(item, binding, (path, i)) for i, (node, item) in enumerate(pairs)])

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        items = [node.schema(schemas) for node in self.inner]
        size = len(items)
        return {"type": "array", "prefixItems": items, "items": False, "minItems": size, "maxItems": size}


class Table(Node):
    """A dictionary. Its keys may be ids, too."""

    def __init__(self, keys: Node, values: Node) -> None:
        super().__init__(
            dict[str if keys.converts else keys.wire, values.wire],
            needs_guild=keys.needs_guild or values.needs_guild,
            hashable=False,
        )
        self.keys = keys
        self.values = values

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        if not binding.count(len(value), path):
            return None
        made: dict[Any, Any] = {}
        for key, item in value.items():
            place = (path, str(key))
            made_key = self.keys.convert(key, binding, place)
            made_value = self.values.convert(item, binding, place)
            if not binding.incomplete:
                made[made_key] = made_value
        return made

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object", "additionalProperties": self.values.schema(schemas)}
        if self.keys.converts:
            schema["propertyNames"] = self.keys.schema(schemas)
        return schema


class Choice(Node):
    """One of several structures. The decoder tells them apart, by their tags say."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        super().__init__(
            Union[tuple(node.wire for node in nodes)],  # noqa: UP007 (it is made at run time)
            needs_guild=any(node.needs_guild for node in nodes),
            hashable=all(node.hashable for node in nodes),
        )
        self.nodes = nodes
        #: By the class of the decoded value.
        self._by_class = {node.wire: node for node in nodes if node.converts}

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        node = self._by_class.get(type(value))
        return value if node is None else node.convert(value, binding, path)

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return {"anyOf": [node.schema(schemas) for node in self.nodes]}


class Recursive(Node):
    """A structure inside itself. Its values are decoded level by level, since its type refers to itself."""

    def __init__(self) -> None:
        super().__init__()
        #: The node of the structure, once it is complete.
        self.inner: Node | None = None

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        inner = self.inner
        assert inner is not None, "set when the structure was complete"
        try:
            decoded = msgspec.convert(value, inner.wire, strict=False)
        except msgspec.ValidationError as error:
            violation = from_decoder(error)
            inside = violation["path"].removeprefix(".")
            binding.fault((path, inside) if inside else path, violation["message"])
            return None
        return inner.convert(decoded, binding, path)

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        assert self.inner is not None, "as above"
        return self.inner.schema(schemas)
