"""The bot itself: which intents it has, which extensions it loads, and the IPC server that it carries."""

import os
from typing import Any

import discord
from discord.ext import commands

from discord_tools.ipc import Server

EXTENSIONS = ("status", "guilds", "messages", "live")


class DemoBot(commands.Bot):
    def __init__(self, **options: Any) -> None:
        intents = discord.Intents.default()
        intents.members = True  # privileged: the member lists, and who joins and leaves
        intents.message_content = True  # privileged: what people write
        super().__init__(
            command_prefix=commands.when_mentioned,
            intents=intents,
            # What is typed into a web page must not be able to ping everybody.
            allowed_mentions=discord.AllowedMentions.none(),
            **options,
        )
        # Port 0 takes any free one. Dashboards learn it from the multicast port, which both sides must know.
        self.ipc: Server[DemoBot] = Server(
            self,
            port=int(os.environ.get("IPC_PORT", "0")),
            multicast_port=int(os.environ.get("IPC_MULTICAST_PORT", "20000")),
            secret_key=os.environ["IPC_SECRET_KEY"],
        )

    async def setup_hook(self) -> None:
        for name in EXTENSIONS:
            await self.load_extension(f"{__package__}.cogs.{name}")
        await self.ipc.start()  # nothing to stop: closing the bot ends it

    async def on_ready(self) -> None:
        print(f"logged in as {self.user}, in {len(self.guilds)} guilds", flush=True)
