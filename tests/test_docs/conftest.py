"""A built documentation, a reader, and a bot to try things on."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools import ipc
from equipment.checkout import ROOT
from loopback import LoopbackDiscord
from loopback.bots import running_bot
from test_docs import blocks
from test_docs.blocks import Block
from test_docs.programs import defaults, point_at, port_of
from test_docs.reader import Reader


@pytest.fixture(scope="session")
def doctrees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as Sphinx read it, with every warning an error."""
    folder = tmp_path_factory.mktemp("docs")
    source, html, trees = ROOT / "docs", folder / "html", folder / "doctrees"
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-n",
        "-q",
        "-b",
        "html",
        "-d",
        trees,
        source,
        html,
    ]
    build = subprocess.run(command, capture_output=True, text=True, check=False)
    if build.returncode:
        pytest.fail(f"the documentation does not build:\n{build.stderr}", pytrace=False)
    return trees


@pytest.fixture(scope="session")
def every_block(doctrees: Path) -> dict[str, Block]:
    return blocks.collect(doctrees)


@pytest.fixture
def reader(
    request: pytest.FixtureRequest,
    every_block: dict[str, Block],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Reader]:
    """Reads the blocks that the test claims with ``@checks``, and has to read them all."""
    claims: frozenset[str] = request.function.claims
    reader = Reader({name: every_block[name] for name in claims}, tmp_path, capsys)
    yield reader
    assert reader.read == claims, "the test says that it checks more than it does"


@pytest.fixture
def key() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture
async def loopback() -> AsyncIterator[LoopbackDiscord]:
    """A Discord with the two guilds that the quickstart shows."""
    async with LoopbackDiscord() as loopback:
        loopback.add_guild(name="Discord Developers", members=12)
        loopback.add_guild(name="Tea House", members=3)
        yield loopback
        assert not loopback.unhandled


@pytest.fixture
async def bot(loopback: LoopbackDiscord, key: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A bot with a server, as all guides suppose it. Meanwhile the default ports are free ones."""
    monkeypatch.setattr(
        ipc.Server.__init__, "__defaults__", defaults(ipc.Server.__init__, port=0, multicast_port=0)
    )

    async def start(bot: Any) -> None:
        bot.ipc = ipc.Server(bot, secret_key=key)
        await bot.ipc.start()
        point_at(monkeypatch, port_of(bot.ipc.multicast_ws_url))

    async with running_bot(loopback, setup=start) as bot:
        yield bot


@pytest.fixture
async def page(reader: Reader, bot: Any, loopback: LoopbackDiscord, key: str) -> AsyncIterator[Reader]:
    """A reader of a guide, who has a bot with the quickstart's routes, and a session."""

    async def guilds(request: ipc.Request):
        return list(bot.guilds)

    async def guild_stats(request: ipc.Request, guild: discord.Guild):
        return {"name": guild.name, "members": guild.member_count}

    bot.ipc.add_route(guilds)
    bot.ipc.add_route(guild_stats)
    public = {name: getattr(ipc, name) for name in ipc.__all__}
    guild_id = loopback.guilds[1].id
    async with ipc.ClientSession(secret_key=key) as session:
        reader.names |= public | {
            "discord": discord,
            "commands": commands,
            "bot": bot,
            "ipc": session,
            "key": key,
        }
        reader.names |= {"guild_id": guild_id, "asyncio": asyncio}
        yield reader
