"""Calls of clients that do not speak our subprotocol: one answer each, a deadline, and the bounds of their callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from discord_tools.ipc.deadlines import Deadlines
from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    InvalidRequest,
    RemoteError,
    TooLarge,
)
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.wire.codec import encode
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.admission import SMALL_BYTES, Account, Admission, measure
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.call import cancel_other, expire, normal, wait_for_handlers, without_key
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.encoding import STANDARD, encode_large, encode_small
from discord_tools.ipc_server.keys import REVOKED
from discord_tools.ipc_server.turns import TurnBudget
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("Backlog", "ByteBudget", "DialectCall", "DialectCalls", "Writer")

#: Upper bound of the errors that this library makes itself.
ERROR_BYTES: Final = 4096

#: Calls with data up to this size do not wait for a turn to decode it, in bytes: the number of calls that start in one
#: turn bounds them.
FREE_BYTES: Final = 1024


class Writer(Protocol):
    """Writes the outcome of a call as its caller reads it.

    Implemented by the classes of :mod:`discord_tools.ipc.wire.dialects` and by :class:`~.jsonrpc.ById`.
    """

    def result(self, result: bytes) -> bytes:
        """Writes an answer, which is JSON already."""
        ...

    def error(self, error: RemoteError) -> bytes:
        """Writes an error."""
        ...


class ByteBudget:
    """Bytes that an answer, or all answers of a batch together, may still have."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left: int = left

    def take(self, size: int) -> None:
        """Spends some of it. Raises :exc:`~discord_tools.ipc.TooLarge` where less is left."""
        if size > self.left:
            raise TooLarge(f"the answer has {size} bytes, the caller takes {self.left}")
        self.left -= size


class Backlog(Protocol):
    """Answers that wait for one socket. Implemented by :class:`~.answers.Answers`."""

    def must_wait(self) -> bool:
        """Whether handlers may not start yet."""
        ...

    async def wait_to_start(self) -> None:
        """Waits until handlers may start."""
        ...


class DialectCall:
    """A call in progress.

    Parameters
    ----------
    backlog: Optional[:class:`Backlog`]
        What waits for its socket.
    writer: Optional[:class:`Writer`]
        Writes the answer. ``None`` where nobody waits for one.
    done: Callable[[Optional[:class:`bytes`]], None]
        Called once with the answer, or with ``None`` where nobody waits for one.
    """

    #: None of these clients reads streams.
    streams: bool = False

    __slots__ = (
        "account",
        "acting",
        "backlog",
        "budget",
        "caller",
        "deadline",
        "done",
        "encoder",
        "endpoint",
        "expected",
        "failure",
        "headers",
        "params",
        "settled",
        "size",
        "task",
        "turn",
        "turns",
        "writer",
    )

    def __init__(
        self,
        caller: Caller,
        endpoint: str,
        params: bytes,
        headers: Mapping[str, Any],
        writer: Writer | None,
        budget: ByteBudget,
        done: Callable[[bytes | None], None],
        backlog: Backlog | None = None,
    ) -> None:
        self.backlog: Backlog | None = backlog
        #: The user for whom it is made.
        self.acting: ActingUser | None = None
        #: Bounds what is decoded and encoded in one turn of the loop. Set at the start.
        self.turns: TurnBudget
        self.caller: Caller = caller
        #: The name of the route, with its leading slash.
        self.endpoint: str = normal(endpoint)
        self.params: bytes = params
        #: The caller's own headers.
        self.headers: Mapping[str, Any] = without_key(headers)
        self.writer = writer
        self.budget = budget
        self.done = done
        #: Writes the answer as JSON. Set at the start.
        self.encoder: Encoder
        #: Size of the data and the headers, in bytes, once it counts in an account.
        self.size: int = 0
        #: What it counts in. Set at the start.
        self.account: Account
        #: Size that its answer may have, in bytes, where its route is a large one.
        self.expected: int = 0
        #: Number of the turn of the loop in which its handler began, where it had to wait for one.
        self.turn: int = -1
        #: When nobody waits for the answer any more, by the loop's clock.
        self.deadline: float | None = None
        #: The name and the code of the error that answered it. Not the error, which refers to what was called.
        self.failure: tuple[str, int] | None = None
        #: Whether it has its answer.
        self.settled = False
        #: Runs the handler, from the start on.
        self.task: asyncio.Task[None] | None = None

    def must_wait(self) -> bool:
        return (
            self.size > FREE_BYTES
            or self.turns.must_wait(self.endpoint, -1)
            or (self.backlog is not None and self.backlog.must_wait())
        )

    async def wait_to_start(self) -> None:
        if self.backlog is not None:
            await self.backlog.wait_to_start()
        if self.size > FREE_BYTES:
            await self.turns.take(self.size)
        self.expected = await self.turns.begin(self.endpoint, self.account.answers)
        self.turn = self.turns.number

    async def send_json(self, data: Any, /) -> None:
        await self.turns.take_for(self.endpoint, self.turn)
        result = encode_small(data, self.encoder)
        if result is None:
            result = await encode_large(data, self.budget.left, self.turns.take, self.encoder)
        if self.settled:
            raise AlreadyResponded(self.endpoint)
        self._answer(result)

    def answer(self, data: Any, /) -> bool:
        if self.turns.must_wait(self.endpoint, self.turn):
            return False
        result = encode_small(data, self.encoder)
        if result is None:
            return False
        self._answer(result)
        return True

    def _answer(self, result: bytes) -> None:
        answer = None
        self.turns.encoded(self.endpoint, len(result))
        if self.writer is not None:
            if len(result) > self.budget.left:
                self.budget.take(len(result))  # raises before more copies are made
            answer = self.writer.result(result)
            self.budget.take(len(answer))
        self._settle(answer)

    def _settle(self, answer: bytes | None) -> None:
        self.settled = True
        # It refers to the call, so the data would stay until the garbage collector comes.
        done, self.done = self.done, _ignore
        done(answer)

    async def send_item(self, data: Any, /) -> None:
        raise InvalidRequest("this client reads no streams")

    def fail(self, error: RemoteError) -> None:
        """Answers with an error. One of a route's own may be too large, or impossible to write as JSON."""
        if not self.settled:
            answer = None if self.writer is None else self.writer.error(error)
            # Those of this library are small, and always sent, even if the budget of a batch is spent.
            if answer is not None and len(answer) > ERROR_BYTES:
                self.budget.take(len(answer))
            self.failure = type(error).__name__, error.code
            self._settle(answer)

    def ended(self) -> None:
        pass  # DialectCalls watches the task

    def abort(self, error: RemoteError) -> None:
        """Answers with an error now and cancels the handler: one that ignores that keeps nobody waiting."""
        self.fail(error)
        cancel_other(self.task)


def _ignore(answer: bytes | None) -> None:
    """Takes the place of :attr:`DialectCall.done` once that was called."""


class DialectCalls:
    """All such calls of one server.

    Parameters
    ----------
    renewed: Callable[[:class:`Caller`], Optional[:class:`Caller`]]
        Returns a caller with what its key opens now, or ``None`` where the key is not accepted any more.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        admission: Admission,
        budget: MemoryBudget,
        turns: TurnBudget,
        limits: ServerLimits,
        encoder: Encoder = STANDARD,
        renewed: Callable[[Caller], Caller | None] = lambda caller: caller,
    ) -> None:
        self._dispatcher = dispatcher
        self._renewed = renewed
        self._budget = budget
        self._admission = admission
        self._limits = limits
        self._turns = turns
        self._encoder = encoder
        #: The event loop of the calls.
        self._loop = asyncio.get_running_loop()
        #: Calls whose handlers have not ended.
        self._calls: set[DialectCall] = set()
        #: Accounts of callers that make a connection for each request, while they have calls in progress.
        self._accounts: dict[tuple[str | None, str, str], Account] = {}
        #: Ends calls whose time is over.
        self._deadlines: Deadlines[DialectCall] = Deadlines(self._loop, expire)

    def start(self, call: DialectCall, account: Account | None = None) -> None:
        """Runs a call, or answers it at once where it may not start.

        It counts in the account, or without one in that of all connections of its caller.
        """
        caller = self._renewed(call.caller)
        if caller is None:  # a body may take long, and a batch starts over several turns of the loop
            self._dispatcher.refuse(call, Cancelled(REVOKED))
            return
        call.caller = caller
        key = None if account is not None else call.caller.account
        if account is None:
            account = self._accounts.get(call.caller.account) or Account()
        call.account, call.turns, call.encoder = account, self._turns, self._encoder
        # Headers may be as large as the message, and are rare.
        call.size = measure(call.params) + (len(encode(call.headers)) if call.headers else 0)
        refusal = self._admission.refusal(account, call.size)
        if refusal is not None:
            self._dispatcher.refuse(call, refusal)
            return
        self._calls.add(call)
        account.calls += 1
        account.size += call.size
        if call.size > SMALL_BYTES:
            self._budget.add(call.size)
        if key is not None:
            self._accounts[key] = account
        call.deadline = self._loop.time() + self._limits.call_timeout
        self._deadlines.add(call, call.deadline)
        call.task = self._loop.create_task(self._dispatcher.handle(call))

        def ended(_: object) -> None:
            self._deadlines.discard(call)
            self._calls.discard(call)
            account.calls -= 1
            account.size -= call.size
            if call.expected:
                account.answers.end(call.expected)
            if key is not None and not account.calls:
                del self._accounts[key]
            call.fail(Cancelled("the call was cancelled"))

        # Not at the end of the task's own code: one that is cancelled before its first step never comes there.
        call.task.add_done_callback(ended)

    def compare_callers(self) -> None:
        """Ends the calls of keys that are not accepted any more, and those that the other keys do not open any more."""
        for call in tuple(self._calls):
            caller = self._renewed(call.caller)
            if caller is None:
                call.abort(Cancelled(REVOKED))
            elif caller is not call.caller:
                call.caller = caller
                if (refusal := self._dispatcher.refusal(call, caller)) is not None:
                    call.abort(refusal)

    @property
    def held_bytes(self) -> int:
        """:class:`int`: Size of the data of all calls in progress, in bytes."""
        return sum(call.size + call.expected for call in self._calls)

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Waits for the calls in progress, up to the grace period.

        Tasks in ``spared`` are not waited for: they are the routes that asked for the end of the server.
        """
        await wait_for_handlers(self._calls, spared, self._limits.grace_period)

    def abort(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Cancels all calls that are still in progress, except those in ``spared``."""
        for call in tuple(self._calls):
            if call.task not in spared:
                call.abort(Cancelled("the bot is shutting down"))
        self._deadlines.close()
