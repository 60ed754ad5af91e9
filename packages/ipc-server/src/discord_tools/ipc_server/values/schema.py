"""Tables to JSON Schema."""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.values.table import Field, Kind, Table
from discord_tools.ipc_server.values.tables import TABLES, table_of

__all__ = ("REFERENCES", "schema_of")

#: Where schemas of other classes are.
REFERENCES: Final = "#/components/schemas/{name}"


def schema_of(cls: type[Any], components: dict[str, Any]) -> dict[str, Any] | None:
    """Describes what objects of a class of discord.py are written as.

    Parameters
    ----------
    cls: :class:`type`
        The class.
    components: Dict[:class:`str`, Any]
        Takes the schemas of the class and of those that its objects contain, by name.

    Returns
    -------
    Optional[Dict[:class:`str`, Any]]
        A schema that refers to these, or ``None`` where the class has no table.
    """
    table = table_of(cls)
    if table is None:
        return None
    if table.scalar is not None:
        return dict(table.scalar.schema)
    if table.name not in components:
        components[table.name] = {}  # which may contain itself
        components[table.name] = _object(table, components)
    return {"$ref": REFERENCES.format(name=table.name)}


def _object(table: Table, components: dict[str, Any]) -> dict[str, Any]:
    fields = [field for field in table.fields if not field.on_request]
    return {
        "type": "object",
        "title": table.name,
        "properties": {field.name: _field(field, components) for field in fields},
        "required": [field.name for field in fields if not field.omit],
    }


def _field(field: Field, components: dict[str, Any]) -> dict[str, Any]:
    schema = _kind(field.kind, components)
    # Discord's own ids are always there. What discord.py may not know of the rest is null.
    if field.omit or field.path == "id" or not schema:
        return schema
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _kind(kind: Kind, components: dict[str, Any]) -> dict[str, Any]:
    if kind.many:
        return {"type": "array", "items": _kind(kind._replace(many=False), components)}
    if isinstance(kind.cls, Table):
        # A part of what the class has elsewhere, or the same for a user who may be a member.
        return (
            _nested(kind.cls.classes[0], components) if kind.cls.variants else _object(kind.cls, components)
        )
    if kind.cls is not None:
        return _nested(kind.cls, components)
    if kind.classes:
        return {"anyOf": [_nested(cls, components) for cls in kind.classes if cls in TABLES] or [{}]}
    return dict(kind.schema)


def _nested(cls: type[Any], components: dict[str, Any]) -> dict[str, Any]:
    return schema_of(cls, components) or {}
