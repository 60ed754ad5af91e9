"""Run the bot: on Discord when DISCORD_TOKEN is set, else on the loopback Discord at LOOPBACK_PORT."""

import asyncio
import contextlib
import logging
import os
import sys

import discord

from .client import DemoBot

PORTAL = "https://discord.com/developers/applications"


async def on_discord(token: str) -> None:
    async with DemoBot() as bot:
        await bot.start(token)


async def on_loopback(port: int) -> None:
    # Not at the top: a bot on Discord does without the test equipment.
    from loopback import TOKEN, LoopbackConnector

    # No wait for guilds that are yet to come: the loopback sends all of them at once.
    async with DemoBot(connector=LoopbackConnector(port), guild_ready_timeout=0.1) as bot:
        await bot.start(TOKEN)


def main() -> int | str:
    discord.utils.setup_logging(level=logging.WARNING)
    # It warns when the packages for voice are missing, and this bot has no use for them.
    logging.getLogger("discord.client").setLevel(logging.ERROR)
    token = os.environ.get("DISCORD_TOKEN")
    # Ctrl-C is how a bot is ended, so it is no error.
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(on_discord(token) if token else on_loopback(int(os.environ["LOOPBACK_PORT"])))
        except discord.LoginFailure:
            return f"Discord does not know this DISCORD_TOKEN. Copy it again from your bot's page: {PORTAL}"
        except discord.PrivilegedIntentsRequired:
            return (
                "This bot reads members and messages. On its page at "
                f"{PORTAL}, under Bot, turn on SERVER MEMBERS INTENT and MESSAGE CONTENT INTENT."
            )
    return 0


sys.exit(main())
