"""The processes of the sides, as the runner sees them."""

from __future__ import annotations

import json
from typing import Any, Self

from benchmarks.machine import Cores
from benchmarks.usage import Usage
from equipment.processes.child import Child, ChildEnded, as_arguments

__all__ = ("Contestant", "Missing", "Worker", "WorkerFailed")


class Missing(Exception):
    """A side needs something that is not installed."""


class WorkerFailed(Exception):
    """A process of a side failed; the text is its traceback, or how it ended."""


class Worker(Child):
    """One process; an asynchronous context manager."""

    def __init__(self, part: str, side: str, core: int | None, **options: str) -> None:
        arguments = as_arguments(core=core, **options)
        super().__init__("benchmarks.worker", part, side, *arguments, name=f"{part} of {side}")

    async def ask(self, op: str, **arguments: Any) -> Any:
        """Has it do something, and returns what came of it.

        Raises
        ------
        WorkerFailed
            It could not.
        """
        return await self.tell(json.dumps({"op": op, **arguments}))

    async def answer(self) -> Any:
        """What came of the last command, or of its start."""
        try:
            answer: dict[str, Any] = await super().answer()
        except ChildEnded as error:
            raise WorkerFailed(str(error)) from error
        if "missing" in answer:
            raise Missing(answer["missing"])
        if "error" in answer:
            raise WorkerFailed(f"the {self.name}: {answer['error']}")
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
            await self._bot.end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._caller is not None:
                await self._caller.end()
        finally:
            await self._bot.end()

    async def usage(self) -> Usage:
        """What the bot's process has used."""
        return Usage(**await self._bot.ask("usage"))

    async def bot(self, op: str, **arguments: Any) -> Any:
        """Has the bot's process do something."""
        return await self._bot.ask(op, **arguments)

    async def caller(self, op: str, **arguments: Any) -> Any:
        """Has the callers' process do something."""
        if self._caller is None:
            raise WorkerFailed("not started")
        return await self._caller.ask(op, **arguments)
