"""Checks of length, docstrings, exports and protocols. Each takes the text of a Python file."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterator
from typing import NamedTuple

FUNCTION_LINES = 50
FILE_LINES = 400

Function = ast.FunctionDef | ast.AsyncFunctionDef

#: Tokens that do not make a line a line of code.
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}

#: The sentence of a docstring that says who implements a protocol, and the names in it.
_IMPLEMENTED = re.compile(r"\bImplemented\s+by\s(.*?)(?:\.\s|\.?\Z|\n\s*\n)", re.DOTALL)
_NAME = re.compile(r":\w+:`[~.]*([\w.]+)`|``([\w.]+)``")


class Finding(NamedTuple):
    """Something wrong in a file, and what to do about it."""

    line: int
    text: str


# -- length


def long_functions(text: str) -> list[Finding]:
    """Finds functions with too many lines of code. Those of nested functions count for the outer one too."""
    tree = ast.parse(text)
    code = _code_lines(text) - _docstring_lines(tree)
    findings: list[Finding] = []
    for node in ast.walk(tree):
        if isinstance(node, Function):
            lines = sum(node.lineno <= line <= (node.end_lineno or 0) for line in code)
            if lines > FUNCTION_LINES:
                what = f"{node.name}() has {lines} lines of code: split it, at most {FUNCTION_LINES}"
                findings.append(Finding(node.lineno, what))
    return findings


def long_file(text: str) -> list[Finding]:
    """Finds a file with too many lines, not counting docstrings."""
    lines = len(text.splitlines()) - len(_docstring_lines(ast.parse(text)))
    if lines <= FILE_LINES:
        return []
    return [Finding(1, f"the file has {lines} lines without docstrings: split it, at most {FILE_LINES}")]


def _code_lines(text: str) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def _docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
            lines.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


# -- modules


def missing_docstring(text: str) -> list[Finding]:
    """Finds a module without a docstring."""
    if ast.get_docstring(ast.parse(text)):
        return []
    return [Finding(1, "the module has no docstring: say in one line what it does")]


def unknown_exports(text: str) -> list[Finding]:
    """Finds names in ``__all__`` that the module neither defines nor imports."""
    statements = list(_statements(ast.parse(text).body))
    known = {name for statement in statements for name in _bound_by(statement)}
    return [
        Finding(node.lineno, f"__all__ has {node.value!r}, which is not in the module: remove or define it")
        for statement in statements
        if "__all__" in _bound_by(statement)
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in known
    ]


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, also those under ``if`` and ``try``, but not those of functions and classes."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.ClassDef | Function):
            for _, value in ast.iter_fields(statement):
                for child in value if isinstance(value, list) else ():
                    if isinstance(child, ast.stmt):
                        yield from _statements([child])
                    elif isinstance(child, ast.ExceptHandler):
                        yield from _statements(child.body)


def _bound_by(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.ClassDef | Function):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return {
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    return set()


# -- protocols


def protocols_without_implementer(text: str, known: Collection[str]) -> list[Finding]:
    """Finds subclasses of :class:`typing.Protocol` whose docstring does not say who implements them.

    ``known`` are the names of all classes and functions. Names with a dot belong to other packages.
    """
    findings: list[Finding] = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef) or not _is_protocol(node):
            continue
        sentence = _IMPLEMENTED.search(ast.get_docstring(node) or "")
        names = [role or literal for role, literal in _NAME.findall(sentence[1])] if sentence else []
        if not names:
            what = "add 'Implemented by :class:`...`.' to its docstring"
            findings.append(Finding(node.lineno, f"protocol {node.name}: {what}"))
        for name in names:
            if "." not in name and name not in known:
                what = f"{name} is said to implement it, but there is no such class: correct its docstring"
                findings.append(Finding(node.lineno, f"protocol {node.name}: {what}"))
    return findings


def defined_names(text: str) -> set[str]:
    """Returns the names of all classes and functions."""
    return {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef | Function)}


def _is_protocol(node: ast.ClassDef) -> bool:
    # asyncio.Protocol is something else.
    return any(
        ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        in ("Protocol", "typing.Protocol")
        for base in node.bases
    )
