"""What holds for every test: it leaves no task, no socket and no process behind, and hides no exception."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from discord.ext import commands

from discord_tools.ipc import ClientSession, Server
from equipment.key import KEY
from equipment.serving import serving
from loopback.pytest_plugin import loopback_bot, loopback_discord

__all__ = ("loopback_bot", "loopback_discord")

PATIENCE = 1.0
PROCESS = Path("/proc/self")


def pytest_collection_finish() -> None:
    # What is imported by now stays. A collection after each test need not look at it again, which makes it ten times
    # as fast.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def what_a_module_keeps_is_collected_once() -> Iterator[None]:
    """The same for the caches that its tests have filled: a documentation that was built, say."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a socket open, a task's exception unread, or a task running."""
    before = sockets()
    unread = Unread()
    logging.getLogger("asyncio").addHandler(unread)
    try:
        if inspect.iscoroutinefunction(getattr(request, "function", None)):
            request.getfixturevalue("leaves_no_task_behind")
        yield
        # What nobody holds any more is closed here, with a ResourceWarning where that was somebody's duty. So is an
        # exception of a task reported that nobody asked for.
        gc.collect()
    finally:
        logging.getLogger("asyncio").removeHandler(unread)
    assert not unread.messages, "\n".join(unread.messages)
    left = network_sockets({name: fd for name, fd in sockets().items() if name not in before})
    assert not left, f"open sockets are left: {left}"


@pytest_asyncio.fixture
async def leaves_no_task_behind() -> AsyncIterator[None]:
    """The part of :func:`leaves_nothing_behind` that has to look while the loop is still there."""
    excused = asyncio.all_tasks()
    yield
    excused |= {asyncio.current_task()}  # pyright: ignore[reportUnhashable]
    left = asyncio.all_tasks() - excused
    if left:
        # The last turns of a closed connection are the system's and aiohttp's matter.
        _, left = await asyncio.wait(left, timeout=PATIENCE)
    for task in left:
        task.cancel()
    assert not left, f"tasks are left: {left!r}"


class Unread(logging.Handler):
    """Keeps what asyncio reports when nobody else is there to tell: unread exceptions, failed callbacks."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


def sockets() -> dict[str, int]:
    """The sockets of this process with their descriptors, where the system has them; elsewhere there are the
    ResourceWarnings.
    """
    found: dict[str, int] = {}
    for descriptor in PROCESS.glob("fd/*"):
        with contextlib.suppress(OSError):  # the descriptor that listed the others is closed again
            found[os.readlink(descriptor)] = int(descriptor.name)
    return {name: descriptor for name, descriptor in found.items() if name.startswith("socket:")}


def network_sockets(ours: Mapping[str, int]) -> list[str]:
    """Those of the network. Pairs of Unix sockets are none: each event loop has one, and pytest-asyncio keeps one."""
    # The table has all connections that the machine closed within the last minute, so it is read only if need be.
    left = {name for name, descriptor in ours.items() if is_of_network(descriptor)}
    return [
        f"{table.name} {fields[1]}->{fields[2]} inode {fields[9]}"
        for table in (PROCESS.glob("net/tcp*") if left else ())
        for fields in map(str.split, table.read_text().splitlines()[1:])
        if f"socket:[{fields[9]}]" in left
    ]


def is_of_network(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        return copy.family in (socket.AF_INET, socket.AF_INET6)


@pytest_asyncio.fixture
async def server(loopback_bot: commands.Bot) -> AsyncIterator[Server[commands.Bot]]:
    """A server of ``loopback_bot`` on a free port, without multicasting."""
    async with serving(loopback_bot) as server:
        yield server


@pytest_asyncio.fixture
async def session(server: Server[commands.Bot]) -> AsyncIterator[ClientSession]:
    """A session that is connected to ``server``."""
    async with ClientSession(port=server.port, secret_key=KEY) as session:
        yield session
