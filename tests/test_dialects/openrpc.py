"""What the OpenRPC specification asks of a document, as far as ``rpc.discover`` makes use of it."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

_SCHEMA: dict[str, Any] = {"$ref": "https://json-schema.org/draft/2020-12/schema"}

_DESCRIPTOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "schema"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "summary": {"type": "string"},
        "description": {"type": "string"},
        "required": {"type": "boolean"},
        "deprecated": {"type": "boolean"},
        "schema": _SCHEMA,
    },
    "additionalProperties": False,
}

META: dict[str, Any] = {
    "type": "object",
    "required": ["openrpc", "info", "methods"],
    "properties": {
        "openrpc": {"type": "string", "pattern": r"^1\.[0-9]+\.[0-9]+$"},
        "info": {
            "type": "object",
            "required": ["title", "version"],
            "properties": {"title": {"type": "string"}, "version": {"type": "string"}},
            "additionalProperties": False,
        },
        "methods": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "params"],
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "summary": {"type": "string"},
                    "description": {"type": "string"},
                    "params": {"type": "array", "items": _DESCRIPTOR},
                    "result": _DESCRIPTOR,
                    "paramStructure": {"enum": ["by-name", "by-position", "either"]},
                },
                "patternProperties": {"^x-": {}},  # extensions
                "additionalProperties": False,
            },
        },
        "components": {
            "type": "object",
            "properties": {
                "schemas": {
                    "type": "object",
                    "propertyNames": {"pattern": "^[a-zA-Z0-9._-]+$"},
                    "additionalProperties": _SCHEMA,
                }
            },
            "additionalProperties": False,
        },
    },
    "patternProperties": {"^x-": {}},  # extensions
    "additionalProperties": False,
}


def validate(document: Any) -> None:
    """Raises where the document breaks a rule, those that no schema can express included."""
    Draft202012Validator(META).validate(document)
    names = [method["name"] for method in document["methods"]]
    assert len(names) == len(set(names)), "names of methods must differ"
    for method in document["methods"]:
        params = [param["name"] for param in method["params"]]
        assert len(params) == len(set(params)), "names of parameters must differ"
        required = [bool(param.get("required")) for param in method["params"]]
        assert required == sorted(required, reverse=True), "required parameters come first"
    for reference in references(document):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def references(value: Any) -> list[str]:
    """All that the document refers to."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for item in value.values() for one in references(item)]
    return [one for item in value for one in references(item)] if isinstance(value, list) else []
