"""One connection of a conversation: carries a peer's messages over a transport.

What the peer sends in one turn of the event loop leaves as one message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from msgspec import UNSET

from discord_tools.ipc.logs import LabelledLogger
from discord_tools.ipc.tasks import spawn
from discord_tools.ipc.transports.base import PROTOCOL_ERROR, Closed, Transport
from discord_tools.ipc.wire.peer import Peer
from discord_tools.ipc.wire.received import CallReceived, PeerEvent, ProtocolViolation

__all__ = ("Connection",)

log = logging.getLogger(__name__)

#: Events, or bytes to be sent, after which the loop gets a turn although more messages lie ready: reading them does not
#: suspend. What they led to is sent by then, so the other side works on the first half of a large pack while this side
#: works on the second.
EVENTS_PER_TURN: Final = 32
BYTES_PER_TURN: Final = 256 * 1024

#: Messages up to this size are decoded without waiting for a turn, in bytes.
LARGE_BYTES: Final = 64 * 1024

NOT_READING: Final = Closed("it does not read what it is sent")
_REPLACED: Final = Closed("another connection took over")


class Turns(Protocol):
    """Bounds what is decoded in one turn of the event loop. Implemented by the server's ``TurnBudget``."""

    async def take(self, size: int) -> None:
        """Waits for a turn in which a message of that size may be decoded."""
        ...

    async def rest(self) -> None:
        """Waits for another turn, of those in which a bounded number of connections go on."""
        ...


class Connection:
    """Reads, writes, and holds both back where the other side is slow.

    Parameters
    ----------
    peer: :class:`Peer`
        Whose messages are carried.
    transport: :class:`Transport`
        What carries them.
    handle: Callable[[PeerEvent], None]
        Called for each event. It must not raise and must not wait.
    label: :class:`str`
        Precedes every line in the log.
    backlog_bytes: :class:`int`
        Bytes waiting to be sent above which nothing more is read, so that a client that calls and never reads costs a
        bounded amount of memory.
    backlog_timeout: Optional[:class:`float`]
        Maximum time with more than that waiting, in seconds, after which the connection ends. ``None`` for no limit.
        Heartbeats do not notice such a client, since their failure is noticed by reading.
    turns: Optional[:class:`Turns`]
        What large messages wait for before they are decoded. ``None`` where the other side is trusted.
    """

    def __init__(
        self,
        peer: Peer[Any],
        transport: Transport,
        handle: Callable[[PeerEvent], None],
        label: str,
        *,
        backlog_bytes: int,
        backlog_timeout: float | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._peer = peer
        #: What the peer has to send. Looked at after each event.
        self._outbox = peer.outbox
        self._transport = transport
        self._handle = handle
        self._backlog_bytes = backlog_bytes
        self._backlog_timeout = backlog_timeout
        #: What large messages wait for before they are decoded.
        self._turns = turns
        #: The event loop of all that this does.
        self._loop = asyncio.get_running_loop()
        #: Precedes every line with the label.
        self.log: LabelledLogger = LabelledLogger(log, label)
        #: Set when a message was sent, for :meth:`wait_for_capacity`.
        self._sent = asyncio.Event()
        #: Bytes that were taken from the peer and are not sent yet.
        self._sending = 0
        #: Sends what the peer has queued, while there is something.
        self._sender: asyncio.Task[None] | None = None
        #: Whether messages are sent. Not before :meth:`run`, nor after the end.
        self._running = False
        #: Whether events are being handled: what they lead to is sent at their end.
        self._handling = False
        #: Whether another connection took over, or this one has ended.
        self._stopped = False

    def wake(self) -> None:
        """Sends what the peer has queued, together with everything that is queued in this turn of the loop."""
        if self._sender is None and self._running and not self._handling:
            self._sender = self._loop.create_task(self._send(), name="ipc sender")

    async def wait_for_capacity(self) -> None:
        """Waits until less is to be sent than the backlog may hold, or until nothing is sent any more.

        Producers of large frames wait here first, since reading less does not hold back handlers that run.
        """
        while self.is_full():
            self._sent.clear()
            await self._sent.wait()

    def is_full(self) -> bool:
        """:class:`bool`: Whether more waits to be sent than the backlog may hold."""
        return self._running and self._outbox.pending_bytes + self._sending > self._backlog_bytes

    @property
    def is_blocked(self) -> bool:
        """:class:`bool`: Whether something waits that the other side does not read."""
        return self._sending > 0

    async def run(self) -> Closed:
        """Carries messages both ways until the transport is closed, and returns why it was.

        Cancelling stops both directions and leaves the transport open for :meth:`close`.
        """
        if self._stopped:
            return _REPLACED
        self._running = True
        self._flush()  # there may be messages to send again
        try:
            return await self._read()
        finally:
            sender = self._sender
            self.stop()
            if sender is not None:
                await asyncio.wait((sender,))

    def stop(self) -> None:
        """Detaches the peer at once: from now on nothing is fed to it or taken from it."""
        self._stopped = True
        self._stop_sending()
        if self._sender is not None:
            self._sender.cancel()

    async def close(self, code: int, reason: str, *, timeout: float = 1.0) -> None:
        """Sends what is queued, for at most ``timeout`` seconds, and closes the transport."""
        self._flush()
        if self._sender is not None:
            await asyncio.wait((self._sender,), timeout=timeout)
        await self._transport.close(code, reason)

    async def _read(self) -> Closed:
        peer, outbox, receive, handle = self._peer, self._outbox, self._transport.receive, self._handle
        turn = 0
        large = False
        while True:
            before = turn
            self._handling = True
            while not self._stopped and (event := peer.next_event()) is not None:
                handle(event)
                if type(event) is ProtocolViolation and event.fatal:
                    await self.close(PROTOCOL_ERROR, event.reason)
                    return Closed("it broke the protocol too often")
                turn += 1
                if large and isinstance(event, CallReceived):
                    turn += _weight(event)
                if turn >= EVENTS_PER_TURN or outbox.pending_bytes > BYTES_PER_TURN:
                    # Within a message, too: one pack may hold thousands of calls.
                    turn = 0
                    self._handling = False
                    self._flush()
                    await self._rest()
                    if large and self._turns is not None:
                        await self._turns.take(BYTES_PER_TURN)
                    if self.is_full() and not await self._drained():
                        return NOT_READING
                    self._handling = True
            self._handling = False
            if turn == before and (turn := turn + 1) >= EVENTS_PER_TURN:
                # A message without an event counts, too: a thousand of them may lie ready.
                turn = 0
                await self._rest()
            if outbox.pending_bytes:
                self._flush()
            if self.is_full() and not await self._drained():
                return NOT_READING
            try:
                message = await receive()
            except Closed as closed:
                return closed
            large = len(message) > LARGE_BYTES
            if large and self._turns is not None:
                await self._turns.take(len(message))
            if self._stopped:
                return _REPLACED
            peer.feed(message)

    async def _rest(self) -> None:
        """Leaves this turn of the event loop to others."""
        if self._turns is None:
            await asyncio.sleep(0)
        else:
            await self._turns.rest()

    async def _drained(self) -> bool:
        """Waits until the backlog has capacity. Returns ``False`` where the other side does not read in time."""
        try:
            async with asyncio.timeout(self._backlog_timeout):
                await self.wait_for_capacity()
        except TimeoutError:
            return False
        return True

    def _flush(self) -> None:
        """Sends at once, where this Python can; otherwise in the next turn of the loop."""
        if self._sender is None and self._running:
            task = spawn(self._send(), self._loop)
            if not task.done():
                self._sender = task

    async def _send(self) -> None:
        send = self._transport.send
        try:
            while messages := self._peer.take_messages():
                self._sending = sum(map(len, messages))
                for message in messages:
                    await send(message)
                    self._sending -= len(message)
                    self._sent.set()
        except Closed:
            # The reader meets the same end and says why.
            self._stop_sending()
            await self._transport.close()
        except Exception:
            # A bug in this library must not leave a connection that is read and never answered.
            self.log.exception("Sending failed")
            self._stop_sending()
            await self._transport.close()
        finally:
            self._sender = None

    def _stop_sending(self) -> None:
        self._running = False
        self._sent.set()  # nobody must wait for what is not sent any more


def _weight(call: CallReceived) -> int:
    """How many events a call counts as: its data may take as long to decode as many small calls."""
    size = 0 if call.params is UNSET else memoryview(call.params).nbytes
    return size * EVENTS_PER_TURN // BYTES_PER_TURN
