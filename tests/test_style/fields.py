"""A check that every field of a class is explained. It takes the text of a Python file."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping

from test_style.source import Finding, Function

#: Comments for tools, and lines that divide a file into sections. They explain nothing.
_NO_EXPLANATION = re.compile(r"#:?\s*(?:noqa|pyright:|type:\s*ignore|fmt:|pragma|--|$)")

#: The heading of a section in a docstring, and an entry of it: ``name: type``, or several names.
_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
_ENTRY = re.compile(r"^\*{0,2}(\w+(?:, \w+)*) *(?::|$)", re.MULTILINE)
_SECTIONS = {"Attributes", "Parameters"}

#: Classes with these bases, and dataclasses, are nothing but their fields: any docstring is about those.
_RECORDS = {"NamedTuple", "Struct", "TypedDict"}

Classes = Mapping[str, ast.ClassDef]
Field = tuple[str, ast.stmt]


def unexplained_fields(text: str) -> list[Finding]:
    """Finds fields that nothing explains: those first assigned in ``__init__``, and those with a default in the class.

    A field is explained by a comment directly above it or in its own lines; by the Parameters or Attributes of its
    class, or of a base class in the same file; or by the docstring of a property of that name. Storing a parameter
    under its own name needs no explanation.
    """
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    classes = {node.name: node for node in nodes}
    commented = _explaining_lines(text)
    findings: list[Finding] = []
    for node in nodes:
        explained = _explained_names(node, classes, commented)
        for name, statement in (*_class_fields(node, classes), *_init_fields(node)):
            if name.lstrip("_") not in explained and not _is_commented(statement, commented):
                what = f"{node.name}.{name} is not explained: add a comment directly above it or in its line"
                findings.append(Finding(statement.lineno, what))
    return findings


# -- where fields are


def _class_fields(node: ast.ClassDef, classes: Classes) -> Iterator[Field]:
    docstring = ast.get_docstring(node) or ""
    if docstring and _is_record(node, classes):
        return
    for name, statement in _assigned_in_class(node):
        if statement.value is not None and not name.startswith("__") and f"``{name}``" not in docstring:
            yield name, statement


def _assigned_in_class(node: ast.ClassDef) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign]]:
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for target in _targets(statement):
                if isinstance(target, ast.Name):
                    yield target.id, statement


def _is_record(node: ast.ClassDef, classes: Classes) -> bool:
    decorators = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    return (
        any(_last_name(one) == "dataclass" for one in decorators)
        or any(_last_name(base) in _RECORDS for base in node.bases)
        or any(_is_record(base, classes) for base in _bases(node, classes))
    )


def _init_fields(node: ast.ClassDef) -> Iterator[Field]:
    """The fields that ``__init__`` assigns first, without those that store a parameter of the same name."""
    for init in node.body:
        if isinstance(init, Function) and init.name == "__init__":
            # A default in the class comes first.
            seen = {name for name, child in _assigned_in_class(node) if child.value is not None}
            parameters = {argument.arg for argument in ast.walk(init.args) if isinstance(argument, ast.arg)}
            for name, value, statement in _assigned_in(init):
                stored = (
                    isinstance(value, ast.Name) and value.id in parameters and value.id == name.lstrip("_")
                )
                if name not in seen and not stored:
                    yield name, statement
                seen.add(name)


def _assigned_in(init: Function) -> Iterator[tuple[str, ast.expr | None, ast.stmt]]:
    this = init.args.args[0].arg if init.args.args else "self"
    for statement in _own_statements(init):
        for target in _targets(statement):
            if (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id == this
            ):
                yield target.attr, _value_of(target, statement), statement


def _own_statements(function: Function) -> Iterator[ast.Assign | ast.AnnAssign]:
    """The assignments of a function in their order, without those of functions and classes inside of it."""
    todo: list[ast.AST] = list(reversed(function.body))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield node
        elif not isinstance(node, ast.ClassDef | Function | ast.Lambda):
            todo.extend(reversed(list(ast.iter_child_nodes(node))))


def _targets(statement: ast.Assign | ast.AnnAssign) -> Iterator[ast.expr]:
    for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
        yield from target.elts if isinstance(target, ast.Tuple) else [target]


def _value_of(target: ast.expr, statement: ast.Assign | ast.AnnAssign) -> ast.expr | None:
    """What is assigned to one target: the matching element where a tuple is assigned to a tuple."""
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Tuple):
        for tuple_ in statement.targets:
            if isinstance(tuple_, ast.Tuple) and target in tuple_.elts:
                return dict(zip(tuple_.elts, statement.value.elts, strict=False)).get(target)
    return statement.value


# -- what explains them


def _explaining_lines(text: str) -> dict[int, bool]:
    """The lines with a comment that explains something, and whether they have nothing else."""
    return {
        token.start[0]: not token.line[: token.start[1]].strip()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not _NO_EXPLANATION.match(token.string)
    }


def _is_commented(statement: ast.stmt, commented: Mapping[int, bool]) -> bool:
    own = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    return commented.get(statement.lineno - 1, False) or any(line in commented for line in own)


def _explained_names(node: ast.ClassDef, classes: Classes, commented: Mapping[int, bool]) -> set[str]:
    """The names that are explained outside of ``__init__``, without leading underscores."""
    names = _documented_names(ast.get_docstring(node) or "")
    for child in node.body:
        if isinstance(child, Function) and child.name != "__init__" and ast.get_docstring(child):
            names.update({child.name} if _is_property(child) else ())
    names.update(name for name, child in _assigned_in_class(node) if _is_commented(child, commented))
    for base in _bases(node, classes):
        names |= _explained_names(base, classes, commented)
    return {name.lstrip("_") for name in names}


def _documented_names(docstring: str) -> set[str]:
    headings = list(_HEADING.finditer(docstring))
    ends = [*(heading.start() for heading in headings), len(docstring)][1:]
    return {
        name
        for heading, end in zip(headings, ends, strict=True)
        if heading[1] in _SECTIONS
        for entry in _ENTRY.finditer(docstring, heading.end(), end)
        for name in entry[1].split(", ")
    }


def _is_property(function: Function) -> bool:
    return any(_last_name(one) in ("property", "cached_property") for one in function.decorator_list)


def _bases(node: ast.ClassDef, classes: Classes) -> Iterator[ast.ClassDef]:
    for base in node.bases:
        name = _last_name(base)
        if name != node.name and name in classes:
            yield classes[name]


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
