"""Cancels a coroutine at each moment at which it can be cancelled."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Final, Literal, TypeAlias

__all__ = ("HOW", "How", "cancel", "moments")

#: ``waiting``: as soon as it waits for the n-th time. ``woken``: when what it waits for is there, but it has not run
#: yet, so that the two cross. ``turn``: in the n-th turn of the loop, which shifts it against what runs beside it.
How: TypeAlias = Literal["waiting", "woken", "turn"]
HOW: Final[tuple[How, ...]] = ("waiting", "woken", "turn")

#: No operation here takes as many turns of the loop, unless it waits for another thread.
LAST: Final = 300
PATIENCE: Final = 10.0


async def moments(
    make: Callable[[], Coroutine[Any, Any, object]],
    how: How,
    prepare: Callable[[], Awaitable[object]] | None = None,
) -> AsyncGenerator[int, None]:
    """Cancels what ``make`` makes at moment 0, then again at moment 1, and so on until one ends uncancelled.

    It yields after each, for the caller to check what is left. ``prepare`` comes before each.
    """
    for moment in range(LAST):
        if prepare is not None:
            await prepare()
        cancelled = await cancel(make(), moment, how)
        yield moment
        if not cancelled:
            assert moment, "it never waits"
            return


async def cancel(operation: Coroutine[Any, Any, object], moment: int, how: How) -> bool:
    """Runs an operation, and cancels it at that moment. Returns ``False`` where it ended before."""
    return await _Run(operation, moment, how).cancelled()


class _Run:
    """One run of an operation. It refers to no exception at the end, and so to no frame of the operation."""

    def __init__(self, operation: Coroutine[Any, Any, object], moment: int, how: How) -> None:
        self._operation = operation
        self._moment = moment
        self._how: How = how
        self._counter = itertools.count()
        self._cancelled = False
        self._task: asyncio.Task[object] | None = None

    async def cancelled(self) -> bool:
        self._task = task = asyncio.ensure_future(self._watched())
        if self._how == "turn":
            self._turn()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait((task,))
        self._task = None
        self._operation.close()  # a task that is cancelled before its first step never begins it
        if self._cancelled:
            assert task.cancelled(), "it went on although it was cancelled"
        else:
            task.result()
        return self._cancelled

    def _now(self) -> None:
        if self._task is not None and not self._task.done():
            self._cancelled = self._task.cancel()

    def _turn(self) -> None:
        if next(self._counter) == self._moment:
            self._now()
        elif self._task is not None:
            asyncio.get_running_loop().call_soon(self._turn)

    def _waits(self, future: asyncio.Future[Any] | None) -> None:
        if self._how == "turn" or next(self._counter) != self._moment:
            return
        if self._how == "waiting" or future is None:
            self._now()
        else:
            future.add_done_callback(lambda _: self._now())  # it comes before the one that wakes the task

    @coroutine
    def _watched(self) -> Generator[Any, Any, object]:
        """Drives the operation by hand, and takes note of each time it waits."""
        thrown: BaseException | None = None
        while True:
            try:
                future = self._operation.send(None) if thrown is None else self._operation.throw(thrown)
            except StopIteration as end:
                return end.value
            finally:
                thrown = None  # its traceback refers to this frame, which must not refer to it
            self._waits(future)
            try:
                yield future
            except BaseException as error:
                thrown = error
