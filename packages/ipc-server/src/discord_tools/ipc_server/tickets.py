"""Tickets: what a page of an allowed origin shows once, in place of a key that it must not have."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from discord_tools.ipc.errors import BadData, Forbidden, Overloaded
from discord_tools.ipc.wire.codec import UNREADABLE
from discord_tools.ipc_server.access import checked_scopes
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.browsers import normal_origin
from discord_tools.ipc_server.caller import Caller

__all__ = ("PREFIX", "Tickets", "ticket_in")

#: What tickets begin with, so that they are told apart from keys and from subprotocols.
PREFIX: Final = "ticket."

#: Maximum number of seconds in which a ticket may be shown.
MAX_SECONDS: Final = 3600

#: Maximum number of tickets of one key that were not shown yet.
MAX_PER_KEY: Final = 1024

#: Maximum number of all tickets that were not shown yet. Each may have some kilobytes of scopes.
MAX_TICKETS: Final = 2048

#: Seconds between searches for tickets that have expired, which take time where there are many.
SWEEP_INTERVAL: Final = 1.0

_Origin = Annotated[str, Meta(max_length=256)]
_Seconds = Annotated[float, Meta(gt=0, le=MAX_SECONDS)]
_Scopes = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=64)]


class _Wish(Struct, forbid_unknown_fields=True):
    """Parameters of ``rpc.ticket``."""

    origin: _Origin
    expires_in: _Seconds = 60
    scopes: _Scopes | None = None


_wish = msgspec.json.Decoder(_Wish)


class _Issued(NamedTuple):
    """A ticket that was not shown yet: whom its page will call as, and until when it is accepted by the clock."""

    page: Caller
    until: float


class Tickets:
    """Tickets of one server that were issued and not shown yet.

    Parameters
    ----------
    is_allowed: Callable[[:class:`str`], :class:`bool`]
        Returns whether pages of an origin may connect.
    clock: Callable[[], :class:`float`]
        Returns the present time, in seconds.
    """

    def __init__(
        self, is_allowed: Callable[[str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._is_allowed = is_allowed
        self._clock = clock
        #: The tickets, by their digests: looking a digest up tells nothing about the ticket.
        self._issued: dict[bytes, _Issued] = {}
        #: The number of them, by the name of the key.
        self._by_key: Counter[str | None] = Counter()
        #: When those that have expired were last searched for, by the clock.
        self._swept = -math.inf

    def issue(self, params: bytes, caller: Caller, acting: ActingUser | None = None) -> str:
        """Makes a ticket for a page, which may do at most what the caller may do, and acts for the same user.

        Raises
        ------
        BadData
            The parameters are wrong, or the origin is not allowed.
        Forbidden
            The caller has itself shown a ticket, or does not have a scope that it asks for.
        Overloaded
            Too many tickets have not been shown yet.
        """
        if caller.origin is not None:
            raise Forbidden("a page that has shown a ticket gets no other one: its backend asks for it")
        try:
            wish = _wish.decode(params)
            scopes = checked_scopes(wish.scopes, "a ticket")
        except (*UNREADABLE, ValueError, TypeError) as error:
            raise BadData(f"the parameters of a ticket are wrong: {error}") from None
        if not self._is_allowed(wish.origin):
            raise BadData(
                f"the server does not allow pages of the origin {wish.origin!r}: name it in Server(origins=[...])"
            )
        if scopes is not None and caller.scopes is not None and (more := sorted(scopes - caller.scopes)):
            raise Forbidden(
                f"the ticket asks for the scope {more[0]!r}, which the key {caller.key!r} does not have",
                data={"scopes": more},
            )
        if self._is_full(caller.key):
            self._forget_expired()
            if self._is_full(caller.key):
                raise Overloaded("too many tickets have not been shown yet")
        ticket = PREFIX + secrets.token_urlsafe(32)
        user, verified = (None, False) if acting is None else (acting.id, acting.verified)
        page = replace(
            caller,
            user=user,
            user_verified=verified,
            origin=wish.origin,
            granted=scopes,
            scopes=caller.scopes if scopes is None else scopes,
        )
        self._issued[_digest(ticket)] = _Issued(page, self._clock() + wish.expires_in)
        self._by_key[caller.key] += 1
        return ticket

    def redeem(self, ticket: str, origin: str | None) -> Caller | None:
        """Takes a ticket that the page of an origin has shown, and returns for whom it was issued.

        Returns ``None`` where it is not accepted. It is gone in any case: a page that has somebody else's ticket must
        not be able to try again.
        """
        issued = self._take(_digest(ticket))
        if (
            issued is None
            or origin is None
            or normal_origin(origin) != normal_origin(issued.page.origin or "")
        ):
            return None
        return issued.page if self._clock() < issued.until else None

    def _take(self, digest: bytes) -> _Issued | None:
        issued = self._issued.pop(digest, None)
        if issued is not None:
            key = issued.page.key
            self._by_key[key] -= 1
            if not self._by_key[key]:
                del self._by_key[key]
        return issued

    def _is_full(self, key: str | None) -> bool:
        return len(self._issued) >= MAX_TICKETS or self._by_key[key] >= MAX_PER_KEY

    def _forget_expired(self) -> None:
        now = self._clock()
        if now - self._swept < SWEEP_INTERVAL:
            return
        self._swept = now
        for digest in [digest for digest, one in self._issued.items() if one.until <= now]:
            self._take(digest)


def ticket_in(headers: Mapping[str, str]) -> str | None:
    """Returns the ticket that a request shows: among the subprotocols of a WebSocket, or after ``Bearer``."""
    offered = headers.get("Sec-WebSocket-Protocol")
    if offered is not None:
        for one in offered.split(","):
            if one.strip().startswith(PREFIX):
                return one.strip()
        return None
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" and value.startswith(PREFIX) else None


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode(errors="surrogateescape")).digest()
