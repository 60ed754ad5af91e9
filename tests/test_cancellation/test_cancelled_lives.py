"""Starting and ending a session or a server may be cancelled anywhere, and can then be done again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, IPCError, SessionClosed, Stream
from equipment.until import until
from test_cancellation.moments import HOW, How, moments
from test_cancellation.world import World, connected


class Busy:
    """A request, a stream and a subscription in progress."""

    def __init__(self, world: World, session: ClientSession) -> None:
        self.request = asyncio.create_task(session.request("hold"))
        self.stream: Stream[int] = session.stream("count", n=1_000_000)
        self.events = session.subscribe("tick")
        self._world = world

    async def begin(self) -> None:
        await anext(self.stream)
        await self.events.__aenter__()
        await until(lambda: self._world.running == 1)

    async def errors(self) -> list[type[BaseException]]:
        """What each of them ends with."""
        ends = await asyncio.gather(
            self.request, self._rest(self.stream), self._rest(self.events), return_exceptions=True
        )
        return [type(end) for end in ends if isinstance(end, BaseException)]

    async def _rest(self, items: Stream[Any]) -> None:
        async for _ in items:
            pass


@pytest.mark.parametrize("how", HOW)
async def test_starting_a_session(bot: commands.Bot, how: How) -> None:
    async with connected(bot) as world:
        await world.session.close()
        await world.rest()

        async for moment in moments(lambda: world.session.start(), how, world.renew_session):
            assert await world.session.request("echo", value=moment) == moment
            await world.session.close()
            await world.at_rest()


@pytest.mark.parametrize("how", HOW)
async def test_entering_a_session(bot: commands.Bot, how: How) -> None:
    async with connected(bot) as world:
        await world.session.close()
        await world.rest()

        async def within() -> None:
            async with world.session as session:
                await session.request("wait", value=1)

        async for _ in moments(within, how, world.renew_session):
            if not world.session.is_closed():  # it was cancelled before its first step
                await world.session.close()
            await world.at_rest()


@pytest.mark.parametrize("how", HOW)
async def test_closing_a_session(bot: commands.Bot, how: How) -> None:
    async with connected(bot) as world:
        await world.session.close()
        await world.rest()
        busy: list[Busy] = []

        async def prepare() -> None:
            await world.renew_session()
            busy.append(Busy(world, world.session))
            await busy[-1].begin()

        async for _ in moments(lambda: world.session.close(), how, prepare):
            await world.session.close()
            assert await busy.pop().errors() == [SessionClosed] * 3
            with pytest.raises(SessionClosed):
                await world.session.request("echo", value=1)
            await world.at_rest()


@pytest.mark.parametrize("how", HOW)
async def test_starting_a_server(bot: commands.Bot, how: How) -> None:
    async with connected(bot) as world:
        await world.session.close()
        await world.server.terminate_server()
        await world.rest()

        async for moment in moments(world.server.start, how):
            await world.server.start()
            await world.renew_session()
            assert await world.session.request("echo", value=moment) == moment
            await world.session.close()
            await world.server.terminate_server()
            await world.at_rest()


@pytest.mark.parametrize("how", HOW)
async def test_terminating_a_server(bot: commands.Bot, how: How) -> None:
    async with connected(bot) as world:
        await world.session.close()
        await world.server.terminate_server()
        await world.rest()
        busy: list[Busy] = []

        async def prepare() -> None:
            await world.server.start()
            await world.renew_session()
            busy.append(Busy(world, world.session))
            await busy[-1].begin()

        async for moment in moments(world.server.terminate_server, how, prepare):
            await world.server.terminate_server()  # nothing, unless it was cancelled before its first step
            assert not world.server.is_running()
            assert not world.running + world.streaming
            await world.server.start()
            assert await world.session.request("echo", value=moment) == moment
            one = busy.pop()
            await one.events.aclose()
            assert all(issubclass(error, IPCError) for error in await one.errors())
            await world.session.close()
            await world.server.terminate_server()
            await world.at_rest()
