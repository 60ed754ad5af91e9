"""One client's calls, their tasks and deadlines, over a pair of memory transports."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request, RouteError, ServerLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.wire.frames import CANCEL, Cancel
from discord_tools.ipc.wire.peer import ByeReceived
from test_server.talk import Failed, talking, until


async def forever(started: asyncio.Event, cancelled: asyncio.Event) -> None:
    started.set()
    try:
        await asyncio.Event().wait()
    finally:
        cancelled.set()


# -- calls


@pytest.mark.parametrize("method", ["rpc.hello", "rpc.hello2", "rpc.subscribe", "rpc."])
async def test_other_methods_of_the_protocol_are_unknown(bot: commands.Bot, method: str) -> None:
    async with talking(bot) as talk:
        with pytest.raises(Failed) as caught:
            await talk.call(method)
        assert await talk.goes_on()
    assert caught.value.code == -32601


async def test_a_call_gets_the_answer_of_its_route(bot: commands.Bot) -> None:
    async def double(request: Request, number: int) -> int:
        return 2 * number

    async with talking(bot) as talk:
        talk.route(double)
        assert await talk.call("double", {"number": 21}) == 42


async def test_a_call_without_parameters_has_no_data(bot: commands.Bot) -> None:
    async def keys(request: Request) -> list[str]:
        return list(request)

    async with talking(bot, hello=False) as talk:
        talk.route(keys)
        await talk.greet()
        await talk.say({"jsonrpc": "2.0", "id": 2, "method": "keys"})
        assert await talk.hear() == [{"jsonrpc": "2.0", "id": 2, "result": []}]


async def test_calls_run_at_the_same_time(bot: commands.Bot) -> None:
    arrived = asyncio.Barrier(50)

    async def meet(request: Request) -> None:
        await arrived.wait()

    async with talking(bot) as talk:
        talk.route(meet)
        await asyncio.gather(*(talk.call("meet") for _ in range(50)))


async def test_the_headers_of_a_call_come_on_top_of_those_of_the_hello(bot: commands.Bot) -> None:
    async def headers(request: Request) -> Any:
        return dict(request.headers)

    async with talking(bot, hello=False) as talk:
        talk.route(headers)
        await talk.hello(headers={"user": "ada", "page": 1})
        assert await talk.call("headers") == {"user": "ada", "page": 1}
        assert await talk.call("headers", headers={"page": 2}) == {"user": "ada", "page": 2}


async def test_more_calls_than_granted_are_refused_and_not_started(bot: commands.Bot) -> None:
    started: list[Any] = []

    async def wait(request: Request) -> None:
        started.append(request)
        await asyncio.Event().wait()

    async with talking(bot, ServerLimits(calls=2)) as talk:
        talk.route(wait)
        for _ in range(2):
            talk.send("wait")
        with pytest.raises(Failed) as caught:
            await talk.call("wait")
    assert caught.value.code == -32004
    assert len(started) == 2


async def test_handlers_that_go_on_after_their_answer_count_as_calls(bot: commands.Bot) -> None:
    go = asyncio.Event()

    async def answer_early(request: Request) -> None:
        await request.respond(1)
        await go.wait()

    async with talking(bot, ServerLimits(calls=1)) as talk:
        talk.route(answer_early)
        assert await talk.call("answer_early") == 1
        with pytest.raises(Failed) as caught:
            await talk.call("answer_early")
        go.set()
    assert caught.value.code == -32004


# -- cancellation and deadlines


async def test_a_cancelled_call_ends_its_handler(bot: commands.Bot) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        await forever(started, cancelled)

    async with talking(bot) as talk:
        talk.route(wait)
        answer = talk.send("wait")
        await started.wait()
        talk.peer.forget(answer.number)
        talk.link.wake()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_cancelled_call_is_answered_even_where_its_handler_goes_on(bot: commands.Bot) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def stubborn(request: Request) -> str:
        started.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    async with talking(bot) as talk:
        talk.route(stubborn)
        answer = talk.send("stubborn")
        await started.wait()
        talk.peer.notify(CANCEL, Cancel(answer.number))
        talk.link.wake()
        with pytest.raises(Failed) as caught:
            await asyncio.wait_for(answer, 5)
        go.set()
    assert caught.value.code == -32006


async def test_calls_that_are_cancelled_in_the_message_that_makes_them_leave_nothing(
    bot: commands.Bot,
) -> None:
    async def wait(request: Request) -> None:
        await asyncio.Event().wait()

    async def quick(request: Request) -> int:
        return 1

    async with talking(bot, ServerLimits(calls=2)) as talk:
        talk.route(wait)
        talk.route(quick)
        for _ in range(8):
            answer = talk.send("wait")
            talk.peer.notify(CANCEL, Cancel(answer.number))  # leaves in the same message
            with pytest.raises(Failed) as caught:
                await asyncio.wait_for(answer, 5)
            assert caught.value.code == -32006
            assert await talk.call("quick") == 1


async def test_an_unknown_call_is_cancelled_without_effect(bot: commands.Bot) -> None:
    async with talking(bot) as talk:
        talk.peer.notify(CANCEL, Cancel(4711))
        assert await talk.goes_on()
        assert talk.complaints == []


async def test_a_call_ends_with_the_deadline_of_the_server(bot: commands.Bot) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        await forever(started, cancelled)

    async with talking(bot, ServerLimits(call_timeout=0.01)) as talk:
        talk.route(wait)
        with pytest.raises(Failed) as caught:
            await talk.call("wait")
        await asyncio.wait_for(cancelled.wait(), 5)
    assert caught.value.code == -32005


@pytest.mark.parametrize("timeout", [0.01, 0, -5])
async def test_a_call_ends_with_the_timeout_of_the_client(bot: commands.Bot, timeout: float) -> None:
    async def wait(request: Request) -> None:
        await asyncio.Event().wait()

    async with talking(bot, hello=False) as talk:
        talk.route(wait)
        await talk.hello(timeout=timeout)
        with pytest.raises(Failed) as caught:
            await talk.call("wait")
    assert caught.value.code == -32005


@pytest.mark.parametrize(("timeout", "seconds"), [(1000, 9), (4, 4), (None, 9)])
async def test_a_client_cannot_ask_for_more_time_than_the_server_gives(
    bot: commands.Bot, timeout: float | None, seconds: float
) -> None:
    async def left(request: Request) -> float | None:
        return request.deadline

    async with talking(bot, ServerLimits(call_timeout=9), hello=False) as talk:
        talk.route(left)
        await talk.hello(timeout=timeout)
        assert seconds - 1 < await talk.call("left") <= seconds
        assert seconds - 1 < await talk.call("left", headers={"timeout": 1000}) <= seconds


async def test_a_call_ends_with_the_time_that_it_names_itself_and_no_other_does(bot: commands.Bot) -> None:
    started: list[asyncio.Event] = []

    async def wait(request: Request) -> None:
        cancelled = asyncio.Event()
        started.append(cancelled)
        await forever(asyncio.Event(), cancelled)

    async with talking(bot) as talk:
        talk.route(wait)
        other = talk.send("wait")
        await until(lambda: started)
        with pytest.raises(Failed) as caught:
            await talk.call("wait", headers={"timeout": 0.01})
        assert caught.value.code == -32005
        await asyncio.wait_for(started[1].wait(), 5)
        assert not other.done()
        assert not started[0].is_set()


@pytest.mark.parametrize("timeout", [0, -5])
async def test_a_call_whose_time_is_over_does_not_start(bot: commands.Bot, timeout: float) -> None:
    async def never(request: Request) -> None:
        raise AssertionError("must not run")

    async with talking(bot) as talk:
        talk.route(never)
        with pytest.raises(Failed) as caught:
            await talk.call("never", headers={"timeout": timeout})
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

    async with talking(bot, ServerLimits(call_timeout=0.05)) as talk:
        talk.route(wait)
        answers: list[Any] = []
        for n in range(1, 4):
            answers.append(talk.send("wait"))
            await until(lambda n=n: len(started) == n)
            passed = asyncio.Event()
            loop.call_later(0.02, passed.set)
            await passed.wait()
        results = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 5)
    assert [getattr(result, "code", None) for result in results] == [-32005] * 3
    assert all(end - start >= 0.045 for start, end in zip(started, ended, strict=True))


# -- lost connections


async def test_a_client_that_stays_away_loses_its_handlers(bot: commands.Bot) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        await forever(started, cancelled)

    async with talking(bot, ServerLimits(resume_timeout=0.01)) as talk:
        talk.route(wait)
        talk.send("wait")
        await started.wait()
        await talk.transport.close(1006)
        await talk.ended()
        assert not cancelled.is_set()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_handler_goes_on_while_its_client_is_away(bot: commands.Bot) -> None:
    started, go, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        started.set()
        await go.wait()
        finished.set()

    async with talking(bot) as talk:
        talk.route(wait)
        talk.send("wait")
        await started.wait()
        await talk.transport.close(1006)
        await talk.ended()
        go.set()
        await asyncio.wait_for(finished.wait(), 5)


async def test_a_client_that_takes_its_leave_loses_its_handlers_at_once(bot: commands.Bot) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        await forever(started, cancelled)

    async with talking(bot) as talk:
        talk.route(wait)
        talk.send("wait")
        await started.wait()
        talk.peer.bye()
        await talk.link.close(1000, "done")
        await talk.ended()
        await asyncio.wait_for(cancelled.wait(), 5)
    assert talk.conversation.over


async def test_a_client_that_stays_away_ends_handlers_that_go_on_after_their_answer(
    bot: commands.Bot,
) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def answer_early(request: Request) -> None:
        await request.respond(1)
        await forever(started, cancelled)

    async with talking(bot, ServerLimits(resume_timeout=0)) as talk:
        talk.route(answer_early)
        assert await talk.call("answer_early") == 1
        await started.wait()
        await talk.transport.close(1006)
        await talk.ended()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_handler_that_ignores_the_end_is_waited_for_only_so_long(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def stubborn(request: Request) -> None:
        started.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    async with talking(bot, ServerLimits(grace_period=0.01, resume_timeout=0)) as talk:
        talk.route(stubborn)
        talk.send("stubborn")
        await started.wait()
        await talk.transport.close(1006)
        await talk.ended()
        await until(lambda: "Still running" in caplog.text)
        go.set()
    assert "Still running after 0.01 s: stubborn" in caplog.text


# -- what routes raise


async def test_an_error_whose_data_cannot_be_written_is_answered_all_the_same(bot: commands.Bot) -> None:
    async def fail(request: Request) -> None:
        raise RouteError(404, "no such guild", data=object())

    async with talking(bot) as talk:
        talk.route(fail)
        with pytest.raises(Failed) as caught:
            await talk.call("fail")
    assert caught.value.code == -32603
    assert set(caught.value.data) == {"error_id"}


async def test_an_error_whose_text_cannot_be_written_is_answered_all_the_same(bot: commands.Bot) -> None:
    async def fail(request: Request) -> None:
        raise RouteError(404, "\ud800")

    async with talking(bot) as talk:
        talk.route(fail)
        with pytest.raises(Failed) as caught:
            await talk.call("fail")
    assert caught.value.code == -32603


async def test_an_error_larger_than_a_message_is_answered_with_one_that_says_so(bot: commands.Bot) -> None:
    async def fail(request: Request) -> None:
        raise RouteError(404, "x" * 2000)

    async with talking(bot, ServerLimits(message_bytes=1000)) as talk:
        talk.route(fail)
        with pytest.raises(Failed) as caught:
            await talk.call("fail")
    assert caught.value.code == -32007


async def test_an_answer_larger_than_a_message_is_an_error_to_its_caller_only(bot: commands.Bot) -> None:
    async def much(request: Request, size: int) -> str:
        return "x" * size

    async with talking(bot, ServerLimits(message_bytes=1000)) as talk:
        talk.route(much)
        with pytest.raises(Failed) as caught:
            await talk.call("much", {"size": 2000})
        assert await talk.call("much", {"size": 3}) == "xxx"
    assert caught.value.code == -32007


async def test_a_description_larger_than_the_client_takes_is_an_error_to_its_caller_only(
    bot: commands.Bot,
) -> None:
    async def documented(request: Request) -> None: ...

    documented.__doc__ = "x" * 2000
    async with talking(bot, hello=False) as talk:
        talk.route(documented)
        await talk.hello(message_bytes=1000)
        with pytest.raises(Failed) as caught:
            await talk.call("rpc.discover")
        assert caught.value.code == -32007
        assert await talk.goes_on()


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
async def test_what_is_no_call_is_complained_about_and_the_conversation_goes_on(
    bot: commands.Bot, message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with talking(bot) as talk:
        await talk.transport.send(message)
        await until(lambda: talk.complaints)
        assert await talk.goes_on()
    assert "test broke the protocol" in caplog.text


async def test_a_client_that_sends_only_rubbish_is_hung_up_on(bot: commands.Bot) -> None:
    async with talking(bot, hello=False) as talk:
        await talk.greet()
        await talk.say(*[b"rubbish"] * 16)
        answers: list[Any] = []
        while len(answers) < 16:
            answers += await talk.hear()
        assert {answer["error"]["code"] for answer in answers} == {-32700}
        with pytest.raises(Closed) as caught:
            await talk.hear()
        await asyncio.wait_for(talk.serving, 5)
    assert caught.value.code == 1002
    assert talk.conversation.over


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("17", BAD_DATA),
        ('"text"', BAD_DATA),
        ("null", BAD_DATA),
        ("{", UNREADABLE),
        ('{"a":\ud800}', UNREADABLE),
        ("[" * 100_000 + "]" * 100_000, UNREADABLE),  # too deep for every interpreter
    ],
)
async def test_data_that_is_no_object_is_bad_data(
    bot: commands.Bot, params: str, expected: tuple[int | None, int]
) -> None:
    async def anything(request: Request) -> None:
        raise AssertionError("must not run")

    async with talking(bot, hello=False) as talk:
        talk.route(anything)
        await talk.greet()
        raw = params.encode(errors="surrogatepass")
        await talk.say(b'{"jsonrpc":"2.0","id":9,"method":"anything","params":' + raw + b"}")
        (answer,) = await talk.hear()
    assert (answer["id"], answer["error"]["code"]) == expected


# -- the end


async def test_draining_takes_leave_and_waits_for_calls_in_progress(bot: commands.Bot) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> str:
        started.set()
        await go.wait()
        return "done"

    async with talking(bot) as talk:
        talk.route(slow)
        answer = talk.send("slow")
        await started.wait()
        draining = asyncio.create_task(talk.conversation.drain(()))
        await until(lambda: any(isinstance(event, ByeReceived) for event in talk.events))
        with pytest.raises(Failed) as caught:
            await talk.call("slow")
        assert not draining.done()
        go.set()
        assert await answer == "done"
        await draining
    assert caught.value.code == -32003


async def test_draining_waits_no_longer_than_the_grace(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        await forever(started, cancelled)

    async with talking(bot, ServerLimits(grace_period=0.01)) as talk:
        talk.route(wait)
        talk.send("wait")
        await started.wait()
        await asyncio.wait_for(talk.conversation.drain(()), 5)
        assert not cancelled.is_set()
    assert "Still running after 0.01 s: wait" in caplog.text


async def test_closing_cancels_the_calls_and_tells_their_callers(bot: commands.Bot) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        await forever(started, cancelled)

    async with talking(bot) as talk:
        talk.route(wait)
        answer = talk.send("wait")
        await started.wait()
        await talk.conversation.close(())
        with pytest.raises(Failed) as caught:
            await answer
        closed = await talk.ended()
    assert caught.value.code == -32006
    assert cancelled.is_set()
    assert closed.clean
    assert "1001" in closed.reason


async def test_the_end_neither_waits_for_nor_cancels_the_calls_it_is_to_spare(bot: commands.Bot) -> None:
    tasks: list[asyncio.Task[Any]] = []
    go, finished = asyncio.Event(), asyncio.Event()

    async def spared(request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await go.wait()
        finished.set()

    async with talking(bot, ServerLimits(grace_period=60)) as talk:
        talk.route(spared)
        talk.send("spared")
        await until(lambda: tasks)
        await talk.conversation.drain(tasks)
        await talk.conversation.close(tasks)
        await talk.ended()
        assert not tasks[0].cancelled()
        go.set()
        await asyncio.wait_for(finished.wait(), 5)
