"""Routes for the tests in this folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from discord_tools.ipc import Request, Server


class Routes:
    """Adds routes to servers, and records their runs."""

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
