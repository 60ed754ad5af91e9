"""The processes of the sides, as the runner sees them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.machine import Cores, Usage

__all__ = ("Contestant", "Missing", "Worker", "WorkerFailed")

ROOT: Final = Path(__file__).parents[1]
END_SECONDS: Final = 20.0
LINE_BYTES: Final = 1 << 20


class Missing(Exception):
    """A side needs something that is not installed."""


class WorkerFailed(Exception):
    """A process of a side failed; the text is its traceback, or how it ended."""


class Worker:
    """One process; an asynchronous context manager."""

    def __init__(self, part: str, side: str, core: int | None, **options: str) -> None:
        self.ready: Any = None
        self._name = f"{part} of {side}"
        self._arguments = [part, side, *(() if core is None else ("--core", str(core)))]
        for name, value in options.items():
            self._arguments += [f"--{name}", value]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = await asyncio.create_subprocess_exec(
            # discord.py on Python 3.11 and 3.12 warns of audioop, which is not our concern here.
            *(sys.executable, "-W", "ignore", "-m", "benchmarks.worker", *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            limit=LINE_BYTES,
        )
        try:
            self.ready = await self._answer()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def tell(self, op: str, **arguments: Any) -> Any:
        """Has it do something, and returns what came of it.

        Raises
        ------
        WorkerFailed
            It could not.
        """
        process = self._process
        if process is None or process.stdin is None:
            raise WorkerFailed(f"the {self._name} is not running")
        process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
        await process.stdin.drain()
        return await self._answer()

    async def close(self) -> None:
        """Ends it."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _answer(self) -> Any:
        process = self._process
        if process is None or process.stdout is None:
            raise WorkerFailed(f"the {self._name} is not running")
        line = await process.stdout.readline()
        if not line:
            raise WorkerFailed(f"the {self._name} ended with status {await process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise Missing(answer["missing"])
        if "error" in answer:
            raise WorkerFailed(f"the {self._name}: {answer['error']}")
        return answer["result"]


class Contestant:
    """Both processes of one side; an asynchronous context manager. Between its turns it only waits."""

    def __init__(self, name: str, cores: Cores, discord_port: int) -> None:
        self.name = name
        self._cores = cores
        self._bot = Worker("bot", name, cores.bot, discord=str(discord_port))
        self._caller: Worker | None = None

    async def __aenter__(self) -> Self:
        await self._bot.__aenter__()
        try:
            caller = Worker("caller", self.name, self._cores.caller, address=self._bot.ready)
            await caller.__aenter__()
            self._caller = caller
        except BaseException:
            await self._bot.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._caller is not None:
                await self._caller.close()
        finally:
            await self._bot.close()

    async def usage(self) -> Usage:
        """What the bot's process has used."""
        return Usage(**await self._bot.tell("usage"))

    async def bot(self, op: str, **arguments: Any) -> Any:
        """Has the bot's process do something."""
        return await self._bot.tell(op, **arguments)

    async def caller(self, op: str, **arguments: Any) -> Any:
        """Has the callers' process do something."""
        if self._caller is None:
            raise WorkerFailed("not started")
        return await self._caller.tell(op, **arguments)
