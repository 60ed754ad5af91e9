"""The attribute table that readers know from discord.py: what a class has, in two columns, at a glance.

``.. attributetable:: package.Class`` lists every documented public member. The names are ordinary references,
so nitpicky mode fails when the table names something that the description below it lacks.

The extension also writes ``@`` before the signature of a decorator, which autodoc cannot do for methods.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

OURS = "discord_tools."
BADGES = {"async": "coroutine", "cls": "class method", "@": "decorator", "def": "method"}
ATTRIBUTES_SECTION = re.compile(
    r"^Attributes\n-{3,}\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL
)


def load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def badge(member: Any) -> str | None:
    """What a member is, or ``None`` for an attribute."""
    if isinstance(member, classmethod):
        return "cls"
    function = member.__func__ if isinstance(member, staticmethod) else member
    if not inspect.isroutine(function):
        return None
    if (inspect.getdoc(function) or "").startswith("A decorator"):
        return "@"
    return "async" if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function) else "def"


def members(cls: type) -> Iterator[tuple[str, str | None]]:
    """Every documented public name with its badge; what our own base classes have counts, too."""
    seen: set[str] = set()
    section = ATTRIBUTES_SECTION.search(inspect.getdoc(cls) or "")
    for name in re.findall(r"^(\w+)\s*:", section[1] if section else "", re.MULTILINE):
        seen.add(name)
        yield name, None
    for owner in cls.__mro__:
        if not owner.__module__.startswith(OURS):
            continue
        for name, member in vars(owner).items():
            doc = inspect.getdoc(member)
            # Autodoc leaves these out, too: private ones, those without a docstring, those that say so.
            if not name.startswith("_") and name not in seen and doc and ":meta private:" not in doc:
                seen.add(name)
                yield name, badge(member)


class AttributeTable(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = self.arguments[0]
        table = nodes.container(classes=["attributetable"])
        rows = sorted(members(load(path)))
        for title, role, chosen in (
            ("Attributes", "attr", [row for row in rows if row[1] is None]),
            ("Methods", "meth", [row for row in rows if row[1] is not None]),
        ):
            if chosen:
                column = nodes.container(classes=["attributetable-column"])
                column += nodes.paragraph(title, title, classes=["attributetable-title"])
                column += nodes.bullet_list("", *(self.entry(path, role, *row) for row in chosen))
                table += column
        return [table]

    def entry(self, path: str, role: str, name: str, kind: str | None) -> nodes.list_item:
        line = nodes.paragraph()
        if kind is not None:
            line += nodes.abbreviation("", kind, explanation=BADGES[kind], classes=["attributetable-badge"])
        target = {"refdomain": "py", "reftype": role, "reftarget": f"{path}.{name}", "refexplicit": True}
        link = addnodes.pending_xref("", nodes.literal(name, name), refdoc=self.env.docname, **target)
        self.set_source_info(link)
        line += link
        return nodes.list_item("", line)


def mark_decorator(app: Sphinx, domain: str, objtype: str, content: addnodes.desc_content) -> None:
    if domain != "py" or objtype not in {"function", "method"} or content.parent is None:
        return
    for signature in content.parent.findall(addnodes.desc_signature):
        owner, _, name = f"{signature['module']}.{signature['fullname']}".rpartition(".")
        try:
            found = load(f"{owner}.{name}") if objtype == "function" else vars(load(owner))[name]
        except (ImportError, AttributeError, KeyError):
            continue  # an event is documented as a function that exists nowhere
        if badge(found) == "@":
            signature.insert(0, addnodes.desc_addname("@", "@"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("attributetable", AttributeTable)
    app.connect("object-description-transform", mark_decorator)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
