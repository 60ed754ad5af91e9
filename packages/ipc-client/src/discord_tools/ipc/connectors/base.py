"""What a connector has to do: open transports to one bot."""

from __future__ import annotations

from typing import Protocol

from discord_tools.ipc.errors import ConnectError
from discord_tools.ipc.transports.base import Transport

__all__ = ("Connector",)


class Connector(Protocol):
    """Knows where a bot is and how to connect to it.

    A session uses one connector for all of its connections, one after another.

    Implemented by :class:`~.websocket.WebSocketConnector` and :class:`~.memory.MemoryConnector`.
    """

    @property
    def label(self) -> str:
        """:class:`str`: Where it connects to, for the log."""
        ...

    async def connect(self) -> Transport:
        """Makes one attempt. Cancelling it leaves nothing behind.

        Raises
        ------
        ConnectError
            The bot cannot be reached. Another attempt may succeed.
        IPCError
            Another attempt would fail, too, :exc:`Unauthorized` for example.
        """
        ...

    def failure(self, reason: str) -> ConnectError:
        """Makes an error that tells where the bot was looked for."""
        ...

    def forget(self) -> None:
        """Forgets what was found out about the place of the bot, which may have moved."""
        ...

    def abandon(self) -> None:
        """Forgets what belongs to an event loop that is closed, or to the process that this one was forked from."""
        ...

    async def close(self) -> None:
        """Frees what it holds. It is not used afterwards."""
        ...
