"""One client's conversation with the bot: its calls, their tasks and deadlines, from the hello to the leave."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from discord_tools.ipc._version import __version__
from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    RemoteError,
    UnknownEndpoint,
)
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.link import PROTOCOL_ERROR, Link
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc.wire.codec import encode
from discord_tools.ipc.wire.frames import HELLO, RESERVED, ErrorObject, Grants, Hello, Id, Welcome
from discord_tools.ipc.wire.peer import CallReceived, CancelReceived, Event, Peer, Violated
from discord_tools.ipc_server.dispatch import Dispatcher, IncomingCall
from discord_tools.ipc_server.encoding import encode_answer

__all__ = ("Conversation",)

log = logging.getLogger(__name__)

AGENT = f"ipc-server/{__version__}"
GOING_AWAY = 1001
NO_HEADERS: Mapping[str, Any] = {}


class _Call(IncomingCall):
    """A call in progress."""

    __slots__ = (
        "deadline",
        "end",
        "endpoint",
        "headers",
        "link",
        "number",
        "params",
        "settled",
        "task",
        "timer",
    )

    def __init__(
        self, link: Link, end: Callable[[_Call], None], event: CallReceived, headers: Mapping[str, Any]
    ) -> None:
        self.link = link
        self.end = end
        self.number: Id = event.id
        self.endpoint: str = event.method
        self.params: bytes = b"{}" if event.params is UNSET else event.params  # pyright: ignore[reportAttributeAccessIssue]
        self.headers: Mapping[str, Any] = headers if event.headers is UNSET else {**headers, **event.headers}
        self.deadline: float | None = None
        self.settled = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    async def send_json(self, data: Any, /) -> None:
        # A thousand answers may be ready for a client that reads none: they stay values until there is room.
        await self.link.room()
        if self.settled:
            raise AlreadyResponded(self.endpoint)
        self.link.peer.reply(self.number, b"null" if data is None else encode_answer(data))
        self.settled = True
        self.link.wake()

    def fail(self, error: RemoteError) -> None:
        if not self.settled:
            self.link.peer.fail(self.number, error_object(error))
            self.settled = True
            self.link.wake()

    def abort(self, error: RemoteError) -> None:
        """Answers with an error now and ends the handler: a handler that ignores it keeps nobody waiting."""
        self.fail(error)
        if self.task is not None:
            # A task that is cancelled before its first step never comes to the end of its own code.
            self.task.add_done_callback(lambda _: self.end(self))
            self.task.cancel()


class Conversation:
    """What one client and the bot have to say to each other.

    Parameters
    ----------
    transport: :class:`Transport`
        What carries the messages.
    dispatcher: :class:`Dispatcher`
        What runs the calls.
    limits: :class:`ServerLimits`
        What the client is granted.
    ready: Callable[[], bool]
        Tells whether the bot is ready.
    """

    def __init__(
        self, transport: Transport, dispatcher: Dispatcher, limits: ServerLimits, ready: Callable[[], bool]
    ) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._ready = ready
        self._peer: Peer[Any] = Peer(calls=limits.calls, message_bytes=limits.message_bytes)
        self._transport = transport
        self._link = Link(
            self._peer,
            transport,
            self._handle,
            backlog_bytes=limits.backlog_bytes,
            patience=1.5 * limits.heartbeat,  # as for a client that gives no sign of life
        )
        self._loop = asyncio.get_running_loop()
        self._calls: set[_Call] = set()
        self._open: dict[Id, _Call] = {}
        self._hello: Hello | None = None
        self._seconds = limits.call_seconds
        self._draining = False
        self._spared: Collection[asyncio.Task[Any]] = ()
        self._closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Runs until the connection ends; then ends what is still in progress."""
        patience = self._loop.call_later(self._limits.handshake, self._hurry)
        try:
            closed = await self._link.run()
            who = "A client" if self._hello is None else self._hello.client
            (log.debug if closed.clean else log.info)("%s has gone: %s", who, closed.reason)
        finally:
            patience.cancel()
            self._abort_all("the connection is gone")
            await self._transport.close(GOING_AWAY, "the connection is given up")
            await self._settle(self._limits.grace)
            if self._closing is not None:
                await asyncio.wait((self._closing,))

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Takes no more calls and waits for those in progress, as long as the limits allow.

        Tasks in ``spared`` are not waited for: they are the routes that asked for all this.
        """
        self._draining = True
        self._spared = spared
        self._peer.bye("the bot is shutting down")
        self._link.wake()
        await self._settle(self._limits.grace)

    async def close(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Cancels what is in progress, but for the tasks in ``spared``, tells the callers so, and closes."""
        self._draining = True
        self._spared = spared
        self._abort_all("the bot is shutting down")
        await self._link.close(GOING_AWAY, "the bot is shutting down")

    def _abort_all(self, reason: str) -> None:
        for call in tuple(self._calls):
            if call.task not in self._spared:
                call.abort(Cancelled(reason))

    async def _settle(self, seconds: float) -> None:
        tasks = {call.task for call in self._calls if call.task is not None} - set(self._spared)
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=seconds)
        if left:
            names = sorted({call.endpoint for call in self._calls if call.task in left})
            log.warning("Still running after %g s: %s", seconds, ", ".join(names))

    def _hurry(self) -> None:
        if self._hello is None:
            log.info("A client said no hello within %g s", self._limits.handshake)
            self._close(PROTOCOL_ERROR, "no hello in time")

    def _close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = self._loop.create_task(self._link.close(code, reason))

    def _handle(self, event: Event) -> None:
        if isinstance(event, CallReceived):
            if self._hello is None or event.method.startswith(RESERVED):
                self._protocol_call(event)
            else:
                self._start(event)
        elif isinstance(event, CancelReceived):
            if call := self._open.pop(event.id, None):
                call.abort(Cancelled("the caller cancelled"))
        elif isinstance(event, Violated):
            log.warning(
                "%s broke the protocol: %s", self._hello.client if self._hello else "A client", event.reason
            )

    def _protocol_call(self, event: CallReceived) -> None:
        if event.method != HELLO:
            error = (
                UnknownEndpoint("there is no such method")
                if self._hello
                else InvalidRequest("say rpc.hello first")
            )
            self._peer.fail(event.id, error_object(error))
            if self._hello is None:
                self._close(PROTOCOL_ERROR, "the first call must be rpc.hello")
            return
        try:
            hello = msgspec.json.decode(b"{}" if event.params is UNSET else event.params, type=Hello)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
            self._peer.fail(event.id, error_object(InvalidRequest(f"bad parameters of {HELLO}: {problem}")))
            self._close(PROTOCOL_ERROR, f"bad {HELLO}")
            return
        self._hello = hello
        if hello.timeout is not None:
            self._seconds = min(self._limits.call_seconds, hello.timeout)
        grants = Grants(self._limits.calls, self._limits.message_bytes)
        self._peer.reply(event.id, encode(Welcome(AGENT, self._limits.heartbeat, grants, self._ready())))
        log.debug("%s says hello", hello.client)

    def _start(self, event: CallReceived) -> None:
        if self._draining:
            self._peer.fail(event.id, error_object(NotReady("the bot is shutting down")))
            return
        if len(self._calls) >= self._limits.calls:
            # Answered calls whose handlers go on count, too: a client must not pile them up by cancelling.
            self._peer.fail(
                event.id, error_object(Overloaded(f"{len(self._calls)} of your calls are in progress"))
            )
            return
        hello = self._hello
        headers = hello.headers if hello else NO_HEADERS
        call = _Call(self._link, self._end, event, headers)
        self._calls.add(call)
        self._open[event.id] = call
        call.deadline = self._loop.time() + self._seconds
        call.timer = self._loop.call_at(call.deadline, _expire, call)
        task = spawn(self._run_call(call), self._loop)
        if not task.done():
            call.task = task

    async def _run_call(self, call: _Call) -> None:
        try:
            await self._dispatcher.handle(call)
        finally:
            self._end(call)

    def _end(self, call: _Call) -> None:
        if call.timer is not None:
            call.timer.cancel()
        self._calls.discard(call)
        if self._open.get(call.number) is call:
            del self._open[call.number]


def _expire(call: _Call) -> None:
    call.abort(DeadlineExceeded("the time for this call is over"))


def error_object(error: RemoteError) -> ErrorObject:
    """An exception as it goes over the wire."""
    return ErrorObject(
        error.code, error.message, UNSET if error.data is None else msgspec.Raw(encode_answer(error.data))
    )


if sys.version_info >= (3, 12):

    def spawn(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """A task that runs at once up to its first wait; a handler that never waits costs no turn of the loop."""
        return asyncio.Task(coroutine, loop=loop, eager_start=True)

else:

    def spawn(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        """A task."""
        return loop.create_task(coroutine)
