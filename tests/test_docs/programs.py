"""Runs a program of the documentation as a reader would: saved in a file, in a process of its own.

``python programs.py bot FILE`` and ``python programs.py dashboard FILE`` run it unchanged. Only what the
machine decides is different: Discord is the loopback, free ports stand in for the default ones, and
a dashboard finds no discord.py to import.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import runpy
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from equipment.checkout import ROOT

if TYPE_CHECKING:
    import pytest

TESTS = ROOT / "tests"


def defaults(function: Any, **values: object) -> tuple[object, ...]:
    """The ``__defaults__`` of a function with some of them replaced."""
    parameters = [
        each for each in inspect.signature(function).parameters.values() if each.default is not each.empty
    ]
    positional = [each for each in parameters if each.kind is not each.KEYWORD_ONLY]
    assert values.keys() <= {each.name for each in positional}
    return tuple(values.get(each.name, each.default) for each in positional)


def point_at(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Makes another multicast port the default of new sessions."""
    from discord_tools.ipc import ClientSession

    changed = defaults(ClientSession.__init__, multicast_port=port)
    monkeypatch.setattr(ClientSession.__init__, "__defaults__", changed)


def as_bot() -> None:
    import discord

    from discord_tools.ipc import Server
    from loopback import LoopbackConnector

    login, dispatch = discord.Client.login, discord.Client.dispatch
    Server.__init__.__defaults__ = defaults(Server.__init__, port=0, multicast_port=0)

    async def loopback_login(self: discord.Client, token: str) -> None:
        self.http.connector = LoopbackConnector(int(os.environ["LOOPBACK_PORT"]))
        await login(self, token)

    def tell(self: Any, event: str, /, *args: object, **kwargs: object) -> None:
        dispatch(self, event, *args, **kwargs)
        if event == "ready":
            multicast = self.ipc.multicast_ws_url if self.ipc.multicast else None
            print(json.dumps({"url": self.ipc.ws_url, "multicast": multicast}), flush=True)

    discord.Client.login = loopback_login
    discord.Client.dispatch = tell


class WithoutServer:
    """Finds what another finder does, but for discord.py and the server: a dashboard's machine has neither."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] == "discord" or name.startswith("discord_tools.ipc_server"):
            return None
        return self._finder.find_spec(name, path, target)


def as_dashboard() -> None:
    sys.meta_path[:] = [WithoutServer(finder) for finder in sys.meta_path]
    from discord_tools.ipc import ClientSession

    port = int(os.environ["MULTICAST_PORT"])
    ClientSession.__init__.__defaults__ = defaults(ClientSession.__init__, multicast_port=port)


@dataclass(frozen=True)
class BotProgram:
    """A bot program that runs and is ready."""

    process: asyncio.subprocess.Process
    port: int
    multicast_port: int | None

    async def stop(self, signal: int) -> tuple[int | None, str]:
        """Sends a signal; the exit code and what it wrote to stderr."""
        self.process.send_signal(signal)
        _, stderr = await self.process.communicate()
        return self.process.returncode, stderr.decode()


async def spawn(role: str, file: Path, environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, role, str(file)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def running_program(
    file: Path, environment: dict[str, str], loopback_port: int
) -> AsyncIterator[BotProgram]:
    """Runs a bot program until the end of the block."""
    process = await spawn("bot", file, {"LOOPBACK_PORT": str(loopback_port), **environment})
    try:
        assert process.stdout is not None
        ready = await process.stdout.readline()
        if not ready:
            _, stderr = await process.communicate()
            raise AssertionError(f"the bot ended before it was ready:\n{stderr.decode()}")
        urls = json.loads(ready)
        yield BotProgram(process, port_of(urls["url"]), urls["multicast"] and port_of(urls["multicast"]))
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def output_of(file: Path, environment: dict[str, str], multicast_port: int) -> str:
    """Runs a dashboard program to its end; what it printed."""
    process = await spawn("dashboard", file, {"MULTICAST_PORT": str(multicast_port), **environment})
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    return stdout.decode()


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def main() -> NoReturn:
    role, file = sys.argv[1:]
    {"bot": as_bot, "dashboard": as_dashboard}[role]()
    sys.argv = [file]
    runpy.run_path(file, run_name="__main__")
    raise SystemExit


if __name__ == "__main__":
    main()
