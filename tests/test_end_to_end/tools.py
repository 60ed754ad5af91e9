"""A client that may say anything, and a wait that ends."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

SUBPROTOCOL = "discord-tools.ipc.1"
HELLO = {"jsonrpc": "2.0", "id": "hello", "method": "rpc.hello", "params": {"client": "raw"}}
PATIENCE = 10.0


async def until(
    condition: Callable[[], object | Awaitable[object]], *, seconds: float = PATIENCE, every: float = 0.01
) -> Any:
    """Waits until the condition holds, and returns what it came to."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(every)


class RawClient:
    """A WebSocket that sends what it is told and never answers by itself."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def hello(self) -> None:
        await self.send(HELLO)
        assert (await self.receive())["id"] == "hello"

    async def send(self, frame: Any) -> None:
        await self.text(json.dumps(frame).encode())

    async def text(self, data: bytes) -> None:
        """Sends a text frame, UTF-8 or not."""
        await self.socket.send_frame(data, WSMsgType.TEXT)

    async def binary(self, data: bytes) -> None:
        await self.socket.send_bytes(data)

    async def call(self, number: Any, method: str, /, **params: Any) -> None:
        await self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})

    async def receive(self) -> Any:
        """The next message, decoded, without the acknowledgements in it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.socket.receive()
                assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), (message, self.socket.close_code)
                frames = said(message.data)
                if frames:
                    return frames if len(frames) > 1 else frames[0]

    async def frames(self) -> AsyncGenerator[dict[str, Any], None]:
        """What comes, one frame at a time, until the other side closes."""
        while True:
            async with asyncio.timeout(PATIENCE):
                message = await self.socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            for frame in said(message.data):
                yield frame

    async def closed(self) -> int | None:
        """Reads on until the other side closes, and returns its code."""
        async for _ in self.frames():
            pass
        return self.socket.close_code


def said(data: bytes | str) -> list[dict[str, Any]]:
    """The frames of a message but for acknowledgements, which come whenever much was received."""
    content = json.loads(data)
    frames = content if isinstance(content, list) else [content]
    return [frame for frame in frames if frame.get("method") != "rpc.ack"]


@asynccontextmanager
async def raw_client(
    port: int, key: str | None, *, hello: bool = True, **options: Any
) -> AsyncGenerator[RawClient, None]:
    """A connected :class:`RawClient`."""
    headers = {} if key is None else {"Authorization": key}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"ws://127.0.0.1:{port}/", protocols=(SUBPROTOCOL,), headers=headers, **options
        ) as socket,
    ):
        client = RawClient(socket)
        if hello:
            await client.hello()
        yield client


@asynccontextmanager
async def plain_client(
    port: int, key: str | None, *frames: object, subprotocol: bool = True
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """Says hello, sends some frames, and reads nothing unless it is told to. aiohttp's client would read ahead.

    Without the subprotocol it is a client of plain JSON-RPC, to which the hello is a call like any other.
    """
    # A small buffer, so that what is not read soon holds up the other side.
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    lines = [
        "GET / HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *([] if key is None else [f"Authorization: {key}"]),
        *([f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"] if subprotocol else []),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head
    for frame in (HELLO, *frames):
        data = json.dumps(frame).encode()
        writer.write(header(len(data)) + data)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def header(length: int) -> bytes:
    """The header of a binary frame. RFC 6455, 5.2: final, a length of 8 bytes, masked with zeros."""
    return b"\x82\xff" + length.to_bytes(8, "big") + bytes(4)


posix = pytest.mark.skipif(
    "sys.platform == 'win32'", reason="Windows has no SIGSTOP, and no SIGINT for one process"
)
