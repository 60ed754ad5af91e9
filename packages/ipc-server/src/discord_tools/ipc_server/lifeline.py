"""Ends a server together with its client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import discord
from discord.ext import commands

__all__ = ("Lifeline", "lifeline")


class Lifeline(Protocol):
    """Ties an end to the client's own."""

    async def tie(self) -> None:
        """From now on, closing the client ends the server."""
        ...

    async def cut(self) -> None:
        """From now on, it does not."""
        ...


def lifeline(client: discord.Client, end: Callable[[], Awaitable[None]]) -> Lifeline:
    """Makes the lifeline that fits the client."""
    return (
        _CogLifeline(client, end) if isinstance(client, commands.bot.BotBase) else _CloseLifeline(client, end)
    )


class _CogLifeline:
    """A bot awaits the ``cog_unload`` of its cogs when it closes, so a cog of ours is all it takes."""

    def __init__(self, bot: Any, end: Callable[[], Awaitable[None]]) -> None:
        self._bot = bot
        # A bot may have several servers, and cogs need names of their own.
        self._name = f"discord_tools.ipc {id(self):x}"
        lifeline = self

        class ServerCog(commands.Cog, name=self._name):
            async def cog_unload(self) -> None:
                if lifeline._tied:
                    lifeline._tied = False
                    await end()

        self._cog = ServerCog()
        self._tied = False

    async def tie(self) -> None:
        await self._bot.add_cog(self._cog)
        self._tied = True

    async def cut(self) -> None:
        if self._tied:
            self._tied = False
            await self._bot.remove_cog(self._name)


class _CloseLifeline:
    """A plain client announces its end to nobody. So its own ``close`` is put behind one that ends the server first.

    Only this one instance is touched, and only while the server runs.
    """

    def __init__(self, client: discord.Client, end: Callable[[], Awaitable[None]]) -> None:
        self._client = client
        self._end = end
        self._ours: Callable[[], Awaitable[None]] | None = None
        self._theirs: Any = None

    async def tie(self) -> None:
        close, end = self._client.close, self._end

        async def close_both() -> None:
            try:
                if self._ours is close_both:
                    await end()
            finally:
                await close()

        self._theirs = vars(self._client).get("close")
        self._ours = self._client.close = close_both

    async def cut(self) -> None:
        ours, self._ours = self._ours, None
        # Where somebody, another server say, has put a close of their own in front of ours, it stays and ours only
        # hands on.
        if ours is not None and vars(self._client).get("close") is ours:
            if self._theirs is None:
                del self._client.close  # the method of the class is back
            else:
                self._client.close = self._theirs
