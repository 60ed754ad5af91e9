"""Bots and dashboards in processes of their own, for tests that kill them.

Each reads JSON commands on stdin, one a line, and answers each with a line on stdout. The end of stdin ends it, so
that none outlives the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ("Program",)

PATIENCE = 20.0
LINE_LIMIT = 1 << 24

#: Parts of what Python writes to stderr where a process leaks or hides something.
FAULTS = ("never retrieved", "destroyed but it is pending", "ResourceWarning", "Unclosed", "Traceback")


class Program:
    """One process; an asynchronous context manager that starts it, and kills it where it still runs at the end.

    Parameters
    ----------
    name
        The module to run: ``bot`` or ``dashboard``, or one of another package with its dots.
    options
        Its options. ``uvloop=True`` becomes ``--uvloop``, ``port=1`` becomes ``--port=1``; ``None`` and ``False`` are
        left out.
    """

    def __init__(self, name: str, /, **options: float | str | bool | None) -> None:
        self.ready: dict[str, Any] = {}
        """The first line that it wrote."""
        self.patience = PATIENCE
        """How long its answers may take."""
        self._name = name
        self._arguments = [
            f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")
            for key, value in options.items()
            if value is not None and value is not False
        ]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __aexit__)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        module = self._name if "." in self._name else f"{__name__}.{self._name}"
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "default::ResourceWarning", "-m", module),
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            limit=LINE_LIMIT,
        )
        try:
            self.ready = await self.answer()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._running.returncode is None:
            self._running.kill()
        await self.ended()
        if error is not None:
            print(f"---- stderr of {self._name}\n{self.errors()}")
        self._stderr.close()

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    @property
    def name(self) -> str:
        return self._name.rpartition(".")[2]

    @property
    def pid(self) -> int:
        return self._running.pid

    def is_running(self) -> bool:
        return self._running.returncode is None

    def signal(self, number: int) -> None:
        self._running.send_signal(number)

    def kill(self) -> None:
        self._running.kill()

    async def ended(self) -> int:
        """Waits until the process is gone and returns its exit status."""
        process = self._running
        async with asyncio.timeout(PATIENCE):
            status = await process.wait()
        assert process.stdin is not None, "it was asked for"
        process.stdin.close()
        return status

    def end_input(self) -> None:
        """Ends its stdin, and so asks it to end."""
        assert self._running.stdin is not None, "it was asked for"
        self._running.stdin.close()

    async def finish(self) -> None:
        """Ends it by ending its stdin, and checks that it had nothing to complain of."""
        self.end_input()
        status = await self.ended()
        assert status == 0, self.errors()
        self.check()

    def check(self) -> None:
        """Fails where the process reported a leak or an unread exception."""
        errors = self.errors()
        assert not any(fault in errors for fault in FAULTS), errors

    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return (
            os.pread(self._stderr.fileno(), 1 << 20, 0).decode(errors="replace") if os.name == "posix" else ""
        )

    async def send(self, op: str, **fields: Any) -> None:
        """Sends a command without waiting for its answer."""
        stdin = self._running.stdin
        assert stdin is not None, "it was asked for"
        stdin.write(json.dumps({"op": op, **fields}).encode() + b"\n")
        await stdin.drain()

    async def answer(self) -> dict[str, Any]:
        """The next line that it writes."""
        stdout = self._running.stdout
        assert stdout is not None, "it was asked for"
        async with asyncio.timeout(self.patience):
            line = await stdout.readline()
        assert line, f"the {self._name} has ended with status {await self.ended()}: {self.errors()}"
        return json.loads(line)

    async def has_started(self, *names: str) -> bool:
        """Whether calls of these names run at a bot, or have run."""
        return Counter(names) <= Counter((await self.command("state"))["started"])

    async def has_cancelled(self, name: str) -> bool:
        """Whether a call of this name was cancelled at a bot, and its handler has ended."""
        return (await self.command("state"))["ended"].get(name) == "cancelled and cleaned up"

    async def command(self, op: str, **fields: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        await self.send(op, **fields)
        return await self.answer()
