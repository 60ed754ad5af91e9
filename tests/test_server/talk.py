"""Named parts for the tests of the server: waiting, recording events, and a conversation without ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import discord
from msgspec import UNSET, Raw

from discord_tools.ipc import Route, ServerLimits
from discord_tools.ipc.link import Link
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import MemoryTransport, memory_pair
from discord_tools.ipc.wire.frames import HELLO, ErrorObject
from discord_tools.ipc.wire.peer import Answered, Event, Peer, Violated
from discord_tools.ipc_server.conversation import Conversation
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.routes import RouteTable


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits until a condition holds, one turn of the loop at a time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (conditions of others, which tell nobody)
            await asyncio.sleep(0)


class Heard(list[tuple[str, Any]]):
    """The IPC events that a client dispatched: what was dispatched, and in which order."""

    def __init__(self, client: discord.Client) -> None:
        super().__init__()
        for name in ("raw_ipc_request", "ipc_request_completion", "ipc_ready", "ipc_error"):
            setattr(client, f"on_{name}", self._listener(name))

    def _listener(self, name: str) -> Callable[..., Any]:
        async def listener(*args: Any) -> None:
            self.append((name, args))

        return listener

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self]


class Failed(Exception):
    """An answer that is an error."""

    def __init__(self, error: ErrorObject) -> None:
        super().__init__(error.code, error.message)
        self.code: int = error.code
        self.message: str = error.message
        self.data: Any = None if error.data is UNSET else json.loads(bytes(error.data))


class Talk:
    """A client's end of a conversation: the real peer of the client, with nothing around it."""

    def __init__(self, client: discord.Client, limits: ServerLimits, ready: bool, capacity: int) -> None:
        self.table = RouteTable(client)
        near, far = memory_pair(capacity)
        self.transport: MemoryTransport = near
        self.conversation = Conversation(far, Dispatcher(client, self.table), limits, lambda: ready)
        self.peer: Peer[asyncio.Future[Any]] = Peer(calls=0, message_bytes=2**30)
        self.link = Link(self.peer, near, self._handle, backlog_bytes=2**30)
        self.events: list[Event] = []
        self.serving = asyncio.create_task(self.conversation.run())
        self.carrying: asyncio.Task[Closed] | None = None

    def route(self, callback: Callable[..., Any]) -> Route[Any]:
        route: Route[Any] = Route(callback)
        self.table.add(route)
        return route

    def read(self) -> None:
        """Begins to read what the server says."""
        self.carrying = asyncio.create_task(self.link.run())

    def send(self, method: str, params: Any = UNSET, **frame: Any) -> tuple[Any, asyncio.Future[Any]]:
        """Calls, and returns the id and the answer to come."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # not everybody waits
        raw = Raw(json.dumps({} if params is UNSET else params).encode())
        number = self.peer.call(method, raw, answer, **frame)
        self.link.wake()
        return number, answer

    async def call(self, method: str, params: Any = UNSET, **frame: Any) -> Any:
        _, answer = self.send(method, params, **frame)
        async with asyncio.timeout(5):
            return await answer

    async def hello(self, **more: Any) -> Any:
        return await self.call(HELLO, {"client": "test", **more})

    async def ended(self) -> Closed:
        """Waits until both ends are through, and returns how this one was closed."""
        assert self.carrying is not None
        async with asyncio.timeout(5):
            closed = await self.carrying
            await self.serving
        return closed

    def _handle(self, event: Event) -> None:
        if isinstance(event, Answered):
            if event.context.done():
                return
            if event.error is UNSET:
                event.context.set_result(None if event.result is UNSET else json.loads(bytes(event.result)))
            else:
                event.context.set_exception(Failed(event.error))
        else:
            self.events.append(event)

    @property
    def complaints(self) -> list[str]:
        """What the server said that this end did wrong."""
        return [event.reason for event in self.events if isinstance(event, Violated)]


@asynccontextmanager
async def talking(
    client: discord.Client,
    limits: ServerLimits = ServerLimits(),  # noqa: B008
    *,
    ready: bool = True,
    hello: bool = True,
    capacity: int = 16,
) -> AsyncIterator[Talk]:
    """A conversation over a pair of memory transports, past the hello unless told otherwise."""
    talk = Talk(client, limits, ready, capacity)
    talk.read()
    if hello:
        await talk.hello()
    try:
        yield talk
    finally:
        await talk.transport.close()
        async with asyncio.timeout(5):
            await asyncio.wait({talk.serving} | ({talk.carrying} if talk.carrying else set()))


__all__ = ("Failed", "Heard", "Talk", "talking", "until")
