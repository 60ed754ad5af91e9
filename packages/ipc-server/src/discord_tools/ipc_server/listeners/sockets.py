"""Listening sockets on every address of a host."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from typing import Final, TypeAlias

from discord_tools.ipc.errors import ListenError

__all__ = ("BACKLOG", "addresses_of", "listen", "listen_unix", "remove_unix")

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


def listen_unix(path: str, mode: int) -> tuple[socket.socket, int]:
    """Opens a Unix socket. The file of a process that has ended is replaced.

    Parameters
    ----------
    mode: :class:`int`
        The mode of the file: who may connect.

    Returns
    -------
    Tuple[:class:`socket.socket`, :class:`int`]
        The socket, and the inode of its file.

    Raises
    ------
    ListenError
        Another process listens there, something else has the path, or the folder cannot be written to.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            opened.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path)
            opened.bind(path)
        # Nobody can connect before the socket listens, so nobody does with the mode that the file was made with.
        os.chmod(path, mode)
        opened.setblocking(False)
        opened.listen(BACKLOG)
        return opened, os.stat(path).st_ino
    except OSError as error:
        opened.close()
        raise _unix_error(path, error.strerror or str(error)) from error
    except BaseException:
        opened.close()
        raise


def remove_unix(path: str, inode: int) -> None:
    """Removes the file of a Unix socket, unless another process has replaced it."""
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except OSError:
        pass  # it is gone, or its folder cannot be written to any more: the next start replaces it


def _remove_stale(path: str) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(
            errno.EEXIST, "there is a file that is no socket, which is not replaced: choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # nobody listens: its process has ended
            return
        except BlockingIOError:
            pass  # somebody listens, with a full backlog
    raise OSError(errno.EADDRINUSE, "another process listens there: stop it, or choose another path")


def _unix_error(path: str, reason: str) -> ListenError:
    return ListenError(path, 0, reason, f"unix:{path}")
