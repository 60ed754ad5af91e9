"""Decides who may connect: secret keys and browser origins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from discord_tools.ipc.logs import Incidents
from discord_tools.ipc_server.brake import Brake
from discord_tools.ipc_server.browsers import Pages, Refusal
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.keys import BEARER, Keys
from discord_tools.ipc_server.tickets import Tickets, ticket_in

__all__ = ("Gate", "shows_key")

log = logging.getLogger(__name__)


WRONG_KEY: Final = Refusal(HTTPStatus.UNAUTHORIZED, "wrong secret key")


class Gate:
    """Turns what a client shows into a :class:`Caller`, or refuses it.

    Parameters
    ----------
    keys: :class:`Keys`
        The keys that callers may show.
    pages: :class:`Pages`
        Decides which web pages may connect.
    """

    def __init__(self, keys: Keys, pages: Pages) -> None:
        self._keys = keys
        #: Decides which web pages may connect.
        self.pages: Pages = pages
        #: Tickets that pages may show in place of a key.
        self.tickets: Tickets = Tickets(pages.allows)
        #: Logs refusals.
        self.incidents: Incidents = Incidents(log)
        #: Slows down clients that guess keys.
        self.brake: Brake = Brake()
        #: Compares a caller with the keys as they are now; see :meth:`Keys.renewed`.
        self.renewed: Callable[[Caller], Caller | None] = keys.renewed

    def enter(
        self, headers: Mapping[str, str], address: str | None, dialect: str, connection: str
    ) -> Caller | Refusal:
        """Judges a request by its ``Authorization`` header, or by its origin where it has none.

        A page of a foreign origin can show no key: browsers let no page set this header on a WebSocket, and ask the
        server before a page may post with it. Programs may send any origin.
        """
        ticket = ticket_in(headers)
        shown = headers.get("Authorization")
        if shown is not None and not self._keys.is_open:
            # A key may look like a ticket.
            caller = self._judge((shown, without_scheme(shown)), address, dialect, connection)
            if caller is not None or ticket is None:
                return caller or WRONG_KEY
        refusal = self.pages.refusal(headers)
        if refusal is not None:
            return refusal
        if ticket is not None:
            return self._redeem(ticket, headers, address, dialect, connection) or WRONG_KEY
        return self._judge((None,), address, dialect, connection) or WRONG_KEY

    def identify(self, key: Any, address: str | None, dialect: str, connection: str) -> Caller | None:
        """Judges the key in a message. Returns ``None`` where it is wrong."""
        return self._judge((key,), address, dialect, connection)

    @property
    def key_values(self) -> tuple[bytes, ...]:
        """Tuple[:class:`bytes`, ...]: All values of keys that callers may have. None where the server has no key."""
        return self._keys.accepted

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

    def _redeem(
        self, ticket: str, headers: Mapping[str, str], address: str | None, dialect: str, connection: str
    ) -> Caller | None:
        issued = self.tickets.redeem(ticket, headers.get("Origin"))
        # The key may have been revoked since.
        caller = None if issued is None else self._keys.renewed(issued)
        if caller is None:
            text = "Refused a ticket: it was used, has expired, or was made for another origin, or its key was revoked"
            self.incidents.warning(address or "unknown", text, label=f"{connection} {address}")
            return None
        return replace(caller, address=address or "unknown", dialect=dialect, connection=connection)


def shows_key(headers: Mapping[str, str]) -> bool:
    """Whether a request shows a key or a ticket, be it a right one or not."""
    return "Authorization" in headers or ticket_in(headers) is not None


def without_scheme(shown: str) -> str:
    """Returns what follows ``Bearer`` in a header, in whatever case it is written."""
    return shown[len(BEARER) :] if shown[: len(BEARER)].lower() == BEARER.lower() else shown
