from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

import aiohttp
import pytest
from aiohttp import web

from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.transports.websocket import MAX_CONTROL_FRAMES, WebSocketTransport, release
from equipment.clocks import LoopClock
from equipment.proxy import Proxy
from equipment.until import until
from test_client.test_transports.pairs import raw, receive, receive_into, send_all, sockets, tcp

Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


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
        tcp(breaking).abort()
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


async def test_closing_discards_what_is_not_read_and_ends_its_sender() -> None:
    async with sockets() as (_, server):
        bounded = WebSocketTransport(raw(server), tcp(server).abort, close_timeout=0.2)
        sending = asyncio.create_task(send_all(bounded, [b"x" * 500_000] * 40))
        await asyncio.wait((sending,), timeout=0.1)
        async with asyncio.timeout(5):
            await bounded.close()
        with pytest.raises(Closed):
            await sending
        assert tcp(server).is_closing()
        assert tcp(server).get_write_buffer_size() == 0


async def test_a_ping_that_cannot_be_answered_any_more_is_the_end() -> None:
    async with sockets() as (one, two):
        await raw(two).ping()
        tcp(one).close()
        closed = await receive(one)
        assert isinstance(closed, Closed)


# -- pings and pongs


@asynccontextmanager
async def pinged(*, answer_pings: bool = True) -> AsyncIterator[tuple[WebSocketTransport, Socket]]:
    """A transport, and the socket of the other side, which shows pings and pongs."""
    async with sockets(autoping=False) as (one, two):
        socket = raw(one)
        assert isinstance(socket, aiohttp.ClientWebSocketResponse)
        transport = WebSocketTransport(socket, lambda: release(socket), answer_pings=answer_pings)
        try:
            yield transport, raw(two)
        finally:
            await transport.close()


async def next_pong(socket: Socket) -> bytes:
    async with asyncio.timeout(5):
        message = await socket.receive()
    assert message.type is aiohttp.WSMsgType.PONG
    return message.data


async def test_pings_are_answered_each_with_its_own_data() -> None:
    async with pinged() as (transport, other):
        for data in (b"1", b"2", b""):
            await other.ping(data)
        await other.send_bytes(b"{}")
        assert await transport.receive() == b"{}"
        assert [await next_pong(other) for _ in range(3)] == [b"1", b"2", b""]


async def test_pings_are_not_answered_before_they_are_to_be_answered() -> None:
    async with pinged(answer_pings=False) as (transport, other):
        for _ in range(3):
            await other.ping(b"early")
        await other.send_bytes(b"key")
        assert await transport.receive() == b"key"
        transport.answer_pings = True
        await other.ping(b"late")
        await other.send_bytes(b"{}")
        assert await transport.receive() == b"{}"
        assert await next_pong(other) == b"late"


@pytest.mark.parametrize("kinds", ["ping", "pong", "ping pong"])
@pytest.mark.parametrize("answer_pings", [True, False], ids=["answered", "not answered"])
@pytest.mark.parametrize("between", [False, True], ids=["in a row", "between messages"])
async def test_more_than_32_pings_and_pongs_within_a_second_close_the_connection(
    monkeypatch: pytest.MonkeyPatch, kinds: str, answer_pings: bool, between: bool
) -> None:
    assert MAX_CONTROL_FRAMES == 32
    async with pinged(answer_pings=answer_pings) as (transport, other):
        LoopClock(monkeypatch, stopped=True)
        send = cycle([getattr(other, kind) for kind in kinds.split()])
        for _ in range(MAX_CONTROL_FRAMES):
            await next(send)()
            if between:
                await other.send_bytes(b"message")
                assert await transport.receive() == b"message"
        await other.send_bytes(b"last")
        assert await transport.receive() == b"last"
        await next(send)()
        with pytest.raises(Closed, match="more than 32 pings and pongs in a second") as caught:
            await transport.receive()
        assert not caught.value.clean
        monkeypatch.undo()
        async with asyncio.timeout(5):
            while (await other.receive()).type is aiohttp.WSMsgType.PONG:
                pass
        assert other.closed


async def test_pings_and_pongs_of_a_second_that_is_over_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pinged() as (transport, other):
        clock = LoopClock(monkeypatch, stopped=True)
        for _ in range(5):
            clock.ahead += 1.25
            for _ in range(MAX_CONTROL_FRAMES):
                await other.pong()
            await other.send_bytes(b"{}")
            assert await transport.receive() == b"{}"
        await other.pong()
        with pytest.raises(Closed, match="pings and pongs"):
            await transport.receive()
        monkeypatch.undo()


async def flooding(end: Transport) -> None:
    while True:
        await end.send(b"x")
        await asyncio.sleep(0)


@pytest.mark.parametrize("arriving", [1, 2, 5, 50])
@pytest.mark.parametrize("client", [True, False], ids=["from the client", "from the server"])
async def test_a_message_of_which_only_a_part_arrives_is_lost(client: bool, arriving: int) -> None:
    received: list[bytes | str] = []
    async with Proxy(0) as proxy, sockets(proxy=proxy) as (one, two):
        sender, receiver = (one, two) if client else (two, one)
        reading = asyncio.create_task(receive_into(receiver, received))
        await sender.send(b"whole")
        await until(lambda: received)
        proxy.lose("up" if client else "down", arriving)
        await send_all(sender, [b"x" * 100] * 3)
        proxy.cut()
        async with asyncio.timeout(5):
            closed = await reading
    assert received == [b"whole"]
    assert closed.code is None
