"""A server, a session and a client in memory, each in one line."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import discord

from discord_tools.ipc import ClientLimits, ClientSession, Server, ServerLimits
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.transports.memory import memory_pair
from equipment.key import KEY
from equipment.peers import ScriptedClient

__all__ = ("QUICK", "connecting", "memory_client", "serving")

C = TypeVar("C", bound=discord.Client)

#: Timeouts that a test can wait for. Few tests are about the defaults.
QUICK = ClientLimits(backoff_initial=0.01, backoff_max=0.05, close_timeout=0.5)

_LIMITS = {field.name for field in dataclasses.fields(ServerLimits)}


def serving(client: C, **settings: Any) -> Server[C]:
    """A server on a free port, to be entered. Takes the parameters of ``Server`` and those of ``ServerLimits``.

    There is no multicast port unless it is among the parameters.
    """
    limits = ServerLimits(**{name: value for name, value in settings.items() if name in _LIMITS})
    options = {name: value for name, value in settings.items() if name not in _LIMITS}
    defaults = {"port": 0, "secret_key": KEY, "multicast": "multicast_port" in options}
    return Server(client, **{"limits": limits, **defaults, **options})


def connecting(port: int = MISSING, **options: Any) -> ClientSession:
    """A session, to be entered. Without a port it needs a ``multicast_port``."""
    return ClientSession("127.0.0.1", port, **{"secret_key": KEY, "limits": QUICK, **options})


@asynccontextmanager
async def memory_client(server: Server[Any], *, capacity: int = 16) -> AsyncIterator[ScriptedClient]:
    """A connection to a server in memory, before the hello."""
    near, far = memory_pair(capacity)
    task = asyncio.create_task(server.serve(far))
    try:
        yield ScriptedClient(near)
    finally:
        await near.close()
        async with asyncio.timeout(10):
            await task
