"""The guide about checks, cooldowns and errors, read beside a real bot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from discord_tools import ipc
from loopback import LoopbackDiscord
from test_docs.blocks import checks
from test_docs.reader import Reader


@checks("checks-check", "checks-check-caught", "checks-check-output")
async def test_the_check_of_the_guide_refuses_all_but_operators(page: Reader, key: str) -> None:
    await page.run("checks-check")
    await page.run("checks-check-caught")
    page.sees("checks-check-output")
    async with ipc.ClientSession(secret_key=key, headers={"operator": "ada"}) as session:
        assert await session.request("restart") == "restarting"


@checks("checks-cog")
async def test_the_check_of_a_cog_holds_for_its_routes(page: Reader, bot: Any) -> None:
    await page.run("checks-cog")
    await bot.add_cog(page.names["Moderation"]())
    session = page.names["ipc"]
    assert await session.request("guild_name", guild=page.names["guild_id"]) == "Tea House"
    with pytest.raises(ipc.CheckFailed):
        await session.request("guild_name", guild=1)


@checks("checks-discord", "checks-discord-output")
async def test_a_check_of_discord_py_says_what_to_use(page: Reader) -> None:
    await page.run("checks-discord")
    page.sees("checks-discord-output")


@checks("checks-cooldown", "checks-cooldown-caught", "checks-cooldown-output", "checks-cooldown-function")
async def test_the_cooldowns_of_the_guide_refuse_the_next_call(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    await page.run("checks-cooldown")
    await page.run("checks-cooldown-caught")
    page.sees("checks-cooldown-output")
    assert await page.names["ipc"].request("backup", guild=loopback.guilds[0].id)
    await page.run("checks-cooldown-function")
    one, two = (guild.text_channels[0].id for guild in loopback.guilds)
    for _ in range(5):
        await page.names["ipc"].request("send", channel=one, text="x")
        await loopback.wait_sent()
    with pytest.raises(ipc.OnCooldown):
        await page.names["ipc"].request("send", channel=one, text="x")
    await page.names["ipc"].request("send", channel=two, text="x")
    await loopback.wait_sent()


@checks("checks-concurrency")
async def test_calls_of_the_guide_wait_for_each_other(page: Reader) -> None:
    await page.run("checks-concurrency")
    session, guild = page.names["ipc"], page.names["guild_id"]
    counts = await asyncio.gather(*(session.request("sync_roles", guild=guild) for _ in range(3)))
    assert len(set(counts)) == 1


@checks("checks-timeout")
async def test_a_route_with_a_timeout_is_declared(page: Reader, bot: Any) -> None:
    await page.run("checks-timeout")
    assert bot.ipc.routes["/slow"].timeout == 2.5


@checks("checks-hooks", "checks-hooks-output")
async def test_the_hooks_of_the_guide_run_around_the_route(page: Reader) -> None:
    await page.run("checks-hooks")
    page.sees("checks-hooks-output")


@checks("checks-error", "checks-error-output")
async def test_the_handler_of_the_guide_answers(page: Reader) -> None:
    await page.run("checks-error")
    page.sees("checks-error-output")
    page.names["settings"][page.names["guild_id"]] = {"prefix": "?"}
    assert await page.names["ipc"].request("prefix", guild=page.names["guild_id"]) == "?"


@checks("checks-discord-error", "checks-discord-error-output")
async def test_an_error_of_discord_arrives_as_the_guide_shows(page: Reader) -> None:
    await page.run("checks-discord-error")
    page.sees("checks-discord-error-output")


@checks("checks-group", "checks-group-output")
async def test_the_group_of_the_guide_has_a_prefix_a_check_and_a_handler(page: Reader, key: str) -> None:
    page.names["is_operator"] = lambda request: request.headers.get("operator") == "ada"
    await page.run("checks-group")
    page.sees("checks-group-output")
    async with ipc.ClientSession(secret_key=key, headers={"operator": "ada"}) as session:
        assert await session.request("settings/get", guild=page.names["guild_id"]) == {"guild": "Tea House"}


@checks("checks-group-extension")
async def test_the_extension_with_a_group_comes_and_goes(
    page: Reader, bot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = page.save("checks-group-extension")
    monkeypatch.syspath_prepend(str(file.parent))
    before = set(bot.ipc.routes)
    for load in (bot.load_extension, bot.reload_extension):
        await load("tags")
        assert set(bot.ipc.routes) - before == {"/tags/count", "/tags/names"}
        assert await page.names["ipc"].request("tags/count") == 0
        assert await page.names["ipc"].request("tags/names") == []
    await bot.unload_extension("tags")
    assert set(bot.ipc.routes) == before
