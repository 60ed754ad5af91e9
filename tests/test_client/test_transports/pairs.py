"""Pairs of joined transports of every kind, and pairs that lose a message on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from aiohttp import web

from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.transports.memory import memory_pair
from discord_tools.ipc.transports.websocket import WebSocketTransport
from equipment.proxy import Proxy
from equipment.websites import website

Pair = tuple[Transport, Transport]


class LossyPair(NamedTuple):
    """Two joined transports. After ``lose``, nothing that ``one`` sends arrives; ``cut`` breaks the connection."""

    one: Transport
    two: Transport
    lose: Callable[[], None]
    cut: Callable[[], None]


@asynccontextmanager
async def memory() -> AsyncGenerator[Pair]:
    yield memory_pair()


@asynccontextmanager
async def sockets(
    limit: int = 1 << 20, proxy: Proxy | None = None, *, autoping: bool = True
) -> AsyncGenerator[Pair]:
    """Both sides of a real WebSocket: the client's, then the server's. ``autoping`` hides pings and answers them."""
    accepted: asyncio.Future[web.WebSocketResponse] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=limit, timeout=0.2, autoping=autoping)
        await socket.prepare(request)
        accepted.set_result(socket)
        await over.wait()
        return socket

    async with website(handle) as port, aiohttp.ClientSession() as http:
        if proxy is not None:
            proxy.upstream, port = port, proxy.port
        socket = await http.ws_connect(
            f"http://127.0.0.1:{port}",
            max_msg_size=limit,
            autoping=autoping,
            timeout=aiohttp.ClientWSTimeout(ws_close=0.2),  # pyright: ignore[reportCallIssue] (attrs)
        )
        try:
            yield WebSocketTransport(socket, close_timeout=0.4), WebSocketTransport(await accepted)
        finally:
            await socket.close()
            over.set()


@asynccontextmanager
async def sockets_reversed() -> AsyncGenerator[Pair]:
    async with sockets() as (one, two):
        yield two, one


@asynccontextmanager
async def lossy_memory() -> AsyncGenerator[LossyPair]:
    one, two = memory_pair()
    yield LossyPair(one, two, one.drop_next, lambda: None)


@asynccontextmanager
async def lossy_sockets() -> AsyncGenerator[LossyPair]:
    """The client sends, and the proxy between loses it."""
    async with Proxy(0) as proxy, sockets(proxy=proxy) as (client, server):
        yield LossyPair(client, server, lambda: proxy.lose("up"), proxy.cut)


@asynccontextmanager
async def lossy_sockets_reversed() -> AsyncGenerator[LossyPair]:
    """The server sends, and the proxy between loses it."""
    async with Proxy(0) as proxy, sockets(proxy=proxy) as (client, server):
        yield LossyPair(server, client, lambda: proxy.lose("down"), proxy.cut)


async def send_all(transport: Transport, messages: Sequence[bytes]) -> None:
    for message in messages:
        await transport.send(message)


async def receive(transport: Transport) -> object:
    """The next message, or how the transport was closed."""
    try:
        return await transport.receive()
    except Closed as closed:
        return closed


async def receive_into(transport: Transport, received: list[bytes | str]) -> Closed:
    """Receives until the end, and returns how the transport was closed."""
    try:
        while True:
            received.append(await transport.receive())
    except Closed as closed:
        return closed


def raw(end: Transport) -> aiohttp.ClientWebSocketResponse | web.WebSocketResponse:
    """The socket of aiohttp below a transport."""
    assert isinstance(end, WebSocketTransport)
    return end._socket  # pyright: ignore[reportPrivateUsage]


def tcp(end: Transport) -> asyncio.Transport:
    """The TCP connection below that."""
    return raw(end)._writer.transport  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
