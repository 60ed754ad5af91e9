"""``rpc.discover``: an OpenRPC document of all routes, as far as their annotations tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from discord_tools.ipc._version import __version__
from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.routes import Route
from discord_tools.ipc_server.values.schema import REFERENCES, schema_of

__all__ = ("describe", "discovery")

#: The version of the OpenRPC specification that the document keeps to.
OPENRPC: Final = "1.3.2"

#: JavaScript's numbers are too small for Discord's ids, so they are described as strings, though numbers do, too.
SNOWFLAKE: Final[dict[str, Any]] = {"type": "string", "pattern": "^[0-9]+$"}


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
    lookup = signature.lookups.get(name)
    parameter: dict[str, Any] = {"name": name, "required": name not in signature.defaults}
    if lookup is None:
        schema = _schema(signature.wire[name], components)
    else:
        one = dict(SNOWFLAKE)
        parameter["summary"] = f"The id of a {lookup.noun}"
        if lookup.many:
            schema: dict[str, Any] = {"type": "array", "items": one}
            parameter["summary"] = f"The ids of objects of type {lookup.noun}"
        elif type(None) in getattr(lookup.wire, "__args__", ()):
            schema = {"anyOf": [one, {"type": "null"}]}
        else:
            schema = one
    if name in signature.defaults:
        # A reference takes no members beside it.
        default = _default(signature.defaults[name])
        if default is not msgspec.UNSET and "$ref" not in schema:
            schema["default"] = default
    parameter["schema"] = schema
    return parameter


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
