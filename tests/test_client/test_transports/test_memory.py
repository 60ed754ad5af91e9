from __future__ import annotations

import asyncio

import pytest

from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import memory_pair
from test_client.test_transports.pairs import receive


async def test_a_memory_pair_holds_what_its_capacity_says() -> None:
    one, two = memory_pair(capacity=2)
    await one.send(b"1")
    await one.send(b"2")
    third = asyncio.create_task(one.send(b"3"))
    await asyncio.sleep(0)
    assert not third.done()
    assert await two.receive() == b"1"
    await third
    assert [await two.receive(), await two.receive()] == [b"2", b"3"]


async def test_the_first_close_of_a_memory_pair_counts() -> None:
    one, two = memory_pair()
    await one.close(1002, "first")
    await two.close(1000, "second")
    for end in (one, two):
        closed = await receive(end)
        assert isinstance(closed, Closed)
        assert closed.reason == "closed with code 1002 (first)"


async def test_messages_that_wait_when_one_is_lost_are_still_delivered() -> None:
    one, two = memory_pair()
    await one.send(b"1")
    await one.send(b"2")
    one.drop_next()
    await one.send(b"lost")
    assert [await two.receive(), await two.receive()] == [b"1", b"2"]
    closed = await receive(two)
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.code) == ("a message was lost", None)


async def test_a_loss_ends_senders_of_both_sides_that_wait_for_capacity() -> None:
    one, two = memory_pair(capacity=1)
    await two.send(b"1")
    await one.send(b"1")
    sending = [asyncio.create_task(end.send(b"2")) for end in (one, two)]
    await asyncio.sleep(0)
    assert await two.receive() == b"1"  # the message that waits for its place is the lost one
    one.drop_next()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*sending, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Closed]
    for end in (one, two):
        with pytest.raises(Closed):
            await end.send(b"3")
    assert await one.receive() == b"1"
    assert isinstance(await receive(one), Closed)
    assert isinstance(await receive(two), Closed)
