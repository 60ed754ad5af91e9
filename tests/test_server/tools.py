"""Named parts for the tests of the server: waiting, recording events, and a conversation without ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import discord
import msgspec
from msgspec import UNSET, Raw

from discord_tools.ipc import Route, ServerLimits, UnknownEndpoint
from discord_tools.ipc.connection import Connection
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import MemoryTransport, memory_pair
from discord_tools.ipc.wire.frames import HELLO, Hello
from discord_tools.ipc.wire.peer import Answered, Event, Peer, ProtocolViolation
from discord_tools.ipc_server.conversation import Conversation
from discord_tools.ipc_server.conversations import Conversations
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.events import Hub
from discord_tools.ipc_server.routes import RouteTable

#: What the server says about its routes that may run twice.
IDEMPOTENT = ["/twice"]


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

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["code"], error["message"])
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


class Answer(asyncio.Future[Any]):
    """The answer to come to one call, and the number of that call."""

    number: int = 0


class Talk:
    """A client's end of a conversation: the real peer of the client, with nothing around it."""

    def __init__(self, client: discord.Client, limits: ServerLimits, ready: bool, capacity: int) -> None:
        self.table = RouteTable(client)
        dispatcher, hub = Dispatcher(client, self.table), Hub(limits)
        self.conversations: list[Conversation] = []

        def make(token: str, hello: Hello) -> Conversation:
            self.conversations.append(Conversation(token, hello, dispatcher, hub, limits))
            return self.conversations[-1]

        self.sessions = Conversations(make, limits, lambda: ready, lambda: IDEMPOTENT)
        near, far = memory_pair(capacity)
        self.transport: MemoryTransport = near
        self.peer: Peer = Peer(calls=0, message_bytes=2**30, retained_bytes=2**30)
        self.link = Connection(self.peer, near, self._handle, backlog_bytes=2**30)
        self.events: list[Event] = []
        self.serving = asyncio.create_task(self.sessions.serve(far))
        self.carrying: asyncio.Task[Closed] | None = None

    @property
    def conversation(self) -> Conversation:
        """The server's end."""
        return self.conversations[-1]

    def route(self, callback: Callable[..., Any]) -> Route[Any]:
        route: Route[Any] = Route(callback)
        self.table.add(route)
        return route

    # -- frame by frame

    async def say(self, *messages: Any) -> None:
        """Sends messages: bytes as they are, anything else as JSON."""
        for message in messages:
            await self.transport.send(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def hear(self) -> list[dict[str, Any]]:
        """Waits for one message of the server and returns its frames."""
        async with asyncio.timeout(5):
            message = json.loads(await self.transport.receive())
        return message if isinstance(message, list) else [message]

    async def greet(self, **more: Any) -> Any:
        """Says hello and returns the welcome."""
        params = {"client": "test", **more}
        await self.say({"jsonrpc": "2.0", "id": "hello", "method": HELLO, "params": params})
        (answer,) = await self.hear()
        assert answer["id"] == "hello"
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    # -- with a peer

    def read(self) -> None:
        """Begins to read what the server says."""
        self.carrying = asyncio.create_task(self.link.run())

    async def hello(self, **more: Any) -> Any:
        """Says hello, returns the welcome, and begins to read what the server says."""
        welcome = await self.greet(**more)
        self.read()
        return welcome

    def send(self, method: str, params: Any = UNSET, **frame: Any) -> Answer:
        """Calls, and returns the answer to come."""
        answer = Answer(loop=asyncio.get_running_loop())
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # not everybody waits
        raw = Raw(json.dumps({} if params is UNSET else params).encode())
        self.peer.call(method, raw, answer, **frame)
        self.link.wake()
        return answer

    async def call(self, method: str, params: Any = UNSET, **frame: Any) -> Any:
        async with asyncio.timeout(5):
            return await self.send(method, params, **frame)

    async def goes_on(self) -> bool:
        """Whether the server still answers."""
        try:
            await self.call("rpc.anything")
        except Failed as error:
            return error.code == UnknownEndpoint.code
        return False

    async def ended(self) -> Closed:
        """Waits until both ends are through, and returns how this one was closed."""
        if self.carrying is None:
            self.read()
        assert self.carrying is not None
        async with asyncio.timeout(5):
            closed = await self.carrying
            await self.serving
        return closed

    async def finish(self) -> None:
        """Ends both ends, whatever is in progress."""
        for conversation in self.conversations:
            conversation.end("the test is over")
        await self.transport.close()
        async with asyncio.timeout(5):
            await asyncio.wait({self.serving} | ({self.carrying} if self.carrying else set()))
            await self.sessions.drain(())

    def _handle(self, event: Event) -> None:
        if isinstance(event, Answered):
            if event.context.done():
                return
            if event.error is UNSET:
                event.context.set_result(json.loads(bytes(event.result)))
            else:
                event.context.set_exception(Failed(json.loads(msgspec.json.encode(event.error))))
        else:
            self.events.append(event)

    @property
    def complaints(self) -> list[str]:
        """What the server said that this end did wrong."""
        return [event.reason for event in self.events if isinstance(event, ProtocolViolation)]


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
    try:
        if hello:
            await talk.hello()
        yield talk
    finally:
        await talk.finish()


__all__ = ("IDEMPOTENT", "Answer", "Failed", "Heard", "Talk", "talking", "until")
