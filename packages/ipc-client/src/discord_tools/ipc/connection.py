"""One connection of a client session, from the hello to the last answer."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from discord_tools.ipc._version import __version__
from discord_tools.ipc.errors import ConnectError, ConnectionLost, ProtocolError, RequestTimeout, remote_error
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.link import Link
from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.wire.frames import HELLO, Hello, Welcome
from discord_tools.ipc.wire.peer import Answered, ByeReceived, Event, Peer, Violated

__all__ = ("Connection", "Stale")

log = logging.getLogger(__name__)

AGENT = f"ipc-client/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"


class Stale(Exception):
    """The connection ended before the call was queued, so another connection can take it."""


class _Call(asyncio.Future[Answered]):
    """A call that waits for its answer. It knows its endpoint, for the error when the connection is lost."""

    endpoint: str = ""


class Connection:
    """One connection: calls go in, answers come out.

    Parameters
    ----------
    transport: :class:`Transport`
        What carries the messages.
    limits: :class:`ClientLimits`
        What this side grants.
    """

    def __init__(self, transport: Transport, limits: ClientLimits) -> None:
        self._limits = limits
        # Until the hello is answered, the server's own limit is not known; ours is as good a guess as any.
        self._peer: Peer[_Call] = Peer(calls=0, message_bytes=limits.message_bytes)
        self._link = Link(self._peer, transport, self._handle, backlog_bytes=sys.maxsize)
        self._slots = asyncio.Semaphore(1)
        self._leaving = asyncio.Event()

    @property
    def usable(self) -> bool:
        """:class:`bool`: Whether calls may be made on it."""
        return not self._leaving.is_set()

    async def wait_until_leaving(self) -> None:
        """Waits until the connection takes no more calls."""
        await self._leaving.wait()

    async def run(self) -> Closed:
        """Carries messages until the end, then ends every call that still waits."""
        try:
            closed = await self._link.run()
        finally:
            self._leaving.set()
            for call in self._peer.abandon():
                if not call.done():
                    call.set_exception(ConnectionLost(call.endpoint))
        return closed

    async def hello(self, host: str, port: int, timeout: float | None, headers: Mapping[str, Any]) -> Welcome:
        """Opens the conversation. :meth:`run` must be running.

        Raises
        ------
        ConnectError
            The other side ended the connection instead of answering, or took too long.
        ProtocolError
            Its answer is no answer to a hello.
        """
        params = Hello(AGENT, timeout, dict(headers))
        try:
            raw = await self.call(HELLO, Raw(msgspec.json.encode(params)), self._limits.handshake)
            welcome = msgspec.json.decode(raw, type=Welcome)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ProtocolError(f"the server's answer to {HELLO} cannot be understood: {error}") from error
        except (ConnectionLost, Stale, RequestTimeout) as error:
            raise ConnectError(host, port, "the connection ended before the server said hello") from error
        self._peer.message_bytes = welcome.limits.message_bytes
        # Nobody waits at the old one: other calls come after the hello.
        self._slots = asyncio.Semaphore(max(1, welcome.limits.calls))
        return welcome

    async def call(
        self, endpoint: str, params: Raw, timeout: float | None, *, began: float | None = None
    ) -> Raw:
        """Calls and waits for the answer. Cancelling it cancels the call on the other side, too.

        The timeout counts from ``began``, a time of the loop's clock, and else from now.

        Raises
        ------
        Stale
            The connection takes no more calls. Nothing was sent.
        RequestTimeout
            No answer in time.
        ConnectionLost
            The connection ended after the call was queued.
        RemoteError
            The other side answered with an error.
        """
        loop = asyncio.get_running_loop()
        if began is None:
            began = loop.time()
        slots = self._slots
        if timeout is None or not slots.locked():
            await slots.acquire()
        else:
            try:
                async with asyncio.timeout_at(began + timeout):
                    await slots.acquire()
            except TimeoutError:
                raise RequestTimeout(endpoint, timeout) from None
        try:
            if self._leaving.is_set():
                raise Stale
            call = _Call(loop=loop)
            call.endpoint = endpoint
            number = self._peer.call(endpoint, params, call)
            self._link.wake()
            timer = None if timeout is None else loop.call_at(began + timeout, _expire, call, timeout)
            try:
                answer = await call
            except (asyncio.CancelledError, RequestTimeout):
                self._peer.forget(number)
                self._link.wake()
                raise
            finally:
                if timer is not None:
                    timer.cancel()
        finally:
            slots.release()
        if answer.error is not UNSET:
            error = answer.error
            raise remote_error(endpoint, error.code, error.message, _plain(error.data))
        return answer.result  # pyright: ignore[reportReturnType]

    async def close(self, reason: str) -> None:
        """Takes leave and closes."""
        self._leaving.set()
        self._peer.bye(reason)
        await self._link.close(1000, reason, seconds=self._limits.close)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Answered):
            if not event.context.done():
                event.context.set_result(event)
        elif isinstance(event, ByeReceived):
            log.info("The bot takes leave: %s", event.reason)
            self._leaving.set()
        elif isinstance(event, Violated):
            log.warning("The bot broke the protocol: %s", event.reason)


def _expire(call: _Call, seconds: float) -> None:
    if not call.done():
        call.set_exception(RequestTimeout(call.endpoint, seconds))


def _plain(data: Raw | Any) -> Any:
    if data is UNSET:
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # The code and the message say more than that what goes with them is broken.
        log.warning("The data of an error cannot be read: %s", error)
        return None
