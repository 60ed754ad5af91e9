"""aiohttp: one POST with JSON for each call, over connections that are kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import aiohttp
from aiohttp import web

from benchmarks.sides.base import Caller, Heard, answer
from benchmarks.world import KEY

__all__ = ("HttpPost", "served")


@asynccontextmanager
async def served(app: web.Application) -> AsyncGenerator[str]:
    """Serves an application on a free port and gives the port."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _post(request: web.Request) -> web.Response:
    if request.headers.get("Authorization") != KEY:
        raise web.HTTPUnauthorized
    return web.json_response(await answer(request.match_info["route"], await request.json()))


class _Caller:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, route: str, data: dict[str, Any], /) -> Any:
        async with self._session.post(self._url + route, json=data) as response:
            return await response.json()

    async def subscribe(self, heard: Heard, /) -> None:
        raise NotImplementedError


class HttpPost:
    title: ClassVar[str] = "aiohttp, POST"
    note: ClassVar[str] = "JSON in the body, kept-alive connections, at most 100 (aiohttp's default)"
    loop: ClassVar[str] = "asyncio"
    pushes: ClassVar[bool] = False

    @asynccontextmanager
    async def serve(self, discord_port: int) -> AsyncGenerator[str]:
        app = web.Application()
        app.router.add_post("/{route}", _post)
        async with served(app) as port:
            yield port

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncGenerator[Caller]:
        async with aiohttp.ClientSession(headers={"Authorization": KEY}) as session:
            yield _Caller(session, f"http://127.0.0.1:{address}/")
