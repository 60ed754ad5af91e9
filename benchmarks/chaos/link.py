"""A link between two network namespaces of Linux that drops packets without a word.

A proxy can stop passing data on, but the systems at both ends still acknowledge what they are sent. Behind this link
they do not, as behind a cable that was pulled or a firewall that has forgotten a connection.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import subprocess
import sys
from typing import Final, Self

__all__ = ("BOT_ADDRESS", "Link", "enter", "refusal", "run_inside")

#: The addresses at both ends of the link.
BOT_ADDRESS: Final = "10.213.0.1"
CALLERS_ADDRESS: Final = "10.213.0.2"

#: The network devices, and their hardware addresses. Nobody has the last one: what is sent there is lost.
_BOT: Final = "chaos-bot"
_CALLERS: Final = "chaos-callers"
_BOT_MAC: Final = "02:00:00:00:00:01"
_CALLERS_MAC: Final = "02:00:00:00:00:02"
_NOBODY: Final = "02:00:00:00:00:99"

#: A port at which nobody listens: a connection is refused at once where packets pass.
_CLOSED_PORT: Final = 9

#: How long an answer may take that comes at once where packets pass, in seconds.
_PATIENCE: Final = 0.3

#: Joins a network namespace; see setns(2).
_CLONE_NEWNET: Final = 0x40000000


def _unshare() -> list[str]:
    """The command that runs another one in a network namespace of its own."""
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "--"]


def refusal() -> str | None:
    """Why this system does not let this user make network namespaces, or ``None`` where it does."""
    if not sys.platform.startswith("linux"):
        return "only Linux has network namespaces"
    for program in ("unshare", "ip", "sh"):
        if shutil.which(program) is None:
            return f"the program {program} is missing"
    trial = f"ip link set dev lo up && ip link add name {_BOT} type veth peer name {_CALLERS}"
    done = subprocess.run([*_unshare(), "sh", "-c", trial], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"this user may not make network namespaces ({done.stderr.strip().splitlines()[-1:]})"
    return None


def run_inside(*command: str) -> None:
    """Replaces this process by a command in a network namespace of its own, which only has a loopback device."""
    sys.stdout.flush()
    script = 'ip link set dev lo up && exec "$@"'
    arguments = [*_unshare(), "sh", "-c", script, "sh", *command]
    os.execvp(arguments[0], arguments)


def enter(process: int) -> None:
    """Moves this process, which must have one thread, to the network namespace of another one.

    Raises
    ------
    OSError
        The system does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{process}/ns/net") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class Link:
    """A second network namespace, and the link from this one to it; an asynchronous context manager."""

    def __init__(self) -> None:
        #: Keeps the second namespace.
        self._holder: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> int:
        """A process in the second namespace."""
        assert self._holder is not None, "set when it is entered"
        return self._holder.pid

    async def __aenter__(self) -> Self:
        self._holder = await asyncio.create_subprocess_exec(
            *("unshare", "--net", "--", "sh", "-c", "echo; exec cat"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        await self._holder.stdout.readline()  # it is in its namespace now
        ends = (_BOT, "address", _BOT_MAC, "type", "veth", "peer", "name", _CALLERS, "address", _CALLERS_MAC)
        await _ip("link", "add", "name", *ends)
        await _ip("link", "set", "dev", _CALLERS, "netns", str(self.process))
        for device, address, there in ((_BOT, BOT_ADDRESS, False), (_CALLERS, CALLERS_ADDRESS, True)):
            await self._run(there, "addr", "add", f"{address}/24", "dev", device)
            await self._run(there, "link", "set", "dev", device, "up")
        await self.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._holder is not None and self._holder.returncode is None:
            self._holder.kill()
            await self._holder.wait()

    async def drop(self, *, to_bot: bool = True, to_callers: bool = True) -> None:
        """Drops all packets of one direction or of both. Nobody gets an error."""
        await self._send_to(_NOBODY if to_callers else _CALLERS_MAC, _NOBODY if to_bot else _BOT_MAC)

    async def restore(self) -> None:
        """Passes packets on again."""
        await self._send_to(_CALLERS_MAC, _BOT_MAC)

    async def passes(self) -> bool:
        """Whether packets come through in both directions."""
        try:
            async with asyncio.timeout(_PATIENCE):
                _, writer = await asyncio.open_connection(CALLERS_ADDRESS, _CLOSED_PORT)
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            return True
        writer.close()
        return True

    async def _send_to(self, callers: str, bot: str) -> None:
        """Sets the hardware addresses that packets to both sides are sent to."""
        for there, address, mac, device in (
            (False, CALLERS_ADDRESS, callers, _BOT),
            (True, BOT_ADDRESS, bot, _CALLERS),
        ):
            options = ("lladdr", mac, "dev", device, "nud", "permanent")
            await self._run(there, "neigh", "replace", address, *options)

    async def _run(self, there: bool, *arguments: str) -> None:
        """Runs ``ip`` here or in the second namespace."""
        prefix = ("nsenter", f"--net=/proc/{self.process}/ns/net", "--") if there else ()
        await _ip(*arguments, prefix=prefix)


async def _ip(*arguments: str, prefix: tuple[str, ...] = ()) -> None:
    process = await asyncio.create_subprocess_exec(*prefix, "ip", *arguments, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    if process.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {errors.decode().strip()}")
