"""grpc.aio with generic handlers: its transport and streams, and the JSON that all sides use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import grpc
import msgspec
from grpc import aio

from benchmarks.sides.base import Caller, Heard, answer
from benchmarks.world import KEY

__all__ = ("GrpcAio",)

_untyped: Any = aio  # the types that come with it lack EOF
_SERVICE = "benchmarks.Bot"
_encode, _decode = msgspec.json.encode, msgspec.json.decode


class _Bot:
    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[dict[str, Any]]] = set()

    async def publish(self, data: dict[str, Any]) -> None:
        for queue in self._queues:
            queue.put_nowait(data)

    async def events(self, request: Any, context: Any) -> AsyncIterator[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield {}  # the client waits for it: from now on it misses nothing
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)

    def handlers(self) -> Any:
        def unary(route: str) -> Any:
            async def handle(request: dict[str, Any], context: Any) -> Any:
                if dict(context.invocation_metadata()).get("authorization") != KEY:
                    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong key")
                return await answer(route, request, self.publish)

            return grpc.unary_unary_rpc_method_handler(handle, _decode, _encode)

        routes = ("stats", "members", "everybody", "nap", "burst")
        stream = grpc.unary_stream_rpc_method_handler(self.events, _decode, _encode)
        return grpc.method_handlers_generic_handler(
            _SERVICE, {**{route: unary(route) for route in routes}, "events": stream}
        )


class _Caller:
    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel
        self._methods: dict[str, Any] = {}
        self._metadata = (("authorization", KEY),)
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, route: str, data: dict[str, Any], /) -> Any:
        method = self._methods.get(route)
        if method is None:
            method = self._methods[route] = self._channel.unary_unary(
                f"/{_SERVICE}/{route}", request_serializer=_encode, response_deserializer=_decode
            )
        return method(data, metadata=self._metadata)

    async def subscribe(self, heard: Heard, /) -> None:
        method: Any = self._channel.unary_stream(
            f"/{_SERVICE}/events", request_serializer=_encode, response_deserializer=_decode
        )
        stream = method({}, metadata=self._metadata)
        await stream.read()

        async def listen() -> None:
            # Not `async for`: the library refuses a stream that was read in the other way before.
            while (data := await stream.read()) is not _untyped.EOF:
                heard(data)

        self._tasks.add(asyncio.create_task(listen()))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class GrpcAio:
    title: ClassVar[str] = "grpc.aio"
    note: ClassVar[str] = (
        "generic handlers, JSON (msgspec) as the message format, one channel, key in the metadata"
    )
    loop: ClassVar[str] = "asyncio"
    pushes: ClassVar[bool] = True

    @asynccontextmanager
    async def serve(self, discord_port: int) -> AsyncGenerator[str]:
        server = aio.server()
        server.add_generic_rpc_handlers((_Bot().handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield str(port)
        finally:
            await server.stop(0.2)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncGenerator[Caller]:
        # Channels to the same address share a connection unless they differ in an option or are told not to.
        options = (("grpc.use_local_subchannel_pool", 1),)
        async with aio.insecure_channel(f"127.0.0.1:{address}", options=options) as channel:
            await channel.channel_ready()
            caller = _Caller(channel)
            try:
                yield caller
            finally:
                await caller.leave()
