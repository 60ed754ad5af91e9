"""Reloading a cog's extension while its routes and others are called."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, UnknownEndpoint
from equipment.until import until
from test_end_to_end.conftest import Held

SOURCE = """
import asyncio
from discord.ext import commands
from discord_tools.ipc import route

class Cards(commands.Cog, name="Cards and more"):
    @route()
    async def generation(self, request):
        await asyncio.sleep(0.005)
        return {number}

async def setup(bot):
    await bot.add_cog(Cards())
"""


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "reloaded_cards.py"
    sys.modules.pop("reloaded_cards", None)


def write(path: Path, number: int) -> None:
    # Another length each time: the cache of compiled code goes by whole seconds and size.
    save(path, SOURCE.format(number=number) + "#" * number)


def save(path: Path, source: str) -> None:
    path.write_text(source)
    importlib.invalidate_caches()


async def test_reloading_a_cog_under_load_changes_its_routes_and_no_others(
    loopback_bot: commands.Bot, session: ClientSession, held: Held, extension: Path
) -> None:
    write(extension, 1)
    await loopback_bot.load_extension("reloaded_cards")
    stopping = False
    seen: Counter[int | None] = Counter()
    others = 0

    async def call_cog() -> None:
        while not stopping:
            try:
                seen[await session.request("generation")] += 1
            except UnknownEndpoint:
                seen[None] += 1

    async def call_other() -> None:
        nonlocal others
        while not stopping:
            others += 1
            assert await session.request("echo", number=others, spread=0.005) is not None

    callers = [asyncio.create_task(call()) for call in (call_cog, call_other) for _ in range(20)]
    for number in range(2, 8):
        await until(lambda number=number: seen[number - 1] > 50)
        write(extension, number)
        await loopback_bot.reload_extension("reloaded_cards")
        # Whatever is asked for from now on is new.
        assert await session.request("generation") == number
    stopping = True
    await asyncio.gather(*callers)
    assert set(seen) <= {None, *range(1, 8)}
    assert others > 50


async def test_a_call_in_progress_is_answered_though_its_cog_is_unloaded(
    loopback_bot: commands.Bot, session: ClientSession, held: Held, extension: Path
) -> None:
    save(extension, SOURCE.format(number="await wait()"))
    await loopback_bot.load_extension("reloaded_cards")
    began, answer = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def wait() -> int:
        began.set()
        return await answer

    vars(sys.modules["reloaded_cards"])["wait"] = wait
    asked = asyncio.ensure_future(session.request("generation"))
    await began.wait()
    await loopback_bot.unload_extension("reloaded_cards")
    with pytest.raises(UnknownEndpoint):
        await session.request("generation")
    answer.set_result("still here")
    # discord.py empties the module that it unloads; what runs has all it needs.
    assert await asked == "still here"


async def test_an_extension_that_breaks_on_reload_keeps_its_old_routes(
    loopback_bot: commands.Bot, session: ClientSession, held: Held, extension: Path
) -> None:
    write(extension, 1)
    await loopback_bot.load_extension("reloaded_cards")
    save(extension, "from discord_tools.ipc import route\n\n@route\nasync def broken(request): ...\n")
    with pytest.raises(commands.ExtensionFailed, match="parentheses"):
        await loopback_bot.reload_extension("reloaded_cards")
    assert await session.request("generation") == 1
