"""What objects of discord.py are written as, made from the tables of the server.

``.. valuetables::`` has a section for each subject, with a table of fields for each class.
``.. refusedvalues::`` lists the classes that have no form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from tableparts import cell, depend_on

from discord_tools.ipc_server import values
from discord_tools.ipc_server.values.refused import REFUSED
from discord_tools.ipc_server.values.table import Table
from discord_tools.ipc_server.values.tables import SUBJECTS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from discord_tools.ipc_server.values.table import Field, Kind


def public_name(cls: type[Any]) -> str:
    """The name that users know a class by."""
    parts = cls.__module__.split(".")
    if parts[:2] in (["discord", "app_commands"], ["discord", "ui"], ["discord", "abc"]):
        return f"{parts[0]}.{parts[1]}.{cls.__name__}"
    return f"discord.ext.commands.{cls.__name__}" if "ext" in parts else f"discord.{cls.__name__}"


def kind_name(kind: Kind) -> str:
    """What a field has."""
    name = kind.cls.name if isinstance(kind.cls, Table) else kind.name
    return f"array of {name}" if kind.many else name


def remark(field: Field) -> str:
    remarks = {
        "not in Discord's own form": field.extra and not field.on_request,
        "only on request": field.on_request,
        "absent where there is none": field.omit,
    }
    return ", ".join(text for text, holds in remarks.items() if holds)


class ValueTables(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        depend_on(self.env, values)
        sections: list[nodes.Node] = []
        for subject, tables in SUBJECTS.items():
            section = nodes.section("", nodes.title(subject, subject), ids=[nodes.make_id(subject)])
            for table in tables:
                section += self.describe(table)
            sections.append(section)
        return sections

    def describe(self, table: Table) -> list[nodes.Node]:
        name = public_name(table.classes[0])
        title = nodes.rubric("", "", nodes.literal(name, name), ids=[nodes.make_id(name)])
        more = [public_name(cls) for cls in table.classes[1:]]
        found: list[nodes.Node] = [title]
        if more:
            found.append(nodes.paragraph("", f"Also for {', '.join(more)}."))
        if table.scalar is not None:
            found.append(nodes.paragraph("", f"One value: {kind_name(table.scalar)}."))
            return found
        rows = [
            nodes.row(
                "", cell(nodes.literal("", field.name)), cell(kind_name(field.kind)), cell(remark(field))
            )
            for field in table.fields
        ]
        head = nodes.thead("", nodes.row("", *(cell(text) for text in ("Name", "Kind", "Remarks"))))
        columns = (nodes.colspec(colwidth=width) for width in (34, 30, 36))
        group = nodes.tgroup("", *columns, head, nodes.tbody("", *rows), cols=3)
        return [*found, nodes.table("", group, classes=["values", "stacked", "colwidths-given"])]


class RefusedValues(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        depend_on(self.env, values)
        items = [
            nodes.list_item(
                "", nodes.paragraph("", "", nodes.literal("", public_name(cls)), nodes.Text(f": {text}"))
            )
            for cls, text in REFUSED.items()
        ]
        return [nodes.bullet_list("", *items)]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("valuetables", ValueTables)
    app.add_directive("refusedvalues", RefusedValues)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
