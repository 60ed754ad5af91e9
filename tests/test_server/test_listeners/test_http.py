"""One port: opening and freeing it, and connections without a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from discord_tools.ipc import ListenError, ServerLimits
from discord_tools.ipc_server.connections import Connections
from discord_tools.ipc_server.listeners.http import Handler, HTTPListener
from equipment.clocks import IncidentClock
from equipment.ports import free_port, is_free


def listening(handler: Handler, limits: ServerLimits = ServerLimits()) -> HTTPListener:  # noqa: B008
    return HTTPListener(handler, connections=Connections(limits))


async def answer(request: web.Request) -> web.Response:
    return web.Response(text="here")


async def test_a_port_is_free_again_after_the_listener_was_closed(http: aiohttp.ClientSession) -> None:
    listener = listening(answer)
    port = await listener.start("127.0.0.1", 0)
    async with http.get(f"http://127.0.0.1:{port}/") as response:
        assert await response.text() == "here"
    await listener.close()
    assert is_free(port)
    await listener.close()


async def test_connections_stay_when_the_port_is_freed() -> None:
    go = asyncio.Event()
    asked = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.Response(text="late")

    listener = listening(slow)
    port = await listener.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as http:
        response = asyncio.ensure_future(http.get(f"http://127.0.0.1:{port}/"))
        await asked.wait()
        listener.stop_listening()
        assert is_free(port)
        go.set()
        assert await (await response).text() == "late"
    await listener.close()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["nothing", "half a request"])
async def test_a_connection_without_a_request_is_closed_in_time(said: bytes) -> None:
    listener = listening(answer, ServerLimits(handshake_timeout=0.05))
    reader, writer = await asyncio.open_connection("127.0.0.1", await listener.start("127.0.0.1", 0))
    writer.write(said)
    async with asyncio.timeout(5):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    await listener.close()


async def test_a_connection_that_had_a_request_may_wait_for_the_next(http: aiohttp.ClientSession) -> None:
    listener = listening(answer, ServerLimits(handshake_timeout=0.05))
    url = f"http://127.0.0.1:{await listener.start('127.0.0.1', 0)}/"
    async with http.get(url) as response:
        await response.read()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].strip("/")))
    async with asyncio.timeout(5):
        with suppress(ConnectionResetError):
            await (
                reader.read()
            )  # by now the first one has waited for longer than this one, which said nothing
    writer.close()
    assert len(open_connections(http)) == 1
    async with http.get(url) as response:
        assert await response.text() == "here"
    await listener.close()


def open_connections(http: aiohttp.ClientSession) -> list[Any]:
    assert http.connector is not None
    return [one for kept in http.connector._conns.values() for one in kept if one[0].is_connected()]  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("host", ["name.invalid", "192.0.2.1", "a" * 80])
async def test_a_host_that_is_not_this_machine_is_a_listen_error(host: str) -> None:
    with pytest.raises(ListenError) as caught:
        await listening(answer).start(host, 0)
    assert caught.value.host == host
    assert caught.value.__cause__ is not None


async def test_a_start_that_is_cancelled_frees_the_port() -> None:
    port = free_port()
    cancelled = 0
    for turns in range(1, 20):
        listener = listening(answer)
        starting = asyncio.ensure_future(listener.start("localhost", port))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait((starting,))
        cancelled += starting.cancelled()
        if not starting.cancelled():
            await listener.close()
        assert is_free(port)
    assert 0 < cancelled < 19  # it was cut short in some turns, and came to its end in others


# -- what is refused without reading it


async def say(port: int, request: str) -> bytes:
    """Sends a request byte by byte, and returns all that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


HAS_A_BODY = {
    "a length": "Content-Length: 1000000000\r\n",
    "chunks": "Transfer-Encoding: chunked\r\n",
}


@asynccontextmanager
async def posting() -> AsyncIterator[tuple[int, list[str]]]:
    """A port that reads the body of each POST, and the methods of the requests that its handlers got."""
    handled: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        handled.append(request.method)
        return web.Response(body=await request.read())

    listener = HTTPListener(handle, [web.post("/", handle)], connections=Connections(ServerLimits()))
    try:
        yield await listener.start("127.0.0.1", 0), handled
    finally:
        await listener.close()


@pytest.mark.parametrize("head", HAS_A_BODY.values(), ids=HAS_A_BODY)
async def test_a_get_request_with_a_body_is_refused_before_the_body_arrives(head: str) -> None:
    async with posting() as (port, handled):
        # Nothing of the body is sent: an answer that waited for it would never come.
        answer = await say(port, f"GET / HTTP/1.1\r\nHost: x\r\n{head}\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"a GET request must not have a body" in answer
        assert handled == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity", "zstd, gzip"])
@pytest.mark.parametrize("head", HAS_A_BODY.values(), ids=HAS_A_BODY)
async def test_a_compressed_body_is_refused_before_it_arrives(head: str, encoding: str) -> None:
    async with posting() as (port, handled):
        request = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\n{head}\r\n"
        answer = await say(port, request)
        assert answer.startswith(b"HTTP/1.1 415 ")
        assert handled == []


async def test_a_body_that_is_not_compressed_is_read(http: aiohttp.ClientSession) -> None:
    async with posting() as (port, handled):
        async with http.post(f"http://127.0.0.1:{port}/", data=b"body") as response:
            assert await response.read() == b"body"
        assert handled == ["POST"]


# -- requests that are no HTTP


async def test_requests_that_are_no_http_are_one_line_a_minute_without_a_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = IncidentClock(monkeypatch)
    listener = listening(answer)
    port = await listener.start("127.0.0.1", 0)
    for number in range(20):
        assert b" 400 " in await say(port, f"GET / HTTP/1.1\r\nnonsense{number}\x1b: x\r\n\r\n")
    (record,) = caplog.records
    assert record.name.startswith("discord_tools.")
    assert record.exc_info is None
    assert "nonsense" not in record.getMessage()
    clock.pass_period()
    await say(port, "GET / HTTP/1.1\r\nnonsense\x1b: x\r\n\r\n")
    await listener.close()
    assert [one.exc_info for one in caplog.records] == [None] * 3
    assert "19 more within a minute" in caplog.messages[1]
