"""Who calls, as far as the gate found out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

__all__ = ("NATIVE", "Caller")

#: The dialect of :class:`~discord_tools.ipc.ClientSession`: our own subprotocol.
NATIVE: Final = "native"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: which key, from where, over what. :attr:`Request.caller` has it.

    .. versionadded:: 1.2

    Attributes
    ----------
    key: Optional[:class:`str`]
        The name of the key that was shown: its name in :attr:`Server.keys`, or ``secret_key`` for
        :attr:`Server.secret_key`. ``None`` where the server has no key.
    address: :class:`str`
        The remote address. ``memory`` for a session in the same process.
    dialect: :class:`str`
        What the caller speaks: ``native`` for a :class:`ClientSession`, ``jsonrpc``, ``http``, ``discord-ext-ipc`` or
        ``better-ipc``.
    connection: :class:`str`
        The short id of the connection, as in the log.
    scopes: Optional[frozenset[:class:`str`]]
        What the key opens: routes and events that name one of these scopes. ``None`` for everything.
    expires: Optional[:class:`datetime.datetime`]
        Until when the key is accepted. ``None`` for a key that does not expire.
    verified_users_only: :class:`bool`
        Whether the key takes only calls for acting users that the bot has verified; see :class:`Key`.
    origin: Optional[:class:`str`]
        The origin of the page, where a page has shown a ticket. ``key`` is that of the backend that asked for it.
    user: Optional[:class:`int`]
        The acting user of the ticket, for whom all calls of the page are made. ``None`` where it has none.
    """

    key: str | None
    address: str
    dialect: str
    connection: str
    scopes: frozenset[str] | None = None
    expires: datetime | None = None
    verified_users_only: bool = False
    origin: str | None = None
    user: int | None = None
    #: Whether Discord has said that the ticket's user is this one.
    user_verified: bool = field(default=False, repr=False)
    #: The scopes of the ticket, where it has fewer than the key.
    granted: frozenset[str] | None = field(default=None, repr=False)
    #: What tells the value that was shown from others of the same name. ``None`` where the server has no key.
    credential: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def names_users(self) -> bool:
        """Whether the user of a call has to be found out although the call names none.

        :meta private:
        """
        return self.verified_users_only or self.user is not None

    def opens(self, scopes: Collection[str]) -> bool:
        """:class:`bool`: Returns whether the key opens what names these scopes."""
        return self.scopes is None or not self.scopes.isdisjoint(scopes)

    @property
    def identity(self) -> tuple[object, ...]:
        """Tuple[:class:`object`, ...]: What must be the same to resume a conversation. The address is
        not part of it: a laptop changes networks.

        :meta private:
        """
        return self.key, self.dialect, self.origin, self.granted, self.user

    @property
    def account(self) -> tuple[str | None, str, str]:
        """Tuple[Optional[:class:`str`], :class:`str`, :class:`str`]: Whose calls are counted together, among clients
        that make a connection for each request.

        :meta private:
        """
        return self.key, self.dialect, self.address

    @property
    def account_label(self) -> str:
        """:class:`str`: What precedes lines in the log that are the same for all connections of the caller.

        :meta private:
        """
        return f"{self.address} {'no key' if self.key is None else f'key {self.key}'}"

    @property
    def label(self) -> str:
        """:class:`str`: What precedes lines in the log.

        :meta private:
        """
        return f"{self.connection} {self.account_label}"
