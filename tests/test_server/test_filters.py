"""What filters may have in them, and what they match."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from discord_tools.ipc import BadData
from discord_tools.ipc_server.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, Filter, values_at
from discord_tools.ipc_server.topics import Published, checked_keys


def published(data: Any, *, whole: bool = False, **keys: Any) -> Published:
    event = Published("event", checked_keys(**keys), whole)
    event.raw = msgspec.json.encode(data)
    return event


def matches(wanted: dict[str, Any], data: Any, **more: Any) -> bool:
    return Filter(wanted).matches(published(data, **more))


@pytest.mark.parametrize(
    ("wanted", "data", "expected"),
    ids=repr,
    argvalues=[
        (1, 1, True),
        (1, "1", True),
        ("1", 1, True),
        (1, 1.0, True),
        (1.5, "1.5", True),
        (1, True, False),
        ("True", True, False),
        (True, True, True),
        (False, 0, False),
        (None, None, True),
        ("None", None, False),
        ([1, "x"], "x", True),
        ([], 1, False),
        ("x", ["a", "x"], True),
        ("x", ["a"], False),
        ("x", {"x": 1}, False),
        (2**63, str(2**63), True),
    ],
)
def test_values_are_compared_as_text_except_booleans_and_null(wanted: Any, data: Any, expected: bool) -> None:
    assert matches({"n": wanted}, {"n": data}) is expected


def test_a_member_that_is_missing_matches_nothing_not_even_null() -> None:
    assert not matches({"n": None}, {})
    assert not matches({"n.m": 1}, {"n": 1})
    assert not matches({"n": 1}, "text")
    assert not matches({"n": 1}, None)


def test_all_conditions_have_to_match() -> None:
    assert matches({"a": 1, "b.c": 2}, {"a": 1, "b": {"c": 2}})
    assert not matches({"a": 1, "b.c": 2}, {"a": 1, "b": {"c": 3}})


def test_paths_go_through_arrays() -> None:
    data = [{"author": {"id": "1"}}, {"author": {"id": "2"}}, 5]
    assert values_at(data, ("author", "id")) == ["1", "2"]
    assert matches({"author.id": 2}, data)
    assert matches({"roles": 7}, {"roles": ["6", "7"]})


def test_ids_beside_the_data_come_before_its_members() -> None:
    assert matches({"guild_id": 1}, {"guild_id": "2"}, guild_id=1)
    assert not matches({"guild_id": 2}, {"guild_id": "2"}, guild_id=1)
    assert matches({"guild_id": 2}, {"guild_id": "2"}, channel_id=1)


def test_members_do_not_count_where_all_ids_are_beside_the_data() -> None:
    assert not matches({"guild_id": 2}, {"guild_id": "2"}, whole=True)
    assert matches({"n": 2}, {"n": 2}, whole=True)


def test_one_of_several_ids_is_enough() -> None:
    assert matches({"message_id": 5}, None, message_id=[4, "5"])
    assert matches({"message_id": [5, 9]}, None, message_id={4, 5})
    assert not matches({"message_id": 6}, None, message_id=(4, 5))


def test_what_is_not_known_of_an_event_without_data_may_match() -> None:
    event = Published("event", checked_keys(guild_id=1), False)
    assert Filter({"guild_id": 1, "n": 5}).matches(event)
    assert not Filter({"guild_id": 2, "n": 5}).matches(event)


@pytest.mark.parametrize("bad", [True, 1.5, b"1", object(), [1, None], {"id": 1}, [[1]]])
def test_ids_of_other_types_are_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match="guild_id must be an id"):
        checked_keys(guild_id=bad)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({f"n{n}": 1 for n in range(MAX_CONDITIONS + 1)}, str(MAX_CONDITIONS)),
        ({"n": list(range(MAX_VALUES + 1))}, str(MAX_VALUES)),
        ({"a": list(range(MAX_VALUES)), "b": 1}, str(MAX_VALUES)),
        ({".".join("x" * (MAX_DEPTH + 1)): 1}, str(MAX_DEPTH)),
        ({"": 1}, "empty name"),
        ({"a..b": 1}, "'a..b'"),
        ({"n": {"m": 1}}, "'n'"),
        ({"n": [1, [2]]}, "'n'"),
        ({"n" * 10_000: {}}, "n{100}'"),
    ],
)
def test_filters_are_bounded_and_a_fault_is_named(wanted: dict[str, Any], text: str) -> None:
    with pytest.raises(BadData, match=text) as caught:
        Filter(wanted)
    assert len(str(caught.value)) < 300


def test_filters_at_their_bounds_are_accepted() -> None:
    Filter({f"n{n}": 1 for n in range(MAX_CONDITIONS)})
    Filter({"n": list(range(MAX_VALUES))})
    Filter({".".join("x" * MAX_DEPTH): 1})


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"n": 1, "guild_id": [1, 2]}, "guild_id"),
        ({"guild_id": 1, "channel_id": 1, "user_id": 1, "message_id": [1, 2]}, "message_id"),
        ({"guild_id": 1, "user_id": 1}, "user_id"),
        ({"a": [1, 2], "b": 1}, "b"),
    ],
)
def test_subscribers_are_indexed_by_the_most_selective_condition(wanted: dict[str, Any], path: str) -> None:
    assert Filter(wanted).path == path
