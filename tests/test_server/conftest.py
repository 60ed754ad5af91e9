from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest
from discord.ext import commands


@pytest.fixture
async def bot() -> AsyncIterator[commands.Bot]:
    """A bot with a loop, so that it dispatches events, that never logs in."""
    async with commands.Bot("!", intents=discord.Intents.all()) as bot:
        yield bot


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session that shows no key."""
    async with aiohttp.ClientSession() as http:
        yield http
