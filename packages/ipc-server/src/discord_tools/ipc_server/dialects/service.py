"""What all clients that do not speak our subprotocol share at one server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Final, Literal, Protocol, TypeAlias

from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.transports.base import GOING_AWAY
from discord_tools.ipc.wire.dialects import BETTER, FAMILY, JSONRPC, LegacyDialect
from discord_tools.ipc_server.admission import Admission
from discord_tools.ipc_server.budget import Holder, MemoryBudget
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.connections import Connections
from discord_tools.ipc_server.dialects.calls import DialectCalls
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.encoding import STANDARD
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.turns import STARTS_PER_TURN, TurnBudget, TurnPlaces
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("DIALECTS", "HTTP", "OLDER", "Dialect", "DialectService", "checked_dialects")

log = logging.getLogger(__name__)

Dialect: TypeAlias = Literal["jsonrpc", "http", "discord-ext-ipc", "better-ipc"]

#: JSON-RPC by ``POST /``, and ``GET /health``.
HTTP: Final = "http"
DIALECTS: Final[tuple[Dialect, ...]] = (JSONRPC, HTTP, FAMILY, BETTER)
#: Those of older libraries.
OLDER: Final = frozenset({FAMILY, BETTER})


def checked_dialects(dialects: Collection[str]) -> frozenset[str]:
    """Returns the names as a set.

    Raises
    ------
    TypeError
        It is one string.
    ValueError
        A name is not known.
    """
    if isinstance(dialects, str):
        raise TypeError("dialects must be a collection of strings, not one string")
    unknown = sorted(set(dialects).difference(DIALECTS))
    if unknown:
        raise ValueError(f"unknown dialect {unknown[0]!r}; there are {', '.join(DIALECTS)}")
    return frozenset(dialects)


class ClosableSocket(Holder, Protocol):
    """A socket that the service closes at the end. Implemented by :class:`~.websocket.DialectSocket`."""

    async def close(self, code: int, reason: str) -> None:
        """Sends the answers that are ready, and closes."""
        ...

    def revoke(self) -> None:
        """Closes, after its calls have been answered, if its key is not accepted any more."""
        ...


class DialectService:
    """What these clients share.

    Parameters
    ----------
    dialects: frozenset[:class:`str`]
        The dialects that are spoken.
    port: Callable[[], :class:`int`]
        Returns the main port.
    encoder: :class:`Encoder`
        Writes answers as JSON.
    """

    def __init__(
        self,
        gate: Gate,
        dispatcher: Dispatcher,
        admission: Admission,
        budget: MemoryBudget,
        turns: TurnBudget,
        connections: Connections,
        limits: ServerLimits,
        dialects: frozenset[str],
        port: Callable[[], int],
        encoder: Encoder = STANDARD,
    ) -> None:
        self.gate: Gate = gate
        self.admission: Admission = admission
        self.budget: MemoryBudget = budget
        self.turns: TurnBudget = turns
        self.connections: Connections = connections
        self.limits: ServerLimits = limits
        self.dialects: frozenset[str] = dialects
        self.port: Callable[[], int] = port
        self.encoder: Encoder = encoder
        #: Answers calls of the protocol's own methods; see :meth:`Dispatcher.describe`.
        self.describe: Callable[[str, Caller], bytes] = dispatcher.describe
        #: All calls in progress.
        self.calls: DialectCalls = DialectCalls(
            dispatcher, admission, budget, turns, limits, encoder, gate.renewed
        )
        #: Bounds the calls that are started in one turn of the event loop.
        self.starts: TurnPlaces = TurnPlaces(STARTS_PER_TURN)
        #: All open WebSockets.
        self.sockets: set[ClosableSocket] = set()
        #: Older libraries whose clients were mentioned in the log.
        self._mentioned: set[str] = set()

    def mention(self, dialect: LegacyDialect) -> None:
        """Logs, once for each kind, that a client of an older library is connected and how to migrate."""
        if dialect.label not in self._mentioned:
            self._mentioned.add(dialect.label)
            log.warning(
                "A client of %s is connected. It works, one request at a time. To migrate, install ipc-client in its "
                "program and use discord_tools.ipc.ClientSession",
                dialect.label,
            )

    def compare_callers(self) -> None:
        """Ends the calls and closes the sockets whose keys are not accepted any more."""
        self.calls.compare_callers()
        for socket in tuple(self.sockets):
            socket.revoke()

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Waits for the calls in progress; see :meth:`DialectCalls.drain`."""
        await self.calls.drain(spared)

    async def close(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Cancels the calls that are left, and closes all sockets."""
        self.calls.abort(spared)
        self.starts.close()
        closing = [socket.close(GOING_AWAY, "the bot is shutting down") for socket in tuple(self.sockets)]
        await asyncio.gather(*closing)
