"""Decides whether a call may start, for native calls and dialects alike."""

from __future__ import annotations

from discord_tools.ipc.errors import NotReady, Overloaded, RemoteError
from discord_tools.ipc.limits import ServerLimits

__all__ = ("Account", "Admission", "closing")


class Account:
    """Calls in progress of one caller, counted by what runs them.

    Attributes
    ----------
    calls: :class:`int`
        Number of calls whose handlers run. Answered ones count, too: a caller must not pile them up by cancelling.
    size: :class:`int`
        Size of their data, in bytes.
    """

    __slots__ = ("calls", "size")

    def __init__(self) -> None:
        self.calls: int = 0
        self.size: int = 0


class Admission:
    """Admits calls while the server runs, up to the bounds of each caller."""

    def __init__(self, limits: ServerLimits) -> None:
        #: Maximum number of calls in progress of one caller.
        self._max_calls = limits.calls
        #: Maximum size of their data, in bytes.
        self._max_bytes = limits.call_bytes
        #: Whether no calls are admitted, because the server is being terminated.
        self.draining: bool = False

    def refusal(self, account: Account) -> RemoteError | None:
        """Returns the error that refuses another call of a caller, or ``None`` to let it start."""
        if self.draining:
            return closing("the bot is shutting down")
        if account.calls >= self._max_calls:
            return Overloaded(f"{account.calls} of your calls are in progress")
        if account.size >= self._max_bytes:
            return Overloaded(f"your calls in progress have {account.size} bytes of data")
        return None


def closing(reason: str) -> NotReady:
    """The error for a call that did not run, so that its caller may send it again over another connection."""
    return NotReady(reason, data={"ran": False})
