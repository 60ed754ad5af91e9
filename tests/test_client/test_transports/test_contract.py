"""The same tests over every transport, then what is special about each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.transports.memory import memory_pair
from discord_tools.ipc.transports.websocket import WebSocketTransport

Pair = tuple[Transport, Transport]


@asynccontextmanager
async def memory() -> AsyncGenerator[Pair]:
    yield memory_pair()


@asynccontextmanager
async def sockets(limit: int = 1 << 20) -> AsyncGenerator[Pair]:
    """Both ends of a real WebSocket: the client's, then the server's."""
    accepted: asyncio.Future[web.WebSocketResponse] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=limit, timeout=0.2)
        await socket.prepare(request)
        accepted.set_result(socket)
        await over.wait()
        return socket

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as http:
        socket = await http.ws_connect(
            f"http://127.0.0.1:{runner.addresses[0][1]}",
            max_msg_size=limit,
            timeout=aiohttp.ClientWSTimeout(ws_close=0.2),
        )
        try:
            yield WebSocketTransport(socket, close_seconds=0.4), WebSocketTransport(await accepted)
        finally:
            await socket.close()
            over.set()
            await runner.cleanup()


@asynccontextmanager
async def sockets_turned() -> AsyncGenerator[Pair]:
    async with sockets() as (one, two):
        yield two, one


@pytest.fixture(params=[memory, sockets, sockets_turned])
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


async def test_a_sender_that_waits_is_told_when_the_reader_has_gone(pair: Pair) -> None:
    one, two = pair
    sending = asyncio.create_task(send_all(one, [b"x" * 500_000] * 40))
    await asyncio.wait((sending,), timeout=0.1)
    assert not sending.done()
    if isinstance(two, WebSocketTransport):
        transport(two).abort()
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


# -- memory


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


# -- WebSocket


async def test_messages_are_sent_as_binary_frames() -> None:
    async with sockets() as (one, two):
        await one.send(b"{}")
        message = await raw(two).receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.BINARY, b"{}")


async def test_text_frames_are_received_too() -> None:
    async with sockets() as (one, two):
        await raw(two).send_str("{}")
        assert await one.receive() == "{}"


async def test_a_message_over_the_limit_breaks_the_connection_and_says_so() -> None:
    async with sockets(limit=1000) as (one, two):
        await two.send(b"x" * 1001)
        closed, other = await asyncio.gather(receive(one), receive(two))
        assert isinstance(closed, Closed)
        assert not closed.clean
        assert "broken WebSocket" in closed.reason
        assert "exceeds limit" in closed.reason
        assert isinstance(other, Closed)
        assert "1009" in other.reason


@pytest.mark.parametrize("client", [True, False], ids=["by the client", "by the server"])
async def test_a_connection_that_breaks_is_no_clean_end(client: bool) -> None:
    async with sockets() as (one, two):
        breaking, left = (one, two) if client else (two, one)
        transport(breaking).abort()
        closed = await receive(left)
        assert isinstance(closed, Closed)
        assert not closed.clean


async def test_a_reason_that_is_too_long_is_cut_between_characters() -> None:
    async with sockets() as (one, two):
        closing = asyncio.create_task(one.close(4000, "ж" * 100))
        closed = await receive(two)
        assert isinstance(closed, Closed)
        assert closed.reason == f"closed with code 4000 ({'ж' * 61})"
        await closing


async def test_closing_ends_in_time_although_the_other_side_goes_on_sending() -> None:
    async with sockets() as (one, two):
        flood = asyncio.create_task(flooding(two))
        try:
            async with asyncio.timeout(5):
                await one.close()
            assert raw(one).closed
        finally:
            flood.cancel()
            await asyncio.wait((flood,))


async def test_closing_throws_away_what_nobody_reads_and_tells_who_sends_it() -> None:
    async with sockets() as (_, server):
        bounded = WebSocketTransport(raw(server), transport(server).abort, close_seconds=0.2)
        sending = asyncio.create_task(send_all(bounded, [b"x" * 500_000] * 40))
        await asyncio.wait((sending,), timeout=0.1)
        async with asyncio.timeout(5):
            await bounded.close()
        with pytest.raises(Closed):
            await sending
        assert transport(server).is_closing()
        assert transport(server).get_write_buffer_size() == 0


async def test_a_ping_that_cannot_be_answered_any_more_is_the_end() -> None:
    async with sockets() as (one, two):
        await raw(two).ping()
        transport(one).close()
        closed = await receive(one)
        assert isinstance(closed, Closed)


async def send_all(end: Transport, messages: Sequence[bytes]) -> None:
    for message in messages:
        await end.send(message)


async def flooding(end: Transport) -> None:
    while True:
        await end.send(b"x")
        await asyncio.sleep(0)


async def receive(end: Transport) -> object:
    try:
        return await end.receive()
    except Closed as closed:
        return closed


def raw(end: Transport) -> aiohttp.ClientWebSocketResponse | web.WebSocketResponse:
    """The socket of aiohttp below a transport."""
    assert isinstance(end, WebSocketTransport)
    return end._socket  # pyright: ignore[reportPrivateUsage]


def transport(end: Transport) -> asyncio.Transport:
    """The transport of asyncio below that."""
    return raw(end)._writer.transport  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
