"""The same under uvloop, for those who have it. Neither distribution needs it."""

from __future__ import annotations

import importlib.util
import signal

import pytest

from equipment.processes import Program
from equipment.until import until

pytestmark = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")


async def test_a_bot_and_a_dashboard_work_under_uvloop(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port, multicast_port=0, uvloop=True) as bot,
        Program("dashboard", multicast_port=bot.ready["multicast_port"], uvloop=True) as dashboard,
    ):
        assert bot.ready["loop"] == dashboard.ready["loop"] == "uvloop"
        await dashboard.command("load", callers=50)

        async def well_used() -> bool:
            return (await dashboard.command("outcomes"))["outcomes"].get("answered", 0) > 2000

        await until(well_used)
        assert (await dashboard.command("stop"))["outcomes"].keys() == {"answered"}
        bot.signal(signal.SIGINT)
        assert (await bot.answer())["closed"] is True
        assert await bot.ended() == 0
        bot.check()
        await dashboard.finish()
