"""``rpc.discover``: an OpenRPC document of all routes, as far as their annotations tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import discord
import msgspec

from discord_tools.ipc._version import __version__
from discord_tools.ipc_server.components import Components
from discord_tools.ipc_server.demands import requirements_of
from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.event_table import KEYS, Declared, EventSpec
from discord_tools.ipc_server.remembered import remember
from discord_tools.ipc_server.routes import Route
from discord_tools.ipc_server.snowflakes import SNOWFLAKE_SCHEMA

__all__ = ("Discovery", "describe")

#: The version of the OpenRPC specification that the document keeps to.
OPENRPC: Final = "1.3.2"

#: Maximum number of documents that are kept. Making one takes some milliseconds, and any client may ask for it.
DOCUMENTS: Final = 8


class Discovery:
    """Makes the document once for the same routes and events, and keeps it for further clients."""

    def __init__(self) -> None:
        #: Documents as JSON, with what they describe. The identities of that are the keys. The oldest comes first.
        self._documents: dict[Any, tuple[bytes, Any]] = {}

    def document(
        self,
        routes: Mapping[str, Route[Any]],
        events: Mapping[str, Any],
        scopes: Mapping[str, Collection[str]] | None = None,
    ) -> bytes:
        """Returns the document about routes and events, as JSON."""
        described = (*routes.items(), None, *events.items())
        opening = tuple((scopes or {}).get(name) for name in events)
        # A group may demand more at any time.
        demanded = tuple(map(requirements_of, routes.values()))
        key = tuple(one and (one[0], id(one[1])) for one in described), opening, demanded
        if key not in self._documents:
            text = msgspec.json.encode(describe(routes, __version__, events, scopes))
            # As long as they are kept, nothing else has their identities.
            remember(self._documents, key, (text, described), DOCUMENTS)
        return self._documents[key][0]


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
    components = Components()
    document = _document(routes, version, events or {}, scopes or {}, components)
    # Which names classes of discord.py have is known now. All others are free.
    used = components.used
    return (
        document if used is None else _document(routes, version, events or {}, scopes or {}, Components(used))
    )


def _document(
    routes: Mapping[str, Route[Any]],
    version: str,
    events: Mapping[str, Any],
    scopes: Mapping[str, Collection[str]],
    components: Components,
) -> dict[str, Any]:
    methods = [_method(routes[name], components) for name in sorted(routes)]
    described = [_event(name, about, components) for name, about in sorted(events.items())]
    for event in described:
        if opening := scopes.get(event["name"]):
            event["scopes"] = sorted(opening)
    return {
        "openrpc": OPENRPC,
        "info": {"title": "discord_tools.ipc", "version": version},
        "methods": methods,
        # The specification knows no events, and leaves names that begin so to extensions.
        "x-events": described,
        "components": {"schemas": components.schemas},
    }


def _event(name: str, about: Any, components: Components) -> dict[str, Any]:
    if isinstance(about, EventSpec):
        members = {member: _of_member(kind, components) for member, kind in about.members().items()}
        data: dict[str, Any] = {}
        if members:
            data = {"type": "object", "properties": members}
        elif about.arguments:
            (kind,) = about.arguments.values()
            data = _of_member(kind, components)
        return {"name": name, "data": data, "filter": [key for key in KEYS if key in about.paths]}
    data = components.plain(about.type) if isinstance(about, Declared) else {}
    return {"name": name, "data": data, "filter": list(KEYS)}


def _of_member(kind: str, components: Components) -> dict[str, Any]:
    """Describes a member of the data by the name of its type, or by those of several types."""
    if kind == "snowflake":
        return {"type": ["string", "null"], "pattern": SNOWFLAKE_SCHEMA["pattern"]}
    schemas = [_of_class(name, components) for name in kind.split(" | ")]
    known = [schema for schema in schemas if schema is not None]
    if len(known) < len(schemas):
        return {"title": kind} if kind else {}
    return known[0] if len(known) == 1 else {"anyOf": known}


def _of_class(name: str, components: Components) -> dict[str, Any] | None:
    if name.startswith("list["):
        items = _of_class(name[len("list[") : -1], components)
        return None if items is None else {"type": "array", "items": items}
    return components.of_class(getattr(discord, name, None))


def _method(route: Route[Any], components: Components) -> dict[str, Any]:
    signature = route.signature
    params = [_parameter(route, name, components) for name in signature.names]
    # Values in order need the required ones first, and the specification asks for it.
    params.sort(key=lambda parameter: not parameter["required"])
    in_order = [parameter["name"] for parameter in params] == list(signature.names)
    method: dict[str, Any] = {
        "name": route.name.removeprefix("/"),
        "params": params,
        "paramStructure": "either" if in_order else "by-name",
        "result": {"name": "result", "schema": components.plain(signature.result)},
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


def _parameter(route: Route[Any], name: str, components: Components) -> dict[str, Any]:
    signature = route.signature
    node = signature.nodes[name]
    parameter: dict[str, Any] = {"name": name, "required": name not in signature.defaults}
    if node.summary:
        parameter["summary"] = node.summary
    schema = node.schema(components)
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
