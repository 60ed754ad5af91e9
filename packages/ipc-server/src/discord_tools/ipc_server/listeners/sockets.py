"""Listening sockets on every address of a host."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Final, TypeAlias

from discord_tools.ipc.address import Address
from discord_tools.ipc.errors import ListenError

__all__ = ("BACKLOG", "addresses_of", "check_exposure", "listen")

log = logging.getLogger(__name__)

#: Family and IP address.
SocketAddress: TypeAlias = tuple[int, str]

#: How many connections may wait to be accepted: after a restart of the bot, all of its dashboards come at once.
BACKLOG: Final = 1024

#: What an address answers that the system knows of and no interface has: a hosts file may name ::1 without IPv6.
_ABSENT: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EINVAL)

#: With port 0 the system picks a port on one address; it may be taken on another one, and then both are picked again.
_ATTEMPTS: Final = 20


async def addresses_of(host: str) -> list[SocketAddress]:
    """Returns family and address of all that a host name stands for.

    Raises
    ------
    OSError
        The name cannot be resolved.
    """
    if host == "localhost":
        # Not every container's hosts file names both, and clients try either first.
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except ValueError as error:
        raise OSError(f"this is no host name: {error}") from error
    return list(dict.fromkeys((int(family), str(address[0])) for family, _, _, _, address in infos))


async def check_exposure(host: str, port: int) -> None:
    """Checks a host for a server without a key.

    Raises
    ------
    ListenError
        The host name cannot be resolved.
    ValueError
        It can be reached from outside.
    """
    try:
        addresses = await addresses_of(host)
    except OSError as error:
        raise ListenError(host, port, error.strerror or str(error)) from error
    if any(Address(host=address).is_exposed for _, address in addresses):
        raise ValueError(
            f"{host or 'every address'} can be reached from outside, so secret_key is needed, or keys"
        )
    log.warning("There is no secret key: every program on this machine can call the bot")


def listen(addresses: list[SocketAddress], host: str, port: int) -> list[socket.socket]:
    """Opens a socket on each address that an interface has, all with the same port.

    Raises
    ------
    ListenError
        The port is taken on one of them, or no interface has any.
    """
    if not 0 <= port <= 65535:
        raise ListenError(host, port, "a port is a number from 0 to 65535")
    for _ in range(_ATTEMPTS):
        try:
            return _listen(addresses, port)
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE:
                continue
            raise ListenError(host, port, error.strerror or str(error)) from error
    raise ListenError(host, port, "no port is free on all addresses")


def _listen(addresses: list[SocketAddress], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                opened = socket.create_server((address, port), family=family, backlog=BACKLOG)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
                continue
            opened.setblocking(False)
            sockets.append(opened)
            port = opened.getsockname()[1]
        if absent is not None and not sockets:
            raise absent
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets
