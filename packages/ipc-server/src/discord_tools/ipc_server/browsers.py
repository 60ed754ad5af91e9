"""Which web pages may connect: origins, host names, and what browsers are told about them (CORS)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

__all__ = ("Pages", "Refusal", "checked_hosts", "checked_origins", "normal_origin")

#: What browsers may keep the answer to a preflight request for, in seconds.
PREFLIGHT_AGE: Final = 600


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: the HTTP status, and the text for the client."""

    status: HTTPStatus
    text: str


WRONG_ORIGIN: Final = Refusal(HTTPStatus.FORBIDDEN, "this origin may not connect")
WRONG_HOST: Final = Refusal(HTTPStatus.FORBIDDEN, "pages may not connect by this host name")


def checked_origins(origins: Collection[str]) -> list[str]:
    """Returns browser origins.

    Raises
    ------
    TypeError
        It is one string, or an origin is not a string.
    ValueError
        No browser sends such an origin.
    """
    if isinstance(origins, str):
        raise TypeError(f"origins must be a collection of strings, not one string: [{origins!r}]")
    for origin in origins:
        if not isinstance(origin, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"an origin must be a str, not {origin!r}")
        if origin == "*":
            raise ValueError(
                "origins must not have '*', which would open the bot to every web page: name each origin"
            )
        parts = urlsplit(origin)
        if origin != "null" and (not parts.scheme or not parts.netloc):
            raise ValueError(f"the origin {origin!r} has no scheme: write https://{origin.lstrip('/')}")
        if parts.path.rstrip("/") or parts.query or parts.fragment:
            raise ValueError(f"the origin {origin!r} has a path: write {parts.scheme}://{parts.netloc}")
        if (parts.scheme, parts.netloc.rpartition(":")[2]) in (("https", "443"), ("http", "80")):
            host = parts.netloc.rpartition(":")[0]
            raise ValueError(
                f"the origin {origin!r} has the default port, which browsers leave out: {parts.scheme}://{host}"
            )
    return list(origins)


def checked_hosts(hosts: Collection[str] | None) -> frozenset[str] | None:
    """Returns host names in the form in which they are compared.

    Raises
    ------
    TypeError
        It is one string, or a name is not a string.
    ValueError
        A name is no host name alone.
    """
    if hosts is None:
        return None
    if isinstance(hosts, str):
        raise TypeError(f"hosts must be a collection of strings, not one string: [{hosts!r}]")
    names: set[str] = set()
    for host in hosts:
        if not isinstance(host, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a host must be a str, not {host!r}")
        if "*" in host:
            raise ValueError(f"hosts must not have {host!r}: name each host")
        name = host_name(host)
        if "/" in host or not name or name != host.lower().rstrip("."):
            bare = host_name(host.partition("//")[2] or host).partition("/")[0]
            raise ValueError(
                f"hosts must have host names without a scheme, a port or a path, not {host!r}: write {bare!r}"
            )
        names.add(name)
    return frozenset(names)


def host_name(header: str) -> str:
    """Returns the name in a ``Host`` header, without the port, in lower case. Empty where there is none."""
    header = header.strip().lower()
    if header.startswith("["):
        name, bracket, _ = header[1:].partition("]")
        return name if bracket else ""
    if header.count(":") > 1:  # an IPv6 address without brackets, as hosts= may have it
        return header
    return header.partition(":")[0].rstrip(".")


class Pages:
    """Decides which web pages may connect.

    Browsers always send the origin of the page that opens a WebSocket or posts, and nothing else has to. Without the
    check any page that the bot's owner visits could call the bot on localhost.

    A page may also have its own host name resolve to the bot's address, after it was loaded from elsewhere. Then its
    requests have that name in ``Host``, so the names are checked, too. Addresses cannot be used for that.

    Parameters
    ----------
    origins: Collection[:class:`str`]
        The origins that may connect, such as ``https://example.org``.
    hosts: Optional[Collection[:class:`str`]]
        The names by which their pages may reach the server. ``None`` for the server's own name, ``localhost``, and the
        names in the origins.
    host: :class:`str`
        The host that the server runs on.
    """

    def __init__(
        self, origins: Collection[str] = (), hosts: Collection[str] | None = None, host: str = "localhost"
    ) -> None:
        #: The origins, normalised.
        self._origins = frozenset(normal_origin(origin) for origin in origins)
        #: The names, normalised.
        self._hosts = frozenset((host.lower(), "localhost", *map(_host_of, self._origins)))
        if hosts is not None:
            self._hosts = frozenset(hosts)
        #: Whether addresses may stand in place of a name.
        self._addresses = hosts is None

    def refusal(self, headers: Mapping[str, str]) -> Refusal | None:
        """Refuses a request of a web page that may not connect."""
        origin = headers.get("Origin")
        if origin is None:
            return None
        if not self.allows(origin):
            return WRONG_ORIGIN
        return None if self._is_ours(host_name(headers.get("Host", ""))) else WRONG_HOST

    def allows(self, origin: str) -> bool:
        """Whether the pages of an origin may connect."""
        return normal_origin(origin) in self._origins

    def shared_with(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers that let the page of an allowed origin read the response to a request; none for other requests."""
        origin = headers.get("Origin")
        if origin is None or self.refusal(headers) is not None:
            return {}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    def preflight(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers that let the page of an allowed origin send ``POST /``; none for other pages."""
        shared = self.shared_with(headers)
        if not shared:
            return {}
        allowed = {
            **shared,
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": str(PREFLIGHT_AGE),
        }
        if headers.get("Access-Control-Request-Private-Network") == "true":
            # Asked before a page from the Internet may reach a server on the user's own network or machine.
            allowed["Access-Control-Allow-Private-Network"] = "true"
        return allowed

    def _is_ours(self, name: str) -> bool:
        if name in self._hosts:
            return True
        if not self._addresses:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def normal_origin(origin: str) -> str:
    """Returns an origin in the form in which it is compared."""
    return origin.lower().rstrip("/")


def _host_of(origin: str) -> str:
    return urlsplit(origin).hostname or "localhost"
