"""Deadlines and cancellation travel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Cancelled, ClientSession, DeadlineExceeded, Request, RequestTimeout, Server
from equipment.key import KEY
from equipment.proxy import Proxy
from equipment.serving import connecting, memory_client, serving
from equipment.until import until
from test_conversations.routes import Routes


async def left(request: Request) -> float | None:
    return request.deadline


async def test_the_callers_timeout_is_the_routes_deadline(server: Server[commands.Bot]) -> None:
    server.add_route(left)
    async with connecting(server.port, timeout=20) as session:
        assert 0 < await session.request("left") <= 20
    for timeout in (None, 1000):
        async with connecting(server.port, timeout=timeout) as session:
            assert 20 < await session.request("left") <= 60  # the server's own limit


async def test_what_was_waited_for_a_connection_is_taken_off_the_deadline(
    server: Server[commands.Bot],
) -> None:
    server.add_route(left)
    async with Proxy(server.port) as proxy:
        proxy.refusing = True
        async with connecting(proxy.port, timeout=30) as session:
            began = asyncio.get_running_loop().time()
            waiting = asyncio.create_task(session.request("left"))
            await until(lambda: proxy.accepted > 10)
            waited = asyncio.get_running_loop().time() - began
            proxy.refusing = False
            assert 0 < await waiting <= 30 - waited


async def test_a_stream_has_no_deadline(server: Server[commands.Bot]) -> None:
    async def stream(request: Request) -> Any:
        yield request.deadline

    server.add_route(stream)
    async with connecting(server.port, timeout=5) as session:
        assert await anext(session.stream("stream")) is None


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
async def test_an_expired_call_is_not_started(
    server: Server[commands.Bot], routes: Routes, timeout: float
) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await client.call(1, "/echo", {"value": 1}, headers={"timeout": timeout})
        assert (await client.answer_to(1))["error"]["code"] == DeadlineExceeded.code
        await client.call(1, "/echo", {"value": 2})
        assert (await client.answer_to(1))["result"] == 2
    assert routes.ran == [2]


@pytest.mark.parametrize("headers", [{"timeout": 0.05}, None])
async def test_a_call_whose_time_is_over_is_ended_on_the_bot(
    loopback_bot: commands.Bot, headers: dict[str, Any] | None
) -> None:
    async with serving(loopback_bot) as server:
        routes = Routes(server)
        async with memory_client(server) as client:
            await client.hello(timeout=30 if headers else 0.05)
            await client.call(1, "/wait", {"value": 1}, **({"headers": headers} if headers else {}))
            await client.call(2, "/wait", {"value": 2}, headers={"timeout": 20})
            assert (await client.answer_to(1))["error"]["code"] == DeadlineExceeded.code
            await asyncio.wait_for(routes.cancelled.wait(), 5)
            if headers:
                routes.gate.set()
                assert (await client.answer_to(2))["result"] == 2


async def test_a_call_that_was_shorter_than_those_before_it_ends_first(server: Server[commands.Bot]) -> None:
    routes = Routes(server)
    async with memory_client(server) as client:
        await client.hello(timeout=0.3)
        await client.call(1, "/wait", {"value": 1})
        await client.call(2, "/wait", {"value": 2}, headers={"timeout": 0.05})
        await client.call(3, "/wait", {"value": 3})
        ended = [frame["id"] for frame in [await client.read() for _ in range(3)] if "error" in frame]
        assert ended == [2, 1, 3]
        await client.call(4, "/wait", {"value": 4})  # the one timer for all goes on
        assert (await client.answer_to(4))["error"]["code"] == DeadlineExceeded.code
    assert routes.ran == [1, 2, 3, 4]


async def test_no_answer_in_time_is_a_timeout_and_ends_the_route(server: Server[commands.Bot]) -> None:
    routes = Routes(server)
    async with connecting(server.port, timeout=0.1) as session:
        with pytest.raises((RequestTimeout, DeadlineExceeded)):
            await session.request("wait", value=1)
        await asyncio.wait_for(routes.cancelled.wait(), 5)


async def test_cancelling_the_caller_ends_the_route(session: ClientSession, routes: Routes) -> None:
    waiting = asyncio.create_task(session.request("wait", value=1))
    await asyncio.wait_for(routes.entered.wait(), 5)
    waiting.cancel()
    await asyncio.wait_for(routes.cancelled.wait(), 5)


async def test_cancelling_takes_no_more_than_one_message(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await client.call(1, "/wait", {"value": 1})
        await asyncio.wait_for(routes.entered.wait(), 5)
        await client.send(
            {"method": "rpc.cancel", "params": {"id": 1}},
            {"id": 2, "method": "/echo", "params": {"value": 2}},
        )
        assert (await client.answer_to(1))["error"]["code"] == Cancelled.code
        assert (await client.answer_to(2))["result"] == 2
        assert routes.cancelled.is_set()


async def test_a_call_that_is_cancelled_before_it_is_sent_never_leaves(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, calls=1) as server, connecting(server.port) as session:
        routes = Routes(server)
        first = asyncio.create_task(session.request("wait", value=1))
        await asyncio.wait_for(routes.entered.wait(), 5)
        second = asyncio.create_task(session.request("echo", value=2))  # waits until the bot takes one more
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait((second,))
        routes.gate.set()
        assert await first == 1
        assert await session.request("echo", value=3) == 3
        assert routes.ran == [1, 3]


async def test_a_route_that_is_cancelled_on_the_bot_ends_the_caller(
    session: ClientSession, server: Server[commands.Bot]
) -> None:
    running: list[asyncio.Task[Any]] = []

    @server.route()
    async def endless(request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append(task)
        await asyncio.Event().wait()

    waiting = asyncio.create_task(session.request("endless"))
    await until(lambda: running)
    running[0].cancel()
    with pytest.raises(Cancelled):
        await asyncio.wait_for(waiting, 5)


async def test_the_time_of_the_caller_goes_on_while_the_connection_is_lost(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with (
        Proxy(server.port) as proxy,
        ClientSession(port=proxy.port, secret_key=KEY, timeout=0.3) as session,
    ):
        waiting = asyncio.create_task(session.request("wait", value=1))
        await asyncio.wait_for(routes.entered.wait(), 5)
        proxy.refusing = True
        proxy.cut()
        with pytest.raises((RequestTimeout, DeadlineExceeded)):
            await asyncio.wait_for(waiting, 5)
