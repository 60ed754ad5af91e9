"""Several bots and several servers in one process."""

from __future__ import annotations

import asyncio

import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, Request, Server, UnknownEndpoint, route
from equipment.key import KEY
from equipment.serving import connecting, serving
from equipment.until import until
from loopback import LoopbackDiscord
from loopback.bots import running_bot


async def test_two_bots_in_one_process_have_a_server_each(loopback_discord: LoopbackDiscord) -> None:
    async with running_bot(loopback_discord) as one, running_bot(loopback_discord) as two:
        servers = [Server(bot, port=0, multicast_port=0, secret_key=KEY) for bot in (one, two)]
        for number, server in enumerate(servers):

            @server.route()
            async def which(request: Request, number: int = number) -> int:
                return number

            await server.start()
        async with (
            ClientSession(multicast_port=servers[0].multicast_port, secret_key=KEY) as first,
            ClientSession(multicast_port=servers[1].multicast_port, secret_key=KEY) as second,
        ):
            asked = [session.request("which") for _ in range(100) for session in (first, second)]
            assert await asyncio.gather(*asked) == [0, 1] * 100
            await one.close()
            assert not servers[0].is_running()
            assert await second.request("which") == 1


async def test_two_servers_of_one_bot_have_routes_of_their_own(loopback_bot: commands.Bot) -> None:
    public = Server(loopback_bot, port=0, secret_key=KEY, multicast=False)
    private = Server(loopback_bot, port=0, secret_key="another key", multicast=False)

    @public.route()
    async def hello(request: Request) -> str:
        return "world"

    @private.route()
    async def secret(request: Request) -> int:
        return 42

    async with (
        public,
        private,
        ClientSession(port=public.port, secret_key=KEY) as guest,
        ClientSession(port=private.port, secret_key="another key") as owner,
    ):
        assert await guest.request("hello") == "world"
        assert await owner.request("secret") == 42
        with pytest.raises(UnknownEndpoint):
            await guest.request("secret")
        await private.terminate_server()
        assert await guest.request("hello") == "world"
        assert public.is_running()


async def test_closing_the_bot_ends_all_of_its_servers(loopback_discord: LoopbackDiscord) -> None:
    async with running_bot(loopback_discord) as bot:
        servers = [Server(bot, port=0, secret_key=KEY, multicast=False) for _ in range(3)]
        for server in servers:
            await server.start()
        async with ClientSession(port=servers[0].port, secret_key=KEY) as session:
            await bot.close()
            assert [server.is_running() for server in servers] == [False] * 3
            await until(lambda: not session.is_connected())


class Counter(commands.Cog):
    """A cog that several bots load."""

    def __init__(self, number: int) -> None:
        self.number = number

    @route()
    async def count(self, request: Request) -> int:
        return self.number


async def test_a_cog_of_two_bots_and_their_events_do_not_mix(loopback_discord: LoopbackDiscord) -> None:
    async with (
        running_bot(loopback_discord) as one,
        running_bot(loopback_discord) as two,
        serving(one, multicast_port=0) as first,
        serving(two, multicast_port=0) as second,
        connecting(multicast_port=first.multicast_port) as asking_first,
        connecting(multicast_port=second.multicast_port) as asking_second,
    ):
        await one.add_cog(Counter(1))
        await two.add_cog(Counter(2))
        for _ in range(2):
            assert await asking_first.request("count") == 1
            assert await asking_second.request("count") == 2
        async with asking_first.subscribe("order") as here, asking_second.subscribe("order") as there:
            await first.publish("order", 1)
            await second.publish("order", 2)
            assert [(await anext(aiter(events))).data for events in (here, there)] == [1, 2]
        await one.remove_cog("Counter")
        with pytest.raises(UnknownEndpoint):
            await asking_first.request("count")
        assert await asking_second.request("count") == 2
        await one.close()
        assert not first.is_running()
        assert await asking_second.request("count") == 2
