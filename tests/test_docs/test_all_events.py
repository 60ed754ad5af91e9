"""The page of all events, which is made from the table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from docutils import nodes

from discord_tools.ipc_server.event_table import EVENTS, GROUPS, KEYS
from test_docs.blocks import doctree


@pytest.fixture(scope="module")
def page(doctrees: Path) -> nodes.document:
    return doctree(doctrees, "guides/all-events")


def test_each_event_has_one_row_with_its_ids(page: nodes.document) -> None:
    rows = [row for body in page.findall(nodes.tbody) for row in body.findall(nodes.row)]
    cells = [[entry.astext() for entry in row.findall(nodes.entry)] for row in rows]
    assert Counter(name for name, *_ in cells) == Counter(EVENTS.keys())
    for name, data, ids, _ in cells:
        assert ids == ", ".join(key for key in KEYS if key in EVENTS[name].paths)
        assert data


def test_each_group_has_a_section_with_its_events(page: nodes.document) -> None:
    sections = {
        literal.astext(): section.astext()
        for section in page.findall(nodes.section)
        for literal in section.next_node(nodes.title).findall(nodes.literal)  # pyright: ignore[reportOptionalMemberAccess]
    }
    assert sections.keys() == GROUPS.keys() - {"*"}
    for group, text in sections.items():
        assert all(name in text for name in GROUPS[group])
