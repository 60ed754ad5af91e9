"""discord_tools.ipc: a real server on a real bot, with a key, typed routes and events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from benchmarks.sides.base import Caller, Heard
from benchmarks.world import KEY, NAP_SECONDS, ROUTES, event
from discord_tools.ipc import ClientSession

__all__ = ("OnUvloop", "Ours", "Unbatched")


class _Caller:
    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, route: str, data: dict[str, Any], /) -> Any:
        return self._session.request(route, **data)

    async def subscribe(self, heard: Heard, /) -> None:
        subscription = self._session.subscribe("member_join")
        await subscription.__aenter__()

        async def listen() -> None:
            try:
                async for one in subscription:
                    heard(one.data)  # a gap has none, and would end the measurement
            finally:
                await subscription.aclose()

        self._tasks.add(asyncio.create_task(listen()))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Ours:
    title: ClassVar[str] = "discord_tools.ipc"
    note: ClassVar[str] = (
        "`Server` on a discord.py bot, secret key, routes with typed parameters; nobody listens to its events"
    )
    loop: ClassVar[str] = "asyncio"
    pushes: ClassVar[bool] = True

    @asynccontextmanager
    async def serve(self, discord_port: int) -> AsyncGenerator[str]:
        # Here, so that the caller's process has no discord.py, as a dashboard.
        from discord.ext import commands

        from discord_tools.ipc import Request, Server, route
        from loopback.bots import running_bot

        class Guilds(commands.Cog):
            @route()
            async def stats(self, request: Request, guild: int, top: int = 10) -> Any:
                return ROUTES["stats"](guild, top)

            @route()
            async def members(self, request: Request) -> Any:
                return ROUTES["members"]()

            @route()
            async def everybody(self, request: Request) -> Any:
                return ROUTES["everybody"]()

            @route()
            async def nap(self, request: Request) -> None:
                await asyncio.sleep(NAP_SECONDS)

            @route()
            async def burst(self, request: Request, n: int) -> None:
                for _ in range(n):
                    await servers[0].publish("member_join", event())

        servers: list[Server[commands.Bot]] = []

        async def setup(bot: commands.Bot) -> None:
            await bot.add_cog(Guilds())
            server = Server(bot, "127.0.0.1", 0, KEY, multicast=False)
            servers.append(server)
            await server.start()

        async with running_bot(discord_port, setup=setup):
            yield str(servers[0].port)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncGenerator[Caller]:
        async with ClientSession("127.0.0.1", int(address), secret_key=KEY) as session:
            await session.wait_until_ready()
            caller = _Caller(session)
            try:
                yield caller
            finally:
                await caller.leave()


class Unbatched(Ours):
    """Each frame travels alone. Nobody can ask for that, so it is done from within."""

    title: ClassVar[str] = "discord_tools.ipc, unbatched"
    note: ClassVar[str] = "the same with each frame in a message of its own, to show what packing them brings"

    def __init__(self) -> None:
        from discord_tools.ipc.wire import outbox

        setattr(outbox, "PACK_BYTES", 1)  # noqa: B010 (it is Final)
        _check_that_frames_travel_alone()


class OnUvloop(Ours):
    title: ClassVar[str] = "discord_tools.ipc on uvloop"
    note: ClassVar[str] = "the same with uvloop in both processes"
    loop: ClassVar[str] = "uvloop"

    def __init__(self) -> None:
        import uvloop  # noqa: F401  # pyright: ignore[reportUnusedImport] (absent, this side is left out)


class _Context:
    number = 0
    frame = b""


def _check_that_frames_travel_alone() -> None:
    from msgspec import Raw

    from discord_tools.ipc.wire.peer import Peer

    peer = Peer(calls=2, message_bytes=1024, retained_bytes=1024)
    for _ in range(2):
        peer.call("x", Raw(b"{}"), _Context())
    if len(peer.take_messages()) != 2:
        raise RuntimeError("the way to send each frame alone has changed; this side has to follow")
