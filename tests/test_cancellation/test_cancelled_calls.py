"""A request, a stream or a subscription that is cancelled anywhere leaves nothing on either side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from discord.ext import commands

from test_cancellation.moments import HOW, How, moments
from test_cancellation.world import World, connected

Operation = Callable[[World], Coroutine[Any, Any, object]]


async def request(world: World) -> None:
    assert await world.session.request("wait", value=1) == 1


async def quick_request(world: World) -> None:
    assert await world.session.request("echo", int, value=1) == 1


async def large_request(world: World) -> None:
    """More than a message may hold up, so that senders wait."""
    value = "x" * 300_000
    assert await world.session.request("echo", value=value) == value


async def bundle(world: World) -> None:
    """More requests than the bot accepts at a time, so that some wait for a place."""
    answers = await asyncio.gather(*(world.session.request("wait", value=n) for n in range(10)))
    assert answers == list(range(10))


async def stream(world: World) -> None:
    assert [item async for item in world.session.stream("count", n=30)] == list(range(30))


async def closed_stream(world: World) -> None:
    stream = world.session.stream("count", n=1000)
    async with stream:
        for number in range(20):
            assert await anext(stream) == number
    await stream.aclose()


async def stream_closed_by_hand(world: World) -> None:
    stream = world.session.stream("count", n=1000)
    for number in range(10):
        assert await anext(stream) == number
    await stream.aclose()


async def subscription(world: World) -> None:
    async with world.session.subscribe("tick") as events:
        for number in range(20):
            await world.server.publish("tick", number)
            assert (await anext(events)).data == number


async def dropped_subscription(world: World) -> None:
    events = world.session.subscribe("tick")
    await events.__aenter__()
    await world.server.publish("tick", 1)
    assert (await anext(events)).data == 1


OPERATIONS: tuple[Operation, ...] = (
    request,
    quick_request,
    large_request,
    bundle,
    stream,
    closed_stream,
    stream_closed_by_hand,
    subscription,
    dropped_subscription,
)


def name(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
async def test_on_a_connection(bot: commands.Bot, operation: Operation, how: How) -> None:
    async with connected(bot) as world:
        async for moment in moments(lambda: operation(world), how):
            assert await world.session.request("echo", value=moment) == moment
            await world.at_rest()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
async def test_on_a_session_that_has_to_connect(bot: commands.Bot, operation: Operation, how: How) -> None:
    async with connected(bot) as world:
        await world.session.close()
        await world.rest()
        async for moment in moments(lambda: operation(world), how, world.renew_session):
            assert await world.session.request("echo", value=moment) == moment
            await world.settled()
            await world.session.close()
            await world.at_rest()
