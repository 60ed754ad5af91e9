"""Where a server listens: its port, its Unix sockets, its path, TLS and trusted proxies."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

from discord_tools.ipc.address import Address, checked_socket_path, checked_tls
from discord_tools.ipc.errors import ListenError
from discord_tools.ipc.settings import checked_host, checked_port
from discord_tools.ipc_server.listeners.proxies import Proxies, checked_proxies
from discord_tools.ipc_server.listeners.sockets import addresses_of

__all__ = ("DEFAULT_PORT", "OWNER_ONLY", "Listening", "checked_listening")

log = logging.getLogger(__name__)


class _DefaultPort(int):
    """The port of a server that was given none."""


#: It is told from a port that was given by its identity.
DEFAULT_PORT: Final = _DefaultPort(8000)


class _Mode(int):
    """Prints as the mode of a file is written."""

    def __repr__(self) -> str:
        return f"0o{self:o}"


OWNER_ONLY: Final = _Mode(0o600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a server listens.

    Attributes
    ----------
    host: :class:`str`
        The host of the port.
    port: Optional[:class:`int`]
        The port; 0 for one that the system chooses. ``None`` for Unix sockets only.
    unix: Tuple[:class:`str`, ...]
        The paths of Unix sockets.
    unix_mode: :class:`int`
        The mode of their files.
    path: :class:`str`
        The path of the URL. It begins and ends with ``/``.
    tls: Optional[:class:`ssl.SSLContext`]
        The certificate.
    proxies: Optional[:class:`Proxies`]
        The trusted proxies.
    """

    host: str
    port: int | None
    unix: tuple[str, ...]
    unix_mode: int
    path: str
    tls: ssl.SSLContext | None
    proxies: Proxies | None

    @property
    def paths(self) -> tuple[str, ...]:
        """Tuple[:class:`str`, ...]: The paths that are answered. With Unix sockets, ``/`` is one of them: the URL of a
        Unix socket has no path, while a reverse proxy may pass one on.
        """
        return ("/",) if self.path == "/" else (self.path, *(("/",) if self.unix else ()))

    def port_address(self, port: int) -> Address:
        """Returns the address of a port."""
        return Address(host=self.host, port=port, path=self.path, tls=self.tls is not None)

    def address(self, port: int) -> Address:
        """Returns the first address: that of the port, if there is one."""
        if self.port is None:
            return Address(unix=self.unix[0], path=self.path)
        return self.port_address(port)

    def urls(self, port: int) -> list[str]:
        """Returns all addresses as URLs."""
        tcp = [] if self.port is None else [self.port_address(port).short_url]
        return tcp + [Address(unix=path).short_url for path in self.unix]

    async def check_exposure(self) -> None:
        """Checks a server without a key, which must not be reachable from other machines.

        Raises
        ------
        ValueError
            It is.
        ListenError
            The host cannot be resolved.
        """
        if self.port is not None:
            try:
                addresses = await addresses_of(self.host)
            except OSError as error:
                raise ListenError(self.host, self.port, error.strerror or str(error)) from error
            if any(Address(host=address).is_exposed for _, address in addresses):
                raise ValueError(
                    f"{self.host or 'every address'} can be reached from outside, so secret_key is needed, or keys"
                )
        if self.proxies is not None:
            raise ValueError("proxies are for clients from outside, so secret_key is needed, or keys")
        if self.port is not None:
            log.warning("There is no secret key: every program on this machine can call the bot")
        elif self.unix_mode & 0o022:
            log.warning("There is no secret key: all users whom unix_mode lets write can call the bot")


def checked_listening(
    host: Any, port: Any, unix: Any, unix_mode: Any, path: Any, tls: Any, proxies: Collection[str]
) -> Listening:
    """Returns where to listen.

    Raises
    ------
    TypeError
        A setting is of a wrong type.
    ValueError
        A setting is not valid, or two exclude each other.
    """
    paths = _checked_unix(unix)
    host = checked_host(host, any_address=True)
    number: int | None = checked_port(port, "port", free=True)
    if paths and port is DEFAULT_PORT:
        if host != "localhost":
            raise ValueError(
                f"unix replaces the port, and host is {host!r}: give port, too, to listen on both"
            )
        if tls is not None:
            raise ValueError("ssl is for the port, and unix replaces that: give port, too, or leave out ssl")
        number = None
    if isinstance(unix_mode, bool) or not isinstance(unix_mode, int):
        raise TypeError(f"unix_mode must be an int such as 0o660, not {unix_mode!r:.100}")
    if not 0o600 <= unix_mode <= 0o777:
        # 660 is 0o1224: the prefix was forgotten.
        raise ValueError(f"unix_mode is 0o{unix_mode:o}: write a mode from 0o600 to 0o777, such as 0o660")
    return Listening(
        host=host,
        port=number,
        unix=paths,
        unix_mode=unix_mode,
        path=_checked_path(path),
        tls=checked_tls(tls),
        proxies=checked_proxies(proxies),
    )


def _checked_unix(value: Any) -> tuple[str, ...]:
    paths: list[str] = []
    entries: Any = (value,) if isinstance(value, str | os.PathLike) else value
    if not isinstance(entries, Collection) or isinstance(entries, bytes):
        raise TypeError(f"unix must be the path of a Unix socket or a collection of them, not {value!r:.100}")
    for one in cast("Collection[Any]", entries):
        text: Any = os.fspath(cast("os.PathLike[str]", one)) if isinstance(one, os.PathLike) else one
        if not isinstance(text, str):
            raise TypeError(f"the path of a Unix socket must be a str, not {one!r:.100}")
        if not text or text.endswith("/") or text.startswith("unix:"):
            raise ValueError(f"{text!r:.200} is no path of a Unix socket: write one such as /run/bot.sock")
        # The working directory may be another one when the server starts.
        paths.append(checked_socket_path(os.path.abspath(text)))
    if len(set(paths)) != len(paths):
        raise ValueError(f"unix has the same path twice: {paths!r:.200}")
    return tuple(paths)


def _checked_path(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"path must be a str, not {value!r:.100}")
    parts = urlsplit(f"ws://host{value}")
    if (
        not value.startswith("/")
        or parts.path != value
        or "{" in value
        or "//" in value
        or not value.isascii()
    ):
        raise ValueError(f"path is {value!r:.200}: write the path of a URL that begins with /, such as /ipc/")
    if value != value.strip() or not value.isprintable() or " " in value:
        raise ValueError(f"path is {value!r:.200}: it must not have white space")
    return value if value.endswith("/") else f"{value}/"
