"""WebSockets without the library: a client that sends any frame, and a server that follows a script."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.websocket import tcp_of
from discord_tools.ipc.wire.frames import SUBPROTOCOL
from equipment.key import KEY
from equipment.peers import ScriptedBot, ScriptedClient
from equipment.until import PATIENCE
from equipment.websites import website

__all__ = (
    "HELLO",
    "RawWebSocket",
    "Script",
    "ScriptedWebSocket",
    "WebSocketBot",
    "WebSocketClient",
    "WebSocketTransport",
    "echoing",
    "frame_header",
    "multicast_bot",
    "port_answer",
    "signature",
    "unread_client",
    "upgrade_request",
    "websocket_client",
)

HELLO = {"jsonrpc": "2.0", "id": "hello", "method": "rpc.hello", "params": {"client": "raw"}}


class WebSocketTransport:
    """A transport over a WebSocket of aiohttp, with nothing of the library's own transport in it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse) -> None:
        self.socket = socket

    async def send(self, message: bytes) -> None:
        await self.socket.send_bytes(message)

    async def receive(self) -> bytes | str:
        message = await self.socket.receive()
        if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
            return message.data
        code = self.socket.close_code
        raise Closed(
            f"{message.type.name} {code}", code=None if code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE else code
        )

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.socket.close(code=code, message=reason.encode())


# ---------------------------------------------------------------- clients


class WebSocketClient(ScriptedClient):
    """The client's side of a conversation over a real WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(WebSocketTransport(socket))
        self.socket = socket

    async def send_text(self, message: bytes) -> None:
        """Sends a text frame, UTF-8 or not."""
        await self.socket.send_frame(message, WSMsgType.TEXT)

    async def send_texts(self, messages: Iterable[bytes]) -> None:
        """Sends small text frames in one write, so that none of them comes after the other side has closed: the
        connection would be reset, and the close code lost.
        """
        tcp = tcp_of(self.socket)
        assert isinstance(tcp, asyncio.WriteTransport)
        tcp.write(b"".join(masked_frame(message, WSMsgType.TEXT) for message in messages))


@asynccontextmanager
async def websocket_client(
    port: int, key: str | None, *, hello: bool = True, **options: Any
) -> AsyncIterator[WebSocketClient]:
    """A connected client, past the hello unless that is to be left out."""
    headers = {} if key is None else {"Authorization": key}
    url = f"ws://127.0.0.1:{port}/"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url, protocols=(SUBPROTOCOL,), headers=headers, **options) as socket,
    ):
        client = WebSocketClient(socket)
        if hello:
            await client.hello(client="raw")
        yield client


def upgrade_request(*headers: str, subprotocol: bool = True) -> str:
    """The request that opens a WebSocket."""
    lines = [
        "GET / HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *([f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"] if subprotocol else []),
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in (*lines, ""))


def frame_header(length: int) -> bytes:
    """The header of a binary frame. RFC 6455, 5.2: final, a length of 8 bytes, masked with zeros."""
    return b"\x82\xff" + length.to_bytes(8, "big") + bytes(4)


def masked_frame(payload: bytes, opcode: int) -> bytes:
    """One frame as clients send it, of up to 64 KiB."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([0x80 | opcode]) + length + mask + masked


class RawWebSocket:
    """A WebSocket byte by byte (RFC 6455), so that nothing stands between a test and what is sent."""

    BINARY, TEXT, CLOSE = 0x2, 0x1, 0x8

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader = reader
        self.writer = writer
        #: The lines of the answer to the request.
        self.head = head.decode().strip().split("\r\n")

    @classmethod
    async def open(cls, port: int, request: str, *, limit: int = 1 << 16) -> RawWebSocket:
        """Connects. ``limit`` is the size of the buffer for what is received, in bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
        writer.write(request.encode())
        async with asyncio.timeout(PATIENCE):
            return cls(reader, writer, await reader.readuntil(b"\r\n\r\n"))

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return int(self.head[0].split()[1])

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        """Sends one frame, of up to 64 KiB."""
        self.writer.write(masked_frame(payload, opcode))

    async def receive(self) -> tuple[int, bytes]:
        """The opcode and the payload of the next frame, of up to 64 KiB."""
        async with asyncio.timeout(PATIENCE):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            return first & 0x0F, await self.reader.readexactly(size)

    def cut(self) -> None:
        """Breaks the connection."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """Closes the connection, without a close frame."""
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def unread_client(
    port: int, key: str | None, *messages: object, subprotocol: bool = True
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Sends the hello and some messages, and reads nothing by itself. aiohttp's client would read ahead.

    Without the subprotocol it is a client of JSON-RPC, to which the hello is a call like any other.
    """
    headers = [] if key is None else [f"Authorization: {key}"]
    # A small buffer, so that unread answers soon hold up the other side.
    socket = await RawWebSocket.open(port, upgrade_request(*headers, subprotocol=subprotocol), limit=1024)
    assert socket.status == 101
    for message in (HELLO, *messages):
        data = json.dumps(message).encode()
        socket.writer.write(frame_header(len(data)) + data)
    try:
        yield socket.reader, socket.writer
    finally:
        socket.cut()


# ---------------------------------------------------------------- servers


class ScriptedWebSocket(ScriptedBot):
    """The bot's side of a conversation over a real WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        super().__init__(WebSocketTransport(socket))
        self.socket = socket


Script = Callable[[ScriptedWebSocket], Awaitable[object]]


async def echoing(bot: ScriptedBot) -> None:
    """Answers the hello, then every call with its parameters."""
    await bot.welcome()
    await bot.echo()


class WebSocketBot:
    """A real WebSocket server that follows a script on each connection; an asynchronous context manager.

    Parameters
    ----------
    script
        What it does on each connection.
    key
        The key that clients have to show.
    status
        An HTTP status that all requests get in place of a WebSocket.
    port
        The port to listen on, where it is not to be a free one.
    """

    def __init__(
        self,
        script: Script = echoing,
        *,
        key: str | None = None,
        status: int = 0,
        protocols: tuple[str, ...] = (SUBPROTOCOL,),
        port: int = 0,
        host: str = "127.0.0.1",
        heartbeat: float | None = None,
    ) -> None:
        self.script = script
        self.key = key
        self.status = status
        self.port = port
        self.host = host
        self.requests: list[web.Request] = []
        self.connections: list[ScriptedWebSocket] = []
        self._protocols = protocols
        self._heartbeat = heartbeat
        self._website = AsyncExitStack()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.status:
            return web.Response(status=self.status)
        if self.key is not None and request.headers.get("Authorization") != self.key:
            return web.Response(status=401)
        socket = web.WebSocketResponse(protocols=self._protocols, timeout=0.2, heartbeat=self._heartbeat)
        await socket.prepare(request)
        connection = ScriptedWebSocket(socket)
        self.connections.append(connection)
        try:
            await self.script(connection)
        except Closed:
            pass
        finally:
            await socket.close()
        return socket

    async def __aenter__(self) -> WebSocketBot:
        self.port = await self._website.enter_async_context(website(self._handle, self.port, host=self.host))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def disconnect_all(self) -> None:
        """Breaks all connections, without a close frame."""
        for request in self.requests:
            if request.transport is not None:
                request.transport.abort()

    async def stop(self) -> None:
        """Breaks all connections, without a close frame, and frees the port."""
        self.disconnect_all()
        await self._website.aclose()


def multicast_bot(answer: Any, *more: Any, key: str | None = KEY, nonce: object = "n" * 32) -> WebSocketBot:
    """A multicast port that gives these answers one after another, and the last one from then on.

    Bytes are sent as a binary message, a string as text, and anything else as JSON. What is callable is called with
    the question, and an answer with a port gets the proof that the bot knows ``key``. Without ``key`` it is a server of
    an older library, which asks for no proof and gives none.
    """
    answers = deque((answer, *more))

    async def script(bot: ScriptedWebSocket) -> None:
        question = json.loads(await bot.transport.receive())
        assert question["connect"] is True
        if key is not None and "nonce" in question:
            await bot.socket.send_json({"nonce": nonce})
            question = json.loads(await bot.transport.receive())
        value = answers.popleft() if len(answers) > 1 else answers[0]
        value = value(question) if callable(value) else value
        if key is not None and "nonce" in question and isinstance(value, dict) and "port" in value:
            signed = signature(key, "server", question["nonce"], str(nonce), str(value["port"]))
            value = {"proof": signed, **value}
        if isinstance(value, bytes):
            await bot.socket.send_bytes(value)
        else:
            await bot.socket.send_str(value if isinstance(value, str) else json.dumps(value))
        await bot.ended()

    return WebSocketBot(script, protocols=())


def signature(key: str, *parts: str) -> str:
    """A proof of the port question, written from its description and not with the library's own code."""
    text = "\n".join(("discord-tools.ipc port question 1", *parts))
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def port_answer(port: int) -> dict[str, Any]:
    """The answer of a multicast port."""
    return {"message": "Connection success", "port": port, "code": 200}
