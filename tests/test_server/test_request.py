"""A request as a mapping, and the one answer it takes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from typing import Any

import discord
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer
from discord.ext import commands

from discord_tools.ipc import (
    AlreadyResponded,
    BadData,
    CheckFailed,
    ClientSession,
    RemoteError,
    Request,
    Server,
    check,
    route,
)
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc_server.call import Call
from discord_tools.ipc_server.caller import Caller
from test_server.tools import CALLER, memory_server


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


# -- what it knows beside the data


async def test_a_request_made_by_hand_knows_no_bot() -> None:
    request = make({"guild_id": 1})
    assert (request.client, request.bot, request.server) == (None, None, None)
    assert (request.route, request.cog, request.guild) == (None, None, None)


async def test_a_request_knows_its_bot_server_route_and_cog(bot: commands.Bot) -> None:
    seen: list[Any] = []

    class Cog(commands.Cog):
        @route()
        async def work(self, request: Request) -> None:
            seen.extend([request.client, request.bot, request.server, request.route, request.cog])

    await bot.add_cog(Cog())
    server = Server(bot, "127.0.0.1", 0, "key", multicast=False)
    async with server, ClientSession(connector=MemoryConnector(server.serve)) as session:
        await session.request("work")
    cog = bot.get_cog("Cog")
    assert seen[:3] == [bot, bot, server]
    assert seen[3].name == "/work"
    assert seen[3].cog is cog
    assert seen[4] is cog


async def test_the_raw_event_comes_before_the_route_is_known(bot: commands.Bot) -> None:
    seen: list[Any] = []

    async def listener(request: Request) -> None:
        seen.append((request.client, request.route, request.cog))

    async def work(request: Request) -> None:
        seen.append((request.client, str(request.route), request.cog))

    bot.add_listener(listener, "on_raw_ipc_request")
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        await session.request("work")
    assert seen == [(bot, None, None), (bot, "/work", None)]


async def free(request: Request) -> Any:
    return None if request.guild is None else request.guild.id


async def named(request: Request, place: discord.Guild | None = None, guild: int = 0) -> Any:
    return await free(request)


def as_sent(value: Any, bot: commands.Bot) -> Any:
    """Replaces the words one and two by the ids of the bot's guilds, and others by forms that are no id."""
    number = bot.guilds[0].id
    ids = {
        "one": number,
        "two": bot.guilds[1].id,
        "text": str(number),
        "plus": f"+{number}",
        "space": f" {number}",
        "zero": f"0{number}",
        "arabic": "".join(chr(0x660 + int(digit)) for digit in str(number)),
        "float": float(number),
    }
    return ids.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("function", "data", "expected"),
    [
        (free, {"guild": "one"}, "one"),
        (free, {"guild": "text"}, "one"),
        (free, {"guild_id": "two"}, "two"),
        (free, {"guild_id": "one", "guild": "text"}, "one"),
        (free, {"guild_id": "one", "guild": "two"}, None),
        (free, {"guild_id": "one", "guild": None}, None),
        (free, {"guild_id": 1}, None),
        (free, {"guild_id": -1}, None),
        (free, {"guild_id": 2**70}, None),
        (free, {"guild_id": "9" * 5000}, None),
        (free, {"guild_id": True}, None),
        (free, {"guild_id": ["one"]}, None),
        (free, {"guild_id": {}}, None),
        (free, {"guild_id": ""}, None),
        (free, {"guild_id": "one", "guild": "x"}, None),
        (free, {"guild_id": "plus"}, None),
        (free, {"guild_id": "space"}, None),
        (free, {"guild_id": "zero"}, None),
        (free, {"guild_id": "arabic"}, None),
        (free, {"guild_id": "float"}, None),
        (free, {}, None),
        (named, {"place": "one"}, "one"),
        (named, {"place": "one", "guild": "two"}, "one"),
        (named, {"guild": "two"}, None),
        (named, {"place": None}, None),
    ],
    ids=range(25),
)
async def test_the_guild_of_a_request_is_the_one_that_its_data_names(
    loopback_bot: commands.Bot, function: Any, data: dict[str, Any], expected: Any
) -> None:
    async with memory_server(loopback_bot) as server, server.session() as session:
        seen: list[Any] = []

        def look(request: Request) -> bool:
            seen.append(None if request.guild is None else request.guild.id)
            return True

        server.add_route(check(look)(route("work")(function)))
        sent = {key: as_sent(value, loopback_bot) for key, value in data.items()}
        with contextlib.suppress(RemoteError):
            assert await session.request("work", **sent) == as_sent(expected, loopback_bot)
        assert seen == [as_sent(expected, loopback_bot)]


async def test_the_guild_of_values_in_order_is_the_parameter_of_that_place(
    loopback_bot: commands.Bot,
) -> None:
    async def work(request: Request, name: str, guild: discord.Guild) -> list[Any]:
        assert request.guild is guild
        return [name, guild.name]

    name = loopback_bot.guilds[0].name
    guild = loopback_bot.guilds[0].id
    async with memory_server(loopback_bot) as server:
        server.add_route(check(lambda request: request.guild is not None)(route()(work)))
        native = server.connect()
        await native.hello()
        assert await native.call("work", ["x", guild]) == ["x", name]
        assert await native.call("work", {"name": "x", "guild": guild}) == ["x", name]


async def test_keys_that_look_like_places_are_no_places(loopback_bot: commands.Bot) -> None:
    async def work(request: Request, guild: discord.Guild, **more: Any) -> Any: ...

    seen: list[Any] = []
    async with memory_server(loopback_bot) as server, server.session() as session:
        server.add_route(check(lambda request: seen.append(request.guild) or False)(route()(work)))
        with pytest.raises(CheckFailed):
            await session.request("work", **{"0": loopback_bot.guilds[0].id})
    assert seen == [None]


# -- attributes that it does not have


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("guild_id", ': use request["guild_id"]'),
        ("owner", ': use request["owner"]'),
        ("guildid", ': did you mean request["guild_id"]?'),
        ("guild_ids", ': did you mean request["guild_id"]?'),
        ("nothing_like_it", ""),
        ("_private", ""),
        ("__wrapped__", ""),
        ("x" * 65, ""),
    ],
)
async def test_an_attribute_that_is_data_is_not_there_and_the_error_says_where_it_is(
    name: str, advice: str
) -> None:
    request = make({"guild_id": 5, "owner": 6, "_private": 7, "__wrapped__": 8, "x" * 65: 9})
    with pytest.raises(AttributeError) as caught:
        getattr(request, name)
    assert str(caught.value) == f"'Request' object has no attribute {name!r:.100}{advice}"
    assert caught.value.name == name
    assert not hasattr(request, name)
    assert getattr(request, name, "default") == "default"


async def test_many_keys_and_long_ones_are_not_searched_for_a_near_name() -> None:
    long = make({"guild_id" + "x" * 1_000_000: 5})
    many = make({f"guild_id{number}": 5 for number in range(1000)})
    for request in (long, many):
        with pytest.raises(AttributeError, match=r"has no attribute 'guild_idx'$"):
            request.guild_idx  # noqa: B018
    with pytest.raises(AttributeError, match=r'use request\["guild_id7"\]'):
        many.guild_id7  # noqa: B018


async def test_a_near_key_that_cannot_be_printed_is_not_named() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'guilds'$"):
        make({"guild\n": 5}).guilds  # noqa: B018


async def test_data_that_is_no_object_has_no_attributes_either() -> None:
    request = Request.of(OneCall(b"17"), asyncio.get_running_loop())
    assert not hasattr(request, "guild_id")


async def test_a_request_that_was_not_initialised_has_no_attributes() -> None:
    for name in ("guild_id", "_data"):
        assert not hasattr(object.__new__(Request), name)


async def test_a_request_takes_no_attributes() -> None:
    with pytest.raises(AttributeError):
        make().user = 5  # pyright: ignore[reportAttributeAccessIssue]
