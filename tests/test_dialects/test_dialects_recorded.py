"""What the published clients of discord-ext-ipc and better-ipc sent, frame by frame, sent to our server again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import Server
from discord_tools.ipc_server.connections import UNAUTHENTICATED_PER_ADDRESS
from equipment.recordings import RECORDINGS
from test_dialects.conftest import KEY, HeldRoutes, Serving

Bot = commands.Bot

CASES = [
    (package, name, port, index)
    for package, recorded in RECORDINGS.items()
    for name, recording in recorded["recordings"].items()
    for port in ("main", "multicast")
    for index in range(len(recording[port]))
]

#: Where we answer otherwise, by the endpoint asked for, with the reason.
BETTER: dict[str, Any] = {
    # better-ipc knows dicts and texts only; its client reads these as well.
    "get_member_count": {"decoding": "JSON", "code": 200, "response": "42"},
    "listing": {"decoding": "JSON", "code": 200, "response": '[1,"zwei",null]'},
}


def comparable(answer: Any) -> Any:
    """Answers of better-ipc have JSON inside, which may be written in several ways."""
    if isinstance(answer, dict) and answer.get("decoding") == "JSON":
        return {**answer, "response": json.loads(answer["response"])}
    return answer


@pytest.mark.parametrize(("package", "name", "port", "index"), CASES)
async def test_the_recorded_client_gets_the_answers_that_its_own_server_gave(
    server: Server[Bot], http: aiohttp.ClientSession, package: str, name: str, port: str, index: int
) -> None:
    assert RECORDINGS[package]["key"] == KEY
    recorded = RECORDINGS[package]["recordings"][name][port][index]
    url = server.ws_url if port == "main" else server.multicast_ws_url
    async with http.ws_connect(url, headers=recorded["headers"], autoping=False) as socket:
        question: dict[str, Any] = {}
        for frame in recorded["frames"]:
            if frame["from"] == "client" and "text" in frame:
                question = json.loads(frame["text"])
                await socket.send_str(frame["text"])
            elif frame["from"] == "server" and "text" in frame:
                message = await socket.receive()
                assert message.type is aiohttp.WSMsgType.TEXT
                check(package, question, json.loads(frame["text"]), message.json(), server)
            else:
                assert frame == {"from": "client", "close": 1000}
                await socket.close()


def check(package: str, question: Any, theirs: Any, ours: Any, server: Server[Bot]) -> None:
    if "connect" in question and theirs["code"] == 200:
        assert ours == {**theirs, "port": server.port}
    elif package == "better-ipc" and theirs["code"] == 200:
        assert comparable(ours) == comparable(theirs)
    elif package == "better-ipc" and question["endpoint"] in BETTER and question["secret"] == KEY:
        assert comparable(ours) == comparable(BETTER[question["endpoint"]])
    elif package == "better-ipc" and question["endpoint"] == "fails":
        # Theirs tells the text of the exception.
        assert ours.pop("error_details") != theirs.pop("error_details")
        assert ours == theirs
    else:
        assert ours == theirs


def test_the_recordings_have_what_these_tests_are_about() -> None:
    assert list(RECORDINGS) == ["better-ipc", "discord-ext-ipc"]
    assert len(CASES) >= 15
    headers = [RECORDINGS["better-ipc"]["recordings"]["standard mode"]["main"][0]["headers"]]
    assert [list(one) for one in headers] == [["ID"]]


# ---------------------------------------------------------------- beyond the recordings


def family(endpoint: Any, data: Any = None, key: Any = KEY) -> str:
    return json.dumps({"endpoint": endpoint, "data": data or {}, "headers": {"Authorization": key}})


def better(endpoint: Any, kwargs: Any = None, secret: Any = KEY) -> str:
    return json.dumps({"endpoint": endpoint, "secret": secret, "kwargs": kwargs or {}})


@pytest.mark.parametrize("write", [family, better])
async def test_overlapping_requests_on_a_socket_are_answered_in_order(
    server: Server[Bot], http: aiohttp.ClientSession, held: HeldRoutes, write: Any
) -> None:
    async with http.ws_connect(server.ws_url, autoping=False) as socket:
        await socket.send_str(write("waits", {"answer": 5}))
        await held.entered.wait()
        for number in range(20):
            await socket.send_str(write("echo", {"n": number}))
        await socket.send_str(write("marks"))
        await held.marked.wait()  # all the others have run by now, and wait for the first
        held.opened.set()
        answers = [await socket.receive_json() for _ in range(22)]
    if write is better:
        answers = [
            json.loads(answer["response"]) if answer["decoding"] else answer["response"] for answer in answers
        ]
    assert answers == [5, *({"data": {"n": number}} for number in range(20)), "marked"]


async def test_a_socket_of_discord_ext_ipc_stays_open_and_silent_while_a_route_is_slow(
    serving: Serving, http: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with (
        serving(heartbeat=0.05, handshake_timeout=0.1) as server,
        http.ws_connect(server.ws_url, autoping=False, autoclose=False) as socket,
    ):
        await socket.send_str(family("waits"))
        await held.entered.wait()
        asyncio.get_running_loop().call_later(0.4, held.opened.set)
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.TEXT, "0")
        with pytest.raises(asyncio.TimeoutError):
            await socket.receive(timeout=0.3)  # nothing, not even an end
        await socket.send_str(family("text"))
        assert await socket.receive_json() == "text"
    assert held.runs == 1


@pytest.mark.parametrize(
    "key", [None, "", "wrong", 5, ["k"], {"k": KEY}, True, KEY + "x", KEY[:-1], "\u00e9"]
)
async def test_a_wrong_key_of_whatever_shape_gets_nothing_done(
    server: Server[Bot], http: aiohttp.ClientSession, held: HeldRoutes, key: Any
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_str(family("waits", key=key))
        assert (await socket.receive_json())["code"] == 403
    async with http.ws_connect(server.multicast_ws_url) as socket:
        await socket.send_str(better("waits", secret=key))
        assert (await socket.receive_json())["code"] == 403
    assert held.runs == 0


@pytest.mark.parametrize("headers", [None, "x", [], 5, {}, [KEY], {"authorization": KEY}])
async def test_headers_of_whatever_shape_are_no_key(
    server: Server[Bot], http: aiohttp.ClientSession, held: HeldRoutes, headers: Any
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_json({"endpoint": "waits", "data": {}, "headers": headers})
        assert await socket.receive_json() == {"error": "Invalid or no token provided.", "code": 403}
    assert held.runs == 0


async def test_a_key_is_needed_for_each_message_and_not_only_for_the_first(
    server: Server[Bot], http: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_str(family("text"))
        assert await socket.receive_json() == "text"
        await socket.send_str(family("waits", key="wrong"))
        assert (await socket.receive_json())["code"] == 403
    assert held.runs == 0


async def test_garbage_after_the_first_message_is_refused_and_the_socket_goes_on(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_str(family("text"))
        assert await socket.receive_json() == "text"
        for garbage in ("", "{", "[1]", "null", "\x00", '{"jsonrpc":"2.0","id":1,"method":"text"}'):
            await socket.send_str(garbage)
            assert await socket.receive_json() == {"error": "Invalid or no token provided.", "code": 403}
        for endpoint in (None, "", 5, ["text"]):
            await socket.send_str(family(endpoint))
            assert await socket.receive_json() == {"error": "Invalid or no endpoint given.", "code": 400}
        await socket.send_str(family("text"))
        assert await socket.receive_json() == "text"


async def test_data_that_is_no_object_is_refused_and_null_is_none(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_json({"endpoint": "echo", "data": "x", "headers": {"Authorization": KEY}})
        assert (await socket.receive_json())["code"] == 500
        await socket.send_json({"endpoint": "echo", "data": None, "headers": {"Authorization": KEY}})
        assert await socket.receive_json() == {"data": {}}
        await socket.send_json({"endpoint": "echo", "headers": {"Authorization": KEY}})
        assert await socket.receive_json() == {"data": {}}


async def test_a_route_sees_the_headers_of_an_older_client_but_not_its_key(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_json(
            {"endpoint": "headers", "data": {}, "headers": {"Authorization": KEY, "user": 5}}
        )
        assert await socket.receive_json() == {"user": 5}


async def test_the_original_library_is_recognised_by_its_slash_and_gets_its_own_texts(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_str(family("/text"))
        assert await socket.receive_json() == "text"
        await socket.send_str(family("/no_such_route"))
        assert await socket.receive_json() == {"error": "Invalid endpoint provided", "code": 400}
        await socket.send_str(family("/text", key="wrong"))
        assert await socket.receive_json() == {"error": "Unauthorized", "code": 403}


async def test_an_answer_larger_than_the_client_of_better_ipc_takes_becomes_an_error(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.multicast_ws_url) as socket:
        await socket.send_str(better("large", {"size": 1024 * 1024 - 100}))
        assert len((await socket.receive_json())["response"]) == 1024 * 1024 - 100
        await socket.send_str(better("large", {"size": 1024 * 1024}))
        answer = await socket.receive_json()
        assert (answer["code"], answer["response"]) == (500, None)


@pytest.mark.parametrize("write", [family, better])
async def test_an_error_that_cannot_be_written_or_is_too_large_is_answered_with_one_that_can(
    server: Server[Bot], http: aiohttp.ClientSession, write: Any
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        for question in (write("unwritable"), write("verbose", {"size": 5_000_000})):
            await socket.send_str(question)
            assert (await socket.receive_json())["code"] == 500


async def test_better_ipc_gets_only_numbers_of_errors_that_it_knows(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.multicast_ws_url) as socket:
        await socket.send_str(better("refuses"))
        assert await socket.receive_json() == {
            "decoding": None,
            "code": 404,
            "response": None,
            "error": "no such member",
            "error_details": "no such member",
        }
        await socket.send_str(better("guild_name", {"guild": "x"}))
        assert (await socket.receive_json())["code"] == 500


async def test_each_dialect_can_be_switched_off_alone(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with serving(dialects=("discord-ext-ipc",)) as server:
        async with http.ws_connect(server.ws_url) as socket:
            await socket.send_str(better("text"))
            assert (await socket.receive_json())["error"]["code"] == -32600
        async with http.ws_connect(server.multicast_ws_url) as socket:
            await socket.send_str(better("text"))
            assert (await socket.receive_json())["error"] == "This port only tells the port of the bot."
        async with http.ws_connect(server.ws_url) as socket:
            await socket.send_str(family("text"))
            assert await socket.receive_json() == "text"
    async with serving(dialects=("better-ipc",)) as server:
        async with http.ws_connect(server.ws_url) as socket:
            await socket.send_str(family("text"))
            assert (await socket.receive_json())["error"]["code"] == -32600
        async with http.ws_connect(server.ws_url) as socket:
            await socket.send_str(better("text"))
            assert (await socket.receive_json())["response"] == "text"
    async with serving(dialects=("jsonrpc", "http")) as server:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await http.ws_connect(server.ws_url)


# ---------------------------------------------------------------- unauthenticated clients


async def test_a_client_that_shows_no_key_in_time_is_closed(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async with serving(handshake_timeout=0.05) as server:
        for url in (server.ws_url, server.multicast_ws_url):
            async with http.ws_connect(url) as socket:
                message = await socket.receive()
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
            async with http.ws_connect(url) as socket:
                await socket.send_json({"connect": True, "headers": {"Authorization": "wrong"}})
                assert (await socket.receive_json())["code"] == 403
                assert (await socket.receive()).data == 1008


async def test_an_unauthenticated_client_can_try_only_a_few_keys(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        for number in range(8):
            await socket.send_str(family("text", key=f"guess {number}"))
            assert (await socket.receive_json())["code"] == 403
        assert (await socket.receive()).data == 1008


async def test_an_unauthenticated_client_cannot_send_much(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_str(family("echo", {"x": "x" * 600_000}))
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    async with http.ws_connect(server.ws_url) as socket:
        await socket.send_str(family("echo", {"x": "x" * 500_000}))
        assert len((await socket.receive_json())["data"]["x"]) == 500_000


async def test_unauthenticated_clients_are_few_and_those_that_showed_the_key_do_not_count(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    sockets = [await http.ws_connect(server.ws_url) for _ in range(UNAUTHENTICATED_PER_ADDRESS)]
    await sockets[0].send_str(family("text"))
    assert await sockets[0].receive_json() == "text"
    sockets += [await http.ws_connect(server.ws_url) for _ in range(2)]
    # There was a place for one. The oldest makes way for the other.
    message = await sockets[1].receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    for socket in (sockets[0], sockets[2], sockets[-1]):
        await socket.send_str(family("text"))
        assert await socket.receive_json() == "text"
    for socket in sockets:
        await socket.close()


async def test_no_more_connections_than_allowed_are_open_on_either_port(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async with serving(connections=2) as server:
        for url in (server.ws_url, server.multicast_ws_url):
            sockets = [await http.ws_connect(url) for _ in range(2)]
            for socket in sockets:
                await socket.send_str(better("text"))
                assert (await socket.receive_json())["response"] == "text"
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await http.ws_connect(url)
            for socket in sockets:
                await socket.close()


async def test_a_known_client_may_send_as_much_as_the_limits_say(
    server: Server[Bot], keyed: aiohttp.ClientSession
) -> None:
    async with keyed.ws_connect(server.ws_url, max_msg_size=0) as socket:
        await socket.send_json(
            {"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {"x": "x" * 3_000_000}}
        )
        assert len((await socket.receive_json())["result"]["data"]["x"]) == 3_000_000
