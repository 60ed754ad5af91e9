"""How the bot is: who it is, whether it is ready, how far away Discord is."""

import math
from typing import Any

import discord
from discord.ext import commands

from discord_tools.ipc import Request, route

from ..cards import person_card
from ..client import DemoBot


class Status(commands.Cog):
    def __init__(self, bot: DemoBot) -> None:
        self.bot = bot
        self.started = discord.utils.utcnow()

    @route()
    async def status(self, request: Request) -> dict[str, Any]:
        latency = self.bot.latency  # not a number before the first heartbeat is answered
        return {
            "user": person_card(self.bot.user) if self.bot.user else None,
            "ready": self.bot.is_ready(),
            "latency_ms": round(latency * 1000, 1) if math.isfinite(latency) else None,
            "guilds": len(self.bot.guilds),
            "members": sum(guild.member_count or 0 for guild in self.bot.guilds),
            "started_at": self.started.isoformat(),
        }


async def setup(bot: DemoBot) -> None:
    await bot.add_cog(Status(bot))
