"""A real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

__all__ = ("chromium", "running_browser")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # CI is root, and Chromium's sandbox refuses that
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """The path of a Chromium. Without one the test fails in CI, and is skipped elsewhere."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must look at pages, and there is no Chromium on its PATH or in CHROMIUM")
        pytest.skip("there is no Chromium to look at pages with: install one, or set CHROMIUM to its path")
    return found


@asynccontextmanager
async def running_browser(*flags: str) -> AsyncIterator[Browser]:
    """Chromium, with more flags."""
    path = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=(*FLAGS, *flags))
        yield browser
        await browser.close()
