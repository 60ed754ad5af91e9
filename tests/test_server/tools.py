"""Named parts for the tests of the server: recorded events, log lines, and a server and its clients without ports."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import discord
import msgspec
import pytest
from msgspec import UNSET, Raw

import equipment.serving
from discord_tools.ipc import ClientSession, Request, Route, Server, ServerLimits, UnknownEndpoint
from discord_tools.ipc.connection import Connection
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import MemoryTransport, memory_pair
from discord_tools.ipc.wire.dialects import BETTER, CONNECT, FAMILY, JSONRPC
from discord_tools.ipc.wire.frames import HELLO
from discord_tools.ipc.wire.handshake import Hello
from discord_tools.ipc.wire.jsonrpc import read_body
from discord_tools.ipc.wire.peer import Peer
from discord_tools.ipc.wire.received import Answered, PeerEvent, ProtocolViolation
from discord_tools.ipc_server.admission import Admission
from discord_tools.ipc_server.browsers import Pages
from discord_tools.ipc_server.budget import Holder, MemoryBudget
from discord_tools.ipc_server.caller import NATIVE, Caller
from discord_tools.ipc_server.connections import Connections, Unauthenticated
from discord_tools.ipc_server.conversation import Conversation
from discord_tools.ipc_server.conversations import Conversations
from discord_tools.ipc_server.dialects.jsonrpc import Exchange
from discord_tools.ipc_server.dialects.service import DIALECTS, DialectService
from discord_tools.ipc_server.dialects.websocket import DialectSocket
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.events import Hub
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.keys import IN_PROCESS, Keys
from discord_tools.ipc_server.routes import RouteTable
from discord_tools.ipc_server.shared import Shared
from discord_tools.ipc_server.turns import TurnBudget
from equipment.key import KEY

#: The routes that the server announces as idempotent.
IDEMPOTENT = ["/twice"]

#: The port that the multicast port names.
PORT = 4711

#: The answer to a first message in no dialect.
NOT_UNDERSTOOD = b'{"not":"understood"}'

#: Words that could pass for another line of the log, with characters that change the colours of a terminal.
FORGED = "x\n2026-01-01 ERROR forged line\r\x1b[31m\x00" * 10

#: What the gate makes of a native client.
CALLER = Caller("secret_key", "192.0.2.1", NATIVE, "conn-1001", credential=IN_PROCESS)


def records_with(caplog: pytest.LogCaptureFixture, words: str) -> list[logging.LogRecord]:
    """The records of the log with these words in their message."""
    return [record for record in caplog.records if words in record.getMessage()]


def assert_bounded_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Fails unless each message in the log is one line of printable characters, and not a long one."""
    assert caplog.messages
    for message in caplog.messages:
        assert message.isprintable(), repr(message[:200])
        assert len(message) < 3000


class RecordedEvents(list[tuple[str, Any]]):
    """The IPC events that a client dispatched, in their order."""

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
    """The answer to come to one call, and the number and the frame of that call."""

    number: int = 0
    frame: bytes = b""


class MemoryServer:
    """All of a server but its ports: native conversations and dialects, with one admission for both."""

    def __init__(self, client: discord.Client, limits: ServerLimits, ready: bool = True) -> None:
        self.table = RouteTable(client)
        self.budget = MemoryBudget(limits.total_bytes, self.holders, lambda: 0)
        self.admission = Admission(limits, self.budget)
        self.turns = TurnBudget(1 << 23)
        #: All conversations that were made, in their order.
        self.made: list[Conversation] = []
        #: All clients that were connected, in their order.
        self.clients: list[NativeClient | DialectClient] = []
        #: Sockets without our subprotocol that have not shown a key.
        self.unauthenticated = Unauthenticated()
        #: How long the event loop was blocked, as far as the server knows.
        self.blocked = 0.0
        dispatcher, gate = Dispatcher(client, self.table), Gate(Keys(KEY), Pages())
        shared = Shared(
            dispatcher,
            Hub(limits),
            self.admission,
            self.budget,
            self.turns,
            gate.incidents,
            lambda seconds: self.blocked >= seconds,
            limits,
        )

        def make(token: str, hello: Hello, caller: Caller) -> Conversation:
            self.made.append(Conversation(token, hello, caller, shared))
            return self.made[-1]

        self.conversations = Conversations(make, gate, limits, lambda: ready, lambda caller: IDEMPOTENT)
        self.service = DialectService(
            gate,
            dispatcher,
            self.admission,
            self.budget,
            self.turns,
            Connections(limits),
            limits,
            frozenset(DIALECTS),
            lambda: PORT,
        )

    def holders(self) -> Iterator[Holder]:
        yield from self.conversations.by_absence()
        yield from self.service.sockets

    def add_route(self, callback: Callable[..., Any], name: str = MISSING) -> Route[Any]:
        route: Route[Any] = callback if isinstance(callback, Route) else Route(callback, name)
        self.table.add(route)
        return route

    def session(self, caller: Caller = CALLER) -> ClientSession:
        """A session that is connected in memory."""
        return ClientSession(
            connector=MemoryConnector(lambda transport: self.conversations.serve(transport, caller))
        )

    def connect(self, caller: Caller = CALLER, *, capacity: int = 16) -> NativeClient:
        """Connects a native client, which has yet to send its hello."""
        near, far = memory_pair(capacity)
        client = NativeClient(self, near, asyncio.create_task(self.conversations.serve(far, caller)))
        self.clients.append(client)
        return client

    def open_socket(
        self, caller: Caller | None = None, *, address: str = CALLER.address, capacity: int = 16
    ) -> DialectClient:
        """Connects a client without our subprotocol; ``caller`` where it showed the key at the handshake."""
        near, far = memory_pair(capacity)
        connection = f"conn-{2001 + len(self.clients)}" if caller is None else caller.connection
        socket = DialectSocket(
            self.service,
            far,
            connection,
            address if caller is None else caller.address,
            caller=caller,
            unauthenticated=self.unauthenticated,
            authenticated=lambda: None,
            speaks=frozenset((JSONRPC, FAMILY, BETTER, CONNECT)),
            otherwise=NOT_UNDERSTOOD,
        )
        client = DialectClient(near, asyncio.create_task(socket.run()))
        self.clients.append(client)
        return client

    def post(self, message: Any, caller: Caller = CALLER) -> asyncio.Future[Any]:
        """Answers the body of a POST, bytes or anything else as JSON, and returns the answer to come."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(answer: bytes | None) -> None:
            answered.set_result(None if answer is None else json.loads(answer))

        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        body = read_body(data, self.service.limits.calls)

        async def start() -> None:
            await self.service.starts.take()
            await Exchange(self.service, caller, None, body, done).start()

        starting = asyncio.create_task(start())
        answered.add_done_callback(lambda _: starting)  # kept until then
        return answered

    async def close(self) -> None:
        """Ends all conversations and connections, whatever is in progress."""
        for conversation in self.made:
            conversation.end("the test is over")
        for client in self.clients:
            await client.close()
        async with asyncio.timeout(5):
            await self.conversations.drain(())
            await self.service.close(())
            await self.service.drain(())


class NativeClient:
    """A client's end of a conversation: the real peer of the client, with nothing around it."""

    def __init__(self, server: MemoryServer, transport: MemoryTransport, serving: asyncio.Task[None]) -> None:
        self.server = server
        self.transport = transport
        self.peer: Peer[Answer] = Peer(calls=0, message_bytes=2**30, retained_bytes=2**30)
        self.connection = Connection(self.peer, transport, self._handle, "test", backlog_bytes=2**30)
        self.peer.outbox.wake = self.connection.wake
        self.events: list[PeerEvent] = []
        #: Serves the other end.
        self.serving = serving
        #: Runs the connection, once this side reads.
        self.carrying: asyncio.Task[Closed] | None = None

    @property
    def conversation(self) -> Conversation:
        """The server's end of the conversation that was made last."""
        return self.server.made[-1]

    def add_route(self, callback: Callable[..., Any]) -> Route[Any]:
        return self.server.add_route(callback)

    # -- frame by frame

    async def send(self, *messages: Any) -> None:
        """Sends messages: bytes as they are, anything else as JSON."""
        for message in messages:
            await self.transport.send(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def receive(self) -> list[dict[str, Any]]:
        """Waits for one message of the server and returns its frames."""
        async with asyncio.timeout(5):
            message = json.loads(await self.transport.receive())
        return message if isinstance(message, list) else [message]

    async def shake_hands(self, **more: Any) -> Any:
        """Sends the hello and returns the welcome."""
        params = {"client": "test", **more}
        await self.send({"jsonrpc": "2.0", "id": "hello", "method": HELLO, "params": params})
        (answer,) = await self.receive()
        assert answer["id"] == "hello"
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    # -- with a peer

    def start_reading(self) -> None:
        self.carrying = asyncio.create_task(self.connection.run())

    async def hello(self, **more: Any) -> Any:
        """Sends the hello, returns the welcome, and starts reading what the server sends."""
        welcome = await self.shake_hands(**more)
        self.start_reading()
        return welcome

    def start_call(self, method: str, params: Any = UNSET, **frame: Any) -> Answer:
        """Calls, and returns the answer to come."""
        answer = Answer(loop=asyncio.get_running_loop())
        # Not every test waits for it.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        raw = Raw(json.dumps({} if params is UNSET else params).encode())
        answer.number, answer.frame = self.peer.call(method, raw, answer, **frame)
        return answer

    async def call(self, method: str, params: Any = UNSET, **frame: Any) -> Any:
        async with asyncio.timeout(5):
            return await self.start_call(method, params, **frame)

    def forget(self, answer: Answer) -> None:
        """Cancels a call as a client does that no longer waits for the answer."""
        self.peer.forget(answer.number, answer.frame)

    async def is_served(self) -> bool:
        """Whether the server still answers."""
        try:
            await self.call("rpc.anything")
        except Failed as error:
            return error.code == UnknownEndpoint.code
        return False

    async def ended(self) -> Closed:
        """Waits until both ends have finished, and returns how this one was closed."""
        if self.carrying is None:
            self.start_reading()
        assert self.carrying is not None
        async with asyncio.timeout(5):
            closed = await self.carrying
            await self.serving
        return closed

    async def close(self) -> None:
        await self.transport.close()
        async with asyncio.timeout(5):
            await asyncio.wait({self.serving} | ({self.carrying} if self.carrying else set()))

    def _handle(self, event: PeerEvent) -> None:
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
    def violations(self) -> list[str]:
        """What the server reported as a violation of this end."""
        return [event.reason for event in self.events if isinstance(event, ProtocolViolation)]


class DialectClient:
    """A client without our subprotocol: it sends and receives messages."""

    def __init__(self, transport: MemoryTransport, serving: asyncio.Task[None]) -> None:
        self.transport = transport
        #: Serves the other end.
        self.serving = serving

    async def send(self, *messages: Any) -> None:
        """Sends messages: bytes as they are, anything else as JSON."""
        for message in messages:
            await self.transport.send(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def receive(self) -> Any:
        """Waits for one message and decodes it."""
        async with asyncio.timeout(5):
            return json.loads(await self.transport.receive())

    async def ask(self, message: Any) -> Any:
        """Sends one message, and returns the next one that is received."""
        await self.send(message)
        return await self.receive()

    async def ended(self) -> Closed:
        """Waits until both ends have finished, and returns how this one was closed."""
        async with asyncio.timeout(5):
            await self.serving
            while True:
                try:
                    await self.transport.receive()
                except Closed as closed:
                    return closed

    async def close(self) -> None:
        await self.transport.close()
        async with asyncio.timeout(5):
            await asyncio.wait((self.serving,))


# -- what the clients of each dialect send


def jsonrpc(method: str, params: Any = UNSET, number: Any = 1, **more: Any) -> dict[str, Any]:
    """A request of JSON-RPC."""
    request = {"jsonrpc": "2.0", "id": number, "method": method, **more}
    return request if params is UNSET else {**request, "params": params}


def family(endpoint: Any, data: Any = None, key: Any = KEY) -> dict[str, Any]:
    """A request of discord-ext-ipc."""
    return {"endpoint": endpoint, "data": data or {}, "headers": {"Authorization": key}}


def better(endpoint: Any, kwargs: Any = None, key: Any = KEY) -> dict[str, Any]:
    """A request of better-ipc."""
    return {"endpoint": endpoint, "secret": key, "kwargs": kwargs or {}}


# -- servers and clients for one test


@asynccontextmanager
async def memory_server(
    client: discord.Client,
    limits: ServerLimits = ServerLimits(),  # noqa: B008
    *,
    ready: bool = True,
) -> AsyncIterator[MemoryServer]:
    """A server without clients."""
    server = MemoryServer(client, limits, ready)
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def native_client(
    client: discord.Client,
    limits: ServerLimits = ServerLimits(),  # noqa: B008
    *,
    ready: bool = True,
    hello: bool = True,
    capacity: int = 16,
) -> AsyncIterator[NativeClient]:
    """A conversation over a pair of memory transports; past the hello, unless ``hello`` is false."""
    async with memory_server(client, limits, ready=ready) as server:
        native = server.connect(capacity=capacity)
        if hello:
            await native.hello()
        yield native


@asynccontextmanager
async def serving(client: discord.Client, **options: Any) -> AsyncIterator[Server[Any]]:
    """A server on free ports, with the key :data:`KEY` unless another one is given, and a route ``echo``."""
    server = equipment.serving.serving(client, **{"host": "127.0.0.1", "multicast_port": 0, **options})

    @server.route()
    async def echo(request: Request) -> dict[str, Any]:
        return dict(request)

    async with server:
        yield server


def http_url(server: Server[Any], path: str = "/") -> str:
    """The URL of the main port for plain HTTP."""
    return server.ws_url.replace("ws:", "http:") + path


def caller(**changes: Any) -> Caller:
    """A native client that differs from :data:`CALLER` in some fields."""
    return replace(CALLER, **changes)


__all__ = (
    "CALLER",
    "FORGED",
    "IDEMPOTENT",
    "NOT_UNDERSTOOD",
    "PORT",
    "Answer",
    "DialectClient",
    "Failed",
    "MemoryServer",
    "NativeClient",
    "RecordedEvents",
    "assert_bounded_lines",
    "better",
    "caller",
    "family",
    "http_url",
    "jsonrpc",
    "memory_server",
    "native_client",
    "records_with",
    "serving",
)
