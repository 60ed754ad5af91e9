"""``hatch run soak``: a bot and its dashboards on a network that cuts every connection several times a second.

Three processes: a bot, its dashboards, and this one, with a loopback Discord and the proxy between the two. Every call
must be answered once with its own answer, every handler must run once, every event must arrive once and in order,
streams must be whole, and memory must stay flat. Prints a table, and ends with status 1 where one of these fails.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from discord_tools.ipc import ClientSession, Gap, IPCError, Request, Server
from equipment.processes.child import Child, as_arguments
from equipment.processes.lines import orders, say
from equipment.proxy import Proxy
from equipment.usage import resident_memory
from loopback import LoopbackDiscord
from loopback.bots import running_bot

__all__ = ("main", "verdict")

KEY: Final = "a key for a while"
SESSIONS: Final = 5
CALLERS: Final = 50
EVENT_PAUSE: Final = 0.005
#: How long what is under way at the end may take.
LAST_SECONDS: Final = 30.0
#: Memory and the number of cuts are judged in runs of this length; before, the processes still warm up.
JUDGED_SECONDS: Final = 60.0
#: Maximum of the growth of the median from the second to the last quarter: noise of the allocator.
GROWTH_BYTES: Final = 3 << 20
SAMPLE_SECONDS: Final = 0.5


class Notes:
    """What the bot has done. It takes no more room the longer it goes on."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.published = 0
        self.publishing = True

    async def call(self, request: Request, caller: str, n: int, text: str) -> dict[str, Any]:
        """A caller's n-th call. Each caller waits for its answers, so the numbers rise by one."""
        if n != self.runs[caller]:
            self.wrong.append(f"{caller} called number {n} after {self.runs[caller]} calls")
        self.runs[caller] = n + 1
        if random.random() < 0.5:
            await asyncio.sleep(random.random() * 0.02)
        return {"caller": caller, "n": n, "text": text}

    async def numbers(self, request: Request, n: int) -> AsyncGenerator[int, None]:
        """The numbers up to n."""
        for i in range(n):
            yield i
            if random.random() < 0.05:
                await asyncio.sleep(0.001)

    async def publish(self, server: Server[Any]) -> None:
        """Publishes numbers until it is told to stop."""
        while self.publishing:
            await server.publish("tick", {"n": self.published, "text": "x" * random.randrange(200)})
            self.published += 1
            await asyncio.sleep(EVENT_PAUSE)


async def bot_part(discord_port: int) -> None:
    """The bot's process."""
    notes = Notes()
    async with running_bot(discord_port) as bot:
        server = Server(bot, "127.0.0.1", 0, KEY, multicast=False)
        server.add_route(notes.call)
        server.add_route(notes.numbers)
        async with server, sampling() as samples:
            publishing: list[asyncio.Task[None]] = []

            async def obey(order: str) -> dict[str, Any]:
                if order == "begin":
                    publishing.append(asyncio.create_task(notes.publish(server)))
                elif order == "stop":
                    notes.publishing = False
                    await asyncio.gather(*publishing)
                return {**vars(notes), "memory": samples}

            say({"port": server.port})
            await obeying(obey)


class Dashboards:
    """Sessions that call, read streams and listen, and check everything they get."""

    def __init__(self, port: int) -> None:
        self.calls: Counter[str] = Counter()
        self.streams = 0
        self.events: list[int] = []
        self.wrong: list[str] = []
        self.going = True
        self.last_event: int | None = None
        self._sessions = [
            ClientSession(
                "127.0.0.1", port, secret_key=KEY, timeout=LAST_SECONDS, connect_timeout=LAST_SECONDS
            )
            for _ in range(SESSIONS)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: list[asyncio.Event] = []

    async def begin(self) -> None:
        """Returns when all subscriptions are there."""
        for index, session in enumerate(self._sessions):
            await session.start()
            self.events.append(0)
            self._listening.append(asyncio.Event())
            self._do(self._listen(index, session))
            self._do(self._read(session))
        await asyncio.gather(*(event.wait() for event in self._listening))
        for index in range(CALLERS):
            self._do(self._call(f"caller {index}", self._sessions[index % SESSIONS]))

    async def end(self, last_event: int) -> None:
        """Lets everybody finish what is under way."""
        self.going = False
        self.last_event = last_event
        _, left = await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
        self.wrong += [f"still under way at the end: {task.get_name()}" for task in left]
        for task in left:
            task.cancel()
        for session in self._sessions:
            await session.close()

    def _do(self, coroutine: Any) -> None:
        async def checked() -> None:
            try:
                await coroutine
            except (AssertionError, IPCError) as error:
                self.wrong.append(f"{coroutine.__qualname__}: {type(error).__name__}: {error}")

        self._tasks.append(asyncio.create_task(checked(), name=coroutine.__qualname__))

    async def _call(self, name: str, session: ClientSession) -> None:
        while self.going:
            n, size = self.calls[name], random.choice((0, 100, 2_000, 2_000, 50_000))
            text = chr(97 + n % 26) * random.randint(0, size)
            answer = await session.request("call", caller=name, n=n, text=text)
            assert answer == {"caller": name, "n": n, "text": text}, f"the answer to {name}, {n} is another's"
            self.calls[name] = n + 1
            await asyncio.sleep(random.random() * 0.02)

    async def _read(self, session: ClientSession) -> None:
        while self.going:
            wanted, expected = random.randint(1, 500), 0
            async for item in session.stream("numbers", n=wanted):
                assert item == expected, f"item {item} came for {expected}"
                expected += 1
            assert expected == wanted, f"{expected} of {wanted} items came"
            self.streams += 1

    async def _listen(self, index: int, session: ClientSession) -> None:
        async with session.subscribe("tick") as subscription:
            self._listening[index].set()
            while self.last_event is None or self.events[index] < self.last_event:
                try:
                    async with asyncio.timeout(1.0):  # to look at the end now and then
                        event = await anext(subscription)
                except TimeoutError:
                    continue
                assert not isinstance(event, Gap), f"{event.missed} events are missing"
                assert event.seq == event.data["n"] + 1 == self.events[index] + 1, f"event {event.seq} came"
                self.events[index] += 1


async def dashboards_part(port: int) -> None:
    """The dashboards' process."""
    dashboards = Dashboards(port)
    async with sampling() as samples:

        async def obey(order: str) -> dict[str, Any]:
            if order == "begin":
                await dashboards.begin()
            elif order.startswith("end "):
                await dashboards.end(int(order.removeprefix("end ")))
            return {
                "calls": dashboards.calls,
                "streams": dashboards.streams,
                "events": dashboards.events,
                "wrong": dashboards.wrong,
                "memory": samples,
            }

        say({})
        await obeying(obey)


async def obeying(obey: Callable[[str], Awaitable[dict[str, Any]]]) -> None:
    """Does what stdin says, line by line, until that ends."""
    async for order in orders():
        say(await obey(order))


@asynccontextmanager
async def sampling() -> AsyncGenerator[list[int], None]:
    """Notes how much memory this process has, now and then."""
    samples: list[int] = []

    async def sample() -> None:
        while True:
            if (size := resident_memory()) is not None:
                samples.append(size)
            await asyncio.sleep(SAMPLE_SECONDS)

    task = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        task.cancel()
        await asyncio.wait((task,))


def part(name: str, port: int, log: str) -> Child:
    """The bot, or the dashboards, in a process of their own."""
    return Child("benchmarks.soak", *as_arguments(part=name, port=port, log=log), name=name)


async def soak(seconds: float, log: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Returns what the bot and the dashboards know at the end, and how many connections were cut."""
    async with (
        LoopbackDiscord(guilds=1, members=3) as discord_,
        part("bot", discord_.port, log) as bot,
        Proxy(bot.ready["port"], rough=True) as proxy,
        part("dashboards", proxy.port, log) as dashboards,
    ):
        await dashboards.tell("begin")
        await bot.tell("begin")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Each connection lives for an eighth to three eighths of a second.
            await asyncio.sleep(random.uniform(0.125, 0.375))
            proxy.cut()
        published = (await bot.tell("stop"))["published"]
        got = await dashboards.tell(f"end {published}")
        return await bot.tell("report"), got, proxy.cuts


def verdict(
    seconds: float, bot: dict[str, Any], dashboards: dict[str, Any], cuts: int
) -> list[tuple[str, str, str, bool]]:
    """What was checked: what was wanted, what was measured, and whether that is well."""
    calls, runs = sum(dashboards["calls"].values()), sum(bot["runs"].values())
    wrong = Counter[str]([*bot["wrong"], *dashboards["wrong"]])
    events: list[int] = dashboards["events"]
    # Each of the sessions has one connection.
    rate = cuts / SESSIONS / seconds
    rows = [
        (
            "cuts of each connection",
            "2 a second or more",
            f"{rate:.1f} a second, {cuts} in all",
            rate >= 2 or seconds < JUDGED_SECONDS,
        ),
        ("calls answered with their own answer", "all", f"{calls}", calls > 0),
        (
            "handlers run for each call",
            "1",
            f"{runs / calls:.6f}" if calls else "none",
            calls > 0 and bot["runs"] == dashboards["calls"],
        ),
        (
            "events at each subscriber, in order",
            f"{bot['published']}",
            ", ".join(map(str, events)),
            bot["published"] > 0 and all(count == bot["published"] for count in events),
        ),
        ("streams whole", "all", f"{dashboards['streams']}", dashboards["streams"] > 0),
        (
            "anything else that went wrong",
            "nothing",
            "; ".join(f"{n} x {what}" for what, n in wrong.most_common(9)) or "nothing",
            not wrong,
        ),
    ]
    for name, samples in (("bot", bot["memory"]), ("dashboards", dashboards["memory"])):
        rows.append(_memory_row(name, samples, seconds))
    return rows


def _memory_row(name: str, samples: list[int], seconds: float) -> tuple[str, str, str, bool]:
    what, limit = f"memory of the {name}", f"at most {GROWTH_BYTES >> 20} MiB more"
    if not samples:
        return what, limit, "this system does not tell", True
    quarter = max(1, len(samples) // 4)
    early, late = (
        statistics.median(part) for part in (samples[quarter : 2 * quarter] or samples, samples[-quarter:])
    )
    got = f"{early / 2**20:.1f} MiB, then {late / 2**20:.1f} MiB"
    if seconds < JUDGED_SECONDS:
        return what, f"(judged from {JUDGED_SECONDS:g} s on)", got, True
    return what, limit, got, late - early <= GROWTH_BYTES


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(
        prog="hatch run soak", description=(__doc__ or "").partition("\n")[2].strip()
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (default: 120)")
    # That connections break is what this is about, and they say so in warnings.
    parser.add_argument(
        "--log", default="ERROR", help="which log messages of the parts are shown (default: ERROR)"
    )
    parser.add_argument("--part", choices=("bot", "dashboards"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        logging.basicConfig(level=options.log, format="%(asctime)s %(name)s: %(message)s")
        asyncio.run((bot_part if options.part == "bot" else dashboards_part)(options.port))
        return
    bot, dashboards, cuts = asyncio.run(soak(options.seconds, options.log))
    rows = verdict(options.seconds, bot, dashboards, cuts)
    print(f"{CALLERS} callers, {SESSIONS} sessions, {options.seconds:g} s\n")
    print("| what | wanted | got | |\n|---|---|---|---|")
    for what, wanted, got, well in rows:
        print(f"| {what} | {wanted} | {got} | {'yes' if well else '**NO**'} |")
    if not all(well for *_, well in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
