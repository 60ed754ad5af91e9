"""The guides for other clients and for moving from older libraries, beside a real bot."""

from __future__ import annotations

import ast
import json
import shlex
from typing import Any

import aiohttp
import pytest
from discord.ext import commands, ipcx

from discord_tools import ipc
from equipment.websockets import ScriptedWebSocket, WebSocketBot, multicast_bot, port_answer
from loopback import LoopbackDiscord
from loopback.bots import make_bot
from test_docs.blocks import checks
from test_docs.programs import point_at
from test_docs.reader import Reader


async def curl(command: str, port: int, key: str) -> str:
    """Does what curl does with the few options that the guide has."""
    words = shlex.split(
        command.replace("$IPC_SECRET_KEY", key).replace("localhost:8000", f"localhost:{port}")
    )
    assert words.pop(0) == "curl"
    method, headers, body = "GET", {}, None
    url = ""
    while words:
        match words.pop(0):
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "-d":
                method, body = "POST", words.pop(0)
                headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
            case "--fail":
                pass
            case word:
                assert word.startswith("http://")
                url = word
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, headers=headers, data=body) as response,
    ):
        assert response.status == 200
        return await response.text()


@checks("clients-curl", "clients-curl-output", "clients-discover", "clients-health", "clients-health-output")
async def test_the_commands_of_the_guide_get_the_answers_of_the_guide(
    page: Reader, bot: Any, key: str
) -> None:
    port = bot.ipc.port
    command = page.text("clients-curl").replace("GUILD_ID", str(page.names["guild_id"]))
    assert await curl(command, port, key) == page.text("clients-curl-output")
    assert '"guild_stats"' in await curl(page.text("clients-discover"), port, key)
    assert await curl(page.text("clients-health"), port, key) == page.text("clients-health-output")


@checks("clients-websocket", "clients-websocket-output")
async def test_the_session_of_the_guide_over_a_websocket_prints_what_it_says(
    page: Reader, bot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = aiohttp.ClientSession.ws_connect

    def at_the_port(self: Any, url: str, **options: Any) -> Any:
        return connect(self, url.replace(":8000", f":{bot.ipc.port}"), **options)

    monkeypatch.setattr(aiohttp.ClientSession, "ws_connect", at_the_port)
    page.names["aiohttp"] = aiohttp
    await page.run("clients-websocket")
    page.sees("clients-websocket-output")


@checks("clients-switch-off", "migration-close")
async def test_the_dialects_of_the_guides_can_be_switched_off(page: Reader) -> None:
    for name, dialects in (("clients-switch-off", {"http"}), ("migration-close", {"jsonrpc", "http"})):
        await page.run(name)
        assert page.names["server"]._dialects == dialects


# ---------------------------------------------------------------- migration


@checks("migration-older-servers")
async def test_the_session_of_the_guide_calls_an_older_server(
    page: Reader, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def older(far: ScriptedWebSocket) -> None:
        assert json.loads(await far.transport.receive())["headers"] == {"Authorization": key}
        await far.socket.send_str("42")

    async with (
        WebSocketBot(older, protocols=()) as bot,
        multicast_bot(port_answer(bot.port), key=None) as multicast,
    ):
        point_at(monkeypatch, multicast.port)
        await page.run("migration-older-servers")
        async with page.names["session"] as session:
            assert await session.request("get_member_count") == 42


@checks(
    "migration-ipcx-bot-before",
    "migration-ipcx-bot-after",
    "migration-ipcx-dashboard-before",
    "migration-ipcx-dashboard-after",
)
async def test_both_dashboards_of_the_guide_get_the_same_from_the_new_bot(
    page: Reader, loopback: LoopbackDiscord, key: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    await page.run("migration-ipcx-bot-before")
    old_route = page.names["Guilds"].get_member_count
    assert ipcx.Server.ROUTES.pop("get_member_count") is old_route
    await page.run("migration-ipcx-bot-after")
    await page.names["bot"].add_cog(page.names["Guilds"](page.names["bot"]))
    server = page.names["bot"].ipc
    monkeypatch.setattr(
        ipcx.Client.__init__, "__defaults__", ("localhost", None, server.multicast_port, None)
    )
    await page.run("migration-ipcx-dashboard-before")
    await page.run("migration-ipcx-dashboard-after")
    assert capsys.readouterr().out == "3\n3\n"
    page.names["guild_id"] = 5  # the bot knows no such guild, so its route fails
    await page.run("migration-ipcx-dashboard-before")
    await page.run("migration-ipcx-dashboard-after")
    old, new = capsys.readouterr().out.splitlines()
    assert old == "it went wrong: IPC route raised error of type AttributeError"
    assert new.startswith("it went wrong: the route failed")


@checks("migration-better-bot-before", "migration-better-bot-after", "migration-better-dashboard-before")
async def test_the_bot_of_the_guide_has_the_same_route_before_and_after(
    page: Reader, loopback: LoopbackDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    # better-ipc cannot be installed here: it shares its import name with discord-ext-ipc, and asks for another
    # version of websockets. What it sends is recorded in tests/test_dialects.
    for name in ("migration-better-bot-before", "migration-better-dashboard-before"):
        compile(page.text(name), name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await page.run("migration-better-bot-after")
    assert "get_user_data" in page.text("migration-better-dashboard-before")
    bot = make_bot(loopback, page.names["Bot"])
    async with bot:
        server = ipc.Server(bot)
        assert list(server.routes) == ["/get_user_data"]


@checks("migration-better-dashboard-after")
async def test_the_dashboard_of_the_guide_reads_the_user(
    page: Reader, loopback: LoopbackDiscord, capsys: pytest.CaptureFixture[str]
) -> None:
    bot: commands.Bot = page.names["bot"]

    async def get_user_data(request: ipc.Request, user_id: int) -> dict[str, str]:
        user = bot.get_user(user_id)
        assert user is not None
        return {"name": user.name}

    page.names["bot"].ipc.add_route(get_user_data)
    user = loopback.guilds[1].members[0].user
    page.names["user_id"] = user.id
    await page.run("migration-better-dashboard-after")
    assert capsys.readouterr().out == f"{user.name}\n"
