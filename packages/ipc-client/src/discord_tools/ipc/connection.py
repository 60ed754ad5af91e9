"""Pumps one peer over one transport: what the peer has to send in one turn of the loop leaves as one message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from discord_tools.ipc.tasks import spawn
from discord_tools.ipc.transports.base import PROTOCOL_ERROR, Closed, Transport
from discord_tools.ipc.wire.peer import Event, Peer, ProtocolViolation

__all__ = ("Connection",)

log = logging.getLogger(__name__)

#: After so many events, or with so much to be sent, the loop gets a turn, also when more messages lie ready: reading
#: them does not suspend. What they led to is sent by then, so the other side begins with the first half of a large
#: pack while this side works on the second.
EVENTS_PER_TURN: Final = 32
BYTES_PER_TURN: Final = 256 * 1024

STUCK: Final = Closed("it does not read what it is sent")
_REPLACED: Final = Closed("another connection took over")


class Connection:
    """One connection at work.

    Parameters
    ----------
    peer: :class:`Peer`
        Whose frames are carried.
    transport: :class:`Transport`
        What carries them.
    handle: Callable[[Event], None]
        Called for each event. It must not raise and must not wait.
    backlog_bytes: :class:`int`
        With more than this waiting to be sent, nothing more is read. So a client that asks and never reads costs a
        bounded amount of memory.
    patience: Optional[:class:`float`]
        After so many seconds with more than that waiting, the other side is given up: it does not read. ``None`` for
        no limit. Heartbeats do not find this out, since reading is what notices their failure.
    """

    def __init__(
        self,
        peer: Peer,
        transport: Transport,
        handle: Callable[[Event], None],
        *,
        backlog_bytes: int,
        patience: float | None = None,
    ) -> None:
        self._peer = peer
        self._transport = transport
        self._handle = handle
        self._backlog_bytes = backlog_bytes
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._sent = asyncio.Event()
        self._sending = 0
        self._sender: asyncio.Task[None] | None = None
        self._running = False
        #: While events are looked at: what they lead to is sent at their end.
        self._reading = False
        self._stopped = False

    def wake(self) -> None:
        """Sends what the peer has queued, together with all else that is queued in this turn of the loop."""
        if self._sender is None and self._running and not self._reading:
            self._sender = self._loop.create_task(self._send(), name="ipc link sender")

    async def room(self) -> None:
        """Waits until less is to be sent than the backlog may hold, or until nothing is sent any more.

        Who makes large frames waits here first, since holding back what is read does not hold back what runs.
        """
        while self.is_full():
            self._sent.clear()
            await self._sent.wait()

    def is_full(self) -> bool:
        """:class:`bool`: Whether more waits to be sent than the backlog may hold."""
        return self._running and self._peer.pending_bytes + self._sending > self._backlog_bytes

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
        """Takes the peer off this connection at once: from now on nothing is fed to it or taken from it."""
        self._stopped = True
        self._stop_sending()
        if self._sender is not None:
            self._sender.cancel()

    async def close(self, code: int, reason: str, *, seconds: float = 1.0) -> None:
        """Sends what is queued, for so many seconds at the most, and closes the transport."""
        self._flush()
        if self._sender is not None:
            await asyncio.wait((self._sender,), timeout=seconds)
        await self._transport.close(code, reason)

    async def _read(self) -> Closed:
        peer, receive, handle = self._peer, self._transport.receive, self._handle
        turn = 0
        while True:
            self._reading = True
            while not self._stopped and (event := peer.next_event()) is not None:
                handle(event)
                if isinstance(event, ProtocolViolation) and event.fatal:
                    await self.close(PROTOCOL_ERROR, event.reason)
                    return Closed("it broke the protocol too often")
                turn += 1
                if turn >= EVENTS_PER_TURN or peer.pending_bytes > BYTES_PER_TURN:
                    # Within a message, too: one pack may hold thousands of calls.
                    turn = 0
                    self._reading = False
                    self._flush()
                    await asyncio.sleep(0)
                    if self.is_full() and not await self._caught_up():
                        return STUCK
                    self._reading = True
            self._reading = False
            if peer.pending_bytes:
                self._flush()
            if self.is_full() and not await self._caught_up():
                return STUCK
            try:
                message = await receive()
            except Closed as closed:
                return closed
            if self._stopped:
                return _REPLACED
            peer.feed(message)

    async def _caught_up(self) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                await self.room()
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
            # A fault of ours must not leave a connection that is read and never answered.
            log.exception("Sending failed")
            self._stop_sending()
            await self._transport.close()
        finally:
            self._sender = None

    def _stop_sending(self) -> None:
        self._running = False
        self._sent.set()  # nobody must wait for what is not sent any more
