"""Who gets in: secret keys and browser origins."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any, Final

__all__ = ("Gate",)

log = logging.getLogger(__name__)

#: So many refusals are told in a minute: strangers must not be able to fill the bot's log.
TOLD_PER_MINUTE: Final = 20


class Gate:
    """Closed by default.

    Parameters
    ----------
    secret_key: Optional[:class:`str`]
        The key that callers must show, or ``None`` where there is none.
    origins: Collection[:class:`str`]
        The browser origins that may connect, such as ``https://example.org``.
    """

    def __init__(self, secret_key: str | None, origins: Collection[str]) -> None:
        self._key = None if secret_key is None else secret_key.encode()
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._minute = -60.0
        self._told = 0

    def tell(self, message: str, *args: object) -> None:
        """Logs that somebody was refused, but not every one of many."""
        now = time.monotonic()
        if now - self._minute >= 60:
            if self._told > TOLD_PER_MINUTE:
                log.warning("%d more were refused", self._told - TOLD_PER_MINUTE)
            self._minute, self._told = now, 0
        self._told += 1
        if self._told <= TOLD_PER_MINUTE:
            log.warning(message, *args)

    def accepts(self, key: Any) -> bool:
        """:class:`bool`: Whether the key is the right one. Takes the same time however much of it is right."""
        if self._key is None:
            return True
        return isinstance(key, str) and hmac.compare_digest(key.encode(errors="surrogateescape"), self._key)

    def refuses_origin(self, headers: Mapping[str, str]) -> bool:
        """:class:`bool`: Whether the request comes from a web page that may not connect.

        Browsers always say from which page a WebSocket is opened, and nothing else says so. Without this check any
        page that the bot's owner visits could call the bot on localhost.
        """
        origin = headers.get("Origin")
        return origin is not None and origin.lower().rstrip("/") not in self._origins

    def refusal(self, headers: Mapping[str, str]) -> HTTPStatus | None:
        """Returns the HTTP status that a handshake is refused with, or ``None`` to let it in."""
        if self.refuses_origin(headers):
            return HTTPStatus.FORBIDDEN
        shown = headers.get("Authorization", "")
        # Both are compared always, so that the time does not tell which form was nearer.
        plain, bearer = self.accepts(shown), self.accepts(shown.removeprefix("Bearer "))
        return None if plain or bearer else HTTPStatus.UNAUTHORIZED
