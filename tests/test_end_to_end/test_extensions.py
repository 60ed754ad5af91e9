"""Extensions that add routes in ``setup``, with jishaku loaded, and a plain client with a tree of commands."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from discord_tools.ipc import Request, Server, route
from equipment.serving import connecting, serving
from loopback import LoopbackDiscord
from loopback.bots import running_bot

SOURCE = """
async def setup(bot):
    @bot.ipc.route()
    async def version(request):
        return {version}
    {more}
"""


class BotWithServer(commands.Bot):
    """A bot whose extensions add functions to its server."""

    ipc: Server[Any]


@pytest.mark.parametrize("jishaku", [False, True], ids=["alone", "with jishaku"])
async def test_routes_that_setup_adds_are_replaced_and_kept_by_a_reload_that_fails(
    loopback_discord: LoopbackDiscord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jishaku: bool
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "an_extension_with_routes.py"

    def write(version: int, more: str = "") -> None:
        path.write_text(SOURCE.format(version=version, more=more))
        importlib.invalidate_caches()

    async with running_bot(loopback_discord, cls=BotWithServer) as bot:
        if jishaku:
            await bot.load_extension("jishaku")
        async with serving(bot) as server, connecting(server.port) as session:
            bot.ipc = server
            write(1)
            await bot.load_extension(path.stem)
            assert await session.request("version") == 1
            write(2)
            await bot.reload_extension(path.stem)
            assert await session.request("version") == 2
            write(3, "raise RuntimeError('half-way')")
            with pytest.raises(commands.ExtensionFailed, match="half-way"):
                await bot.reload_extension(path.stem)
            assert await session.request("version") == 2
            write(4)
            await bot.reload_extension(path.stem)
            assert await session.request("version") == 4
            assert ("Jishaku" in bot.cogs) is jishaku
    sys.modules.pop(path.stem, None)


class ClientWithTree(discord.Client):
    """A client without cogs, with commands and a route of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tree = app_commands.CommandTree(self)

    @route()
    async def names(self, request: Request, guild: discord.Guild) -> list[str]:
        return [guild.name, *(command.name for command in self.tree.get_commands())]


async def test_a_plain_client_with_a_tree_of_commands_has_routes_and_events(
    loopback_discord: LoopbackDiscord,
) -> None:
    guild = loopback_discord.guilds[0]
    async with running_bot(loopback_discord, cls=ClientWithTree) as client:

        @client.tree.command()
        async def ping(interaction: discord.Interaction) -> None:
            """Answers."""

        assert ping.name == "ping"
        assert [one.name for one in await client.tree.sync()] == ["ping"]
        async with serving(client) as server, connecting(server.port) as session:
            server.forward("message")
            assert await session.request("names", guild=guild.id) == [guild.name, "ping"]
            async with session.subscribe("message") as events:
                await loopback_discord.say(guild.text_channels[0], guild.members[0], "hello")
                assert (await anext(aiter(events))).data["content"] == "hello"
