"""Events: which subscribers get them, what slow and absent ones miss, and what that costs the bot."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import msgspec
import pytest
from discord.ext import commands
from msgspec import Raw

from discord_tools.ipc import (
    BadData,
    ClientLimits,
    ClientSession,
    DecodeError,
    EncodeError,
    Event,
    FellBehind,
    Gap,
    ProtocolError,
    RequestTimeout,
    Server,
    ServerLimits,
    SessionClosed,
    Subscription,
    Unsupported,
)
from discord_tools.ipc.subscriptions import (
    MAX_UNKNOWN,
    _EventFeed,  # pyright: ignore[reportPrivateUsage]
)
from discord_tools.ipc.wire.events import Subscribe
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.events import Hub
from equipment.key import KEY
from equipment.peers import ScriptedClient
from equipment.proxy import Proxy
from equipment.serving import connecting, memory_client, serving
from equipment.until import until
from test_conversations.routes import Routes


async def take(subscription: Subscription, n: int) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(subscription) for _ in range(n)]


async def data_of(subscription: Subscription, into: list[Any]) -> None:
    """Reads to the end, even if that is an error."""
    async with asyncio.timeout(10):
        async for event in subscription:
            into.append(event.data)


async def subscribed(
    client: ScriptedClient, number: int, *events: str, credit: int = 100, **more: Any
) -> dict[str, Any]:
    """Subscribes frame by frame and returns the first item."""
    await client.call(number, "rpc.subscribe", {"events": events, **more}, credit=credit)
    frame = await client.read()
    assert frame["method"] == "rpc.item", frame
    return frame["params"]["items"][0]


async def publishes_anything(server: Server[Any]) -> bool:
    """Whether the bot knows of no subscriber: then it does not write what it publishes."""
    try:
        await server.publish("tick", object())
    except TypeError:
        return False
    return True


async def test_a_subscriber_gets_name_number_time_and_data(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    await server.publish("tick")
    before = datetime.now(UTC)
    async with session.subscribe("tick", "tock") as subscription:
        assert subscription.events == ("tick", "tock")
        await server.publish("tick", {"n": 1})
        await server.publish("tock", [2])
        await server.publish("other", 3)
        await server.publish("tick")
        one, two, three = await take(subscription, 3)
    assert (one.name, one.seq, one.data) == ("tick", 2, {"n": 1})
    assert (two.name, two.seq, two.data) == ("tock", 2, [2])
    assert (three.name, three.seq, three.data) == ("tick", 3, None)
    assert repr(one) == "<Event name='tick' seq=2 data={'n': 1}>"
    assert before - timedelta(seconds=1) <= one.time <= datetime.now(UTC)
    assert not any(isinstance(event, Gap) for event in (one, two, three))


async def test_a_subscription_can_begin_with_its_first_event(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    reading = asyncio.ensure_future(anext(session.subscribe("tick")))

    async def received() -> bool:
        await server.publish("tick", 1)
        return reading.done()

    await until(received)
    assert reading.result().data == 1


@pytest.mark.parametrize(
    ("wanted", "through"),
    [
        ({"n": 1}, ["a"]),
        ({"n": [1, 2]}, ["a", "b"]),
        ({"id": 81384788765712384}, ["c"]),
        ({"id": "81384788765712384"}, ["c"]),
        ({"guild.id": 5}, ["d"]),
        ({"n": 1, "id": 1}, []),
        ({"yes": True}, ["e"]),
        ({"yes": "True"}, []),
        ({"nothing": None}, ["f"]),
        ({}, ["a", "b", "c", "d", "e", "f", "g"]),
    ],
)
async def test_only_what_the_filter_lets_through_is_sent(
    server: Server[commands.Bot], wanted: dict[str, Any], through: list[str]
) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await subscribed(client, 1, "tick", filter=wanted)
        for data in (
            {"name": "a", "n": 1},
            {"name": "b", "n": 2},
            {"name": "c", "id": "81384788765712384"},
            {"name": "d", "guild": {"id": "5"}},
            {"name": "e", "yes": True},
            {"name": "f", "nothing": None},
            {"name": "g", "guild": 5},
            "no object at all",
        ):
            if wanted or data != "no object at all":
                await server.publish("tick", data)
        await client.call(2, "rpc.nothing")
        await client.answer_to(2)
        items = [
            frame for message in client.messages for frame in message if frame.get("method") == "rpc.item"
        ]
        events = [item for frame in items for item in frame["params"]["items"]][1:]
        assert [event["data"]["name"] for event in events] == through


async def test_a_subscriber_that_falls_behind_gets_a_gap_of_its_size_and_slows_no_other(
    loopback_bot: commands.Bot,
) -> None:
    async with serving(loopback_bot, event_backlog=10) as server:
        small, large = ClientLimits(stream_items=4), ClientLimits(stream_items=1000)
        async with (
            connecting(server.port, limits=small) as slow,
            connecting(server.port, limits=large) as quick,
            slow.subscribe("tick") as behind,
            quick.subscribe("tick") as ahead,
        ):
            for n in range(100):
                await server.publish("tick", n)
            assert [event.data for event in await take(ahead, 100)] == list(range(100))
            # The confirmation took one of four places; three events went out, and ten waited.
            events = await take(behind, 14)
            assert [event.seq for event in events[:13]] == list(range(1, 14))
            gap = events[13]
            assert isinstance(gap, Gap)
            assert (gap.name, gap.missed, gap.seq, gap.data) == ("tick", 87, 100, None)
            await server.publish("tick", "again")
            (event,) = await take(behind, 1)
            assert (event.seq, event.data) == (101, "again")


async def test_the_queue_is_bounded_in_bytes_too(loopback_bot: commands.Bot) -> None:
    async with (
        serving(loopback_bot, event_backlog_bytes=5_000) as server,
        connecting(server.port, limits=ClientLimits(stream_items=1)) as session,
        session.subscribe("tick") as subscription,
    ):
        for _ in range(20):
            await server.publish("tick", "x" * 1000)
        seen = 0
        async for event in subscription:
            seen += 1
            if isinstance(event, Gap):
                break
        assert event.missed == 20 - (seen - 1)
        assert seen - 1 <= 6


async def test_a_subscriber_that_asked_to_be_dropped_gets_a_typed_error(loopback_bot: commands.Bot) -> None:
    async with (
        serving(loopback_bot, event_backlog=10) as server,
        connecting(server.port, limits=ClientLimits(stream_items=4)) as session,
        session.subscribe("tick", overflow="drop") as subscription,
    ):
        for n in range(100):
            await server.publish("tick", n)
        events: list[int] = []
        with pytest.raises(FellBehind):
            await data_of(subscription, events)
        assert events == list(range(3))


async def test_a_subscriber_that_stops_reading_its_socket_holds_up_no_other(
    loopback_bot: commands.Bot,
) -> None:
    async with (
        serving(loopback_bot, event_backlog=10, backlog_bytes=10_000) as server,
        memory_client(server, capacity=2) as client,
        connecting(server.port) as session,
    ):
        await client.hello()
        await client.call(1, "rpc.subscribe", {"events": ["tick"]}, credit=10**9)
        async with session.subscribe("tick") as subscription:
            for n in range(200):
                await server.publish("tick", [n, "x" * 10_000])
                (event,) = await take(subscription, 1)
                assert event.data[0] == n


async def test_what_waits_for_a_subscriber_that_stops_reading_its_socket_is_bounded(
    loopback_bot: commands.Bot,
) -> None:
    async with (
        serving(loopback_bot, event_backlog=10, backlog_bytes=100_000) as server,
        memory_client(server, capacity=2) as client,
    ):
        await client.hello()
        await client.call(1, "rpc.subscribe", {"events": ["tick"]}, credit=10**9)
        await client.read()
        for _ in range(500):
            await server.publish("tick", "x" * 10_000)
            await asyncio.sleep(0)
        size = 0
        while True:
            for item in (await client.read())["params"]["items"]:
                size += 10_000
                if "missed" in item:
                    assert item["missed"] > 400
                    assert size < 500_000
                    return


async def test_after_continues_without_loss(server: Server[commands.Bot], session: ClientSession) -> None:
    async with session.subscribe("tick", "tock") as subscription:
        await server.publish("tick", 1)
        await server.publish("tock", 1)
        await take(subscription, 2)
    for n in range(2, 5):
        await server.publish("tick", n)
        await server.publish("tock", n)
    async with session.subscribe("tick", "tock", after={"tick": 1, "tock": 2}) as subscription:
        events = await take(subscription, 5)
    assert [(event.name, event.seq) for event in events] == [
        ("tick", 2),
        ("tick", 3),
        ("tock", 3),
        ("tick", 4),
        ("tock", 4),
    ]
    async with session.subscribe("tick", after=4) as subscription:
        await server.publish("tick", 5)
        assert [event.seq for event in await take(subscription, 1)] == [5]


async def test_what_is_replayed_passes_the_filter(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    async with session.subscribe("tick"):
        for n in range(6):
            await server.publish("tick", {"odd": n % 2})
    async with session.subscribe("tick", after=0, odd=1) as subscription:
        assert [event.seq for event in await take(subscription, 3)] == [2, 4, 6]


async def test_what_is_not_kept_any_more_is_a_gap_of_its_size(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, event_replay=5) as server, connecting(server.port) as session:
        async with session.subscribe("tick"):
            for n in range(1, 21):
                await server.publish("tick", n)
        async with session.subscribe("tick", after=3) as subscription:
            gap, *events = await take(subscription, 6)
        assert isinstance(gap, Gap)
        assert (gap.missed, gap.seq) == (12, 15)
        assert [event.seq for event in events] == [16, 17, 18, 19, 20]


async def test_the_bytes_of_events_that_are_kept_are_bounded(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, event_replay_bytes=5_000) as server, connecting(server.port) as session:
        async with session.subscribe("tick"):
            for _ in range(20):
                await server.publish("tick", "x" * 1000)
        async with session.subscribe("tick", after=0) as subscription:
            (gap,) = await take(subscription, 1)
            assert isinstance(gap, Gap)
            assert gap.missed == 16


async def test_a_number_that_this_run_of_the_bot_has_not_come_to_is_a_gap(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    async with session.subscribe("tick"):
        await server.publish("tick", 1)
    async with session.subscribe("tick", after=5000) as subscription:
        gap, event = await take(subscription, 2)
    assert isinstance(gap, Gap)
    assert gap.missed is None
    assert event.data == 1


@pytest.mark.parametrize("by", ["event", "numbers"])
async def test_a_number_of_an_earlier_run_is_a_gap_even_if_this_run_has_come_further(
    loopback_bot: commands.Bot, by: str
) -> None:
    async with (
        serving(loopback_bot) as server,
        connecting(server.port) as session,
        session.subscribe("tick") as subscription,
    ):
        await server.publish("tick", "before")
        (last,) = await take(subscription, 1)
    async with serving(loopback_bot) as server, connecting(server.port) as session:
        async with session.subscribe("tick"):
            for number in range(3):
                await server.publish("tick", number)
        if by == "event":
            later = session.subscribe("tick", after=last)
        else:
            later = session.subscribe("tick", after=last.seq, epoch=last.epoch)
        async with later as subscription:
            gap, *events = await take(subscription, 4)
    assert isinstance(gap, Gap)
    assert gap.missed is None
    assert [event.data for event in events] == [0, 1, 2]
    assert {event.epoch for event in (gap, *events)} == {gap.epoch}
    assert gap.epoch != last.epoch


@pytest.mark.parametrize("overflow", ["gap", "drop"])
async def test_all_that_is_kept_is_replayed_even_if_it_is_more_than_a_queue_holds(
    loopback_bot: commands.Bot, overflow: Any
) -> None:
    async with (
        serving(loopback_bot, event_backlog=10, event_replay=50) as server,
        connecting(server.port, limits=ClientLimits(stream_items=4)) as session,
    ):
        async with session.subscribe("tick"):
            for n in range(50):
                await server.publish("tick", n)
        async with session.subscribe("tick", after=0, overflow=overflow) as subscription:
            await server.publish("tick", 50)
            assert [event.data for event in await take(subscription, 51)] == list(range(51))


async def test_publishing_without_subscribers_keeps_and_writes_nothing(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    for _ in range(7):
        await server.publish("tick", object())  # could not be written
    async with session.subscribe("tick", after=0) as subscription:
        (gap,) = await take(subscription, 1)
        assert isinstance(gap, Gap)
        assert gap.missed == 7
        with pytest.raises(TypeError):
            await server.publish("tick", object())
        await server.publish("tick", 1)
        (event,) = await take(subscription, 1)
        assert event.seq == 8  # what could not be written has no number


async def test_events_without_a_subscriber_for_long_are_not_kept(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, event_replay_timeout=0.0) as server, connecting(server.port) as session:
        async with session.subscribe("tick"):
            await server.publish("tick", 1)
        await until(lambda: publishes_anything(server))
        async with session.subscribe("tick", after=0) as subscription:
            (gap,) = await take(subscription, 1)
            assert isinstance(gap, Gap)
            assert gap.missed == 2


async def test_names_that_clients_make_up_are_forgotten_with_them() -> None:
    class Reader:
        takes = True
        largest = 1000

        def __init__(self, params: bytes) -> None:
            self.params = params

        def push(self, item: bytes) -> None: ...
        def abort(self, error: Exception) -> None: ...

    hub = Hub(ServerLimits())
    subscriber = hub.subscribe(Reader(b'{"events": ["known", "made up"]}'))
    subscriber.begin()
    hub.publish("known", 1)
    assert set(hub._topics) == {"known", "made up"}  # pyright: ignore[reportPrivateUsage]
    subscriber.close()
    assert set(hub._topics) == {"known"}  # pyright: ignore[reportPrivateUsage]


async def test_a_gap_is_sent_before_the_events_that_come_after_it() -> None:
    class Reader:
        takes = True
        largest = 1000
        params = b'{"events": ["tick"]}'

        def __init__(self) -> None:
            self.items: list[dict[str, object]] = []

        def push(self, item: bytes) -> None:
            self.items.append(msgspec.json.decode(item))

        def abort(self, error: Exception) -> None: ...

    hub, reader = Hub(ServerLimits(event_backlog_bytes=100)), Reader()
    subscriber = hub.subscribe(reader)
    subscriber.begin()
    reader.takes = False
    hub.publish("tick", "x" * 200)  # more than the queue holds, so the queue stays empty
    reader.takes = True
    hub.publish("tick", "in the turn before the reader's next look")
    subscriber.pump()
    hub.publish("tick", 3)
    assert [(item["seq"], item.get("missed")) for item in reader.items[1:]] == [(2, 2), (3, None)]
    subscriber.close()


async def test_an_event_that_is_too_large_for_a_reader_is_a_gap_for_it_alone(
    server: Server[commands.Bot],
) -> None:
    async with (
        connecting(server.port, limits=ClientLimits(message_bytes=10_000)) as small,
        connecting(server.port) as large,
        small.subscribe("tick") as one,
        large.subscribe("tick") as other,
    ):
        for data in ("a", "x" * 20_000, "b"):
            await server.publish("tick", data)
        events = await take(one, 3)
        assert isinstance(events[1], Gap)
        assert (events[1].missed, events[1].seq) == (1, 2)
        assert [events[0].data, events[2].data] == ["a", "b"]
        assert [len(event.data) for event in await take(other, 3)] == [1, 20_000, 1]
        assert small.is_connected()


async def test_a_subscription_survives_cuts_without_loss_or_repetition(
    server: Server[commands.Bot],
) -> None:
    async with Proxy(server.port, rough=True) as proxy, connecting(proxy.port) as session:
        async with session.subscribe("tick") as subscription:

            async def publish() -> None:
                for n in range(300):
                    await server.publish("tick", n)
                    await asyncio.sleep(0)
                    if n % 30 == 15:
                        assert proxy.cut()
                    elif n % 30 == 29:
                        await until(session.is_connected)

            publishing = asyncio.create_task(publish())
            events = await take(subscription, 300)
            await publishing
        assert [(event.seq, event.data) for event in events] == [(n + 1, n) for n in range(300)]
        assert proxy.cuts == 10


async def test_a_subscriber_that_was_away_for_too_long_goes_on_from_the_replay(
    loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="discord_tools")
    async with (
        serving(loopback_bot, resume_timeout=0.01) as server,
        Proxy(server.port) as proxy,
        connecting(proxy.port) as session,
        session.subscribe("tick") as subscription,
    ):
        await server.publish("tick", 0)
        await take(subscription, 1)
        proxy.refusing = True
        proxy.cut()
        await until(lambda: session.state == "lost")
        for n in range(1, 4):
            await server.publish("tick", n)
        await until(lambda: "the client stayed away" in caplog.text)
        proxy.refusing = False
        await server.publish("tick", 4)
        assert [event.data for event in await take(subscription, 4)] == [1, 2, 3, 4]


async def test_a_subscription_survives_the_death_of_the_bot_with_a_gap(
    loopback_bot: commands.Bot,
) -> None:
    async with (
        serving(loopback_bot) as first,
        serving(loopback_bot) as second,
        Proxy(first.port) as proxy,
        connecting(proxy.port) as session,
        session.subscribe("tick") as subscription,
    ):
        await first.publish("tick", "old")
        await take(subscription, 1)
        proxy.upstream = second.port
        proxy.cut()
        (gap,) = await take(subscription, 1)
        assert isinstance(gap, Gap)
        assert gap.missed is None
        await second.publish("tick", "new")
        (event,) = await take(subscription, 1)
        assert (event.seq, event.data) == (1, "new")


async def test_a_subscription_survives_an_orderly_restart_of_the_bot(
    loopback_bot: commands.Bot,
) -> None:
    async with (
        serving(loopback_bot) as first,
        serving(loopback_bot) as second,
        Proxy(first.port) as proxy,
        connecting(proxy.port) as session,
        session.subscribe("tick") as subscription,
    ):
        proxy.upstream = second.port
        await first.terminate_server()
        (gap,) = await take(subscription, 1)
        assert isinstance(gap, Gap)
        await second.publish("tick", "new")
        (event,) = await take(subscription, 1)
        assert event.data == "new"


async def test_a_server_that_is_started_again_in_the_same_process_goes_on_without_a_gap(
    loopback_bot: commands.Bot,
) -> None:
    async with (
        serving(loopback_bot) as server,
        Proxy(server.port) as proxy,
        connecting(proxy.port) as session,
        session.subscribe("tick") as subscription,
    ):
        await server.publish("tick", 1)
        await server.terminate_server()
        await server.publish("tick", 2)
        await server.start()
        proxy.upstream = server.port
        await server.publish("tick", 3)
        assert [event.data for event in await take(subscription, 3)] == [1, 2, 3]


async def test_leaving_ends_the_subscription_on_the_bot(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, event_replay_timeout=0.0) as server, connecting(server.port) as session:
        async for _ in session.subscribe("tick", after=1):
            break
        await until(lambda: publishes_anything(server))


async def test_closing_the_session_ends_a_subscription_with_a_typed_error(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    async with session.subscribe("tick") as subscription:
        await session.close()
        with pytest.raises(SessionClosed):
            await anext(subscription)


async def test_a_subscription_that_cannot_be_is_refused_before_it_is_sent(session: ClientSession) -> None:
    with pytest.raises(TypeError):
        session.subscribe()
    with pytest.raises(TypeError):
        session.subscribe("a", "b", after=1)
    for name in ("\ud800", "fine"):
        with pytest.raises(EncodeError):
            session.subscribe(name, n="\ud800")
    with pytest.raises(EncodeError):
        session.subscribe("\ud800")


async def test_a_bot_that_never_confirms_is_a_timeout(server: Server[commands.Bot]) -> None:
    async with Proxy(server.port) as proxy, connecting(proxy.port, timeout=0.1) as session:
        proxy.freeze()
        with pytest.raises(RequestTimeout):
            async with session.subscribe("tick"):
                pass


@pytest.mark.parametrize("params", [{"events": []}, {"events": ["x"] * 300}, {"events": 5}, {}])
async def test_bad_parameters_of_a_subscription_are_refused(
    server: Server[commands.Bot], params: dict[str, Any]
) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await client.call(1, "rpc.subscribe", params, credit=5)
        assert (await client.answer_to(1))["error"]["code"] == -32602
        await client.call(2, "rpc.subscribe", {"events": ["tick"]})  # without credit it is no stream
        assert (await client.answer_to(2))["error"]["code"] == -32601


async def test_a_clock_that_jumps_moves_only_the_time_of_events(
    server: Server[commands.Bot], monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = Routes(server)
    async with (
        ClientSession(port=server.port, secret_key=KEY, timeout=5) as session,
        session.subscribe("tick") as subscription,
    ):
        waiting = asyncio.create_task(session.request("wait", value=1))
        await asyncio.wait_for(routes.entered.wait(), 5)
        await server.publish("tick", 1)
        ahead = time.time() + 86_400 * 365
        monkeypatch.setattr(time, "time", lambda: ahead)
        await server.publish("tick", 2)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        await server.publish("tick", 3)
        routes.gate.set()
        assert await waiting == 1
        events = await take(subscription, 3)
    assert [event.data for event in events] == [1, 2, 3]
    assert events[1].time.timestamp() == pytest.approx(ahead)
    assert events[2].time.timestamp() == 0.0


async def test_a_subscription_that_the_bot_refuses_says_why(session: ClientSession) -> None:
    with pytest.raises(BadData, match="256"):
        async with session.subscribe(*(f"event {n}" for n in range(300))):
            pass
    with pytest.raises(BadData, match="256"):
        await anext(session.subscribe(*(f"event {n}" for n in range(300))))


@pytest.mark.parametrize(
    "items",
    [[b"5"], [b'{"epoch": "a", "seq": {}}', b"5"], [b'{"epoch": "a", "seq": {}}', b'{"event": 1}'], []],
)
async def test_events_that_cannot_be_understood_end_the_subscription_with_a_typed_error(
    items: list[bytes],
) -> None:
    feed = _EventFeed(Subscribe(["tick"]), 8, set(), None)
    feed.received([Raw(item) for item in items])
    with pytest.raises(ProtocolError):
        await feed.next()
    with pytest.raises(StopAsyncIteration):
        await feed.next()


# -- filters of the client


async def test_conditions_may_stand_in_a_dict_and_beside_it(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    async with session.subscribe("tick", filter={"author.bot": False}, guild_id=1) as subscription:
        await server.publish("tick", {"author": {"bot": True}}, guild_id=1)
        await server.publish("tick", {"author": {"bot": False}}, guild_id="2")
        await server.publish("tick", {"author": {"bot": False}, "n": 3}, guild_id=[2, 1])
        (event,) = await take(subscription, 1)
    assert event.data["n"] == 3


@pytest.mark.parametrize("key", ["guild_id", "channel_id", "user_id", "message_id"])
async def test_every_id_can_be_given_beside_the_data(
    server: Server[commands.Bot], session: ClientSession, key: str
) -> None:
    async with session.subscribe("tick", filter={key: 81384788765712384}) as subscription:
        await server.publish("tick", 1, **{key: 5})
        await server.publish("tick", 2, **{key: 81384788765712384})
        await server.publish("tick", 3, **{key: "81384788765712384"})
        await server.publish("tick", {key: 81384788765712384})
        assert [event.seq for event in await take(subscription, 3)] == [2, 3, 4]


async def test_an_id_that_is_none_is_refused_by_name(server: Server[commands.Bot]) -> None:
    with pytest.raises(TypeError, match="guild_id must be an id"):
        await server.publish("tick", 1, guild_id=server.client)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("wanted", ["guild", 5, ["a"], {5: 1}])
async def test_filters_that_are_no_dict_of_names_are_refused(session: ClientSession, wanted: Any) -> None:
    with pytest.raises(TypeError, match="filter"):
        session.subscribe("tick", filter=wanted)


async def test_a_condition_that_is_given_twice_is_refused(session: ClientSession) -> None:
    with pytest.raises(TypeError, match="'guild_id' is both"):
        session.subscribe("tick", filter={"guild_id": 1}, guild_id=1)


async def test_a_filter_that_the_bot_refuses_says_why(session: ClientSession) -> None:
    with pytest.raises(BadData, match="1024 values"):
        await anext(session.subscribe("tick", guild_id=list(range(1025))))
    with pytest.raises(BadData, match="'guild'"):
        await anext(session.subscribe("tick", guild={"id": 1}))


# -- names that the bot does not use


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


async def test_a_name_that_the_bot_does_not_use_is_logged_once_with_the_nearest_and_works_later(
    server: Server[commands.Bot], session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    server.forward("member_join")
    for _ in range(2):
        async with session.subscribe("membr_join", "member_join"):
            pass
    (line,) = warnings_of(caplog)
    assert "'membr_join'" in line
    assert "'member_join'" in line
    async with session.subscribe("late") as subscription:
        server.forward(custom=["late"])
        server.client.dispatch("late", 1)
        (event,) = await take(subscription, 1)
    assert event.data == 1
    assert len(warnings_of(caplog)) == 2


async def test_names_that_are_declared_published_or_forwarded_are_not_logged(
    server: Server[commands.Bot], session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    server.add_event("order")
    server.forward("message", custom=["level_up"])
    await server.publish("tick")
    async with session.subscribe("order", "message", "level_up", "tick"):
        pass
    assert warnings_of(caplog) == []


async def test_foreign_names_are_quoted_in_the_log_and_bounded(
    session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with session.subscribe("x\n" * 1000):
        pass
    (line,) = warnings_of(caplog)
    assert "\n" not in line
    assert len(line) < 400


async def test_a_session_remembers_a_limited_number_of_unknown_names(
    session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(0, MAX_UNKNOWN + 32, 8):
        async with session.subscribe(*(f"name {number + n}" for n in range(8))):
            pass
    assert len(warnings_of(caplog)) == MAX_UNKNOWN


# -- what there is


class Item(TypedDict):
    """A part of the data of an event."""

    name: str


class Order(TypedDict):
    """The data of an event."""

    items: list[Item]


async def test_a_session_lists_the_events_with_their_data_and_their_ids(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    assert await session.events() == []
    server.forward("raw_message_delete", custom={"level_up": ["member", "level"]})
    server.add_event("order", Order)
    await server.publish("tick")
    deleted, level_up, order, tick = sorted(
        await session.events(),
        key=lambda event: ("raw_message_delete", "level_up", "order", "tick").index(event.name),
    )
    assert deleted.data["properties"].keys() == {"id", "channel_id", "guild_id", "cached_message"}
    assert deleted.filter == ("guild_id", "channel_id", "user_id", "message_id")
    assert level_up.data["properties"].keys() == {"member", "level"}
    assert order.data["$ref"] == "#/components/schemas/Order"
    assert order.data["components"]["schemas"].keys() == {"Order", "Item"}
    assert (tick.data, tick.filter) == ({}, ("guild_id", "channel_id", "user_id", "message_id"))


async def test_events_of_a_bot_that_does_not_describe_them_are_unsupported(
    server: Server[commands.Bot], session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dispatcher, "describe", lambda *_: b'{"openrpc": "1.3.2", "methods": []}')
    with pytest.raises(Unsupported, match="older"):
        await session.events()
    monkeypatch.setattr(Dispatcher, "describe", lambda *_: b'{"x-events": 5}')
    with pytest.raises(DecodeError):
        await session.events()


async def test_an_event_that_is_declared_has_a_name(server: Server[commands.Bot]) -> None:
    with pytest.raises(TypeError):
        server.add_event(5)  # pyright: ignore[reportArgumentType]
