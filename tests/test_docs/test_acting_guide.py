"""The guide about acting users, read beside a real bot and a Discord that users log in to."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from discord_tools import ipc
from loopback import LoopbackDiscord
from test_docs.blocks import checks
from test_docs.reader import Reader


def people(page: Reader, loopback: LoopbackDiscord) -> None:
    """Names the people of the guide."""
    developers, tea_house = loopback.guilds
    page.names |= {
        "owner_id": tea_house.owner_id,
        "member_id": tea_house.members[1].id,
        "outsider_id": developers.owner_id,
        "access_token": loopback.oauth2.grant(tea_house.members[0].user),
        "panel_key": "the key of the panel",
        "route": ipc.route,
    }
    tea_house.members[0].user.name = "barbara"


@checks("acting-routes", "acting-calls", "acting-calls-output", "acting-refused", "acting-refused-output")
async def test_the_calls_of_the_guide_are_allowed_and_refused(
    page: Reader, loopback: LoopbackDiscord, bot: Any
) -> None:
    people(page, loopback)
    await page.run("acting-routes")
    ipc_session = page.names["ipc"]
    loopback.member_changed(loopback.guilds[1].members[0])
    await bot.wait_for("user_update")
    await page.run("acting-calls")
    page.sees("acting-calls-output")
    owner, guild = page.names["owner_id"], page.names["guild_id"]
    assert bot.ipc.renamed == f"barbara ({owner}): renamed to Tea Room"
    await page.run("acting-refused")
    page.sees("acting-refused-output")
    with pytest.raises(ipc.MissingRole):
        await ipc_session.acting_as(owner).request("warn", guild=guild, member=owner)
    with pytest.raises(ipc.NotOwner):
        await ipc_session.acting_as(owner).request("shut_down")


@checks("acting-groups")
async def test_the_groups_and_cogs_of_the_guide_demand_permissions(
    page: Reader, loopback: LoopbackDiscord, bot: Any
) -> None:
    people(page, loopback)
    await page.run("acting-groups")
    await bot.add_cog(page.names["Bans"]())
    guild = page.names["guild_id"]
    owner, member = (page.names["ipc"].acting_as(page.names[name]) for name in ("owner_id", "member_id"))
    for name in ("admin/audit", "ban_count"):
        await owner.request(name, guild=guild)
        with pytest.raises(ipc.MissingPermissions):
            await member.request(name, guild=guild)


@checks("acting-token", "acting-key", "acting-routes")
async def test_a_token_of_the_guide_is_verified(page: Reader, loopback: LoopbackDiscord, bot: Any) -> None:
    people(page, loopback)
    await page.run("acting-routes")
    await page.run("acting-token")
    assert "may rename Tea House" in page.output()
    await page.run("acting-key")
    async with ipc.ClientSession(secret_key=page.names["panel_key"]) as panel:
        with pytest.raises(ipc.ActingUserRequired):
            await panel.request("guilds")
        assert await panel.acting_as(token=page.names["access_token"]).request("guilds")


@checks("acting-dashboard", "acting-routes")
async def test_people_log_in_to_the_dashboard_of_the_guide(
    page: Reader, loopback: LoopbackDiscord, bot: Any
) -> None:
    people(page, loopback)
    await page.run("acting-routes")
    await page.run("acting-dashboard")
    tea_house = loopback.guilds[1]
    oauth2 = loopback.oauth2
    async with (
        aiohttp.ClientSession(connector=loopback.connector()) as http,
        TestServer(web.Application()) as place,
    ):
        url = str(place.make_url("")).rstrip("/")
        dashboard = page.names["Dashboard"](
            page.names["ipc"], http, url, str(oauth2.client_id), oauth2.client_secret
        )

        async def log_in(browser: TestClient[Any, Any], user: Any) -> None:
            oauth2.signed_in = user
            asked = await browser.get("/login", allow_redirects=False)
            async with http.get(asked.headers["Location"], allow_redirects=False) as agreed:
                back = agreed.headers["Location"].removeprefix(url)
            done = await browser.get(back, allow_redirects=False)
            assert (done.status, done.headers["Location"]) == (302, "/")

        async def rename(browser: TestClient[Any, Any]) -> tuple[int, str]:
            path = f"/guilds/{tea_house.id}/name"
            async with browser.post(path, data={"name": "x"}, allow_redirects=False) as answer:
                return answer.status, answer.headers.get("Location") or await answer.text()

        async with (
            TestClient(TestServer(dashboard.app())) as owner,
            TestClient(TestServer(dashboard.app())) as member,
        ):
            assert await rename(owner) == (302, "/login")
            await log_in(owner, tea_house.members[0].user)
            await log_in(member, tea_house.members[1].user)
            assert (await rename(owner))[0] == 200
            assert await rename(member) == (403, "the acting user lacks manage_guild in the guild")
            forged = await owner.get("/callback?code=x&state=y", allow_redirects=False)
            assert forged.status == 400
            dashboard.tokens = dict.fromkeys(dashboard.tokens, "expired")
            assert await rename(owner) == (302, "/login")


@checks("acting-events", "acting-events-output")
async def test_the_events_of_the_guide_reach_those_who_may_see_them(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    people(page, loopback)
    await page.run("acting-events")
    page.sees("acting-events-output")
