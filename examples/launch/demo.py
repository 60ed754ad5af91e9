"""Start the whole demo with one command: a Discord, a bot on it, and a dashboard for the bot.

The Discord is the loopback one of the tests, so this needs neither internet nor a token. With DISCORD_TOKEN
set, the bot runs on Discord itself; it then needs the SERVER MEMBERS and MESSAGE CONTENT intents, which are
switched on at https://discord.com/developers/applications under Bot.
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from children import Child, ChildFailed
from life import live

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests"  # the loopback Discord is one of their packages
PORT = 8080
RESTART = 5.0  # seconds; long enough to see how the page takes it


@dataclass
class Demo:
    url: str
    discord: Child | None  # None when the bot is on the real one
    bot: Child
    dashboard: Child
    environment: Mapping[str, str]  # what the bot and the dashboard share


@contextlib.asynccontextmanager
async def running_demo(port: int = 0, token: str | None = None) -> AsyncGenerator[Demo]:
    """The three processes, started in order and ended in the opposite one: a bot before its Discord."""
    python = (sys.executable, "-X", "utf8")
    base = {name: value for name, value in os.environ.items() if name not in ("DISCORD_TOKEN", "PYTHONPATH")}
    # What both sides of the IPC must know. The bot's own port is any free one; the multicast port tells it.
    ipc = {"IPC_SECRET_KEY": secrets.token_urlsafe(), "IPC_MULTICAST_PORT": str(free_port())}
    child = (*python, str(HERE / "child.py"))
    # A dashboard belongs where only the client is installed; here it is kept from importing the rest.
    alone = ("--without", "discord", "--without", "discord_tools.ipc_server")

    async with contextlib.AsyncExitStack() as started:
        discord = None
        if token is not None:
            bot_env = {"DISCORD_TOKEN": token}
        else:
            tests = {"PYTHONPATH": str(TESTS)}
            world = ("--guilds", "4", "--members", "12", "--text-channels", "3")
            discord = Child("Discord", *python, "-m", "loopback", *world, env=base | tests)
            await started.enter_async_context(discord)
            bot_env = tests | {"LOOPBACK_PORT": str(json.loads(discord.ready_line)["port"])}
        bot = Child("bot", *child, "bot", env=base | ipc | bot_env)
        await started.enter_async_context(bot)
        dashboard = Child("dashboard", *child, *alone, "dashboard", "--port", str(port), env=base | ipc)
        await started.enter_async_context(dashboard)
        yield Demo(dashboard.ready_line, discord, bot, dashboard, ipc)


def free_port(*wanted: int) -> int:
    """The first of these ports that is free, or any."""
    for port in (*wanted, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            return probe.getsockname()[1]
    raise OSError("this machine has no free port")


async def watch(demo: Demo) -> None:
    """Start the bot again whenever it ends. Raises when another part ends, or when the bot does not start."""
    children = [child for child in (demo.discord, demo.bot, demo.dashboard) if child is not None]
    waits = {asyncio.create_task(child.ended()): child for child in children}
    try:
        while True:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                child = waits.pop(wait)
                if child is not demo.bot:
                    raise ChildFailed(child, f"ended ({wait.result()})")
                print(f"The bot ended ({wait.result()}) and is started again in {RESTART:g} s.", flush=True)
                await asyncio.sleep(RESTART)
                await child.start()
                print(f"The bot is back as process {child.process.pid}.", flush=True)
                waits[asyncio.create_task(child.ended())] = child
    finally:
        for wait in waits:
            wait.cancel()


async def run(port: int, token: str | None) -> None:
    where = "Discord" if token else "the loopback Discord"
    print(f"Starting a bot on {where}, and its dashboard.", flush=True)
    async with running_demo(port, token) as demo:
        print(f"\n    Dashboard:  {demo.url}\n", flush=True)
        print(f"The bot is process {demo.bot.process.pid}: end it, and see how the page takes it.")
        print("Ctrl-C ends the demo.", flush=True)
        if demo.discord is None:
            await watch(demo)
        else:
            await asyncio.gather(watch(demo), live(demo.discord))


class CheckFailed(Exception):
    """The demo runs, but does not do what it should."""


async def check(port: int, token: str | None) -> None:
    """Start everything, ask the page's own API one question, and say what it answered."""
    async with running_demo(port, token) as demo, aiohttp.ClientSession(demo.url) as http:
        async with http.get("/api/about") as response:
            about = await response.json()
        if any(about["importable"].values()):
            raise CheckFailed(f"The dashboard is to have the client only, but says: {about}")
        async with http.get("/api/guilds") as response:
            answer: Any = await response.json()
        print(f"GET {demo.url}api/guilds -> {response.status}\n{json.dumps(answer, indent=2)}")
        if response.status != 200 or (not answer and token is None):
            raise CheckFailed("The dashboard's API did not answer with the bot's guilds.")


async def stoppable(work: Coroutine[Any, Any, None]) -> None:
    """Let SIGTERM, or the terminal closing, end it as Ctrl-C does. (Windows has neither, and only Ctrl-C.)"""
    task = asyncio.ensure_future(work)
    for name in ("SIGTERM", "SIGHUP"):
        with contextlib.suppress(AttributeError, NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), task.cancel)
    await task


def main() -> int | str:
    parser = argparse.ArgumentParser(description="A Discord, a bot and its dashboard, with one command.")
    parser.add_argument("--check", action="store_true", help="ask the page's API once, and end")
    parser.add_argument("--port", type=int, help="the dashboard's; 0 takes a free one; default: 8080 if free")
    options = parser.parse_args()
    token = os.environ.get("DISCORD_TOKEN") or None
    port = options.port
    if port is None:
        port = 0 if options.check else free_port(PORT)
    try:
        asyncio.run(stoppable(check(port, token) if options.check else run(port, token)))
    except (ChildFailed, CheckFailed) as error:
        return str(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Ended.")
        return 1 if options.check else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
