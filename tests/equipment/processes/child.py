"""A process that reads commands, one a line, and answers each with a line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import IO, Any, Self

from equipment.checkout import ROOT

__all__ = ("Child", "ChildEnded", "as_arguments")

#: Maximum size of a line, in bytes: more than any answer has.
LINE_BYTES = 1 << 24

#: Seconds that the end of a process may take before it is killed.
END_SECONDS = 30.0


class ChildEnded(RuntimeError):
    """A process that should answer has ended, or was never started."""


def as_arguments(**options: float | str | bool | None) -> list[str]:
    """Options of a command line: ``grace_period=1`` becomes ``--grace-period=1``, and ``True`` an option alone.

    ``None`` and ``False`` are left out.
    """
    return [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in options.items()
        if value is not None and value is not False
    ]


class Child:
    """A module of the checkout in a process of its own; an asynchronous context manager that starts and ends it.

    The process writes a line of JSON when it is ready, reads commands from stdin, one a line, and answers each with a
    line of JSON on stdout. It ends with the end of stdin, so that it does not outlive this process.

    Parameters
    ----------
    module
        The module to run.
    arguments
        The arguments of its command line.
    name
        What to call it in errors. ``None`` is the last part of the module.
    warnings
        Python's ``-W``. By default warnings are ignored: discord.py on Python 3.11 and 3.12 warns of audioop.
    errors
        The file that gets its stderr, if that is not the one of this process.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        name: str | None = None,
        warnings: str = "ignore",
        errors: IO[bytes] | None = None,
    ) -> None:
        #: The first line that it wrote.
        self.ready: Any = None
        self.name = module.rpartition(".")[2] if name is None else name
        self._command = (sys.executable, "-W", warnings, "-m", module, *arguments)
        self._errors = errors
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            limit=LINE_BYTES,
        )
        try:
            self.ready = await self.answer()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process.

        Raises
        ------
        ChildEnded
            It was not started.
        """
        if self._process is None:
            raise ChildEnded(f"the {self.name} was not started")
        return self._process

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """What it reads its commands from."""
        stdin = self.process.stdin
        assert stdin is not None, "it was asked for"
        return stdin

    async def write(self, line: str) -> None:
        """Sends a command, and does not wait for its answer."""
        if self.stdin.is_closing():
            raise ChildEnded(f"the {self.name} has ended, or was asked to")
        self.stdin.write(line.encode() + b"\n")
        await self.stdin.drain()

    async def answer(self) -> Any:
        """The next line that it writes.

        Raises
        ------
        ChildEnded
            There is none.
        """
        stdout = self.process.stdout
        assert stdout is not None, "it was asked for"
        line = await stdout.readline()
        if not line:
            raise ChildEnded(f"the {self.name} has ended with status {await self.process.wait()}")
        return json.loads(line)

    async def tell(self, line: str) -> Any:
        """Sends a command, and returns its answer."""
        await self.write(line)
        return await self.answer()

    async def end(self) -> None:
        """Ends the process with the end of its stdin, and kills it if that takes too long."""
        self.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.kill()
            await self.process.wait()

    def is_running(self) -> bool:
        return self.process.returncode is None

    def kill(self) -> None:
        """Kills the process, and does not wait for it."""
        self.process.kill()

    async def ended(self) -> int:
        """Waits until the process is gone and returns its exit status."""
        status = await self.process.wait()
        self.stdin.close()
        return status
