"""Streams: whole, in order, no faster than they are read, and closed when they are not read any more."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import (
    Cancelled,
    ClientLimits,
    ClientSession,
    ConnectionLost,
    DecodeError,
    InvalidRequest,
    Request,
    RouteError,
    RouteFailed,
    Server,
    SessionClosed,
    Stream,
    TooLarge,
)
from equipment.handlers import insist_on
from equipment.proxy import Proxy
from equipment.serving import connecting, memory_client, serving
from equipment.until import until
from test_conversations.routes import Routes


@pytest.fixture
async def narrow(server: Server[commands.Bot]) -> AsyncIterator[ClientSession]:
    """A session whose streams hold eight items."""
    async with connecting(server.port, limits=ClientLimits(stream_items=8)) as session:
        yield session


async def rest(stream: Stream[Any], items: list[Any] | None = None) -> None:
    """Reads to the end, even if that is an error."""
    async with asyncio.timeout(5):
        async for item in stream:
            if items is not None:
                items.append(item)


async def test_a_stream_brings_every_item_in_order(session: ClientSession, routes: Routes) -> None:
    assert [item async for item in session.stream("count", n=1000)] == list(range(1000))
    assert [item async for item in session.stream("count", n=0)] == []


async def test_items_are_decoded_into_the_type_asked_for(session: ClientSession, routes: Routes) -> None:
    assert [item async for item in session.stream("count", float, n=2)] == [0.0, 1.0]
    with pytest.raises(DecodeError):
        _ = [item async for item in session.stream("count", str, n=2)]


async def test_a_slow_reader_stops_the_generator(narrow: ClientSession, routes: Routes) -> None:
    async with narrow.stream("forever") as stream:
        for _ in range(3):
            await anext(stream)
        for i in range(50):
            await narrow.request("echo", value=i)  # time enough to run ahead
        assert routes.yielded <= 3 + 8 + 1  # those read, those on credit, and the one that waits
        for _ in range(100):
            await anext(stream)
        assert routes.yielded >= 103


async def test_nothing_is_sent_without_credit(server: Server[commands.Bot], routes: Routes) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await client.call(1, "/forever", credit=3)
        for i in range(20):
            await client.call(f"echo {i}", "/echo", {"value": i})
            await client.answer_to(f"echo {i}")
        items = [
            frame for message in client.messages for frame in message if frame.get("method") == "rpc.item"
        ]
        assert sum(len(frame["params"]["items"]) for frame in items) == 3


async def test_items_of_one_turn_travel_in_one_message(server: Server[commands.Bot], routes: Routes) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await client.call(1, "/count", {"n": 50}, credit=100)
        await client.answer_to(1)
    assert len(client.messages) == 2, "the welcome, and all the rest"
    (items,) = [frame for frame in client.messages[1] if frame.get("method") == "rpc.item"]
    assert items["params"] == {"id": 1, "items": list(range(50))}


async def test_breaking_out_of_the_loop_closes_the_generator(session: ClientSession, routes: Routes) -> None:
    async for _ in session.stream("forever"):
        break
    gc.collect()
    await asyncio.wait_for(routes.closed.wait(), 5)


async def test_the_end_of_the_block_closes_the_generator(session: ClientSession, routes: Routes) -> None:
    async with session.stream("forever") as stream:
        await anext(stream)
    await asyncio.wait_for(routes.closed.wait(), 5)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closing_a_stream_closes_the_generator(session: ClientSession, routes: Routes) -> None:
    stream = session.stream("forever")
    await anext(stream)
    await stream.aclose()
    await stream.aclose()
    await asyncio.wait_for(routes.closed.wait(), 5)


async def test_cancelling_the_reader_closes_the_generator(session: ClientSession, routes: Routes) -> None:
    async def read() -> None:
        async for _ in session.stream("forever"):
            await asyncio.Event().wait()

    reader = asyncio.create_task(read())
    await asyncio.wait_for(routes.entered.wait(), 5)
    await until(lambda: routes.yielded > 8)
    reader.cancel()
    await asyncio.wait((reader,))
    del reader
    gc.collect()
    await asyncio.wait_for(routes.closed.wait(), 5)


async def test_cancelling_the_wait_for_an_item_loses_none(
    session: ClientSession, server: Server[commands.Bot]
) -> None:
    gate = asyncio.Event()

    @server.route()
    async def gated(request: Request) -> AsyncGenerator[int, None]:
        yield 1
        await gate.wait()
        yield 2

    async with session.stream("gated") as stream:
        assert await anext(stream) == 1
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        gate.set()
        assert [item async for item in stream] == [2]


async def test_a_second_reader_of_one_stream_is_refused(
    session: ClientSession, server: Server[commands.Bot]
) -> None:
    @server.route()
    async def silent(request: Request) -> AsyncGenerator[int, None]:
        await asyncio.Event().wait()
        yield 1

    async with session.stream("silent") as stream:
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(stream)
        first.cancel()
        await asyncio.wait((first,))


async def test_closing_the_session_closes_the_generator_and_tells_the_reader(
    session: ClientSession, routes: Routes
) -> None:
    stream = session.stream("forever")
    await anext(stream)
    await session.close()
    await asyncio.wait_for(routes.closed.wait(), 5)
    with pytest.raises(SessionClosed):
        await rest(stream)


async def test_losing_the_client_closes_the_generator(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, resume_timeout=0.05) as server:
        routes = Routes(server)
        async with memory_client(server) as client:
            await client.hello()
            await client.call(1, "/forever", credit=3)
            await client.read()
        await asyncio.wait_for(routes.closed.wait(), 5)


async def test_a_stream_whose_reader_never_began_does_not_run(session: ClientSession, routes: Routes) -> None:
    stream = session.stream("forever")
    await stream.aclose()
    del stream
    await session.request("echo", value=1)
    assert routes.yielded == 0


async def test_a_stream_that_is_closed_while_it_waits_for_a_connection_does_not_run(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(server.port) as proxy:
        proxy.refusing = True
        async with connecting(proxy.port) as session:
            stream = session.stream("forever")
            first = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await stream.aclose()
            proxy.refusing = False
            with pytest.raises(StopAsyncIteration):
                await first
            await session.request("echo", value=1)
    assert routes.yielded == 0


async def test_an_error_comes_after_the_items_before_it(
    session: ClientSession, server: Server[commands.Bot], caplog: pytest.LogCaptureFixture
) -> None:
    @server.route()
    async def own(request: Request) -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise RouteError(7, "no more", data={"left": 3})

    @server.route()
    async def foreign(request: Request) -> AsyncGenerator[int, None]:
        yield 1
        raise ZeroDivisionError("a secret")

    items: list[int] = []
    with pytest.raises(RouteError) as caught:
        await rest(session.stream("own"), items)
    assert items == [1, 2]
    assert (caught.value.code, caught.value.data) == (7, {"left": 3})
    stream = session.stream("foreign")
    assert await anext(stream) == 1
    with pytest.raises(RouteFailed) as failed:
        await anext(stream)
    assert "secret" not in str(failed.value)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_an_item_that_cannot_be_sent_ends_the_stream_with_an_error(
    loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(loopback_bot, message_bytes=10_000) as server:
        routes = Routes(server)
        async with connecting(server.port) as session:
            with pytest.raises(TooLarge):
                await anext(session.stream("forever", size=10_000))
            assert routes.closed.is_set()

            @server.route()
            async def lists(request: Request) -> AsyncGenerator[list[str], None]:
                yield ["x" * 10] * 1000

            with pytest.raises(TooLarge, match="yield smaller ones"):
                await anext(session.stream("lists"))

            @server.route()
            async def objects(request: Request) -> AsyncGenerator[object, None]:
                yield object()

            with pytest.raises(RouteFailed):
                await anext(session.stream("objects"))


async def test_a_request_to_a_route_that_streams_says_what_to_do(
    session: ClientSession, routes: Routes
) -> None:
    with pytest.raises(InvalidRequest, match=r"ClientSession\.stream"):
        await session.request("count", n=1)
    assert routes.yielded == 0


async def test_a_stream_of_a_plain_route_says_what_to_do(session: ClientSession, routes: Routes) -> None:
    with pytest.raises(InvalidRequest, match=r"ClientSession\.request"):
        await anext(session.stream("echo", value=1))
    assert routes.ran == []


async def test_a_stream_survives_cuts_whole(server: Server[commands.Bot], routes: Routes) -> None:
    async with Proxy(server.port, rough=True) as proxy, connecting(proxy.port) as session:
        items: list[int] = []
        async for item in session.stream("count", n=2000):
            items.append(item)
            if item % 200 == 100:
                assert proxy.cut()
                await until(lambda: len(items) and session.state == "ready")
    assert items == list(range(2000))
    assert routes.yielded == 2000
    assert proxy.cuts >= 10


async def test_a_stream_ends_with_a_typed_error_when_the_bot_was_restarted(
    loopback_bot: commands.Bot,
) -> None:
    async with serving(loopback_bot) as first, serving(loopback_bot) as second:
        routes = Routes(first, second)
        async with Proxy(first.port) as proxy, connecting(proxy.port) as session:
            stream = session.stream("forever")
            await anext(stream)
            proxy.upstream = second.port
            proxy.cut()
            with pytest.raises(ConnectionLost):
                await rest(stream)
            assert not routes.closed.is_set()
            assert await session.request("echo", value=1) == 1


async def test_a_stream_ends_with_a_typed_error_when_the_bot_shuts_down(
    server: Server[commands.Bot], session: ClientSession, routes: Routes
) -> None:
    stream = session.stream("forever")
    await anext(stream)
    await server.terminate_server()
    assert routes.closed.is_set()
    with pytest.raises((Cancelled, ConnectionLost)):
        await rest(stream)


async def test_a_generator_that_ignores_its_cancellation_holds_up_nothing(
    loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    release, entered = asyncio.Event(), asyncio.Event()

    async def stubborn(request: Request) -> AsyncGenerator[int, None]:
        yield 1
        entered.set()
        await insist_on(release)
        yield 2

    async with serving(loopback_bot, grace_period=0.1) as server:
        routes = Routes(server)
        server.add_route(stubborn)
        async with connecting(server.port) as session:
            async with session.stream("stubborn") as stream:
                await anext(stream)
                await asyncio.wait_for(entered.wait(), 5)
            assert await session.request("echo", value=1) == 1
        assert routes.ran == [1]
        async with asyncio.timeout(5):
            await server.terminate_server()
        assert any("stubborn" in record.getMessage() for record in caplog.records)
        release.set()


async def test_a_reader_that_takes_a_million_items_leaves_the_bot_its_turns(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await client.call(1, "/forever", credit=10**6)
        await asyncio.wait_for(routes.entered.wait(), 5)
        await asyncio.sleep(0)
        assert routes.yielded < 1000
        await client.send({"method": "rpc.cancel", "params": {"id": 1}})
        await asyncio.wait_for(routes.closed.wait(), 5)
