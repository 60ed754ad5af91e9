"""A connection over a pair of memory transports, with the bot's end written out frame by frame."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest
from msgspec import Raw

from discord_tools.ipc import (
    ClientLimits,
    ConnectError,
    ConnectionLost,
    ProtocolError,
    RequestTimeout,
    RouteError,
    TooLarge,
    UnknownEndpoint,
)
from discord_tools.ipc.connection import AGENT, Connection, Stale
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import memory_pair
from discord_tools.ipc.wire.peer import MAX_VIOLATIONS
from test_client.scripts import Talk

LIMITS = ClientLimits(handshake=5.0, close=0.1)
EMPTY = Raw(b"{}")


class Line:
    """A connection that runs, and the bot's end of it."""

    def __init__(self, limits: ClientLimits = LIMITS) -> None:
        near, far = memory_pair()
        self.talk = Talk(far)
        self.connection = Connection(near, limits)
        self.running = asyncio.create_task(self.connection.run())

    def start(self, endpoint: str = "stats", timeout: float | None = 5.0) -> asyncio.Task[Raw]:
        return asyncio.create_task(self.connection.call(endpoint, EMPTY, timeout))

    async def open(self, **limits: int) -> None:
        """Past the hello."""
        hello = asyncio.create_task(self.connection.hello("host", 1, 30.0, {}))
        await self.talk.welcome(**limits)
        await hello

    async def hang_up(self, code: int = 1006) -> Closed:
        await self.talk.transport.close(code)
        async with asyncio.timeout(5):
            return await self.running


@pytest.fixture
async def line() -> Any:
    line = Line()
    await line.open()
    yield line
    await line.hang_up()


# -- the hello


async def test_the_hello_says_who_how_long_and_with_which_headers() -> None:
    line = Line()
    hello = asyncio.create_task(line.connection.hello("host", 1, 12.5, {"user": 7}))
    frame = await line.talk.welcome(calls=3, message_bytes=1000)
    assert frame["params"] == {"client": AGENT, "timeout": 12.5, "headers": {"user": 7}}
    granted = await hello
    assert (granted.limits.calls, granted.limits.message_bytes, granted.ready) == (3, 1000, True)
    await line.hang_up()


async def test_the_hello_of_a_client_that_waits_for_ever_names_no_time() -> None:
    line = Line()
    hello = asyncio.create_task(line.connection.hello("host", 1, math.inf, {}))
    assert (await line.talk.welcome())["params"].get("timeout") is None
    await hello
    await line.hang_up()


@pytest.mark.parametrize(
    "result",
    [
        b"null",
        b"{}",
        b'"welcome"',
        b"[]",
        b'{"server":"x","heartbeat":20,"limits":{"calls":1},"ready":true}',
        b'{"server":"x","heartbeat":20,"limits":{"calls":"1","message_bytes":1},"ready":true}',
        b'{"server":"\xff","heartbeat":20,"limits":{"calls":1,"message_bytes":1},"ready":true}',
    ],
)
async def test_a_hello_answered_in_a_wrong_shape_is_a_protocol_error(result: bytes) -> None:
    line = Line()
    hello = asyncio.create_task(line.connection.hello("host", 1, None, {}))
    frame = await line.talk.read()
    await line.talk.raw(b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (frame["id"], result))
    with pytest.raises(ProtocolError, match=r"rpc\.hello cannot be understood"):
        await hello
    await line.hang_up()


async def test_a_hello_answered_with_an_error_is_that_error() -> None:
    line = Line()
    hello = asyncio.create_task(line.connection.hello("host", 1, None, {}))
    frame = await line.talk.read()
    await line.talk.say({"id": frame["id"], "error": {"code": -32601, "message": "what?"}})
    with pytest.raises(UnknownEndpoint):
        await hello
    await line.hang_up()


async def test_a_hello_that_is_not_answered_in_time_is_a_connect_error() -> None:
    line = Line(ClientLimits(handshake=0.05))
    with pytest.raises(ConnectError, match="before the server said hello") as caught:
        await line.connection.hello("host", 1, None, {})
    assert (caught.value.host, caught.value.port) == ("host", 1)
    await line.hang_up()


async def test_hanging_up_instead_of_a_hello_is_a_connect_error() -> None:
    line = Line()
    hello = asyncio.create_task(line.connection.hello("host", 1, None, {}))
    await line.talk.read()
    await line.hang_up()
    with pytest.raises(ConnectError):
        await hello


async def test_a_hello_on_a_connection_that_has_ended_is_a_connect_error() -> None:
    line = Line()
    await line.hang_up()
    with pytest.raises(ConnectError):
        await line.connection.hello("host", 1, None, {})


@pytest.mark.parametrize("calls", [2**62, 0, -1])
async def test_whatever_is_granted_calls_can_be_made(calls: int) -> None:
    line = Line()
    async with asyncio.timeout(5):
        await line.open(calls=calls)
    call = line.start()
    await line.talk.answer(await line.talk.call("stats"), 1)
    assert await call == Raw(b"1")
    await line.hang_up()


# -- calls


async def test_each_call_gets_its_own_answer(line: Line) -> None:
    calls = [line.start(str(number)) for number in range(10)]
    frames = [await line.talk.read() for _ in calls]
    await line.talk.say(*({"id": frame["id"], "result": frame["method"]} for frame in reversed(frames)))
    assert [await call for call in calls] == [Raw(b'"%d"' % number) for number in range(10)]


async def test_an_error_of_the_bot_is_raised_with_all_that_it_has(line: Line) -> None:
    call = line.start()
    error = {"code": 404, "message": "no such guild", "data": {"id": 7}}
    await line.talk.say({"id": (await line.talk.read())["id"], "error": error})
    with pytest.raises(RouteError) as caught:
        await call
    assert (caught.value.code, caught.value.data, caught.value.endpoint) == (404, {"id": 7}, "stats")


async def test_an_error_whose_data_cannot_be_read_is_raised_without(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    call = line.start()
    frame = await line.talk.read()
    await line.talk.raw(
        b'{"jsonrpc":"2.0","id":%d,"error":{"code":404,"message":"no","data":"\xff"}}' % frame["id"]
    )
    with pytest.raises(RouteError) as caught:
        await call
    assert (caught.value.code, caught.value.data) == (404, None)
    assert "data of an error cannot be read" in caplog.text


async def test_no_answer_in_time_is_a_timeout_and_cancels_the_call_there(line: Line) -> None:
    call = line.start(timeout=0.05)
    number = (await line.talk.call("stats"))["id"]
    with pytest.raises(RequestTimeout) as caught:
        await call
    assert (caught.value.endpoint, caught.value.seconds) == ("stats", 0.05)
    assert await line.talk.read() == {"jsonrpc": "2.0", "method": "rpc.cancel", "params": {"id": number}}


async def test_cancelling_cancels_the_call_there_and_passes_over_its_late_answer(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    call = line.start()
    frame = await line.talk.call("stats")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await line.talk.read())["params"] == {"id": frame["id"]}
    await line.talk.answer(frame, "late")
    other = line.start("other")
    await line.talk.answer(await line.talk.call("other"), "own")
    assert await other == Raw(b'"own"')
    assert caplog.text == ""


async def test_an_answer_in_the_turn_of_the_cancellation_hurts_nobody(line: Line) -> None:
    call = line.start()
    frame = await line.talk.call("stats")
    await line.talk.answer(frame, 1)
    call.cancel()
    await asyncio.wait((call,))
    assert call.cancelled()
    other = line.start("other")
    # The call was answered before it was forgotten, so there is nothing to cancel there.
    await line.talk.answer(await line.talk.call("other"), 2)
    assert await other == Raw(b"2")


async def test_an_answer_and_a_timeout_in_the_same_turn_end_the_call_once(line: Line) -> None:
    call = line.start(timeout=0.05)
    frame = await line.talk.call("stats")
    loop = asyncio.get_running_loop()
    # Both are due when the loop gets its next turn.
    end = loop.time() + 0.1
    await line.talk.answer(frame, 1)
    while loop.time() < end:
        pass
    done, _ = await asyncio.wait((call,), timeout=5)
    assert done
    assert call.exception() is None or isinstance(call.exception(), RequestTimeout)


async def test_an_answer_to_an_unknown_id_is_a_warning_and_no_more(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    await line.talk.say({"id": 999, "result": 1}, {"id": "x", "result": 2})
    call = line.start()
    complaints = [await line.talk.read() for _ in range(2)]
    assert [complaint["error"]["code"] for complaint in complaints] == [-32600, -32600]
    await line.talk.answer(await line.talk.call("stats"), 3)
    assert await call == Raw(b"3")
    assert caplog.text.count("belongs to no call") == 2


async def test_a_second_answer_to_a_call_is_a_warning_and_changes_nothing(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    call = line.start()
    frame = await line.talk.read()
    await line.talk.say({"id": frame["id"], "result": 1}, {"id": frame["id"], "result": 2})
    assert await call == Raw(b"1")
    assert "belongs to no call" in caplog.text


async def test_a_call_over_the_bots_limit_is_refused_and_the_connection_goes_on() -> None:
    line = Line()
    await line.open(message_bytes=200)
    with pytest.raises(TooLarge, match="takes 200"):
        await line.connection.call("stats", Raw(b'"' + b"x" * 200 + b'"'), 5.0)
    call = line.start()
    await line.talk.answer(await line.talk.call("stats"), 1)
    assert await call == Raw(b"1")
    await line.hang_up()


async def test_a_bot_that_calls_is_told_that_there_are_no_routes(line: Line) -> None:
    await line.talk.say({"id": "x", "method": "stats"})
    answer = await line.talk.read()
    assert answer["id"] == "x"
    assert answer["error"]["code"] < 0


# -- slots


async def test_no_more_calls_are_open_than_the_bot_grants() -> None:
    line = Line()
    await line.open(calls=3)
    calls = [line.start(str(number)) for number in range(10)]
    opened = [await line.talk.read() for _ in range(3)]
    fourth = asyncio.create_task(line.talk.read())
    done, _ = await asyncio.wait((fourth,), timeout=0.05)
    assert not done
    for number in range(10):
        frame = opened.pop(0)
        await line.talk.answer(frame, frame["method"])
        if number < 7:
            opened.append(await fourth if number == 0 else await line.talk.read())
    assert [await call for call in calls] == [Raw(b'"%d"' % number) for number in range(10)]
    await line.hang_up()


async def test_a_call_that_is_cancelled_or_timed_out_gives_its_slot_to_the_next() -> None:
    line = Line()
    await line.open(calls=1)
    cancelled, timed_out, last = line.start("1"), line.start("2", 0.05), line.start("3")
    await line.talk.call("1")
    await asyncio.wait((timed_out,))  # while it waits for its slot
    assert isinstance(timed_out.exception(), RequestTimeout)
    cancelled.cancel()
    assert (await line.talk.read())["method"] == "rpc.cancel"
    await line.talk.answer(await line.talk.call("3"), 3)
    assert await last == Raw(b"3")
    await line.hang_up()


async def test_waiting_for_a_slot_counts_into_the_timeout() -> None:
    line = Line()
    await line.open(calls=1)
    first, second = line.start("1", None), line.start("2", 0.05)
    frame = await line.talk.call("1")
    with pytest.raises(RequestTimeout) as caught:
        async with asyncio.timeout(5):
            await second
    assert (caught.value.endpoint, caught.value.seconds) == ("2", 0.05)
    await line.talk.answer(frame, 1)
    assert await first == Raw(b"1")
    await line.hang_up()


async def test_a_slot_that_comes_late_leaves_only_the_rest_of_the_time() -> None:
    line = Line()
    await line.open(calls=1)
    loop = asyncio.get_running_loop()
    began = loop.time() - 100.0
    call = asyncio.create_task(line.connection.call("stats", EMPTY, 100.05, began=began))
    await line.talk.call("stats")
    with pytest.raises(RequestTimeout) as caught:
        async with asyncio.timeout(5):
            await call
    assert caught.value.seconds == 100.05
    await line.hang_up()


async def test_a_call_that_is_cancelled_while_it_waits_for_a_slot_is_never_sent() -> None:
    line = Line()
    await line.open(calls=1)
    first, second = line.start("1"), line.start("2")
    frame = await line.talk.call("1")
    second.cancel()
    await asyncio.wait((second,))
    third = line.start("3")
    await line.talk.answer(frame, 1)
    await line.talk.answer(await line.talk.call("3"), 3)
    assert [await first, await third] == [Raw(b"1"), Raw(b"3")]
    await line.hang_up()


# -- the end


async def test_calls_without_an_answer_are_lost_and_those_without_a_slot_are_not() -> None:
    line = Line()
    await line.open(calls=2)
    calls = [line.start(str(number)) for number in range(5)]
    for _ in range(2):
        await line.talk.read()
    await line.hang_up()
    await asyncio.wait(calls)
    assert [type(call.exception()) for call in calls] == [ConnectionLost] * 2 + [Stale] * 3
    assert [str(call.exception()) for call in calls[:2]] == [
        str(ConnectionLost("0")),
        str(ConnectionLost("1")),
    ]


async def test_a_connection_that_has_ended_takes_no_call() -> None:
    line = Line()
    await line.open()
    assert line.connection.usable
    await line.hang_up()
    assert not line.connection.usable
    await line.connection.wait_until_leaving()
    with pytest.raises(Stale):
        await line.connection.call("stats", EMPTY, None)


async def test_after_the_bot_takes_its_leave_open_calls_are_answered_and_new_ones_not_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "discord_tools.ipc")
    line = Line()
    await line.open()
    call = line.start()
    frame = await line.talk.call("stats")
    await line.talk.say({"method": "rpc.bye", "params": {"reason": "good night"}})
    await line.connection.wait_until_leaving()
    assert not line.connection.usable
    with pytest.raises(Stale):
        await line.connection.call("other", EMPTY, None)
    await line.talk.answer(frame, 1)
    assert await call == Raw(b"1")
    assert "good night" in caplog.text
    await line.hang_up(1001)


async def test_closing_takes_leave_and_ends_open_calls() -> None:
    line = Line()
    await line.open()
    call = line.start()
    await line.talk.call("stats")
    await line.connection.close("enough")
    assert (await line.talk.read())["params"] == {"reason": "enough"}
    assert (await line.talk.ended()).clean
    assert (await line.running).clean
    with pytest.raises(ConnectionLost):
        await call


async def test_cancelling_the_connection_ends_open_calls() -> None:
    line = Line()
    await line.open()
    call = line.start()
    await line.talk.call("stats")
    line.running.cancel()
    with pytest.raises(ConnectionLost):
        await call
    await asyncio.wait((line.running,))
    assert line.running.cancelled()


async def test_a_call_that_is_cancelled_in_any_turn_of_the_end_stays_cancelled() -> None:
    for turns in range(12):
        line = Line()
        await line.open()
        call = line.start()
        await line.talk.call("stats")
        await line.talk.transport.close(1006)
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = call.cancel()
        await asyncio.wait((call, line.running))
        assert call.cancelled() or isinstance(call.exception(), ConnectionLost)
        assert call.cancelled() or turns
        assert cancelled or turns


async def test_a_bot_that_cancels_a_call_of_its_own_is_passed_over(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    await line.talk.say({"method": "rpc.cancel", "params": {"id": 1}})
    call = line.start()
    await line.talk.answer(await line.talk.call("stats"), 1)
    assert await call == Raw(b"1")
    assert caplog.text == ""


async def test_a_bot_that_sends_100_000_violations_is_left_after_few_log_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line()
    await line.open()
    call = line.start()
    await line.talk.read()
    await line.talk.raw(b"[" + b",".join([b"7"] * 100_000) + b"]")
    with pytest.raises(ConnectionLost):
        await call
    assert not (await line.running).clean
    assert len(caplog.records) == MAX_VIOLATIONS
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
