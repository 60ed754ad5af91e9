"""The tables of bounds on the security page, and the figures of the guides beside them."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from docutils import nodes
from sphinx import addnodes

from discord_tools.ipc import ServerLimits
from discord_tools.ipc.transports import websocket
from discord_tools.ipc.wire import codec
from discord_tools.ipc_server import (
    admission,
    brake,
    budget,
    encoding,
    event_bounds,
    events,
    filters,
    turns,
    watchdog,
)
from equipment.checkout import ROOT
from test_docs.blocks import doctree

#: Where constants bound what clients can cause, below ``discord_tools``.
MODULES = (
    *("ipc.connection", "ipc.logs", "ipc.transports.websocket"),
    *("ipc.wire.codec", "ipc.wire.handshake", "ipc.wire.jsonrpc", "ipc.wire.peer"),
    *("ipc_server.admission", "ipc_server.brake", "ipc_server.budget", "ipc_server.connections"),
    *("ipc_server.conversation", "ipc_server.conversations", "ipc_server.events"),
    *("ipc_server.event_bounds", "ipc_server.event_table", "ipc_server.filters", "ipc_server.topics"),
    *("ipc_server.cooldowns", "ipc_server.failures", "ipc_server.nearest", "ipc_server.request"),
    *("ipc_server.access", "ipc_server.gate", "ipc_server.keys", "ipc_server.tickets"),
    *("ipc.wire.users", "ipc_server.audience", "ipc_server.judge", "ipc_server.tokens"),
    *("ipc_server.listeners.http", "ipc_server.turns"),
    *("ipc.tls", "ipc_server.listeners.proxies", "ipc_server.listeners.tls"),
    *("ipc_server.dialects.calls", "ipc_server.dialects.http", "ipc_server.dialects.jsonrpc"),
    *("ipc_server.dialects.listener", "ipc_server.dialects.multicast", "ipc_server.dialects.service"),
    *("ipc_server.dialects.websocket", "ipc_server.failure_log", "ipc_server.signature"),
    *("ipc_server.values.encoder", "ipc_server.values.sizes", "ipc_server.values.selecting"),
    "ipc_server.parameters.custom",
    *("ipc_server.parameters.binding", "ipc_server.parameters.faults", "ipc_server.parameters.fetching"),
)

#: Numbers in these modules that are no bounds, with what they are.
OTHERS = {
    "ipc.transports.websocket.CLOSE_TIMEOUT": "a default that sessions replace",
    "ipc.wire.peer.ACK_BYTES": "how often this side acknowledges",
    "ipc.wire.peer.ACK_MESSAGES": "the same in messages",
    "ipc_server.admission.FEW_BYTES": "which data needs no count, for speed",
    "ipc_server.connections.SWEEP_AT": "when a list is tidied",
    "ipc_server.values.sizes.LEVELS": "how deep a faster look at answers goes",
    "ipc_server.values.sizes.OBJECT": "what an object of Discord counts in another bound",
    "ipc_server.values.sizes.WIDE": "which answers get that faster look",
    "ServerLimits.grace_period": "the end of the server, which no client causes",
}


def numbers() -> set[str]:
    """Constants of the modules, and settings."""
    found = {f"ServerLimits.{field.name}" for field in fields(ServerLimits)}
    for path in MODULES:
        module = importlib.import_module(f"discord_tools.{path}")
        source = Path(str(module.__file__)).read_text("utf-8")
        for name in re.findall(r"^([A-Z][A-Z0-9_]*)(?:: Final)? = ", source, re.MULTILINE):
            if isinstance(getattr(module, name), int | float):
                found.add(f"{path}.{name}")
    return found


@pytest.fixture(scope="module")
def rows(doctrees: Path) -> list[tuple[str, str, list[str]]]:
    """Value, text and names of each row."""
    found: list[tuple[str, str, list[str]]] = []
    for table in doctree(doctrees, "guides/security").findall(nodes.table):
        if "bounds" not in table["classes"]:
            continue
        body = table.next_node(nodes.tbody)
        assert body is not None
        for row in body.children:
            value, text, name = (cell.astext() for cell in row.children)
            link = row.next_node(addnodes.pending_xref) if "ServerLimits" in name else None
            names, _, module = name.partition(" in ")
            paths = [name] if link is not None else [f"{module}.{one}" for one in names.split(", ")]
            found.append((value, " ".join(text.split()), paths))
    return found


def test_every_bound_is_in_one_table(rows: list[tuple[str, str, list[str]]]) -> None:
    shown = Counter(name for _, _, names in rows for name in names)
    assert max(shown.values()) == 1
    assert not numbers() - set(shown) - set(OTHERS), "add them to docs/guides/security.rst, or to OTHERS here"
    assert not set(OTHERS) - numbers(), "remove them from OTHERS"
    assert not set(OTHERS) & set(shown)


def test_each_row_says_what_the_value_is(rows: list[tuple[str, str, list[str]]]) -> None:
    for value, text, names in rows:
        assert re.fullmatch(r"[\d.]+( (s|KiB|MiB|bytes|%))?(, [\d.]+( (s|KiB|MiB))?)*", value), names
        assert len(text) > 20, names
    by_name = {name: value for value, _, names in rows for name in names}
    assert by_name["ipc.wire.codec.MAX_PACK_BYTES"] == "512 KiB"
    assert by_name["ServerLimits.total_bytes"] == "64 MiB"
    assert by_name["ServerLimits.handshake_timeout"] == "5 s"
    assert by_name["ipc_server.connections.FILES_SHARE"] == "50 %"
    assert by_name["ipc_server.connections.NEW"] == "512, 256"


def test_the_figures_of_the_guides_are_those_of_the_code() -> None:
    assert (brake.FREE, brake.REFUSED, brake.FORGOTTEN_AFTER) == (5, 40, 60)
    assert (brake.FIRST_DELAY, brake.LONGEST_DELAY) == (0.05, 2)
    assert (filters.MAX_VALUES, event_bounds.MAX_CLIENT_VALUES) == (1024, 16384)
    assert (events.MAX_EVENTS, event_bounds.MAX_NAMES, events.MAX_TOPICS) == (256, 8192, 16384)
    assert (encoding.LARGE, encoding.SLICE, turns.ITEMS_PER_TURN) == (256, 32, 64)
    assert (admission.SMALL_BYTES, admission.VALUE_BYTES, admission.FEW_CALLS) == (4 * 1024, 64, 16)
    assert (turns.TURN_BYTES, turns.LARGE_BYTES) == (256 * 1024, 32 * 1024)
    assert (codec.MAX_VALUES, websocket.REPORT_BYTES, budget.STALLED) == (100_000, 256 * 1024, 2)
    assert watchdog.THRESHOLD == 0.5
    # What an idle client costs is measured.
    measured = (ROOT / "docs/_static/benchmark.md").read_text("utf-8")
    (kib,) = re.findall(r"and ([\d.]+) KiB of memory each", measured)
    assert round(float(kib)) == 18
