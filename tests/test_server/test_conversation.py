"""Calls of one native client, their tasks and deadlines, over a pair of memory transports."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request, RouteError, ServerLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.wire.frames import CANCEL, Cancel, Meta
from discord_tools.ipc.wire.received import ByeReceived
from equipment.handlers import StubbornHandler, WaitingHandler
from equipment.until import until
from test_server.tools import FORGED, Failed, assert_bounded_lines, native_client, records_with

# -- calls


@pytest.mark.parametrize("method", ["rpc.hello", "rpc.hello2", "rpc.subscribe", "rpc."])
async def test_other_methods_of_the_protocol_are_unknown(bot: commands.Bot, method: str) -> None:
    async with native_client(bot) as native:
        with pytest.raises(Failed) as caught:
            await native.call(method)
        assert await native.is_served()
    assert caught.value.code == -32601


async def test_a_call_gets_the_answer_of_its_route(bot: commands.Bot) -> None:
    async def double(request: Request, number: int) -> int:
        return 2 * number

    async with native_client(bot) as native:
        native.add_route(double)
        assert await native.call("double", {"number": 21}) == 42


async def test_a_call_without_parameters_has_no_data(bot: commands.Bot) -> None:
    async def keys(request: Request) -> list[str]:
        return list(request)

    async with native_client(bot, hello=False) as native:
        native.add_route(keys)
        await native.shake_hands()
        await native.send({"jsonrpc": "2.0", "id": 2, "method": "keys"})
        assert await native.receive() == [{"jsonrpc": "2.0", "id": 2, "result": []}]


async def test_calls_run_at_the_same_time(bot: commands.Bot) -> None:
    arrived = asyncio.Barrier(50)

    async def meet(request: Request) -> None:
        await arrived.wait()

    async with native_client(bot) as native:
        native.add_route(meet)
        await asyncio.gather(*(native.call("meet") for _ in range(50)))


async def test_more_calls_than_granted_are_refused_and_not_started(bot: commands.Bot) -> None:
    started: list[Any] = []

    async def wait(request: Request) -> None:
        started.append(request)
        await asyncio.Event().wait()

    async with native_client(bot, ServerLimits(calls=2)) as native:
        native.add_route(wait)
        for _ in range(2):
            native.start_call("wait")
        with pytest.raises(Failed) as caught:
            await native.call("wait")
    assert caught.value.code == -32004
    assert len(started) == 2


async def test_handlers_that_go_on_after_their_answer_count_as_calls(bot: commands.Bot) -> None:
    go = asyncio.Event()

    async def answer_early(request: Request) -> None:
        await request.respond(1)
        await go.wait()

    async with native_client(bot, ServerLimits(calls=1)) as native:
        native.add_route(answer_early)
        assert await native.call("answer_early") == 1
        with pytest.raises(Failed) as caught:
            await native.call("answer_early")
        go.set()
    assert caught.value.code == -32004


async def test_calls_in_small_messages_do_not_count_in_bytes(bot: commands.Bot) -> None:
    # Their number bounds them, and counting them would cost as much as decoding them.
    async def answer_early(request: Request) -> None:
        await request.respond(1)
        await asyncio.Event().wait()

    async with native_client(bot, ServerLimits(call_bytes=1)) as native:
        native.add_route(answer_early)
        for _ in range(3):
            assert await native.call("answer_early", {"data": "x" * 4000}) == 1


async def test_handlers_that_ignore_their_cancellation_count_as_calls(bot: commands.Bot) -> None:
    handler = StubbornHandler()

    async with native_client(bot, ServerLimits(calls=1)) as native:
        native.add_route(handler.stubborn)
        first = native.start_call("stubborn")
        await handler.started.wait()
        native.peer.notify(CANCEL, Cancel(first.number))
        with pytest.raises(Failed):
            await first
        second = native.start_call("stubborn")
        await asyncio.wait((second,), timeout=5)
        handler.released.set()
        with pytest.raises(Failed) as caught:
            await second
    assert caught.value.code == -32004
    assert caught.value.message == "1 of your calls are in progress"


async def test_a_subscription_counts_as_a_call(bot: commands.Bot) -> None:
    async with native_client(bot, ServerLimits(calls=1)) as native:
        native.start_call("rpc.subscribe", {"events": ["x"]}, credit=1)
        with pytest.raises(Failed) as caught:
            await native.call("anything")
    assert caught.value.code == -32004


# -- headers and timeouts of one call


#: Timeouts in these tests are so long that the time that passes meanwhile does not matter.
PATIENT = ServerLimits(call_timeout=100_000)


async def seen(request: Request) -> Any:
    """What a route sees of its headers and of its deadline."""
    return {"headers": dict(request.headers), "deadline": request.deadline}


async def test_the_headers_of_a_call_are_merged_into_those_of_the_hello(bot: commands.Bot) -> None:
    async with native_client(bot, hello=False) as native:
        native.add_route(seen)
        await native.hello(headers={"user": "ada", "page": 1})
        assert (await native.call("seen"))["headers"] == {"user": "ada", "page": 1}
        merged = await native.call("seen", headers={"page": 2, "more": [3]})
        assert merged["headers"] == {"user": "ada", "page": 2, "more": [3]}
        assert (await native.call("seen"))["headers"] == {"user": "ada", "page": 1}


@pytest.mark.parametrize("timeout", [7000, 7000.5])
async def test_a_timeout_in_the_headers_of_a_call_is_its_timeout_and_no_header(
    bot: commands.Bot, timeout: float
) -> None:
    # As clients of 1.1 send it.
    async with native_client(bot, PATIENT) as native:
        native.add_route(seen)
        what = await native.call("seen", headers={"timeout": timeout, "page": 2})
        assert what["headers"] == {"page": 2}
        assert timeout - 1000 < what["deadline"] <= timeout


async def test_a_timeout_in_meta_wins_over_the_one_in_the_headers(bot: commands.Bot) -> None:
    async with native_client(bot, PATIENT) as native:
        native.add_route(seen)
        what = await native.call("seen", headers={"timeout": 7000}, meta=Meta(20_000))
        assert what["headers"] == {}
        assert 10_000 < what["deadline"] <= 20_000
        what = await native.call("seen", headers={"timeout": 20_000}, meta=Meta(7000))
        assert what["headers"] == {}
        assert what["deadline"] <= 7000
        assert (await native.call("seen", meta=Meta(7000)))["deadline"] <= 7000


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"headers": {"timeout": 7}},
        {"headers": {"timeout": 7}, "meta": Meta(7)},
        {"meta": Meta(7)},
        {"headers": {"timeout": "of the call"}},
    ],
    ids=["no timeout", "headers", "both", "meta", "no number"],
)
async def test_a_header_of_the_hello_that_is_named_timeout_always_stays(
    bot: commands.Bot, frame: dict[str, Any]
) -> None:
    async with native_client(bot, hello=False) as native:
        native.add_route(seen)
        await native.hello(headers={"timeout": "mine"})
        assert (await native.call("seen", **frame))["headers"] == {"timeout": "mine"}


@pytest.mark.parametrize("timeout", ["soon", None, [7], {}])
async def test_a_timeout_that_is_no_number_does_not_change_the_timeout(
    bot: commands.Bot, timeout: Any
) -> None:
    async with native_client(bot, PATIENT) as native:
        native.add_route(seen)
        deadline = (await native.call("seen", headers={"timeout": timeout}))["deadline"]
        assert PATIENT.call_timeout - 1000 < deadline <= PATIENT.call_timeout


# -- cancellation and deadlines


async def test_a_cancelled_call_ends_its_handler(bot: commands.Bot) -> None:
    handler = WaitingHandler()

    async with native_client(bot) as native:
        native.add_route(handler.wait)
        answer = native.start_call("wait")
        await handler.started.wait()
        native.forget(answer)
        await asyncio.wait_for(handler.cancelled.wait(), 5)


async def test_a_cancelled_call_is_answered_even_if_its_handler_goes_on(bot: commands.Bot) -> None:
    handler = StubbornHandler()

    async with native_client(bot) as native:
        native.add_route(handler.stubborn)
        answer = native.start_call("stubborn")
        await handler.started.wait()
        native.peer.notify(CANCEL, Cancel(answer.number))
        with pytest.raises(Failed) as caught:
            await asyncio.wait_for(answer, 5)
        handler.released.set()
    assert caught.value.code == -32006


async def test_calls_that_are_cancelled_in_the_message_that_makes_them_leave_nothing(
    bot: commands.Bot,
) -> None:
    async def wait(request: Request) -> None:
        await asyncio.Event().wait()

    async def quick(request: Request) -> int:
        return 1

    async with native_client(bot, ServerLimits(calls=2)) as native:
        native.add_route(wait)
        native.add_route(quick)
        for _ in range(8):
            answer = native.start_call("wait")
            native.peer.notify(CANCEL, Cancel(answer.number))  # leaves in the same message
            with pytest.raises(Failed) as caught:
                await asyncio.wait_for(answer, 5)
            assert caught.value.code == -32006
            assert await native.call("quick") == 1


async def test_an_unknown_call_is_cancelled_without_effect(bot: commands.Bot) -> None:
    async with native_client(bot) as native:
        native.peer.notify(CANCEL, Cancel(4711))
        assert await native.is_served()
        assert native.violations == []


async def test_a_call_ends_with_the_deadline_of_the_server(bot: commands.Bot) -> None:
    handler = WaitingHandler()

    async with native_client(bot, ServerLimits(call_timeout=0.01)) as native:
        native.add_route(handler.wait)
        with pytest.raises(Failed) as caught:
            await native.call("wait")
        await asyncio.wait_for(handler.cancelled.wait(), 5)
    assert caught.value.code == -32005


@pytest.mark.parametrize("timeout", [0.01, 0, -5])
async def test_a_call_ends_with_the_timeout_of_the_client(bot: commands.Bot, timeout: float) -> None:
    async def wait(request: Request) -> None:
        await asyncio.Event().wait()

    async with native_client(bot, hello=False) as native:
        native.add_route(wait)
        await native.hello(timeout=timeout)
        with pytest.raises(Failed) as caught:
            await native.call("wait")
    assert caught.value.code == -32005


@pytest.mark.parametrize(("timeout", "seconds"), [(1e6, 9000), (4000, 4000), (None, 9000)])
async def test_a_client_cannot_ask_for_more_time_than_the_server_gives(
    bot: commands.Bot, timeout: float | None, seconds: float
) -> None:
    async def left(request: Request) -> float | None:
        return request.deadline

    async with native_client(bot, ServerLimits(call_timeout=9000), hello=False) as native:
        native.add_route(left)
        await native.hello(timeout=timeout)
        assert seconds - 1000 < await native.call("left") <= seconds
        assert seconds - 1000 < await native.call("left", headers={"timeout": 1e6}) <= seconds
        assert seconds - 1000 < await native.call("left", meta=Meta(1e6)) <= seconds


@pytest.mark.parametrize(
    "frame", [{"headers": {"timeout": 0.01}}, {"meta": Meta(0.01)}], ids=["headers", "meta"]
)
async def test_a_timeout_of_one_call_ends_that_call_only(bot: commands.Bot, frame: dict[str, Any]) -> None:
    started: list[WaitingHandler] = []

    async def wait(request: Request) -> None:
        started.append(WaitingHandler())
        await started[-1].wait(request)

    async with native_client(bot) as native:
        native.add_route(wait)
        other = native.start_call("wait")
        await until(lambda: started)
        with pytest.raises(Failed) as caught:
            await native.call("wait", **frame)
        assert caught.value.code == -32005
        await asyncio.wait_for(started[1].cancelled.wait(), 5)
        assert not other.done()
        assert not started[0].cancelled.is_set()


@pytest.mark.parametrize("timeout", [0, -5])
async def test_a_call_whose_time_is_over_does_not_start(bot: commands.Bot, timeout: float) -> None:
    async def never(request: Request) -> None:
        raise AssertionError("must not run")

    async with native_client(bot) as native:
        native.add_route(never)
        for frame in ({"headers": {"timeout": timeout}}, {"meta": Meta(timeout)}):
            with pytest.raises(Failed) as caught:
                await native.call("never", **frame)
            assert caught.value.code == -32005


async def test_one_timer_ends_each_of_many_calls_in_its_time(bot: commands.Bot) -> None:
    started: list[float] = []
    ended: list[float] = []
    loop = asyncio.get_running_loop()

    async def wait(request: Request) -> None:
        started.append(loop.time())
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(loop.time())

    async with native_client(bot, ServerLimits(call_timeout=0.05)) as native:
        native.add_route(wait)
        answers: list[Any] = []
        for n in range(1, 4):
            answers.append(native.start_call("wait"))
            await until(lambda n=n: len(started) == n)
            passed = asyncio.Event()
            loop.call_later(0.02, passed.set)
            await passed.wait()
        results = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 5)
    assert [getattr(result, "code", None) for result in results] == [-32005] * 3
    assert all(end - start >= 0.045 for start, end in zip(started, ended, strict=True))


# -- lost connections


async def test_a_client_that_stays_away_loses_its_handlers(bot: commands.Bot) -> None:
    handler = WaitingHandler()

    async with native_client(bot, ServerLimits(resume_timeout=0.01)) as native:
        native.add_route(handler.wait)
        native.start_call("wait")
        await handler.started.wait()
        await native.transport.close(1006)
        await native.ended()
        assert not handler.cancelled.is_set()
        await asyncio.wait_for(handler.cancelled.wait(), 5)


async def test_a_handler_goes_on_while_its_client_is_away(bot: commands.Bot) -> None:
    handler = WaitingHandler()

    async with native_client(bot) as native:
        native.add_route(handler.wait)
        native.start_call("wait")
        await handler.started.wait()
        await native.transport.close(1006)
        await native.ended()
        handler.released.set()
        await asyncio.wait_for(handler.ended.wait(), 5)


async def test_a_client_that_sends_bye_loses_its_handlers_at_once(bot: commands.Bot) -> None:
    handler = WaitingHandler()

    async with native_client(bot) as native:
        native.add_route(handler.wait)
        native.start_call("wait")
        await handler.started.wait()
        native.peer.bye()
        await native.connection.close(1000, "done")
        await native.ended()
        await asyncio.wait_for(handler.cancelled.wait(), 5)
    assert native.conversation.over


async def test_a_client_that_stays_away_ends_handlers_that_go_on_after_their_answer(
    bot: commands.Bot,
) -> None:
    handler = WaitingHandler()

    async def answer_early(request: Request) -> None:
        await request.respond(1)
        await handler.wait(request)

    async with native_client(bot, ServerLimits(resume_timeout=0)) as native:
        native.add_route(answer_early)
        assert await native.call("answer_early") == 1
        await handler.started.wait()
        await native.transport.close(1006)
        await native.ended()
        await asyncio.wait_for(handler.cancelled.wait(), 5)


async def test_a_handler_that_ignores_its_cancellation_is_waited_for_up_to_the_grace_period(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    handler = StubbornHandler()

    async with native_client(bot, ServerLimits(grace_period=0.01, resume_timeout=0)) as native:
        native.add_route(handler.stubborn)
        native.start_call("stubborn")
        await handler.started.wait()
        await native.transport.close(1006)
        await native.ended()
        await until(lambda: "Still running" in caplog.text)
        handler.released.set()
    assert "Still running after 0.01 s: /stubborn" in caplog.text


# -- what routes raise


async def test_an_error_whose_data_cannot_be_encoded_is_answered_with_another_error(
    bot: commands.Bot,
) -> None:
    async def fail(request: Request) -> None:
        raise RouteError(404, "no such guild", data=object())

    async with native_client(bot) as native:
        native.add_route(fail)
        with pytest.raises(Failed) as caught:
            await native.call("fail")
    assert caught.value.code == -32603
    assert set(caught.value.data) == {"error_id"}


async def test_an_error_whose_text_cannot_be_encoded_is_answered_with_another_error(
    bot: commands.Bot,
) -> None:
    async def fail(request: Request) -> None:
        raise RouteError(404, "\ud800")

    async with native_client(bot) as native:
        native.add_route(fail)
        with pytest.raises(Failed) as caught:
            await native.call("fail")
    assert caught.value.code == -32603


async def test_an_error_larger_than_a_message_is_answered_with_one_that_says_so(bot: commands.Bot) -> None:
    async def fail(request: Request) -> None:
        raise RouteError(404, "x" * 8000)

    async with native_client(bot, ServerLimits(message_bytes=4096)) as native:
        native.add_route(fail)
        with pytest.raises(Failed) as caught:
            await native.call("fail")
    assert caught.value.code == -32007


async def test_an_answer_larger_than_a_message_is_an_error_to_its_caller_only(bot: commands.Bot) -> None:
    async def much(request: Request, size: int) -> str:
        return "x" * size

    async with native_client(bot, ServerLimits(message_bytes=4096)) as native:
        native.add_route(much)
        with pytest.raises(Failed) as caught:
            await native.call("much", {"size": 8000})
        assert await native.call("much", {"size": 3}) == "xxx"
    assert caught.value.code == -32007


async def test_a_description_larger_than_the_client_takes_is_an_error_to_its_caller_only(
    bot: commands.Bot,
) -> None:
    async def documented(request: Request) -> None: ...

    documented.__doc__ = "x" * 8000
    async with native_client(bot, hello=False) as native:
        native.add_route(documented)
        await native.hello(message_bytes=4096)
        with pytest.raises(Failed) as caught:
            await native.call("rpc.discover")
        assert caught.value.code == -32007
        assert await native.is_served()


# -- bad input

BAD_DATA = (9, -32602)
UNREADABLE = (None, -32700)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"not JSON",
        b"\xff\xfe\x00",
        b"17",
        b'{"jsonrpc":"2.0","id":5}',
        b'{"jsonrpc":"1.0","id":5,"method":"x"}',
        b'{"jsonrpc":"2.0","id":5,"method":7}',
        b'{"jsonrpc":"2.0","id":[],"method":"x"}',
        b"[" * 100_000,
        b'{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":[]}}',
    ],
)
async def test_a_violation_is_reported_and_the_conversation_goes_on(
    bot: commands.Bot, message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with native_client(bot) as native:
        await native.transport.send(message)
        await until(lambda: native.violations)
        assert await native.is_served()
    (record,) = records_with(caplog, "The client broke the protocol: ")
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert record.getMessage().startswith(
        f"[{native.conversation.id} conn-1001 192.0.2.1 key secret_key 'test'] "
    )


@pytest.mark.parametrize(
    "frame",
    [
        {"id": None, "error": {"code": 1, "message": FORGED}},
        {"id": None, "error": {"code": 1, "message": "x" * 100_000}},
        {"id": FORGED, "result": 1},
        {"id": "x" * 100_000, "result": 1},
        {"method": "rpc.cancel", "params": {FORGED: 1}},
    ],
    ids=["text of an error", "long text of an error", "id", "long id", "name of a parameter"],
)
async def test_the_words_of_a_violation_are_quoted_and_bounded_in_the_log(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, frame: dict[str, Any]
) -> None:
    async with native_client(bot, hello=False) as native:
        await native.shake_hands()
        await native.send({"jsonrpc": "2.0", **frame}, b"garbage")  # the answer to which comes last
        while (await native.receive())[-1]["error"]["code"] != -32700:
            pass
    # Of all violations of one caller in a minute, the first one is logged.
    (record,) = records_with(caplog, "The client broke the protocol: ")
    assert "cannot be read" not in record.getMessage()
    assert_bounded_lines(caplog)


async def test_after_sixteen_violations_the_connection_is_closed(bot: commands.Bot) -> None:
    async with native_client(bot, hello=False) as native:
        await native.shake_hands()
        await native.send(*[b"garbage"] * 16)
        answers: list[Any] = []
        while len(answers) < 16:
            answers += await native.receive()
        assert {answer["error"]["code"] for answer in answers} == {-32700}
        with pytest.raises(Closed) as caught:
            await native.receive()
        await asyncio.wait_for(native.serving, 5)
    assert caught.value.code == 1002
    assert native.conversation.over


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("17", BAD_DATA),
        ('"text"', BAD_DATA),
        ("null", BAD_DATA),
        ("{", UNREADABLE),
        ('{"a":\ud800}', UNREADABLE),
        ("[" * 90_000 + "]" * 90_000, UNREADABLE),  # too deep for every interpreter
    ],
)
async def test_data_that_is_no_object_is_bad_data(
    bot: commands.Bot, params: str, expected: tuple[int | None, int]
) -> None:
    async def anything(request: Request) -> None:
        raise AssertionError("must not run")

    async with native_client(bot, hello=False) as native:
        native.add_route(anything)
        await native.shake_hands()
        raw = params.encode(errors="surrogatepass")
        await native.send(b'{"jsonrpc":"2.0","id":9,"method":"anything","params":' + raw + b"}")
        (answer,) = await native.receive()
    assert (answer["id"], answer["error"]["code"]) == expected


# -- the end


async def test_draining_sends_bye_and_waits_for_calls_in_progress(bot: commands.Bot) -> None:
    handler = WaitingHandler()

    async with native_client(bot) as native:
        native.add_route(handler.wait)
        answer = native.start_call("wait")
        await handler.started.wait()
        native.server.admission.draining = True
        draining = asyncio.create_task(native.conversation.drain(()))
        await until(lambda: any(isinstance(event, ByeReceived) for event in native.events))
        with pytest.raises(Failed) as caught:
            await native.call("wait")
        assert not draining.done()
        handler.released.set()
        assert await answer == "done"
        await draining
    assert caught.value.code == -32003
    assert caught.value.data == {"ran": False}


async def test_draining_waits_no_longer_than_the_grace_period(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    handler = WaitingHandler()

    async with native_client(bot, ServerLimits(grace_period=0.01)) as native:
        native.add_route(handler.wait)
        native.start_call("wait")
        await handler.started.wait()
        await asyncio.wait_for(native.conversation.drain(()), 5)
        assert not handler.cancelled.is_set()
    assert "Still running after 0.01 s: /wait" in caplog.text


async def test_closing_cancels_the_calls_and_answers_their_callers(bot: commands.Bot) -> None:
    handler = WaitingHandler()

    async with native_client(bot) as native:
        native.add_route(handler.wait)
        answer = native.start_call("wait")
        await handler.started.wait()
        await native.conversation.close(())
        with pytest.raises(Failed) as caught:
            await answer
        closed = await native.ended()
    assert caught.value.code == -32006
    assert handler.cancelled.is_set()
    assert closed.clean
    assert "1001" in closed.reason


async def test_the_end_neither_waits_for_spared_calls_nor_cancels_them(bot: commands.Bot) -> None:
    tasks: list[asyncio.Task[Any]] = []
    go, finished = asyncio.Event(), asyncio.Event()

    async def spared(request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await go.wait()
        finished.set()

    async with native_client(bot, ServerLimits(grace_period=60)) as native:
        native.add_route(spared)
        native.start_call("spared")
        await until(lambda: tasks)
        await native.conversation.drain(tasks)
        await native.conversation.close(tasks)
        await native.ended()
        assert not tasks[0].cancelled()
        go.set()
        await asyncio.wait_for(finished.wait(), 5)
