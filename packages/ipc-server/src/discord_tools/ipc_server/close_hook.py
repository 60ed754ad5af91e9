"""Terminates a server when its client is closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import discord

__all__ = ("CloseHook",)


class CloseHook:
    """Runs a function before the ``close`` of one client.

    A cog could do the same in its ``cog_unload``. But a bot that closes removes the other cogs first, and calls in
    progress would lose what they work with. Only this one instance is changed, and only while the server runs.

    Parameters
    ----------
    end: Callable[[], Awaitable[None]]
        Terminates the server.
    """

    def __init__(self, client: discord.Client, end: Callable[[], Awaitable[None]]) -> None:
        self._client = client
        self._end = end
        #: What stands in place of the client's ``close``, while this is installed.
        self._ours: Callable[[], Awaitable[None]] | None = None
        #: The attribute ``close`` of the instance before, if it had one.
        self._theirs: Any = None

    def install(self) -> None:
        """Makes closing the client run the function first."""
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
        """Restores the client's own ``close``."""
        ours, self._ours = self._ours, None
        # A later hook, of another server for example, stays in place. It calls this one, which then only calls the
        # client's own.
        if ours is not None and vars(self._client).get("close") is ours:
            if self._theirs is None:
                del self._client.close  # the method of the class is back
            else:
                self._client.close = self._theirs
