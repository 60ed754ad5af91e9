"""Pairs of joined transports of every kind, and pairs that lose a message on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import aiohttp
from aiohttp import web

from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.transports.memory import memory_pair
from discord_tools.ipc.transports.websocket import WebSocketTransport
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
    limit: int = 1 << 20, proxy: LossyProxy | None = None, *, autoping: bool = True
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
        socket = await http.ws_connect(
            f"http://127.0.0.1:{port if proxy is None else await proxy.start(port)}",
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
    async with LossyProxy() as proxy, sockets(proxy=proxy) as (client, server):
        yield LossyPair(client, server, lambda: proxy.lose("up"), proxy.cut)


@asynccontextmanager
async def lossy_sockets_reversed() -> AsyncGenerator[LossyPair]:
    """The server sends, and the proxy between loses it."""
    async with LossyProxy() as proxy, sockets(proxy=proxy) as (client, server):
        yield LossyPair(server, client, lambda: proxy.lose("down"), proxy.cut)


class LossyProxy:
    """Stands between one client and a port of 127.0.0.1, and discards data from a given moment on."""

    def __init__(self) -> None:
        #: How much of what is sent from now on arrives, in bytes, for each direction in which data is lost.
        self._arriving: dict[str, int] = {}
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._port = 0

    async def start(self, port: int) -> int:
        """Starts listening, for a client of that port."""
        self._port = port
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    def lose(self, direction: str, after: int = 0) -> None:
        """Discards what is sent from now on, ``up`` to the server or ``down`` from it, after a number of bytes."""
        self._arriving[direction] = after

    def cut(self) -> None:
        """Resets the connections to both sides."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> LossyProxy:
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        back, onward = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, onward]
        with suppress(ConnectionError):
            await asyncio.gather(self._carry("up", reader, onward), self._carry("down", back, writer))
        self.cut()

    async def _carry(
        self, direction: str, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(65536):
            if direction in self._arriving:
                arriving = self._arriving[direction]
                self._arriving[direction] = max(0, arriving - len(data))
                data = data[:arriving]
            target.write(data)
            await target.drain()
        target.close()


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
