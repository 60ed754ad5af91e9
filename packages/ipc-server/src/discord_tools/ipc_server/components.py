"""The schemas that others refer to in an OpenRPC document, each with a name of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from discord_tools.ipc_server.parameters.nodes import Schemas
from discord_tools.ipc_server.values.schema import REFERENCES, schema_of
from discord_tools.ipc_server.values.tables import TABLES

__all__ = ("Components",)

#: Names of the schemas of discord.py's classes. Other types get different ones.
_RESERVED: Final = frozenset(table.name for table in TABLES.values() if table.scalar is None)

#: Where msgspec and pydantic have the schemas that others refer to. Those of discord.py's classes are elsewhere.
_LOCAL: Final = "#/$defs/{name}"


class Components:
    """The named schemas of one document, and what makes them of annotations.

    A type that has the name of a class of discord.py, or of another type, gets a number after its name. Numbers follow
    the order in which types are described.

    Parameters
    ----------
    reserved: FrozenSet[:class:`str`]
        Names that are left to classes of discord.py. Defaults to those of all classes that have a schema.
    """

    def __init__(self, reserved: frozenset[str] = _RESERVED) -> None:
        self._reserved = reserved
        #: Those that types would have had.
        self._refused: set[str] = set()
        #: Those of discord.py's classes.
        self._of_discord: dict[str, Any] = {}
        #: Those of other types.
        self._others: dict[str, Any] = {}
        #: The names of types that are defined.
        self._names: dict[Any, str] = {}
        #: The names of schemas that libraries have made, by their content.
        self._known: dict[bytes, str] = {}
        #: Schemas of annotations.
        self._plain: dict[Any, dict[str, Any]] = {}

    @property
    def schemas(self) -> dict[str, Any]:
        """Dict[:class:`str`, Any]: All schemas by their names."""
        return {**self._of_discord, **self._others}

    @property
    def used(self) -> frozenset[str] | None:
        """Optional[FrozenSet[:class:`str`]]: The names that classes of discord.py have in this document, or ``None`` if
        other types were refused no names but these.
        """
        used = frozenset(self._of_discord)
        return used if self._refused - used else None

    def of_class(self, cls: Any) -> dict[str, Any] | None:
        """Returns the schema of a class of discord.py, or ``None`` where it has none."""
        return schema_of(cls, self._of_discord) if isinstance(cls, type) else None

    def plain(self, annotation: Any) -> dict[str, Any]:
        """Returns the schema of an annotation that msgspec knows, and an empty one for any other."""
        try:
            found = self._plain.get(annotation)
        except TypeError:  # it has something that cannot be hashed, a literal list say
            return self._made(annotation)
        if found is None:
            found = self._plain[annotation] = self._made(annotation)
        # Callers add members to it.
        return dict(found)

    def _made(self, annotation: Any) -> dict[str, Any]:
        of_discord = dict(self._of_discord)

        def hook(cls: type[Any]) -> dict[str, Any]:
            schema = schema_of(cls, of_discord)
            if schema is None:
                raise NotImplementedError
            return schema

        try:
            (schema,), found = msgspec.json.schema_components(
                (annotation,), schema_hook=hook, ref_template=_LOCAL
            )
            msgspec.json.encode((schema, found))
        except (TypeError, RuntimeError):
            # Something that has no schema, an answer that is one of several objects of Discord's say, or has something
            # of the user's own in it that is no JSON.
            return {}
        self._of_discord = of_discord
        return self.merge(schema, found)

    def merge(self, schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        """Adds schemas that a library has made, and returns the one that refers to them with their names here.

        References to them begin with ``#/$defs/``.
        """
        names: dict[str, str] = {}
        new: list[str] = []
        for name in definitions:
            # Two types are the same where all that they refer to is the same, too.
            content = msgspec.json.encode((name, _reachable(name, definitions)), order="deterministic")
            if content not in self._known:
                new.append(name)
                self._known[content] = self._take(name)
            names[name] = self._known[content]
        for name in new:
            self._others[names[name]] = _renamed(definitions[name], names)
        return _renamed(schema, names)

    def define(self, owner: Any, name: str, make: Callable[[Schemas], dict[str, Any]]) -> dict[str, Any]:
        """Adds the schema of a type once, under a name of its own, and returns a reference to it."""
        if owner not in self._names:
            # Its own schema may refer to it.
            self._names[owner] = self._take(name)
            self._others[self._names[owner]] = make(self)
        return {"$ref": REFERENCES.format(name=self._names[owner])}

    def _take(self, name: str) -> str:
        numbers = itertools.count(2)
        unique = name
        if name in self._reserved:
            self._refused.add(name)
        while unique in self._reserved or unique in self._others:
            unique = f"{name}{next(numbers)}"
        self._others[unique] = {}
        return unique


def _references(schema: Any, change: Callable[[str], str]) -> Any:
    """The same schema with other references."""
    if isinstance(schema, dict):
        members = cast("dict[str, Any]", schema)
        mapping = members.get("mapping")
        # Types with tags have their references in a second place.
        is_mapping = isinstance(mapping, dict) and "propertyName" in members
        return {
            key: change(value)
            if key == "$ref" and isinstance(value, str)
            else {tag: change(ref) for tag, ref in cast("dict[str, str]", mapping).items()}
            if is_mapping and key == "mapping"
            else _references(value, change)
            for key, value in members.items()
        }
    if isinstance(schema, list):
        return [_references(one, change) for one in cast("list[Any]", schema)]
    return schema


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    references = {_LOCAL.format(name=old): REFERENCES.format(name=new) for old, new in names.items()}
    return _references(schema, lambda reference: references.get(reference, reference))


def _reachable(name: str, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A schema and all those that it refers to, directly or not."""
    by_reference = {_LOCAL.format(name=each): each for each in definitions}
    found: dict[str, Any] = {}
    left = [name]

    def note(reference: str) -> str:
        if reference in by_reference:
            left.append(by_reference[reference])
        return reference

    while left:
        one = left.pop()
        if one not in found:
            found[one] = definitions[one]
            _references(definitions[one], note)
    return found
