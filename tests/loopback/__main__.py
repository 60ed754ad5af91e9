"""``python -m loopback``: see :mod:`loopback.process` for what goes in and out."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
from types import FrameType

from .process import execute
from .server import LoopbackDiscord

OPTIONS = (
    ("guilds", 2, "how many guilds"),
    ("members", 5, "members in each guild, the bot included"),
    ("text-channels", 2, "text channels in each guild"),
    ("voice-channels", 0, "voice channels in each guild"),
    ("roles", 2, "roles in each guild besides @everyone"),
    ("shards", 1, "shards recommended to a bot that asks"),
    ("port", 0, "where to listen, 0 for any free port"),
)


async def serve(options: argparse.Namespace) -> None:
    """Runs until stdin ends or a signal says so."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def end() -> None:
        lines.put_nowait("")

    def end_from_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(end)

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, end)
        except NotImplementedError:  # Windows; there, a signal wakes the loop by itself
            signal.signal(number, end_from_signal)
    async with LoopbackDiscord(**vars(options), clock=True) as discord_:
        say({"port": discord_.port, "guilds": [str(guild.id) for guild in discord_.guilds]})
        # A daemon, for a read of stdin cannot be interrupted when a signal asks for the end.
        threading.Thread(target=read, name="stdin", daemon=True).start()
        while line := await lines.get():
            say(await execute(discord_, line))


def say(answer: dict[str, object]) -> None:
    """Writes one line."""
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Parses the command line and serves."""
    parser = argparse.ArgumentParser(prog="python -m loopback", description="A Discord on 127.0.0.1.")
    for name, default, meaning in OPTIONS:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} (default: {default})")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
