"""Calls of clients that do not speak our own protocol: one answer each, a deadline, a bound on how many run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    RemoteError,
    TooLarge,
)
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc_server.dispatch import Dispatcher, settle
from discord_tools.ipc_server.encoding import encode_answer

__all__ = ("Caller", "DialectCall", "Pool", "ByteBudget", "Writer")

#: No error that this library makes by itself is larger.
ERROR_BYTES: Final = 4096


class Writer(Protocol):
    """Writes the outcome of a call as its caller reads it."""

    def result(self, result: bytes) -> bytes: ...

    def error(self, error: RemoteError) -> bytes: ...


class ByteBudget:
    """How many bytes an answer, or all answers of a batch together, may still have."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left: int = left

    def take(self, size: int) -> None:
        if size > self.left:
            raise TooLarge(f"the answer has {size} bytes, the caller takes {self.left}")
        self.left -= size


class DialectCall:
    """A call in progress.

    Parameters
    ----------
    writer: Optional[:class:`Writer`]
        Writes the answer. ``None`` where nobody waits for one.
    done: Callable[[Optional[:class:`bytes`]], None]
        Called once with the answer, or with ``None`` where nobody waits for one.
    """

    #: None of these clients reads streams.
    streams: bool = False

    __slots__ = (
        "deadline",
        "done",
        "endpoint",
        "headers",
        "params",
        "room",
        "settled",
        "task",
        "writer",
    )

    def __init__(
        self,
        endpoint: str,
        params: bytes,
        headers: Mapping[str, Any],
        writer: Writer | None,
        room: ByteBudget,
        done: Callable[[bytes | None], None],
    ) -> None:
        self.endpoint: str = endpoint
        self.params: bytes = params
        self.headers: Mapping[str, Any] = headers
        self.writer = writer
        self.room = room
        self.done = done
        self.deadline: float | None = None
        self.settled = False
        self.task: asyncio.Task[None] | None = None

    def is_crowded(self) -> bool:
        return False

    async def send_json(self, data: Any, /) -> None:
        if self.settled:
            raise AlreadyResponded(self.endpoint)
        self.answer(data)

    def answer(self, data: Any, /) -> None:
        answer = None
        result = encode_answer(data)
        if self.writer is not None:
            answer = self.writer.result(result)
            self.room.take(len(answer))
        self.settled = True
        self.done(answer)

    async def send_item(self, data: Any, /) -> None:
        raise InvalidRequest("this client reads no streams")

    def fail(self, error: RemoteError) -> None:
        """Answers with an error. One of a route's own may be too large, or impossible to write as JSON."""
        if not self.settled:
            answer = None if self.writer is None else self.writer.error(error)
            # Those of this library are small, and always told: also when a batch has no room any more.
            if answer is not None and len(answer) > ERROR_BYTES:
                self.room.take(len(answer))
            self.settled = True
            self.done(answer)

    def ended(self) -> None:
        pass  # the pool watches the task

    def abort(self, error: RemoteError) -> None:
        """Answers with an error now and ends the handler: a handler that ignores it keeps nobody waiting."""
        self.fail(error)
        if self.task is not None:
            self.task.cancel()


class Pool:
    """All such calls of one server."""

    def __init__(self, dispatcher: Dispatcher, limits: ServerLimits) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._calls: set[DialectCall] = set()
        self.draining: bool = False

    def start(self, call: DialectCall, ended: Callable[[DialectCall], object]) -> None:
        """Runs a call. ``ended`` is called when its handler has ended, which may be after its answer."""
        loop = asyncio.get_running_loop()
        self._calls.add(call)
        call.deadline = loop.time() + self._limits.call_timeout
        timer = loop.call_at(call.deadline, _expire, call)
        call.task = loop.create_task(self._dispatcher.handle(call))

        def over(_: object) -> None:
            timer.cancel()
            self._calls.discard(call)
            ended(call)
            call.fail(Cancelled("the call was cancelled"))

        # Not at the end of the task's own code: one that is cancelled before its first step never comes there.
        call.task.add_done_callback(over)

    def stop(self) -> None:
        """Takes no more calls."""
        self.draining = True

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Takes no more calls, and waits for those in progress as long as the limits allow.

        Tasks in ``spared`` are not waited for: they are the routes that asked for all this.
        """
        self.stop()
        await settle(self._calls, spared, self._limits.grace_period)

    def end(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Cancels all calls that are still in progress, but those in ``spared``."""
        self.stop()
        for call in tuple(self._calls):
            if call.task not in spared:
                call.abort(Cancelled("the bot is shutting down"))


class Caller:
    """Who calls: one client, or all clients of a kind that make a connection for each request."""

    def __init__(self, pool: Pool, limits: ServerLimits) -> None:
        self._pool = pool
        self._most = limits.calls
        self._calls: set[DialectCall] = set()

    def start(self, call: DialectCall) -> None:
        """Runs a call, or answers it at once where it cannot run."""
        if self._pool.draining:
            call.fail(NotReady("the bot is shutting down"))
        elif len(self._calls) >= self._most:
            # Answered calls whose handlers go on count, too: they cost as much as others.
            call.fail(Overloaded(f"{len(self._calls)} of your calls are in progress"))
        else:
            self._calls.add(call)
            self._pool.start(call, self._calls.discard)


def _expire(call: DialectCall) -> None:
    call.abort(DeadlineExceeded("the time for this call is over"))
