"""Tables of events of discord.py, made from the table that the server has.

``.. eventtable:: messages`` has the events whose first group is this, with their data and the ids that filters compare.
Below it stand the events of other groups that belong to it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from tableparts import cell, depend_on

from discord_tools.ipc_server import event_table
from discord_tools.ipc_server.event_table import EVENTS, GROUPS, KEYS, EventSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx

PAGES = "https://discordpy.readthedocs.io/en/stable/"

NEEDS = {
    "": "",
    "commands": "commands.Bot",
    "shards": "a sharded client",
    "enable_debug_events": "enable_debug_events=True",
    "enable_raw_presences": "enable_raw_presences=True",
}


class EventTable(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        group = self.arguments[0]
        if group not in GROUPS:
            raise self.error(f"there is no group of events {group}")
        depend_on(self.env, event_table)
        own = [EVENTS[name] for name in GROUPS[group] if EVENTS[name].groups[0] == group]
        others = [name for name in GROUPS[group] if EVENTS[name].groups[0] != group]
        found: list[nodes.Node] = []
        if own:
            found.append(table(own))
        if others:
            text = nodes.paragraph("", "Also in this group: " if own else "In this group: ")
            for name in others:
                if name != others[0]:
                    text += nodes.Text(", ")
                text += nodes.literal(name, name)
            text += nodes.Text(".")
            found.append(text)
        return found


def table(events: Iterable[EventSpec]) -> nodes.table:
    head = row(*([nodes.Text(title)] for title in ("Event", "Data", "Ids for filters", "Needs")))
    body = nodes.tbody(
        "", *(row([link(one)], data(one), literals(ids(one)), literals(needs(one))) for one in events)
    )
    columns = (nodes.colspec(colwidth=width) for width in (27, 28, 25, 20))
    group = nodes.tgroup("", *columns, nodes.thead("", head), body, cols=4)
    return nodes.table("", group, classes=["events", "stacked", "colwidths-given"])


def link(event: EventSpec) -> nodes.Node:
    part, module = ("ext/commands/", "ext.commands.") if event.needs == "commands" else ("", "")
    where = f"{PAGES}{part}api.html#discord.{module}on_{event.name}"
    return nodes.reference("", "", nodes.literal(event.name, event.name), refuri=where)


def data(event: EventSpec) -> list[nodes.Node]:
    members = event.members()
    if not members:
        return literals(event.arguments.values()) or [nodes.Text("an empty object")]
    found: list[nodes.Node] = []
    for name, kind in members.items():
        if found:
            found.append(nodes.Text(", "))
        found.append(nodes.literal(name, name))
        if kind and kind != "snowflake":
            found.append(nodes.Text(f" ({kind})"))
    return found


def ids(event: EventSpec) -> list[str]:
    return [key for key in KEYS if key in event.paths]


def needs(event: EventSpec) -> list[str]:
    intents = [one.replace("|", " or ") for one in event.intents]
    return [*intents, NEEDS[event.needs]] if event.needs else intents


def literals(texts: Iterable[str]) -> list[nodes.Node]:
    found: list[nodes.Node] = []
    for text in texts:
        if found:
            found.append(nodes.Text(", "))
        found.append(nodes.literal(text, text))
    return found


def row(*cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(cell(*contents) for contents in cells))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("eventtable", EventTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
