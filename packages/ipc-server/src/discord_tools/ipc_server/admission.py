"""Decides whether a call may start, for native calls and dialects alike."""

from __future__ import annotations

from typing import Final

from discord_tools.ipc.errors import NotReady, Overloaded, RemoteError
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.wire.codec import count_values
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.turns import AnswersToCome

__all__ = ("FEW_BYTES", "FEW_CALLS", "SMALL_BYTES", "Account", "Admission", "closing", "measure")

#: Calls in messages up to this size all count as this many bytes: to measure each would cost as much as decoding it.
SMALL_BYTES: Final = 4 * 1024

#: Bytes that a value in the data of a call counts besides its text: decoded, it takes about as much.
VALUE_BYTES: Final = 64

#: Size of data that cannot count as more than a small call, whatever it holds, in bytes.
FEW_BYTES: Final = SMALL_BYTES // (1 + VALUE_BYTES)

#: Number of a client's calls in progress beyond which it gets no more small ones either, while too much is held.
FEW_CALLS: Final = 16


def measure(data: bytes) -> int:
    """Returns what the data of a call counts as, in bytes: an estimate of what it takes as text and decoded."""
    return len(data) + VALUE_BYTES * count_values(data)


class Account:
    """Calls in progress of one caller, counted by what runs them.

    Attributes
    ----------
    calls: :class:`int`
        Number of calls whose handlers run. Answered ones count, too: a caller must not pile them up by cancelling.
    size: :class:`int`
        Size of the data of those that are not small, in bytes.
    answers: :class:`AnswersToCome`
        Answers that large routes work on.
    """

    __slots__ = ("answers", "calls", "size")

    def __init__(self) -> None:
        self.calls: int = 0
        self.size: int = 0
        self.answers: AnswersToCome = AnswersToCome()

    @property
    def held_bytes(self) -> int:
        """:class:`int`: Size of their data, and of the answers to come, in bytes."""
        return self.size + self.answers.size + SMALL_BYTES * self.calls


class Admission:
    """Admits calls while the server runs, up to the bounds of each caller."""

    def __init__(self, limits: ServerLimits, budget: MemoryBudget) -> None:
        #: Maximum number of calls in progress of one caller.
        self._max_calls = limits.calls
        #: Maximum size of their data, in bytes.
        self._max_bytes = limits.call_bytes
        self._budget = budget
        #: Whether no calls are admitted, because the server is being terminated.
        self.draining: bool = False

    def refusal(self, account: Account, size: int) -> RemoteError | None:
        """Returns the error that refuses another call of a caller, or ``None`` to let it start.

        ``size`` is that of the message with the call, in bytes.
        """
        if self.draining:
            return closing("the bot is shutting down")
        if account.calls >= self._max_calls:
            return Overloaded(f"{account.calls} of your calls are in progress")
        if account.size >= self._max_bytes:
            return Overloaded(f"your calls in progress have {account.size} bytes of data")
        if self._budget.is_spent and (size > SMALL_BYTES or account.calls >= FEW_CALLS):
            # Small calls are still admitted, so that those who hold little do not notice those who hold much.
            return Overloaded("the bot holds too much data for its clients at present")
        return None


def closing(reason: str) -> NotReady:
    """The error for a call that did not run, so that its caller may send it again over another connection."""
    return NotReady(reason, data={"ran": False})
