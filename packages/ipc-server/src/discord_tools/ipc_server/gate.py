"""Decides who may connect: secret keys and browser origins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from discord_tools.ipc.logs import Incidents
from discord_tools.ipc_server.brake import Brake
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.keys import BEARER, Keys

__all__ = ("Gate", "Refusal", "checked_origins")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: the HTTP status, and the text for the client."""

    status: HTTPStatus
    text: str


WRONG_KEY: Final = Refusal(HTTPStatus.UNAUTHORIZED, "wrong secret key")
WRONG_ORIGIN: Final = Refusal(HTTPStatus.FORBIDDEN, "this origin may not connect")


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


class Gate:
    """Turns what a client shows into a :class:`Caller`, or refuses it.

    Parameters
    ----------
    keys: :class:`Keys`
        The keys that callers may show.
    origins: Collection[:class:`str`]
        The browser origins that may connect, such as ``https://example.org``.
    """

    def __init__(self, keys: Keys, origins: Collection[str]) -> None:
        self._keys = keys
        #: The origins, normalised.
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        #: Logs refusals.
        self.incidents: Incidents = Incidents(log)
        #: Slows down clients that guess keys.
        self.brake: Brake = Brake()
        #: Compares a caller with the keys as they are now; see :meth:`Keys.renewed`.
        self.renewed: Callable[[Caller], Caller | None] = keys.renewed

    def enter(
        self, headers: Mapping[str, str], address: str | None, dialect: str, connection: str
    ) -> Caller | Refusal:
        """Judges a request by its origin and its ``Authorization`` header."""
        refusal = self.origin_refusal(headers)
        if refusal is not None:
            return refusal
        shown = headers.get("Authorization", "")
        return self._judge((shown, shown.removeprefix(BEARER)), address, dialect, connection) or WRONG_KEY

    def identify(self, key: Any, address: str | None, dialect: str, connection: str) -> Caller | None:
        """Judges the key in a message. Returns ``None`` where it is wrong."""
        return self._judge((key,), address, dialect, connection)

    @property
    def key_values(self) -> tuple[bytes, ...]:
        """Tuple[:class:`bytes`, ...]: All values of keys that callers may have. None where the server has no key."""
        return self._keys.accepted

    def origin_refusal(self, headers: Mapping[str, str]) -> Refusal | None:
        """Refuses a request from a web page that may not connect.

        Browsers always send the origin of the page that opens a WebSocket, and nothing else sends one. Without this
        check any page that the bot's owner visits could call the bot on localhost.
        """
        origin = headers.get("Origin")
        return (
            WRONG_ORIGIN if origin is not None and origin.lower().rstrip("/") not in self._origins else None
        )

    def _judge(
        self, shown: Iterable[Any], address: str | None, dialect: str, connection: str
    ) -> Caller | None:
        address = address or "unknown"
        found = self._keys.enter(shown, address, dialect, connection)
        if not isinstance(found, str):
            return found
        # The client gets the same answer as for a wrong key: others may have found an old one.
        self.incidents.warning(address, "The key %s has expired", found, label=f"{connection} {address}")
        return None
