"""One bot, one process of callers, and the proxy between them."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.chaos.link import BOT_ADDRESS, Link
from benchmarks.chaos.notes import Line, Report, judge, read
from equipment.processes import Program
from equipment.proxy import Proxy

__all__ = ("Load", "OneByteProxy", "World", "world")

#: How long the end of a process may take besides the calls in progress, in seconds.
PATIENCE: Final = 30.0


@dataclass(frozen=True)
class Load:
    """How the callers call."""

    sessions: int = 3
    callers: int = 8
    timeout: float = 10.0
    connect_timeout: float = 10.0
    pause: float = 0.02
    #: The silence after which either side looks whether the other is there, in seconds.
    heartbeat: float = 1.0
    small: bool = False


class OneByteProxy(Proxy):
    """Writes one byte at a time."""

    def _size(self) -> int:
        return 1


class World:
    """What a scenario breaks.

    Parameters
    ----------
    discord
        The port of a loopback Discord.
    folder
        Where the notes are.
    """

    def __init__(
        self,
        discord: int,
        folder: Path,
        proxy: Proxy,
        load: Load,
        seed: int,
        *,
        files: int | None = None,
        log: str | None = None,
        link: Link | None = None,
    ) -> None:
        self.proxy = proxy
        self._link = link
        self.random = random.Random(seed)
        #: When the scenario ends, by the monotonic clock.
        self.end = 0.0
        self.bot: Program
        self.callers: Program
        #: What processes complained of.
        self.left: list[str] = []
        self._discord = discord
        self._folder = folder
        self._load = load
        self._seed = seed
        self._files = files
        self._log = log
        self._numbers = itertools.count(1)
        #: The files of all processes of callers, and whether they were killed.
        self._told: dict[Path, bool] = {}
        self._stack = AsyncExitStack()

    def goes_on(self) -> bool:
        return self.left_seconds() > 0

    def left_seconds(self) -> float:
        return self.end - time.monotonic()

    @property
    def link(self) -> Link:
        """The link between the bot and its callers."""
        assert self._link is not None, "the option 'link' makes one"
        return self._link

    @property
    def clients(self) -> int:
        """The number of sessions of all callers."""
        return self._load.sessions

    async def start_bot(self) -> Program:
        """Starts another bot. Connections from now on lead to it."""
        bot = Program(
            "benchmarks.chaos.bot",
            discord=self._discord,
            host=None if self._link is None else BOT_ADDRESS,
            files=self._files,
            heartbeat=self._load.heartbeat,
            notes=str(self._folder / "ran"),
            log=self._log,
        )
        self.bot = await self._stack.enter_async_context(bot)
        self.proxy.upstream = self.bot.ready["port"]
        return self.bot

    async def start_callers(self) -> None:
        """Starts another process of callers."""
        number = next(self._numbers)
        path = self._folder / f"told-{number}"
        self._told[path] = False
        options = {"notes": str(path), "name": f"c{number}", "seed": self._seed + number}
        where: dict[str, str | int] = {"port": self.proxy.port}
        if self._link is not None:
            where = {
                "host": BOT_ADDRESS,
                "port": self.bot.ready["port"],
                "beside": self._link.process,
            }
        program = Program("benchmarks.chaos.callers", **where, **options, **vars(self._load))
        self.callers = await self._stack.enter_async_context(program)

    async def kill_callers(self) -> None:
        """Kills the callers, and starts others."""
        self.callers.kill()
        await self.callers.ended()
        self._told[list(self._told)[-1]] = True
        await self.start_callers()

    async def kill_bot(self) -> None:
        """Kills the bot, and starts another one."""
        self.bot.kill()
        await self.bot.ended()
        await self.start_bot()

    async def replace_bot(self) -> None:
        """Starts another bot, and asks the first one to end."""
        older = self.bot
        await self.start_bot()
        older.signal(signal.SIGTERM)
        await self._ended(older)

    async def finish(self) -> Report:
        """Lets all calls come to their end, looks what is left, and judges."""
        for program in (self.callers, self.bot):
            program.patience = self._load.timeout + PATIENCE
            answer = await program.command("finish")
            self.left += [f"{program.name}: {what}" for what in answer["left"]]
            program.end_input()
            await self._ended(program)
        ran = read(self._folder / "ran")
        told: list[tuple[list[Line], bool]] = [(read(path), killed) for path, killed in self._told.items()]
        report = judge(ran, told)
        report.left += self.left
        return report

    async def close(self) -> None:
        await self._stack.aclose()

    async def _ended(self, program: Program) -> None:
        status = await program.ended()
        if status:
            self.left.append(f"{program.name} ended with status {status}")
        try:
            program.check()
        except AssertionError:
            self.left.append(f"{program.name} complains: {program.errors()[-400:]}")


@asynccontextmanager
async def world(
    discord: int,
    folder: Path,
    load: Load,
    seed: int,
    *,
    one_byte: bool = False,
    rough: bool = False,
    files: int | None = None,
    log: str | None = None,
    link: bool = False,
) -> AsyncIterator[World]:
    """A world whose callers call. With ``link``, they are in a network namespace of their own, without the proxy."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(OneByteProxy(0) if one_byte else Proxy(0, rough=rough))
        between = await stack.enter_async_context(Link()) if link else None
        one = World(discord, folder, proxy, load, seed, files=files, log=log, link=between)
        try:
            await one.start_bot()
            await one.start_callers()
            yield one
        finally:
            await one.close()
