"""The demo's command, as a reader runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from demo import running_demo

from equipment.ports import taken_port

from .conftest import LAUNCH, gone


@asynccontextmanager
async def started(*arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The demo's command as a process, which a failing test does not leave behind."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, str(LAUNCH / "demo.py"), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*arguments: str) -> tuple[int, str, str]:
    async with started(*arguments) as process:
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


async def line_of(process: asyncio.subprocess.Process, start: str) -> str:
    """The next line of output that begins so."""
    assert process.stdout is not None
    assert process.stderr is not None
    async for line in process.stdout:
        if line.decode().strip().startswith(start):
            return line.decode().strip()
    raise AssertionError(f"the demo ended before {start!r}: {(await process.stderr.read()).decode()}")


async def address(process: asyncio.subprocess.Process) -> str:
    return (await line_of(process, "Dashboard:")).split()[-1]


async def test_check_prints_the_guilds_that_the_page_gets_and_succeeds() -> None:
    code, out, err = await run("--check")
    first, answer = out.split("\n", 1)
    assert (code, err) == (0, "")
    assert first.startswith("GET http://127.0.0.1:")
    assert first.endswith("/api/guilds -> 200")
    assert [guild["member_count"] for guild in json.loads(answer)] == [12] * 4


async def test_check_fails_and_says_which_part_ended_and_why() -> None:
    with taken_port() as port:
        code, _, err = await run("--check", "--port", str(port))
    assert code == 1
    assert "The dashboard ended while starting (1)." in err
    assert f"cannot listen on 127.0.0.1:{port}" in err


async def test_nothing_is_left_of_the_demo_when_it_ends() -> None:
    async with running_demo() as demo:
        parts = [demo.discord, demo.bot, demo.dashboard]
        codes = [part and part.process.returncode for part in parts]
    assert codes == [None, None, None]
    assert [part and part.process.returncode for part in parts] == [0, 0, 0]
    await gone(demo.url)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a console, not to a process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
async def test_ctrl_c_and_sigterm_end_all_parts(name: str) -> None:
    async with started("--port", "0") as process:
        url = await address(process)
        process.send_signal(getattr(signal, name))
        out, err = await process.communicate()
        assert (process.returncode, err.decode()) == (0, "")
        assert out.decode().endswith("Ended.\n")
        await gone(url)


async def test_no_part_outlives_a_launcher_that_was_killed() -> None:
    async with started("--port", "0") as process:
        url = await address(process)
        process.kill()
    await gone(url)


async def test_a_bot_that_ends_is_started_again() -> None:
    async with started("--port", "0") as process:
        url = await address(process)
        line = await line_of(process, "The bot is process ")
        os.kill(int(line.removeprefix("The bot is process ").split(":")[0]), signal.SIGTERM)
        await line_of(process, "The bot is back")
        async with aiohttp.ClientSession(url) as http, http.get("/api/status") as response:
            assert response.status == 200
            assert (await response.json())["ready"] is True
    await gone(url)
