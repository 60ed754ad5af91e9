"""The READMEs: their commands exist, their programs run."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
from typing import Any

import discord
import pytest
from aiohttp.test_utils import TestClient, TestServer
from discord.ext import commands

from discord_tools import ipc
from equipment.until import until
from loopback import TOKEN, LoopbackDiscord
from loopback.bots import running_bot
from test_docs import shell
from test_docs.blocks import MARKDOWN, checks
from test_docs.programs import defaults, point_at, running_program
from test_docs.reader import Reader

SHELL = ("README-1", "README-2", "README-3", "README-4", "README-9")


@checks(*SHELL)
def test_every_command_of_the_readme_exists(reader: Reader) -> None:
    for name in SHELL:
        assert reader.block(name).language == "sh"
        for words in shell.commands(reader.text(name)):
            shell.check_command(words)


@checks("README-5", "README-6")
async def test_bot_and_dashboard_of_the_readme_talk_to_each_other(
    reader: Reader, loopback: LoopbackDiscord, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"IPC_SECRET_KEY": key, "DISCORD_TOKEN": TOKEN}
    async with running_program(reader.save("README-5"), environment, loopback.port) as bot:
        assert bot.multicast_port is not None
        point_at(monkeypatch, bot.multicast_port)
        monkeypatch.setenv("IPC_SECRET_KEY", key)
        app = runpy.run_path(str(reader.save("README-6")))["app"]
        async with TestClient(TestServer(app)) as client:
            async with client.get(f"/guilds/{loopback.guilds[1].id}") as response:
                assert await response.json() == {"name": "Tea House", "members": 3}
            async with client.get("/guilds/1") as response:
                assert response.status == 502
                assert "error" in await response.json()


@checks("README-7", "README-8")
async def test_the_live_part_of_the_readme_streams_and_hears_who_joins(
    reader: Reader,
    loopback: LoopbackDiscord,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IPC_SECRET_KEY", key)
    monkeypatch.setattr(
        ipc.Server.__init__, "__defaults__", defaults(ipc.Server.__init__, port=0, multicast_port=0)
    )
    guild = loopback.guilds[1]
    reader.names |= {name: getattr(ipc, name) for name in ipc.__all__}
    reader.names |= {"commands": commands, "discord": discord, "os": os, "guild_id": guild.id}
    await reader.run("README-7")
    async with running_bot(loopback, cls=reader.names["Bot"]) as bot:
        point_at(monkeypatch, bot.ipc.multicast_port)
        reading = asyncio.create_task(reader.run("README-8"))
        shown = ""

        def says(text: str) -> bool:
            nonlocal shown
            shown += reader.output()
            return shown.endswith(text)

        await until(lambda: says("loopback-bot\n"))

        async def ada_is_seen() -> bool:
            # Before the reader has come to its second loop, it does not get the event.
            await loopback.leave(guild, await loopback.join(guild, name="ada"))
            return says("Ada joined\n")

        await until(ada_is_seen)
        reading.cancel()
        await asyncio.wait((reading,))
        assert reading.cancelled()
    assert shown.startswith("Grace2\nAlan2\nloopback-bot\nAda joined\n")


@checks("README-client-1")
async def test_the_example_of_the_client_prints_an_answer(
    reader: Reader, bot: Any, loopback: LoopbackDiscord, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def guild_stats(request: ipc.Request, guild: discord.Guild):
        return guild.name

    bot.ipc.add_route(guild_stats)
    path = reader.save_as("README-client-1", "client.py")
    path.write_text(path.read_text("utf-8").replace("change me", key), "utf-8")
    await runpy.run_path(str(path))["stats"](loopback.guilds[1].id)
    assert capsys.readouterr().out == "Tea House\n"


@checks("README-server-1")
async def test_the_bot_of_the_server_s_readme_starts_and_answers(
    reader: Reader, loopback: LoopbackDiscord, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPC_SECRET_KEY", key)
    monkeypatch.setattr(
        ipc.Server.__init__, "__defaults__", defaults(ipc.Server.__init__, port=0, multicast_port=0)
    )
    started: list[ipc.Server] = []
    start = ipc.Server.start

    async def noted(self: ipc.Server) -> None:
        started.append(self)
        await start(self)

    monkeypatch.setattr(ipc.Server, "start", noted)
    cls = runpy.run_path(str(reader.save_as("README-server-1", "bot.py")))["Bot"]
    async with running_bot(loopback, cls=cls) as bot:
        (server,) = started
        async with ipc.ClientSession(port=server.port, secret_key=key) as session:
            answer = await session.request("guild_stats", guild=loopback.guilds[1].id)
            assert answer == {"name": bot.guilds[1].name, "members": 3}


@pytest.mark.parametrize("page", MARKDOWN)
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", MARKDOWN[page].read_text("utf-8")):
        assert (MARKDOWN[page].parent / target).exists(), target
