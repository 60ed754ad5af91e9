"""What was written in a channel, and writing there as the bot."""

import discord
from discord.ext import commands

from discord_tools.ipc import Request, RouteError, route

from ..cards import Card, message_card
from ..client import DemoBot

LONGEST = 2000  # characters; Discord's own limit


class Messages(commands.Cog):
    def __init__(self, bot: DemoBot) -> None:
        self.bot = bot

    # From the bot's cache, so what was written while it runs: looking at a page costs Discord no request.
    @route()
    async def messages(self, request: Request, channel: discord.TextChannel, limit: int = 50) -> list[Card]:
        heard = [message for message in self.bot.cached_messages if message.channel.id == channel.id]
        return [message_card(message) for message in heard[-limit:]]

    @route()
    async def send_message(self, request: Request, channel: discord.TextChannel, text: str) -> Card:
        text = text.strip()
        if not text:
            raise RouteError(400, "There is nothing to send: the message is empty.")
        if len(text) > LONGEST:
            raise RouteError(400, f"The message has {len(text)} characters, and Discord takes {LONGEST}.")
        try:
            return message_card(await channel.send(text))
        except discord.Forbidden:
            raise RouteError(403, f"The bot may not write in #{channel.name}.") from None


async def setup(bot: DemoBot) -> None:
    await bot.add_cog(Messages(bot))
