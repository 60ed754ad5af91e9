"""One process of one side: ``python -m benchmarks.worker bot|caller SIDE``. Started by the runner only.

It writes one line of JSON when it is ready and one for each line that it reads, and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from benchmarks.drive import Callers
from benchmarks.loops import Watch, loop_factory
from benchmarks.machine import pin
from benchmarks.sides import SIDES, make_side
from benchmarks.sides.base import Side
from benchmarks.usage import usage
from equipment.processes import lines

Command = Callable[..., Awaitable[Any]]


class _Talk:
    """The line to the runner. What others print to the standard output goes to the error output instead."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def say(self, answer: dict[str, Any]) -> None:
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()

    async def obey(self, commands: dict[str, Command]) -> None:
        """Does what it is told until nobody tells it any more."""
        queue = lines.commands()
        while (told := await queue.get()) is not None:
            try:
                self.say({"result": await commands[told.pop("op")](**told)})
            except Exception:
                self.say({"error": traceback.format_exc()})


async def _bot(side: Side, talk: _Talk, watch: Watch, discord_port: int) -> None:
    async def used() -> dict[str, Any]:
        return asdict(usage())

    async def start_watch() -> None:
        watch.start()

    async def stop_watch() -> dict[str, float]:
        watch.on = False
        return {"wall": watch.longest * 1e3, "cpu": watch.longest_cpu * 1e3}

    async with side.serve(discord_port) as address:
        talk.say({"result": address})
        await talk.obey({"usage": used, "watch": start_watch, "stall": stop_watch})


async def _caller(side: Side, talk: _Talk, address: str) -> None:
    async with side.connect(address) as asker:
        callers = Callers(side, address, asker)
        talk.say({"result": None})
        try:
            await talk.obey(
                {
                    "drive": callers.drive,
                    "subscribe": callers.subscribe,
                    "burst": callers.burst,
                    "gather": callers.gather,
                    "leave": callers.leave,
                }
            )
        finally:
            await callers.leave()


def main() -> None:
    """Runs one process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("bot", "caller"))
    parser.add_argument("side", choices=tuple(SIDES))
    parser.add_argument("--core", type=int)
    parser.add_argument("--discord", type=int, default=0)
    parser.add_argument("--address", default="")
    options = parser.parse_args()

    talk = _Talk()
    # What a program of this kind usually writes to its log: nothing but problems.
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("discord").setLevel(logging.ERROR)
    pin(options.core)
    watch = Watch()
    try:
        side = make_side(options.side)
    except ImportError as error:
        talk.say({"missing": str(error)})
        return
    run = (
        _bot(side, talk, watch, options.discord)
        if options.part == "bot"
        else _caller(side, talk, options.address)
    )
    with asyncio.Runner(loop_factory=loop_factory(side.loop, watch)) as runner:
        runner.run(run)


if __name__ == "__main__":
    main()
