"""The table of events against discord.py: its documentation, and what it dispatches."""

from __future__ import annotations

import ast
import re
import zlib
from functools import cache
from pathlib import Path

import discord
from discord.ext import commands

from discord_tools.ipc_server.event_table import (
    EVENTS,
    GROUPS,
    KEYS,
    LONGEST_TYPO,
    EventSpec,
    events_of,
    nearest,
)

PACKAGE = Path(discord.__file__).parent

#: Parts of discord.py. Other distributions put packages into discord.ext.
PARTS = ("*.py", "app_commands/*.py", "ext/commands/*.py", "ui/*.py")

INVENTORY = Path(__file__).parents[3] / "docs" / "inventories" / "discord.inv"

#: The one event that is not dispatched: discord.py calls its handler directly.
CALLED = {"error"}


@cache
def dispatched() -> dict[str, set[int]]:
    """Names of events that discord.py dispatches, with the numbers of arguments that it passes."""
    found: dict[str, set[int]] = {}
    for path in (path for part in PARTS for path in sorted(PACKAGE.glob(part))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and called_name(node.func) in ("dispatch", "_dispatch")
                and node.args
            ):
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    found.setdefault(str(name.value), set()).add(len(node.args) - 1)
    return found


def called_name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def documented() -> set[str]:
    """Names of events in the documentation of an earlier discord.py, whose inventory is at hand."""
    text = zlib.decompress(INVENTORY.read_bytes().split(b"zlib.\n", 1)[1]).decode()
    return set(re.findall(r"^discord\.(?:ext\.commands\.)?on_(\w+) py:function", text, re.MULTILINE))


def test_the_table_has_the_events_that_discord_py_dispatches_and_no_others() -> None:
    assert EVENTS.keys() == dispatched().keys() | CALLED


def test_the_table_has_the_events_that_are_documented() -> None:
    assert len(documented()) > 80
    assert documented() <= EVENTS.keys()


def test_events_have_as_many_arguments_as_discord_py_passes() -> None:
    numbers = {name: {len(EVENTS[name].arguments)} for name in EVENTS.keys() - CALLED}
    assert numbers == {name: numbers for name, numbers in dispatched().items() if name in EVENTS}


def test_rows_refer_only_to_what_there_is() -> None:
    for spec in EVENTS.values():
        check_row(spec)


def check_row(spec: EventSpec) -> None:
    assert spec.paths.keys() <= set(KEYS)
    fields = [one if isinstance(one, str) else getattr(one, "path", "") for one in (spec.form or {}).values()]
    paths = [*(path for paths in spec.paths.values() for path in paths), *filter(None, fields)]
    assert {path.partition(".")[0] for path in paths} <= spec.arguments.keys()
    intents = {name for names in spec.intents for name in names.split("|")}
    assert intents <= discord.Intents.VALID_FLAGS.keys()
    assert spec.groups


def test_arguments_are_of_classes_that_discord_py_has() -> None:
    kinds = {kind for spec in EVENTS.values() for kind in spec.arguments.values()}
    names = {name for kind in kinds for name in re.findall(r"[A-Z]\w+", kind)}
    places = (discord, discord.abc, discord.app_commands, commands)
    known = {name for place in places for name in dir(place)} | {"None", "Exception"}
    assert names <= known


def test_no_group_has_the_name_of_an_event() -> None:
    assert not GROUPS.keys() & EVENTS.keys()
    assert {"messages", "members", "moderation", "*"} <= GROUPS.keys()


def test_a_name_stands_for_an_event_or_for_a_group() -> None:
    assert events_of("on_member_join") == events_of("member_join") == ("member_join",)
    assert events_of("polls") == (
        "poll_vote_add",
        "poll_vote_remove",
        "raw_poll_vote_add",
        "raw_poll_vote_remove",
    )
    assert events_of("on_polls") is None
    assert events_of("mesage") is None


def test_all_events_are_those_without_the_ones_for_debugging() -> None:
    left_out = EVENTS.keys() - set(events_of("*") or ())
    assert left_out == {"socket_event_type", "socket_raw_receive", "socket_raw_send"}


def test_the_nearest_name_of_a_long_one_is_not_searched() -> None:
    assert nearest("mesage", EVENTS) == "message"
    assert nearest("zzzzzzzz", EVENTS) is None
    long = "x" * LONGEST_TYPO
    assert nearest(long, [long]) == long
    assert nearest(long + "x", [long + "x"]) is None
