"""The guide about pages in a browser, tried in a real one."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
from aiohttp.test_utils import make_mocked_request
from playwright.async_api import Route as PlaywrightRoute

from discord_tools import ipc
from equipment.browser import running_browser
from loopback import LoopbackDiscord
from loopback.bots import running_bot
from test_docs.blocks import checks
from test_docs.reader import Reader

PANEL = "https://panel.example"

# What the page of the guide prints.
PRINTED = """script => new Promise((done, failed) => {
    console.log = done;
    window.onerror = failed;
    const tag = document.createElement("script");
    tag.type = "module";
    tag.textContent = script;
    document.head.append(tag);
})"""


@checks("browsers-bot", "browsers-backend", "browsers-page", "browsers-post")
async def test_the_page_of_the_guide_gets_in_with_the_ticket_of_its_backend(
    page: Reader, loopback: LoopbackDiscord, key: str
) -> None:
    async with running_bot(loopback) as bot:
        page.names |= {"bot": bot, "web": aiohttp.web}
        await page.run("browsers-bot")
        async with bot.ipc as server, ipc.ClientSession(port=server.port, secret_key=key) as session:
            page.names["ipc"] = session
            await page.run("browsers-backend")

            async def answer(route: PlaywrightRoute) -> None:
                if route.request.url.endswith("/ticket"):
                    made = await page.names["ticket"](make_mocked_request("POST", "/ticket"))
                    await route.fulfill(body=made.body, content_type="application/json")
                else:
                    await route.fulfill(body="<!doctype html><title>panel</title>", content_type="text/html")

            # The page is not loaded from this machine, as far as the browser knows.
            async with running_browser("--disable-features=LocalNetworkAccessChecks") as browser:
                panel = await browser.new_page()
                await panel.route(f"{PANEL}/**", answer)
                await panel.goto(f"{PANEL}/")
                places = {"bot.example": f"127.0.0.1:{server.port}", "GUILD_ID": str(loopback.guilds[1].id)}
                assert await panel.evaluate(PRINTED, shown(page, "browsers-page", places)) == 3
                post = "const {ticket} = await (await fetch('/ticket', {method: 'POST'})).json();\n"
                post += shown(page, "browsers-post", places) + "\nconsole.log(await response.json());"
                assert (await panel.evaluate(PRINTED, post))["result"] == 3


def shown(page: Reader, name: str, places: dict[str, str]) -> str:
    text = page.text(name).replace("wss://", "ws://").replace("https://bot", "http://bot")
    for before, after in places.items():
        text = text.replace(before, after)
    return text


@checks("browsers-hosts")
async def test_the_page_of_the_guide_reaches_the_bot_by_the_name_of_its_proxy_only(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    async with running_bot(loopback) as bot:
        page.names["bot"] = bot
        await page.run("browsers-hosts")
        async with page.names["server"] as server, aiohttp.ClientSession() as http:
            url = server.ws_url.replace("ws", "http")
            for host, status in (("bot.example", 204), ("rebound.example", 403)):
                headers: dict[str, Any] = {"Origin": PANEL, "Host": host}
                async with http.options(url, headers=headers) as response:
                    assert response.status == status, json.dumps(headers)
