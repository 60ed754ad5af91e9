"""One counter bounds the connections of all ports: silent ones, idle ones, and those with a request in progress."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from discord.ext import commands

from discord_tools.ipc import ClientSession, Request, Server, ServerLimits
from discord_tools.ipc.wire.frames import SUBPROTOCOL
from discord_tools.ipc_server import connections
from discord_tools.ipc_server.connections import (
    REFUSED,
    UNAUTHENTICATED,
    UNAUTHENTICATED_PER_ADDRESS,
    Connections,
    Unauthenticated,
    usable_connections,
)
from discord_tools.ipc_server.listeners.http import ACCEPTED_PER_TURN, Handler, HTTPListener
from discord_tools.ipc_server.listeners.sockets import BACKLOG
from equipment.key import KEY
from equipment.until import until
from test_server.tools import family, http_url, jsonrpc, records_with, serving


async def answer(request: web.Request) -> web.Response:
    return web.Response(text="here")


@asynccontextmanager
async def listening(handler: Handler = answer, **limits: Any) -> AsyncIterator[int]:
    """A port, and its number."""
    listener = HTTPListener(handler, connections=Connections(ServerLimits(**limits)))
    try:
        yield await listener.start("127.0.0.1", 0)
    finally:
        await listener.close()


class Silent:
    """TCP connections that send nothing."""

    def __init__(self) -> None:
        self._streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self, port: int, count: int = 1) -> None:
        """Connects, all at once."""
        connecting = (asyncio.open_connection("127.0.0.1", port) for _ in range(count))
        self._streams += await asyncio.gather(*connecting)

    def are_open(self) -> list[bool]:
        """Whether each is still open, in the order in which they were connected."""
        return [not reader.at_eof() and reader.exception() is None for reader, _ in self._streams]

    def close(self) -> None:
        for _, writer in self._streams:
            writer.close()


@asynccontextmanager
async def silent_connections(port: int, count: int) -> AsyncIterator[Silent]:
    silent = Silent()
    try:
        for _ in range(count):
            await silent.connect(port)
        yield silent
    finally:
        silent.close()


def open_connections(http: aiohttp.ClientSession) -> int:
    """Number of open connections that a session keeps for its next requests."""
    assert http.connector is not None
    kept = http.connector._conns.values()  # pyright: ignore[reportPrivateUsage]
    return sum(one[0].is_connected() for connections in kept for one in connections)


# -- without a request


async def test_of_too_many_silent_connections_the_oldest_is_closed() -> None:
    bound = 3 // 2 + REFUSED
    async with listening(connections=3) as port, silent_connections(port, bound) as silent:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as response:
            # It takes the place of the oldest one.
            assert await response.text() == "here"
        await until(lambda: not all(silent.are_open()))
        assert silent.are_open() == [False, *[True] * (bound - 1)]


async def test_a_burst_of_silent_connections_is_bounded() -> None:
    bound = 3 + REFUSED
    async with (
        listening(connections=3, handshake_timeout=3600) as port,
        silent_connections(port, 0) as silent,
    ):
        # All of them are accepted in one turn of the loop, before any of them has a transport.
        await silent.connect(port, 10 * bound)
        await until(lambda: silent.are_open().count(True) <= bound)


async def test_all_silent_connections_of_a_burst_are_closed_in_time() -> None:
    async with listening(connections=3, handshake_timeout=0.1) as port, silent_connections(port, 0) as silent:
        await silent.connect(port, 100)
        await until(lambda: not any(silent.are_open()))


async def test_silent_connections_do_not_keep_a_request_from_its_answer() -> None:
    async with listening(connections=3) as port, silent_connections(port, 3) as silent:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as response:
            assert await response.text() == "here"
        assert all(silent.are_open())


async def connect_from(address: str, port: int) -> asyncio.StreamReader:
    """Connects from an address of this machine and sends nothing. The connection stays as long as its reader."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    reader.writer = writer  # pyright: ignore[reportAttributeAccessIssue]
    return reader


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no 127.0.0.2")
async def test_of_too_many_silent_connections_of_one_address_its_oldest_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "NEW_PER_ADDRESS", 2)
    async with listening() as port:
        other = await connect_from("127.0.0.2", port)
        first = [await connect_from("127.0.0.1", port) for _ in range(2)]
        last = await connect_from("127.0.0.1", port)
        await until(lambda: first[0].at_eof() or first[0].exception())
        for reader in (other, first[1], last):
            assert not reader.at_eof()
            assert reader.exception() is None
        for reader in (other, *first, last):
            reader.writer.close()  # pyright: ignore[reportAttributeAccessIssue]


async def test_the_number_of_silent_connections_is_bounded_below_the_limit_of_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "NEW", 4)
    async with listening(connections=1000) as port, silent_connections(port, 5) as silent:
        await until(lambda: not all(silent.are_open()))
        assert silent.are_open() == [False, True, True, True, True]


async def test_few_connections_are_accepted_in_one_turn_of_the_loop_and_many_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    create_server, created = loop.create_server, []

    async def recording(*args: Any, **options: Any) -> asyncio.Server:
        server = await create_server(*args, **options)
        created.append((options["backlog"], server.sockets[0]))
        return server

    monkeypatch.setattr(loop, "create_server", recording)
    async with listening():
        ((accepted, opened),) = created
        assert accepted == ACCEPTED_PER_TURN
        assert accepted <= 32
        if sys.platform == "linux":
            assert backlog_of(opened) == min(BACKLOG, most_that_may_wait()) > accepted


def most_that_may_wait() -> int:
    """The system's own bound."""
    return int(Path("/proc/sys/net/core/somaxconn").read_text())


def backlog_of(listening: Any) -> int:
    """How many connections may wait to be accepted: of a listening socket, Linux tells it in ``tcpi_sacked``."""
    (backlog,) = struct.unpack_from("I", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)
    return backlog


# -- open files


def usable(monkeypatch: pytest.MonkeyPatch, files: int, limit: int) -> int:
    """How many connections there may be where the process may open this number of files."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (files, files))
    return usable_connections(ServerLimits(connections=limit))


@pytest.mark.parametrize(
    ("files", "limit", "expected"),
    [(1024, 2048, 512), (1024, 512, 512), (1024, 100, 100), (8192, 2048, 2048), (1, 2048, 1)],
)
def test_connections_take_at_most_half_of_the_files_that_the_process_may_open(
    monkeypatch: pytest.MonkeyPatch, files: int, limit: int, expected: int
) -> None:
    assert usable(monkeypatch, files, limit) == expected


def test_a_process_that_may_open_any_number_of_files_may_have_all_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resource = pytest.importorskip("resource")
    assert usable(monkeypatch, resource.RLIM_INFINITY, 2048) == 2048


def test_where_the_system_has_no_such_limit_there_may_be_all_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "resource", None)
    assert usable_connections(ServerLimits(connections=2048)) == 2048


def test_the_log_tells_that_open_files_allow_fewer_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="discord_tools")
    assert usable(monkeypatch, 1024, 512) == 512
    assert not caplog.messages
    assert usable(monkeypatch, 1000, 512) == 500
    (message,) = caplog.messages
    assert message.startswith("At most 500 connections instead of 512: the process may open 1000 files")


async def test_a_port_refuses_requests_beyond_the_share_of_open_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2, 2))
    go, asked = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.Response()

    async with listening(slow) as port, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{port}/"
        first = asyncio.create_task(http.get(url))
        await asked.wait()
        async with http.get(url) as response:
            assert response.status == 503
        go.set()
        assert (await first).status == 200


# -- WebSockets without a key


class Sockets:
    """Sockets that have not shown a key."""

    def __init__(self) -> None:
        self.unauthenticated = Unauthenticated()
        #: Those that had to make way, in order.
        self.closed: list[str] = []
        self._close: dict[str, Callable[[], None]] = {}

    def add(self, name: str, address: str | None) -> None:
        self._close[name] = lambda: self.closed.append(name)
        self.unauthenticated.add(self._close[name], address)

    def discard(self, name: str) -> None:
        self.unauthenticated.discard(self._close[name])


def test_of_too_many_sockets_of_one_address_its_oldest_makes_way() -> None:
    sockets = Sockets()
    sockets.add("other", "192.0.2.2")
    for number in range(UNAUTHENTICATED_PER_ADDRESS):
        sockets.add(f"busy {number}", "192.0.2.1")
    assert sockets.closed == []
    for number in range(3):
        sockets.add(f"new {number}", "192.0.2.1")
    assert sockets.closed == ["busy 0", "busy 1", "busy 2"]


def test_of_too_many_sockets_in_all_the_oldest_makes_way() -> None:
    sockets = Sockets()
    for number in range(UNAUTHENTICATED):
        sockets.add(str(number), f"192.0.2.{number}")
    assert sockets.closed == []
    sockets.add("new", "192.0.2.200")
    sockets.add("of an address that is not known", None)
    assert sockets.closed == ["0", "1"]


def test_a_new_socket_is_never_the_one_that_makes_way() -> None:
    sockets = Sockets()
    for number in range(5 * UNAUTHENTICATED):
        sockets.add(str(number), f"192.0.2.{number % 3}")
        assert str(number) not in sockets.closed


def test_a_socket_that_showed_its_key_or_was_closed_does_not_count() -> None:
    sockets = Sockets()
    for number in range(10 * UNAUTHENTICATED_PER_ADDRESS):
        sockets.add(str(number), "192.0.2.1")
        sockets.discard(str(number))
        sockets.discard(str(number))
    assert sockets.closed == []


# -- between two requests


async def test_closed_connections_take_no_place() -> None:
    async with listening(connections=3) as port, aiohttp.ClientSession() as staying:
        async with staying.get(f"http://127.0.0.1:{port}/") as response:
            await response.read()
        for _ in range(10):
            async with (
                aiohttp.ClientSession() as passing,
                passing.get(f"http://127.0.0.1:{port}/") as response,
            ):
                await response.read()
        assert open_connections(staying) == 1


async def test_a_connection_whose_response_is_being_sent_is_not_idle() -> None:
    size = 32 * 1024 * 1024

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=bytes(size))

    async with listening(large, connections=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        # The client reads no further for now, and a second one needs a place.
        async with aiohttp.ClientSession() as http, http.head(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200
        assert len(await reader.readexactly(size)) == size
        writer.close()
        await writer.wait_closed()


# -- all kinds of connections of a server

KEYED = {"Authorization": KEY}


@asynccontextmanager
async def native(server: Server[Any]) -> AsyncIterator[None]:
    async with ClientSession("127.0.0.1", server.port, secret_key=KEY) as session:
        assert await session.request("echo", a=1) == {"a": 1}
        yield


@asynccontextmanager
async def socket_with(url: str, message: Any, answer: Any, **headers: str) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as http, http.ws_connect(url, headers=headers) as socket:
        await socket.send_json(message)
        assert await socket.receive_json(timeout=5) == answer
        yield


@asynccontextmanager
async def json_rpc_socket(server: Server[Any]) -> AsyncIterator[None]:
    answer = {"jsonrpc": "2.0", "id": 1, "result": {}}
    async with socket_with(server.ws_url, jsonrpc("echo"), answer, **KEYED):
        yield


@asynccontextmanager
async def older_client(server: Server[Any]) -> AsyncIterator[None]:
    async with socket_with(server.ws_url, family("echo", {"a": 1}), {"a": 1}):
        yield


@asynccontextmanager
async def port_question(server: Server[Any]) -> AsyncIterator[None]:
    question = {"connect": True, "headers": KEYED}
    answer = {"message": "Connection success", "port": server.port, "code": 200}
    async with socket_with(server.multicast_ws_url, question, answer):
        yield


@asynccontextmanager
async def post_in_progress(server: Server[Any]) -> AsyncIterator[None]:
    release, started = asyncio.Event(), asyncio.Event()

    async def hold(request: Request) -> None:
        started.set()
        await release.wait()

    name = f"hold {len(server.routes)}"
    server.add_route(hold, name)
    async with aiohttp.ClientSession(headers=KEYED) as http:
        posting = asyncio.create_task(http.post(http_url(server), json=jsonrpc(name)))
        await started.wait()
        yield
        release.set()
        async with await posting as response:
            assert response.status == 200


#: Opens a connection that is served, and keeps it open.
Kind = Callable[[Server[Any]], AbstractAsyncContextManager[None]]

KINDS: tuple[Kind, ...] = (native, json_rpc_socket, older_client, port_question, post_in_progress)


async def statuses(server: Server[Any]) -> set[int]:
    """The HTTP statuses of all ways to connect."""
    found: set[int] = set()
    async with aiohttp.ClientSession(headers=KEYED) as http:
        for url in (server.ws_url, server.multicast_ws_url):
            for protocols in ((), (SUBPROTOCOL,)):
                try:
                    async with http.ws_connect(url, protocols=protocols):
                        found.add(101)
                except aiohttp.WSServerHandshakeError as error:
                    found.add(error.status)
        async with http.post(http_url(server), json=jsonrpc("echo")) as response:
            found.add(response.status)
        async with http.get(http_url(server, "/health")) as response:
            # It answers 503 while the bot is not ready, too.
            found.add(response.status if "too many" in await response.text() else 0)
    return found


@pytest.mark.parametrize(
    ("first", "second"), [(KINDS[i], two) for i in range(len(KINDS)) for two in KINDS[i:]]
)
async def test_no_third_connection_is_served_whatever_kinds_are_open_on_either_port(
    bot: commands.Bot, first: Kind, second: Kind
) -> None:
    async with serving(bot, limits=ServerLimits(connections=2)) as server, first(server):
        async with second(server):
            assert await statuses(server) == {503}
        # A place is free again.
        await is_served(server)


async def is_served(server: Server[Any]) -> None:
    """Waits until another connection is served: the server notices a close some turns later."""
    async with aiohttp.ClientSession(headers=KEYED) as http, asyncio.timeout(5):
        while True:
            async with http.post(http_url(server), json=jsonrpc("echo")) as response:
                if response.status == 200:
                    return
                assert response.status == 503


async def test_idle_connections_make_way_for_new_ones_of_either_port(bot: commands.Bot) -> None:
    async with (
        serving(bot, limits=ServerLimits(connections=2)) as server,
        aiohttp.ClientSession(headers=KEYED) as one,
        aiohttp.ClientSession(headers=KEYED) as two,
    ):
        for http in (one, two):
            async with http.post(http_url(server), json=jsonrpc("echo")) as response:
                assert response.status == 200
        assert (open_connections(one), open_connections(two)) == (1, 1)
        async with port_question(server):
            # The one that was idle for longer was closed.
            await until(lambda: not open_connections(one))
            assert open_connections(two) == 1
            async with native(server):
                await until(lambda: not open_connections(two))
                assert await statuses(server) == {503}


async def test_silent_connections_take_no_place_of_others_on_either_port(bot: commands.Bot) -> None:
    limits = ServerLimits(connections=2)
    async with (
        serving(bot, limits=limits) as server,
        silent_connections(server.port, 5) as one,
        silent_connections(server.multicast_port, 5) as two,
    ):
        async with native(server), port_question(server):
            assert await statuses(server) == {503}
        await is_served(server)
        # Both ports share their bound, too.
        await until(lambda: sum(one.are_open()) + sum(two.are_open()) <= 2 + REFUSED)


async def test_refused_connections_are_logged_a_bounded_number_of_times(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(bot, limits=ServerLimits(connections=1)) as server, native(server):
        for _ in range(5):
            async with http.get(http_url(server)) as response:
                assert response.status == 503
    records = records_with(
        caplog, "Refused with HTTP 503: ServerLimits.connections allows no more connections"
    )
    assert len(records) == 1
    for record in records:
        assert re.match(r"\[conn-\d+ 127\.0\.0\.1\] Refused", record.getMessage())
        assert (record.levelno, record.exc_info) == (logging.WARNING, None)
