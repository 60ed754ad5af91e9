"""Runs one case: a fresh bot, a neighbour, and then the attacker."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from benchmarks.attack.case import Case
from benchmarks.attack.process import Process
from loopback import LoopbackDiscord

__all__ = ("run",)

#: The quiet phase, for comparison, in seconds.
QUIET_SECONDS: Final = 0.7

#: What is under way when the attacker has ended gets this long, in seconds.
AFTER_SECONDS: Final = 0.2

#: How much longer than asked an attack may take, in seconds.
LATE_SECONDS: Final = 30.0


async def run(case: Case, seconds: float, discord: LoopbackDiscord) -> dict[str, Any]:
    """Returns what was measured, by ``bot``, ``quiet``, ``attacked``, ``attacker`` and ``reference``."""
    key = f"key-{secrets.token_urlsafe(24)}"
    async with Process("bot", discord=discord.port, key=key, files=case.files) as bot:
        where = {"port": bot.ready["port"], "multicast_port": bot.ready["multicast_port"], "key": key}
        async with Process("neighbour", **where, newcomer=case.newcomer or "none") as neighbour:
            async with Process("attacker", **where, case=case.name, seconds=seconds) as attacker:
                reference = (await bot.tell("reference"))["reference"]
                await neighbour.tell("warm")
                await asyncio.sleep(QUIET_SECONDS)
                quiet = await neighbour.tell("quiet")
                await bot.tell("begin")
                await neighbour.tell("begin")
                async with asyncio.timeout(seconds + LATE_SECONDS):
                    outcome = await attacker.tell("attack")
                await asyncio.sleep(AFTER_SECONDS)
            attacked = await neighbour.tell("attacked")
        figures = await bot.tell("end")
        reference = max(reference, (await bot.tell("reference"))["reference"])
    return {
        "bot": figures,
        "quiet": quiet,
        "attacked": attacked,
        "attacker": outcome,
        "reference": reference,
    }
