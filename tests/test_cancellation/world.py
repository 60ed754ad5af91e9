"""A server and a session in one process, and a look at what they hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from discord.ext import commands

from discord_tools.ipc import ClientLimits, ClientSession, Request
from discord_tools.ipc.connectors.memory import MemoryConnector
from equipment.serving import serving
from equipment.until import until

#: Times that a test can wait for.
QUICK = ClientLimits(backoff_initial=0.001, backoff_max=0.01, stream_items=8)


class World:
    """A server with a few routes, a session that is joined with it in memory, and the tasks of both at rest."""

    def __init__(self, bot: commands.Bot, *, calls: int = 4) -> None:
        self.server = serving(bot, calls=calls, grace_period=0.05)
        for route in (self.echo, self.wait, self.hold, self.count):
            self.server.add_route(route)
        self.session = self.new_session()
        #: Handlers that have begun and not ended.
        self.running = 0
        #: Generators that have begun and not ended.
        self.streaming = 0
        self.resting: set[asyncio.Task[Any]] = set()

    def new_session(self) -> ClientSession:
        return ClientSession(connector=MemoryConnector(self.server.serve), limits=QUICK, timeout=5.0)

    async def renew_session(self) -> None:
        """Goes on with a new session, which has not connected."""
        self.session = self.new_session()

    async def echo(self, request: Request, value: Any) -> Any:
        """Answers at once."""
        return value

    async def wait(self, request: Request, value: Any) -> Any:
        """Answers after some turns of the loop."""
        self.running += 1
        try:
            for _ in range(5):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        return value

    async def hold(self, request: Request) -> None:
        """Never answers."""
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1

    async def count(self, request: Request, n: int) -> AsyncGenerator[int, None]:
        """The numbers up to n."""
        self.streaming += 1
        try:
            for number in range(n):
                yield number
                await asyncio.sleep(0)
        finally:
            self.streaming -= 1

    async def rest(self) -> None:
        """Takes note of the tasks that run while nothing happens."""
        await self.settled()
        await until(lambda: not any(task.get_name() == "ipc sender" for task in asyncio.all_tasks()))
        self.resting = asyncio.all_tasks()

    async def settled(self) -> None:
        """Returns when neither side holds a call any more."""
        try:
            await until(lambda: not self.held(), 3)
        except TimeoutError:
            raise AssertionError(f"still held: {', '.join(self.held())}") from None

    async def at_rest(self) -> None:
        """Returns when nothing runs that did not run before."""
        await self.settled()
        try:
            await until(lambda: not asyncio.all_tasks() - self.resting - {asyncio.current_task()}, 3)
        except TimeoutError:
            left = asyncio.all_tasks() - self.resting - {asyncio.current_task()}
            raise AssertionError(f"tasks are left: {left}") from None

    def held(self) -> list[str]:
        """What either side holds of any call."""
        held = {"handlers": self.running, "generators": self.streaming}
        for conversation in self.server._conversations._all.values():  # pyright: ignore[reportPrivateUsage]
            held |= _held_by_server(conversation)
        client = self.session._supervisor._conversation  # pyright: ignore[reportPrivateUsage]
        if client is not None and not self.session.is_closed():
            held |= _held_by_client(client)
        return [f"{what}: {content}" for what, content in held.items() if content]


def _held_by_server(conversation: Any) -> dict[str, Any]:
    return {
        "calls at the bot": conversation._calls,
        "calls by their ids": conversation._by_id,
        "counted calls": conversation.account.calls,
        "counted bytes": conversation.account.size,
        "unanswered calls": conversation._peer._open,
        "items that wait": conversation._peer.outbox.items,
        "deadlines at the bot": (*conversation._deadlines._queue, *conversation._deadlines._own),
    }


def _held_by_client(conversation: Any) -> dict[str, Any]:
    window = conversation._window
    return {
        "calls at the client": conversation._peer._waiting,
        "answers that are to be ignored": conversation._peer._forgotten,
        "taken places": window._size - window._free,
        "requests without a place": window._queue,
        "refused calls": conversation._refused,
        "deadlines at the client": (*conversation._deadlines._queue, *conversation._deadlines._own),
    }


@asynccontextmanager
async def connected(bot: commands.Bot, *, calls: int = 4) -> AsyncIterator[World]:
    """A world whose server runs and whose session is connected."""
    world = World(bot, calls=calls)
    async with world.server, world.session:
        await world.rest()
        yield world
