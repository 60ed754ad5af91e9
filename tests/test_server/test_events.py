"""Events without subscribers, bounds of subscriptions, and sequence numbers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, Overloaded, ServerLimits
from discord_tools.ipc.errors import RemoteError
from discord_tools.ipc.wire.events import Subscribe
from discord_tools.ipc.wire.received import ItemsReceived
from discord_tools.ipc_server import event_bounds, events
from discord_tools.ipc_server.event_bounds import (
    MAX_CLIENT_PLACES,
    MAX_CLIENT_VALUES,
    MAX_NAMES,
    MAX_PATHS,
    MAX_PLACES,
    MAX_WISH_BYTES,
    Share,
)
from discord_tools.ipc_server.event_table import Keys
from discord_tools.ipc_server.events import (
    MAX_EVENTS,
    MAX_LEFT,
    MAX_TOPICS,
    Hub,
    Subscriber,
)
from discord_tools.ipc_server.filters import MAX_CONDITIONS, MAX_VALUES
from equipment.until import until
from test_server.tools import Failed, NativeClient, memory_server, native_client


class Reader:
    """The call of a subscription: it takes every item."""

    takes = True
    largest = 2**20

    def __init__(self, *names: str, **wish: Any) -> None:
        self.params = msgspec.json.encode(Subscribe(list(names), **wish))
        self.items: list[Any] = []

    def push(self, item: bytes) -> None:
        self.items.append(msgspec.json.decode(item))

    def abort(self, error: RemoteError) -> None:
        raise error

    def begin(self, hub: Hub) -> Subscriber:
        subscriber = hub.subscribe(self)
        subscriber.begin()
        return subscriber

    @property
    def seqs(self) -> list[int]:
        """The sequence numbers of the events, without the confirmation."""
        return [item["seq"] for item in self.items[1:]]


class Unread:
    """Data that must not be encoded."""

    def __iter__(self) -> Any:
        raise AssertionError("it was encoded")


def topics(hub: Hub) -> int:
    return len(hub._topics)  # pyright: ignore[reportPrivateUsage]


# -- without a subscriber


def test_events_without_a_subscriber_are_neither_encoded_nor_kept_whatever_their_names() -> None:
    hub = Hub(ServerLimits())
    for number in range(10_000):
        hub.publish(f"event {number}", Unread())
    assert topics(hub) == 0


def test_a_name_that_never_had_an_event_is_dropped_with_its_last_subscriber() -> None:
    hub = Hub(ServerLimits())
    one, other = Reader("made up").begin(hub), Reader("made up").begin(hub)
    one.close()
    assert topics(hub) == 1
    other.close()
    assert topics(hub) == 0


def test_sequence_numbers_of_a_name_rise_although_nothing_is_kept_in_between() -> None:
    hub = Hub(ServerLimits())
    seen: list[int] = []
    for _ in range(5):
        reader = Reader("event")
        subscriber = reader.begin(hub)
        seen.append(reader.items[0]["seq"]["event"])
        subscriber.close()
        assert topics(hub) == 0
        hub.publish("event", 1)
        hub.publish("event", 2)
    reader = Reader("event")
    reader.begin(hub)
    hub.publish("event", 3)
    hub.publish("event", 4)
    assert seen == sorted(set(seen))
    assert reader.seqs[0] > seen[-1]
    assert reader.seqs[1] == reader.seqs[0] + 1


def test_a_reader_that_comes_back_after_its_name_was_dropped_learns_that_it_has_missed_events() -> None:
    hub = Hub(ServerLimits())
    reader = Reader("event")
    subscriber = reader.begin(hub)
    after = reader.items[0]["seq"]["event"]
    subscriber.close()
    for number in range(3):
        hub.publish("event", number)
    again = Reader("event", after={"event": after}, epoch=hub.epoch)
    again.begin(hub)
    assert [item["missed"] for item in again.items[1:]] == [3]


def test_events_are_not_kept_once_the_last_subscriber_has_left_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(events.time, "monotonic", lambda: now)
    limits = ServerLimits(event_replay_timeout=10.0)
    hub, reader = Hub(limits), Reader("event")
    subscriber = reader.begin(hub)
    hub.publish("event", 1)
    (seq,) = reader.seqs
    subscriber.close()
    now += 9.0
    hub.publish("event", 2)
    back = Reader("event", after={"event": seq})
    subscriber = back.begin(hub)
    assert [item["data"] for item in back.items[1:]] == [2]
    subscriber.close()
    now += 10.0
    hub.publish("event", Unread())
    late = Reader("event", after={"event": seq + 1})
    late.begin(hub)
    assert [(item["seq"], item["missed"]) for item in late.items[1:]] == [(seq + 2, 1)]


# -- bounds


def names(start: int, count: int = MAX_EVENTS) -> list[str]:
    return [f"name {start + n}" for n in range(count)]


def test_the_names_of_all_subscriptions_together_are_bounded() -> None:
    hub = Hub(ServerLimits())
    subscribers = [Reader(*names(start)).begin(hub) for start in range(0, MAX_TOPICS, MAX_EVENTS)]
    assert topics(hub) == MAX_TOPICS
    with pytest.raises(Overloaded, match=str(MAX_TOPICS)):
        Reader("one more").begin(hub)
    assert topics(hub) == MAX_TOPICS
    Reader(*names(0)).begin(hub).close()  # names that there are need no place
    subscribers[0].close()
    Reader("one more").begin(hub)


def test_similar_names_are_searched_for_as_often_as_the_work_allows() -> None:
    hub = Hub(ServerLimits())
    for number in range(500):
        hub.learn(f"guild_{number}_changed")
    answers = [hub.unknown([f"guild_{number}_chnged"]) for number in range(1000)]
    found = sum(answer[f"guild_{number}_chnged"] is not None for number, answer in enumerate(answers))
    assert 0 < found < 100


async def subscribe(native: NativeClient, start: int, count: int = MAX_EVENTS) -> None:
    """Subscribes to this number of names, and waits until that was confirmed."""
    before = len(native.events)
    answer = native.start_call("rpc.subscribe", {"events": names(start, count)}, credit=10)
    await until(lambda: answer.done() or len(native.events) > before)
    if answer.done():
        answer.result()
    assert isinstance(native.events[-1], ItemsReceived)


async def test_a_subscription_that_would_exceed_the_names_of_a_client_leaves_nothing(
    bot: commands.Bot,
) -> None:
    async with native_client(bot) as native:
        for start in range(0, MAX_NAMES - MAX_EVENTS, MAX_EVENTS):
            await subscribe(native, start)
        await subscribe(native, MAX_NAMES, MAX_EVENTS - 1)
        with pytest.raises(Failed, match=f"would have {MAX_NAMES + 1} names"):
            await subscribe(native, 2 * MAX_NAMES, 2)
        await subscribe(native, 2 * MAX_NAMES, 1)


async def test_the_names_of_all_subscriptions_of_one_client_are_bounded(bot: commands.Bot) -> None:
    async with native_client(bot) as native:
        for start in range(0, MAX_NAMES, MAX_EVENTS):
            await subscribe(native, start)
        with pytest.raises(Failed) as caught:
            await subscribe(native, MAX_NAMES, 1)
        assert caught.value.code == Overloaded.code
        assert native.conversation.has_calls is False
        other = native.server.connect()
        await other.hello()
        await subscribe(other, 0)
        assert await native.is_served()


async def test_subscriptions_that_have_ended_count_no_more(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        native = server.connect()
        await native.hello()
        for _ in range(2 * MAX_NAMES // MAX_EVENTS):
            answer = native.start_call("rpc.subscribe", {"events": names(0)}, credit=1)
            native.forget(answer)
        await subscribe(native, 0)


# -- filters


class Silent:
    """An event of discord.py whose data is made once, and counted."""

    name = "event"
    has_all_keys = True

    def __init__(self, error: Exception | None = None, **keys: int) -> None:
        self.made = 0
        self._keys = keys
        self._error = error

    def keys(self, args: tuple[Any, ...]) -> Keys:
        return {name: (str(value),) for name, value in self._keys.items()}

    def data(self, args: tuple[Any, ...], keys: Keys) -> Any:
        self.made += 1
        if self._error is not None:
            raise self._error
        return {"n": 1}


def test_data_is_made_once_for_all_and_not_at_all_if_no_subscriber_wants_it() -> None:
    hub = Hub(ServerLimits())
    readers = [Reader("event", filter={"guild_id": 1}) for _ in range(3)]
    for reader in readers:
        reader.begin(hub)
    wanted, unwanted = Silent(guild_id=1), Silent(guild_id=2)
    hub.forward(unwanted, ())
    hub.forward(wanted, ())
    assert (wanted.made, unwanted.made) == (1, 0)
    assert [reader.seqs for reader in readers] == [[2], [2], [2]]
    hub.publish("event", Unread(), {"guild_id": ("2",)})


def test_an_event_without_subscribers_is_not_made() -> None:
    hub, silent = Hub(ServerLimits()), Silent()
    hub.forward(silent, ())
    Reader("event").begin(hub).close()
    hub.forward(silent, ())
    assert silent.made == 0


def test_publishing_under_ever_new_names_keeps_a_bounded_number_of_names_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MAX_KNOWN", 100)
    hub = Hub(ServerLimits())
    for number in range(1000):
        hub.publish(f"name {number}", object())
    assert len(hub.known) == 100
    assert hub._topics == {}  # pyright: ignore[reportPrivateUsage]


def test_ids_beside_the_data_and_members_of_the_data_both_match() -> None:
    hub, reader = Hub(ServerLimits()), Reader("event", filter={"guild_id": 1})
    reader.begin(hub)
    hub.publish("event", "beside", {"guild_id": ("1",)})
    hub.publish("event", {"guild_id": "1"})
    hub.publish("event", {"guild_id": 2})
    hub.publish("event", {"guild_id": "1"}, {"guild_id": ("2",)})
    assert [item["data"] for item in reader.items[1:]] == ["beside", {"guild_id": "1"}]


def test_a_subscriber_gets_an_event_once_though_it_wants_several_of_its_ids() -> None:
    hub, reader = Hub(ServerLimits()), Reader("event", filter={"message_id": [1, 2, 3]})
    reader.begin(hub)
    hub.publish("event", None, {"message_id": ("1", "2", "9")})
    assert reader.seqs == [1]


def test_an_event_that_cannot_be_written_is_a_gap_for_those_that_want_it() -> None:
    hub = Hub(ServerLimits())
    here, elsewhere, deeper = (
        Reader("event", filter=wanted) for wanted in ({"guild_id": 1}, {"guild_id": 2}, {"author.id": 3})
    )
    for reader in (here, elsewhere, deeper):
        reader.begin(hub)
    with pytest.raises(ValueError, match="no form"):
        hub.forward(Silent(ValueError("no form"), guild_id=1), ())
    gap = {"event": "event", "seq": 1, "missed": 1}
    for reader, expected in ((here, [gap]), (elsewhere, []), (deeper, [gap])):
        assert [{name: item[name] for name in gap} for item in reader.items[1:]] == expected
    later = Reader("event", after={"event": 0}, filter={"guild_id": 1})
    later.begin(hub)
    assert [(item["seq"], item["missed"]) for item in later.items[1:]] == [(1, 1)]


def test_an_event_whose_ids_cannot_be_found_is_a_gap_for_all() -> None:
    class NoKeys(Silent):
        def keys(self, args: tuple[Any, ...]) -> Keys:
            raise AttributeError("no guild")

    hub, reader = Hub(ServerLimits()), Reader("event", filter={"guild_id": 2})
    reader.begin(hub)
    with pytest.raises(AttributeError):
        hub.forward(NoKeys(), ())
    assert [item["missed"] for item in reader.items[1:]] == [1]


def test_a_subscriber_with_a_filter_gets_what_it_missed_after_it_comes_back() -> None:
    hub, reader = Hub(ServerLimits()), Reader("event", filter={"guild_id": 1})
    subscriber = reader.begin(hub)
    hub.publish("event", "seen", {"guild_id": ("1",)})
    subscriber.close()
    hub.publish("event", "missed", {"guild_id": ("1",)})
    hub.publish("event", Unread(), {"guild_id": ("2",)})
    back = Reader("event", after={"event": 1}, epoch=hub.epoch, filter={"guild_id": 1})
    back.begin(hub)
    assert [item["data"] for item in back.items[1:]] == ["missed"]


def test_events_that_no_subscriber_wanted_are_gaps_for_those_that_ask_for_them_later() -> None:
    hub = Hub(ServerLimits())
    Reader("event", filter={"guild_id": 1}).begin(hub)
    for guild in (2, 2, 1, 2):
        hub.publish("event", guild, {"guild_id": (str(guild),)})
    every, two, three = (
        Reader("event", after={"event": 0}, filter=wanted)
        for wanted in ({}, {"guild_id": 2}, {"guild_id": 3})
    )
    for reader in (every, two, three):
        reader.begin(hub)
    assert [(item["seq"], item.get("missed")) for item in every.items[1:]] == [(2, 2), (3, None), (4, 1)]
    assert [(item["seq"], item["missed"]) for item in two.items[1:]] == [(4, 3)]
    assert three.items[1:] == []


def test_what_a_subscriber_wanted_is_forgotten_when_it_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(events.time, "monotonic", lambda: now)
    hub = Hub(ServerLimits(event_replay_timeout=10.0))
    reader, other = Reader("event", filter={"guild_id": 1}), Reader("event", filter={"guild_id": 2})
    subscriber = reader.begin(hub)
    other.begin(hub)
    hub.publish("event", 1, {"guild_id": ("1",)})
    subscriber.close()
    (topic,) = hub._topics.values()  # pyright: ignore[reportPrivateUsage]
    now += 9.0
    hub.publish("event", 2, {"guild_id": ("1",)})
    assert set(topic.index["guild_id"]) == {"1", "2"}
    now += 1.0
    hub.publish("event", Unread(), {"guild_id": ("1",)})
    assert set(topic.index["guild_id"]) == {"2"}


def test_events_are_forgotten_when_the_last_subscriber_stays_away_though_nothing_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(events.time, "monotonic", lambda: now)
    hub = Hub(ServerLimits(event_replay_timeout=10.0))
    for wanted in ({}, {"guild_id": 1}, {"n": 1}):
        subscriber = Reader("event", filter=wanted).begin(hub)
        hub.publish("event", 1, {"guild_id": ("1",)})
        subscriber.close()
    (topic,) = hub._topics.values()  # pyright: ignore[reportPrivateUsage]
    assert len(topic.kept) == 3
    now += 10.0
    hub.publish("another", 1)
    assert (len(topic.kept), topic.index) == (0, {})


def test_what_is_kept_for_subscribers_that_are_away_is_bounded() -> None:
    hub = Hub(ServerLimits())
    Reader("event").begin(hub)
    values = list(range(MAX_PLACES))
    for start in range(0, 2 * MAX_LEFT, MAX_PLACES):
        Reader("event", filter={"guild_id": [start + value for value in values]}).begin(hub).close()
    (topic,) = hub._topics.values()  # pyright: ignore[reportPrivateUsage]
    assert len(topic.index["guild_id"]) <= MAX_LEFT


def test_the_parameters_of_subscriptions_are_bounded_each_and_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub(ServerLimits())
    with pytest.raises(BadData, match=str(MAX_WISH_BYTES)):
        Reader("x" * MAX_WISH_BYTES).begin(hub)
    reader = Reader("event", filter={"n": "x" * 1000})
    monkeypatch.setattr(event_bounds, "MAX_ALL_WISHES_BYTES", 2 * len(reader.params))
    one, _ = reader.begin(hub), reader.begin(hub)
    assert one.held_bytes >= len(reader.params)
    with pytest.raises(Overloaded, match="bytes of parameters"):
        reader.begin(hub)
    one.close()
    one.close()
    reader.begin(hub)
    with pytest.raises(Overloaded):
        reader.begin(hub)


def test_a_filter_with_many_values_for_many_names_takes_no_places_in_the_index() -> None:
    hub = Hub(ServerLimits())
    several = [f"event {n}" for n in range(MAX_PLACES // 100 + 1)]
    reader = Reader(*several, filter={"guild_id": list(range(100))})
    subscriber = reader.begin(hub)
    assert not any(topic.index for topic in hub._topics.values())  # pyright: ignore[reportPrivateUsage]
    hub.publish(several[3], 1, {"guild_id": ("99",)})
    hub.publish(several[3], Unread(), {"guild_id": ("100",)})
    assert [item["data"] for item in reader.items[1:]] == [1]
    subscriber.close()
    hub.publish(several[3], 2, {"guild_id": ("99",)})


class Taken:
    """Subscriptions that a client has already."""

    def __init__(self, places: int) -> None:
        self.values = self.names = 0
        self.places = places


def with_places_left(places: int) -> Share:
    share = Share()
    share.add(Taken(MAX_CLIENT_PLACES - places))
    return share


def test_what_a_closed_subscription_took_of_the_share_of_its_client_is_free_again() -> None:
    hub, share = Hub(ServerLimits()), Share()
    reader = Reader("a", "b", filter={"guild_id": list(range(10))})
    one, two = hub.subscribe(reader, share), hub.subscribe(reader, share)
    assert share.places_left == MAX_CLIENT_PLACES - 40
    one.begin()
    two.begin()
    for _ in range(2):
        one.close()
        assert share.places_left == MAX_CLIENT_PLACES - 20
    two.close()
    assert share.places_left == MAX_CLIENT_PLACES
    share.check(MAX_NAMES, {"n": list(range(MAX_CLIENT_VALUES))})
    with pytest.raises(Overloaded):
        share.check(MAX_NAMES + 1, {})


def test_places_in_the_index_are_bounded_for_a_client_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bounds, "MAX_ALL_PLACES", 30)
    hub = Hub(ServerLimits())
    reader = Reader("event", filter={"guild_id": list(range(10))})
    few, first, second, third, more = (
        hub.subscribe(reader, with_places_left(places)) for places in (9, 10, 99, 99, 99)
    )
    assert [one.places for one in (few, first, second, third, more)] == [0, 10, 10, 10, 0]
    for one in (few, first, more):
        one.begin()
    hub.publish("event", 1, {"guild_id": ("3",)})
    assert [item["seq"] for item in reader.items if "event" in item] == [1, 1, 1]
    first.close()
    assert hub.subscribe(reader).places == 10


def test_values_of_filters_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bounds, "MAX_ALL_VALUES", 25)
    hub = Hub(ServerLimits())
    reader = Reader("event", filter={"guild_id": list(range(10)), "n": [1, 2]})
    one, _ = reader.begin(hub), reader.begin(hub)
    with pytest.raises(Overloaded, match="24 values"):
        reader.begin(hub)
    one.close()
    reader.begin(hub)


def places(native: NativeClient) -> int:
    calls = native.conversation._calls  # pyright: ignore[reportPrivateUsage]
    return sum(call.subscriber.places for call in calls if call.subscriber is not None)


async def test_a_client_takes_a_limited_number_of_places(bot: commands.Bot) -> None:
    async with native_client(bot) as native:
        taken: list[int] = []
        several = [f"event {n}" for n in range(32)]
        for start in range(0, MAX_CLIENT_PLACES + MAX_PLACES, MAX_PLACES):
            wanted = {"guild_id": list(range(start, start + MAX_PLACES // 32))}
            before = len(native.events)
            native.start_call("rpc.subscribe", {"events": several, "filter": wanted}, credit=10)
            await until(lambda before=before: len(native.events) > before)
            taken.append(places(native))
        assert taken[-1] == taken[-2] == MAX_CLIENT_PLACES


async def test_the_values_of_the_filters_of_a_client_are_bounded(bot: commands.Bot) -> None:
    async with native_client(bot) as native:
        wanted = {"guild_id": list(range(MAX_VALUES))}
        for _ in range(MAX_CLIENT_VALUES // MAX_VALUES):
            before = len(native.events)
            native.start_call("rpc.subscribe", {"events": ["event"], "filter": wanted}, credit=10)
            await until(lambda before=before: len(native.events) > before)
        with pytest.raises(Failed) as caught:
            await native.call("rpc.subscribe", {"events": ["event"], "filter": {"n": 1}}, credit=10)
        assert caught.value.code == Overloaded.code
        assert str(MAX_CLIENT_VALUES) in str(caught.value)


def test_different_members_of_data_that_filters_ask_for_are_bounded_in_all() -> None:
    hub = Hub(ServerLimits())
    wanted = [
        {f"n{start + n}": 1 for n in range(MAX_CONDITIONS)} for start in range(0, MAX_PATHS, MAX_CONDITIONS)
    ]
    subscribers = [Reader("event", filter=one).begin(hub) for one in wanted]
    with pytest.raises(Overloaded, match=f"{MAX_PATHS} different"):
        Reader("event", filter={"another": 1}).begin(hub)
    Reader("event", filter={"n1": 2, "guild_id": 3}).begin(hub).close()
    subscribers[0].close()
    Reader("event", filter={"another": 1}).begin(hub)


def test_names_with_events_make_way_for_new_ones_once_no_subscriber_can_want_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MAX_TOPICS", 3)
    hub = Hub(ServerLimits(event_replay_timeout=0.0))
    for name in ("a", "b", "c"):
        subscriber = Reader(name).begin(hub)
        hub.publish(name, 1)
        subscriber.close()
    Reader("d", "e").begin(hub)
    with pytest.raises(Overloaded):
        Reader("f", "g").begin(hub)


# -- names that the bot does not use


def unknown(hub: Hub, *names: str) -> Any:
    reader = Reader(*names)
    reader.begin(hub).close()
    return reader.items[0].get("unknown")


def test_names_that_the_bot_does_not_use_are_in_the_confirmation_with_the_nearest() -> None:
    hub = Hub(ServerLimits())
    hub.learn("message")
    hub.publish("order", 1)
    assert unknown(hub, "message", "order") is None
    assert unknown(hub, "mesage", "zzz", "order") == {"mesage": "message", "zzz": None}
    hub.learn("mesage")
    assert unknown(hub, "mesage") is None


def test_unknown_names_are_bounded_and_so_are_those_that_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MAX_KNOWN", 3)
    hub = Hub(ServerLimits())
    assert len(unknown(hub, *names(0))) == events.MAX_UNKNOWN
    for number in range(10):
        hub.publish(f"event {number}", 1)
    assert len(hub.known) == 3
    assert unknown(hub, "event 9", "nothing") is None
