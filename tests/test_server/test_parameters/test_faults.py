"""Faults are listed with their places, in a bounded size."""

from __future__ import annotations

import json
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, UnknownObject, Violation
from discord_tools.ipc_server.parameters import binding
from discord_tools.ipc_server.parameters.faults import MAX_FAULTS, bad_data, path_text, shown
from test_server.test_parameters.calls import bind, signature_for


def test_a_place_is_written_as_in_the_data() -> None:
    assert path_text("it") == "it"
    assert path_text(((("it", "roles"), 2), "id")) == "it.roles[2].id"
    assert path_text(("it", "x" * 1000)) == "it." + "x" * 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (10**1000, "a number of 3322 bits"),
        (1.5, "1.5"),
        ("a", "'a'"),
        ("\x1b[31m\n", r"'\x1b[31m\n'"),
        ("a" * 150, f"'{'a' * 100}' and 50 more characters"),
        ([[]] * 1000, "an array"),
        ({"a": 1}, "an object"),
    ],
)
def test_a_value_is_shown_in_a_short_text(value: Any, text: str) -> None:
    assert shown(value) == text


def test_the_text_of_bad_data_says_how_many_faults_there_are() -> None:
    violations = [Violation(path=f"it[{n}]", message="no") for n in range(150)]
    error = bad_data(violations)
    assert error.message == "bad data: it[0]: no; it[1]: no; it[2]: no; it[3]: no; it[4]: no; 145 more faults"
    assert len(error.errors) == MAX_FAULTS


def test_unknown_objects_alone_are_an_error_of_their_own() -> None:
    unknown = Violation(path="it", message="no", kind="Role", id="5")
    assert type(bad_data([unknown, unknown])) is UnknownObject
    assert type(bad_data([unknown, Violation(path="it", message="no")])) is BadData


def test_many_large_wrong_values_make_a_small_error() -> None:
    with pytest.raises(BadData) as caught:
        bind(signature_for(list[discord.Object]), it=["x" * 1000] * 5000)
    assert len(json.dumps(caught.value.data)) < 50_000


async def test_faults_beyond_those_that_are_listed_are_counted_and_make_no_unknown_object_of_bad_data(
    loopback_bot: commands.Bot,
) -> None:
    signature = signature_for(list[discord.Role])
    with pytest.raises(UnknownObject, match="1795 more faults") as unknown:
        bind(signature, loopback_bot, it=["5"] * 1800)
    assert len(unknown.value.errors) == MAX_FAULTS
    with pytest.raises(BadData, match="1796 more faults") as bad:
        bind(signature, loopback_bot, it=[*["5"] * 1800, "no id"])
    assert type(bad.value) is BadData


def test_a_fault_beyond_those_that_are_listed_costs_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    def counting(path: Any) -> str:
        written.append(path)
        return path_text(path)

    monkeypatch.setattr(binding, "path_text", counting)
    with pytest.raises(BadData):
        bind(signature_for(list[discord.Role]), it=["no id"] * 1800)
    assert len(written) == MAX_FAULTS
