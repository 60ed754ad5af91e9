"""Pumps one peer over one transport: what the peer has to send in one turn of the loop leaves as one message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from discord_tools.ipc.transports.base import PROTOCOL_ERROR, Closed, Transport
from discord_tools.ipc.wire.peer import Event, Peer, Violated

__all__ = ("Link",)

#: After so many events the loop gets a turn, also when more messages lie ready: reading them does not suspend.
EVENTS_PER_TURN: Final = 64


class Link:
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
    flushed: :class:`asyncio.Event`
        Set whenever what was queued has been sent.
    """

    def __init__(
        self,
        peer: Peer,
        transport: Transport,
        handle: Callable[[Event], None],
        *,
        backlog_bytes: int,
        flushed: asyncio.Event,
    ) -> None:
        self._peer = peer
        self._transport = transport
        self._handle = handle
        self._backlog_bytes = backlog_bytes
        self._wake = asyncio.Event()
        self._flushed = flushed
        self._ending = False
        self._stopped = False
        self._writer: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Sends what the peer has queued, together with all else that is queued in this turn of the loop."""
        self._wake.set()

    async def run(self) -> Closed:
        """Carries messages both ways until the transport is closed, and returns why it was.

        Cancelling stops both directions and leaves the transport open for :meth:`close`.
        """
        self._writer = writer = asyncio.create_task(self._write(), name="ipc link writer")
        self._wake.set()  # there may be messages to send again
        try:
            return await self._read()
        finally:
            self.stop()
            await asyncio.wait((writer,))

    def stop(self) -> None:
        """Takes the peer off this connection at once: from now on nothing is fed to it or taken from it."""
        self._stopped = True
        if self._writer is not None:
            self._writer.cancel()

    async def close(self, code: int, reason: str, *, seconds: float = 1.0) -> None:
        """Sends what is queued, for so many seconds at the most, and closes the transport."""
        self._ending = True
        self._wake.set()
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=seconds)
        await self._transport.close(code, reason)

    async def _read(self) -> Closed:
        peer, receive, handle, wake = self._peer, self._transport.receive, self._handle, self._wake
        turn = 0
        while True:
            try:
                message = await receive()
            except Closed as closed:
                return closed
            if self._stopped:
                return Closed("another connection took over")
            peer.feed(message)
            events = peer.take_events()
            for event in events:
                handle(event)
                if isinstance(event, Violated) and event.fatal:
                    await self.close(PROTOCOL_ERROR, event.reason)
                    return Closed(event.reason)
            if peer.pending_bytes:
                wake.set()
                await self._wait_for_room()
            turn += len(events)
            if turn >= EVENTS_PER_TURN:
                turn = 0
                await asyncio.sleep(0)

    async def _wait_for_room(self) -> None:
        writer = self._writer
        while self._peer.pending_bytes > self._backlog_bytes and writer is not None and not writer.done():
            self._flushed.clear()
            await self._flushed.wait()

    async def _write(self) -> None:
        peer, send, wake, flushed = self._peer, self._transport.send, self._wake, self._flushed
        try:
            while True:
                await wake.wait()
                wake.clear()
                for message in peer.take_messages():
                    await send(message)
                flushed.set()
                if self._ending and not peer.pending_bytes:
                    return
        except Closed:
            # The reader meets the same end and says why. Until then it must not wait for a flush that never comes.
            await self._transport.close()
        finally:
            flushed.set()
