"""Fixtures for pytest; import them in a ``conftest.py`` or name this module in ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from discord.ext import commands

from .bots import running_bot
from .server import LoopbackDiscord


@pytest_asyncio.fixture
async def loopback_discord() -> AsyncIterator[LoopbackDiscord]:
    """A loopback Discord with two guilds; fails the test if a bot made a request that it does not speak."""
    async with LoopbackDiscord(guilds=2, members=5, text_channels=2) as discord_:
        yield discord_
    assert discord_.unhandled == []


@pytest_asyncio.fixture
async def loopback_bot(loopback_discord: LoopbackDiscord) -> AsyncIterator[commands.Bot]:
    """A :class:`~discord.ext.commands.Bot` that is ready, on ``loopback_discord``."""
    async with running_bot(loopback_discord) as bot:
        yield bot
