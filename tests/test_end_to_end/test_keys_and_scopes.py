"""Several keys: what each of them opens over each transport, and what happens when they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    Cancelled,
    ClientSession,
    ConnectionLost,
    Event,
    Forbidden,
    IPCError,
    Key,
    Request,
    RouteGroup,
    Server,
    Unauthorized,
    UnknownEndpoint,
    route,
)
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.transports.base import POLICY
from discord_tools.ipc_server import keys as module
from discord_tools.ipc_server.keys import REVOKED
from equipment.key import KEY
from equipment.proxy import Proxy
from equipment.serving import connecting, serving
from equipment.until import settle, until
from equipment.websockets import HELLO, websocket_client

PANEL = "the key of the panel"
STATUS = "the key of the status page"


class Routes:
    """Routes with and without scopes, and what has become of their calls."""

    def __init__(self, server: Server[Any]) -> None:
        self.callers: list[Any] = []
        self.running = 0
        self.cancelled = 0
        self.gate = asyncio.Event()
        for name, scopes in (("open", {"read"}), ("ban", {"moderate"}), ("both", {"moderate", "read"})):
            server.add_route(self.answer, name, scopes=scopes)
        server.add_route(self.answer, "unscoped", idempotent=True)
        server.add_route(self.wait, scopes={"read", "moderate"}, idempotent=True)
        server.add_route(self.wait, "wait_moderate", scopes={"moderate"})
        server.add_route(self.count, scopes={"moderate"})

    async def answer(self, request: Request) -> str:
        self.callers.append(request.caller)
        return request.endpoint

    async def wait(self, request: Request) -> str:
        self.running += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return request.endpoint

    async def count(self, request: Request) -> AsyncGenerator[int, None]:
        number = 0
        while True:
            yield (number := number + 1)
            await self.gate.wait()


@pytest.fixture
async def keyed(loopback_bot: commands.Bot) -> AsyncIterator[Server[commands.Bot]]:
    """A server with a plain key and two keys with scopes."""
    keys = {"panel": Key(PANEL, scopes={"read", "moderate"}), "status": Key(STATUS, scopes={"read"})}
    async with serving(loopback_bot, keys=keys, multicast_port=0) as server:
        yield server


@pytest.fixture
def routes(keyed: Server[commands.Bot]) -> Routes:
    return Routes(keyed)


def panel(server: Server[Any], **options: Any) -> ClientSession:
    return connecting(server.port, secret_key=PANEL, **options)


def status(server: Server[Any], **options: Any) -> ClientSession:
    return connecting(server.port, secret_key=STATUS, **options)


async def outcome(session: ClientSession, name: str) -> str | list[str]:
    """The answer of a route, or the scopes that the call lacked."""
    try:
        return await session.request(name)
    except Forbidden as error:
        return error.scopes


# -- calls


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEY, {"open": "/open", "ban": "/ban", "both": "/both", "unscoped": "/unscoped"}),
        (PANEL, {"open": "/open", "ban": "/ban", "both": "/both", "unscoped": []}),
        (STATUS, {"open": "/open", "ban": ["moderate"], "both": "/both", "unscoped": []}),
    ],
)
async def test_a_key_opens_the_routes_that_name_one_of_its_scopes(
    keyed: Server[commands.Bot], routes: Routes, key: str, expected: Mapping[str, Any]
) -> None:
    async with connecting(keyed.port, secret_key=key) as session:
        assert {name: await outcome(session, name) for name in expected} == expected
    assert len(routes.callers) == sum(isinstance(one, str) for one in expected.values())


async def test_a_request_knows_its_caller(keyed: Server[commands.Bot], routes: Routes) -> None:
    async with panel(keyed) as session:
        await session.request("open")
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"http://127.0.0.1:{keyed.port}/",
            json={"jsonrpc": "2.0", "id": 1, "method": "open"},
            headers={"Authorization": f"Bearer {STATUS}"},
        ) as response,
    ):
        assert (await response.json())["result"] == "/open"
    native, posted = routes.callers
    assert (native.key, native.address, native.dialect) == ("panel", "127.0.0.1", "native")
    assert (posted.key, posted.dialect, posted.scopes) == ("status", "http", frozenset({"read"}))
    assert Request({}, None, "/x", {}, asyncio.get_running_loop()).caller is None


async def test_a_refused_call_is_logged_with_its_key_and_answered_before_the_checks(
    keyed: Server[commands.Bot], caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[Exception] = []

    @keyed.route(scopes={"moderate"})
    async def guarded(request: Request, number: int) -> None: ...

    @guarded.error
    async def handle(request: Request, error: Exception) -> str:
        handled.append(error)
        return "handled"

    async with status(keyed) as session:
        with pytest.raises(Forbidden) as caught:
            await session.request("guarded", number="no number")
    assert type(caught.value) is Forbidden
    assert (
        caught.value.message == "this route needs the scope 'moderate', which the key 'status' does not have"
    )
    assert handled == []
    (line,) = [message for message in caplog.messages if "Refused '/guarded'" in message]
    assert "key status] Refused '/guarded': this route needs the scope 'moderate'" in line


async def test_a_key_learns_no_names_of_routes_that_it_does_not_open(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    async with status(keyed) as session:
        for name, hint in (("opne", "'/open'"), ("bann", None), ("unscopd", None)):
            with pytest.raises(UnknownEndpoint) as caught:
                await session.request(name)
            assert ("did you mean" in caught.value.message) is (hint is not None)
            assert hint is None or hint in caught.value.message
    async with connecting(keyed.port) as session:
        with pytest.raises(UnknownEndpoint, match="did you mean '/ban'"):
            await session.request("bann")


async def test_a_welcome_names_only_routes_that_the_key_opens(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    async with websocket_client(keyed.port, STATUS, hello=False) as client:
        assert (await client.hello(client="raw"))["idempotent"] == ["/wait"]
    async with websocket_client(keyed.port, KEY, hello=False) as client:
        assert (await client.hello(client="raw"))["idempotent"] == ["/unscoped", "/wait"]


async def test_streams_need_a_scope_like_requests(keyed: Server[commands.Bot], routes: Routes) -> None:
    async with status(keyed) as session:
        with pytest.raises(Forbidden):
            await anext(aiter(session.stream("count")))
        with pytest.raises(Forbidden):  # it does not learn either that this route streams
            await session.request("count")
    async with panel(keyed) as session, session.stream("count") as stream:
        assert await anext(stream) == 1


async def test_groups_and_cogs_name_scopes(keyed: Server[commands.Bot], loopback_bot: commands.Bot) -> None:
    outer = RouteGroup("outer", scopes={"read"})
    inner, closed = outer.group("inner", scopes={"moderate"}), outer.group("closed", scopes=())

    async def answer(request: Request) -> str:
        return request.endpoint

    for group in (outer, outer.group("same"), inner, closed):
        group.route("inherited")(answer)
        group.route("own", scopes={"moderate"})(answer)
        group.route("none", scopes=())(answer)
    keyed.add_group(outer)

    class Moderation(commands.Cog):
        @route(scopes={"read"})
        async def listed(self, request: Request) -> str:
            return request.endpoint

        @inner.route()
        async def method(self, request: Request) -> str:
            return request.endpoint

    await loopback_bot.add_cog(Moderation())
    async with status(keyed) as session:
        allowed = [name for name in keyed.routes if isinstance(await outcome(session, name), str)]
    assert allowed == ["/outer/inherited", "/outer/same/inherited", "/listed"]


@pytest.mark.parametrize(("scopes", "error"), [("read", TypeError), ([5], TypeError), (["*"], ValueError)])
def test_scopes_that_cannot_be_used_are_refused_where_they_are_written(
    keyed: Server[commands.Bot], scopes: Any, error: type[Exception]
) -> None:
    async def answer(request: Request) -> None: ...

    declarations = (
        lambda: route(scopes=scopes),
        lambda: keyed.route(scopes=scopes),
        lambda: keyed.add_route(answer, scopes=scopes),
        lambda: keyed.group("group", scopes=scopes),
        lambda: RouteGroup("group").route(scopes=scopes),
        lambda: keyed.forward("member_join", scopes=scopes),
        lambda: keyed.add_event("order", scopes=scopes),
    )
    for declare in declarations:
        with pytest.raises(error):
            declare()
    assert not keyed.routes
    with pytest.raises(TypeError, match="has its name and its properties already"):
        keyed.add_route(route()(answer), scopes={"read"})


async def test_publishing_with_scopes_that_cannot_be_used_is_refused(keyed: Server[commands.Bot]) -> None:
    with pytest.raises(TypeError, match=r"publish\(\): scopes must be a collection"):
        await keyed.publish("order", scopes="read")


# -- events


async def test_a_key_subscribes_to_the_events_that_name_one_of_its_scopes(
    keyed: Server[commands.Bot], loopback_bot: commands.Bot
) -> None:
    keyed.forward("member_join", scopes={"read"})
    keyed.forward("member_remove")
    keyed.add_event("order", scopes={"moderate"})
    async with status(keyed) as session:
        async with session.subscribe("member_join") as subscription:
            guild = loopback_bot.guilds[0]
            loopback_bot.dispatch("member_join", guild.members[0])
            assert (await anext(subscription)).name == "member_join"
        for name in ("member_remove", "order", "unknown"):
            with pytest.raises(Forbidden):
                async with session.subscribe("member_join", name):
                    pytest.fail("it must not begin")
    async with connecting(keyed.port) as session, session.subscribe("member_remove", "order", "unknown"):
        pass


async def test_an_event_with_its_own_scopes_reaches_only_keys_with_one_of_them(
    keyed: Server[commands.Bot],
) -> None:
    keyed.add_event("order", scopes={"read", "moderate"})
    async with (
        panel(keyed) as full,
        status(keyed) as part,
        connecting(keyed.port) as plain,
        full.subscribe("order") as one,
        part.subscribe("order") as two,
        plain.subscribe("order") as every,
    ):
        await keyed.publish("order", 1)
        await keyed.publish("order", 2, scopes={"moderate"})
        await keyed.publish("order", 3, scopes=())
        await keyed.publish("order", 4, scopes={"read"})
        assert [(await anext(one)).data for _ in range(3)] == [1, 2, 4]
        assert [(await anext(two)).data for _ in range(2)] == [1, 4]
        assert [(await anext(every)).data for _ in range(4)] == [1, 2, 3, 4]


async def test_events_that_are_sent_again_keep_their_scopes(keyed: Server[commands.Bot]) -> None:
    keyed.add_event("order", scopes={"read"})
    async with status(keyed) as session:
        async with session.subscribe("order") as subscription:
            await keyed.publish("order", 1)
            event = await anext(subscription)
        for number in range(2, 6):
            await keyed.publish("order", number, scopes={"read" if number % 2 else "moderate"})
        async with session.subscribe("order", after=event) as subscription:
            assert [(await anext(subscription)).data for _ in range(2)] == [3, 5]


async def test_a_name_that_was_published_with_scopes_can_be_subscribed_to(
    keyed: Server[commands.Bot],
) -> None:
    await keyed.publish("order", scopes={"read"})
    async with status(keyed) as session, session.subscribe("order"):
        pass


async def test_declaring_an_event_again_takes_no_scope_from_it(keyed: Server[commands.Bot]) -> None:
    keyed.forward("member_join", scopes={"read"})
    keyed.forward("*")
    keyed.forward("members", scopes={"moderate"})
    async with (
        status(keyed) as one,
        panel(keyed) as two,
        one.subscribe("member_join"),
        two.subscribe("member_remove"),
    ):
        pass


async def test_lists_have_only_what_the_key_opens(keyed: Server[commands.Bot], routes: Routes) -> None:
    keyed.add_event("order", scopes={"moderate", "write"})
    keyed.add_event("visit", scopes={"read"})
    keyed.add_event("secret")
    request = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}
    found: dict[str, Any] = {}
    async with aiohttp.ClientSession() as http:
        for key in (KEY, PANEL, STATUS):
            headers = {"Authorization": key}
            url = f"http://127.0.0.1:{keyed.port}/"
            async with http.post(url, json=request, headers=headers) as response:
                found[key] = (await response.json())["result"]
    names = {key: [one["name"] for one in document["methods"]] for key, document in found.items()}
    assert names[KEY] == ["ban", "both", "count", "open", "unscoped", "wait", "wait_moderate"]
    assert names[PANEL] == ["ban", "both", "count", "open", "wait", "wait_moderate"]
    assert names[STATUS] == ["both", "open", "wait"]
    assert [one.get("x-scopes") for one in found[STATUS]["methods"]][:2] == [["moderate", "read"], ["read"]]
    events = {
        key: {one["name"]: one.get("scopes") for one in document["x-events"]}
        for key, document in found.items()
    }
    assert events[KEY] == {"order": ["moderate", "write"], "secret": None, "visit": ["read"]}
    assert events[STATUS] == {"visit": ["read"]}
    async with status(keyed) as session:
        assert [one.name for one in await session.events()] == ["visit"]


# -- changes


async def test_revoking_a_key_ends_its_calls_and_its_connection_and_no_others(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    async with panel(keyed) as revoked, status(keyed) as other:
        waiting = [asyncio.create_task(session.request("wait")) for session in (revoked, other)]
        await until(lambda: routes.running == 2)
        del keyed.keys["panel"]
        with pytest.raises(Cancelled, match=REVOKED):
            await waiting[0]
        assert routes.cancelled == 1
        with pytest.raises(Unauthorized):
            await revoked.request("open")
        routes.gate.set()
        assert await waiting[1] == "/wait"
    with pytest.raises(Unauthorized):
        async with panel(keyed):
            pytest.fail("it must not start")


async def test_revoking_a_key_ends_its_streams_and_subscriptions(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    keyed.add_event("order", scopes={"read"})
    async with (
        panel(keyed) as session,
        session.stream("count") as stream,
        session.subscribe("order") as events,
    ):
        assert await anext(stream) == 1
        del keyed.keys["panel"]
        with pytest.raises(Cancelled):
            await anext(stream)
        with pytest.raises(Unauthorized):
            await anext(events)


async def test_a_conversation_whose_client_is_away_ends_with_its_key(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(keyed.port) as proxy, connecting(proxy.port, secret_key=PANEL) as session:
        waiting = asyncio.create_task(session.request("wait"))
        await until(lambda: routes.running)
        proxy.freeze()
        proxy.cut()
        await until(lambda: session.state == "lost")
        del keyed.keys["panel"]
        await until(lambda: routes.cancelled)
        proxy.thaw()
        with pytest.raises(ConnectionLost):
            await waiting


async def test_the_removal_of_one_value_ends_only_what_was_opened_with_it(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    scopes = {"read", "moderate"}
    keyed.keys["panel"] = Key("new", PANEL, scopes=scopes)
    async with panel(keyed) as old, connecting(keyed.port, secret_key="new") as new:
        waiting = [asyncio.create_task(session.request("wait")) for session in (old, new)]
        await until(lambda: routes.running == 2)
        keyed.keys["panel"] = Key("new", scopes=scopes)
        with pytest.raises(Cancelled):
            await waiting[0]
        with pytest.raises(Unauthorized):
            await old.request("open")
        routes.gate.set()
        assert await waiting[1] == "/wait"


async def test_scopes_of_a_key_change_while_its_connection_stays(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    keyed.add_event("order", scopes={"read"})
    keyed.add_event("fine", scopes={"moderate"})
    async with panel(keyed) as session:
        kept = asyncio.create_task(session.request("wait"))
        ended = asyncio.create_task(session.request("wait_moderate"))
        async with session.stream("count") as stream, session.subscribe("order") as order:
            assert await anext(stream) == 1
            fine = session.subscribe("fine")
            async with fine:
                await until(lambda: routes.running == 2)
                keyed.keys["panel"] = Key(PANEL, scopes={"read"})
                for lost in (ended, anext(stream), anext(fine)):
                    with pytest.raises(Forbidden):
                        await lost
            assert await outcome(session, "ban") == ["moderate"]
            routes.gate.set()
            assert await kept == "/wait"
            await keyed.publish("order", 1)
            event = await anext(order)
            assert isinstance(event, Event)
        keyed.keys["panel"] = Key(PANEL)
        assert await outcome(session, "unscoped") == "/unscoped"
    assert {one.connection for one in routes.callers} == {routes.callers[0].connection}


async def test_a_key_that_is_set_while_the_server_runs_is_accepted_at_once(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    with pytest.raises(Unauthorized):
        async with connecting(keyed.port, secret_key="new"):
            pytest.fail("it must not start")
    keyed.keys["worker"] = Key("new", scopes={"read"})
    async with connecting(multicast_port=keyed.multicast_port, secret_key="new") as session:
        assert await outcome(session, "open") == "/open"


async def test_the_first_key_of_an_open_server_ends_the_connections_without_one(
    loopback_bot: commands.Bot,
) -> None:
    async with serving(loopback_bot, secret_key=MISSING) as server:
        routes = Routes(server)
        async with (
            connecting(server.port, secret_key=MISSING) as session,
            ClientSession(connector=MemoryConnector(server.serve)) as inside,
        ):
            assert await outcome(session, "unscoped") == "/unscoped"
            server.keys["panel"] = Key(PANEL)
            await until(lambda: not session.is_connected())
            with pytest.raises(Unauthorized):
                await session.request("unscoped")
            assert await outcome(inside, "unscoped") == "/unscoped"
        assert [one.key for one in routes.callers] == [None, None]


async def test_a_connection_whose_key_is_revoked_before_its_hello_is_closed(
    keyed: Server[commands.Bot],
) -> None:
    async with websocket_client(keyed.port, STATUS, hello=False) as client:
        del keyed.keys["status"]
        await client.send(HELLO)
        assert (await client.ended()).code == POLICY


async def test_a_key_of_another_name_resumes_no_conversation(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    async with websocket_client(keyed.port, PANEL, hello=False) as client:
        token = (await client.hello(client="raw"))["session"]
    async with websocket_client(keyed.port, STATUS, hello=False) as client:
        welcome = await client.hello(client="raw", session=token)
    assert (welcome["resumed"], welcome["session"] == token) == (False, False)
    async with websocket_client(keyed.port, PANEL, hello=False) as client:
        assert (await client.hello(client="raw", session=token))["resumed"] is True


async def test_a_route_that_revokes_the_key_of_its_caller_goes_on(keyed: Server[commands.Bot]) -> None:
    done = asyncio.Event()

    @keyed.route(scopes={"moderate"})
    async def revoke(request: Request) -> None:
        await settle()
        assert request.caller is not None
        assert request.caller.key is not None
        del keyed.keys[request.caller.key]
        await settle()
        done.set()

    async with panel(keyed) as session:
        calling = asyncio.create_task(session.request("revoke"))
        await asyncio.wait_for(done.wait(), 5)
        calling.cancel()


@pytest.mark.parametrize("by", ["session", "post", "websocket"])
@pytest.mark.parametrize("scopes", [None, {"other"}], ids=["revoked", "without the scope"])
async def test_a_route_that_takes_something_from_the_key_of_its_caller_goes_on(
    keyed: Server[commands.Bot], by: str, scopes: set[str] | None
) -> None:
    done = asyncio.Event()

    @keyed.route(scopes={"moderate"})
    async def rotate(request: Request) -> None:
        await settle()  # in its first step, a route may already have its answer
        if scopes is None:
            del keyed.keys["panel"]
        else:
            keyed.keys["panel"] = Key(PANEL, scopes=scopes)
        await settle()
        done.set()

    headers = {"Authorization": PANEL}
    async with panel(keyed) as session, aiohttp.ClientSession(headers=headers) as http:
        if by == "session":
            with pytest.raises(IPCError):
                await session.request("rotate")
        elif by == "post":
            async with http.post(f"http://127.0.0.1:{keyed.port}/", json=jsonrpc("rotate")) as response:
                assert "error" in await response.json()
        else:
            async with http.ws_connect(keyed.ws_url, protocols=("jsonrpc",)) as socket:
                await socket.send_json(jsonrpc("rotate"))
                assert "error" in await socket.receive_json()
        await asyncio.wait_for(done.wait(), 5)


# -- expiry


async def test_an_expired_key_gets_the_same_answer_as_a_wrong_one(
    loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = module.now()
    monkeypatch.setattr(module, "EXPIRY_CHECK_INTERVAL", 0.001)
    late = begin.replace(year=begin.year + 2)
    key = Key(PANEL, scopes={"read"}, expires=begin.replace(year=begin.year + 1))
    async with serving(loopback_bot, keys={"panel": key}) as server, aiohttp.ClientSession() as http:
        routes = Routes(server)
        async with panel(server) as session:
            waiting = asyncio.create_task(session.request("wait"))
            await until(lambda: routes.running)
            monkeypatch.setattr(module, "now", lambda: late)
            with pytest.raises(Cancelled, match=REVOKED):
                await waiting
            with pytest.raises(Unauthorized):
                await session.request("open")
        answers: list[tuple[int, str]] = []
        for shown in (PANEL, "wrong"):
            url = f"http://127.0.0.1:{server.port}/"
            async with http.get(url, headers={"Authorization": shown}) as response:
                answers.append((response.status, await response.text()))
    assert answers == [(401, "wrong secret key")] * 2
    assert "The key panel has expired" in caplog.messages[0]
    assert any(message.endswith("127.0.0.1] The key panel has expired") for message in caplog.messages)
    assert PANEL not in caplog.text


# -- dialects


def jsonrpc(method: str, number: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method}


async def test_scopes_hold_for_older_clients(keyed: Server[commands.Bot], routes: Routes) -> None:
    url = f"ws://127.0.0.1:{keyed.port}/"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url) as family,
        http.ws_connect(url) as better,
    ):
        for name, expected in (("open", "/open"), ("ban", None)):
            await family.send_json({"endpoint": name, "data": {}, "headers": {"Authorization": STATUS}})
            await better.send_json({"endpoint": name, "kwargs": {}, "secret": STATUS})
            one, another = await family.receive_json(), await better.receive_json()
            if expected is not None:
                assert (one, another["response"]) == (expected, expected)
            else:
                assert "needs the scope 'moderate'" in one["error"]
                assert "needs the scope 'moderate'" in another["error_details"]


async def test_a_revoked_key_closes_the_sockets_of_other_clients(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    url = f"ws://127.0.0.1:{keyed.port}/"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url, headers={"Authorization": PANEL}) as socket,
        http.ws_connect(url) as family,
        http.ws_connect(url, headers={"Authorization": STATUS}) as other,
    ):
        await socket.send_json(jsonrpc("wait"))
        await family.send_json({"endpoint": "wait", "data": {}, "headers": {"Authorization": PANEL}})
        await other.send_json(jsonrpc("wait"))
        await until(lambda: routes.running == 3)
        del keyed.keys["panel"]
        assert (await socket.receive_json())["error"]["message"] == REVOKED
        assert (await family.receive_json())["error"] == REVOKED
        for closed in (socket, family):
            assert (await closed.receive()).type is aiohttp.WSMsgType.CLOSE
            assert closed.close_code == POLICY
        routes.gate.set()
        assert (await other.receive_json())["result"] == "/wait"


async def test_a_revoked_key_ends_calls_by_post_and_the_rest_of_their_batch(
    keyed: Server[commands.Bot], routes: Routes
) -> None:
    url = f"http://127.0.0.1:{keyed.port}/"
    batch = [
        jsonrpc("wait", 1),
        *(jsonrpc("revoke", number) for number in range(2, 100)),
        jsonrpc("rpc.discover", 100),
    ]

    @keyed.route(scopes={"read"})
    async def revoke(request: Request) -> str:
        keyed.keys.pop("status", None)
        return "revoked"

    async with (
        aiohttp.ClientSession() as http,
        http.post(url, json=batch, headers={"Authorization": STATUS}) as response,
    ):
        answers = {one["id"]: one for one in await response.json()}
    assert len(answers) == 100
    assert answers[1]["error"]["message"] == REVOKED
    assert answers[99]["error"]["message"] == REVOKED
    assert answers[100]["error"]["message"] == REVOKED
    assert routes.cancelled == 1


# -- scopes that nothing names


async def test_a_scope_that_nothing_names_is_warned_of_once_the_bot_is_ready(
    loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    keys = {"panel": Key(PANEL, scopes={"raed", "events"})}
    server = serving(loopback_bot, keys=keys)
    Routes(server)
    server.add_event("order", scopes={"events"})
    line = "No route and no event names the scope 'raed' of the key panel: did you mean 'read'?"
    async with server:
        await until(lambda: line in caplog.messages)
        server.keys["status"] = Key(STATUS, scopes={"modrate"})
    assert "No route and no event names the scope 'modrate' of the key status: did you mean 'moderate'?" in (
        caplog.messages
    )
