"""What every transport has to do. The tests of one kind of transport are beside this file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress

import pytest

from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.transports.websocket import WebSocketTransport
from equipment.until import until
from test_client.test_transports.pairs import (
    LossyPair,
    Pair,
    lossy_memory,
    lossy_sockets,
    lossy_sockets_reversed,
    memory,
    receive,
    receive_into,
    send_all,
    sockets,
    sockets_reversed,
    tcp,
)


@pytest.fixture(params=[memory, sockets, sockets_reversed])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    make: Callable[[], AbstractAsyncContextManager[Pair]] = request.param
    async with make() as pair:
        yield pair


async def test_messages_arrive_whole_and_in_order(pair: Pair) -> None:
    one, two = pair
    messages = [b"", b"x", b"\xff\x00", b"y" * 200_000, b"last"]
    sending = asyncio.create_task(send_all(one, messages))
    assert [await two.receive() for _ in messages] == messages
    await sending


async def test_many_messages_arrive_completely_and_in_order_in_both_directions(pair: Pair) -> None:
    messages = [b"%d" % number + b"x" * (number * 37 % 5000) for number in range(2000)]
    received: tuple[list[bytes | str], list[bytes | str]] = ([], [])

    async def read(end: Transport, into: list[bytes | str]) -> None:
        while len(into) < len(messages):
            into.append(await end.receive())

    async with asyncio.TaskGroup() as tasks:
        for end, into in zip(pair, received, strict=True):
            tasks.create_task(send_all(end, messages))
            tasks.create_task(read(end, into))
    assert received == (messages, messages)


async def test_both_ends_send_at_the_same_time(pair: Pair) -> None:
    one, two = pair
    await asyncio.gather(one.send(b"to two"), two.send(b"to one"))
    assert [await one.receive(), await two.receive()] == [b"to one", b"to two"]


async def test_what_was_sent_before_closing_arrives(pair: Pair) -> None:
    one, two = pair
    await one.send(b"last words")
    closing = asyncio.create_task(one.close())
    assert await two.receive() == b"last words"
    with pytest.raises(Closed):
        await two.receive()
    await closing


@pytest.mark.parametrize(("code", "clean"), [(1000, True), (1001, True), (1002, False), (4000, False)])
async def test_the_other_side_learns_why_it_was_closed(pair: Pair, code: int, clean: bool) -> None:
    one, two = pair
    closing = asyncio.create_task(one.close(code, "because"))
    with pytest.raises(Closed) as caught:
        await two.receive()
    assert caught.value.code == code
    assert caught.value.clean is clean
    assert str(code) in caught.value.reason
    assert "because" in caught.value.reason
    await closing


async def test_closing_wakes_the_own_reader(pair: Pair) -> None:
    one, two = pair
    reading = asyncio.create_task(receive(one))
    await asyncio.sleep(0)
    closing = asyncio.create_task(one.close())
    assert isinstance(await receive(two), Closed)
    assert isinstance(await reading, Closed)
    await closing


async def test_nothing_is_sent_after_closing(pair: Pair) -> None:
    one, two = pair
    closing = asyncio.create_task(one.close())
    await receive(two)
    await closing
    for end in pair:
        with pytest.raises(Closed):
            await end.send(b"too late")


async def test_receiving_after_the_end_says_closed_each_time(pair: Pair) -> None:
    one, two = pair
    closing = asyncio.create_task(one.close())
    assert [type(await receive(two)) for _ in range(8)] == [Closed] * 8
    await closing
    assert [type(await receive(one)) for _ in range(8)] == [Closed] * 8


async def test_closing_twice_or_from_both_ends_is_no_error(pair: Pair) -> None:
    one, two = pair
    await asyncio.gather(one.close(), two.close())
    await one.close(1002, "again")
    await two.close(1002, "again")


async def test_a_reader_that_is_cancelled_can_read_on(pair: Pair) -> None:
    one, two = pair
    reading = asyncio.create_task(receive(two))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait((reading,))
    await one.send(b"message")
    assert await two.receive() == b"message"


async def test_sending_waits_for_a_slow_reader_and_goes_on_with_it(pair: Pair) -> None:
    one, two = pair
    messages = [b"x" * 500_000] * 40
    sending = asyncio.create_task(send_all(one, messages))
    done, _ = await asyncio.wait((sending,), timeout=0.2)
    assert not done
    assert [await two.receive() for _ in messages] == messages
    await sending


async def test_a_sender_that_waits_gets_closed_when_the_reader_disconnects(pair: Pair) -> None:
    one, two = pair
    sending = asyncio.create_task(send_all(one, [b"x" * 500_000] * 40))
    await asyncio.wait((sending,), timeout=0.1)
    assert not sending.done()
    if isinstance(two, WebSocketTransport):
        tcp(two).abort()
    else:
        await two.close(1006)
    with pytest.raises(Closed):
        await sending


async def test_a_sender_that_is_cancelled_while_it_waits_is_cancelled(pair: Pair) -> None:
    sending = asyncio.create_task(send_all(pair[0], [b"x" * 500_000] * 40))
    await asyncio.wait((sending,), timeout=0.1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


# -- complete or closed


@pytest.fixture(params=[lossy_memory, lossy_sockets, lossy_sockets_reversed])
async def lossy(request: pytest.FixtureRequest) -> AsyncIterator[LossyPair]:
    make: Callable[[], AbstractAsyncContextManager[LossyPair]] = request.param
    async with make() as lossy:
        yield lossy


async def send_until_closed(end: Transport) -> None:
    """Sends until the connection has ended."""
    try:
        while True:
            await end.send(b"after the loss")
    except Closed:
        pass


@pytest.mark.parametrize("before", [0, 1, 10])
async def test_what_precedes_a_lost_message_arrives_and_nothing_that_follows_it(
    lossy: LossyPair, before: int
) -> None:
    messages = [b"%d" % number for number in range(before)]
    received: list[bytes | str] = []
    reading = asyncio.create_task(receive_into(lossy.two, received))
    await send_all(lossy.one, messages)
    await until(lambda: len(received) == before)
    lossy.lose()
    await lossy.one.send(b"lost")
    with suppress(Closed):
        await send_all(lossy.one, [b"after the loss"] * 10)
    lossy.cut()
    async with asyncio.timeout(5):
        closed = await reading
        await send_until_closed(lossy.one)
    assert received == messages
    assert closed.code is None
    assert not closed.clean


async def test_after_a_loss_both_sides_are_closed_each_time(lossy: LossyPair) -> None:
    lossy.lose()
    await lossy.one.send(b"lost")
    lossy.cut()
    async with asyncio.timeout(5):
        for end in (lossy.two, lossy.one):
            closed = [await receive(end) for _ in range(3)]
            assert [getattr(one, "code", 0) for one in closed] == [None] * 3
            with pytest.raises(Closed):
                await end.send(b"too late")


async def test_a_lost_message_also_ends_the_other_direction(lossy: LossyPair) -> None:
    received: list[bytes | str] = []
    reading = asyncio.create_task(receive_into(lossy.one, received))
    await lossy.two.send(b"before")
    await until(lambda: received)
    lossy.lose()
    await lossy.one.send(b"lost")
    lossy.cut()
    async with asyncio.timeout(5):
        assert (await reading).code is None
        await send_until_closed(lossy.two)
    assert received == [b"before"]
