"""``python -m equipment.processes.dashboard``: a client process without discord.py that obeys commands."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections import Counter
from typing import Any

sys.modules["discord"] = None  # type: ignore[assignment]  # Python's own way to say: never import this

from discord_tools.ipc import ClientLimits, ClientSession, IPCError  # noqa: E402
from discord_tools.ipc.missing import MISSING  # noqa: E402
from equipment.key import KEY  # noqa: E402
from equipment.processes.lines import commands, say  # noqa: E402


class Load:
    """Any number of callers that each make one request after the other, and the outcomes of all requests."""

    def __init__(self, session: ClientSession, callers: int) -> None:
        self._session = session
        self._numbers = itertools.count()
        self._outcomes: Counter[str] = Counter()
        self._last = ""
        self._answered_by: set[int] = set()
        self._stopping = False
        self._tasks = [asyncio.create_task(self._call()) for _ in range(callers)]

    async def _call(self) -> None:
        while not self._stopping:
            number = next(self._numbers)
            try:
                answer = await self._session.request("echo", number=number, spread=0.05)
                self._outcomes["answered" if answer["number"] == number else "mixed up"] += 1
                self._answered_by.add(answer["pid"])
            except IPCError as error:
                self._outcomes[type(error).__name__] += 1
                self._last = str(error)

    def outcomes(self) -> dict[str, Any]:
        return {
            "outcomes": dict(self._outcomes),
            "answered_by": sorted(self._answered_by),
            "last": self._last,
        }

    async def stop(self) -> dict[str, Any]:
        """Lets every request come to its end."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        return self.outcomes()


async def request(session: ClientSession, route: str, data: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": await session.request(route, **data)}
    except IPCError as error:
        return {"error": type(error).__name__, "message": str(error)}


async def until_answered(session: ClientSession) -> dict[str, Any]:
    """Asks until there is an answer, as a page does that its reader reloads."""
    errors: Counter[str] = Counter()
    for number in itertools.count():
        answer = await request(session, "echo", {"number": number})
        if "result" in answer:
            return {"pid": answer["result"]["pid"], "errors": dict(errors)}
        errors[answer["error"]] += 1
        await asyncio.sleep(0)
    raise AssertionError


async def serve(options: argparse.Namespace) -> None:
    queue = commands()
    load: Load | None = None
    limits = ClientLimits(heartbeat=options.heartbeat, handshake_timeout=options.handshake_timeout)
    async with ClientSession(
        port=MISSING if options.port is None else options.port,
        multicast_port=options.multicast_port or 20000,
        secret_key=KEY,
        connect_timeout=options.connect_timeout,
        limits=limits,
    ) as session:
        say({"connected": session.is_connected(), "loop": type(asyncio.get_running_loop()).__module__})
        while command := await queue.get():
            match command.pop("op"):
                case "request":
                    say(await request(session, **command))
                case "requests":
                    each = [request(session, **command["each"]) for _ in range(command["times"])]
                    say({"answers": await asyncio.gather(*each)})
                case "load":
                    load = Load(session, **command)
                    say({})
                case "outcomes":
                    assert load is not None, "no load"
                    say(load.outcomes())
                case "stop":
                    assert load is not None, "no load"
                    say(await load.stop())
                case "until_answered":
                    say(await until_answered(session))
                case op:
                    raise ValueError(f"no such op: {op}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--multicast-port", type=int)
    parser.add_argument("--heartbeat", type=float, default=20.0)
    parser.add_argument("--handshake-timeout", type=float, default=5.0)
    parser.add_argument("--connect-timeout", type=float, default=5.0)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
