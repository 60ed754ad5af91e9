"""The index of subscribers: who is found for an event, and what is left of those that have ended."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from discord_tools.ipc import ServerLimits
from discord_tools.ipc_server import topics
from discord_tools.ipc_server.filters import Filter
from discord_tools.ipc_server.topics import Published, Topic, checked_keys


class Receiver:
    """A subscriber."""

    def __init__(self, **wanted: Any) -> None:
        self.filter = Filter(wanted) if wanted else None
        self.is_indexed = True

    def offer(self, event: Published) -> None: ...


def topic_of(*receivers: Receiver) -> Topic:
    topic = Topic(ServerLimits(), 0)
    for receiver in receivers:
        topic.join(receiver)
    return topic


def event(data: Any = None, **keys: Any) -> Published:
    published = Published("event", checked_keys(**keys), False)
    if data is not None:
        published.raw = msgspec.json.encode(data)
    return published


def test_an_event_reaches_those_that_want_it_and_those_that_want_everything() -> None:
    every, one, two, both = Receiver(), Receiver(guild_id=1), Receiver(guild_id=2), Receiver(guild_id=[1, 2])
    topic = topic_of(every, one, two, both)
    assert topic.receivers(event(guild_id=1)) == [every, one, both]
    assert topic.receivers(event(guild_id=3)) == [every]
    assert topic.receivers(event(guild_id=[1, 2])) == [every, one, both, two]


def test_without_a_subscriber_that_wants_it_an_event_has_no_receivers() -> None:
    topic = topic_of(Receiver(guild_id=1))
    assert topic.receivers(event(guild_id=2)) is None


def test_ids_decide_without_the_data_only_if_all_that_are_filtered_on_are_known() -> None:
    topic = topic_of(Receiver(guild_id=1), Receiver(channel_id=1))
    assert not topic.is_decided_by_keys(event(guild_id=2))
    assert topic.is_decided_by_keys(event(guild_id=2, channel_id=2))
    topic.join(Receiver(n=1))
    assert not topic.is_decided_by_keys(event(guild_id=2, channel_id=2))


def test_the_lookups_for_an_event_do_not_grow_with_the_subscribers() -> None:
    looked_up = 0

    class Counted(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            nonlocal looked_up
            looked_up += 1
            return super().get(key, default)

    def lookups(subscribers: int) -> int:
        nonlocal looked_up
        topic = topic_of(*(Receiver(guild_id=guild) for guild in range(subscribers)))
        topic.index["guild_id"] = Counted(topic.index["guild_id"])
        looked_up = 0
        assert len(topic.receivers(event(guild_id=0)) or ()) == 1
        return looked_up

    assert lookups(1000) == lookups(1) == 1


def test_what_has_ended_leaves_nothing_once_its_time_is_over() -> None:
    one, two = Receiver(guild_id=[1, 2]), Receiver(guild_id=2)
    topic = topic_of(one, two)
    assert topic.leave(one, 10.0) == ("guild_id", ["1"])
    topic.expire("guild_id", ["1"], 9.0)
    assert set(topic.index["guild_id"]) == {"1", "2"}
    topic.expire("guild_id", ["1"], 10.0)
    assert set(topic.index["guild_id"]) == {"2"}
    assert topic.leave(two, 20.0) == ("guild_id", ["2"])
    topic.expire("guild_id", ["2"], 20.0)
    assert topic.index == {}
    assert topic.is_idle


def test_a_subscriber_that_is_back_is_not_forgotten_with_its_former_self() -> None:
    one = Receiver(guild_id=1)
    topic = topic_of(one)
    topic.leave(one, 10.0)
    topic.join(one)
    topic.expire("guild_id", ["1"], 10.0)
    assert topic.receivers(event(guild_id=1)) == [one]


def test_a_filter_that_wants_no_value_leaves_nothing() -> None:
    never = Receiver(guild_id=[])
    topic = topic_of(never)
    assert topic.index == {}
    topic.leave(never, 0.0)
    assert topic.is_idle


def test_after_a_filter_on_the_data_all_events_are_kept_and_no_value_of_it() -> None:
    one = Receiver(n=[1, 2])
    topic = topic_of(one)
    assert topic.leave(one, time.monotonic() + 60) == ("n", [])
    assert topic.index == {}
    assert topic.is_kept
    assert topic.receivers(event({"n": 5})) == []


def test_data_is_decoded_once_for_all_filters_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def decode(raw: bytes) -> Any:
        decoded.append(raw)
        return msgspec.json.decode(raw)

    monkeypatch.setattr(topics, "_decode", decode)
    receivers = [Receiver(**{"a.b": 1, "c": number}) for number in range(10)]
    topic, published = topic_of(*receivers), event({"a": {"b": 1}, "c": 3})
    assert topic.receivers(published) is not None
    assert [receiver for receiver in receivers if receiver.filter and receiver.filter.matches(published)] == [
        receivers[3]
    ]
    assert len(decoded) == 1
    published.tidy()
    assert published._found is None  # pyright: ignore[reportPrivateUsage]


def test_a_subscriber_that_is_not_indexed_is_compared() -> None:
    wide, narrow = Receiver(guild_id=[1, 2]), Receiver(guild_id=3)
    wide.is_indexed = False
    topic = topic_of(wide, narrow)
    assert topic.receivers(event(guild_id=2)) == [wide]
    assert topic.receivers(event(guild_id=4)) is None
    assert topic.is_decided_by_keys(event(guild_id=2))
    assert not topic.is_decided_by_keys(event(channel_id=2))
    assert topic.leave(wide, time.monotonic() + 60) == ("", ())
    assert topic.is_kept


def test_data_decides_for_a_subscriber_that_is_compared() -> None:
    wide = Receiver(guild_id=1, n=2)
    wide.is_indexed = False
    topic = topic_of(wide)
    assert not topic.is_decided_by_keys(event(guild_id=1))
    assert topic.receivers(event({"n": 2}, guild_id=1)) == [wide]
    assert topic.receivers(event({"n": 3}, guild_id=1)) is None
