"""The server as a whole: its parameters, starting, terminating, and what is left of it."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    Cancelled,
    ClientSession,
    ConnectionLost,
    ListenError,
    NotReady,
    Request,
    Route,
    Server,
    ServerLimits,
    UnknownEndpoint,
)
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import memory_pair
from equipment.handlers import StubbornHandler, WaitingHandler
from equipment.ports import free_port, is_free, taken_port
from equipment.serving import QUICK, serving
from equipment.until import until
from loopback import LoopbackDiscord
from loopback.bots import running_bot
from test_server.tools import RecordedEvents, records_with


def serve(client: discord.Client, **options: Any) -> Server[Any]:
    defaults = {"host": "127.0.0.1", "multicast_port": 0, "secret_key": MISSING}
    server = serving(client, **{**defaults, **options})

    @server.route()
    async def ping(request: Request) -> str:
        return "pong"

    return server


def session_of(server: Server[Any], **options: Any) -> ClientSession:
    return ClientSession("127.0.0.1", server.port, **options)


# -- the reference


def test_the_parameters_are_those_of_the_reference() -> None:
    parameters = list(inspect.signature(Server).parameters.values())
    positional = [p for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert [(p.name, "" if p.default is p.empty else repr(p.default)) for p in positional] == [
        ("client", ""),
        ("host", "'localhost'"),
        ("port", "8000"),
        ("secret_key", "..."),
        ("multicast", "True"),
        ("multicast_port", "20000"),
    ]
    assert parameters[: len(positional)] == positional
    assert {p.kind for p in parameters[len(positional) :]} == {inspect.Parameter.KEYWORD_ONLY}


def test_the_members_of_the_reference_exist() -> None:
    assert isinstance(Server.secret_key, property)
    assert inspect.iscoroutinefunction(Server.terminate_server)
    assert callable(Server.route)
    for name in ("keys", "values", "items", "respond", "is_done", "wait_until_done"):
        assert callable(getattr(Request, name))
    assert isinstance(Route.__str__, type(test_the_members_of_the_reference_exist))


def test_the_constructor_needs_no_loop_and_stores_what_it_gets() -> None:
    client = discord.Client(intents=discord.Intents.none())
    server = Server(client, "::1", 1234, "key", False, 4321)
    assert server.client is client
    assert (server.host, server.port, server.secret_key) == ("::1", 1234, "key")
    assert (server.multicast, server.multicast_port) == (False, 4321)
    assert server.ws_url == "ws://[::1]:1234"
    assert server.multicast_ws_url == "ws://[::1]:4321"
    assert server.is_running() is False
    assert dict(server.routes) == {}


def test_the_defaults_are_those_of_the_reference() -> None:
    server = Server(discord.Client(intents=discord.Intents.none()))
    assert (server.host, server.port, server.secret_key) == ("localhost", 8000, None)
    assert (server.multicast, server.multicast_port) == (True, 20000)
    assert server.ws_url == "ws://localhost:8000"


@pytest.mark.parametrize(
    "name",
    [
        "client",
        "host",
        "keys",
        "limits",
        "multicast",
        "multicast_port",
        "multicast_ws_url",
        "port",
        "routes",
        "secret_key",
        "ws_url",
    ],
)
async def test_an_attribute_of_a_server_is_read_only(bot: commands.Bot, name: str) -> None:
    server = serve(bot)
    value = getattr(server, name)
    with pytest.raises(AttributeError):
        setattr(server, name, value)
    async with server:
        value = getattr(server, name)
        with pytest.raises(AttributeError):
            setattr(server, name, value)
        assert getattr(server, name) == value


# -- starting


async def test_it_serves_between_start_and_termination(bot: commands.Bot) -> None:
    server = serve(bot)
    await server.start()
    assert server.is_running()
    ports = server.port, server.multicast_port
    assert server.ws_url == f"ws://127.0.0.1:{ports[0]}"
    assert server.multicast_ws_url == f"ws://127.0.0.1:{ports[1]}"
    async with session_of(server) as session:
        assert await session.request("ping") == "pong"
    await server.terminate_server()
    assert not server.is_running()
    assert (server.port, server.multicast_port) == (0, 0)
    assert all(map(is_free, ports))


async def test_the_context_manager_starts_and_terminates(bot: commands.Bot) -> None:
    server = serve(bot)
    async with server as entered:
        assert entered is server
        assert server.is_running()
        port = server.port
    assert not server.is_running()
    assert is_free(port)


async def test_ready_is_dispatched_when_both_ports_listen(bot: commands.Bot) -> None:
    seen: list[tuple[bool, bool, bool]] = []

    def dispatch(event: str, /, *args: Any, **kwargs: Any) -> None:
        if event == "ipc_ready":
            seen.append((server.is_running(), is_free(server.port), is_free(server.multicast_port)))

    server = serve(bot)
    bot.dispatch = dispatch
    async with server:
        pass
    del bot.dispatch
    assert seen == [(True, False, False)]


async def test_ready_reaches_listeners_once_for_each_start(bot: commands.Bot) -> None:
    recorded = RecordedEvents(bot)
    server = serve(bot)
    for count in (1, 2):
        async with server:
            await server.start()
            await until(lambda count=count: len(recorded) == count)
    assert recorded == [("ipc_ready", ()), ("ipc_ready", ())]


async def test_starting_twice_does_nothing_the_second_time(bot: commands.Bot) -> None:
    server = serve(bot)
    await asyncio.gather(server.start(), server.start())
    port = server.port
    await server.start()
    assert server.port == port
    await server.terminate_server()


async def test_terminating_what_does_not_run_does_nothing(bot: commands.Bot) -> None:
    server = serve(bot)
    await server.terminate_server()
    async with server:
        pass
    await server.terminate_server()


async def test_a_terminated_server_can_be_started_again_on_the_same_port(bot: commands.Bot) -> None:
    port = free_port()
    server = serve(bot, port=port)
    for _ in range(3):
        async with server, session_of(server) as session:
            assert server.port == port
            assert await session.request("ping") == "pong"


async def test_a_server_can_be_used_in_one_loop_after_the_other() -> None:
    def run() -> Any:
        async def main() -> Any:
            await asyncio.gather(server.start(), server.start())  # one waits for the other
            async with server, session_of(server) as session:
                return await session.request("ping")

        return asyncio.run(main())

    server = serve(discord.Client(intents=discord.Intents.none()))
    assert await asyncio.to_thread(run) == "pong"
    assert await asyncio.to_thread(run) == "pong"


async def test_a_port_that_is_taken_is_a_listen_error_and_leaves_nothing(bot: commands.Bot) -> None:
    with taken_port() as port:
        server = serve(bot, port=port)
        with pytest.raises(ListenError) as caught:
            await server.start()
    assert caught.value.port == port
    assert not server.is_running()
    assert len(bot.cogs) == 0
    async with server:
        assert server.port == port


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
async def test_a_host_that_others_reach_is_refused_without_a_key(bot: commands.Bot, host: str) -> None:
    server = serve(bot, host=host)
    with pytest.raises(ValueError, match="can be reached from outside, so secret_key is needed"):
        await server.start()
    assert not server.is_running()


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
async def test_a_host_that_others_reach_is_served_with_a_key(bot: commands.Bot, host: str) -> None:
    async with (
        serve(bot, host=host, secret_key="key") as server,
        session_of(server, secret_key="key") as session,
    ):
        assert await session.request("ping") == "pong"


@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.parametrize("host", ["name.invalid", "192.0.2.1", "a" * 80, "x\0y"])
async def test_a_host_that_is_not_this_machine_is_an_error(
    bot: commands.Bot, host: str, key: str | None
) -> None:
    server = serve(bot, host=host, **({} if key is None else {"secret_key": key}))
    with pytest.raises((ListenError, ValueError)) as caught:
        await server.start()
    if key is not None or host != "192.0.2.1":  # which is no loopback address, so the key comes first
        assert isinstance(caught.value, ListenError)
    assert not server.is_running()


async def test_the_log_warns_where_there_is_no_key(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(bot, secret_key="key"):
        assert "no secret key" not in caplog.text
    async with serve(bot):
        assert "There is no secret key" in caplog.text


async def test_a_start_that_is_cancelled_anywhere_leaves_nothing(bot: commands.Bot) -> None:
    port = free_port()
    server = serve(bot, host="localhost", port=port)
    turns = 0
    while True:
        starting = asyncio.ensure_future(server.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        if starting.done():
            break
        starting.cancel()
        await asyncio.wait((starting,))
        if not starting.cancelled():
            break
        assert not server.is_running()
        assert len(bot.cogs) == 0
        assert is_free(port)
        turns += 1
    assert turns > 0
    await server.terminate_server()


async def test_a_client_that_connects_to_a_server_that_does_not_run_is_refused(bot: commands.Bot) -> None:
    near, far = memory_pair()
    await serve(bot).serve(far)
    with pytest.raises(Closed, match="the bot is shutting down"):
        await near.receive()


# -- in one process


@pytest.mark.parametrize(("key", "label"), [(MISSING, "no key"), ("key", "key secret_key")])
async def test_a_session_in_the_same_process_needs_no_port_and_is_named_memory_in_the_log(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, key: Any, label: str
) -> None:
    async with (
        serve(bot, secret_key=key) as server,
        ClientSession(connector=MemoryConnector(server.serve)) as session,
    ):
        assert await session.request("ping") == "pong"
        with pytest.raises(UnknownEndpoint):
            await session.request("nothing")
    (record,) = records_with(caplog, "There is no endpoint '/nothing'")
    assert re.match(rf"\[conn-\d+ memory {label}\] ", record.getMessage())


async def test_a_header_of_a_session_that_is_named_timeout_is_seen_by_routes(bot: commands.Bot) -> None:
    server = serve(bot)

    @server.route()
    async def headers(request: Request) -> Any:
        return dict(request.headers)

    async with server:
        session = ClientSession(connector=MemoryConnector(server.serve), headers={"timeout": "mine"})
        # The first request opens the connection, so it says how much of its time is left.
        assert await session.request("headers") == {"timeout": "mine"}
        assert await session.request("headers") == {"timeout": "mine"}
        await session.close()


# -- terminating


async def test_terminating_waits_for_calls_in_progress(bot: commands.Bot) -> None:
    server = serve(bot)
    waiting = WaitingHandler()
    server.add_route(waiting.wait)
    await server.start()
    port = server.port
    async with session_of(server) as session:
        answer = asyncio.ensure_future(session.request("wait"))
        await waiting.started.wait()
        ending = asyncio.ensure_future(server.terminate_server())
        await until(lambda: is_free(port))
        assert not ending.done()
        waiting.released.set()
        assert await answer == "done"
        await ending


async def test_a_call_while_the_server_terminates_is_refused_with_the_note_that_it_did_not_run(
    bot: commands.Bot,
) -> None:
    server = serve(bot)
    waiting = WaitingHandler()
    server.add_route(waiting.wait)
    await server.start()
    near, far = memory_pair()
    serving = asyncio.create_task(server.serve(far))
    await near.send(b'{"jsonrpc":"2.0","id":0,"method":"rpc.hello","params":{"client":"test"}}')
    await near.receive()
    await near.send(b'{"jsonrpc":"2.0","id":1,"method":"wait"}')
    await waiting.started.wait()
    ending = asyncio.create_task(server.terminate_server())
    assert json.loads(await near.receive())["method"] == "rpc.bye"
    await near.send(b'{"jsonrpc":"2.0","id":2,"method":"ping"}')
    refused = json.loads(await near.receive())
    assert (refused["id"], refused["error"]["code"], refused["error"]["data"]) == (2, -32003, {"ran": False})
    waiting.released.set()
    assert json.loads(await near.receive())["result"] == "done"
    await ending
    await serving


async def test_a_call_while_the_server_terminates_is_sent_again_to_the_next_run(bot: commands.Bot) -> None:
    server = serve(bot)
    waiting = WaitingHandler()
    server.add_route(waiting.wait)
    await server.start()
    async with ClientSession(connector=MemoryConnector(server.serve), limits=QUICK) as session:
        first = asyncio.ensure_future(session.request("wait"))
        await waiting.started.wait()
        ending = asyncio.ensure_future(server.terminate_server())
        second = asyncio.ensure_future(session.request("ping"))
        await until(lambda: not server.is_running())
        waiting.released.set()
        assert await first == "done"
        await ending
        async with server:
            assert await second == "pong"


async def test_calls_that_take_longer_than_the_grace_period_are_cancelled_and_answered(
    bot: commands.Bot,
) -> None:
    server = serve(bot, limits=ServerLimits(grace_period=0.01))
    waiting = WaitingHandler()
    server.add_route(waiting.wait)
    await server.start()
    async with session_of(server) as session:
        answer = asyncio.ensure_future(session.request("wait"))
        await waiting.started.wait()
        await server.terminate_server()
        with pytest.raises(Cancelled, match="shutting down"):
            await answer
    assert waiting.cancelled.is_set()


async def test_a_handler_that_ignores_its_cancellation_does_not_hold_up_the_end(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(bot, limits=ServerLimits(grace_period=0.01))
    handler = StubbornHandler()
    server.add_route(handler.stubborn)
    await server.start()
    async with session_of(server) as session:
        answer = asyncio.ensure_future(session.request("stubborn"))
        await handler.started.wait()
        async with asyncio.timeout(5):
            await server.terminate_server()
        with pytest.raises(Cancelled):
            await answer
    assert "Still running after 0.01 s: /stubborn" in caplog.text
    handler.released.set()
    await asyncio.wait_for(handler.ended.wait(), 5)


async def test_terminating_at_the_same_time_ends_once_and_all_wait_for_it(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(bot)
    waiting = WaitingHandler()
    server.add_route(waiting.wait)
    await server.start()
    async with session_of(server) as session:
        answer = asyncio.ensure_future(session.request("wait"))
        await waiting.started.wait()
        endings = [asyncio.ensure_future(server.terminate_server()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(ending.done() for ending in endings)
        waiting.released.set()
        await asyncio.gather(*endings)
        assert await answer == "done"
    assert caplog.messages.count("Terminated") == 1


async def test_a_start_during_the_end_waits_for_it(bot: commands.Bot) -> None:
    server = serve(bot)
    await server.start()
    ending, starting = (asyncio.ensure_future(c) for c in (server.terminate_server(), server.start()))
    await asyncio.gather(ending, starting)
    assert server.is_running()
    async with session_of(server) as session:
        assert await session.request("ping") == "pong"
    await server.terminate_server()


async def test_a_route_may_terminate_the_server(bot: commands.Bot) -> None:
    server = serve(bot, limits=ServerLimits(grace_period=60))
    outcome = asyncio.get_running_loop().create_future()

    @server.route()
    async def stop(request: Request) -> None:
        await request.respond("bye")
        try:
            async with asyncio.timeout(5):
                await server.terminate_server()
        except BaseException as error:
            outcome.set_exception(error)
            raise
        outcome.set_result(server.is_running())

    await server.start()
    port = server.port
    async with session_of(server) as session:
        assert await session.request("stop") == "bye"
        assert await asyncio.wait_for(outcome, 10) is False
    assert is_free(port)
    assert len(bot.cogs) == 0


async def test_a_route_that_terminates_the_server_leaves_its_caller_without_an_answer(
    bot: commands.Bot,
) -> None:
    server = serve(bot)

    @server.route()
    async def stop(request: Request) -> str:
        await server.terminate_server()
        return "too late"

    await server.start()
    async with session_of(server, connect_timeout=0.1) as session:
        with pytest.raises(ConnectionLost):
            await session.request("stop")
    await until(lambda: not server.is_running())


@pytest.mark.parametrize("cls", [discord.Client, commands.Bot])
async def test_a_route_may_close_the_bot(cls: type[discord.Client]) -> None:
    async with LoopbackDiscord(guilds=1) as discord_, running_bot(discord_, cls=cls) as bot:
        server = serve(bot, limits=ServerLimits(grace_period=60))
        closed = asyncio.Event()

        @server.route()
        async def shutdown(request: Request) -> None:
            await request.respond("bye")
            await bot.close()
            closed.set()

        await server.start()
        async with session_of(server) as session:
            assert await session.request("shutdown") == "bye"
            await asyncio.wait_for(closed.wait(), 10)
        assert bot.is_closed()
        assert not server.is_running()


async def test_two_routes_may_terminate_the_server_at_the_same_time(bot: commands.Bot) -> None:
    server = serve(bot, limits=ServerLimits(grace_period=60))
    both = asyncio.Barrier(2)
    done: list[bool] = []

    @server.route()
    async def stop(request: Request) -> None:
        await request.respond("bye")
        await both.wait()
        await server.terminate_server()
        done.append(server.is_running())

    await server.start()
    async with session_of(server) as session:
        assert await asyncio.gather(session.request("stop"), session.request("stop")) == ["bye", "bye"]
        await until(lambda: len(done) == 2, seconds=10)
    assert done == [False, False]


async def test_cancelling_the_termination_terminates_at_once(bot: commands.Bot) -> None:
    server = serve(bot, limits=ServerLimits(grace_period=60))
    waiting = WaitingHandler()
    server.add_route(waiting.wait)
    await server.start()
    ports = server.port, server.multicast_port
    async with session_of(server) as session:
        answer = asyncio.ensure_future(session.request("wait"))
        await waiting.started.wait()
        ending = asyncio.ensure_future(server.terminate_server())
        await until(lambda: is_free(ports[0]))
        ending.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait((ending,))
            with pytest.raises(Cancelled):
                await answer
    assert ending.cancelled()
    assert not server.is_running()
    assert waiting.cancelled.is_set()
    assert all(map(is_free, ports))
    assert len(bot.cogs) == 0


async def test_an_idle_client_of_the_multicast_port_does_not_hold_up_the_end(bot: commands.Bot) -> None:
    server = serve(bot)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.multicast_port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert b"101" in await reader.readline()
    async with asyncio.timeout(4):
        await server.terminate_server()
    writer.close()
    await writer.wait_closed()


async def test_a_removed_route_is_unknown_and_its_calls_in_progress_go_on(bot: commands.Bot) -> None:
    server = serve(bot)
    waiting = WaitingHandler()
    server.add_route(waiting.wait)
    async with server, session_of(server) as session:
        answer = asyncio.ensure_future(session.request("wait"))
        await waiting.started.wait()
        server.remove_route("wait")
        with pytest.raises(UnknownEndpoint):
            await session.request("wait")
        waiting.released.set()
        assert await answer == "done"


async def test_a_call_that_needs_the_cache_gets_an_error_until_the_bot_is_ready(bot: commands.Bot) -> None:
    server = serve(bot)

    @server.route()
    async def members(request: Request, guild: discord.Guild) -> Any:
        return guild.member_count

    async with server, session_of(server) as session:
        with pytest.raises(NotReady):
            await session.request("members", guild=5)


async def test_fifty_requests_run_at_the_same_time(bot: commands.Bot) -> None:
    server = serve(bot)
    together = asyncio.Barrier(50)

    @server.route()
    async def meet(request: Request, number: int) -> int:
        await together.wait()
        return number

    async with server, session_of(server) as session:
        answers = await asyncio.gather(*(session.request("meet", number=n) for n in range(50)))
    assert answers == list(range(50))
