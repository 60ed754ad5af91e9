"""The guilds that the bot is in, and one guild with its members and text channels."""

import discord
from discord.ext import commands

from discord_tools.ipc import Request, route

from ..cards import Card, channel_card, guild_card, person_card
from ..client import DemoBot

MEMBERS_SHOWN = 500  # a page cannot show a hundred thousand, so the bot need not send them


class Guilds(commands.Cog):
    def __init__(self, bot: DemoBot) -> None:
        self.bot = bot

    @route()
    async def guilds(self, request: Request) -> list[Card]:
        return [guild_card(guild) for guild in self.bot.guilds]

    # The dashboard sends an id. The annotation makes it the guild, or a clear error when there is none.
    @route()
    async def guild(self, request: Request, guild: discord.Guild) -> Card:
        members = sorted(guild.members, key=lambda member: member.display_name.casefold())
        return {
            **guild_card(guild),
            "members": [person_card(member) for member in members[:MEMBERS_SHOWN]],
            "channels": [channel_card(channel) for channel in guild.text_channels],
        }


async def setup(bot: DemoBot) -> None:
    await bot.add_cog(Guilds(bot))
