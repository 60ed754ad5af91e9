"""What happens in the guilds, for dashboards that wait for it: members join and leave, messages arrive."""

import asyncio
import contextlib
import secrets
from collections import deque
from typing import Any

import discord
from discord.ext import commands

from discord_tools.ipc import Request, route

from ..cards import Card, guild_card, message_card, person_card
from ..client import DemoBot

KEPT = 500  # changes; a dashboard that was away for longer loads everything anew
WAIT = 20.0  # seconds; below the 30 that a ClientSession waits for an answer


class Live(commands.Cog):
    def __init__(self, bot: DemoBot) -> None:
        self.bot = bot
        self.run = secrets.token_hex(8)  # the count starts anew with each run, so a count alone says nothing
        self.count = 0
        self.kept: deque[Card] = deque(maxlen=KEPT)
        self.news = asyncio.Event()

    def tell(self, kind: str, guild: discord.Guild, **details: Any) -> None:
        self.count += 1
        at = discord.utils.utcnow().isoformat()
        self.kept.append({"kind": kind, "at": at, "guild": guild_card(guild), **details})
        self.wake()

    def wake(self) -> None:
        # A new event for those who come later: these waiters are all served by this one.
        self.news.set()
        self.news = asyncio.Event()

    async def cog_unload(self) -> None:
        self.wake()  # or the server would wait for the waiting calls when the bot closes

    @commands.Cog.listener()
    async def on_member_join(self, member: discord.Member) -> None:
        self.tell("join", member.guild, member=person_card(member))

    @commands.Cog.listener()
    async def on_raw_member_remove(self, event: discord.RawMemberRemoveEvent) -> None:
        if guild := self.bot.get_guild(event.guild_id):
            self.tell("leave", guild, member=person_card(event.user))

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        if message.guild:
            self.tell("message", message.guild, message=message_card(message))

    @route()
    async def changes(self, request: Request, run: str = "", after: int = 0) -> Card:
        """Answer with this run's changes since number ``after``; wait a while for one if there is none."""
        if run == self.run and after == self.count:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), WAIT)
        missing = self.count - after if run == self.run else 0
        complete = run == self.run and 0 <= missing <= len(self.kept)
        return {
            "run": self.run,
            "count": self.count,
            "complete": complete,
            "changes": list(self.kept)[len(self.kept) - missing :] if complete else [],
        }


async def setup(bot: DemoBot) -> None:
    await bot.add_cog(Live(bot))
