from __future__ import annotations

import asyncio

import aiohttp
import pytest

from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.transports.websocket import WebSocketTransport
from test_client.scripts import until
from test_client.test_transports.pairs import LossyProxy, raw, receive, receive_into, send_all, sockets, tcp


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


async def flooding(end: Transport) -> None:
    while True:
        await end.send(b"x")
        await asyncio.sleep(0)


@pytest.mark.parametrize("arriving", [1, 2, 5, 50])
@pytest.mark.parametrize("client", [True, False], ids=["from the client", "from the server"])
async def test_a_message_of_which_only_a_part_arrives_is_lost(client: bool, arriving: int) -> None:
    received: list[bytes | str] = []
    async with LossyProxy() as proxy, sockets(proxy=proxy) as (one, two):
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
