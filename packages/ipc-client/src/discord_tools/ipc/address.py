"""Where a server listens: what to dial, what to call it in errors and logs, and who can reach it."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import sys
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.settings import checked_host, checked_port

__all__ = ("Address", "checked_address", "checked_socket_path", "checked_tls")

_SCHEMES: Final = {"ws": False, "http": False, "wss": True, "https": True}

#: The longest path of a Unix socket, in bytes. The system has a field of fixed size for it.
SOCKET_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103


def checked_socket_path(path: str) -> str:
    """Returns the path of a Unix socket.

    Raises
    ------
    ValueError
        No socket can have it, or this platform has no Unix sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError(
            f"{path!r:.200} is a Unix socket, which this platform does not have: use a host and a port"
        )
    if "\0" in path:
        raise ValueError(f"{path!r:.200} has a null character: write the path of a file")
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES:
        raise ValueError(
            f"the path of the Unix socket {path!r:.200} has {size} bytes, the system takes {SOCKET_PATH_BYTES}: "
            "write a shorter one, such as /run/bot.sock"
        )
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Address of one port: a host and a port, or the path of a Unix socket.

    Attributes
    ----------
    host: :class:`str`
        The host name or IP address. Of a Unix socket, the name to send as ``Host``.
    port: :class:`int`
        The port. Of a Unix socket, 0.
    path: :class:`str`
        The path of the URL. It begins and ends with ``/``.
    tls: :class:`bool`
        Whether the connection is encrypted.
    unix: Optional[:class:`str`]
        The path of the Unix socket.
    """

    host: str = "localhost"
    port: int = 0
    path: str = "/"
    tls: bool = False
    unix: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Reads a URL: ``ws``, ``wss``, ``http``, ``https`` with an optional path, or ``unix:///run/bot.sock``.

        Raises
        ------
        ValueError
            It is not such a URL. The text says what is wrong with it.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ValueError(f"{url!r} is not a URL: {error}") from None
        if parts.scheme not in _SCHEMES and parts.scheme != "unix":
            raise ValueError(f"{url!r} must begin with {', '.join(_SCHEMES)} or unix, and with ://")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"{url!r} must not have a query, a fragment or a user")
        if parts.scheme == "unix":
            if not url.partition(":")[2].startswith("///") or parts.path == "/":
                raise ValueError(f"{url!r} must have three slashes before the path: unix:///run/bot.sock")
            return cls(unix=checked_socket_path(parts.path))
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        tls = _SCHEMES[parts.scheme]
        try:
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r} has a bad port: {error}") from None
        if port == 0:
            raise ValueError(f"{url!r} has a bad port: it must not be 0")
        path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
        return cls(host=parts.hostname, port=port or (443 if tls else 80), path=path, tls=tls)

    @property
    def url(self) -> str:
        """:class:`str`: The WebSocket URL; IPv6 addresses get their brackets."""
        port = f":{self.port}" if self.port else ""
        return f"{'wss' if self.tls else 'ws'}://{self._bracketed_host}{port}{self.path}"

    @property
    def label(self) -> str:
        """:class:`str`: The short form for errors and logs."""
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"{self._bracketed_host}:{self.port}" if self.path == "/" and not self.tls else self.url

    @property
    def short_url(self) -> str:
        """:class:`str`: The URL for ``ClientSession(url=...)``, without the slash at its end."""
        return self.url.rstrip("/") if self.unix is None else f"unix://{self.unix}"

    @property
    def facts(self) -> tuple[str, int, str]:
        """Tuple[:class:`str`, :class:`int`, :class:`str`]: The host, the port and the label, for errors. For a Unix
        socket, its path and 0.
        """
        return (self.host, self.port, self.label) if self.unix is None else (self.unix, 0, self.label)

    @property
    def is_complete(self) -> bool:
        """:class:`bool`: Whether it can be connected to: its port is known, or it is a Unix socket."""
        return self.port != 0 or self.unix is not None

    @property
    def is_exposed(self) -> bool:
        """:class:`bool`: Whether other machines may reach it. A host name other than ``localhost`` is not looked up,
        so it counts as exposed.
        """
        if self.unix is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return True

    @property
    def _bracketed_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def checked_address(host: Any, port: Any, url: Any, tls: ssl.SSLContext | None) -> Address:
    """Returns the address that a session is given: as a URL, or as a host and perhaps a port.

    Raises
    ------
    TypeError
        One of them is of a wrong type.
    ValueError
        There is both, or one is wrong.
    """
    if url is None:
        return Address(
            host=checked_host(host),
            port=0 if port is MISSING else checked_port(port, "port"),
            tls=tls is not None,
        )
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {url!r:.100}")
    if host != "localhost" or port is not MISSING:
        raise ValueError("url replaces host and port: give either url, or host and port")
    address = Address.parse(url)
    if tls is not None and not address.tls:
        raise ValueError(f"ssl is for TLS, and {url!r:.200} has none: write wss:// or leave ssl out")
    return address


def checked_tls(value: Any) -> ssl.SSLContext | None:
    """Returns the context for TLS, or ``None`` where none was given.

    Raises
    ------
    TypeError
        It is something else.
    """
    if value is not None and not isinstance(value, ssl.SSLContext):
        raise TypeError(
            f"ssl must be an ssl.SSLContext, not {value!r:.100}: make one with discord_tools.ipc.tls"
        )
    return value
