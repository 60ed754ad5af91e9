"""A TCP port that follows a script, ports on which nothing listens, and whether one is free."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

__all__ = (
    "Script",
    "VacantPort",
    "answering",
    "closing",
    "free_port",
    "is_free",
    "listening",
    "needs_ipv6",
    "silence",
    "silence_after",
    "taken_port",
)


def has_ipv6() -> bool:
    """Whether this machine has IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no interface of this machine has ::1")

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@asynccontextmanager
async def listening(script: Script, port: int = 0) -> AsyncIterator[int]:
    """A TCP port that follows a script on each connection. Connections end when the test does, if not by themselves."""
    tasks: set[asyncio.Task[object]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A script that closes each connection at once."""
    writer.close()
    await writer.wait_closed()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A script that reads everything and answers nothing."""
    await reader.read()


def silence_after(connected: asyncio.Event) -> Script:
    """A script like :func:`silence`, with an event that the first connection sets."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await silence(reader, writer)

    return script


def answering(data: bytes) -> Script:
    """A script that answers the first request with these bytes and closes the connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        await closing(reader, writer)

    return script


class VacantPort:
    """A port on which nothing listens. It is held, so that no other program on this machine is given it meanwhile."""

    def __init__(self) -> None:
        self._held = socket.socket()
        self._held.bind(("127.0.0.1", 0))
        self.port: int = self._held.getsockname()[1]

    def __enter__(self) -> int:
        return self.port

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Frees the port, for a bot of the same test."""
        self._held.close()


@contextmanager
def taken_port() -> Iterator[int]:
    """A port on which something else listens, so that nothing of a test can."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def free_port() -> int:
    """A port that was free just now, for a test in which something may listen on it."""
    with taken_port() as port:
        return port


def is_free(port: int) -> bool:
    """Whether something could listen on a port now."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
