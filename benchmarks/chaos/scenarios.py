"""What is done to the bot, its callers, and the network between them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.chaos.notes import Report
from benchmarks.chaos.world import Load, World
from equipment.until import until

__all__ = ("HALF_OPEN_LINK", "SCENARIOS", "Scenario", "usable_clients")

#: The scenario that needs network namespaces.
HALF_OPEN_LINK: Final = "half-open-link"

#: Descriptors of the bot that is short of them. It needs about twenty for itself.
FEW_FILES: Final = 64

#: Callers of the scenario that stops the bot give up after this, in seconds.
SHORT_TIMEOUT: Final = 1.0

#: How long all of many clients may take to connect, in seconds.
MANY_SECONDS: Final = 60.0

#: Descriptors of this process for each client: both ends of two connections, and one that is being closed.
FILES_PER_CLIENT: Final = 3


@dataclass(frozen=True)
class Scenario:
    """Something that goes wrong, again and again."""

    name: str
    #: Goes on until the end of the world.
    run: Callable[[World], Awaitable[None]]
    load: Load = field(default_factory=Load)
    #: What :func:`.world.world` gets besides.
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    #: Whether each call must be answered.
    all_answered: bool = False

    def check(self, report: Report) -> None:
        """Looks for what this scenario does not allow."""
        if self.all_answered and report.answered < report.calls:
            names = ", ".join(f"{count} x {name}" for name, count in report.errors.items())
            report.wrong.append(f"each call must be answered here, and there were errors: {names}")


async def kill_bot(world: World) -> None:
    """kill -9 of the bot; another one starts."""
    while world.goes_on():
        await asyncio.sleep(world.random.uniform(0.1, 0.8))
        await world.kill_bot()


async def kill_callers(world: World) -> None:
    """kill -9 of the callers; others start."""
    while world.goes_on():
        await asyncio.sleep(world.random.uniform(0.1, 0.8))
        await world.kill_callers()


async def stop_bot(world: World) -> None:
    """SIGSTOP of the bot for longer than callers wait."""
    while world.goes_on():
        await asyncio.sleep(world.random.uniform(0.3, 0.8))
        world.bot.signal(signal.SIGSTOP)
        await asyncio.sleep(world.random.uniform(1.1, 1.4) * SHORT_TIMEOUT)
        world.bot.signal(signal.SIGCONT)


async def restart_bot(world: World) -> None:
    """A bot is replaced under load, as by a rolling restart."""
    while world.goes_on():
        await asyncio.sleep(world.random.uniform(0.1, 0.5))
        await world.replace_bot()


async def cut(world: World) -> None:
    """Connections are cut in the middle of a frame."""
    while world.goes_on():
        await asyncio.sleep(world.random.uniform(0.05, 0.3))
        if world.random.random() < 0.5:
            world.proxy.cut()
        else:
            world.proxy.cut_after(world.random.choice(("up", "down")), world.random.randint(1, 5000))


async def go_on(world: World) -> None:
    """Nothing more than the world already is."""
    await asyncio.sleep(world.left_seconds())


async def freeze(world: World) -> None:
    """Half-open connections: nothing comes through, and nobody gets an error."""
    while world.goes_on():
        await asyncio.sleep(world.random.uniform(0.2, 0.5))
        world.proxy.freeze()
        await asyncio.sleep(world.random.uniform(1.6, 2.4))  # longer than the heartbeat waits
        world.proxy.cut()
        world.proxy.thaw()


async def drop_packets(world: World) -> None:
    """Half-open connections: the link drops all packets of one direction or of both, for longer than a heartbeat."""
    link, drops = world.link, 0
    while world.goes_on() or not drops:
        await asyncio.sleep(world.random.uniform(0.8, 1.6))
        to_bot, to_callers = world.random.choice(((True, True), (True, False), (False, True)))
        await link.drop(to_bot=to_bot, to_callers=to_callers)
        drops += 1
        began = asyncio.get_running_loop().time()
        if await link.passes():
            world.left.append("packets came through a link that should have dropped them")
        until_then = began + world.random.uniform(1.6, 2.4)
        await asyncio.sleep(until_then - asyncio.get_running_loop().time())
        await link.restore()


async def use_up_files(world: World) -> None:
    """Others open connections until the bot has no descriptor left, while its callers are cut off."""
    while world.goes_on():
        opened: list[asyncio.StreamWriter] = []
        for _ in range(2 * FEW_FILES):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", world.bot.ready["port"])
            except OSError:
                break
            opened.append(writer)
        await asyncio.sleep(world.random.uniform(0.1, 0.3))
        world.proxy.cut()
        await asyncio.sleep(world.random.uniform(0.1, 0.5))
        for writer in opened:
            writer.transport.abort()
        await asyncio.sleep(world.random.uniform(0.1, 0.5))


async def cut_all_at_once(world: World) -> None:
    """Many clients lose their connections in the same instant, once all of them are connected."""
    while world.goes_on() or not world.proxy.cuts:
        try:
            await until(lambda: world.proxy.connections >= world.clients, MANY_SECONDS)
        except TimeoutError:
            connected = f"only {world.proxy.connections} of {world.clients} clients"
            world.left.append(f"{connected} were connected at a time; try fewer with --clients")
            return
        await asyncio.sleep(world.random.uniform(0.1, 1.0))
        world.proxy.cut()


def usable_clients(wanted: int) -> int:
    """As many clients as wanted, or fewer where this machine allows fewer descriptors."""
    try:
        import resource
    except ImportError:  # Windows
        return min(wanted, 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    return max(1, min(wanted, (files - 100) // FILES_PER_CLIENT))


def scenarios(clients: int) -> dict[str, Scenario]:
    """All scenarios by their names."""
    many = Load(
        sessions=clients, callers=1, timeout=60.0, connect_timeout=60.0, pause=2.0, heartbeat=20.0, small=True
    )
    slow = Load(sessions=2, callers=2, timeout=30.0, connect_timeout=30.0, small=True)
    impatient = Load(timeout=SHORT_TIMEOUT, connect_timeout=SHORT_TIMEOUT)
    all_ = [
        Scenario("kill-bot", kill_bot),
        Scenario("kill-callers", kill_callers),
        Scenario("cut", cut, options={"rough": True}, all_answered=True),
        Scenario("one-byte", go_on, slow, {"one_byte": True}, all_answered=True),
        Scenario("half-open", freeze, all_answered=True),
        Scenario(HALF_OPEN_LINK, drop_packets, options={"link": True}, all_answered=True),
        # Those that wait for others for longer than the bot keeps conversations lose their calls.
        Scenario("many-clients", cut_all_at_once, many),
    ]
    if hasattr(signal, "SIGSTOP"):  # not on Windows
        all_ += [
            Scenario("stop-bot", stop_bot, impatient),
            Scenario("restart-bot", restart_bot, all_answered=True),
            Scenario("no-files", use_up_files, options={"files": FEW_FILES}),
        ]
    if os.path.exists("/dev/full"):
        all_.append(Scenario("full-disk", cut, options={"log": "/dev/full"}, all_answered=True))
    return {scenario.name: scenario for scenario in all_}


SCENARIOS: Final = tuple(scenarios(1))
