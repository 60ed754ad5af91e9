"""Ends a server together with its client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import discord

__all__ = ("CloseHook",)


class CloseHook:
    """Puts the end of a server in front of its client's ``close``.

    A bot could be told its end by a cog of ours, too. But it takes the other cogs away first, and calls in progress
    would lose what they work with, and new ones their routes. Only this one instance is touched, and only while the
    server runs.

    Parameters
    ----------
    end: Callable[[], Awaitable[None]]
        Ends the server.
    """

    def __init__(self, client: discord.Client, end: Callable[[], Awaitable[None]]) -> None:
        self._client = client
        self._end = end
        self._ours: Callable[[], Awaitable[None]] | None = None
        self._theirs: Any = None

    def install(self) -> None:
        """From now on, closing the client ends the server first."""
        close, end = self._client.close, self._end

        async def close_both() -> None:
            try:
                if self._ours is close_both:
                    await end()
            finally:
                await close()

        self._theirs = vars(self._client).get("close")
        self._ours = self._client.close = close_both

    def remove(self) -> None:
        """From now on, it does not."""
        ours, self._ours = self._ours, None
        # Where somebody, another server say, has put a close of their own in front of ours, it stays and ours only
        # hands on.
        if ours is not None and vars(self._client).get("close") is ours:
            if self._theirs is None:
                del self._client.close  # the method of the class is back
            else:
                self._client.close = self._theirs
