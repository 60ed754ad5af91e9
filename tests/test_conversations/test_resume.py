"""Every call runs exactly once: across cuts anywhere, takeovers, and restarts of the bot."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ClientLimits,
    ClientSession,
    ConnectionLost,
    RouteError,
    Server,
    SessionClosed,
    TooLarge,
    Unauthorized,
)
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc.transports.base import REPLACED, Transport
from equipment.key import KEY
from equipment.peers import ScriptedClient
from equipment.proxy import Proxy
from equipment.serving import QUICK, connecting, memory_client, serving
from equipment.transports import StoppableTransport, stoppable_pair
from equipment.until import until
from test_conversations.routes import Routes

# ---------------------------------------------------------------- cuts


async def test_a_call_in_progress_outlives_its_connection(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(server.port) as proxy, connecting(proxy.port) as session:
        waiting = asyncio.create_task(session.request("wait", value=1))
        await asyncio.wait_for(routes.entered.wait(), 5)
        proxy.cut()
        await until(lambda: session.state == "lost")
        routes.gate.set()  # it is answered while there is no connection
        assert await waiting == 1
        assert routes.ran == [1]
        assert proxy.accepted == 2


async def test_a_call_that_was_cut_off_on_its_way_is_sent_again(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(server.port) as proxy, connecting(proxy.port) as session:
        proxy.cut_after("up", 20)
        assert await session.request("echo", value="x" * 1000) == "x" * 1000
        assert proxy.cuts == 1
        assert len(routes.ran) == 1


async def test_an_answer_that_was_cut_off_on_its_way_is_sent_again(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(server.port) as proxy, connecting(proxy.port) as session:
        proxy.cut_after("down", 20)
        assert await session.request("echo", value="x" * 1000) == "x" * 1000
        assert proxy.cuts == 1
        assert len(routes.ran) == 1


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("size", [0, 1, 50, 150, 250, 350, 450, 600])
async def test_a_cut_anywhere_in_the_handshake_of_a_reconnection_loses_nothing(
    server: Server[commands.Bot], routes: Routes, direction: str, size: int
) -> None:
    async with Proxy(server.port) as proxy, connecting(proxy.port) as session:
        waiting = [asyncio.create_task(session.request("wait", value=n)) for n in range(5)]
        await until(lambda: len(routes.ran) == 5)
        proxy.cut_after(direction, size)
        proxy.cut()
        routes.gate.set()
        assert await asyncio.gather(*waiting) == list(range(5))
        assert await session.request("echo", value="more") == "more"
        assert routes.ran == [*range(5), "more"]


async def test_both_ends_reconnecting_again_and_again_answer_every_call_once(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(server.port, rough=True) as proxy, connecting(proxy.port) as session:

        async def calls(first: int) -> list[int]:
            return [await session.request("echo", value=first + n) for n in range(50)]

        callers = [asyncio.create_task(calls(n * 50)) for n in range(10)]
        while not all(caller.done() for caller in callers):
            proxy.cut()
            await asyncio.wait(callers, timeout=0.03)
        answers = [answer for caller in callers for answer in caller.result()]
        assert answers == list(range(500))
        assert sorted(routes.ran) == answers
        assert proxy.cuts >= 5


async def test_cuts_do_not_use_up_the_connections_of_the_http_session(
    server: Server[commands.Bot], routes: Routes
) -> None:
    gc.disable()  # it would find them, some time
    try:
        async with (
            Proxy(server.port, rough=True) as proxy,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=5)) as http,
            connecting(proxy.port, session=http, limits=ClientLimits(backoff_initial=0.01)) as session,
        ):
            while proxy.cuts < 60:
                # One in ten comes as a reset, which aiohttp treats differently.
                calls = [asyncio.create_task(session.request("echo", value="x" * 50_000)) for _ in range(5)]
                await asyncio.wait(calls, timeout=0.02)
                proxy.cut()
                await asyncio.gather(*calls)
    finally:
        gc.enable()


# ---------------------------------------------------------------- takeovers


async def test_the_newer_of_two_connections_with_one_token_wins_and_the_older_is_closed(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with memory_client(server) as older, memory_client(server) as newer:
        token = (await older.hello())["session"]
        await older.call(1, "/wait", {"value": 1})
        await asyncio.wait_for(routes.entered.wait(), 5)
        welcome = await newer.hello(session=token, received=0)
        assert (welcome["resumed"], welcome["session"], welcome["received"]) == (True, token, 1)
        assert (await older.ended()).code == REPLACED
        routes.gate.set()
        assert (await newer.answer_to(1))["result"] == 1
        assert routes.ran == [1]


async def test_the_older_is_closed_even_where_the_newer_cannot_go_on(server: Server[commands.Bot]) -> None:
    async with memory_client(server) as older, memory_client(server) as newer:
        token = (await older.hello())["session"]
        welcome = await newer.hello(session=token, received=1000)
        assert not welcome["resumed"]
        assert welcome["session"] != token
        assert (await older.ended()).code == REPLACED


async def test_two_sessions_with_one_token_do_not_keep_taking_it_from_each_other(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(server.port) as proxy, connecting(proxy.port) as session, memory_client(server) as thief:
        waiting = asyncio.create_task(session.request("wait", value=1))
        await asyncio.wait_for(routes.entered.wait(), 5)
        (token,) = server._conversations._all  # pyright: ignore[reportPrivateUsage]
        await thief.hello(session=token, received=0)
        with pytest.raises(ConnectionLost):
            await waiting
        assert await session.request("echo", value=2) == 2
        assert proxy.accepted == 2
        routes.gate.set()
        await thief.call(5, "/echo", {"value": 3})
        assert (await thief.answer_to(5))["result"] == 3


async def test_an_older_connection_that_ends_late_does_not_end_the_newer(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, resume_timeout=0.2) as server:
        routes = Routes(server)
        near, far = stoppable_pair()
        far.may_close.clear()
        older = asyncio.create_task(server.serve(far))
        client = ScriptedClient(near)
        token = (await client.hello())["session"]
        async with memory_client(server) as second:
            await second.hello(session=token)
        far.may_close.set()  # the older one ends last
        await asyncio.wait_for(older, 5)
        async with memory_client(server) as third:
            assert (await third.hello(session=token))["resumed"]
            await longer_than_a_client_may_be_away(server, routes)
            await third.call(1, "/echo", {"value": 1})
            assert (await third.answer_to(1)).get("result") == 1
        async with memory_client(server) as fourth:
            assert (await fourth.hello(session=token, received=1))["resumed"]


async def longer_than_a_client_may_be_away(server: Server[Any], routes: Routes) -> None:
    """Returns when the server has given up a client that went away after this began."""
    async with memory_client(server) as client:
        await client.hello()
        await client.call(1, "/wait", {"value": "until it is given up"})
        await asyncio.wait_for(routes.entered.wait(), 5)
    await asyncio.wait_for(routes.cancelled.wait(), 5)


async def test_a_connection_that_is_replaced_before_its_welcome_takes_nothing_of_the_newer(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with memory_client(server) as first:
        token = (await first.hello())["session"]
    near, far = stoppable_pair()
    far.may_send.clear()
    stuck = asyncio.create_task(server.serve(far))
    hello = {"client": "test", "session": token}
    await ScriptedClient(near).call(0, "rpc.hello", hello)
    await asyncio.wait_for(far.sending.wait(), 5)
    async with memory_client(server) as newer:
        assert (await newer.hello(session=token))["resumed"]
        await newer.call(1, "/wait", {"value": 1})
        await asyncio.wait_for(routes.entered.wait(), 5)
        far.may_send.set()
        routes.gate.set()  # in the same turn: the answer must not leave by the older one
        assert (await newer.answer_to(1))["result"] == 1
    await asyncio.wait_for(stuck, 5)


# ---------------------------------------------------------------- what is kept


@pytest.mark.parametrize(("missing", "resumed"), [(100, False), (25, False), (15, True)])
async def test_a_client_that_never_acknowledges_costs_a_bounded_amount_and_runs_nothing_twice(
    loopback_bot: commands.Bot, missing: int, resumed: bool
) -> None:
    async with serving(loopback_bot, retained_bytes=20_000) as server:
        routes = Routes(server)
        async with memory_client(server) as client:
            token = (await client.hello())["session"]
            for n in range(100):
                await client.call(n, "/echo", {"value": "x" * 1000})
                await client.answer_to(n)
            received = len(client.messages) - 1  # the welcome does not count
        async with memory_client(server) as again:
            # Twenty answers have more than 20,000 bytes, so fewer are retained.
            welcome = await again.hello(session=token, received=received - missing)
            assert welcome["resumed"] is resumed
        assert len(routes.ran) == 100


async def test_a_call_whose_answer_was_evicted_raises_a_typed_error_and_does_not_run_again(
    loopback_bot: commands.Bot,
) -> None:
    async with serving(loopback_bot, retained_bytes=1_000) as server:
        routes = Routes(server)
        async with Proxy(server.port) as proxy, connecting(proxy.port) as session:
            proxy.cut_after("down", 500)
            with pytest.raises(ConnectionLost):
                await session.request("echo", value="x" * 5_000)
            assert len(routes.ran) == 1
            assert await session.request("echo", value=2) == 2


async def test_what_the_client_does_not_keep_any_more_is_a_typed_error(
    server: Server[commands.Bot], routes: Routes
) -> None:
    limits = ClientLimits(backoff_initial=0.01, backoff_max=0.05, retained_bytes=1_000)
    async with Proxy(server.port) as proxy, connecting(proxy.port, limits=limits) as session:
        proxy.cut_after("up", 500)
        with pytest.raises(ConnectionLost):
            await session.request("echo", value="x" * 5_000)
        assert routes.ran == []
        assert await session.request("echo", value=2) == 2


async def test_a_client_that_stays_away_for_too_long_loses_its_calls(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, resume_timeout=0.05) as server:
        routes = Routes(server)
        async with memory_client(server) as client:
            token = (await client.hello())["session"]
            await client.call(1, "/wait", {"value": 1})
            await asyncio.wait_for(routes.entered.wait(), 5)
        await asyncio.wait_for(routes.cancelled.wait(), 5)
        async with memory_client(server) as again:
            assert not (await again.hello(session=token))["resumed"]


@pytest.mark.parametrize("places", [1, 3])
async def test_the_number_of_clients_that_are_away_is_bounded(
    loopback_bot: commands.Bot, places: int
) -> None:
    async with serving(loopback_bot, connections=places) as server:
        tokens: list[str] = []
        for _ in range(5):
            async with memory_client(server) as client:
                tokens.append((await client.hello())["session"])
        resumed: list[bool] = []
        for token in reversed(tokens):
            async with memory_client(server) as client:
                resumed.append((await client.hello(session=token))["resumed"])
                await client.send({"method": "rpc.bye", "params": {"reason": ""}})
        assert resumed == [True] * places + [False] * (5 - places)


async def test_what_waits_for_a_client_that_is_away_is_bounded(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot, retained_bytes=50_000) as server:
        routes = Routes(server)
        async with memory_client(server) as client:
            token = (await client.hello())["session"]
            for n in range(100):
                await client.call(n, "/wait", {"value": "x" * 1000})
            await until(lambda: len(routes.ran) == 100)
        routes.gate.set()
        await asyncio.wait_for(routes.cancelled.wait(), 5)
        async with memory_client(server) as again:
            assert not (await again.hello(session=token))["resumed"]


# ---------------------------------------------------------------- restarts


async def test_an_old_token_after_a_restart_begins_a_new_conversation(
    loopback_bot: commands.Bot, server: Server[commands.Bot]
) -> None:
    async with memory_client(server) as client:
        token = (await client.hello())["session"]
    async with serving(loopback_bot) as restarted, memory_client(restarted) as client:
        welcome = await client.hello(session=token, received=7)
        assert not welcome["resumed"]
        assert welcome["session"] != token
        assert welcome["received"] == 0


async def test_after_a_restart_what_may_have_run_raises_and_what_is_idempotent_runs_again(
    loopback_bot: commands.Bot,
) -> None:
    async with serving(loopback_bot) as first, serving(loopback_bot) as second:
        routes, after = Routes(first), Routes(second)
        after.gate.set()
        async with Proxy(first.port) as proxy, connecting(proxy.port) as session:
            risky = asyncio.create_task(session.request("wait", value="risky"))
            safe = asyncio.create_task(session.request("twice", value="safe"))
            await until(lambda: len(routes.ran) == 2)
            proxy.upstream = second.port
            proxy.cut()
            with pytest.raises(ConnectionLost) as caught:
                await risky
            assert caught.value.endpoint == "wait"
            assert await safe == "safe"
            assert after.ran == ["safe"]
            routes.gate.set()


class Switching(MemoryConnector):
    """Connects to the server that it is set to. The client's ends of the connections can be stopped."""

    def __init__(self, server: Server[Any]) -> None:
        super().__init__(lambda transport: self.server.serve(transport))
        self.server = server
        self.transports: list[StoppableTransport] = []

    async def connect(self) -> Transport:
        far, near = stoppable_pair()
        self.transports.append(near)
        task = asyncio.create_task(self.server.serve(far))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return near


async def test_after_a_restart_what_was_never_sent_is_sent(loopback_bot: commands.Bot) -> None:
    async with serving(loopback_bot) as first, serving(loopback_bot, calls=5) as second:
        routes, after = Routes(first), Routes(second)
        connector = Switching(first)
        async with ClientSession(connector=connector, limits=QUICK) as session:
            (transport,) = connector.transports
            transport.may_send.clear()
            sent = asyncio.create_task(session.request("wait", value=0))
            await asyncio.wait_for(routes.entered.wait(), 5)
            # The connection is busy with the first call, so the second one cannot leave.
            unsent = asyncio.create_task(session.request("echo", value=1))
            await asyncio.sleep(0)
            connector.server = second
            await transport.close()
            transport.may_send.set()
            assert await unsent == 1
            with pytest.raises(ConnectionLost):
                await sent
            assert (routes.ran, after.ran) == ([0], [1])
            routes.gate.set()


async def test_a_call_given_up_by_a_dead_bot_ends_within_the_time_to_connect(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(server.port) as proxy:
        async with connecting(proxy.port, timeout=None, connect_timeout=0.1) as session:
            waiting = asyncio.create_task(session.request("wait", value=1))
            await asyncio.wait_for(routes.entered.wait(), 5)
            proxy.refusing = True
            proxy.cut()
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(waiting, 5)
            proxy.refusing = False
            assert await session.request("echo", value=2) == 2
        # The next connection cancels it on the bot.
        await asyncio.wait_for(routes.cancelled.wait(), 5)


async def test_a_bot_that_is_closing_still_answers_what_is_in_progress(
    server: Server[commands.Bot], session: ClientSession, routes: Routes
) -> None:
    waiting = asyncio.create_task(session.request("wait", value=1))
    await asyncio.wait_for(routes.entered.wait(), 5)
    ending = asyncio.create_task(server.terminate_server())
    await until(lambda: session.state == "lost")
    routes.gate.set()
    assert await waiting == 1
    await ending


async def test_a_hello_after_the_end_began_is_refused(
    loopback_bot: commands.Bot,
) -> None:
    async with serving(loopback_bot) as server:
        async with memory_client(server) as client:
            await asyncio.sleep(0)
            await server.terminate_server()
            await client.call(1, "rpc.hello", {"client": "late"})
            await client.ended()
        assert not server._conversations._all  # pyright: ignore[reportPrivateUsage]


async def test_a_key_that_was_changed_ends_the_calls_and_the_session_works_with_the_next_bot(
    loopback_bot: commands.Bot, server: Server[commands.Bot], caplog: pytest.LogCaptureFixture
) -> None:
    routes = Routes(server)
    async with (
        Server(loopback_bot, port=0, secret_key="another", multicast=False) as other,
        Proxy(server.port) as proxy,
        connecting(proxy.port) as session,
    ):
        waiting = asyncio.create_task(session.request("wait", value=1))
        await asyncio.wait_for(routes.entered.wait(), 5)
        proxy.upstream = other.port
        proxy.cut()
        with pytest.raises(ConnectionLost):
            await waiting
        with pytest.raises(Unauthorized):
            await session.wait_until_ready()
        proxy.upstream = server.port
        proxy.cut()  # a connection of HTTP is kept for the next attempt
        routes.gate.set()  # the old call is answered, and no client waits for it
        for n in range(20):
            assert await session.request("echo", value=n) == n
    assert not any("broke the protocol" in record.getMessage() for record in caplog.records)


# ---------------------------------------------------------------- broken clients


async def test_an_id_that_is_reused_while_its_call_is_open_is_refused(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await client.call(1, "/wait", {"value": "first"})
        await client.call(1, "/wait", {"value": "second"})
        assert (await client.answer_to(None))["error"]["code"] == -32600
        routes.gate.set()
        assert (await client.answer_to(1))["result"] == "first"
        assert routes.ran == ["first"]
        await client.call(1, "/echo", {"value": "third"})  # it is free again
        assert (await client.answer_to(1))["result"] == "third"


async def test_a_conversation_that_broke_the_protocol_too_often_is_over_and_a_new_one_works(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with memory_client(server) as client:
        token = (await client.hello())["session"]
        await client.call(1, "/wait", {"value": "first"})
        for _ in range(20):
            await client.call(1, "/echo", {"value": "second"})
        await client.ended()
    await asyncio.wait_for(routes.cancelled.wait(), 5)
    async with memory_client(server) as client:
        assert not (await client.hello(session=token, received=17))["resumed"]
        await client.call(1, "/echo", {"value": 3})
        assert (await client.answer_to(1))["result"] == 3


async def test_nothing_runs_after_the_client_has_closed(server: Server[commands.Bot], routes: Routes) -> None:
    async with memory_client(server) as client:
        await client.hello()
        await client.send(
            {"method": "rpc.bye", "params": {"reason": "enough"}},
            {"id": 1, "method": "/echo", "params": {"value": 1}},
            {"id": 2, "method": "rpc.subscribe", "params": {"events": ["tick"]}, "credit": 5},
        )
        assert (await client.answer_to(1))["error"]["code"] == -32003
        assert (await client.answer_to(2))["error"]["code"] == -32003
    assert routes.ran == []


async def test_an_answer_that_comes_after_its_caller_was_cancelled_does_no_harm(
    server: Server[commands.Bot], session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "discord_tools")
    routes = Routes(server)
    for n in range(40):  # more than a peer forgives
        routes.gate.clear()
        routes.entered.clear()
        waiting = asyncio.create_task(session.request("wait", value=n))
        await asyncio.wait_for(routes.entered.wait(), 5)
        routes.gate.set()  # the answer and the cancellation cross
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
    assert await session.request("echo", value=1) == 1
    assert not caplog.records


async def test_an_answer_larger_than_the_client_takes_is_a_typed_error_and_not_an_endless_loop(
    server: Server[commands.Bot], routes: Routes
) -> None:
    @server.route()
    async def large(request: Any) -> str:
        return "x" * 20_000

    limits = ClientLimits(message_bytes=10_000)
    async with Proxy(server.port) as proxy, connecting(proxy.port, limits=limits) as session:
        with pytest.raises(TooLarge):
            await session.request("large")
        assert proxy.accepted == 1


async def test_closing_while_the_connection_is_lost_ends_every_call(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with Proxy(server.port) as proxy, connecting(proxy.port) as session:
        waiting = asyncio.create_task(session.request("wait", value=1))
        await asyncio.wait_for(routes.entered.wait(), 5)
        proxy.refusing = True
        proxy.cut()
        await until(lambda: session.state == "lost")
        await session.close()
        with pytest.raises(SessionClosed):
            await waiting
        routes.gate.set()


async def test_an_error_of_a_route_comes_once_across_a_cut(server: Server[commands.Bot]) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    @server.route()
    async def fails(request: Any) -> None:
        entered.set()
        await gate.wait()
        raise RouteError(5, "as it should")

    async with (
        Proxy(server.port) as proxy,
        ClientSession(port=proxy.port, secret_key=KEY, limits=QUICK) as session,
    ):
        waiting = asyncio.create_task(session.request("fails"))
        await asyncio.wait_for(entered.wait(), 5)
        proxy.cut()
        gate.set()
        with pytest.raises(RouteError, match="as it should"):
            await waiting
