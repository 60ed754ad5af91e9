"""JSON-RPC 2.0 over a plain WebSocket and by POST: every example of its specification, and what it leaves open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import AlreadyResponded, Request, Server
from discord_tools.ipc_server.dialects.websocket import MESSAGES_PER_TURN
from test_dialects.conftest import KEY, HeldRoutes, Serving

Bot = commands.Bot

NO_ANSWER = object()
AFTER = '{"jsonrpc":"2.0","id":"after","method":"text"}'


def error(code: int, number: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": {"code": code}, "id": number}


def result(value: Any, number: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": value, "id": number}


#: Section 7 of the specification: what is sent, and what is answered. Messages of errors are everybody's own.
EXAMPLES = {
    "positional parameters": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
        result(19, 1),
    ),
    "positional parameters, the other way round": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
        result(-19, 2),
    ),
    "named parameters": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        result(19, 3),
    ),
    "named parameters, the other way round": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
        result(19, 4),
    ),
    "a notification": ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', NO_ANSWER),
    "a notification without parameters": ('{"jsonrpc": "2.0", "method": "foobar"}', NO_ANSWER),
    "a method that does not exist": (
        '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
        error(-32601, "1"),
    ),
    "invalid JSON": ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', error(-32700)),
    "an invalid request": ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', error(-32600)),
    "a batch of invalid JSON": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        error(-32700),
    ),
    "an empty batch": ("[]", error(-32600)),
    "an invalid batch that is not empty": ("[1]", [error(-32600)]),
    "an invalid batch": ("[1,2,3]", [error(-32600)] * 3),
    "a batch": (
        """[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
        ]""",
        [
            result(7, "1"),
            result(19, "2"),
            error(-32600),
            error(-32601, "5"),
            result(["hello", 5], "9"),
        ],
    ),
    "a batch of notifications": (
        (
            '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
            ' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]'
        ),
        NO_ANSWER,
    ),
}


@pytest.fixture
def calculator(server: Server[Bot]) -> Server[Bot]:
    @server.route()
    async def subtract(request: Request, minuend: int, subtrahend: int) -> int:
        return minuend - subtrahend

    @server.route("sum")
    async def add_up(request: Request) -> int:
        return sum(request.values())

    @server.route()
    async def get_data(request: Request) -> list[Any]:
        return ["hello", 5]

    for name in ("update", "notify_hello", "notify_sum"):

        async def notified(request: Request) -> None: ...

        server.add_route(notified, name)
    return server


def without_texts(answer: Any) -> Any:
    if isinstance(answer, list):
        return [without_texts(one) for one in answer]
    if isinstance(answer, dict) and "error" in answer:
        assert isinstance(answer["error"]["message"], str)
        return {**answer, "error": {"code": answer["error"]["code"]}}
    return answer


@pytest.mark.parametrize(("sent", "expected"), EXAMPLES.values(), ids=EXAMPLES)
async def test_the_example_of_the_specification_is_answered_so_on_a_socket(
    calculator: Server[Bot], keyed: aiohttp.ClientSession, sent: str, expected: Any
) -> None:
    async with keyed.ws_connect(calculator.ws_url) as socket:
        await socket.send_str(sent)
        if expected is not NO_ANSWER:
            assert without_texts(await socket.receive_json()) == expected
        # Nothing else came: the next answer is that of the next request.
        await socket.send_str(AFTER)
        assert await socket.receive_json() == result("text", "after")


@pytest.mark.parametrize(("sent", "expected"), EXAMPLES.values(), ids=EXAMPLES)
async def test_the_example_of_the_specification_is_answered_so_by_post(
    calculator: Server[Bot], keyed: aiohttp.ClientSession, sent: str, expected: Any
) -> None:
    async with keyed.post(calculator.ws_url.replace("ws", "http"), data=sent) as response:
        if expected is NO_ANSWER:
            assert (response.status, await response.read()) == (204, b"")
        else:
            assert response.content_type == "application/json"
            assert without_texts(await response.json()) == expected


@pytest.mark.parametrize(
    "number", ["7", '"seven"', "null", "1.50", "-3", "123456789012345678901234567890", '"\\u00e9"']
)
async def test_an_id_comes_back_as_it_was_written(
    server: Server[Bot], keyed: aiohttp.ClientSession, number: str
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_str(f'{{"jsonrpc":"2.0","method":"text","id": {number} }}')
        assert await socket.receive_str() == f'{{"jsonrpc":"2.0","id":{number},"result":"text"}}'


@pytest.mark.parametrize("number", ["true", "[1]", "{}"])
async def test_an_id_of_another_type_makes_the_request_invalid(
    server: Server[Bot], keyed: aiohttp.ClientSession, number: str
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_str(f'{{"jsonrpc":"2.0","method":"text","id":{number}}}')
        assert without_texts(await socket.receive_json()) == error(-32600)


@pytest.mark.parametrize(
    "request_",
    [
        '{"jsonrpc":"1.0","method":"text","id":1}',
        '{"jsonrpc":"2.0","method":"text","params":null,"id":1}',
        '{"jsonrpc":"2.0","method":"text","params":5,"id":1}',
        '{"jsonrpc":"2.0","id":1}',
        '"text"',
    ],
)
async def test_what_is_no_request_gets_an_error_with_the_id_null(
    server: Server[Bot], keyed: aiohttp.ClientSession, request_: str
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_str(AFTER)
        await socket.receive_json()
        await socket.send_str(request_)
        assert without_texts(await socket.receive_json()) == error(-32600)


async def test_garbage_is_told_to_be_none_also_as_the_first_message(
    server: Server[Bot], keyed: aiohttp.ClientSession
) -> None:
    for garbage in (b"\xff\xfe", b"\x00", b"{" * 100_000, b""):
        async with keyed.ws_connect(server.ws_url) as socket:
            await socket.send_bytes(garbage)
            assert without_texts(await socket.receive_json()) == error(-32700)
            await socket.send_str(AFTER)
            assert await socket.receive_json() == result("text", "after")


async def test_requests_on_a_socket_run_at_the_same_time_and_are_answered_as_they_are_ready(
    server: Server[Bot], keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_str('{"jsonrpc":"2.0","method":"waits","params":[5],"id":1}')
        await socket.send_str('{"jsonrpc":"2.0","method":"text","id":2}')
        assert await socket.receive_json() == result("text", 2)
        held.opened.set()
        assert await socket.receive_json() == result(5, 1)


async def test_a_batch_is_answered_when_all_of_it_is_done(
    server: Server[Bot], keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        batch = [{"jsonrpc": "2.0", "method": name, "id": i} for i, name in enumerate(("waits", "text"))]
        await socket.send_json(batch)
        await socket.send_str(AFTER)
        assert await socket.receive_json() == result("text", "after")
        held.opened.set()
        assert await socket.receive_json() == [result(0, 0), result("text", 1)]


async def test_answers_are_text_and_carry_discords_ids_both_ways(
    server: Server[Bot], keyed: aiohttp.ClientSession, bot: Bot
) -> None:
    guild = bot.guilds[0]
    async with keyed.ws_connect(server.ws_url) as socket:
        for number in (guild.id, str(guild.id)):
            await socket.send_json(
                {"jsonrpc": "2.0", "method": "/guild_name", "params": {"guild": number}, "id": 1}
            )
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.TEXT
            assert message.json() == result(guild.name, 1)


async def test_the_error_of_a_route_has_an_id_to_look_for_and_no_text_of_the_exception(
    server: Server[Bot], keyed: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "method": "fails", "id": 1})
        answer = await socket.receive_str()
        assert "secret" not in answer
        assert json.loads(answer)["error"]["data"]["error_id"] in caplog.text
        await socket.send_json({"jsonrpc": "2.0", "method": "refuses", "id": 2})
        assert (await socket.receive_json())["error"] == {"code": 404, "message": "no such member"}


async def test_without_the_key_json_rpc_gets_nothing_done(
    server: Server[Bot], http: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "method": "waits", "id": 1})
        assert without_texts(await socket.receive_json()) == error(-32001)
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    assert held.runs == 0
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await http.ws_connect(server.ws_url, headers={"Authorization": "wrong"})


async def test_a_batch_cannot_ask_for_more_than_the_limits_allow(
    serving: Serving, keyed: aiohttp.ClientSession
) -> None:
    async with serving(calls=8, message_bytes=100_000) as server, keyed.ws_connect(server.ws_url) as socket:
        await socket.send_str("[" + ",".join("1" * 9) + "]")
        assert without_texts(await socket.receive_json()) == error(-32600)
        batch = [{"jsonrpc": "2.0", "method": "large", "params": [60_000], "id": i} for i in range(3)]
        await socket.send_json(batch)
        answers = await socket.receive_json()
        assert [one.get("error", {}).get("code") for one in answers] == [None, -32007, -32007]


async def test_more_calls_than_one_client_may_have_are_refused_and_not_run(
    serving: Serving, keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with serving(calls=2) as server, keyed.ws_connect(server.ws_url) as socket:
        for number in range(3):
            await socket.send_json({"jsonrpc": "2.0", "method": "waits", "id": number})
        assert without_texts(await socket.receive_json()) == error(-32004, 2)
        held.opened.set()
        assert {(await socket.receive_json())["id"] for _ in range(2)} == {0, 1}
    assert held.runs == 2


async def test_a_call_that_takes_too_long_is_answered_and_cancelled(
    serving: Serving, keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with serving(call_timeout=0.05) as server, keyed.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "method": "waits", "id": 1})
        assert without_texts(await socket.receive_json()) == error(-32005, 1)
        await held.cancelled.wait()


async def test_a_route_that_streams_is_refused_and_does_not_run(
    server: Server[Bot], keyed: aiohttp.ClientSession
) -> None:
    ran: list[Request] = []

    @server.route()
    async def items(request: Request) -> AsyncGenerator[int, None]:
        ran.append(request)
        yield 1

    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "method": "items", "id": 1})
        assert without_texts(await socket.receive_json()) == error(-32600, 1)
        await socket.send_str(AFTER)
        assert await socket.receive_json() == result("text", "after")
    assert not ran


async def test_the_first_of_two_answers_of_a_route_is_the_answer(
    server: Server[Bot], keyed: aiohttp.ClientSession
) -> None:
    refused: list[str] = []

    @server.route()
    async def twice(request: Request) -> None:
        await request.respond("first")
        try:
            await request.respond("second")
        except AlreadyResponded as error:
            refused.append(str(error.endpoint))

    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "method": "twice", "id": 1})
        assert await socket.receive_json() == result("first", 1)
        await socket.send_str(AFTER)
        assert await socket.receive_json() == result("text", "after")
    assert refused == ["/twice"]


async def test_an_answer_after_the_time_for_the_call_is_an_error_of_the_route_only(
    serving: Serving, keyed: aiohttp.ClientSession
) -> None:
    late: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async with (
        serving(call_timeout=0.05) as server,
        keyed.ws_connect(server.ws_url) as socket,
    ):

        @server.route()
        async def stubborn(request: Request) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                try:
                    await request.respond("too late")
                except AlreadyResponded as problem:
                    late.set_result(problem)

        await socket.send_json({"jsonrpc": "2.0", "method": "stubborn", "id": 1})
        assert without_texts(await socket.receive_json()) == error(-32005, 1)
        assert isinstance(await asyncio.wait_for(late, 5), AlreadyResponded)
        await socket.send_str(AFTER)
        assert await socket.receive_json() == result("text", "after")


async def test_a_client_that_goes_cancels_what_it_waits_for_and_no_notification(
    server: Server[Bot], keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    notified = asyncio.Event()

    @server.route()
    async def notify(request: Request) -> None:
        await held.cancelled.wait()
        notified.set()

    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "method": "notify"})
        await socket.send_json([{"jsonrpc": "2.0", "method": "waits", "id": 1}])
        await held.entered.wait()
    await held.cancelled.wait()
    await notified.wait()


async def test_terminating_lets_calls_end_refuses_new_ones_and_says_goodbye(
    server: Server[Bot], keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "method": "waits", "params": [3], "id": 1})
        await held.entered.wait()
        end = asyncio.create_task(server.terminate_server())
        await asyncio.sleep(0)  # its first step
        await socket.send_json({"jsonrpc": "2.0", "method": "text", "id": 2})
        assert without_texts(await socket.receive_json()) == error(-32003, 2)
        held.opened.set()
        assert await socket.receive_json() == result(3, 1)
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        await end


async def test_a_call_that_takes_longer_than_the_grace_is_cancelled_and_told_so(
    serving: Serving, keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with serving(grace_period=0.05) as server, keyed.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "method": "waits", "id": 1})
        await held.entered.wait()
        await server.terminate_server()
        answer = await socket.receive_json()
        assert without_texts(answer) == error(-32006, 1)
        assert answer["error"]["message"] == "the bot is shutting down"
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
    assert held.cancelled.is_set()


async def test_a_socket_that_opens_while_the_bot_shuts_down_is_sent_away(
    server: Server[Bot], keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_str('{"jsonrpc":"2.0","method":"waits","id":1}')
        await held.entered.wait()
        # The port is freed at once, so only a connection that is there already can still ask for an upgrade.
        async with keyed.get(server.ws_url.replace("ws", "http") + "/health") as response:
            assert response.status == 200
        url = server.ws_url
        end = asyncio.create_task(server.terminate_server())
        await asyncio.sleep(0)  # its first step
        async with keyed.ws_connect(url) as late:
            message = await late.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
            assert message.extra == "the bot is shutting down"
        held.opened.set()
        assert await socket.receive_json() == result(0, 1)
        await end


async def test_many_messages_that_come_at_once_leave_others_their_turns(
    serving: Serving, keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    many = 10 * MESSAGES_PER_TURN
    turns = [0]

    async def watch() -> None:
        while held.runs < many:
            await asyncio.sleep(0)
            turns.append(held.runs)

    async with serving(calls=many) as server, keyed.ws_connect(server.ws_url) as socket:
        watching = asyncio.create_task(watch())
        for number in range(many):
            await socket.send_json({"jsonrpc": "2.0", "method": "waits", "id": number})
        await asyncio.wait_for(watching, 5)
        held.opened.set()
        assert {(await socket.receive_json())["id"] for _ in range(many)} == set(range(many))
    assert max(after - before for before, after in pairwise(turns)) <= MESSAGES_PER_TURN


async def test_a_client_whose_answers_wait_is_heard_again_when_it_has_read_them(
    serving: Serving, keyed: aiohttp.ClientSession
) -> None:
    async with serving(backlog_bytes=1) as server, keyed.ws_connect(server.ws_url) as socket:
        for _ in range(5):
            await socket.send_str("garbage")  # answered at once, and so before the next message is read
            await socket.send_str(AFTER)
        answers = [without_texts(await socket.receive_json()) for _ in range(10)]
    assert answers.count(error(-32700)) == 5
    assert answers.count(result("text", "after")) == 5


async def test_json_rpc_can_be_switched_off(serving: Serving, keyed: aiohttp.ClientSession) -> None:
    async with serving(dialects=("discord-ext-ipc",)) as server, keyed.ws_connect(server.ws_url) as socket:
        await socket.send_str(AFTER)
        assert without_texts(await socket.receive_json()) == error(-32600)
    async with serving(dialects=()) as server:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="426"):
            await keyed.ws_connect(server.ws_url)


async def test_the_key_may_follow_the_word_bearer(server: Server[Bot], http: aiohttp.ClientSession) -> None:
    async with http.ws_connect(server.ws_url, headers={"Authorization": f"Bearer {KEY}"}) as socket:
        await socket.send_str(AFTER)
        assert await socket.receive_json() == result("text", "after")


async def test_a_foreign_page_gets_in_by_no_dialect(server: Server[Bot], http: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await http.ws_connect(server.ws_url, origin="https://evil.example")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await http.ws_connect(server.multicast_ws_url, origin="https://evil.example")


def test_an_unknown_dialect_is_refused(bot: Bot) -> None:
    with pytest.raises(ValueError, match="unknown dialect 'soap'"):
        Server(bot, dialects=("soap",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not one string"):
        Server(bot, dialects="jsonrpc")  # type: ignore[arg-type]
