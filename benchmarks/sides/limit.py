"""What the machine allows: length-prefixed JSON over TCP, all that one turn of the loop has in one write.

It has no key, no handshake, no deadlines, no errors, no limits and no tasks, and survives nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
from msgspec import Raw, Struct

from benchmarks.sides.base import Caller, Heard
from benchmarks.world import NAP_SECONDS, ROUTES, event

__all__ = ("Limit",)

HEAD = 4


class _Call(Struct, gc=False):
    id: int
    method: str
    params: Raw


class _Reply(Struct, gc=False):
    """An answer, or an event where ``id`` is 0."""

    id: int
    result: Any


_encode = msgspec.json.Encoder().encode
_calls = msgspec.json.Decoder(list[_Call])
_replies = msgspec.json.Decoder(list[_Reply])


class _Link(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._out: list[Any] = []
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= HEAD:
            body = at + HEAD
            after = body + int.from_bytes(data[at:body])
            if after > end:
                break
            self.received(data[body:after])
            at = after
        self._rest = data[at:]

    def send(self, frame: Any) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        body = _encode(self._out)
        self._out.clear()
        if self._transport is not None:
            self._transport.write(len(body).to_bytes(HEAD) + body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set_result(None)

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            await self._closed

    def received(self, body: bytes) -> None:
        raise NotImplementedError


class _Bot(_Link):
    def __init__(self, all_: set[_Bot], listeners: set[_Bot]) -> None:
        super().__init__()
        self._all = all_
        self._listeners = listeners
        all_.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.discard(self)
        self._listeners.discard(self)

    def received(self, body: bytes) -> None:
        for call in _calls.decode(body):
            data = msgspec.json.decode(call.params)
            if call.method == "nap":
                self._loop.call_later(NAP_SECONDS, self.send, _Reply(call.id, None))
            elif call.method == "burst":
                self._burst(data["n"])
                self.send(_Reply(call.id, None))
            elif call.method == "listen":
                self._listeners.add(self)
                self.send(_Reply(call.id, None))
            else:
                self.send(_Reply(call.id, ROUTES[call.method](**data)))

    def _burst(self, n: int) -> None:
        for _ in range(n):
            # Written once, however many listen.
            data = Raw(_encode(event()))
            for one in self._listeners:
                one.send(_Reply(0, data))


class _Client(_Link):
    def __init__(self) -> None:
        super().__init__()
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._heard: Heard | None = None

    def received(self, body: bytes) -> None:
        for reply in _replies.decode(body):
            if reply.id:
                self._waiting.pop(reply.id).set_result(reply.result)
            elif self._heard is not None:
                self._heard(reply.result)

    def call(self, route: str, data: dict[str, Any], /) -> asyncio.Future[Any]:
        self._last = number = self._last + 1
        self._waiting[number] = future = self._loop.create_future()
        self.send(_Call(number, route, Raw(_encode(data))))
        return future

    async def subscribe(self, heard: Heard, /) -> None:
        self._heard = heard
        await self.call("listen", {})


class Limit:
    title: ClassVar[str] = "limit"
    note: ClassVar[str] = (
        "a bare asyncio protocol: length-prefixed JSON (msgspec), one write for each turn of the loop, no features"
    )
    loop: ClassVar[str] = "asyncio"
    pushes: ClassVar[bool] = True

    @asynccontextmanager
    async def serve(self, discord_port: int) -> AsyncGenerator[str]:
        all_: set[_Bot] = set()
        listeners: set[_Bot] = set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Bot(all_, listeners), "127.0.0.1", 0, backlog=1024)
        async with server:
            yield str(server.sockets[0].getsockname()[1])
            # From Python 3.12 on, leaving this waits for all of them.
            for bot in tuple(all_):
                await bot.close()

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncGenerator[Caller]:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(_Client, "127.0.0.1", int(address))
        try:
            yield client  # pyright: ignore[reportReturnType] (a future can be awaited as well as a coroutine)
        finally:
            await client.close()
