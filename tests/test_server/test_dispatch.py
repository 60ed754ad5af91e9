"""From a call to its answer: events and their order, answers, and the errors that routes raise."""

from __future__ import annotations

import asyncio
import logging
import re
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    AlreadyResponded,
    BadData,
    ClientSession,
    EncodeError,
    Forbidden,
    Request,
    RequestTooLarge,
    RouteError,
    RouteFailed,
    ServerLimits,
    UnknownEndpoint,
    route,
)
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc_server import failure_log
from equipment.until import until
from test_server.callers import MakeCaller, Outcome, in_each_dialect
from test_server.tools import (
    CALLER,
    FORGED,
    Failed,
    RecordedEvents,
    assert_bounded_lines,
    memory_server,
    native_client,
    records_with,
)


async def echo(request: Request) -> dict[str, Any]:
    return dict(request)


class Recorder(commands.Cog):
    """Writes down what happens, and in which order."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @route()
    async def work(self, request: Request) -> str:
        self.log.append("route begins")
        await asyncio.sleep(0)
        self.log.append("route ends")
        return "answer"

    @commands.Cog.listener()
    async def on_raw_ipc_request(self, request: Request) -> None:
        self.log.append(f"raw {request.endpoint} done={request.is_done()}")

    @commands.Cog.listener()
    async def on_ipc_request_completion(self, request: Request) -> None:
        self.log.append(f"completion {request.endpoint} done={request.is_done()}")


# -- events


async def test_the_raw_event_comes_before_the_route_and_the_completion_after_it(bot: commands.Bot) -> None:
    recorder = Recorder()
    await bot.add_cog(recorder)
    async with native_client(bot) as native:
        assert await native.call("work") == "answer"
        await until(lambda: len(recorder.log) == 4)
    assert recorder.log == [
        "raw /work done=False",
        "route begins",
        "route ends",
        "completion /work done=True",
    ]


async def test_a_plain_client_gets_the_events_too() -> None:
    async with discord.Client(intents=discord.Intents.none()) as client:
        recorded = RecordedEvents(client)
        async with native_client(client) as native:
            native.add_route(echo)
            assert await native.call("echo", {"a": 1}) == {"a": 1}
            await until(lambda: len(recorded) == 2)
    assert recorded.names == ["raw_ipc_request", "ipc_request_completion"]
    assert recorded[0][1] == recorded[1][1]
    assert recorded[0][1][0]["a"] == 1


async def test_an_unknown_endpoint_has_a_raw_event_and_no_completion(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = RecordedEvents(bot)
    async with native_client(bot) as native:
        native.add_route(echo)
        with pytest.raises(Failed) as caught:
            await native.call("nothing")
        await native.call("echo")
        await until(lambda: recorded.names.count("ipc_request_completion"))
    assert caught.value.code == UnknownEndpoint.code
    assert [(name, args[0].endpoint) for name, args in recorded] == [
        ("raw_ipc_request", "/nothing"),
        ("raw_ipc_request", "/echo"),
        ("ipc_request_completion", "/echo"),
    ]
    assert "There is no endpoint '/nothing'" in caplog.text


async def test_bad_data_has_a_raw_event_and_no_completion_since_the_route_did_not_run(
    bot: commands.Bot,
) -> None:
    recorded = RecordedEvents(bot)

    async def takes(request: Request, number: int) -> None: ...

    async with native_client(bot) as native:
        native.add_route(takes)
        with pytest.raises(Failed) as caught:
            await native.call("takes", {"number": "x"})
        await native.call("takes", {"number": 1})
        await until(lambda: recorded.names.count("ipc_request_completion"))
    assert caught.value.code == BadData.code
    assert [error["path"] for error in caught.value.data] == ["number"]
    assert recorded.names == ["raw_ipc_request", "raw_ipc_request", "ipc_request_completion"]


async def test_waiting_for_a_request_to_an_unknown_endpoint_ends(bot: commands.Bot) -> None:
    waited: list[bool] = []

    async def listener(request: Request) -> None:
        waited.append(await request.wait_until_done())

    bot.add_listener(listener, "on_raw_ipc_request")
    async with native_client(bot) as native:
        with pytest.raises(Failed):
            await native.call("nothing")
        await until(lambda: waited)
    assert waited == [True]


@pytest.mark.parametrize("event", ["raw_ipc_request", "ipc_request_completion"])
async def test_a_failing_listener_does_not_change_the_answer(bot: commands.Bot, event: str) -> None:
    failed: list[str] = []

    async def listener(request: Request) -> None:
        raise RuntimeError("a listener")

    async def on_error(name: str, *args: Any, **kwargs: Any) -> None:
        failed.append(name)

    bot.add_listener(listener, f"on_{event}")
    bot.on_error = on_error
    async with native_client(bot) as native:
        native.add_route(echo)
        assert await native.call("echo", {"a": 1}) == {"a": 1}
        await until(lambda: failed)
    assert failed == [f"on_{event}"]


async def test_a_failing_dispatch_does_not_change_the_answer(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    def dispatch(event: str, /, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("an overridden dispatch")

    bot.dispatch = dispatch
    async with native_client(bot) as native:
        native.add_route(echo)
        assert await native.call("echo", {"a": 1}) == {"a": 1}
    del bot.dispatch
    assert "Dispatching raw_ipc_request failed" in caplog.text


async def test_an_event_without_listeners_is_not_dispatched(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord.client")
    async with native_client(bot) as native:
        native.add_route(echo)
        await native.call("echo")
        assert "ipc_request" not in caplog.text
        RecordedEvents(bot)
        await native.call("echo")
        assert "Dispatching event ipc_request_completion" in caplog.text


@pytest.mark.parametrize("event", ["raw_ipc_request", "ipc_request_completion"])
async def test_wait_for_gets_the_event(bot: commands.Bot, event: str) -> None:
    async with native_client(bot) as native:
        native.add_route(echo)
        waiting = asyncio.create_task(bot.wait_for(event, timeout=5))
        await asyncio.sleep(0)  # so that it waits
        await native.call("echo", {"a": 1})
        assert (await waiting)["a"] == 1


async def test_a_method_of_the_clients_own_class_gets_its_event() -> None:
    recorded: list[str] = []

    class Client(discord.Client):
        async def on_raw_ipc_request(self, request: Request) -> None:
            recorded.append(request.endpoint)

    async with Client(intents=discord.Intents.none()) as client, native_client(client) as native:
        native.add_route(echo)
        await native.call("echo")
        await until(lambda: recorded)
    assert recorded == ["/echo"]


async def test_a_dispatch_of_the_clients_own_class_gets_every_event() -> None:
    dispatched: list[str] = []

    class Bot(commands.Bot):
        def dispatch(self, event_name: str, /, *args: Any, **kwargs: Any) -> None:
            dispatched.append(event_name)
            super().dispatch(event_name, *args, **kwargs)

    async with Bot("!", intents=discord.Intents.none()) as bot, native_client(bot) as native:
        native.add_route(echo)
        await native.call("echo")
        await until(lambda: len(dispatched) == 3)
    assert dispatched == ["raw_ipc_request", "ipc_request_completion", "ipc_audit"]


async def test_calls_are_answered_even_if_the_client_has_no_loop_for_events() -> None:
    client = discord.Client(intents=discord.Intents.none())
    RecordedEvents(client)
    async with native_client(client) as native:
        native.add_route(echo)
        assert await native.call("echo") == {}


async def test_a_call_that_is_cancelled_before_its_route_begins_does_not_begin_it(bot: commands.Bot) -> None:
    began: list[str] = []

    async def work(request: Request) -> None:
        began.append(request.endpoint)

    async def cancel(request: Request) -> None:
        for task in asyncio.all_tasks():
            if getattr(task.get_coro(), "__qualname__", "") == "Dispatcher._run":
                task.cancel()

    bot.add_listener(cancel, "on_raw_ipc_request")
    async with native_client(bot) as native:
        native.add_route(work)
        with pytest.raises(Failed) as caught:
            await native.call("work")
    assert caught.value.code == -32006
    assert began == []


# -- the endpoint


@in_each_dialect
@pytest.mark.parametrize("name", ["where", "/where"])
async def test_the_endpoint_is_the_name_of_the_route_with_its_slash(
    bot: commands.Bot, make: MakeCaller, name: str
) -> None:
    async def where(request: Request) -> str:
        return request.endpoint

    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server:
        server.add_route(where)
        assert await make(server, CALLER).call(name) == Outcome("/where")
        await until(lambda: len(recorded) == 2)
    assert [(event, request.endpoint) for event, (request,) in recorded] == [
        ("raw_ipc_request", "/where"),
        ("ipc_request_completion", "/where"),
    ]


@in_each_dialect
@pytest.mark.parametrize("name", ["nothing", "/nothing"])
async def test_the_endpoint_of_an_unknown_route_has_its_slash_too(
    bot: commands.Bot, make: MakeCaller, name: str
) -> None:
    recorded = RecordedEvents(bot)
    async with memory_server(bot) as server:
        assert (await make(server, CALLER).call(name)).error is not None
    assert [(event, request.endpoint) for event, (request,) in recorded] == [("raw_ipc_request", "/nothing")]


# -- answers


async def test_the_value_that_a_route_returns_is_the_answer(bot: commands.Bot) -> None:
    async def nothing(request: Request) -> None: ...

    async def color(request: Request) -> Any:
        return {"color": discord.Colour(5), "status": discord.Status.idle}

    async with native_client(bot) as native:
        native.add_route(nothing)
        native.add_route(color)
        assert await native.call("nothing") is None
        assert await native.call("/color") == {"color": 5, "status": "idle"}


async def test_a_route_may_go_on_after_it_has_responded(bot: commands.Bot) -> None:
    go, ended = asyncio.Event(), asyncio.Event()

    async def early(request: Request) -> None:
        await request.respond({"early": True})
        await go.wait()
        ended.set()

    async with native_client(bot) as native:
        native.add_route(early)
        assert await native.call("early") == {"early": True}
        assert not ended.is_set()
        go.set()
        await asyncio.wait_for(ended.wait(), 5)


async def test_another_task_may_answer_while_the_route_waits(bot: commands.Bot) -> None:
    requests: list[Request] = []

    async def delegate(request: Request) -> None:
        requests.append(request)
        await request.wait_until_done()

    async with native_client(bot) as native:
        native.add_route(delegate)
        answer = native.start_call("delegate")
        await until(lambda: requests)
        await requests[0].respond("from elsewhere")
        assert await asyncio.wait_for(answer, 5) == "from elsewhere"


async def test_a_second_answer_is_an_error_of_the_route_and_never_of_the_client(bot: commands.Bot) -> None:
    recorded = RecordedEvents(bot)

    async def twice(request: Request) -> int:
        await request.respond(1)
        return 2

    async with native_client(bot) as native:
        native.add_route(twice)
        assert await native.call("twice") == 1
        await until(lambda: len(recorded) == 3)
        assert native.events == []
    assert recorded.names == ["raw_ipc_request", "ipc_error", "ipc_request_completion"]
    assert isinstance(recorded[1][1][1], AlreadyResponded)


async def test_an_answer_after_the_caller_has_cancelled_is_an_error_of_the_route(bot: commands.Bot) -> None:
    recorded = RecordedEvents(bot)
    started, outcome = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def late(request: Request) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(AlreadyResponded):
                await request.respond("too late")
            outcome.set_result(request.is_done())

    async with native_client(bot) as native:
        native.add_route(late)
        answer = native.start_call("late")
        await started.wait()
        native.forget(answer)
        assert await asyncio.wait_for(outcome, 5) is False
        await until(lambda: "ipc_request_completion" in recorded.names)
        assert native.events == []
    assert "ipc_error" not in recorded.names


# -- errors


async def test_an_exception_is_logged_and_dispatched_and_the_caller_gets_its_number_only(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = RecordedEvents(bot)

    async def fail(request: Request) -> None:
        raise ZeroDivisionError("secret text")

    async with native_client(bot) as native:
        native.add_route(fail)
        with pytest.raises(Failed) as caught:
            await native.call("fail")
        await until(lambda: len(recorded) == 3)
    number = caught.value.data["error_id"]
    assert caught.value.code == -32603
    assert number in caught.value.message
    assert "secret" not in caught.value.message
    (record,) = [record for record in caplog.records if number in record.getMessage()]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert recorded.names == ["raw_ipc_request", "ipc_error", "ipc_request_completion"]
    request, error = recorded[1][1]
    assert request.endpoint == "/fail"
    assert error is record.exc_info[1]


async def test_a_route_that_fails_often_is_logged_a_bounded_number_of_times_a_minute(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [100.0]
    monkeypatch.setattr(failure_log, "time", SimpleNamespace(monotonic=lambda: times[0]))

    async def fail(request: Request, kind: str = "key") -> None:
        raise KeyError if kind == "key" else ValueError

    async with native_client(bot) as native:
        native.add_route(fail)

        async def failures(count: int, kind: str = "key") -> list[Any]:
            found: list[Any] = []
            for _ in range(count):
                with pytest.raises(Failed) as caught:
                    await native.call("fail", {"kind": kind})
                found.append(caught.value)
            return found

        outcomes = await failures(failure_log.MAX_FAILURES + 50)
        assert len(records_with(caplog, "failed (error id")) == failure_log.MAX_FAILURES
        (often,) = records_with(caplog, "fails so often")
        assert (often.levelno, often.exc_info) == (logging.WARNING, None)
        numbers = {one.data["error_id"] for one in outcomes if one.data}
        assert len(numbers) == failure_log.MAX_FAILURES
        assert outcomes[-1].code == -32603
        assert "has failed too often" in outcomes[-1].message
        # Exceptions of another class, and those of the next minute, are logged.
        assert (await failures(1, kind="value"))[0].data["error_id"]
        times[0] += 60
        assert (await failures(1))[0].data["error_id"]


async def test_every_failure_has_a_number_of_its_own(bot: commands.Bot) -> None:
    async def fail(request: Request) -> None:
        raise RuntimeError

    numbers: set[str] = set()
    async with native_client(bot) as native:
        native.add_route(fail)
        for _ in range(5):
            with pytest.raises(Failed) as caught:
                await native.call("fail")
            numbers.add(caught.value.data["error_id"])
    assert len(numbers) == 5


async def test_an_answer_that_cannot_be_encoded_is_a_failure_of_the_route(bot: commands.Bot) -> None:
    recorded = RecordedEvents(bot)

    async def returns(request: Request) -> object:
        return object()

    async with native_client(bot) as native:
        native.add_route(returns)
        with pytest.raises(Failed) as caught:
            await native.call("returns")
        await until(lambda: "ipc_error" in recorded.names)
    assert caught.value.code == -32603


@pytest.mark.parametrize(
    ("error", "code", "data"),
    [
        (RouteError(404, "no such guild", data={"id": 5}), 404, {"id": 5}),
        (RouteError(1, "x"), 1, None),
        (Forbidden("not you"), -32002, None),
        (BadData("wrong", data=[{"path": "a", "message": "b"}]), -32602, [{"path": "a", "message": "b"}]),
    ],
)
async def test_a_remote_error_of_the_route_itself_arrives_as_such(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, error: Exception, code: int, data: Any
) -> None:
    recorded = RecordedEvents(bot)

    async def fail(request: Request) -> None:
        raise error

    async with native_client(bot) as native:
        native.add_route(fail)
        with pytest.raises(Failed) as caught:
            await native.call("fail")
        await until(lambda: len(recorded) == 2)
    assert (caught.value.code, caught.value.data) == (code, data)
    assert recorded.names == ["raw_ipc_request", "ipc_request_completion"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


FROM_ANOTHER_BOT = {
    "an error of the other bot's route": ("fails", {}, RouteError),
    "an unknown endpoint of the other bot": ("nothing", {}, UnknownEndpoint),
    "data that is too large": ("fails", {"data": "x" * 8000}, RequestTooLarge),
    "data that cannot be encoded": ("fails", {"data": object()}, EncodeError),
}


@in_each_dialect
@pytest.mark.parametrize(("endpoint", "data", "expected"), FROM_ANOTHER_BOT.values(), ids=FROM_ANOTHER_BOT)
async def test_an_error_of_a_session_inside_a_route_is_a_failure_of_the_route(
    bot: commands.Bot,
    caplog: pytest.LogCaptureFixture,
    make: MakeCaller,
    endpoint: str,
    data: dict[str, Any],
    expected: type[Exception],
) -> None:
    recorded = RecordedEvents(bot)

    async def fails(request: Request) -> None:
        raise RouteError(404, "from another bot", data="of another bot")

    async with memory_server(bot, ServerLimits(message_bytes=4096)) as other, memory_server(bot) as server:
        other.add_route(fails)
        connector = MemoryConnector(lambda transport: other.conversations.serve(transport, CALLER))
        async with ClientSession(connector=connector) as session:

            async def forward(request: Request) -> Any:
                return await session.request(endpoint, **data)

            server.add_route(forward)
            outcome = await make(server, CALLER).call("forward")
            await until(lambda: recorded.names.count("ipc_error"))
    assert outcome.error is not None
    assert "another" not in outcome.error
    (error,) = [args[1] for name, args in recorded if name == "ipc_error"]
    assert isinstance(error, expected)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "Route '/forward' failed" in record.getMessage()
    if outcome.data is not None:
        assert outcome.data["error_id"] in record.getMessage()


async def test_an_error_of_a_session_inside_a_route_arrives_as_route_failed(bot: commands.Bot) -> None:
    async def fail(request: Request) -> None:
        raise RequestTooLarge("/elsewhere", 2000, 1000)

    async with native_client(bot) as native:
        native.add_route(fail)
        with pytest.raises(Failed) as caught:
            await native.call("fail")
    assert caught.value.code == RouteFailed.code
    assert set(caught.value.data) == {"error_id"}


async def test_an_error_after_the_answer_is_a_failure_that_the_client_does_not_see(bot: commands.Bot) -> None:
    recorded = RecordedEvents(bot)

    async def fail(request: Request) -> None:
        await request.respond(1)
        raise RouteError(404, "too late")

    async with native_client(bot) as native:
        native.add_route(fail)
        assert await native.call("fail") == 1
        await until(lambda: len(recorded) == 3)
        assert native.events == []
    assert recorded.names[1] == "ipc_error"


async def test_a_route_that_cancels_itself_is_answered_with_cancelled(bot: commands.Bot) -> None:
    async def cancelled(request: Request) -> None:
        raise asyncio.CancelledError

    async with native_client(bot) as native:
        native.add_route(cancelled)
        with pytest.raises(Failed) as caught:
            await native.call("cancelled")
    assert caught.value.code == -32006


async def test_data_for_a_route_without_parameters_must_be_an_object_too(bot: commands.Bot) -> None:
    async with native_client(bot) as native:
        native.add_route(echo)
        with pytest.raises(Failed) as caught:
            await native.call("echo", 17)
        assert await native.call("echo", ["a"]) == {"0": "a"}
    assert caught.value.code == BadData.code


# -- lines in the log

LABEL = re.compile(r"\[conn-\d+ 192\.0\.2\.1 key secret_key\] ")


@in_each_dialect
@pytest.mark.parametrize("endpoint", [FORGED, "x" * 100_000, "\u202e"])
async def test_an_unknown_endpoint_is_quoted_and_bounded_in_a_warning(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, make: MakeCaller, endpoint: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")
    async with memory_server(bot) as server:
        assert (await make(server, CALLER).call(endpoint)).error is not None
    (record,) = records_with(caplog, "There is no endpoint ")
    assert LABEL.match(record.getMessage())
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert_bounded_lines(caplog)


@in_each_dialect
async def test_an_error_of_the_route_itself_is_a_line_for_debugging(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, make: MakeCaller
) -> None:
    caplog.set_level(logging.DEBUG, logger="discord_tools")

    async def refuse(request: Request, text: str) -> None:
        raise RouteError(404, text)

    async with memory_server(bot) as server:
        server.add_route(refuse)
        assert (await make(server, CALLER).call("refuse", text=FORGED)).error == FORGED
    (record,) = records_with(caplog, "answers with an error: ")
    assert LABEL.match(record.getMessage())
    assert "Route '/refuse' " in record.getMessage()
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)
    assert_bounded_lines(caplog)


@in_each_dialect
async def test_an_exception_of_a_route_is_an_error_with_its_traceback(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, make: MakeCaller
) -> None:
    async def fail(request: Request) -> None:
        raise ZeroDivisionError

    async with memory_server(bot) as server:
        server.add_route(fail)
        assert (await make(server, CALLER).call("fail")).error is not None
    (record,) = records_with(caplog, "Route '/fail' failed")
    assert LABEL.match(record.getMessage())
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@in_each_dialect
async def test_bad_data_is_no_fault_of_the_bot(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, make: MakeCaller
) -> None:
    async def takes(request: Request, number: int) -> None: ...

    async with memory_server(bot) as server:
        server.add_route(takes)
        assert (await make(server, CALLER).call("takes", number=FORGED)).error is not None
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
