"""Scopes: how they are written, and which callers may use what."""

from __future__ import annotations

import re
from typing import Any

import pytest

from discord_tools.ipc_server.access import (
    MAX_SCOPES,
    NAME_CHARS,
    EventScopes,
    checked_scopes,
    event_refusal,
    route_refusal,
)
from discord_tools.ipc_server.caller import Caller
from test_server.tools import CALLER, caller

READ = frozenset({"read"})


def status(scopes: frozenset[str] = READ) -> Caller:
    """The caller of a key with scopes."""
    return caller(key="status", scopes=scopes)


@pytest.mark.parametrize("scopes", [["read", "moderate"], {"read", "moderate"}, ("read", "moderate", "read")])
def test_scopes_are_any_collection_of_names(scopes: Any) -> None:
    assert checked_scopes(scopes, "here") == {"read", "moderate"}
    assert checked_scopes(iter(scopes), "here") == {"read", "moderate"}


def test_no_scopes_differ_from_scopes_that_were_not_given() -> None:
    assert checked_scopes((), "here") == frozenset()
    assert checked_scopes(None, "here") is None


@pytest.mark.parametrize(
    ("scopes", "text"),
    [
        ("read", "here: scopes must be a collection of strings, not one string: ['read']"),
        (b"read", "here: scopes must be a collection of strings, not one string: [b'read']"),
        (5, "here: scopes must be a collection of strings, not 5"),
        ([5], "here: a scope must be a str, not 5"),
        ([None], "here: a scope must be a str, not None"),
        ([["read"]], "here: a scope must be a str, not ['read']"),
    ],
)
def test_scopes_of_another_type_are_refused(scopes: Any, text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        checked_scopes(scopes, "here")


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        ("", "must have 1 to 100 characters, not 0"),
        ("x" * (NAME_CHARS + 1), "must have 1 to 100 characters, not 101"),
        (" read", "must not begin or end with white space nor hold control characters: ' read'"),
        ("re\nad", r"must not begin or end with white space nor hold control characters: 're\nad'"),
        ("*", "there is no scope '*'. A key without scopes opens everything"),
    ],
)
def test_a_scope_with_a_name_that_cannot_be_used_is_refused(scope: str, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        checked_scopes(["read", scope], "here")


@pytest.mark.parametrize("scopes", [frozenset[str](), READ])
def test_a_key_without_scopes_opens_every_route(scopes: frozenset[str]) -> None:
    assert CALLER.opens(scopes)
    assert event_refusal(CALLER, ["event"], {"event": scopes}) is None


def test_a_key_with_scopes_opens_a_route_that_names_one_of_them() -> None:
    assert status().opens(READ | {"moderate"})
    assert status(READ | {"write"}).opens(READ)
    assert not status().opens(frozenset({"write"}))


def test_a_route_with_other_scopes_is_refused_with_the_names_of_these() -> None:
    refusal = route_refusal(status(), frozenset({"write", "moderate"}))
    assert refusal.message == (
        "this route needs the scope 'moderate' or 'write', which the key 'status' does not have"
    )
    assert refusal.scopes == ["moderate", "write"]


@pytest.mark.parametrize("scopes", [READ, frozenset[str]()])
def test_a_route_without_scopes_is_closed_to_keys_with_scopes(scopes: frozenset[str]) -> None:
    assert not status(scopes).opens(frozenset())
    refusal = route_refusal(status(scopes), frozenset())
    assert refusal.message == (
        "this route names no scope, so it is closed to keys with scopes, such as 'status'"
    )
    assert refusal.scopes == []


def test_a_key_with_no_scope_at_all_opens_nothing() -> None:
    assert not status(frozenset()).opens(READ)


def test_a_subscription_with_one_event_that_the_key_does_not_open_is_refused() -> None:
    scopes = {"open": READ, "closed": frozenset({"moderate"})}
    assert event_refusal(status(), ["open"], scopes) is None
    refusal = event_refusal(status(), ["open", "closed", "unknown"], scopes)
    assert refusal is not None
    assert refusal.message == (
        "the event 'closed' needs the scope 'moderate', which the key 'status' does not have; so it is with 'unknown'"
    )
    assert refusal.scopes == ["moderate"]


def test_scopes_of_single_events_are_remembered_up_to_a_bound() -> None:
    scopes = EventScopes()
    scopes.declare(["event"], READ)
    for number in range(2 * MAX_SCOPES):
        scopes.remember("event", frozenset({f"scope {number}"}))
    assert len(scopes.opened["event"]) == MAX_SCOPES
    assert scopes.declared == {"event": READ}


def test_the_error_for_many_long_names_of_events_is_short() -> None:
    refusal = event_refusal(status(), ["x" * 10_000 + str(n) for n in range(256)], {})
    assert refusal is not None
    assert len(refusal.message) < 1200
