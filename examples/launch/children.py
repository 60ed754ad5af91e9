"""The demo's processes: started, their output passed on, ended cleanly, their death explained."""

import asyncio
import contextlib
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

START = 60.0  # seconds; the first start on a slow machine compiles everything
END = 15.0  # seconds; longer than the bot waits for running calls when it closes


class ChildFailed(Exception):
    """A process ended that should not have, or did not get ready."""

    def __init__(self, child: "Child", what: str) -> None:
        printed = "\n    ".join(("Its last lines:", *child.last)) if child.last else "It printed nothing."
        super().__init__(f"The {child.name} {what}. {printed}")


class Child:
    """A process that says with its first line that it is ready, and ends when its standard input closes."""

    def __init__(self, name: str, *command: str, env: Mapping[str, str]) -> None:
        self.name = name
        self.ready_line = ""
        self.last: deque[str] = deque(maxlen=20)
        self._command = command
        self._env = env
        self._process: asyncio.subprocess.Process | None = None
        self._expected: deque[asyncio.Future[str]] = deque()
        self._readers: list[asyncio.Task[None]] = []

    @property
    def process(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"the {self.name} was not started")
        return self._process

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it and wait for its first line."""
        # A group of its own keeps the terminal's Ctrl-C away: the launcher ends the processes in order.
        options: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        pipe = asyncio.subprocess.PIPE
        self.last.clear()
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command, env=self._env, stdin=pipe, stdout=pipe, stderr=pipe, limit=2**20, **options
        )
        self._expected.clear()
        ready = self._expect_line()
        self._readers = [
            asyncio.create_task(self._read_stdout(process.stdout)),
            asyncio.create_task(self._read_stderr(process.stderr)),
        ]
        try:
            self.ready_line = await asyncio.wait_for(ready, START)
        except TimeoutError:
            raise ChildFailed(self, "did not get ready in time") from None
        except EOFError:
            raise ChildFailed(self, f"ended while starting ({await self.ended()})") from None

    async def ended(self) -> int:
        """Wait for its end and for everything that it printed."""
        code = await self.process.wait()
        await asyncio.wait(self._readers)  # not gather: who stops waiting must not stop the readers
        return code

    async def ask(self, line: str) -> str:
        """Write a line to its standard input and return the line that it answers.

        Raises
        ------
        EOFError
            It ended before it answered.
        """
        answer = self._expect_line()
        if self.process.stdin is not None:
            # When it has just ended, so do its lines, and the wait for one says so.
            with contextlib.suppress(ConnectionError):
                self.process.stdin.write(line.encode() + b"\n")
                await self.process.stdin.drain()
        return await answer

    async def stop(self) -> None:
        """Ask it to end, wait, and end it the hard way if that does not help."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self.ended(), END)
        except TimeoutError:
            print(f"The {self.name} did not end by itself within {END:g} s.", file=sys.stderr)
            self._process.kill()
            await self.ended()

    def _expect_line(self) -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._expected.append(future)
        return future

    async def _read_stdout(self, stream: asyncio.StreamReader | None) -> None:
        async for text in self._lines(stream):
            expected = self._expected.popleft() if self._expected else None
            if expected is None:
                self._show(text)
            elif not expected.done():
                expected.set_result(text)
        for expected in self._expected:
            if not expected.done():
                expected.set_exception(EOFError(f"the {self.name} ended"))

    async def _read_stderr(self, stream: asyncio.StreamReader | None) -> None:
        async for text in self._lines(stream):
            self._show(text)

    async def _lines(self, stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
        while stream is not None and (line := await stream.readline()):
            yield line.decode(errors="replace").rstrip()

    def _show(self, text: str) -> None:
        self.last.append(text)
        print(f"{self.name:>9} | {text}", file=sys.stderr, flush=True)
