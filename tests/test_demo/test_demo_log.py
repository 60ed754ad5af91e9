"""The moderation log of the demo in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from demo import Demo
from life import command
from playwright.async_api import Browser, Page, expect

from equipment.until import until
from test_demo.test_demo_page import BACKGROUND, DARK, LIGHT, discord

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def log(browser: Browser, demo: Demo) -> AsyncIterator[Page]:
    """The moderation log of the first guild. A script error on it fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 820}, color_scheme="light")
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{demo.url}log")
    await expect(page.locator("#state-text")).to_have_text("live")
    yield page
    await context.close()
    assert errors == []


class Channel:
    """A channel of the guild that a page shows, and what happens there."""

    def __init__(self, demo: Demo, guild: dict[str, Any], index: int = 0) -> None:
        self._discord = discord(demo)
        self.guild: str = guild["id"]
        self.people: list[str] = [member["user"]["id"] for member in guild["members"]]
        self.id: str = guild["channels"][index]["id"]
        self.name: str = guild["channels"][index]["name"]

    async def say(self, text: str) -> dict[str, str]:
        where = {"channel": self.id, "member": self.people[0]}
        return {**where, "message": (await self.do("say", **where, text=text))["message"]}

    async def do(self, op: str, **fields: str) -> dict[str, Any]:
        return await command(self._discord, op, **fields)


async def channel(page: Page, demo: Demo, index: int = 0) -> Channel:
    chosen = await page.locator("#guild").input_value()
    return Channel(demo, (await command(discord(demo), "guild", guild=chosen))["guild"], index)


async def test_edits_and_deletions_show_at_once_as_text(log: Page, demo: Demo) -> None:
    here = await channel(log, demo)
    newest = log.locator("#entries li").first
    message = await here.say("<i>frist</i>")
    await here.do("edit", **message, text="<i>first</i>")
    await expect(newest).to_contain_text(f"edited a message in #{here.name}")
    await expect(newest.locator("del")).to_have_text("<i>frist</i>")
    await expect(newest.locator(".text")).to_have_text("<i>first</i>")
    await here.do("delete", **message)
    await expect(newest).to_contain_text(f"was deleted in #{here.name}")
    await expect(newest.locator(".text")).to_have_text("<i>first</i>")
    await here.do("delete", channel=here.id, member=here.people[0], message="7")
    await expect(newest).to_contain_text("A message that the bot never saw was deleted")
    assert await log.locator("#entries i").count() == 0


async def test_a_ban_shows_with_its_entry_in_the_audit_log(log: Page, demo: Demo) -> None:
    here = await channel(log, demo)
    *_, spammer, _ = here.people  # the last one is the bot
    await here.do("ban", guild=here.guild, moderator=here.people[0], member=spammer, reason="spam")
    await expect(log.locator("#entries .member_ban").first).to_contain_text("was banned")
    entry = log.locator("#entries .audit_log_entry_create").first
    await expect(entry).to_contain_text("Audit log: ban")
    await expect(entry.locator(".text")).to_have_text("spam")


async def test_one_channel_can_be_chosen_and_what_was_done_before_is_there(log: Page, demo: Demo) -> None:
    here, there = await channel(log, demo), await channel(log, demo, 1)
    for place in (there, here):
        await place.do("delete", **await place.say(f"Said in {place.name}"))
    await expect(log.locator("#entries li").first).to_contain_text(f"Said in {here.name}")
    await log.get_by_label("Channel").select_option(there.id)
    await expect(log.locator("#entries li").first).to_contain_text(f"Said in {there.name}")
    await expect(log.locator("#entries")).not_to_contain_text(f"Said in {here.name}")
    await here.do("delete", **await here.say("elsewhere"))
    await there.do("delete", **await there.say("once more"))
    await expect(log.locator("#entries li").first).to_contain_text("once more")
    await expect(log.locator("#entries")).not_to_contain_text("elsewhere")
    await log.reload()
    await expect(log.locator("#entries li").first).to_contain_text("once more")


async def test_other_guilds_do_not_show(log: Page, demo: Demo) -> None:
    here = await channel(log, demo)
    other = await log.locator("#guild option").nth(1).get_attribute("value")
    elsewhere = Channel(demo, (await command(discord(demo), "guild", guild=other))["guild"])
    await elsewhere.do("delete", **await elsewhere.say("in another guild"))
    await here.do("delete", **await here.say("in this guild"))
    await expect(log.locator("#entries li").first).to_contain_text("in this guild")
    await expect(log.locator("#entries")).not_to_contain_text("in another guild")
    await log.get_by_label("Guild").select_option(other)
    await expect(log.locator("#entries li").first).to_contain_text("in another guild")


async def test_the_log_is_reached_from_the_dashboard_and_back(page: Page) -> None:
    await page.get_by_role("link", name="Moderation log").click()
    await expect(page.get_by_role("heading", name="Moderation log")).to_be_visible()
    await page.get_by_role("link", name="Dashboard").click()
    await expect(page.get_by_role("heading", name="Bot dashboard")).to_be_visible()


async def test_colours_follow_the_system(log: Page) -> None:
    assert await log.evaluate(BACKGROUND) == LIGHT
    await log.emulate_media(color_scheme="dark")
    assert await log.evaluate(BACKGROUND) == DARK


async def test_the_log_is_not_wider_than_a_phone(log: Page, demo: Demo) -> None:
    await log.set_viewport_size({"width": 390, "height": 740})
    here = await channel(log, demo)
    await here.do("delete", **await here.say("x" * 500))
    await expect(log.locator("#entries li").first).to_contain_text("x" * 500)
    assert await log.evaluate("document.documentElement.scrollWidth") == 390


async def test_the_log_goes_on_after_a_restart_of_the_bot(log: Page, demo: Demo) -> None:
    here = await channel(log, demo)
    demo.bot.process.kill()
    await demo.bot.ended()
    await demo.bot.start()
    message = await here.say("after the restart")

    async def is_shown() -> bool:
        await here.do("edit", **message, text="changed after the restart")
        return "changed after the restart" in await log.locator("#entries").inner_text()

    await until(is_shown, 20)
