"""Sessions at servers of older libraries: the published ipcx, and discord-ext-ipc from a recording."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from discord.ext import commands, ipcx
from msgspec import Raw

from discord_tools.ipc import (
    ClientLimits,
    ClientSession,
    ConnectError,
    ConnectionLost,
    DecodeError,
    Request,
    RequestTimeout,
    RequestTooLarge,
    RouteError,
    RouteFailed,
    Server,
    SessionClosed,
    Unauthorized,
    UnknownEndpoint,
    UnprovenServer,
    Unsupported,
)
from discord_tools.ipc.address import Address
from discord_tools.ipc.connectors import older as older_module
from discord_tools.ipc.connectors.older import SOCKETS, OlderBridge
from discord_tools.ipc.conversation import Conversation
from equipment.recordings import RECORDED_KEY as KEY, RECORDINGS
from equipment.serving import QUICK
from equipment.until import until
from equipment.websites import website
from equipment.websockets import ScriptedWebSocket, WebSocketBot, multicast_bot, port_answer

RECORDING = RECORDINGS["discord-ext-ipc"]["recordings"]

Bot = commands.Bot


class Gate:
    """Holds routes up until a test opens it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.runs = 0


@pytest.fixture
def gate() -> Gate:
    return Gate()


class Older:
    """A running server of ipcx. Its own start leaves ports open that nothing closes, so they are opened here."""

    def __init__(self, server: ipcx.Server, multicast_port: int) -> None:
        self.server = server
        self.multicast_port = multicast_port
        self.sockets = 0


@pytest.fixture
async def older(loopback_bot: Bot, gate: Gate) -> AsyncIterator[Older]:
    server = ipcx.Server(loopback_bot, "127.0.0.1", secret_key=KEY)

    @server.route()
    async def echo(data: Any) -> Any:
        return data.to_json()["data"]

    @server.route()
    async def nothing(data: Any) -> None: ...

    @server.route()
    async def fails(data: Any) -> None:
        raise ValueError("secret")

    @server.route()
    async def dressed(data: Any) -> Any:
        return {"error": "x", "code": 500, "more": 1}

    @server.route()
    async def refuses(data: Any) -> Any:
        return {"error": "no such member", "code": 404}

    @server.route()
    async def waits(data: Any) -> str:
        gate.runs += 1
        gate.entered.set()
        await gate.opened.wait()
        return "done"

    async def accept(request: web.Request) -> web.StreamResponse:
        older.sockets += 1
        return await server.handle_accept(request) or web.Response()

    async def multicast(request: web.Request) -> web.StreamResponse:
        return await server.handle_multicast(request) or web.Response()

    async with website(accept) as port, website(multicast) as multicast_port:
        server.port = port
        older = Older(server, multicast_port)
        yield older


def asking(*where: Any, **options: Any) -> ClientSession:
    """A session that accepts servers of older libraries."""
    return ClientSession(*where, **{"older_servers": True, **options})


def session_of(older: Older, key: str | None = KEY, **options: Any) -> ClientSession:
    given = {"secret_key": key} if key else {}
    return asking("127.0.0.1", multicast_port=older.multicast_port, **given, **options)


async def test_a_session_finds_an_ipcx_server_and_gets_its_answers(older: Older) -> None:
    async with session_of(older) as session:
        assert session.is_connected()
        assert session.url.endswith(f":{older.server.port}")
        assert await session.request("echo", a=1, b="Zoë") == {"a": 1, "b": "Zoë"}
        assert await session.request("/echo") == {}
        assert await session.request("echo", dict[str, int], a=1) == {"a": 1}
        assert await session.request("nothing") is None
        assert await session.request("dressed") == {"error": "x", "code": 500, "more": 1}


@pytest.mark.parametrize("resolution", [True, False], ids=["multicast port", "main port"])
async def test_an_older_server_is_shown_the_key_only_when_it_is_asked_for(
    older: Older, gate: Gate, resolution: bool
) -> None:
    where = {"multicast_port": older.multicast_port} if resolution else {"port": older.server.port}
    asked = asking("127.0.0.1", older_servers=False, secret_key=KEY, connect_timeout=0.1, **where)
    async with asked as session:
        with pytest.raises(UnprovenServer, match="older_servers=True") as caught:
            await session.request("waits")
    port = older.multicast_port if resolution else older.server.port
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
    assert gate.runs == 0


async def test_without_a_key_nothing_is_shown_so_an_older_server_is_accepted(older: Older) -> None:
    older.server.secret_key = None
    async with session_of(older, None, older_servers=False) as session:
        assert await session.request("echo", a=1) == {"a": 1}


async def test_an_older_server_without_a_key_is_accepted_when_it_is_asked_for(older: Older) -> None:
    older.server.secret_key = None
    async with session_of(older, connect_timeout=0.1, older_servers=False) as session:
        with pytest.raises(UnprovenServer):
            await session.request("echo", a=1)
    async with session_of(older) as session:
        assert session.is_connected()


async def test_errors_of_an_ipcx_server_become_exceptions(older: Older) -> None:
    async with session_of(older) as session:
        with pytest.raises(UnknownEndpoint) as unknown:
            await session.request("no_such_route")
        assert unknown.value.endpoint == "no_such_route"
        with pytest.raises(RouteFailed, match="raised error of type ValueError"):
            await session.request("fails")
        with pytest.raises(RouteError) as refused:
            await session.request("refuses")
        assert refused.value.code == 404


async def test_a_session_at_an_ipcx_server_is_ready_until_it_is_closed(older: Older) -> None:
    session = session_of(older)
    assert session.state == "connecting"
    await session.start()
    assert session.state == "ready"
    assert await session.request("nothing") is None
    assert session.state == "ready"
    await session.close()
    assert session.state == "closed"


async def test_a_wrong_key_at_an_ipcx_server_is_unauthorized_with_and_without_resolution(
    older: Older, gate: Gate
) -> None:
    session = session_of(older, "wrong")
    with pytest.raises(Unauthorized):
        await session.start()
    await session.close()
    async with asking("127.0.0.1", port=older.server.port, secret_key="wrong") as session:
        with pytest.raises(Unauthorized):
            await session.request("waits")
    assert gate.runs == 0


async def test_requests_to_an_ipcx_server_have_sockets_of_their_own_so_no_answer_is_mixed_up(
    older: Older,
) -> None:
    async with session_of(older) as session:
        before = older.sockets
        answers = await asyncio.gather(*(session.request("echo", n=n) for n in range(40)))
        assert answers == [{"n": n} for n in range(40)]
        assert older.sockets == before + 40


async def test_after_a_timeout_at_an_ipcx_server_the_next_answer_is_its_own(older: Older, gate: Gate) -> None:
    async with session_of(older, timeout=0.3) as session:
        with pytest.raises(RequestTimeout):
            await session.request("waits")
        gate.opened.set()
        assert await session.request("echo", n=1) == {"n": 1}
        assert gate.runs == 1


async def test_an_ipcx_server_that_moved_is_found_again(older: Older) -> None:
    async def accept(request: web.Request) -> web.StreamResponse:
        return await older.server.handle_accept(request) or web.Response()

    session = session_of(older)
    async with website(accept) as first:
        older.server.port = first
        assert await session.request("echo", n=1) == {"n": 1}
    async with website(accept) as second:
        assert second != first
        older.server.port = second
        assert await session.request("echo", n=2) == {"n": 2}
        assert session.url.endswith(f":{second}")
        await session.close()


# ---------------------------------------------------------------- discord-ext-ipc, from its recording


class Recorded:
    """Answers each question as discord-ext-ipc's server answered the same question, and keeps its socket open."""

    def __init__(self) -> None:
        self.sockets = 0
        self.live: set[web.WebSocketResponse] = set()
        self.frames: list[WSMsgType] = []
        self.arrived = asyncio.Semaphore(0)
        self.hold: asyncio.Event | None = None
        self.answers: dict[str, str] = {}
        for one in (RECORDING["resolved"], RECORDING["wrong key"]):
            for socket in one["main"]:
                texts = [frame["text"] for frame in socket["frames"]]
                self.answers |= {canonical(q): a for q, a in zip(texts[::2], texts[1::2], strict=True)}

    async def received(self) -> None:
        """Waits for the next question."""
        async with asyncio.timeout(5):
            await self.arrived.acquire()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.sockets += 1
        self.live.add(socket)
        async for message in socket:
            self.frames.append(message.type)
            self.arrived.release()
            if self.hold is not None:
                await self.hold.wait()
            await socket.send_str(self.answers[canonical(message.data)])
        self.live.discard(socket)
        return socket


async def until_kept(recorded: Recorded, session: ClientSession) -> None:
    """Makes requests until it is known that the server keeps its sockets: then no new one is needed."""
    sockets = 0
    while recorded.sockets != sockets:
        sockets = recorded.sockets
        await session.request("text")


@asynccontextmanager
async def keeping(
    monkeypatch: pytest.MonkeyPatch, probation: float, **options: Any
) -> AsyncIterator[tuple[Recorded, ClientSession]]:
    """A server that keeps its sockets, and a session that knows it, after that time."""
    monkeypatch.setattr(older_module, "PROBATION", probation)
    recorded = Recorded()
    async with (
        website(recorded.handle) as port,
        asking("127.0.0.1", port, secret_key=KEY, **options) as session,
    ):
        await until_kept(recorded, session)
        yield recorded, session


def tasks(prefix: str) -> list[asyncio.Task[Any]]:
    """All tasks whose names begin with that."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith(prefix)]


def canonical(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


async def test_a_session_sends_to_discord_ext_ipc_what_its_own_client_sends() -> None:
    recorded = Recorded()
    async with (
        website(recorded.handle) as port,
        asking("127.0.0.1", port, secret_key=KEY) as session,
    ):
        assert await session.request("get_member_count") == 42
        assert await session.request("nothing") is None
        data: dict[str, Any] = {"guild_id": 81384788765712384, "name": "Zoë"}
        assert await session.request("echo", **data) == {"data": data}
        with pytest.raises(RouteFailed):
            await session.request("fails")
        with pytest.raises(UnknownEndpoint):
            await session.request("no_such_route")
    async with (
        website(recorded.handle) as port,
        asking("127.0.0.1", port, secret_key="wrong") as session,
    ):
        with pytest.raises(Unauthorized):
            await session.request("get_member_count")


async def test_requests_to_a_server_that_keeps_its_sockets_share_one_and_it_is_never_pinged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heartbeat = 0.02
    async with keeping(monkeypatch, 0.05, limits=ClientLimits(heartbeat=heartbeat)) as (recorded, session):
        before = recorded.sockets
        for _ in range(5):
            assert await session.request("text") == "text"
        assert recorded.sockets == before
        await asyncio.sleep(10 * heartbeat)
        assert await session.request("text") == "text"
        assert set(recorded.frames) == {WSMsgType.TEXT}


async def test_a_late_answer_on_a_kept_socket_is_never_that_of_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with keeping(monkeypatch, 0.01, limits=QUICK) as (recorded, session):
        while not recorded.arrived.locked():
            await recorded.received()
        recorded.hold = asyncio.Event()
        first = asyncio.create_task(session.request("get_member_count"))
        await recorded.received()
        first.cancel()
        await until(lambda: not tasks("ipc older request"))
        second = asyncio.create_task(session.request("text"))
        await recorded.received()
        recorded.hold.set()
        assert await second == "text"


async def test_only_one_request_is_in_progress_on_a_socket() -> None:
    recorded = Recorded()
    recorded.hold = asyncio.Event()
    async with (
        website(recorded.handle) as port,
        asking("127.0.0.1", port, secret_key=KEY) as session,
    ):
        requests = [
            asyncio.create_task(session.request(name)) for name in ("text", "get_member_count", "nothing")
        ]
        for _ in requests:
            await recorded.received()
        assert len(recorded.live) == 3
        recorded.hold.set()
        assert await asyncio.gather(*requests) == ["text", 42, None]


async def test_a_socket_that_ends_before_the_answer_is_a_lost_connection() -> None:
    async def disconnect(far: ScriptedWebSocket) -> None:
        await far.transport.receive()

    async with (
        WebSocketBot(disconnect, protocols=()) as bot,
        asking("127.0.0.1", bot.port, secret_key=KEY) as session,
    ):
        with pytest.raises(ConnectionLost):
            await session.request("text")


async def test_a_port_that_is_sent_as_a_string_is_a_port() -> None:
    recorded = Recorded()
    async with (
        website(recorded.handle) as port,
        multicast_bot({**port_answer(port), "port": str(port)}, key=None) as multicast,
        asking("127.0.0.1", multicast_port=multicast.port, secret_key=KEY) as session,
    ):
        assert await session.request("text") == "text"


async def test_an_older_server_that_stops_is_a_connect_error_and_found_again_when_it_is_back() -> None:
    recorded = Recorded()
    async with website(recorded.handle) as port:
        session = asking("127.0.0.1", port, secret_key=KEY, connect_timeout=0.5, limits=QUICK)
        await session.start()
        assert await session.request("text") == "text"
    with pytest.raises(ConnectError):
        await session.request("text")
    async with website(recorded.handle, port):
        assert await session.request("text") == "text"
        await session.close()


def native(bot: Bot, port: int = 0) -> Server[Bot]:
    """A server of this library with one route."""
    server = Server(bot, "127.0.0.1", port, secret_key=KEY, multicast=False)

    @server.route()
    async def echo(request: Request, n: int) -> int:
        return n

    return server


async def test_a_bot_that_moves_to_this_library_gets_the_full_protocol_at_the_next_connection(
    loopback_bot: Bot,
) -> None:
    async with website(Recorded().handle) as port:
        session = asking("127.0.0.1", port, secret_key=KEY, limits=QUICK)
        assert await session.request("text") == "text"
        with pytest.raises(Unsupported):
            await anext(session.subscribe("tick"))
    request = asyncio.create_task(session.request("echo", n=1))
    await until(lambda: not session.is_connected())
    async with native(loopback_bot, port) as server:
        assert await request == 1
        async with session.subscribe("tick") as events:
            await server.publish("tick", 7)
            assert (await anext(events)).data == 7
        await session.close()


async def test_a_bot_that_moves_back_to_an_older_library_ends_what_waits_for_its_events(
    loopback_bot: Bot,
) -> None:
    async with native(loopback_bot) as server:
        port = server.port
        session = asking("127.0.0.1", port, secret_key=KEY, timeout=None, limits=QUICK)
        events = session.subscribe("tick")
        await events.__aenter__()
        waiting = asyncio.create_task(anext(events))
    async with website(Recorded().handle, port):
        with pytest.raises(Unsupported, match="is older"):
            await asyncio.wait_for(waiting, 10)
        assert await session.request("text") == "text"
        await session.close()


async def test_data_that_is_too_large_for_an_older_server_is_not_sent() -> None:
    recorded = Recorded()
    async with (
        website(recorded.handle) as port,
        asking("127.0.0.1", port, secret_key=KEY) as session,
    ):
        with pytest.raises(RequestTooLarge):
            await session.request("echo", x="x" * 5_000_000)
        assert recorded.frames == []


async def test_closing_the_session_ends_requests_in_progress() -> None:
    recorded = Recorded()
    recorded.hold = asyncio.Event()
    async with website(recorded.handle) as port:
        session = asking("127.0.0.1", port, secret_key=KEY)
        request = asyncio.create_task(session.request("text"))
        await recorded.received()
        await session.close()
        assert tasks("ipc") == []
        with pytest.raises(SessionClosed):
            await request
        recorded.hold.set()


async def test_an_answer_without_a_request_is_never_that_of_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with keeping(monkeypatch, 0.01) as (recorded, session):
        before, kept = recorded.sockets, tuple(recorded.live)
        readers = tasks("ipc older reader")
        assert len(readers) == len(kept)
        for socket in kept:
            await socket.send_str('"without a request"')
        _, reading = await asyncio.wait(readers, timeout=5)
        assert not reading
        assert await session.request("text") == "text"
        assert recorded.sockets == before + 1


async def test_a_request_on_a_socket_that_ended_as_it_was_opened_is_a_lost_connection() -> None:
    recorded = Recorded()
    async with website(recorded.handle) as port, aiohttp.ClientSession() as http:

        async def dial() -> aiohttp.ClientWebSocketResponse:
            socket = await http.ws_connect(f"ws://127.0.0.1:{port}/")
            await socket.close()
            return socket

        address = Address(host="127.0.0.1", port=port)
        transport = OlderBridge(dial, address, KEY, ClientLimits(), lambda error: None).open()
        conversation = Conversation(ClientLimits(), 5.0, {})
        await transport.send(conversation.hello())
        conversation.welcomed(await transport.receive())
        running = asyncio.create_task(conversation.carry(conversation.attach(transport, address.label)))
        with pytest.raises(ConnectionLost) as caught:
            await conversation.call("text", Raw(b"{}"), 5.0)
        assert caught.value.endpoint == "text"
        await transport.close()
        await running
    assert recorded.frames == []


async def test_a_request_that_waits_for_a_socket_when_the_session_is_closed_is_never_sent() -> None:
    recorded = Recorded()
    recorded.hold = asyncio.Event()
    async with website(recorded.handle) as port:
        session = asking("127.0.0.1", port, secret_key=KEY)
        requests = [asyncio.create_task(session.request("text")) for _ in range(SOCKETS + 1)]
        for _ in range(SOCKETS):
            await recorded.received()
        before = recorded.sockets
        await session.close()
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [SessionClosed] * (SOCKETS + 1)
        assert recorded.sockets == before
        recorded.hold.set()


async def test_streams_and_subscriptions_of_an_older_server_are_refused_and_requests_go_on() -> None:
    async with (
        website(Recorded().handle) as port,
        asking("127.0.0.1", port, secret_key=KEY) as session,
    ):
        with pytest.raises(Unsupported, match="is older"):
            await anext(session.stream("items"))
        with pytest.raises(Unsupported, match="is older"):
            await anext(session.subscribe("tick"))
        assert await session.request("text") == "text"


async def test_a_given_session_that_is_closed_is_a_connect_error_at_an_older_server_too() -> None:
    recorded = Recorded()
    http = aiohttp.ClientSession()
    async with (
        website(recorded.handle) as port,
        asking("127.0.0.1", port, secret_key=KEY, session=http, connect_timeout=0.1, limits=QUICK) as session,
    ):
        assert await session.request("text") == "text"
        await http.close()
        with pytest.raises(ConnectError, match="closed"):
            await session.request("nothing")


@pytest.mark.parametrize("answer", ["nonsense", "[1", '{"a":1}x', ""])
async def test_an_answer_of_an_older_server_that_is_not_json_is_a_decode_error(answer: str) -> None:
    async def script(far: ScriptedWebSocket) -> None:
        while True:
            await far.transport.receive()
            await far.socket.send_str(answer)

    async with (
        WebSocketBot(script, protocols=()) as bot,
        asking("127.0.0.1", bot.port, secret_key=KEY) as session,
    ):
        for _ in range(2):
            with pytest.raises(DecodeError, match="'text' cannot be decoded"):
                await session.request("text")


async def test_a_key_that_an_older_server_no_longer_accepts_ends_all_requests() -> None:
    recorded = Recorded()
    recorded.hold = asyncio.Event()
    async with website(recorded.handle) as port:
        session = asking("127.0.0.1", port, secret_key="wrong", limits=QUICK)
        requests = [asyncio.create_task(session.request("get_member_count")) for _ in range(5)]
        for _ in requests:
            await recorded.received()
        recorded.hold.set()
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {Unauthorized, ConnectionLost}
        assert Unauthorized in {type(outcome) for outcome in outcomes}
        with pytest.raises(Unauthorized) as caught:
            await session.request("get_member_count")
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
        await session.close()


async def test_a_request_whose_socket_cannot_be_opened_is_sent_when_the_older_server_is_back() -> None:
    recorded = Recorded()
    async with website(recorded.handle) as port:
        session = asking("127.0.0.1", port, secret_key=KEY, limits=QUICK)
        assert await session.request("text") == "text"
    request = asyncio.create_task(session.request("get_member_count"))
    await until(lambda: not session.is_connected())
    async with website(recorded.handle, port):
        assert await request == 42
        await session.close()


async def test_a_socket_is_not_used_again_before_it_is_known_that_the_server_keeps_it() -> None:
    again: list[Any] = []

    async def script(far: ScriptedWebSocket) -> None:
        await far.transport.receive()
        await far.socket.send_str("7")
        while True:
            again.append(await far.transport.receive())

    async with (
        WebSocketBot(script, protocols=()) as bot,
        asking("127.0.0.1", bot.port, secret_key=KEY, limits=QUICK) as session,
    ):
        assert [await session.request("text") for _ in range(3)] == [7, 7, 7]
    assert again == []


async def test_closing_the_session_closes_the_sockets_of_a_given_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with aiohttp.ClientSession() as http:
        async with keeping(monkeypatch, 0.01, session=http) as (recorded, session):
            assert recorded.live
            await session.close()
            await until(lambda: not recorded.live)
        assert not http.closed
