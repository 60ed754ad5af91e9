"""A process of the suite, as the runner sees it: it answers each line with a line of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, Self

__all__ = ("Process",)

ROOT: Final = Path(__file__).parents[2]
LINE_BYTES: Final = 1 << 24


class Process:
    """One process; an asynchronous context manager that starts it and ends it.

    Parameters
    ----------
    name
        The module: ``bot``, ``neighbour`` or ``attacker``.
    options
        Its options. ``None`` is left out.
    """

    def __init__(self, name: str, **options: str | float | None) -> None:
        #: The first line that it wrote.
        self.ready: dict[str, Any] = {}
        self._name = name
        self._arguments = [
            f"--{key.replace('_', '-')}={value}" for key, value in options.items() if value is not None
        ]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = await asyncio.create_subprocess_exec(
            # discord.py on Python 3.11 and 3.12 warns of audioop, which is not our concern here.
            *(sys.executable, "-W", "ignore", "-m", f"benchmarks.attack.{self._name}", *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            limit=LINE_BYTES,
        )
        try:
            self.ready = await self.answer()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        # Killed, since a bot would wait for the calls in progress.
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
        if process is not None:
            await process.wait()

    async def tell(self, order: str) -> dict[str, Any]:
        """Has it do something, and returns what it knows then."""
        await self.send(order)
        return await self.answer()

    async def send(self, order: str) -> None:
        """Has it do something."""
        process = self._process
        if process is None or process.stdin is None:
            raise RuntimeError(f"the {self._name} is not running")
        process.stdin.write(order.encode() + b"\n")
        await process.stdin.drain()

    async def answer(self) -> dict[str, Any]:
        """The next line that it writes."""
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError(f"the {self._name} is not running")
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self._name} ended with status {await process.wait()}; see its output")
        return json.loads(line)
