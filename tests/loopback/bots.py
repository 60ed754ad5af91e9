"""Real discord.py bots that live on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, overload

import discord
from discord.ext import commands

from .connector import LoopbackConnector
from .server import TOKEN, LoopbackDiscord

ClientT = TypeVar("ClientT", bound=discord.Client)

GUILD_READY_TIMEOUT = 0.05
"""Seconds that ``on_ready`` waits for one more guild. :func:`running` does not depend on it being enough."""

READY_TIMEOUT = 30.0
PATIENCE = 1.0


async def _identify_at_once(shard_id: int | None, *, initial: bool = False) -> None:
    """In place of five seconds of sleep before every IDENTIFY but the first, which Discord asks for."""


@overload
def make_bot(where: LoopbackDiscord | int, **options: Any) -> commands.Bot: ...
@overload
def make_bot(where: LoopbackDiscord | int, cls: type[ClientT], **options: Any) -> ClientT: ...
def make_bot(
    where: LoopbackDiscord | int, cls: type[discord.Client] = commands.Bot, **options: Any
) -> discord.Client:
    """Makes a bot that will find the loopback. Call it inside the running event loop.

    Parameters
    ----------
    where: :class:`.LoopbackDiscord` | :class:`int`
        The loopback, or only its port if it is in another process.
    cls
        The class of the bot.
    options
        What the class takes. Defaults to all intents, the prefix ``!`` and a small ``guild_ready_timeout``.
    """
    options.setdefault("connector", LoopbackConnector(where) if isinstance(where, int) else where.connector())
    options.setdefault("intents", discord.Intents.all())
    options.setdefault("guild_ready_timeout", GUILD_READY_TIMEOUT)
    if issubclass(cls, (commands.Bot, commands.AutoShardedBot)):
        options.setdefault("command_prefix", "!")
    bot = cls(**options)
    bot.before_identify_hook = _identify_at_once
    return bot


@asynccontextmanager
async def running(
    bot: ClientT,
    *,
    setup: Callable[[ClientT], Awaitable[object]] | None = None,
    foreign: Callable[[asyncio.Task[Any]], bool] = lambda task: False,
) -> AsyncGenerator[ClientT, None]:
    """Runs a bot: logs in, waits until it is ready with all its guilds, and closes it at the end.

    Parameters
    ----------
    bot
        The bot, not logged in yet.
    setup
        Called with the bot between log-in and connecting, where ``setup_hook`` has just run: the place
        for cogs, listeners and commands.
    foreign
        Tells tasks that are not the bot's and may outlive it, such as :meth:`.LoopbackDiscord.serves`.

    Raises
    ------
    AssertionError
        Tasks that began while the bot ran did not end within a second after it was closed.
    """
    before = asyncio.all_tasks()
    async with bot:
        await bot.login(TOKEN)
        if setup is not None:
            await setup(bot)
        connecting = asyncio.create_task(bot.connect(), name="bot.connect")
        try:
            await _until_ready(bot, connecting)
            yield bot
        finally:
            await bot.close()
            await asyncio.wait({connecting}, timeout=PATIENCE)
    await _assert_ended(lambda task: task in before or foreign(task))
    if connecting.done():
        connecting.result()


@overload
def running_bot(
    where: LoopbackDiscord | int,
    *,
    setup: Callable[[commands.Bot], Awaitable[object]] | None = None,
    **options: Any,
) -> AbstractAsyncContextManager[commands.Bot]: ...
@overload
def running_bot(
    where: LoopbackDiscord | int,
    *,
    cls: type[ClientT],
    setup: Callable[[ClientT], Awaitable[object]] | None = None,
    **options: Any,
) -> AbstractAsyncContextManager[ClientT]: ...
def running_bot(
    where: LoopbackDiscord | int,
    *,
    cls: type[Any] = commands.Bot,
    setup: Callable[[Any], Awaitable[object]] | None = None,
    **options: Any,
) -> AbstractAsyncContextManager[Any]:
    """:func:`make_bot` and :func:`running` in one."""
    bot = make_bot(where, cls, **options)
    if isinstance(where, int):
        return running(bot, setup=setup)
    return running(bot, setup=setup, foreign=where.serves)


async def _until_ready(bot: discord.Client, connecting: asyncio.Task[None]) -> None:
    ready = asyncio.create_task(bot.wait_until_ready(), name="bot.wait_until_ready")
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            await asyncio.wait({ready, connecting}, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
                raise RuntimeError("the bot was closed before it was ready")
            # On a busy machine discord.py may declare itself ready before the last guild has come.
            while any(guild.unavailable for guild in bot.guilds):
                await bot.wait_for("guild_available")
    finally:
        ready.cancel()


async def _assert_ended(excused: Callable[[asyncio.Task[Any]], bool]) -> None:
    current = asyncio.current_task()
    left = {task for task in asyncio.all_tasks() if task is not current and not excused(task)}
    if left:
        # Event handlers and sockets may need a few turns of the loop more than close() does.
        _, left = await asyncio.wait(left, timeout=PATIENCE)
    left = {task for task in left if not excused(task)}
    for task in left:
        task.cancel()
    assert not left, f"the bot left tasks behind: {left!r}"
