"""The quickstart and the front page, tried as a new reader would."""

from __future__ import annotations

import runpy
import subprocess
import sys
from typing import Any

import discord
import pytest
from aiohttp.test_utils import TestClient, TestServer

from discord_tools import ipc
from equipment.ports import VacantPort
from loopback import TOKEN, LoopbackDiscord
from test_docs.blocks import checks
from test_docs.programs import output_of, point_at, running_program
from test_docs.reader import Reader
from test_docs.shell import check_command, commands, environment_of, installed


@checks("index-route", "index-call")
async def test_the_route_of_the_front_page_answers_its_call(page: Reader, bot: Any) -> None:
    bot.ipc.remove_route("guild_stats")
    await page.run("index-route")
    await page.run("index-call")
    assert page.names["stats"] == {"name": "Tea House", "members": 3}


@checks("quickstart-install-bot", "quickstart-install-dashboard")
def test_both_sides_install_from_the_checkout_and_the_dashboard_without_discord_py(reader: Reader) -> None:
    for name, expected in {
        "quickstart-install-bot": ["./packages/ipc-client", "./packages/ipc-server"],
        "quickstart-install-dashboard": ["./packages/ipc-client"],
    }.items():
        (command,) = commands(reader.text(name))
        check_command(command)
        assert installed(command) == expected


@checks("quickstart-key")
def test_the_line_for_a_key_makes_a_long_one_and_a_new_one_each_time(reader: Reader) -> None:
    ((python, *arguments),) = commands(reader.text("quickstart-key"))
    assert python == "python"
    one, other = (subprocess.check_output([sys.executable, *arguments], text=True) for _ in range(2))
    assert len(one) >= 40
    assert one != other


@checks(
    *(
        "quickstart-bot",
        "quickstart-run-bot",
        "quickstart-dashboard",
        "quickstart-run-dashboard",
        "quickstart-output",
    )
)
async def test_bot_and_dashboard_of_the_quickstart_talk_to_each_other(
    reader: Reader, loopback: LoopbackDiscord, key: str
) -> None:
    bot_file, dashboard_file = reader.save("quickstart-bot"), reader.save("quickstart-dashboard")
    files = {bot_file.name, dashboard_file.name}
    for words in commands(reader.text("quickstart-run-bot") + "\n" + reader.text("quickstart-run-dashboard")):
        check_command(words, files)
    environment = {"IPC_SECRET_KEY": key}
    async with running_program(bot_file, {**environment, "DISCORD_TOKEN": TOKEN}, loopback.port) as bot:
        assert bot.multicast_port is not None
        printed = await output_of(dashboard_file, environment, bot.multicast_port)
    assert printed == reader.text("quickstart-output") + "\n"


@checks("quickstart-bot", "quickstart-dashboard", "quickstart-export-key", "quickstart-run-bot")
def test_the_reader_has_set_what_the_programs_read_from_the_environment(reader: Reader) -> None:
    exported = {
        words[1].partition("=")[0]
        for name in ("quickstart-export-key", "quickstart-run-bot")
        for words in commands(reader.text(name))
        if words[0] == "export"
    }
    needed = (
        environment_of(reader.text("quickstart-bot"))[0]
        | environment_of(reader.text("quickstart-dashboard"))[0]
    )
    assert exported == needed


@checks("quickstart-web")
async def test_the_web_application_of_the_quickstart_answers_and_explains_an_unknown_guild(
    reader: Reader, bot: Any, loopback: LoopbackDiscord, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def guild_stats(request: ipc.Request, guild: discord.Guild):
        return {"name": guild.name, "members": guild.member_count}

    bot.ipc.add_route(guild_stats)
    monkeypatch.setenv("IPC_SECRET_KEY", key)
    app = runpy.run_path(str(reader.save("quickstart-web")))["app"]
    async with TestClient(TestServer(app)) as client:
        async with client.get(f"/guilds/{loopback.guilds[1].id}") as response:
            assert await response.json() == {"name": "Tea House", "members": 3}
        async with client.get("/guilds/1") as response:
            assert response.status == 404
            assert await response.text() == "The bot is in no such guild."


@checks("quickstart-web")
async def test_the_web_application_of_the_quickstart_starts_without_the_bot_and_says_so(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("IPC_SECRET_KEY", key)
    monkeypatch.setitem(ipc.ClientSession.__init__.__kwdefaults__, "connect_timeout", 0.0)
    with VacantPort() as port:
        point_at(monkeypatch, port)
        app = runpy.run_path(str(reader.save("quickstart-web")))["app"]
        async with TestClient(TestServer(app)) as client, client.get("/guilds/1") as response:
            assert response.status == 503
            assert await response.text() == "The bot is not running. Try again soon."
