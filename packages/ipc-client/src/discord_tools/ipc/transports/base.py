"""What a transport has to do: carry whole messages, in order, until it is closed."""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ("CLEAN", "GOING_AWAY", "NORMAL", "POLICY", "PROTOCOL_ERROR", "REPLACED", "Closed", "Transport")

# Close codes of WebSockets: RFC 6455, 7.4.1; those from 4000 on belong to applications.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
#: The other side breaks a rule of this side.
POLICY: Final = 1008
#: Another connection has taken the conversation over.
REPLACED: Final = 4001

CLEAN: Final = (NORMAL, GOING_AWAY)


class Closed(Exception):
    """The transport is closed, by either side.

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
        """:class:`bool`: Whether the other side closed it in good order; otherwise the connection broke."""
        return self.code in CLEAN


class Transport(Protocol):
    """One connection, complete or closed.

    Messages arrive whole, in order, and without a gap. A transport over a medium that may lose a message has to notice
    that and close: what comes after a lost message is never delivered. Both sides of a conversation count messages to
    resume it, so a gap would shift their counts.

    Sending and receiving may be awaited by one task each.

    Implemented by :class:`~.memory.MemoryTransport` and :class:`~.websocket.WebSocketTransport`.
    """

    async def send(self, message: bytes) -> None:
        """Sends one message; waits while the other side is slow to read. Raises :exc:`Closed`."""
        ...

    async def receive(self) -> bytes | str:
        """Waits for one message. Raises :exc:`Closed` after the last one."""
        ...

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Closes the connection; the other side gets the WebSocket close code and reason. Never raises."""
        ...
