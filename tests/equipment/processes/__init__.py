"""Bots and dashboards in processes of their own, for tests that kill them.

Each reads JSON commands on stdin, one a line, and answers each with a line on stdout. The end of stdin ends it, so
that none outlives the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections import Counter
from types import TracebackType
from typing import Any

from equipment.processes.child import Child, ChildEnded, as_arguments

__all__ = ("Program",)

PATIENCE = 20.0

#: Parts of what Python writes to stderr where a process leaks or hides something.
FAULTS = ("never retrieved", "destroyed but it is pending", "ResourceWarning", "Unclosed", "Traceback")


class Program(Child):
    """One process; an asynchronous context manager that starts it, and kills it where it still runs at the end.

    Parameters
    ----------
    name
        The module to run: ``bot`` or ``dashboard``, or one of another package with its dots.
    options
        Its options; see :func:`.as_arguments`.
    """

    def __init__(self, name: str, /, **options: float | str | bool | None) -> None:
        module = name if "." in name else f"{__name__}.{name}"
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __aexit__)
        super().__init__(
            module, *as_arguments(**options), warnings="default::ResourceWarning", errors=self._stderr
        )
        self.patience = PATIENCE
        """How long its answers may take."""

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_running():
            self.kill()
        await self.ended()
        if error is not None:
            print(f"---- stderr of {self.name}\n{self.errors()}")
        self._stderr.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Waits until the process is gone and returns its exit status."""
        async with asyncio.timeout(PATIENCE):
            return await super().ended()

    def end_input(self) -> None:
        """Ends its stdin, and so asks it to end."""
        self.stdin.close()

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
        await self.write(json.dumps({"op": op, **fields}))

    async def answer(self) -> dict[str, Any]:
        """The next line that it writes."""
        try:
            async with asyncio.timeout(self.patience):
                return await super().answer()
        except ChildEnded as error:
            error.add_note(self.errors())
            raise

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
