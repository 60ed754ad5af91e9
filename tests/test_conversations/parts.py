"""Named parts for these tests: waiting, a client's end frame by frame, and routes that take notes."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from discord.ext import commands

from discord_tools.ipc import ClientLimits, ClientSession, Request, Server, ServerLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import MemoryTransport, memory_pair

KEY = "a key that only tests know"

#: Times that a test can wait for.
QUICK = ClientLimits(backoff_initial=0.01, backoff_max=0.05, close_timeout=0.5)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (conditions of others, which tell nobody)
            await asyncio.sleep(0.001)


def serving(bot: commands.Bot, **limits: Any) -> Server[commands.Bot]:
    """A server on a free port, to be entered."""
    return Server(bot, port=0, secret_key=KEY, multicast=False, limits=ServerLimits(**limits))


def connecting(port: int, **options: Any) -> ClientSession:
    """A session, to be entered."""
    return ClientSession("127.0.0.1", port, secret_key=KEY, **{"limits": QUICK, **options})


class Routes:
    """Routes that take notes of what they do, added to a server."""

    def __init__(self, *servers: Server[Any]) -> None:
        self.ran: list[Any] = []
        self.yielded = 0
        self.closed = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        for server in servers:
            for route in (self.echo, self.wait, self.count, self.forever):
                server.add_route(route)
            server.add_route(self.twice, idempotent=True)

    async def echo(self, request: Request, value: Any) -> Any:
        """Answers at once."""
        self.ran.append(value)
        return value

    async def wait(self, request: Request, value: Any) -> Any:
        """Answers when the gate opens."""
        self.ran.append(value)
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return value

    async def twice(self, request: Request, value: Any) -> Any:
        """The same, and may run twice."""
        return await self.wait(request, value)

    async def count(self, request: Request, n: int) -> AsyncGenerator[int, None]:
        """The numbers up to n."""
        for i in range(n):
            self.yielded += 1
            yield i

    async def forever(self, request: Request, size: int = 1) -> AsyncGenerator[str, None]:
        """Items without end."""
        self.entered.set()
        try:
            while True:
                self.yielded += 1
                yield "x" * size
        finally:
            self.closed.set()


class Wire:
    """A client's end of a conversation over a memory transport: nothing is done for it but JSON."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self.messages: list[list[dict[str, Any]]] = []
        self._frames: deque[dict[str, Any]] = deque()

    async def say(self, *frames: dict[str, Any]) -> None:
        """Sends frames in one message."""
        whole = [{"jsonrpc": "2.0", **frame} for frame in frames]
        await self.transport.send(json.dumps(whole if len(whole) > 1 else whole[0]).encode())

    async def call(self, number: Any, method: str, params: Any = None, **more: Any) -> None:
        await self.say({"id": number, "method": method, "params": params or {}, **more})

    async def read(self) -> dict[str, Any]:
        """The next frame, whichever message it comes in."""
        async with asyncio.timeout(5):
            while not self._frames:
                message = json.loads(await self.transport.receive())
                frames = message if isinstance(message, list) else [message]
                self.messages.append(frames)
                self._frames.extend(frames)
        return self._frames.popleft()

    async def answer_to(self, number: Any) -> dict[str, Any]:
        """The next answer to this call; what comes before it is passed over."""
        while (frame := await self.read()).get("id", ...) != number:
            pass
        return frame

    async def hello(self, **params: Any) -> dict[str, Any]:
        """Says hello and returns the welcome."""
        await self.call("hello", "rpc.hello", {"client": "test", **params})
        return (await self.answer_to("hello"))["result"]

    async def ended(self) -> Closed:
        """Reads until the other side has gone, and tells how it went."""
        async with asyncio.timeout(5):
            while True:
                try:
                    await self.transport.receive()
                except Closed as closed:
                    return closed


@asynccontextmanager
async def wired(server: Server[Any], *, capacity: int = 16) -> AsyncIterator[Wire]:
    """A connection to a server, before the hello."""
    near, far = memory_pair(capacity)
    task = asyncio.create_task(server.serve(far))
    try:
        yield Wire(near)
    finally:
        await near.close()
        async with asyncio.timeout(10):
            await task
