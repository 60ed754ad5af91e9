"""One counter bounds the connections of all ports: silent ones, idle ones, and those with a request in progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from discord_tools.ipc import ServerLimits
from discord_tools.ipc_server.connections import REFUSED, Connections
from discord_tools.ipc_server.listeners.http import Handler, HTTPListener
from test_server.tools import until


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
    async with listening(connections=3) as port, silent_connections(port, 3 + REFUSED) as silent:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as response:
            # It takes the place of the oldest one.
            assert await response.text() == "here"
        await until(lambda: not all(silent.are_open()))
        assert silent.are_open() == [False, *[True] * (3 + REFUSED - 1)]


async def test_a_burst_of_silent_connections_is_bounded_and_closed_in_time() -> None:
    bound = 3 + REFUSED
    async with listening(connections=3, handshake_timeout=0.2) as port, silent_connections(port, 0) as silent:
        # All of them are accepted in one turn of the loop, before any of them has a transport.
        await silent.connect(port, 10 * bound)
        await until(lambda: silent.are_open().count(True) <= bound)
        await until(lambda: not any(silent.are_open()))


async def test_silent_connections_do_not_keep_a_request_from_its_answer() -> None:
    async with listening(connections=3) as port, silent_connections(port, 3) as silent:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as response:
            assert await response.text() == "here"
        assert all(silent.are_open())


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
