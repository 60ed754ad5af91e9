"""What discord.py's own types say about Discord's payloads. Its modules of types import each other in a circle, so they
are read and not imported.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import discord

TYPES = Path(discord.__file__).parent / "types"

#: What a type may be wrapped in.
WRAPPERS = ("NotRequired", "Required", "Optional")


class Module(NamedTuple):
    """The classes of a module, its other names, and where it has its imports from."""

    classes: dict[str, ast.ClassDef]
    aliases: dict[str, ast.expr]
    imports: dict[str, str]


@cache
def module(name: str) -> Module:
    tree = ast.parse((TYPES / f"{name}.py").read_text("utf-8"))
    found = Module({}, {}, {})
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found.classes[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.aliases[node.targets[0].id] = node.value
        elif isinstance(node, ast.ImportFrom) and node.level == 1 and node.module is not None:
            found.imports.update(dict.fromkeys((alias.name for alias in node.names), node.module))
    return found


def keys(path: str) -> dict[str, str]:
    """The members of a TypedDict, ``user.User`` say, each with its kind; see :func:`kind`."""
    where, _, name = path.partition(".")
    here = module(where)
    if name not in here.classes:
        return keys(f"{here.imports[name]}.{name}") if name in here.imports else {}
    found: dict[str, str] = {}
    for base in here.classes[name].bases:
        if isinstance(base, ast.Name):
            found |= keys(f"{where}.{base.id}")
    for node in here.classes[name].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = kind(node.annotation, where)
    return found


def kind(annotation: ast.expr, where: str) -> str:
    """What a type is: ``snowflake``, ``str``, ``int``, ``bool``, ``float``, ``object``, ``list`` or ``other``."""
    if isinstance(annotation, ast.Subscript):
        name = ast.unparse(annotation.value)
        if name in WRAPPERS:
            return kind(annotation.slice, where)
        if name == "Literal":
            values = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            return type(ast.literal_eval(values[0])).__name__
        return {"List": "list", "Dict": "object"}.get(name, "other")
    name = ast.unparse(annotation)
    if name in ("Snowflake", "SnowflakeList"):
        return {"Snowflake": "snowflake", "SnowflakeList": "list"}[name]
    here = module(where)
    if name in here.classes:
        return "object"
    if name in here.aliases:
        return kind(here.aliases[name], where)
    if name in here.imports:
        return kind(annotation, here.imports[name])
    return name if name in ("str", "int", "bool", "float") else "other"
