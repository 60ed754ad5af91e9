"""What happens in the guilds, as it happens, for dashboards that have subscribed to it."""

import discord
from discord.ext import commands

from ..cards import guild_card, message_card, person_card
from ..client import DemoBot

MODERATION = (
    "raw_message_edit",
    "raw_message_delete",
    "raw_bulk_message_delete",
    "member_ban",
    "member_unban",
    "audit_log_entry_create",
    "automod_action",
)


class Live(commands.Cog):
    def __init__(self, bot: DemoBot) -> None:
        self.bot = bot

    async def cog_load(self) -> None:
        # Guilds and moderation are published just as discord.py tells of them. That a reload does this again does no
        # harm.
        self.bot.ipc.forward("guild_join", "guild_update", "guild_remove", *MODERATION)
        for name in ("member_join", "member_remove", "message"):
            self.bot.ipc.add_event(name)

    # These are published by hand, since the page wants more than the event tells: how many members there are now.
    @commands.Cog.listener()
    async def on_member_join(self, member: discord.Member) -> None:
        data = {"guild": guild_card(member.guild), "member": person_card(member)}
        await self.bot.ipc.publish("member_join", data)

    # The raw event also comes for members that the bot has never seen.
    @commands.Cog.listener()
    async def on_raw_member_remove(self, event: discord.RawMemberRemoveEvent) -> None:
        if guild := self.bot.get_guild(event.guild_id):
            data = {"guild": guild_card(guild), "member": person_card(event.user)}
            await self.bot.ipc.publish("member_remove", data)

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        if message.guild:
            data = {"guild": guild_card(message.guild), "message": message_card(message)}
            await self.bot.ipc.publish("message", data)


async def setup(bot: DemoBot) -> None:
    await bot.add_cog(Live(bot))
