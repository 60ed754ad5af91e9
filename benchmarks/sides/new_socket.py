"""A new WebSocket for each call, as the older libraries for this have it, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import aiohttp
from aiohttp import web

from benchmarks.sides.base import Caller, Heard, answer
from benchmarks.sides.http_post import served
from benchmarks.world import KEY

__all__ = ("NewSocket",)


async def _socket(request: web.Request) -> web.WebSocketResponse:
    if request.headers.get("Authorization") != KEY:
        raise web.HTTPUnauthorized
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        call = message.json()
        await socket.send_json(await answer(call["endpoint"], call["data"]))
        break
    return socket


class _Caller:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, route: str, data: dict[str, Any], /) -> Any:
        async with self._session.ws_connect(self._url) as socket:
            await socket.send_json({"endpoint": route, "data": data})
            return await socket.receive_json()

    async def subscribe(self, heard: Heard, /) -> None:
        raise NotImplementedError


class NewSocket:
    title: ClassVar[str] = "new WebSocket per request"
    note: ClassVar[str] = "aiohttp on both sides, a WebSocket opened and closed for each call, nothing else"
    loop: ClassVar[str] = "asyncio"
    pushes: ClassVar[bool] = False

    @asynccontextmanager
    async def serve(self, discord_port: int) -> AsyncGenerator[str]:
        app = web.Application()
        app.router.add_get("/", _socket)
        async with served(app) as port:
            yield port

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncGenerator[Caller]:
        async with aiohttp.ClientSession(headers={"Authorization": KEY}) as session:
            yield _Caller(session, f"ws://127.0.0.1:{address}/")
