"""``rpc.discover``: an OpenRPC document of all routes, as far as their annotations tell."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import discord
import msgspec

from discord_tools.ipc._version import __version__
from discord_tools.ipc_server.demands import requirements_of
from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.event_table import KEYS, Declared, EventSpec
from discord_tools.ipc_server.parameters.nodes import Schemas
from discord_tools.ipc_server.parameters.objects import SNOWFLAKE
from discord_tools.ipc_server.routes import Route
from discord_tools.ipc_server.values.schema import REFERENCES, schema_of

__all__ = ("describe", "discovery")

#: The version of the OpenRPC specification that the document keeps to.
OPENRPC: Final = "1.3.2"


def discovery(
    routes: Mapping[str, Route[Any]], events: Mapping[str, Any], scopes: Mapping[str, Collection[str]]
) -> bytes:
    """Writes the document as JSON."""
    return msgspec.json.encode(describe(routes, __version__, events, scopes))


def describe(
    routes: Mapping[str, Route[Any]],
    version: str,
    events: Mapping[str, Any] | None = None,
    scopes: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Any]:
    """Describes routes in an OpenRPC document.

    Parameters
    ----------
    routes: Mapping[:class:`str`, :class:`Route`]
        The routes by name.
    version: :class:`str`
        What to give for the version of the interface.
    events: Optional[Mapping[:class:`str`, Any]]
        The events by name: :class:`~.event_table.EventSpec`, :class:`~.event_table.Declared`, or ``None`` for one about
        which nothing is known.
    scopes: Optional[Mapping[:class:`str`, Collection[:class:`str`]]]
        The scopes of the events that name any.
    """
    components: dict[str, Any] = {}
    writer = Writer(components)
    methods = [_method(routes[name], writer) for name in sorted(routes)]
    described = [_event(name, about, components) for name, about in sorted((events or {}).items())]
    for event in described:
        if opening := (scopes or {}).get(event["name"]):
            event["scopes"] = sorted(opening)
    return {
        "openrpc": OPENRPC,
        "info": {"title": "discord_tools.ipc", "version": version},
        "methods": methods,
        # The specification knows no events, and leaves names that begin so to extensions.
        "x-events": described,
        "components": {"schemas": components},
    }


def _event(name: str, about: Any, components: dict[str, Any]) -> dict[str, Any]:
    if isinstance(about, EventSpec):
        members = {member: _of_member(kind, components) for member, kind in about.members().items()}
        data: dict[str, Any] = {}
        if members:
            data = {"type": "object", "properties": members}
        elif about.arguments:
            (kind,) = about.arguments.values()
            data = _of_member(kind, components)
        return {"name": name, "data": data, "filter": [key for key in KEYS if key in about.paths]}
    data = _schema(about.type, components) if isinstance(about, Declared) else {}
    return {"name": name, "data": data, "filter": list(KEYS)}


def _of_member(kind: str, components: dict[str, Any]) -> dict[str, Any]:
    """Describes a member of the data by the name of its type, or by those of several types."""
    if kind == "snowflake":
        return {"type": ["string", "null"], "pattern": SNOWFLAKE["pattern"]}
    schemas = [_of_class(name, components) for name in kind.split(" | ")]
    known = [schema for schema in schemas if schema is not None]
    if len(known) < len(schemas):
        return {"title": kind} if kind else {}
    return known[0] if len(known) == 1 else {"anyOf": known}


def _of_class(name: str, components: dict[str, Any]) -> dict[str, Any] | None:
    if name.startswith("list["):
        items = _of_class(name[len("list[") : -1], components)
        return None if items is None else {"type": "array", "items": items}
    cls = getattr(discord, name, None)
    return schema_of(cls, components) if isinstance(cls, type) else None


def _method(route: Route[Any], writer: Writer) -> dict[str, Any]:
    signature = route.signature
    params = [_parameter(route, name, writer) for name in signature.names]
    # Values in order need the required ones first, and the specification asks for it.
    params.sort(key=lambda parameter: not parameter["required"])
    in_order = [parameter["name"] for parameter in params] == list(signature.names)
    method: dict[str, Any] = {
        "name": route.name.removeprefix("/"),
        "params": params,
        "paramStructure": "either" if in_order else "by-name",
        "result": {"name": "result", "schema": writer.plain(signature.result)},
    }
    if route.streams:
        # The specification knows no streams, and leaves names that begin so to extensions.
        method["x-streams"] = True
    if route.scopes:
        method["x-scopes"] = sorted(route.scopes)
    if requirements := requirements_of(route):
        method["x-requires"] = [one.described() for one in requirements]
    if route.description:
        method["summary"] = route.description
    return method


def _parameter(route: Route[Any], name: str, writer: Writer) -> dict[str, Any]:
    signature = route.signature
    node = signature.nodes[name]
    parameter: dict[str, Any] = {"name": name, "required": name not in signature.defaults}
    if node.summary:
        parameter["summary"] = node.summary
    schema = node.schema(writer)
    if name in signature.defaults:
        # A reference takes no members beside it.
        default = _default(signature.defaults[name])
        if default is not msgspec.UNSET and "$ref" not in schema:
            schema["default"] = default
    parameter["schema"] = schema
    return parameter


class Writer:
    """Writes schemas of parameters, with what they refer to among the components of a document.

    Parameters
    ----------
    components: Dict[:class:`str`, Any]
        The schemas of the document by their names.
    """

    def __init__(self, components: dict[str, Any]) -> None:
        self._components = components
        #: The names of types that are defined.
        self._names: dict[Any, str] = {}

    def plain(self, annotation: Any) -> dict[str, Any]:
        """Returns the schema of an annotation that msgspec knows."""
        return _schema(annotation, self._components)

    def add(self, name: str, schema: dict[str, Any]) -> None:
        """Adds a schema under a name that others refer to."""
        self._components[name] = schema

    def define(self, owner: Any, name: str, make: Callable[[Schemas], dict[str, Any]]) -> dict[str, Any]:
        """Adds the schema of a type once, under a name of its own, and returns a reference to it."""
        if owner not in self._names:
            numbers = itertools.count(2)
            unique = name
            while unique in self._components:
                unique = f"{name}{next(numbers)}"
            self._names[owner] = unique
            # Its own schema may refer to it.
            self._components[unique] = {}
            self._components[unique] = make(self)
        return {"$ref": REFERENCES.format(name=self._names[owner])}


def _default(value: Any) -> Any:
    try:
        return msgspec.json.decode(encode_answer(value))
    except (TypeError, msgspec.DecodeError):
        return msgspec.UNSET


def _schema(annotation: Any, components: dict[str, Any]) -> dict[str, Any]:
    of_discord: dict[str, Any] = {}

    def hook(cls: type[Any]) -> dict[str, Any]:
        schema = schema_of(cls, of_discord)
        if schema is None:
            raise NotImplementedError
        return schema

    try:
        (schema,), found = msgspec.json.schema_components(
            (annotation,), schema_hook=hook, ref_template=REFERENCES
        )
    except (TypeError, RuntimeError):
        # Something that has no schema, an answer that is one of several objects of Discord's say.
        return {}
    components.update(found)
    components.update(of_discord)
    return schema
