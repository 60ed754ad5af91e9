"""``rpc.discover``: an OpenRPC document of all routes, as far as their annotations tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import discord
import msgspec

from discord_tools.ipc._version import __version__
from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.parameters.objects import SNOWFLAKE
from discord_tools.ipc_server.routes import Route

__all__ = ("describe", "discovery")

#: The version of the OpenRPC specification that the document keeps to.
OPENRPC: Final = "1.3.2"

REFERENCES: Final = "#/components/schemas/{name}"


def discovery(routes: Mapping[str, Route[Any]]) -> bytes:
    """Writes the document as JSON."""
    return msgspec.json.encode(describe(routes, __version__))


def describe(routes: Mapping[str, Route[Any]], version: str) -> dict[str, Any]:
    """Describes routes in an OpenRPC document.

    Parameters
    ----------
    routes: Mapping[:class:`str`, :class:`Route`]
        The routes by name.
    version: :class:`str`
        What to give for the version of the interface.
    """
    components: dict[str, Any] = {}
    methods = [_method(routes[name], components) for name in sorted(routes)]
    return {
        "openrpc": OPENRPC,
        "info": {"title": "discord_tools.ipc", "version": version},
        "methods": methods,
        "components": {"schemas": components},
    }


def _method(route: Route[Any], components: dict[str, Any]) -> dict[str, Any]:
    signature = route.signature
    params = [_parameter(route, name, components) for name in signature.names]
    # Values in order need the required ones first, and the specification asks for it.
    params.sort(key=lambda parameter: not parameter["required"])
    in_order = [parameter["name"] for parameter in params] == list(signature.names)
    method: dict[str, Any] = {
        "name": route.name.removeprefix("/"),
        "params": params,
        "paramStructure": "either" if in_order else "by-name",
        "result": {"name": "result", "schema": _schema(signature.result, components)},
    }
    if route.streams:
        # The specification knows no streams, and leaves names that begin so to extensions.
        method["x-streams"] = True
    if route.description:
        method["summary"] = route.description
    return method


def _parameter(route: Route[Any], name: str, components: dict[str, Any]) -> dict[str, Any]:
    signature = route.signature
    node = signature.nodes[name]
    parameter: dict[str, Any] = {"name": name, "required": name not in signature.defaults}
    if node.summary:
        parameter["summary"] = node.summary
    schema = node.schema(Writer(components))
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

    def plain(self, annotation: Any) -> dict[str, Any]:
        """Returns the schema of an annotation that msgspec knows."""
        return _schema(annotation, self._components)

    def add(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Adds a schema under a name, and returns a reference to it."""
        self._components[name] = schema
        return {"$ref": REFERENCES.format(name=name)}


def _default(value: Any) -> Any:
    try:
        return msgspec.json.decode(encode_answer(value))
    except (TypeError, msgspec.DecodeError):
        return msgspec.UNSET


def _schema(annotation: Any, components: dict[str, Any]) -> dict[str, Any]:
    try:
        (schema,), found = msgspec.json.schema_components(
            (annotation,), schema_hook=_of_discord, ref_template=REFERENCES
        )
    except (TypeError, RuntimeError):
        # Something that has no schema, an answer that is one of several objects of Discord's say.
        return {}
    components.update(found)
    return schema


def _of_discord(cls: type[Any]) -> dict[str, Any]:
    """What is known about an object of Discord's in an answer."""
    if issubclass(cls, (discord.Asset, discord.Permissions)):
        return {"type": "string"}
    if cls.__module__.partition(".")[0] == "discord" and hasattr(cls, "id"):
        return {"type": "object", "title": cls.__name__, "properties": {"id": dict(SNOWFLAKE)}}
    raise NotImplementedError
