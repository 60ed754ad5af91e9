"""A conversation over pairs of memory transports. What the bot sends is written out frame by frame."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from typing import Any

import pytest
from msgspec import Raw

from discord_tools.ipc import (
    Cancelled,
    ClientLimits,
    ConnectError,
    ConnectionLost,
    NotReady,
    ProtocolError,
    RequestTimeout,
    RequestTooLarge,
    RouteError,
    SessionClosed,
)
from discord_tools.ipc.connection import EVENTS_PER_TURN
from discord_tools.ipc.conversation import AGENT, Conversation
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import MemoryTransport, memory_pair
from discord_tools.ipc.wire.peer import MAX_VIOLATIONS
from equipment.clocks import LoopClock
from equipment.peers import ScriptedBot, welcome
from equipment.until import settle, until

LIMITS = ClientLimits(handshake_timeout=5.0, close_timeout=0.1)
EMPTY = Raw(b"{}")
GONE = ConnectError("host", 1, "gone")


class Line:
    """A conversation, and the bot's side of its present connection."""

    def __init__(self, timeout: float | None = None, **headers: Any) -> None:
        self.conversation = Conversation(LIMITS, timeout, headers)
        self.connect()

    def connect(self) -> None:
        self.near: MemoryTransport
        self.near, far = memory_pair()
        self.far = ScriptedBot(far)

    def start(self, endpoint: str = "stats", timeout: float | None = 5.0) -> asyncio.Task[Raw]:
        return asyncio.create_task(self.conversation.call(endpoint, EMPTY, timeout))

    async def shake_hands(self, **grants: Any) -> dict[str, Any]:
        """Sends the hello and reads the answer."""
        await self.near.send(self.conversation.hello())
        hello = await self.far.welcome(**grants)
        self.conversation.welcomed(await self.near.receive())
        return hello

    async def open(self, **grants: Any) -> dict[str, Any]:
        """Connects, and runs the connection."""
        hello = await self.shake_hands(**grants)
        self.run()
        return hello

    def run(self) -> None:
        connection = self.conversation.attach(self.near, "bot")
        self.running = asyncio.create_task(self.conversation.carry(connection))

    async def again(self, **grants: Any) -> dict[str, Any]:
        """The same with another connection."""
        self.connect()
        return await self.open(**grants)

    async def resume(self, received: int) -> dict[str, Any]:
        """The same with a bot that resumes the conversation and has received that number of messages."""
        return await self.again(resumed=True, received=received)

    async def disconnect(self, code: int = 1006) -> Closed:
        await self.far.transport.close(code)
        async with asyncio.timeout(5):
            return await self.running


@pytest.fixture
async def line() -> Any:
    line = Line()
    await line.open()
    yield line
    await line.disconnect()


# -- the hello


async def test_the_hello_has_the_client_the_timeout_the_largest_message_and_the_headers() -> None:
    line = Line(12.5, user=7)
    frame = await line.shake_hands(calls=3, message_bytes=1000)
    assert frame["params"] == {
        "client": AGENT,
        "timeout": 12.5,
        "message_bytes": LIMITS.message_bytes,
        "headers": {"user": 7},
    }


async def test_the_hello_of_a_client_without_a_timeout_has_none() -> None:
    assert (await Line(None).shake_hands())["params"].get("timeout") is None


async def test_the_hello_after_a_cut_has_the_token_and_the_number_of_messages_received() -> None:
    line = Line()
    await line.open(session="my token")
    call = line.start()
    await line.far.answer(await line.far.expect_call("stats"), 1)
    await call
    await line.disconnect()
    hello = await line.resume(1)
    assert (hello["params"]["session"], hello["params"]["received"]) == ("my token", 1)
    await line.disconnect()


async def test_an_answer_that_is_not_a_welcome_leaves_the_conversation_unusable() -> None:
    line = Line()
    with pytest.raises(ProtocolError, match=r"rpc\.hello cannot be understood"):
        line.conversation.welcomed(b'{"jsonrpc":"2.0","id":0,"result":"welcome"}')
    assert not line.conversation.usable


async def test_a_conversation_with_a_server_of_version_1_0_cannot_be_resumed() -> None:
    conversation = Conversation(ClientLimits(), None, {})
    result = {k: v for k, v in welcome().items() if k not in ("session", "resumed", "received")}
    conversation.welcomed(json.dumps({"jsonrpc": "2.0", "id": 0, "result": result}))
    assert "session" not in json.loads(conversation.hello())["params"]


@pytest.mark.parametrize("calls", [2**62, 0, -1])
async def test_calls_can_be_made_with_any_number_of_places(calls: int) -> None:
    line = Line()
    async with asyncio.timeout(5):
        await line.open(calls=calls)
    call = line.start()
    await line.far.answer(await line.far.expect_call("stats"), 1)
    assert await call == Raw(b"1")
    await line.disconnect()


# -- calls


async def test_each_call_gets_its_own_answer(line: Line) -> None:
    calls = [line.start(str(number)) for number in range(10)]
    frames = [await line.far.read() for _ in calls]
    await line.far.send(*({"id": frame["id"], "result": frame["method"]} for frame in reversed(frames)))
    assert [await call for call in calls] == [Raw(b'"%d"' % number) for number in range(10)]


async def test_an_error_of_the_bot_is_raised_with_all_that_it_has(line: Line) -> None:
    call = line.start()
    error = {"code": 404, "message": "no such guild", "data": {"id": 7}}
    await line.far.send({"id": (await line.far.read())["id"], "error": error})
    with pytest.raises(RouteError) as caught:
        await call
    assert (caught.value.code, caught.value.data, caught.value.endpoint) == (404, {"id": 7}, "stats")


async def test_an_error_whose_data_cannot_be_read_is_raised_without(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    call = line.start()
    frame = await line.far.read()
    await line.far.send_bytes(
        b'{"jsonrpc":"2.0","id":%d,"error":{"code":404,"message":"no","data":"\xff"}}' % frame["id"]
    )
    with pytest.raises(RouteError) as caught:
        await call
    assert (caught.value.code, caught.value.data) == (404, None)
    assert "data of an error of 'stats' cannot be decoded" in caplog.text


async def test_no_answer_in_time_is_a_timeout_and_cancels_the_call_there(line: Line) -> None:
    call = line.start(timeout=0.05)
    number = (await line.far.expect_call("stats"))["id"]
    with pytest.raises(RequestTimeout) as caught:
        await call
    assert (caught.value.endpoint, caught.value.seconds) == ("stats", 0.05)
    assert await line.far.read() == {"jsonrpc": "2.0", "method": "rpc.cancel", "params": {"id": number}}


async def test_cancelling_cancels_the_call_there_and_ignores_its_late_answer(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    call = line.start()
    frame = await line.far.expect_call("stats")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await line.far.read())["params"] == {"id": frame["id"]}
    await line.far.answer(frame, "late")
    other = line.start("other")
    await line.far.answer(await line.far.expect_call("other"), "own")
    assert await other == Raw(b'"own"')
    assert caplog.text == ""


async def test_an_answer_in_the_turn_of_the_cancellation_has_no_effect(line: Line) -> None:
    call = line.start()
    frame = await line.far.expect_call("stats")
    await line.far.answer(frame, 1)
    call.cancel()
    await asyncio.wait((call,))
    assert call.cancelled()
    other = line.start("other")
    # The call was answered before it was forgotten, so there is nothing to cancel there.
    await line.far.answer(await line.far.expect_call("other"), 2)
    assert await other == Raw(b"2")


async def test_an_answer_and_a_timeout_in_the_same_turn_end_the_call_once(line: Line) -> None:
    call = line.start(timeout=0.05)
    frame = await line.far.expect_call("stats")
    loop = asyncio.get_running_loop()
    # Both are due when the loop gets its next turn.
    end = loop.time() + 0.1
    await line.far.answer(frame, 1)
    while loop.time() < end:
        pass
    done, _ = await asyncio.wait((call,), timeout=5)
    assert done
    assert call.exception() is None or isinstance(call.exception(), RequestTimeout)


async def test_an_answer_to_an_unknown_id_is_a_warning_and_no_more(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    await line.far.send({"id": 999, "result": 1}, {"id": "x", "result": 2})
    call = line.start()
    complaints = [await line.far.read() for _ in range(2)]
    assert [complaint["error"]["code"] for complaint in complaints] == [-32600, -32600]
    await line.far.answer(await line.far.expect_call("stats"), 3)
    assert await call == Raw(b"3")
    assert caplog.text.count("belongs to no call") == 2


async def test_a_second_answer_to_a_call_is_a_warning_and_changes_nothing(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    call = line.start()
    frame = await line.far.read()
    await line.far.send({"id": frame["id"], "result": 1}, {"id": frame["id"], "result": 2})
    assert await call == Raw(b"1")
    assert "belongs to no call" in caplog.text


async def test_a_call_over_the_bots_limit_is_refused_and_the_connection_goes_on() -> None:
    line = Line()
    await line.open(message_bytes=200)
    with pytest.raises(RequestTooLarge, match="takes 200"):
        await line.conversation.call("stats", Raw(b'"' + b"x" * 200 + b'"'), 5.0)
    call = line.start()
    await line.far.answer(await line.far.expect_call("stats"), 1)
    assert await call == Raw(b"1")
    await line.disconnect()


async def test_a_bot_that_calls_gets_the_error_that_there_are_no_routes(line: Line) -> None:
    await line.far.send({"id": "x", "method": "stats"})
    answer = await line.far.read()
    assert answer["id"] == "x"
    assert answer["error"]["code"] < 0


# -- places


async def test_no_more_calls_are_open_than_the_bot_grants() -> None:
    line = Line()
    await line.open(calls=3)
    calls = [line.start(str(number)) for number in range(10)]
    opened = [await line.far.read() for _ in range(3)]
    fourth = asyncio.create_task(line.far.read())
    await settle()
    assert not fourth.done()
    for number in range(10):
        frame = opened.pop(0)
        await line.far.answer(frame, frame["method"])
        if number < 7:
            opened.append(await fourth if number == 0 else await line.far.read())
    assert [await call for call in calls] == [Raw(b'"%d"' % number) for number in range(10)]
    await line.disconnect()


async def test_a_call_that_is_cancelled_or_timed_out_gives_its_place_to_the_next() -> None:
    line = Line()
    await line.open(calls=1)
    cancelled, timed_out, last = line.start("1"), line.start("2", 0.05), line.start("3")
    await line.far.expect_call("1")
    await asyncio.wait((timed_out,))  # while it waits for its place
    assert isinstance(timed_out.exception(), RequestTimeout)
    cancelled.cancel()
    assert (await line.far.read())["method"] == "rpc.cancel"
    await line.far.answer(await line.far.expect_call("3"), 3)
    assert await last == Raw(b"3")
    await line.disconnect()


async def test_a_call_that_waits_for_a_place_passes_what_it_was_given() -> None:
    line = Line()
    await line.open(calls=1)
    first, tags = line.start("1"), ["old"]
    second = asyncio.create_task(line.conversation.call("2", {"tags": tags}, 5.0))
    frame = await line.far.expect_call("1")
    tags.append("new")
    await line.far.answer(frame)
    frame = await line.far.expect_call("2")
    assert frame["params"] == {"tags": ["old"]}
    await line.far.answer(frame)
    await asyncio.gather(first, second)
    await line.disconnect()


async def test_waiting_for_a_place_counts_into_the_timeout() -> None:
    line = Line()
    await line.open(calls=1)
    first, second = line.start("1", None), line.start("2", 0.05)
    frame = await line.far.expect_call("1")
    with pytest.raises(RequestTimeout) as caught:
        async with asyncio.timeout(5):
            await second
    assert (caught.value.endpoint, caught.value.seconds) == ("2", 0.05)
    await line.far.answer(frame, 1)
    assert await first == Raw(b"1")
    await line.disconnect()


async def test_a_place_that_comes_late_leaves_only_the_rest_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line()
    await line.open(calls=1)
    first = line.start("1", None)
    frame = await line.far.expect_call("1")
    second = line.start("2", 100.0)
    await asyncio.sleep(0)
    clock = LoopClock(monkeypatch)
    clock.ahead = 95.0
    await line.far.answer(frame, 1)
    await line.far.expect_call("2")
    clock.ahead = 100.0
    with pytest.raises(RequestTimeout) as caught:
        async with asyncio.timeout(5):
            await second
    assert caught.value.seconds == 100.0
    assert await first == Raw(b"1")
    await line.disconnect()


async def test_calls_that_share_a_timer_end_each_at_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(10.0)
    await line.open()
    clock = LoopClock(monkeypatch)
    answered, first = line.start("answered", 10.0), line.start("first", 10.0)
    frame = await line.far.expect_call("answered")
    await line.far.expect_call("first")
    await line.far.answer(frame, 1)
    assert await answered == Raw(b"1")
    clock.ahead = 5.0
    second = line.start("second", 10.0)
    await line.far.expect_call("second")
    for ends, call, ahead in (("first", first, 10.0), ("second", second, 15.0)):
        clock.ahead = ahead
        with pytest.raises(RequestTimeout) as caught:
            async with asyncio.timeout(5):
                await call
        assert caught.value.endpoint == ends
        assert (await line.far.read())["method"] == "rpc.cancel"
        assert second.done() == (ends == "second")
    await line.disconnect()


async def test_a_call_whose_time_is_over_is_never_sent() -> None:
    line = Line(30.0)
    await line.open()
    with pytest.raises(RequestTimeout) as caught:
        await line.conversation.call("late", EMPTY, 0.0)
    assert (caught.value.endpoint, caught.value.seconds) == ("late", 30.0)
    call = line.start()
    await line.far.answer(await line.far.expect_call("stats"), 1)
    assert await call == Raw(b"1")
    await line.disconnect()


async def test_a_call_with_less_time_than_the_hello_said_carries_its_own_timeout() -> None:
    line = Line(30.0)
    await line.open()
    calls = [line.start("whole", 30.0), line.start("rest", 5.0)]
    frames = [await line.far.expect_call("whole"), await line.far.expect_call("rest")]
    assert [frame.get("headers") for frame in frames] == [None, {"timeout": 5.0}]
    assert [set(frame["meta"]) for frame in frames] == [{"clock"}, {"timeout"}]
    assert frames[1]["meta"]["timeout"] == 5.0
    for frame in frames:
        await line.far.answer(frame, 1)
    await asyncio.gather(*calls)
    await line.disconnect()


async def test_the_first_call_brings_the_clock_and_later_ones_at_most_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = LoopClock(monkeypatch, stopped=True)
    began = clock.began
    line = Line(30.0)
    await line.open()
    brought: list[Any] = []
    for after in (0.0, 1.0, 1.25, 1.25, 2.25, 2.5, 3.0, 7.0):
        clock.ahead = after
        call = line.start("stats", 30.0)
        frame = await line.far.expect_call("stats")
        brought.append(frame.get("meta"))
        assert "headers" not in frame
        await line.far.answer(frame, 1)
        await call
    assert brought == [
        {"clock": began},
        None,
        {"clock": began + 1.25},
        None,
        None,
        {"clock": began + 2.5},
        None,
        {"clock": began + 7.0},
    ]
    monkeypatch.undo()
    await line.disconnect()


async def test_a_call_with_its_own_timeout_or_without_one_brings_no_clock_and_delays_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = LoopClock(monkeypatch, stopped=True)
    line = Line(30.0)
    await line.open()
    clock.ahead += 5.0
    brought: list[Any] = []
    for timeout in (10.0, None, 30.0):
        call = line.start("stats", timeout)
        frame = await line.far.expect_call("stats")
        brought.append(frame.get("meta"))
        await line.far.answer(frame, 1)
        await call
    assert brought == [{"timeout": 10.0}, None, {"clock": clock.began + 5.0}]
    monkeypatch.undo()
    await line.disconnect()


async def test_a_call_that_is_cancelled_while_it_waits_for_a_place_is_never_sent() -> None:
    line = Line()
    await line.open(calls=1)
    first, second = line.start("1"), line.start("2")
    frame = await line.far.expect_call("1")
    second.cancel()
    await asyncio.wait((second,))
    third = line.start("3")
    await line.far.answer(frame, 1)
    await line.far.answer(await line.far.expect_call("3"), 3)
    assert [await first, await third] == [Raw(b"1"), Raw(b"3")]
    await line.disconnect()


# -- a connection that breaks


async def test_calls_outlive_a_cut_and_are_not_sent_twice() -> None:
    line = Line()
    await line.open(calls=2)
    calls = [line.start(str(number)) for number in range(4)]
    frames = [await line.far.read() for _ in range(2)]
    await line.disconnect()
    await line.again(calls=2, resumed=True, received=1)
    for number in range(4):
        await line.far.answer(frames.pop(0), number)
        if number < 2:
            frames.append(await line.far.expect_call(str(number + 2)))
    assert [await call for call in calls] == [Raw(b"%d" % number) for number in range(4)]
    await line.disconnect()


async def test_what_the_bot_has_not_received_is_sent_again_and_as_it_was() -> None:
    line = Line()
    await line.open()
    first = line.start("1")
    await line.far.answer(await line.far.expect_call("1"), 1)
    await first
    second = line.start("2")
    frame = await line.far.expect_call("2")
    await line.disconnect()
    third = line.start("3")
    await line.resume(1)
    assert await line.far.expect_call("2") == frame
    await line.far.answer(frame, 2)
    await line.far.answer(await line.far.expect_call("3"), 3)
    assert [await second, await third] == [Raw(b"2"), Raw(b"3")]
    await line.disconnect()


async def test_calls_that_may_have_run_are_lost_with_the_bot_and_the_others_are_called_there() -> None:
    line = Line()
    await line.open(calls=3)
    calls = [line.start(name) for name in ("a", "/b", "c", "d", "e")]
    for _ in range(3):
        await line.far.read()
    await line.disconnect()
    await line.again(calls=5, session="another", idempotent=["/b", "/c"])
    frames = {frame["method"]: frame for frame in [await line.far.read() for _ in range(4)]}
    assert set(frames) == {"/b", "c", "d", "e"}
    for name, frame in frames.items():
        await line.far.answer(frame, name)
    with pytest.raises(ConnectionLost) as caught:
        await calls[0]
    assert str(caught.value) == str(ConnectionLost("a"))
    assert [await call for call in calls[1:]] == [Raw(b'"/b"'), Raw(b'"c"'), Raw(b'"d"'), Raw(b'"e"')]
    await line.disconnect()


async def test_a_call_cancelled_in_the_turn_of_a_new_conversation_ends_no_other_call() -> None:
    line = Line()
    await line.open(calls=3)
    lost, kept = line.start("lost"), line.start("kept")
    for _ in range(2):
        await line.far.read()
    await line.disconnect()
    line.connect()
    await line.near.send(line.conversation.hello())
    await line.far.welcome(calls=3, session="another", idempotent=["/kept"])
    answer = await line.near.receive()
    lost.cancel()  # it was number 1, as the other one is now
    line.conversation.welcomed(answer)
    line.run()
    with pytest.raises(asyncio.CancelledError):
        await lost
    await line.far.answer(await line.far.expect_call("kept"), 2)
    assert await asyncio.wait_for(kept, 5) == Raw(b"2")
    await line.disconnect()


async def test_a_call_that_another_bot_does_not_take_is_too_large() -> None:
    line = Line()
    await line.open(calls=1)
    first = line.start("1")
    frame = await line.far.expect_call("1")
    await line.far.answer(frame, 1)
    await first
    await line.disconnect()
    large = asyncio.create_task(line.conversation.call("large", Raw(b'"' + b"x" * 200 + b'"'), 5.0))
    await asyncio.sleep(0)
    await line.again(message_bytes=200, session="another")
    with pytest.raises(RequestTooLarge, match="takes 200"):
        await large
    await line.disconnect()


async def test_a_bot_that_misses_what_is_not_retained_is_disconnected_and_a_new_conversation_begins() -> None:
    line = Line()
    await line.open()
    call = line.start()
    await line.far.expect_call("stats")
    await line.disconnect()
    with pytest.raises(Closed, match="no longer retained"):
        await line.resume(99)
    assert not line.conversation.usable
    hello = await line.again()
    assert "session" not in hello["params"]
    with pytest.raises(ConnectionLost):
        await call
    await line.disconnect()


async def test_giving_up_ends_what_may_have_run_as_lost_and_what_was_never_sent_as_a_connect_error() -> None:
    line = Line()
    await line.open(calls=3)
    calls = [line.start(str(number)) for number in range(2)]
    for _ in range(2):
        await line.far.read()
    await line.disconnect()
    calls += [line.start(str(number)) for number in range(2, 5)]
    await asyncio.sleep(0)
    line.conversation.give_up(GONE)
    await asyncio.wait(calls)
    assert [str(call.exception()) for call in calls] == [
        str(ConnectionLost("0")),
        str(ConnectionLost("1")),
        *[str(GONE)] * 3,
    ]
    await line.resume(1)
    cancels = [await line.far.read() for _ in range(2)]  # of those that it may have received
    assert [frame["method"] for frame in cancels] == ["rpc.cancel"] * 2
    last = line.start("last")
    await line.far.answer(await line.far.expect_call("last"), 1)
    assert await last == Raw(b"1")
    await line.disconnect()


async def test_a_conversation_without_a_connection_is_not_usable() -> None:
    line = Line()
    assert not line.conversation.usable
    await line.open()
    assert line.conversation.usable
    assert line.conversation.ready.is_set()
    await line.disconnect()
    assert not line.conversation.usable
    assert not line.conversation.ready.is_set()


async def test_while_the_bot_is_closing_open_calls_are_answered_and_new_ones_not_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "discord_tools.ipc")
    line = Line()
    await line.open(calls=1)
    call, waiting = line.start(), line.start("waiting")
    frame = await line.far.expect_call("stats")
    await line.far.send({"method": "rpc.bye", "params": {"reason": "good night"}})
    await until(lambda: not line.conversation.usable)
    new = line.start("new")
    await line.far.answer(frame, 1)
    assert await call == Raw(b"1")
    assert "good night" in caplog.text
    reading = asyncio.create_task(line.far.ended())
    await settle()
    assert [task.done() for task in (waiting, new, reading)] == [False] * 3
    await line.disconnect(1001)
    await reading
    await line.again(session="another")
    for one in (waiting, new):
        await line.far.answer(await line.far.read(), 2)
        assert await one == Raw(b"2")
    await line.disconnect()


async def test_after_another_client_took_the_conversation_over_a_new_one_begins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line()
    await line.open()
    assert (await line.disconnect(4001)).code == 4001
    assert "took this conversation over" in caplog.text
    assert "session" not in (await line.again())["params"]
    await line.disconnect()


# -- calls that the bot refused because it is closing


REFUSAL = {"code": NotReady.code, "message": "the bot is shutting down", "data": {"ran": False}}


async def refuse(line: Line, *names: str) -> None:
    """Reads calls and refuses them, as a bot does that is closing."""
    frames = [await line.far.expect_call(name) for name in names]
    received = line.conversation.received
    await line.far.send({"method": "rpc.bye", "params": {"reason": "restart"}})
    await line.far.send(*({"id": frame["id"], "error": REFUSAL} for frame in frames))
    await until(lambda: line.conversation.received == received + 2)


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_refused_call_is_sent_again_on_the_next_connection_with_the_time_that_is_left(
    resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(10.0)
    await line.open()
    clock = LoopClock(monkeypatch, stopped=True)
    call = asyncio.create_task(line.conversation.call("stats", {"a": 1}, 10.0))
    await refuse(line, "stats")
    clock.ahead += 4.0
    assert not call.done()
    await line.disconnect(1001)
    await line.again(resumed=resumed, received=1, session="another")
    frame = await line.far.expect_call("stats")
    assert (frame["params"], frame["meta"], frame["headers"]) == (
        {"a": 1},
        {"timeout": 6.0},
        {"timeout": 6.0},
    )
    await line.far.answer(frame, 7)
    assert await call == Raw(b"7")
    await line.disconnect()


async def test_a_refused_call_without_a_timeout_is_sent_again_without_one() -> None:
    line = Line()
    await line.open()
    call = line.start("stats", None)
    await refuse(line, "stats")
    await line.disconnect(1001)
    await line.again(session="another")
    frame = await line.far.expect_call("stats")
    assert "meta" not in frame
    assert "headers" not in frame
    await line.far.answer(frame, 7)
    assert await call == Raw(b"7")
    await line.disconnect()


async def test_a_call_that_is_refused_again_is_sent_again() -> None:
    line = Line()
    await line.open()
    call = line.start("stats")
    for _ in range(3):
        await refuse(line, "stats")
        await line.disconnect(1001)
        await line.again(session="another")
    await line.far.answer(await line.far.expect_call("stats"), 7)
    assert await call == Raw(b"7")
    await line.disconnect()


async def test_a_refused_call_that_is_cancelled_meanwhile_is_not_sent() -> None:
    line = Line()
    await line.open(calls=1)
    call = line.start("cancelled")
    await refuse(line, "cancelled")
    call.cancel()
    await asyncio.wait((call,))
    await line.disconnect(1001)
    await line.again(calls=1, session="another")
    other = line.start("other")
    await line.far.answer(await line.far.expect_call("other"), 1)  # it got the place, too
    assert await other == Raw(b"1")
    await line.disconnect()


async def test_a_refused_call_cancelled_in_the_turn_of_a_new_conversation_ends_no_other_call() -> None:
    line = Line()
    await line.open()
    refused, kept = line.start("refused"), line.start("kept")
    await line.far.expect_call("refused")
    await line.far.expect_call("kept")
    await line.far.send({"id": 1, "error": REFUSAL})
    await until(lambda: line.conversation.received)
    await line.disconnect()
    line.connect()
    await line.near.send(line.conversation.hello())
    await line.far.welcome(session="another", idempotent=["/kept"])
    answer = await line.near.receive()
    refused.cancel()  # it was number 1, as the other one is now
    line.conversation.welcomed(answer)
    line.run()
    with pytest.raises(asyncio.CancelledError):
        await refused
    await line.far.answer(await line.far.expect_call("kept"), 2)
    assert await asyncio.wait_for(kept, 5) == Raw(b"2")
    await line.disconnect()


async def test_a_refused_call_whose_time_is_over_meanwhile_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line(10.0)
    await line.open(calls=1)
    call = line.start("late", 10.0)
    await refuse(line, "late")
    LoopClock(monkeypatch).ahead = 10.0
    with pytest.raises(RequestTimeout) as caught:
        await call
    assert (caught.value.endpoint, caught.value.seconds) == ("late", 10.0)
    await line.disconnect(1001)
    await line.again(calls=1, session="another")
    other = line.start("other")
    await line.far.answer(await line.far.expect_call("other"), 1)
    assert await other == Raw(b"1")
    await line.disconnect()


async def test_a_refused_call_that_another_bot_does_not_take_is_too_large() -> None:
    line = Line()
    await line.open()
    call = asyncio.create_task(line.conversation.call("large", Raw(b'"' + b"x" * 200 + b'"'), 5.0))
    await refuse(line, "large")
    await line.disconnect(1001)
    await line.again(message_bytes=200, session="another")
    with pytest.raises(RequestTooLarge, match="takes 200"):
        await call
    await line.disconnect()


async def test_giving_up_ends_a_refused_call_with_the_error_of_one_that_never_ran() -> None:
    line = Line()
    await line.open()
    call = line.start("stats")
    await refuse(line, "stats")
    await line.disconnect(1001)
    line.conversation.give_up(GONE)
    with pytest.raises(ConnectError) as caught:
        await call
    assert caught.value is GONE
    await line.again(session="another")
    other = line.start("other")
    await line.far.answer(await line.far.expect_call("other"), 1)
    assert await other == Raw(b"1")
    await line.disconnect()


async def test_ending_ends_a_refused_call() -> None:
    line = Line()
    await line.open()
    call = line.start("stats")
    await refuse(line, "stats")
    line.conversation.end(SessionClosed())
    with pytest.raises(SessionClosed):
        await call
    await line.disconnect()


@pytest.mark.parametrize("data", [{}, {"data": {"ran": True}}, {"data": None}])
async def test_a_call_of_which_the_bot_does_not_say_that_it_did_not_run_is_not_sent_again(
    line: Line, data: dict[str, Any]
) -> None:
    call = line.start()
    error = {"code": NotReady.code, "message": "starting", **data}
    await line.far.send({"id": (await line.far.expect_call("stats"))["id"], "error": error})
    with pytest.raises(NotReady, match="starting"):
        await call


# -- the end


async def test_closing_is_announced_and_ending_ends_open_calls() -> None:
    line = Line()
    await line.open()
    call = line.start()
    await line.far.expect_call("stats")
    await line.conversation.close()
    assert (await line.far.read())["params"] == {"reason": "the session is closed"}
    assert (await line.far.ended()).clean
    assert (await line.running).clean
    assert not call.done()
    line.conversation.end(SessionClosed())
    with pytest.raises(SessionClosed):
        await call


class ClosingLate:
    """A transport that this side closes when a test says so."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.send = transport.send
        self.receive = transport.receive
        self._close = transport.close
        self.may_close = asyncio.Event()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.may_close.wait()
        await self._close(code, reason)


async def test_a_call_that_the_bot_cancels_because_the_session_is_closed_raises_session_closed() -> None:
    line = Line()
    await line.shake_hands()
    transport = ClosingLate(line.near)
    line.running = asyncio.create_task(line.conversation.carry(line.conversation.attach(transport, "bot")))
    calls = [line.start(name) for name in ("answered", "cancelled", "failed")]
    frames = [await line.far.read() for _ in calls]
    closing = asyncio.create_task(line.conversation.close())
    assert (await line.far.read())["method"] == "rpc.bye"
    await line.far.answer(frames[0], 1)
    for frame, code in zip(frames[1:], (Cancelled.code, 404), strict=True):
        await line.far.send({"id": frame["id"], "error": {"code": code, "message": "no"}})
    await asyncio.wait(calls, timeout=5)
    transport.may_close.set()
    await closing
    await line.running
    assert await calls[0] == Raw(b"1")
    assert [type(call.exception()) for call in calls[1:]] == [SessionClosed, RouteError]


async def test_a_call_that_the_bot_cancels_while_the_session_is_open_raises_cancelled(line: Line) -> None:
    call = line.start()
    error = {"code": Cancelled.code, "message": "the bot is shutting down"}
    await line.far.send({"id": (await line.far.expect_call("stats"))["id"], "error": error})
    with pytest.raises(Cancelled, match="shutting down"):
        await call


async def test_ending_ends_calls_wherever_they_are(caplog: pytest.LogCaptureFixture) -> None:
    line = Line()
    await line.open(calls=2)
    calls = [line.start(str(number)) for number in range(3)]
    for _ in range(2):
        await line.far.read()
    gone = line.start("cancelled")
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait((gone,))
    line.conversation.end(SessionClosed())
    await asyncio.wait(calls)
    assert [type(call.exception()) for call in calls] == [SessionClosed] * 3
    await line.disconnect()
    gc.collect()
    assert caplog.text == ""  # no exception that was never retrieved


async def test_an_answer_that_was_received_is_not_lost_with_the_connection() -> None:
    for begin in (False, True):
        line = Line()
        await line.open(calls=1000)
        calls = [line.start() for _ in range(EVENTS_PER_TURN * 3)]
        frames = [await line.far.read() for _ in calls]
        await line.far.send(*({"id": frame["id"], "result": 1} for frame in frames))
        await until(lambda: line.conversation.received)  # noqa: B023
        line.running.cancel()
        await asyncio.wait((line.running,))
        if begin:
            await line.again(session="another")
        else:
            line.conversation.end(SessionClosed())
        async with asyncio.timeout(5):
            assert [await call for call in calls] == [Raw(b"1")] * len(calls)
        if begin:
            await line.disconnect()


async def test_cancelling_the_connection_leaves_calls_for_the_next_one() -> None:
    line = Line()
    await line.open()
    call = line.start()
    frame = await line.far.expect_call("stats")
    line.running.cancel()
    await asyncio.wait((line.running,))
    assert line.running.cancelled()
    assert not line.conversation.usable
    assert not call.done()
    await line.resume(1)
    await line.far.answer(frame, 1)
    assert await call == Raw(b"1")
    await line.disconnect()


async def test_a_call_that_is_cancelled_in_any_turn_of_the_end_stays_cancelled() -> None:
    for turns in range(12):
        line = Line()
        await line.open()
        call = line.start()
        await line.far.expect_call("stats")
        await line.far.transport.close(1006)
        line.conversation.end(SessionClosed())
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = call.cancel()
        await asyncio.wait((call, line.running))
        assert call.cancelled() or isinstance(call.exception(), SessionClosed)
        assert call.cancelled() or turns
        assert cancelled or turns


async def test_a_bot_that_cancels_a_call_of_its_own_is_ignored(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    await line.far.send({"method": "rpc.cancel", "params": {"id": 1}})
    call = line.start()
    await line.far.answer(await line.far.expect_call("stats"), 1)
    assert await call == Raw(b"1")
    assert caplog.text == ""


async def test_a_bot_that_sends_100_000_violations_is_disconnected_after_few_log_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line()
    await line.open()
    call = line.start()
    await line.far.read()
    await line.far.send_bytes(b"[" + b",".join([b"7"] * 100_000) + b"]")
    assert not (await line.running).clean
    assert len(caplog.records) == MAX_VIOLATIONS
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    # The bot is not asked to go on with it, since nothing more of it is read.
    assert "session" not in (await line.again())["params"]
    with pytest.raises(ConnectionLost):
        await call
    await line.disconnect()
