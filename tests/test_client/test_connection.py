from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from msgspec import Raw

from discord_tools.ipc.connection import EVENTS_PER_TURN, NOT_READING, Connection
from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.transports.base import PROTOCOL_ERROR, Closed
from discord_tools.ipc.transports.memory import MemoryTransport, memory_pair
from discord_tools.ipc.wire.peer import MAX_VIOLATIONS, Peer
from discord_tools.ipc.wire.received import CallReceived, PeerEvent, ProtocolViolation
from equipment.peers import ScriptedBot
from equipment.until import settle, until

EMPTY = Raw(b"{}")


class Side:
    """A connection that answers every call with ``size`` bytes, and the other side of it."""

    def __init__(self, *, capacity: int = 16, size: int = 1, backlog: int = 1 << 30, **options: Any) -> None:
        near, far = memory_pair(capacity)
        self.far = ScriptedBot(far)
        self.events: list[PeerEvent] = []
        self.size = size
        self.peer: Peer[object] = Peer(calls=10_000, message_bytes=1 << 30, retained_bytes=1 << 30)
        self.connection = Connection(self.peer, near, self.handle, "test", backlog_bytes=backlog, **options)
        self.running = asyncio.create_task(self.connection.run())

    def handle(self, event: PeerEvent) -> None:
        self.events.append(event)
        if isinstance(event, CallReceived) and self.size:
            self.peer.reply(event.id, b'"' + b"x" * self.size + b'"')

    async def ended(self) -> Closed:
        async with asyncio.timeout(5):
            return await self.running


def call(number: int) -> dict[str, Any]:
    return {"id": number, "method": "stats"}


async def fill(side: Side, calls: int = 100) -> None:
    """Makes calls without reading the answers, until no more are taken."""
    for number in range(calls):
        await side.far.send(call(number))


async def test_what_is_queued_in_one_turn_leaves_as_one_message() -> None:
    side = Side()
    for name in ("one", "two", "three"):
        side.peer.call(name, EMPTY, "context")
        side.connection.wake()
    message = json.loads(await side.far.transport.receive())
    assert [frame["method"] for frame in message] == ["one", "two", "three"]
    await side.far.transport.close()
    await side.ended()


async def test_answers_to_a_message_are_sent_without_a_wake() -> None:
    side = Side()
    await side.far.send(call(1), call(2))
    assert [(await side.far.read())["id"] for _ in range(2)] == [1, 2]
    await side.far.transport.close()
    await side.ended()


async def test_events_come_in_the_order_of_the_frames() -> None:
    side = Side()
    await side.far.send(*map(call, range(EVENTS_PER_TURN * 3 + 1)))
    await side.far.send(call(1000))
    await until(lambda: len(side.events) == EVENTS_PER_TURN * 3 + 2)
    ids = [event.id for event in side.events if isinstance(event, CallReceived)]
    assert ids == [*range(EVENTS_PER_TURN * 3 + 1), 1000]
    await side.far.transport.close()
    await side.ended()


@pytest.mark.parametrize("packed", [True, False], ids=["in one message", "in many messages"])
async def test_the_loop_gets_its_turn_while_much_is_received(packed: bool) -> None:
    side = Side(size=0, capacity=10_000)
    turns: list[int] = []

    async def watch() -> None:
        while True:
            turns.append(len(side.events))
            await asyncio.sleep(0)

    if packed:
        await side.far.send(*map(call, range(1000)))
    else:
        await fill(side, 1000)
    watching = asyncio.create_task(watch())
    await until(lambda: len(side.events) == 1000)
    watching.cancel()
    steps = [two - one for one, two in pairwise(turns)]
    assert max(steps) <= EVENTS_PER_TURN
    await side.far.transport.close()
    await side.ended()


async def test_running_returns_why_the_connection_ended() -> None:
    side = Side()
    await side.far.transport.close(4000, "enough")
    closed = await side.ended()
    assert closed.reason == "closed with code 4000 (enough)"
    assert not closed.clean


async def test_closing_sends_what_is_queued_first() -> None:
    side = Side()
    await asyncio.sleep(0)
    side.peer.bye("enough")
    await side.connection.close(1000, "enough")
    assert (await side.far.read())["method"] == "rpc.bye"
    assert (await side.far.ended()).clean
    assert (await side.ended()).clean


async def test_closing_waits_no_longer_than_it_may_for_a_reader_that_does_not_read() -> None:
    side = Side(capacity=1)
    for _ in range(3):
        side.peer.bye("again")
        side.connection.wake()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await side.connection.close(1000, "", timeout=0.05)
    await side.ended()


async def test_a_connection_that_never_ran_can_be_closed() -> None:
    near, far = memory_pair()
    peer: Peer[object] = Peer(calls=0, message_bytes=100, retained_bytes=100)
    connection = Connection(peer, near, lambda event: None, "test", backlog_bytes=100)
    await connection.close(4000, "never")
    with pytest.raises(Closed, match="4000"):
        await far.receive()


async def test_closing_twice_is_no_error() -> None:
    side = Side()
    await asyncio.gather(side.connection.close(1000, ""), side.connection.close(1000, ""))
    await side.connection.close(1000, "")
    await side.ended()


async def test_cancelling_ends_both_directions_and_leaves_the_transport_open() -> None:
    side = Side()
    await asyncio.sleep(0)
    side.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await side.running
    await side.far.send_bytes(b"still open")
    await side.far.transport.close()


async def test_too_many_violations_end_the_connection_with_a_protocol_error() -> None:
    side = Side()
    await side.far.transport.send(b"[" + b",".join([b"5"] * 1000) + b"]")
    complaints = [await side.far.read() for _ in range(MAX_VIOLATIONS)]
    assert {complaint["error"]["code"] for complaint in complaints} == {-32600}
    assert f"code {PROTOCOL_ERROR}" in (await side.far.ended()).reason
    assert "broke the protocol" in (await side.ended()).reason
    assert [type(event) for event in side.events] == [ProtocolViolation] * MAX_VIOLATIONS


class Faulty:
    """A transport whose sending fails with an error of its own."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.receive = transport.receive
        self.close = transport.close

    async def send(self, message: bytes) -> None:
        raise ZeroDivisionError("a fault of the transport")


async def test_a_transport_that_fails_unexpectedly_is_logged_and_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    near, far = memory_pair()
    peer: Peer[object] = Peer(calls=10, message_bytes=1000, retained_bytes=1000)
    connection = Connection(peer, Faulty(near), lambda event: None, "conn-7", backlog_bytes=1000)
    running = asyncio.create_task(connection.run())
    peer.call("stats", EMPTY, "context")
    connection.wake()
    async with asyncio.timeout(5):
        await running
        with pytest.raises(Closed):
            await far.receive()
    assert "[conn-7] Sending failed" in caplog.text
    assert "a fault of the transport" in caplog.text


# -- a reader that does not read


async def test_nothing_more_is_read_while_too_much_waits_to_be_sent() -> None:
    side = Side(capacity=1, size=1000, backlog=5000)
    filling = asyncio.create_task(fill(side))
    await settle()
    assert not filling.done()
    # The backlog, what is on its way, and what one message may add to it.
    assert len(side.events) <= 5 + 1 + 2
    answers = [(await side.far.read())["id"] for _ in range(100)]
    assert answers == list(range(100))
    await filling
    await side.far.transport.close()
    await side.ended()


async def test_a_pack_of_many_calls_waits_for_capacity_too() -> None:
    side = Side(capacity=1, size=1000, backlog=5000)
    await side.far.send(*map(call, range(EVENTS_PER_TURN * 5)))
    await settle()
    assert not side.running.done()
    assert len(side.events) <= EVENTS_PER_TURN * 2
    assert [(await side.far.read())["id"] for _ in range(EVENTS_PER_TURN * 5)] == [
        *range(EVENTS_PER_TURN * 5)
    ]
    await side.far.transport.close()
    await side.ended()


async def test_a_connection_that_waits_for_capacity_ends_with_its_transport() -> None:
    side = Side(capacity=1, size=1000, backlog=100)
    filling = asyncio.create_task(fill(side))
    await until(side.connection.is_full)
    await settle()
    await side.far.transport.close(1006)
    assert "1006" in (await side.ended()).reason
    await asyncio.wait((filling,))
    assert isinstance(filling.exception(), Closed)


async def test_a_connection_that_waits_for_capacity_can_be_closed() -> None:
    side = Side(capacity=1, size=1000, backlog=100)
    filling = asyncio.create_task(fill(side))
    await until(side.connection.is_full)
    await settle()
    async with asyncio.timeout(5):
        await side.connection.close(1000, "", timeout=0.05)
    await side.ended()
    await asyncio.wait((filling,))
    assert isinstance(filling.exception(), Closed)


@pytest.mark.parametrize("packed", [True, False], ids=["in one message", "in many messages"])
async def test_a_connection_ends_where_the_other_side_does_not_read_within_the_backlog_timeout(
    packed: bool,
) -> None:
    side = Side(capacity=1, size=1000, backlog=100, backlog_timeout=0.05)
    if packed:
        await side.far.send(*map(call, range(EVENTS_PER_TURN * 5)))
    filling = asyncio.create_task(fill(side))
    assert await side.ended() is NOT_READING
    await side.connection.close(1000, "", timeout=0)
    await asyncio.wait((filling,))
    assert isinstance(filling.exception(), Closed)


async def test_producers_of_large_frames_wait_for_capacity_and_get_it() -> None:
    side = Side(capacity=1, backlog=100)
    await side.connection.wait_for_capacity()
    for _ in range(3):
        side.peer.call("stats", Raw(b'"' + b"x" * 100 + b'"'), "context")
        side.connection.wake()
        await asyncio.sleep(0)
    waiting = asyncio.create_task(side.connection.wait_for_capacity())
    await settle()
    assert not waiting.done()
    for _ in range(3):
        await side.far.read()
    async with asyncio.timeout(5):
        await waiting
    await side.far.transport.close()
    await side.ended()


async def test_capacity_comes_with_the_first_messages_that_free_it() -> None:
    side = Side(capacity=1, backlog=PACK_BYTES * 4)
    for _ in range(8):
        side.peer.call("stats", Raw(b'"' + b"x" * PACK_BYTES + b'"'), "context")
    side.connection.wake()
    await until(side.connection.is_full)
    waiting = asyncio.create_task(side.connection.wait_for_capacity())
    for _ in range(5):
        await side.far.read()
    async with asyncio.timeout(5):
        await waiting
    assert not side.connection.is_full()
    await side.far.transport.close()
    await side.ended()


async def test_waiting_for_capacity_ends_with_the_connection() -> None:
    side = Side(capacity=1, backlog=100)
    for _ in range(3):
        side.peer.call("stats", Raw(b'"' + b"x" * 100 + b'"'), "context")
        side.connection.wake()
        await asyncio.sleep(0)
    waiting = asyncio.create_task(side.connection.wait_for_capacity())
    await settle()
    assert not waiting.done()
    await side.far.transport.close()
    async with asyncio.timeout(5):
        await waiting
        await side.connection.wait_for_capacity()
    await side.ended()


# -- streams


async def test_what_is_queued_while_items_of_a_stream_are_sent_follows_them() -> None:
    near, far = memory_pair(1)
    peer: Peer[object] = Peer(calls=10, message_bytes=1 << 30, retained_bytes=1 << 30)
    items = [b"%d" % number + b"0" * PACK_BYTES for number in range(1, 6)]

    def stream(event: PeerEvent) -> None:
        if isinstance(event, CallReceived):
            for item in items:
                peer.item(event.id, b'"' + item + b'"')

    connection = Connection(peer, near, stream, "test", backlog_bytes=1 << 30)
    peer.outbox.wake = connection.wake
    running = asyncio.create_task(connection.run())
    side = ScriptedBot(far)
    await side.send({**call(1), "credit": 10})
    await until(lambda: peer.outbox.sent)
    for _ in range(5):
        await asyncio.sleep(0)
    peer.bye("last")
    frames = [await side.read() for _ in range(len(items) + 1)]
    assert [frame["method"] for frame in frames] == ["rpc.item"] * len(items) + ["rpc.bye"]
    await far.close()
    await running
