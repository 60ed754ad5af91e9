"""What a transport has to do: carry whole messages, in order, until it is closed."""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ("CLEAN", "GOING_AWAY", "NORMAL", "PROTOCOL_ERROR", "REPLACED", "Closed", "Transport")

# Close codes of WebSockets: RFC 6455, 7.4.1; those from 4000 on belong to applications.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
#: Another connection has taken the conversation over.
REPLACED: Final = 4001

CLEAN: Final = (NORMAL, GOING_AWAY)


class Closed(Exception):
    """The transport is closed, from whichever side.

    Attributes
    ----------
    reason: :class:`str`
        Why, in words, for the log.
    code: Optional[:class:`int`]
        The WebSocket close code that the other side sent, or ``None`` where the connection broke.
    """

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.code: int | None = code

    @property
    def clean(self) -> bool:
        """:class:`bool`: Whether the other side took its leave; otherwise the connection broke."""
        return self.code in CLEAN


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
