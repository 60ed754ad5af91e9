"""What a transport has to do: carry whole messages, in order, until it is closed."""

from __future__ import annotations

from typing import Protocol

__all__ = ("Closed", "Transport")


class Closed(Exception):
    """The transport is closed, from whichever side.

    Attributes
    ----------
    reason: :class:`str`
        Why, in words, for the log.
    clean: :class:`bool`
        Whether the other side took its leave; otherwise the connection broke.
    """

    def __init__(self, reason: str, *, clean: bool = False) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.clean: bool = clean


class Transport(Protocol):
    """One connection. Sending and receiving may be awaited by one task each."""

    async def send(self, message: bytes) -> None:
        """Sends one message; waits while the other side is slow to read. Raises :exc:`Closed`."""
        ...

    async def receive(self) -> bytes | str:
        """Waits for one message. Raises :exc:`Closed`."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes the connection; the other side gets the WebSocket close code and reason. Never raises."""
        ...
