"""What every client without our own protocol shares at one server, and JSON-RPC 2.0 as its specification has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Final, Literal, Protocol, TypeAlias

from msgspec import UNSET, Raw

from discord_tools.ipc.errors import RemoteError, UnknownEndpoint
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.wire import jsonrpc
from discord_tools.ipc.wire.dialects import BETTER, FAMILY, JSONRPC, LegacyDialect
from discord_tools.ipc.wire.frames import DISCOVER, RESERVED
from discord_tools.ipc_server.conversation import error_object
from discord_tools.ipc_server.dialects.calls import ByteBudget, Caller, DialectCall, Pool
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.gate import Gate

__all__ = ("DIALECTS", "HTTP", "Dialect", "Exchange", "DialectService", "checked_dialects")

log = logging.getLogger(__name__)

Dialect: TypeAlias = Literal["jsonrpc", "http", "discord-ext-ipc", "better-ipc"]

#: JSON-RPC by ``POST /``, and ``GET /health``.
HTTP: Final = "http"
DIALECTS: Final[tuple[Dialect, ...]] = (JSONRPC, HTTP, FAMILY, BETTER)


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


class Leaver(Protocol):
    """A socket that can take its leave."""

    async def leave(self, code: int, reason: str) -> None: ...


class DialectService:
    """What all those clients share at one server.

    Parameters
    ----------
    port: Callable[[], :class:`int`]
        Tells the main port.
    """

    def __init__(
        self,
        gate: Gate,
        dispatcher: Dispatcher,
        limits: ServerLimits,
        dialects: frozenset[str],
        port: Callable[[], int],
    ) -> None:
        self.gate: Gate = gate
        self.limits: ServerLimits = limits
        self.dialects: frozenset[str] = dialects
        self.port: Callable[[], int] = port
        self.discover: Callable[[], bytes] = dispatcher.discover
        self.sockets: set[Leaver] = set()
        self.strangers: int = 0
        self._pool = Pool(dispatcher, limits)
        # Clients of these kinds make a connection for each request, so a bound for each connection would be none.
        self._shared = {name: self.caller() for name in (HTTP, FAMILY, BETTER)}
        self._greeted: set[str] = set()

    @property
    def draining(self) -> bool:
        """:class:`bool`: Whether no more calls are taken."""
        return self._pool.draining

    def caller(self) -> Caller:
        """A client with a bound of its own."""
        return Caller(self._pool, self.limits)

    def shared_caller(self, name: str) -> Caller:
        """All clients of one kind, with one bound."""
        return self._shared[name]

    def greet(self, dialect: LegacyDialect) -> None:
        """Says in the log, once for each kind, that such a client is here and how to move on."""
        if dialect.label not in self._greeted:
            self._greeted.add(dialect.label)
            log.warning(
                "A client of %s is connected. It works, one request at a time. To move on, install ipc-client in its "
                "program and use discord_tools.ipc.ClientSession",
                dialect.label,
            )

    def stop(self) -> None:
        """Takes no more calls."""
        self._pool.stop()

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Waits for calls in progress as :meth:`Pool.drain` does."""
        await self._pool.drain(spared)

    async def close(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Ends what is left of them, and closes all sockets."""
        self._pool.end(spared)
        leaving = [socket.leave(1001, "the bot is shutting down") for socket in tuple(self.sockets)]
        await asyncio.gather(*leaving)


class _ById:
    """Writes the outcome of a JSON-RPC request."""

    __slots__ = ("number",)

    def __init__(self, number: Raw) -> None:
        self.number = number

    def result(self, result: bytes) -> bytes:
        return jsonrpc.answer(self.number, result)

    def error(self, error: RemoteError) -> bytes:
        return jsonrpc.refuse(self.number, error_object(error))


class Exchange:
    """One JSON-RPC message and its answer.

    Parameters
    ----------
    done: Callable[[Optional[:class:`bytes`]], None]
        Called once, when all requests in it have their answers: with what answers the message, or with ``None`` where
        it asks for no answer.
    """

    def __init__(
        self,
        service: DialectService,
        caller: Caller,
        message: bytes | str,
        done: Callable[[bytes | None], None],
    ) -> None:
        body = jsonrpc.read_body(message, service.limits.calls)
        self._service = service
        self._caller = caller
        self._done = done
        self._batch = body.batch
        self._room = ByteBudget(service.limits.message_bytes)
        self._answers: list[bytes | None] = [None] * len(body.items)
        self._missing = len(body.items)
        self._calls: list[DialectCall] = []
        for place, item in enumerate(body.items):
            if isinstance(item, jsonrpc.Fault):
                self._settle(place, item.answer)
            else:
                self._start(place, item)

    @property
    def open(self) -> bool:
        """:class:`bool`: Whether the answer is still to come."""
        return self._missing > 0

    def abort(self, error: RemoteError) -> None:
        """Ends what somebody waits for. Notifications go on: nobody waits for them anyway."""
        for call in self._calls:
            if not call.settled:
                call.abort(error)

    def _start(self, place: int, request: jsonrpc.JsonRpcRequest) -> None:
        notification = request.id is UNSET
        writer = None if request.id is UNSET else _ById(request.id)
        if request.method.startswith(RESERVED):
            self._settle(place, None if writer is None else self._protocol(request.method, writer))
            return

        def done(answer: bytes | None) -> None:
            if not notification:
                self._settle(place, answer)

        call = DialectCall(request.method, request.params, request.headers, writer, self._room, done)
        if notification:
            # Whoever sends one does not wait, and may be gone before it has run.
            self._settle(place, None)
        else:
            self._calls.append(call)
        self._caller.start(call)

    def _protocol(self, method: str, writer: _ById) -> bytes:
        if method == DISCOVER:
            return writer.result(self._service.discover())
        return writer.error(UnknownEndpoint("there is no such method"))

    def _settle(self, place: int, answer: bytes | None) -> None:
        self._answers[place] = answer
        self._missing -= 1
        if not self._missing:
            answers = [one for one in self._answers if one is not None]
            if self._batch:
                self._done(jsonrpc.join(answers))
            else:
                self._done(answers[0] if answers else None)
