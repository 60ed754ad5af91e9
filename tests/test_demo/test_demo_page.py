"""The page in a real browser."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from children import Child
from demo import Demo
from life import command
from playwright.async_api import Browser, Page, Route, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"
LIGHT, DARK = "rgb(243, 244, 248)", "rgb(20, 21, 28)"


def discord(demo: Demo) -> Child:
    assert demo.discord is not None
    return demo.discord


async def test_guilds_members_and_channels_are_shown(page: Page, http: aiohttp.ClientSession) -> None:
    async with http.get("/api/guilds") as response:
        guilds = sorted(await response.json(), key=lambda guild: guild["name"])
    await expect(page.locator("#guilds b")).to_have_text([guild["name"] for guild in guilds])
    await expect(page.locator("#guilds small").first).to_have_text(f"{guilds[0]['member_count']} members")
    await page.get_by_role("link", name=guilds[1]["name"]).click()
    await expect(page.get_by_role("heading", name=guilds[1]["name"])).to_be_visible()
    await expect(page.locator("#members li")).to_have_count(guilds[1]["member_count"])
    await expect(page.locator("#channels a")).to_have_count(3)
    await expect(page.locator("#latency")).not_to_have_text("\u2013")


async def test_what_is_typed_is_sent_by_the_bot_and_shown_as_text(page: Page, demo: Demo) -> None:
    text = '<b>bold</b> & "quoted" <img src=x onerror=alert(1)>'
    await page.get_by_label("Write in #general").fill(text)
    await page.keyboard.press("Enter")
    await expect(page.locator("#messages li").last).to_contain_text(text)
    await expect(page.get_by_label("Write in #general")).to_have_value("")
    assert await page.locator("#messages .text *").count() == 0
    state = await command(discord(demo), "state")
    assert state["sent"][-1]["content"] == text
    assert state["unhandled"] == []


async def test_what_cannot_be_sent_is_explained_and_kept(page: Page) -> None:
    field = page.get_by_label("Write in #general")
    await field.fill("   ")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("alert")).to_have_text("There is nothing to send: the message is empty.")
    await expect(field).to_have_value("   ")
    await field.fill("now")
    await expect(page.get_by_role("alert")).to_have_text("")


async def test_who_joins_and_leaves_shows_without_a_reload(page: Page, demo: Demo) -> None:
    await page.evaluate("window.reloaded = false")
    guild = page.locator("#guilds li:has(a[aria-current])")
    guild_id = await guild.get_attribute("data-id")
    before = await page.locator("#members li").count()
    joined = await command(discord(demo), "join", guild=guild_id, name="<i>zelda</i>")
    await expect(page.locator("#members b", has_text="<i>zelda</i>")).to_be_visible()
    await expect(page.locator("#members li")).to_have_count(before + 1)
    await expect(guild.locator("small")).to_have_text(f"{before + 1} members")
    await expect(page.locator("#activity li").first).to_contain_text("<i>zelda</i> joined")
    await command(discord(demo), "leave", guild=guild_id, member=joined["member"])
    await expect(page.locator("#members li")).to_have_count(before)
    await expect(guild.locator("small")).to_have_text(f"{before} members")
    assert await page.evaluate("window.reloaded") is False


async def test_messages_arrive_in_their_channel_and_are_marked_in_others(page: Page, demo: Demo) -> None:
    guild_id = await page.locator("#guilds li:has(a[aria-current])").get_attribute("data-id")
    members = (await command(discord(demo), "guild", guild=guild_id))["guild"]["members"]
    author = members[0]["user"]["id"]
    here, there = [await page.locator("#channels li").nth(i).get_attribute("data-id") for i in (0, 1)]
    await command(discord(demo), "say", channel=here, member=author, text="Said here")
    await command(discord(demo), "say", channel=there, member=author, text="Said there")
    await expect(page.locator("#messages li").last).to_contain_text("Said here")
    await expect(page.locator("#channels li").nth(1)).to_have_class("unread")
    await page.locator("#channels a").nth(1).click()
    await expect(page.locator("#messages li").last).to_contain_text("Said there")
    await expect(page.locator("#channels .unread")).to_have_count(0)


async def test_a_guild_that_the_bot_joins_or_leaves_comes_and_goes(page: Page, demo: Demo) -> None:
    added = await command(discord(demo), "add_guild", name="Aardvarks", members=3)
    link = page.get_by_role("link", name="Aardvarks")
    await expect(link).to_contain_text("3 members")
    await expect(page.locator("#activity li").first).to_contain_text("The bot joined Aardvarks")
    await link.click()
    await expect(page.get_by_role("heading", name="Aardvarks")).to_be_visible()
    await command(discord(demo), "remove_guild", guild=added["guild"])
    await expect(link).to_have_count(0)
    await expect(page.get_by_role("heading", name="Aardvarks")).to_have_count(0)
    await expect(page.locator("#banner")).to_be_hidden()


async def test_a_page_that_missed_something_loads_again(browser: Browser, demo: Demo) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    answered = asyncio.Event()

    async def events(route: Route) -> None:
        if answered.is_set():
            await route.continue_()
        else:  # one answer only: the page has lost the server afterwards, and loads nothing before it is back
            body = (
                'data: {"type": "state", "data": "connecting"}\n\ndata: {"type": "missed", "data": null}\n\n'
            )
            await route.fulfill(body=body, content_type="text/event-stream")

    await page.route("**/api/events", events)
    await page.goto(demo.url)
    await expect(page.locator("#guilds b")).to_have_count(4)
    answered.set()
    await expect(page.locator("#bot-state")).to_have_text("online")
    await context.close()


async def test_a_dead_bot_is_announced_until_it_is_back_and_the_page_catches_up(
    page: Page, demo: Demo
) -> None:
    banner = page.locator("#banner")
    await expect(banner).to_be_hidden()
    await page.evaluate("window.reloaded = false")
    await expect(page.locator("#members li").first).to_be_visible()
    guild_id = await page.locator("#guilds li:has(a[aria-current])").get_attribute("data-id")
    dashboard = demo.dashboard.process.pid
    demo.bot.process.kill()
    await expect(banner).to_contain_text("The bot is not answering.")
    await expect(page.locator("#bot-state")).to_have_text("not answering")
    await expect(page.get_by_role("button", name="Send")).to_be_disabled()
    await demo.bot.ended()
    # What happened meanwhile is not lost: the page loads it.
    await command(discord(demo), "join", guild=guild_id, name="latecomer")
    await demo.bot.start()
    await expect(banner).to_be_hidden()
    await expect(page.locator("#bot-state")).to_have_text("online")
    await expect(page.locator("#members b", has_text="latecomer")).to_be_visible()
    await page.get_by_label("Write in #general").fill("I am back")
    await page.keyboard.press("Enter")
    await expect(page.locator("#messages li").last).to_contain_text("I am back")
    assert await page.evaluate("window.reloaded") is False
    assert demo.dashboard.process.pid == dashboard
    assert demo.dashboard.process.returncode is None


async def test_colours_follow_the_system_until_one_chooses(page: Page) -> None:
    assert await page.evaluate(BACKGROUND) == LIGHT
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate(BACKGROUND) == DARK
    await page.get_by_role("button", name="Switch to light colours").click()
    assert await page.evaluate(BACKGROUND) == LIGHT
    await page.reload()
    assert await page.evaluate(BACKGROUND) == LIGHT


async def test_nothing_is_wider_than_a_phone(browser: Browser, demo: Demo) -> None:
    context = await browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    page = await context.new_page()
    await page.goto(demo.url)
    await expect(page.locator("#members li").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.get_by_label("Write in #general").scroll_into_view_if_needed()
    await expect(page.get_by_role("button", name="Send")).to_be_in_viewport()
    await context.close()
