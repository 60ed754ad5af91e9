"""Where a server listens: what to dial, what to call it in errors and logs, and who can reach it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

__all__ = ("Address",)

_SCHEMES: Final = {"ws": False, "http": False, "wss": True, "https": True}


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
            return cls(unix=parts.path)
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
