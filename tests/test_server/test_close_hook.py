"""A server ends together with its client, whatever kind of client that is."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, Request, Server, route
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc_server.close_hook import CloseHook
from equipment.ports import is_free
from equipment.serving import serving
from equipment.until import until
from loopback import TOKEN, LoopbackDiscord
from loopback.bots import make_bot, running_bot

CLIENTS: list[type[discord.Client]] = [
    discord.Client,
    discord.AutoShardedClient,
    commands.Bot,
    commands.AutoShardedBot,
]
every_client = pytest.mark.parametrize("cls", CLIENTS)


def make(cls: type[discord.Client]) -> discord.Client:
    options = {"command_prefix": "!"} if issubclass(cls, commands.bot.BotBase) else {}
    return cls(intents=discord.Intents.none(), **options)


def serve(client: discord.Client, **options: Any) -> Server[Any]:
    return serving(client, host="127.0.0.1", multicast_port=0, secret_key=MISSING, **options)


@every_client
async def test_closing_the_client_ends_the_server(cls: type[discord.Client]) -> None:
    async with make(cls) as client:
        server = serve(client)
        await server.start()
        ports = server.port, server.multicast_port
        assert not any(map(is_free, ports))
        await client.close()
        assert not server.is_running()
        assert all(map(is_free, ports))


@every_client
async def test_leaving_the_client_ends_the_server(cls: type[discord.Client]) -> None:
    async with make(cls) as client:
        server = serve(client)
        await server.start()
    assert client.is_closed()
    assert not server.is_running()


@every_client
async def test_a_client_outlives_its_server(cls: type[discord.Client]) -> None:
    async with make(cls) as client:
        async with serve(client):
            pass
        assert not client.is_closed()
    assert client.is_closed()


@every_client
async def test_a_setup_hook_that_fails_leaves_no_server(cls: type[discord.Client]) -> None:
    servers: list[Server[Any]] = []

    async def setup_hook() -> None:
        servers.append(serve(client))
        await servers[0].start()
        servers.append(serve(client, port=servers[0].port, multicast=False))
        await servers[1].start()

    async with LoopbackDiscord() as discord_:
        client = make_bot(discord_, cls)
        client.setup_hook = setup_hook
        with pytest.raises(OSError, match="cannot listen"):
            async with client:
                await client.login(TOKEN)
        assert not any(server.is_running() for server in servers)
        assert is_free(servers[1].port)


@every_client
async def test_a_real_client_serves_until_it_is_closed(cls: type[discord.Client]) -> None:
    async def setup(client: discord.Client) -> None:
        await server_of(client).start()

    def server_of(client: discord.Client) -> Server[Any]:
        return servers.setdefault(client, serve(client))

    servers: dict[discord.Client, Server[Any]] = {}
    async with LoopbackDiscord(guilds=1) as discord_:
        async with running_bot(discord_, cls=cls, setup=setup) as client:
            assert server_of(client).is_running()
        assert not server_of(client).is_running()


@every_client
async def test_two_servers_of_one_client_both_end_with_it(cls: type[discord.Client]) -> None:
    async with make(cls) as client:
        one, two = serve(client), serve(client)
        await one.start()
        await two.start()
    assert not one.is_running()
    assert not two.is_running()


@every_client
@pytest.mark.parametrize("first", [0, 1])
async def test_ending_one_of_two_servers_keeps_the_hook_of_the_other(
    cls: type[discord.Client], first: int
) -> None:
    async with make(cls) as client:
        servers = serve(client), serve(client)
        for server in servers:
            await server.start()
        await servers[first].terminate_server()
        assert servers[1 - first].is_running()
    assert client.is_closed()
    assert not servers[1 - first].is_running()


@every_client
async def test_a_client_has_its_own_close_back_after_the_end_of_the_server(cls: type[discord.Client]) -> None:
    async with make(cls) as client:
        async with serve(client):
            assert "close" in vars(client)
        assert "close" not in vars(client)


@every_client
async def test_a_close_of_the_users_own_stays_and_is_called_once(
    cls: type[discord.Client],
) -> None:
    called: list[str] = []
    async with make(cls) as client:
        original = client.close

        async def own() -> None:
            called.append("own")
            await original()

        client.close = own
        async with serve(client):
            assert client.close is not own
        assert client.close is own
        await serve(client).start()
    assert called == ["own"]


@every_client
async def test_the_client_is_closed_even_if_the_end_of_the_server_fails(cls: type[discord.Client]) -> None:
    async def end() -> None:
        raise RuntimeError("the end failed")

    async with make(cls) as client:
        hook = CloseHook(client, end)
        hook.install()
        with pytest.raises(RuntimeError, match="the end failed"):
            await client.close()
        assert client.is_closed()
        hook.remove()


@every_client
async def test_a_hook_that_was_never_installed_can_be_removed(cls: type[discord.Client]) -> None:
    async def end() -> None:
        raise AssertionError("must not be called")

    async with make(cls) as client:
        CloseHook(client, end).remove()


class Slow(commands.Cog):
    """Works with something until it is taken away."""

    def __init__(self) -> None:
        self.started, self.go = asyncio.Event(), asyncio.Event()
        self.has_it = True

    async def cog_unload(self) -> None:
        self.has_it = False

    @route()
    async def work(self, request: Request) -> bool:
        self.started.set()
        await self.go.wait()
        return self.has_it


async def test_a_call_in_progress_keeps_its_cog_until_it_is_answered(bot: commands.Bot) -> None:
    cog = Slow()
    await bot.add_cog(cog)
    async with serve(bot) as server, ClientSession("127.0.0.1", server.port) as session:
        request = asyncio.create_task(session.request("work"))
        await cog.started.wait()
        closing = asyncio.create_task(bot.close())
        await until(lambda: not server.is_running())
        cog.go.set()
        assert await request is True
        await closing
    assert not cog.has_it


async def test_a_server_adds_no_cog_to_its_bot(bot: commands.Bot) -> None:
    async with serve(bot):
        assert dict(bot.cogs) == {}
