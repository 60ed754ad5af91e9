"""Whether the bot is ready: logged in, with the guilds of its present session at Discord."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import discord

from discord_tools.ipc_server.forward import Listeners

__all__ = ("Readiness",)

#: Seconds between checks that the client has logged in, where the server was started before that.
LOGIN_CHECK_INTERVAL: Final = 0.5


class Readiness:
    """Follows the bot's session at Discord while the server runs.

    A new session begins with an empty cache, though :meth:`discord.Client.is_ready` stays true.

    Parameters
    ----------
    client: :class:`discord.Client`
        The client.
    logged_in: Callable[[], None]
        Called when the client has an event loop, which it has from its log-in on.
    changed: Callable[[:class:`bool`], None]
        Called when the bot becomes ready, and when it is no longer ready.
    """

    def __init__(
        self, client: discord.Client, logged_in: Callable[[], None], changed: Callable[[bool], None]
    ) -> None:
        self._client = client
        #: Called when the client has an event loop.
        self._on_logged_in = logged_in
        #: Called when the bot becomes ready, and when it is no longer ready.
        self._on_changed = changed
        #: Waits for the log-in and for the first guilds.
        self._watching: asyncio.Task[None] | None = None
        #: The shards that have begun a new session at Discord and have not received their guilds. A client without
        #: shards has the shard ``None``.
        self._identifying: set[int | None] = set()
        #: Notices new sessions.
        self._listeners = Listeners(client)
        # A new session of one shard out of several ends with shard_ready, and not with ready.
        prefix = "shard_" if isinstance(client, discord.AutoShardedClient) else ""
        for event in ("connect", "ready"):
            self._listeners.add(prefix + event, partial(self._gateway_event, ready=event == "ready"))

    def is_ready(self) -> bool:
        """Whether the bot is ready."""
        return self._client.is_ready() and not self._identifying

    def start(self) -> None:
        """Starts following."""
        self._listeners.start()
        self._watching = asyncio.create_task(self._watch(), name="ipc watches the bot")

    def stop(self) -> None:
        """Stops following."""
        self._listeners.stop()
        if self._watching is not None:
            self._watching.cancel()

    def _gateway_event(self, shard: int | None = None, *, ready: bool) -> None:
        if ready:
            self._identifying.discard(shard)
        elif self._client.is_ready():
            self._identifying.add(shard)
        else:
            return
        # The first sessions of all shards end with the ready of the client, which is waited for.
        if self._client.is_ready():
            self._on_changed(not self._identifying)

    async def _watch(self) -> None:
        client: Any = self._client
        # A sentinel of discord.py before log-in, which discord.py signals in no other way.
        while not isinstance(client.loop, asyncio.AbstractEventLoop):  # noqa: ASYNC110
            await asyncio.sleep(LOGIN_CHECK_INTERVAL)
        self._on_logged_in()
        self._listeners.listen()
        await self._client.wait_until_ready()
        self._on_changed(True)
