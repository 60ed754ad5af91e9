"""The reference page against the code, and against the reference that this project reproduces."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from docutils import nodes
from sphinx import addnodes
from sphinx.ext.viewcode import viewcode_anchor

from discord_tools import ipc
from test_docs.blocks import doctree

PUBLIC = sorted(name for name in ipc.__all__ if name != "__version__")
EXCEPTIONS = [
    name
    for name in PUBLIC
    if isinstance(getattr(ipc, name), type) and issubclass(getattr(ipc, name), Exception)
]

# As the reference prints them. What an open one goes on with is keyword-only.
SIGNATURES = {
    "ClientSession": (
        "class discord_tools.ipc.ClientSession(host='localhost', port=..., multicast_port=20000, "
        "secret_key=..., *, session=..."
    ),
    "Server": (
        "class discord_tools.ipc.Server(client, host='localhost', port=8000, secret_key=..., "
        "multicast=True, multicast_port=20000"
    ),
    "Request": "class discord_tools.ipc.Request(data, ws, endpoint, headers, loop)",
    "Request.keys": "keys()",
    "Request.values": "values()",
    "Request.items": "items()",
    "ClientSession.resolved_port": "property resolved_port",
    "Server.secret_key": "property secret_key",
    "on_raw_ipc_request": "discord_tools.ipc.on_raw_ipc_request(request)",
    "on_ipc_request_completion": "discord_tools.ipc.on_ipc_request_completion(request)",
    # The reference shows these in its tables only, without their parameters.
    "ClientSession.request": "async request(",
    "Server.terminate_server": "async terminate_server(",
    "Server.route": "@route(",
}
TABLES = {
    "ClientSession": {("async", "request")},
    "Server": {("@", "route"), ("async", "terminate_server")},
    "Request": {("def", "keys"), ("def", "values"), ("def", "items")},
}
HEADINGS = [
    *("Models", "ClientSession", "Server", "Request", "Route"),
    *("Functions", "Event Reference", "Exceptions", "Settings"),
]
EVENTS = ["on_raw_ipc_request", "on_ipc_request_completion", "on_ipc_ready", "on_ipc_error", "on_ipc_audit"]
#: Public names that are not in the package itself, with their modules.
ELSEWHERE = {
    "MemoryConnector": "discord_tools.ipc.connectors.memory",
    "client_context": "discord_tools.ipc.tls",
    "server_context": "discord_tools.ipc.tls",
}
OPERATIONS = {"ClientSession": ["async with x"], "Request": ["for ... in x"]}


@pytest.fixture(scope="module")
def page(doctrees: Path) -> nodes.document:
    return doctree(doctrees, "api")


def descriptions(page: nodes.document) -> dict[str, addnodes.desc_signature]:
    """Everything that the page describes, in its order."""
    return {each["fullname"]: each for each in page.findall(addnodes.desc_signature) if "fullname" in each}


def test_the_page_documents_exactly_the_public_names(page: nodes.document) -> None:
    described = {name: each["module"] for name, each in descriptions(page).items() if "." not in name}
    elsewhere = {name: described.pop(name) for name in ELSEWHERE}
    assert elsewhere == ELSEWHERE
    assert set(described.values()) == {"discord_tools.ipc"}
    assert sorted(set(described) - set(EVENTS)) == PUBLIC


def test_the_page_keeps_the_order_of_the_reference(page: nodes.document) -> None:
    titles = [title.astext() for title in page.findall(nodes.title)]
    assert titles[0] == "IPC Server Tools"
    assert [title for title in titles if title in HEADINGS] == HEADINGS
    assert [name for name in descriptions(page) if name.startswith("on_")] == EVENTS


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signature_is_the_one_of_the_reference(page: nodes.document, name: str) -> None:
    shown = descriptions(page)[name].astext().removesuffix("[source]")
    expected = SIGNATURES[name]
    if expected.endswith((")", name.rpartition(".")[2])):
        assert shown == expected
    else:
        assert shown.startswith(expected if expected.endswith("(") else f"{expected}, ")


def test_what_the_reference_does_not_have_is_keyword_only() -> None:
    for cls, last in (
        (ipc.ClientSession, "secret_key"),
        (ipc.Server, "multicast_port"),
        (ipc.Request, "loop"),
    ):
        parameters = list(inspect.signature(cls).parameters.values())
        position = [each.name for each in parameters].index(last) + 1
        assert all(each.kind is each.KEYWORD_ONLY for each in parameters[position:])


@pytest.mark.parametrize("name", TABLES)
def test_the_table_of_a_class_has_a_badge_for_each_method(page: nodes.document, name: str) -> None:
    tables = [each for each in page.findall(nodes.container) if "attributetable" in each["classes"]]
    rows: set[tuple[str, str]] = set()
    for badge in (badge for table in tables for badge in table.findall(nodes.abbreviation)):
        link = badge.parent.next_node(addnodes.pending_xref)
        assert link is not None
        owner, _, method = link["reftarget"].removeprefix("discord_tools.ipc.").partition(".")
        if owner == name:
            rows.add((badge.astext(), method))
    assert rows >= TABLES[name]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_operations_of_the_reference_are_described(page: nodes.document, name: str) -> None:
    description = descriptions(page)[name].parent
    boxes = [each for each in description.findall(nodes.container) if "operations" in each["classes"]]
    shown = [each.astext() for box in boxes for each in box.findall(addnodes.desc_signature)]
    assert set(OPERATIONS[name]) <= set(shown)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_docstring_says_since_when(name: str) -> None:
    assert ".. versionadded:: 1." in (inspect.getdoc(getattr(ipc, name)) or "")


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_says_since_when(page: nodes.document, name: str) -> None:
    added = [each["version"] for each in descriptions(page)[name].parent.findall(addnodes.versionmodified)]
    assert added == ["1.2" if name == "on_ipc_audit" else "1.0"]


def test_the_tree_of_exceptions_is_the_one_in_the_code(page: nodes.document) -> None:
    section = next(each for each in page.findall(nodes.section) if "exceptions" in each["ids"])
    shown: dict[str, str] = {}

    def walk(items: nodes.bullet_list, parent: str) -> None:
        for item in items.children:
            name = item[0].astext()
            shown[name] = parent
            for below in item.findall(nodes.bullet_list):
                if below.parent is item:
                    walk(below, name)

    top = section.next_node(nodes.bullet_list)
    assert top is not None
    walk(top, "")
    shown.pop("Exception")
    assert shown == {name: getattr(ipc, name).__mro__[1].__name__ for name in EXCEPTIONS}


def test_every_class_and_function_links_to_its_source(page: nodes.document) -> None:
    described = descriptions(page)
    for name in PUBLIC:
        assert described[name].next_node(viewcode_anchor) is not None, name
