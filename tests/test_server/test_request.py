"""A request as a mapping, and the one answer it takes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from discord_tools.ipc import AlreadyResponded, BadData, Request
from discord_tools.ipc_server.call import Call
from discord_tools.ipc_server.caller import Caller
from test_server.tools import CALLER


class Answers:
    """Where answers go."""

    def __init__(self, *failures: Exception) -> None:
        self.sent: list[Any] = []
        self.failures = list(failures)

    async def send_json(self, data: Any, /) -> None:
        if self.failures:
            raise self.failures.pop()
        self.sent.append(data)


class OneCall(Call):
    """A call as the server makes them."""

    def __init__(self, params: bytes, deadline: float | None = None) -> None:
        self.endpoint = "/stats"
        self.params = params
        self.headers: Mapping[str, Any] = {"user": "ada"}
        self.deadline = deadline

    @property
    def caller(self) -> Caller:
        return CALLER

    async def send_json(self, data: Any, /) -> None: ...


def make(data: Mapping[str, Any] | None = None, ws: Any = None) -> Request:
    return Request({} if data is None else data, ws, "/stats", {"user": "ada"}, asyncio.get_running_loop())


def test_the_parameters_are_those_of_the_reference() -> None:
    parameters = inspect.signature(Request).parameters.values()
    assert [p.name for p in parameters] == ["data", "ws", "endpoint", "headers", "loop"]
    assert {(p.kind, p.default) for p in parameters} == {
        (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty)
    }


async def test_it_is_a_mapping_of_its_data() -> None:
    request = make({"a": 1, "b": None})
    assert request["a"] == 1
    assert request.get("b", 5) is None
    assert request.get("c", 5) == 5
    assert "b" in request
    assert "c" not in request
    assert len(request) == 2
    assert list(request) == ["a", "b"]
    assert dict(request) == {"a": 1, "b": None}
    with pytest.raises(KeyError):
        request["c"]


async def test_its_views_are_those_of_a_dict() -> None:
    request = make({"a": 1, "b": 2})
    assert isinstance(request.keys(), KeysView)
    assert isinstance(request.values(), ValuesView)
    assert isinstance(request.items(), ItemsView)
    assert list(request.keys()) == ["a", "b"]
    assert list(request.values()) == [1, 2]
    assert list(request.items()) == [("a", 1), ("b", 2)]


async def test_it_cannot_be_written_to() -> None:
    with pytest.raises(TypeError):
        make()["a"] = 1  # pyright: ignore[reportIndexIssue]


async def test_it_has_the_endpoint_and_the_headers() -> None:
    request = make()
    assert request.endpoint == "/stats"
    assert request.headers == {"user": "ada"}
    assert request.deadline is None
    assert repr(request) == "<Request endpoint='/stats' done=False>"


async def test_requests_with_the_same_data_are_not_the_same() -> None:
    one, two = make({"a": 1}), make({"a": 1})
    assert one != two
    assert len({one, two}) == 2


async def test_the_data_of_a_call_is_decoded_at_the_first_use() -> None:
    request = Request.of(OneCall(b'{"a":[1,2]}'), asyncio.get_running_loop())
    assert request["a"] == [1, 2]
    assert request.endpoint == "/stats"
    assert request.headers == {"user": "ada"}


async def test_the_elements_of_an_array_are_known_by_their_place() -> None:
    request = Request.of(OneCall(b'["x","y"]'), asyncio.get_running_loop())
    assert dict(request) == {"0": "x", "1": "y"}


@pytest.mark.parametrize(
    "params", [b"17", b"null", b"{", b'"\xff"', b'{"a":' * 50_000 + b"1" + b"}" * 50_000]
)
async def test_data_that_is_no_object_is_bad_data_at_the_first_use(params: bytes) -> None:
    request = Request.of(OneCall(params), asyncio.get_running_loop())
    with pytest.raises(BadData, match="must be a JSON object") as caught:
        len(request)
    assert [error["path"] for error in caught.value.errors] == [""]


async def test_the_deadline_is_what_is_left_and_never_negative() -> None:
    loop = asyncio.get_running_loop()
    late = Request.of(OneCall(b"{}", loop.time() - 5), loop)
    early = Request.of(OneCall(b"{}", loop.time() + 100), loop)
    assert late.deadline == 0
    assert early.deadline is not None
    assert 90 < early.deadline <= 100
    assert Request.of(OneCall(b"{}"), loop).deadline is None


async def test_responding_sends_the_answer_and_marks_the_request_done() -> None:
    answers = Answers()
    request = make(ws=answers)
    assert request.is_done() is False
    await request.respond({"a": 1})
    assert request.is_done() is True
    assert answers.sent == [{"a": 1}]


async def test_responding_without_a_value_sends_none() -> None:
    answers = Answers()
    await make(ws=answers).respond()
    assert answers.sent == [None]


async def test_a_second_answer_is_an_error_and_is_not_sent() -> None:
    answers = Answers()
    request = make(ws=answers)
    await request.respond(1)
    with pytest.raises(AlreadyResponded, match="'/stats' has been answered"):
        await request.respond(2)
    assert answers.sent == [1]


async def test_a_request_without_a_socket_takes_an_answer_too() -> None:
    request = make(ws=None)
    await request.respond(1)
    assert request.is_done()


async def test_an_answer_that_cannot_be_sent_leaves_the_request_open() -> None:
    answers = Answers(TypeError("no JSON"))
    request = make(ws=answers)
    with pytest.raises(TypeError):
        await request.respond(object())
    assert not request.is_done()
    await request.respond(1)
    assert answers.sent == [1]


async def test_waiting_ends_with_the_answer() -> None:
    request = make()
    waiters = [asyncio.ensure_future(request.wait_until_done()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    await request.respond(1)
    assert await asyncio.gather(*waiters) == [True, True]
    assert await request.wait_until_done() is True


async def test_waiting_that_is_cancelled_leaves_the_other_waiters_alone() -> None:
    request = make()
    one, two = (asyncio.ensure_future(request.wait_until_done()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait((one,))
    await request.respond(1)
    assert one.cancelled()
    assert await two is True


async def test_a_websocket_of_aiohttp_takes_the_answer_of_a_request_made_by_hand() -> None:
    async def handle(http: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(http)
        await make(ws=socket).respond({"a": 1})
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/", handle)
    async with TestClient(TestServer(app)) as client, client.ws_connect("/") as socket:
        message = await socket.receive()
    assert message.type is WSMsgType.TEXT
    assert message.data == '{"a": 1}'
