from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ClientSession,
    ConnectError,
    ConnectionLost,
    Event,
    Gap,
    Request,
    RouteError,
    Server,
    SessionClosed,
)
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc.transports.memory import MemoryTransport
from equipment.peers import ScriptedBot
from equipment.serving import QUICK
from equipment.until import until

Bot = commands.Bot


class Routes:
    """Routes of a server, and what they did."""

    def __init__(self, server: Server[Bot]) -> None:
        self.ran: list[int] = []
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        for route in (self.echo, self.slow, self.refuse, self.count):
            server.add_route(route)

    async def echo(self, request: Request, n: int) -> int:
        self.ran.append(n)
        return n

    async def slow(self, request: Request, n: int) -> int:
        self.ran.append(n)
        self.entered.set()
        await self.opened.wait()
        return n

    async def refuse(self, request: Request) -> None:
        raise RouteError(404, "no such guild")

    async def count(self, request: Request, n: int) -> AsyncGenerator[int, None]:
        for number in range(n):
            yield number


class Watched(MemoryConnector):
    """Keeps both sides of every connection."""

    def __init__(self, server: Server[Bot]) -> None:
        super().__init__(self._serve_watched, "the bot")
        self._server = server
        #: The side whose first message is lost.
        self.first_loss: str | None = None
        self.near: list[MemoryTransport] = []
        self.far: list[MemoryTransport] = []

    async def connect(self) -> Transport:
        transport = await super().connect()
        assert isinstance(transport, MemoryTransport)
        self.near.append(transport)
        await until(lambda: len(self.far) == len(self.near))
        if self.first_loss is not None:
            self.drop_next(self.first_loss)
            self.first_loss = None
        return transport

    async def _serve_watched(self, transport: Transport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.far.append(transport)
        await self._server.serve(transport)

    def drop_next(self, side: str) -> None:
        """Loses the next message of the client or of the server on the present connection."""
        (self.near if side == "client" else self.far)[-1].drop_next()


def in_memory(connector: MemoryConnector, **options: Any) -> ClientSession:
    return ClientSession(connector=connector, **{"limits": QUICK, **options})


@pytest.fixture
def routes(server: Server[Bot]) -> Routes:
    return Routes(server)


@pytest.fixture
def connector(server: Server[Bot]) -> Watched:
    return Watched(server)


@pytest.fixture
async def session(connector: Watched, routes: Routes) -> AsyncIterator[ClientSession]:
    async with in_memory(connector) as session:
        yield session


SIDES = pytest.mark.parametrize("side", ["client", "server"])


# -- what a session does


async def test_requests_are_answered_and_errors_raised(session: ClientSession, routes: Routes) -> None:
    assert session.state == "ready"
    assert await asyncio.gather(*(session.request("echo", n=n) for n in range(500))) == list(range(500))
    assert sorted(routes.ran) == list(range(500))
    with pytest.raises(RouteError) as caught:
        await session.request("refuse")
    assert (caught.value.code, caught.value.endpoint) == (404, "refuse")


async def test_a_stream_yields_all_items_in_order(session: ClientSession) -> None:
    assert [item async for item in session.stream("count", n=1000)] == list(range(1000))


async def test_a_subscription_yields_the_events(session: ClientSession, server: Server[Bot]) -> None:
    async with session.subscribe("tick") as events:
        for number in range(3):
            await server.publish("tick", number)
        assert [(await anext(events)).data for _ in range(3)] == [0, 1, 2]


async def test_a_session_without_a_port_works_with_serve_itself(server: Server[Bot], routes: Routes) -> None:
    async with ClientSession(connector=MemoryConnector(server.serve)) as session:
        assert await session.request("echo", n=1) == 1


# -- connections that end


async def test_a_server_that_does_not_run_is_a_connect_error_with_the_label(loopback_bot: Bot) -> None:
    session = in_memory(Watched(Server(loopback_bot)), connect_timeout=0.1)
    with pytest.raises(ConnectError, match="before the server said hello") as caught:
        await session.request("echo", n=1)
    assert caught.value.host == "the bot"
    await session.close()


async def test_a_request_waits_for_a_server_that_is_started_again(
    session: ClientSession, server: Server[Bot], routes: Routes
) -> None:
    assert await session.request("echo", n=1) == 1
    await server.terminate_server()
    await until(lambda: session.state == "lost")
    request = asyncio.create_task(session.request("echo", n=2))
    await server.start()
    assert await request == 2
    assert routes.ran == [1, 2]


async def test_a_subscription_goes_on_after_a_restart_of_the_server(
    session: ClientSession, server: Server[Bot], connector: Watched
) -> None:
    async with session.subscribe("tick") as events:
        await server.publish("tick", 1)
        assert (await anext(events)).data == 1
        await server.terminate_server()
        await server.publish("tick", 2)
        await server.start()
        await until(lambda: session.state == "ready")
        await server.publish("tick", 3)
        assert [(await anext(events)).data for _ in range(2)] == [2, 3]
    assert len(connector.near) > 1


async def test_a_request_in_progress_when_the_server_is_terminated_is_answered(
    session: ClientSession, server: Server[Bot], routes: Routes
) -> None:
    request = asyncio.create_task(session.request("slow", n=1))
    await routes.entered.wait()
    ending = asyncio.create_task(server.terminate_server())
    await until(lambda: session.state == "lost")
    routes.opened.set()
    assert await request == 1
    await ending


async def test_closing_the_session_ends_the_connection_of_the_server(
    connector: Watched, routes: Routes
) -> None:
    session = in_memory(connector)
    request = asyncio.create_task(session.request("slow", n=1))
    await routes.entered.wait()
    await session.close()
    with pytest.raises(SessionClosed):
        await request
    closed = await ScriptedBot(connector.far[0]).ended()
    assert (closed.code, closed.clean) == (1000, True)


# -- messages that are lost


@SIDES
async def test_a_request_outlives_a_lost_message(
    session: ClientSession, connector: Watched, routes: Routes, side: str
) -> None:
    connector.drop_next(side)
    assert await session.request("echo", n=1) == 1
    assert routes.ran == [1]
    assert len(connector.near) == 2


@SIDES
async def test_requests_outlive_any_number_of_lost_messages_and_run_once(
    session: ClientSession, connector: Watched, routes: Routes, side: str
) -> None:
    for batch in range(20):
        numbers = range(batch * 10, batch * 10 + 10)
        requests = [asyncio.create_task(session.request("echo", n=n)) for n in numbers]
        connector.drop_next(side)
        assert await asyncio.gather(*requests) == list(numbers)
    assert sorted(routes.ran) == list(range(200))
    assert len(connector.near) == 21


@SIDES
async def test_a_stream_loses_and_repeats_no_item_when_messages_are_lost(
    session: ClientSession, connector: Watched, side: str
) -> None:
    items: list[int] = []
    async for item in session.stream("count", n=1000):
        items.append(item)
        if item % 100 == 50:
            connector.drop_next(side)
    assert items == list(range(1000))
    assert len(connector.near) > 5


@SIDES
async def test_a_subscription_loses_and_repeats_no_event_when_messages_are_lost(
    session: ClientSession, server: Server[Bot], connector: Watched, side: str
) -> None:
    received: list[Event] = []
    async with session.subscribe("tick") as events:
        for number in range(100):
            if number % 10 == 5:
                connector.drop_next(side)
                if side == "client":
                    await session.request(
                        "echo", n=number
                    )  # a subscriber that only reads sends next to nothing
            await server.publish("tick", number)
            received.append(await anext(events))
    assert not [event for event in received if isinstance(event, Gap)]
    assert [event.data for event in received] == list(range(100))
    first = received[0].seq
    assert [event.seq for event in received] == list(range(first, first + 100))
    assert len(connector.near) == 11


@SIDES
async def test_a_lost_message_of_the_handshake_is_tried_again(
    connector: Watched, routes: Routes, side: str
) -> None:
    connector.first_loss = side
    async with in_memory(connector) as session:
        assert await session.request("echo", n=1) == 1
    assert routes.ran == [1]
    assert len(connector.near) == 2


# -- the connector itself


async def test_a_connector_has_a_label_for_errors_and_the_log() -> None:
    async def serve(transport: Transport) -> None: ...

    assert MemoryConnector(serve).label == "memory"
    connector = MemoryConnector(serve, "bot 7")
    connector.forget()
    assert connector.label == "bot 7"
    error = connector.failure("it is gone")
    assert (error.host, error.port, error.reason) == ("bot 7", 0, "it is gone")


async def test_closing_a_connector_waits_for_its_connections() -> None:
    over = asyncio.Event()
    served: list[Transport] = []

    async def serve(transport: Transport) -> None:
        served.append(transport)
        await over.wait()

    connector = MemoryConnector(serve)
    transports = [await connector.connect() for _ in range(3)]
    closing = asyncio.create_task(connector.close())
    await until(lambda: len(served) == 3)
    assert not closing.done()
    over.set()
    await closing
    for transport in transports:
        assert (await ScriptedBot(transport).ended()).code == 1000


async def test_a_connection_whose_serving_fails_is_closed() -> None:
    async def serve(transport: Transport) -> None:
        raise ConnectionLost("anything")

    connector = MemoryConnector(serve)
    transport = await connector.connect()
    (task,) = connector._serving  # pyright: ignore[reportPrivateUsage]
    assert (await ScriptedBot(transport).ended()).code == 1000
    assert isinstance(task.exception(), ConnectionLost)
    await connector.close()
