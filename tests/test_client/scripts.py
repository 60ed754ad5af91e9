"""Named parts for the tests of the client: bots that follow a script, sockets that misbehave, and waiting."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from discord_tools.ipc import ClientLimits, ClientSession
from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.transports.websocket import WebSocketTransport
from discord_tools.ipc.wire.frames import ACK, HELLO, SUBPROTOCOL

KEY = "a key that only tests know"

#: Timeouts that a test can wait for. Few tests are about the defaults.
QUICK = ClientLimits(backoff_initial=0.01, backoff_max=0.02, handshake_timeout=5.0, close_timeout=0.2)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits until a condition holds, one turn of the loop at a time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (a condition of any kind has no event)
            await asyncio.sleep(0)


async def settle() -> None:
    """Lets everything run that can go on without input from outside of the loop."""
    for _ in range(100):
        await asyncio.sleep(0)


class FarSide:
    """The bot's side of one connection, frame by frame. ``ws`` is the socket below, where that is a WebSocket."""

    def __init__(self, transport: Transport, ws: Any = None) -> None:
        self.transport = transport
        self.ws: web.WebSocketResponse = ws
        self._frames: deque[dict[str, Any]] = deque()

    async def read(self) -> dict[str, Any]:
        """The next frame of any message. Acknowledgements may come at any time, and no script needs them."""
        async with asyncio.timeout(5):
            while True:
                while not self._frames:
                    message = json.loads(await self.transport.receive())
                    self._frames.extend(message if isinstance(message, list) else [message])
                frame = self._frames.popleft()
                if frame.get("method") != ACK:
                    return frame

    async def call(self, method: str) -> dict[str, Any]:
        """The next frame, which must be a call of this method."""
        frame = await self.read()
        assert frame["method"] == method
        assert "id" in frame
        return frame

    async def send(self, *frames: dict[str, Any]) -> None:
        """Sends frames in one message."""
        whole = [{"jsonrpc": "2.0", **frame} for frame in frames]
        await self.send_bytes(json.dumps(whole if len(whole) > 1 else whole[0]).encode())

    async def send_bytes(self, message: bytes) -> None:
        await self.transport.send(message)

    async def answer(self, frame: dict[str, Any], result: Any = None) -> None:
        await self.send({"id": frame["id"], "result": result})

    async def welcome(self, **grants: Any) -> dict[str, Any]:
        """Reads the hello and answers it; see :func:`welcome`."""
        hello = await self.call(HELLO)
        await self.answer(hello, welcome(**grants))
        return hello

    async def echo(self) -> None:
        """Answers every call with its parameters, until the other side closes."""
        try:
            while True:
                frame = await self.read()
                if "id" in frame:
                    await self.answer(frame, frame["params"])
        except (Closed, TimeoutError):
            pass

    async def ended(self) -> Closed:
        """Reads until the connection ends, and returns how it did."""
        async with asyncio.timeout(5):
            while True:
                try:
                    await self.transport.receive()
                except Closed as closed:
                    return closed


def welcome(calls: int = 16, message_bytes: int = 1 << 20, **more: Any) -> dict[str, Any]:
    """The answer of a bot that does not know this client yet, unless ``more`` changes that."""
    return {
        "server": "script",
        "session": "a token",
        "resumed": False,
        "received": 0,
        "heartbeat": 20.0,
        "limits": {"calls": calls, "message_bytes": message_bytes},
        "ready": True,
        **more,
    }


Script = Callable[[FarSide], Awaitable[object]]


async def echoing(far: FarSide) -> None:
    """Answers the hello, then every call with its parameters."""
    await far.welcome()
    await far.echo()


class Bot:
    """A real WebSocket server that follows a script on each connection."""

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
        self.connections: list[FarSide] = []
        self._protocols = protocols
        self._heartbeat = heartbeat
        self._runner: web.AppRunner | None = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.status:
            return web.Response(status=self.status)
        if self.key is not None and request.headers.get("Authorization") != self.key:
            return web.Response(status=401)
        ws = web.WebSocketResponse(protocols=self._protocols, timeout=0.2, heartbeat=self._heartbeat)
        await ws.prepare(request)
        far = FarSide(WebSocketTransport(ws), ws)
        self.connections.append(far)
        try:
            await self.script(far)
        except Closed:
            pass
        finally:
            await ws.close()
        return ws

    async def __aenter__(self) -> Bot:
        app = web.Application()
        app.router.add_get("/", self._handle)
        self._runner = runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self.host, self.port, reuse_address=True).start()
        self.port = runner.addresses[0][1]
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
        if self._runner is not None:
            await self._runner.cleanup()
            await asyncio.sleep(0)


def multicasting(answer: Any, *more: Any) -> Script:
    """The script of a multicast port that gives these answers one after another, and the last one from then on."""
    answers = deque((answer, *more))

    async def script(far: FarSide) -> None:
        question = json.loads(await far.transport.receive())
        assert question["connect"] is True
        value = answers.popleft() if len(answers) > 1 else answers[0]
        value = value(question) if callable(value) else value
        await far.send_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        await far.ended()

    return script


def port_answer(port: int) -> dict[str, Any]:
    """The answer of a multicast port."""
    return {"message": "Connection success", "port": port, "code": 200}


TcpScript = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@asynccontextmanager
async def listening(script: TcpScript) -> AsyncIterator[int]:
    """A bare TCP port. Connections end when the test does, if not by themselves."""
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[object]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads everything and answers nothing."""
    await reader.read()


def silence_after(connected: asyncio.Event) -> TcpScript:
    """The same, with an event that the first connection sets."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await silence(reader, writer)

    return script


def answering(data: bytes) -> TcpScript:
    """Answers the first request with these bytes and closes the connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return script


class Vacant:
    """A port on which nobody listens: it is held, so that nobody else on this machine is given it meanwhile."""

    def __init__(self) -> None:
        self._held = socket.socket()
        self._held.bind(("127.0.0.1", 0))
        self.port: int = self._held.getsockname()[1]

    def __enter__(self) -> int:
        return self.port

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Frees the port, for a bot of the same test."""
        self._held.close()


def session(port: int, **options: Any) -> ClientSession:
    """A session with timeouts that a test can wait for."""
    return ClientSession("127.0.0.1", port, **{"limits": QUICK, "connect_timeout": 5.0, **options})


def multicast_session(multicast_port: int, **options: Any) -> ClientSession:
    """A session that does not know the port of its bot."""
    return ClientSession(
        "127.0.0.1", multicast_port=multicast_port, **{"limits": QUICK, "connect_timeout": 5.0, **options}
    )
