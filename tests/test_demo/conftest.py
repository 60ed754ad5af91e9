"""The demo as its own modules start it, and a real browser to look at its page."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from equipment.browser import running_browser
from equipment.checkout import ROOT
from equipment.until import until

EXAMPLES = ROOT / "examples"
LAUNCH = EXAMPLES / "launch"
sys.path[:0] = [str(EXAMPLES), str(LAUNCH)]

from demo import Demo, running_demo  # noqa: E402 (its folder was not on the path before)

# Long enough for a bot to start on a busy machine of two cores.
expect.set_options(timeout=20_000)


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own token must not send the tests to the real Discord."""
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """The running demo, with nobody on its Discord doing anything."""
    async with running_demo() as demo:
        yield demo


@pytest_asyncio.fixture(loop_scope="module")
async def http(demo: Demo) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the page's API."""
    async with aiohttp.ClientSession(demo.url) as http:
        yield http


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, demo: Demo) -> AsyncIterator[Page]:
    """The page, loaded. A script error on it fails the test."""
    context = await browser.new_context(viewport={"width": 1360, "height": 820}, color_scheme="light")
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(demo.url)
    await expect(page.locator("#bot-state")).to_have_text("online")
    yield page
    await context.close()
    assert errors == []


async def gone(url: str) -> None:
    """Waits until nothing listens at a URL any more."""

    async def is_refused() -> bool:
        try:
            async with http.get(url):
                return False
        except aiohttp.ClientConnectionError:
            return True

    async with aiohttp.ClientSession() as http:
        await until(is_refused, 20)
