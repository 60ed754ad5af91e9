"""Tables of bounds, made from the code: constants with the comments above them, and settings with their descriptions.

``.. bounds::`` has one line for each row of its table: a module below ``discord_tools`` with one or more constants, or
a class of settings with one of its fields. Constants that share a comment share a row::

    .. bounds::

       ipc_server.connections NEW NEW_PER_ADDRESS
       ServerLimits handshake_timeout
"""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from modulelayers import NAMESPACE, inline
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective
from tableparts import cell

from discord_tools import ipc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from sphinx.application import Sphinx

KIB, MIB = 1024, 1024 * 1024

CONSTANT = re.compile(r"([A-Z][A-Z0-9_]*)(?:: Final(?:\[.+\])?)? = ")
FIELD = re.compile(r"^(\w+): :class:`\w+`\n((?:[ ]{4}.*\n|\n)+)", re.MULTILINE)


class Constants(NamedTuple):
    """Constants in consecutive lines below one comment."""

    names: tuple[str, ...]
    comment: str


def constants_of(module: ModuleType) -> Iterator[Constants]:
    """The constants of a module that have a comment."""
    names: list[str] = []
    comment: list[str] = []
    for line in (*inspect.getsource(module).splitlines(), ""):
        if match := CONSTANT.match(line):
            names.append(match[1])
        elif line.startswith("#:") and not names:
            comment.append(line.removeprefix("#:").strip())
        else:
            if names and comment:
                yield Constants(tuple(names), " ".join(comment))
            names, comment = [], []


def descriptions_of(cls: type) -> dict[str, str]:
    """What the docstring of a class of settings says about each field, without the version that added it."""
    text = inspect.getdoc(cls) or ""
    return {
        name: " ".join(description.partition("\n\n")[0].split())
        for name, description in FIELD.findall(text + "\n")
    }


def shown(name: str, value: float, text: str) -> str:
    """A value with its unit, which the name or the text tells."""
    if "share" in text.lower().split()[:1]:
        return f"{value * 100:g} %"
    if name.lower().endswith("bytes"):
        size = next(
            ((unit, name) for unit, name in ((MIB, "MiB"), (KIB, "KiB")) if value >= unit), (1, "bytes")
        )
        return f"{value / size[0]:g} {size[1]}"
    return f"{value:g} s" if isinstance(value, float) else f"{value}"


class Bounds(SphinxDirective):
    has_content = True

    def run(self) -> list[nodes.Node]:
        body = nodes.tbody("", *(self.row(line.split()) for line in self.content if line.strip()))
        titles = ("Value", "What it bounds", "Name")
        head = nodes.thead("", nodes.row("", *(cell(title) for title in titles)))
        columns = (nodes.colspec(colwidth=width) for width in (14, 56, 30))
        return [
            nodes.table("", nodes.tgroup("", *columns, head, body, cols=3), classes=["bounds", "stacked"])
        ]

    def row(self, words: list[str]) -> nodes.row:
        where, *names = words
        return self.settings(where, *names) if where[0].isupper() else self.constants(where, tuple(names))

    def constants(self, path: str, names: tuple[str, ...]) -> nodes.row:
        module = importlib.import_module(NAMESPACE + path)
        self.env.note_dependency(str(module.__file__))
        found = next((each for each in constants_of(module) if set(names) <= set(each.names)), None)
        if found is None:
            raise self.error(f"{path} has no constants {', '.join(names)} below one comment")
        values = [shown(name, getattr(module, name), found.comment) for name in names]
        where = nodes.paragraph()
        for name in names:
            where += [nodes.literal(name, name), nodes.Text(", " if name != names[-1] else " ")]
        where += [nodes.Text("in "), self.link("mod", NAMESPACE + path, path)]
        return nodes.row("", cell(", ".join(values)), cell(*inline(found.comment)), nodes.entry("", where))

    def settings(self, path: str, name: str) -> nodes.row:
        cls: Any = getattr(ipc, path)
        self.env.note_dependency(str(inspect.getsourcefile(cls)))
        default = next((field.default for field in fields(cls) if field.name == name), None)
        if default is None:
            raise self.error(f"{path} has no field {name}")
        text = descriptions_of(cls)[name]
        # Its roles name classes of the package.
        context = self.env.ref_context
        before = context.get("py:module")
        context["py:module"] = cls.__module__.rpartition(".")[0]
        entry = nodes.entry()
        self.state.nested_parse(StringList([text], source=cls.__module__), self.content_offset, entry)
        if before is None:
            del context["py:module"]
        else:
            context["py:module"] = before
        link = self.link("attr", f"{ipc.__name__}.{path}.{name}", f"{path}.{name}")
        return nodes.row("", cell(shown(name, default, text)), entry, cell(link))

    def link(self, role: str, target: str, text: str) -> addnodes.pending_xref:
        attributes = {"refdomain": "py", "reftype": role, "reftarget": target, "refexplicit": True}
        link = addnodes.pending_xref(
            "", nodes.literal(text, text), refdoc=self.env.docname, refwarn=True, **attributes
        )
        self.set_source_info(link)
        return link


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("bounds", Bounds)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
