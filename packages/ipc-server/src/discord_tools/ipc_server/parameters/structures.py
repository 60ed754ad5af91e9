"""Dataclasses and other structures with fields that msgspec alone cannot make: objects of Discord say."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NotRequired, Required, cast, get_origin, is_typeddict

import msgspec
from msgspec import UNSET, UnsetType

from discord_tools.ipc_server.parameters.annotations import Names, class_hints, without_qualifiers
from discord_tools.ipc_server.parameters.binding import UNKNOWN, Binding
from discord_tools.ipc_server.parameters.faults import Path
from discord_tools.ipc_server.parameters.nodes import Node, Schemas

__all__ = ("Field", "Structure", "fields_of", "is_structure")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a structure.

    Attributes
    ----------
    name: :class:`str`
        Its name in JSON.
    keyword: :class:`str`
        Its name for the constructor.
    annotation: Any
        Its type.
    required: :class:`bool`
        Whether it has no default.
    """

    name: str
    keyword: str
    annotation: Any
    required: bool


def is_structure(annotation: Any) -> bool:
    """Whether an annotation is a structure: a dataclass, an attrs class, a Struct, a TypedDict or a NamedTuple."""
    cls: Any = get_origin(annotation) or annotation
    return isinstance(cls, type) and _is_structure(cls)


def _is_structure(cls: Any) -> bool:
    return (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, msgspec.Struct)
        or is_typeddict(cls)
        or hasattr(cls, "__attrs_attrs__")
        or (tuple in cls.__mro__ and hasattr(cls, "_fields"))
    )


def fields_of(annotation: Any, names: Names) -> list[Field]:
    """Returns the fields of a structure.

    Raises
    ------
    TypeError
        The annotation of a field cannot be evaluated.
    """
    cls: Any = get_origin(annotation) or annotation
    written = class_hints(annotation, names)
    hints = {name: without_qualifiers(hint) for name, hint in written.items()}
    if issubclass(cls, msgspec.Struct):
        infos = msgspec.structs.fields(cls)
        return [Field(one.encode_name, one.name, hints[one.name], one.required) for one in infos]
    if is_typeddict(cls):
        # Python itself does not see qualifiers in annotations that are strings.
        required = {name for name, hint in written.items() if get_origin(hint) is Required}
        required |= {name for name in cls.__required_keys__ if get_origin(written[name]) is not NotRequired}
        return [Field(name, name, hint, name in required) for name, hint in hints.items()]
    if hasattr(cls, "_fields"):
        return [Field(name, name, hints[name], name not in cls._field_defaults) for name in cls._fields]
    if dataclasses.is_dataclass(cls):
        return list(_fields_of_dataclass(cls, hints))
    nothing = sys.modules["attr"].NOTHING
    return [
        Field(one.name, one.alias, hints[one.name], one.default is nothing)
        for one in cls.__attrs_attrs__
        if one.init
    ]


def _fields_of_dataclass(cls: Any, hints: dict[str, Any]) -> Iterator[Field]:
    missing = dataclasses.MISSING
    for name, field in cls.__dataclass_fields__.items():
        hint = hints[name]
        if field.init and get_origin(hint) is not ClassVar and hint is not ClassVar:
            # What is passed to __post_init__ is no field afterwards, but the constructor takes it.
            annotation: Any = cast("Any", hint).type if isinstance(hint, dataclasses.InitVar) else hint
            required = field.default is missing and field.default_factory is missing
            yield Field(name, name, annotation, required)


class Structure(Node):
    """A structure. Its JSON is decoded into a Struct of what is sent, and its fields are converted one by one."""

    def __init__(self, annotation: Any, fields: Sequence[tuple[Field, Node]]) -> None:
        cls: Any = get_origin(annotation) or annotation
        #: The field that is the guild for the others.
        self._guild = _first(fields, "is_guild")
        super().__init__(
            _mirror(cls, fields),
            needs_guild=self._guild is None and any(node.needs_guild for _, node in fields),
            hashable=cls.__hash__ is not None,
        )
        self.annotation = annotation
        #: The name of its schema.
        self.name: str = cls.__name__
        self._fields = fields
        #: Whether it is an array in JSON.
        self._is_array: bool = self.wire.__struct_config__.array_like
        #: Makes the structure of its fields.
        self._make: Callable[..., Any] = dict if is_typeddict(cls) else cls
        #: The name of the field for the guild.
        self._guild_name = next((field.name for field, node in fields if node is self._guild), "")
        #: The field that is the channel for messages.
        self._channel = _first(fields, "is_channel")
        #: What is converted: the guild before all that is looked up in it.
        self._conversions = sorted(
            ((f"f{index}", field, node) for index, (field, node) in enumerate(fields)),
            key=lambda entry: (entry[2] is not self._guild, entry[2] is not self._channel),
        )

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        outer = binding.guild, binding.guild_name, binding.channel
        made: dict[str, Any] = {}
        if binding.guild is None:
            binding.guild_name = self._guild_name
        try:
            for attribute, field, node in self._conversions:
                given = getattr(value, attribute)
                if given is UNSET:
                    continue
                converted = node.convert(given, binding, (path, field.name)) if node.converts else given
                made[field.keyword] = converted
                if given is not None:
                    if node is self._guild:
                        binding.guild = UNKNOWN if converted is None else converted
                    elif node is self._channel:
                        binding.channel = UNKNOWN if converted is None else converted
        finally:
            binding.guild, binding.guild_name, binding.channel = outer
        if binding.incomplete or not binding.count(1, path):
            return None
        try:
            return self._make(**made)
        except (ValueError, TypeError) as error:
            # The same as msgspec takes them for, in what it makes on its own.
            binding.fault(path, str(error))
            return None

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        # Answers have a schema for the same class, with objects in place of ids.
        return schemas.define(self.annotation, f"{self.name}Input", self._schema)

    def _schema(self, schemas: Schemas) -> dict[str, Any]:
        if self._is_array:
            items = [node.schema(schemas) for _, node in self._fields]
            required = sum(field.required for field, _ in self._fields)
            return {"title": self.name, "type": "array", "prefixItems": items, "minItems": required}
        properties = {field.name: node.schema(schemas) for field, node in self._fields}
        required = [field.name for field, _ in self._fields if field.required]
        return {"title": self.name, "type": "object", "properties": properties, "required": required}


def _first(fields: Sequence[tuple[Field, Node]], attribute: str) -> Node | None:
    return next((node for _, node in fields if getattr(node, attribute)), None)


def _mirror(cls: Any, fields: Sequence[tuple[Field, Node]]) -> type[msgspec.Struct]:
    """A Struct with the same members in JSON, and their types as they are sent."""
    members: list[tuple[str, Any, Any]] = []
    for index, (field, node) in enumerate(fields):
        if field.required:
            members.append((f"f{index}", node.wire, msgspec.NODEFAULT))
        else:
            members.append((f"f{index}", node.wire if node.wire is Any else node.wire | UnsetType, UNSET))
    options: dict[str, Any] = {}
    if issubclass(cls, msgspec.Struct):
        config = cls.__struct_config__
        options = {"forbid_unknown_fields": config.forbid_unknown_fields, "array_like": config.array_like}
        if config.tag is not None:
            options |= {"tag": config.tag, "tag_field": config.tag_field}
    elif issubclass(cls, tuple):
        options = {"array_like": True}
    names = {f"f{index}": field.name for index, (field, _) in enumerate(fields)}
    keywords = not options.get("array_like", False)
    return msgspec.defstruct(cls.__name__, members, rename=names, kw_only=keywords, **options)
