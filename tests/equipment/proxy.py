"""A network that fails: a proxy that cuts, delays, splits, merges and loses what goes through it."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress


class Proxy:
    """Stands between clients and a port of 127.0.0.1; an asynchronous context manager.

    Parameters
    ----------
    upstream
        The port that it leads to. It may be changed at any time, for connections from then on.
    rough
        Whether pieces are split and merged at random places, and delayed now and then.
    """

    def __init__(self, upstream: int, *, rough: bool = False) -> None:
        self.upstream = upstream
        self.port = 0
        #: Whether new connections are closed at once.
        self.refusing = False
        #: Number of connections that were made to it, closed ones included.
        self.accepted = 0
        #: Number of connections that were cut.
        self.cuts = 0
        #: Number of pieces that went through, in either direction.
        self.pieces = 0
        self._rough = rough
        self._flowing = asyncio.Event()
        self._flowing.set()
        #: For each direction that is going to be cut: how many bytes still go through.
        self._left: dict[str, int] = {}
        #: For each direction in which data is lost: how many bytes still arrive.
        self._arriving: dict[str, int] = {}
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._pairs)

    def cut(self) -> int:
        """Cuts all connections, on both sides, and returns their number."""
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for writer in pair:
                writer.transport.abort()
        self.cuts += len(pairs)
        return len(pairs)

    def cut_after(self, direction: str, size: int) -> None:
        """Cuts after ``size`` more bytes in one direction, ``up`` to the bot or ``down`` from it: within a frame."""
        self._left[direction] = size

    def lose(self, direction: str, after: int = 0) -> None:
        """Discards what is sent in one direction from now on, ``after`` some bytes, without closing anything."""
        self._arriving[direction] = after

    def freeze(self) -> None:
        """Lets nothing through from now on, without closing anything: a half-open socket."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Lets through what was held back, and everything after it."""
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        onward: asyncio.StreamWriter | None = None
        try:
            if not self.refusing:
                back, onward = await asyncio.open_connection("127.0.0.1", self.upstream)
                await self._join(reader, writer, back, onward)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()
            if onward is not None:
                onward.transport.abort()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        onward: asyncio.StreamWriter,
    ) -> None:
        pair = (writer, onward)
        self._pairs.add(pair)
        ways = [
            asyncio.create_task(self._carry("up", reader, onward)),
            asyncio.create_task(self._carry("down", back, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            self._pairs.discard(pair)

    async def _carry(
        self, direction: str, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while data := await source.read(self._size()):
                await self._flowing.wait()
                if self._rough and random.random() < 0.1:
                    # What is received meanwhile is merged with the next piece.
                    await asyncio.sleep(random.random() * 0.01)
                left = self._left.get(direction)
                if left is not None:
                    self._left[direction] = left - len(data)
                    data = data[:left]
                if direction in self._arriving:
                    arriving = self._arriving[direction]
                    self._arriving[direction] = max(0, arriving - len(data))
                    data = data[:arriving]
                self.pieces += 1
                target.write(data)
                await target.drain()
                if left is not None and self._left[direction] <= 0:
                    del self._left[direction]
                    self.cuts += 1
                    break
            target.close()  # what was let through is sent first
            await target.wait_closed()

    def _size(self) -> int:
        return random.choice((1, 7, 100, 4096, 65536, 65536)) if self._rough else 65536
