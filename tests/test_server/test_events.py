"""Events without subscribers, bounds of subscriptions, and sequence numbers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc import Overloaded, ServerLimits
from discord_tools.ipc.errors import RemoteError
from discord_tools.ipc.wire.events import Subscribe
from discord_tools.ipc.wire.received import ItemsReceived
from discord_tools.ipc_server import events
from discord_tools.ipc_server.conversation import MAX_NAMES
from discord_tools.ipc_server.events import MAX_EVENTS, MAX_TOPICS, Hub, Subscriber
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
        with pytest.raises(Failed, match=f"have {MAX_NAMES - 1} names, 2 more exceed"):
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
