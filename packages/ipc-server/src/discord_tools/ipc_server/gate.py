"""Decides who may connect: secret keys and browser origins."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from discord_tools.ipc.logs import Incidents
from discord_tools.ipc_server.brake import Brake
from discord_tools.ipc_server.caller import Caller

__all__ = ("Gate", "Refusal", "checked_origins")

log = logging.getLogger(__name__)

#: The name of the key that the server was given as ``secret_key``.
SECRET_KEY: Final = "secret_key"


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
    secret_key: Optional[:class:`str`]
        The key that callers must show, or ``None`` where there is none.
    origins: Collection[:class:`str`]
        The browser origins that may connect, such as ``https://example.org``.
    """

    def __init__(self, secret_key: str | None, origins: Collection[str]) -> None:
        #: The key, encoded for the comparison.
        self._key = None if secret_key is None else secret_key.encode()
        #: The origins, normalised.
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        #: Logs refusals.
        self.incidents: Incidents = Incidents(log)
        #: Slows down clients that guess keys.
        self.brake: Brake = Brake()

    def enter(
        self, headers: Mapping[str, str], address: str | None, dialect: str, connection: str
    ) -> Caller | Refusal:
        """Judges a request by its origin and its ``Authorization`` header."""
        refusal = self.origin_refusal(headers)
        if refusal is not None:
            return refusal
        shown = headers.get("Authorization", "")
        # Both are compared always, so that the time does not tell which form was nearer.
        plain, bearer = self._accepts(shown), self._accepts(shown.removeprefix("Bearer "))
        return self._caller(address, dialect, connection) if plain or bearer else WRONG_KEY

    def identify(self, key: Any, address: str | None, dialect: str, connection: str) -> Caller | None:
        """Judges the key in a message. Returns ``None`` where it is wrong."""
        return self._caller(address, dialect, connection) if self._accepts(key) else None

    @property
    def key_values(self) -> Iterable[bytes]:
        """Iterable[:class:`bytes`]: All keys that callers may have. None where the server has no key."""
        return () if self._key is None else (self._key,)

    def origin_refusal(self, headers: Mapping[str, str]) -> Refusal | None:
        """Refuses a request from a web page that may not connect.

        Browsers always send the origin of the page that opens a WebSocket, and nothing else sends one. Without this
        check any page that the bot's owner visits could call the bot on localhost.
        """
        origin = headers.get("Origin")
        return (
            WRONG_ORIGIN if origin is not None and origin.lower().rstrip("/") not in self._origins else None
        )

    def _accepts(self, key: Any) -> bool:
        """Whether the key is the right one. Takes the same time however much of it is right."""
        if self._key is None:
            return True
        return isinstance(key, str) and hmac.compare_digest(key.encode(errors="surrogateescape"), self._key)

    def _caller(self, address: str | None, dialect: str, connection: str) -> Caller:
        return Caller(None if self._key is None else SECRET_KEY, address or "unknown", dialect, connection)
