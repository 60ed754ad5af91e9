"""JSON-RPC 2.0 as in its specification: one message with its requests, and its answer."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET, Raw

from discord_tools.ipc.errors import Cancelled, RemoteError
from discord_tools.ipc.wire import jsonrpc
from discord_tools.ipc.wire.frames import RESERVED, TICKET
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.admission import Account
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.dialects.calls import Backlog, ByteBudget, DialectCall
from discord_tools.ipc_server.dialects.service import DialectService
from discord_tools.ipc_server.encoding import STANDARD, error_object
from discord_tools.ipc_server.keys import REVOKED
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("ById", "Exchange")


class ById:
    """Writes the outcome of a request under its id."""

    __slots__ = ("encoder", "number")

    def __init__(self, number: Raw, encoder: Encoder = STANDARD) -> None:
        self.number = number
        self.encoder = encoder

    def result(self, result: bytes) -> bytes:
        return jsonrpc.answer(self.number, result)

    def error(self, error: RemoteError) -> bytes:
        return jsonrpc.refuse(self.number, error_object(error, self.encoder))


class Exchange:
    """The requests of one message, and their answers.

    Parameters
    ----------
    caller: :class:`Caller`
        Who sent the message.
    account: Optional[:class:`Account`]
        What its calls count in; ``None`` for that of all connections of the caller.
    body: :class:`~discord_tools.ipc.wire.jsonrpc.Body`
        The message.
    done: Callable[[Optional[:class:`bytes`]], None]
        Called once, when all requests have their answers: with what answers the message, or with ``None`` where it asks
        for no answer.
    backlog: Optional[:class:`Backlog`]
        What waits for its socket.
    """

    def __init__(
        self,
        service: DialectService,
        caller: Caller,
        account: Account | None,
        body: jsonrpc.Body,
        done: Callable[[bytes | None], None],
        backlog: Backlog | None = None,
    ) -> None:
        self._backlog = backlog
        self._service = service
        self._caller = caller
        self._account = account
        self._body = body
        self._done = done
        #: What all answers together may still have.
        self._budget = ByteBudget(service.limits.message_bytes)
        #: The answers in the order of the requests.
        self._answers: list[bytes | None] = [None] * len(body.items)
        #: Number of requests without an answer.
        self._missing = len(body.items)
        #: The calls that somebody waits for, until they have their answers.
        self._calls: dict[DialectCall, None] = {}
        #: What the rest are answered with, once the message was aborted.
        self._aborted: RemoteError | None = None

    @property
    def open(self) -> bool:
        """:class:`bool`: Whether the answer is still to come."""
        return self._missing > 0

    async def start(self) -> None:
        """Starts the requests, some in each turn of the event loop. ``done`` may be called before this returns.

        The caller has a place for the first one. Cancelling leaves the rest without an answer.
        """
        starts = self._service.starts
        # Each is dropped once it was started: its call has the data, which counts as long as that is in progress.
        items = self._body.items
        items.reverse()
        for place in range(len(items)):
            if place and not starts.try_take():
                await starts.take()
            item = items.pop()
            if isinstance(item, jsonrpc.Fault):
                self._settle(place, item.answer)
            else:
                self._start(place, item)

    def abort(self, error: RemoteError) -> None:
        """Cancels what somebody waits for. Notifications go on: nobody waits for them anyway."""
        self._aborted = error
        for call in tuple(self._calls):
            call.abort(error)

    def _start(self, place: int, request: jsonrpc.JsonRpcRequest) -> None:
        notification = request.id is UNSET
        writer = None if request.id is UNSET else ById(request.id, self._service.encoder)
        if self._aborted is not None:
            self._settle(place, None if writer is None else writer.error(self._aborted))
            return
        if request.method.startswith(RESERVED) and request.method != TICKET:
            self._settle(place, None if writer is None else self._protocol(request.method, writer))
            return

        def done(answer: bytes | None) -> None:
            if not notification:
                del self._calls[call]
                self._settle(place, answer)

        call = DialectCall(
            self._caller,
            request.method,
            request.params,
            request.headers,
            writer,
            self._budget,
            done,
            self._backlog,
        )
        if request.acting_as is not None:
            call.acting = ActingUser(request.acting_as)
        if notification:
            # Its sender does not wait, and may be gone before it has run.
            self._settle(place, None)
        else:
            self._calls[call] = None
        self._service.calls.start(call, self._account)

    def _protocol(self, method: str, writer: ById) -> bytes:
        caller = self._service.gate.renewed(self._caller)
        if caller is None:
            return writer.error(Cancelled(REVOKED))
        try:
            answer = writer.result(self._service.describe(method, caller))
            self._budget.take(len(answer))
            return answer
        except RemoteError as error:
            return writer.error(error)

    def _settle(self, place: int, answer: bytes | None) -> None:
        self._answers[place] = answer
        self._missing -= 1
        if not self._missing:
            answers = [one for one in self._answers if one is not None]
            self._answers.clear()
            if self._body.batch:
                self._done(jsonrpc.join(answers))
            else:
                self._done(answers[0] if answers else None)
