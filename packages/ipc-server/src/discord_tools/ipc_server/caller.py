"""Who calls, as far as the gate found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ("NATIVE", "Caller")

#: The dialect of :class:`~discord_tools.ipc.ClientSession`: our own subprotocol.
NATIVE: Final = "native"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. The gate makes it, and it accompanies the connection, its conversation and its calls.

    Attributes
    ----------
    key: Optional[:class:`str`]
        The name of the key that was shown. ``None`` where the server has no key.
    address: :class:`str`
        The remote address.
    dialect: :class:`str`
        What the caller speaks.
    connection: :class:`str`
        The short id of the connection.
    """

    key: str | None
    address: str
    dialect: str
    connection: str

    @property
    def identity(self) -> tuple[str | None, str]:
        """Tuple[Optional[:class:`str`], :class:`str`]: What must be the same to resume a conversation. The address is
        not part of it: a laptop changes networks.
        """
        return self.key, self.dialect

    @property
    def account(self) -> tuple[str | None, str, str]:
        """Tuple[Optional[:class:`str`], :class:`str`, :class:`str`]: Whose calls are counted together, among clients
        that make a connection for each request.
        """
        return self.key, self.dialect, self.address

    @property
    def account_label(self) -> str:
        """:class:`str`: What precedes lines in the log that are the same for all connections of the caller."""
        return f"{self.address} {'no key' if self.key is None else f'key {self.key}'}"

    @property
    def label(self) -> str:
        """:class:`str`: What precedes lines in the log."""
        return f"{self.connection} {self.account_label}"
