"""Reverse proxies that are trusted to tell the address of a client."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Any, Final, TypeAlias

__all__ = ("UNIX", "Proxies", "checked_proxies")

#: The address of a client at a Unix socket, in logs and in ``proxies``.
UNIX: Final = "unix"

#: Maximum number of proxies that are followed. Chains of two or three are usual.
HOPS: Final = 16

#: The longest entry that can be an IPv6 address with a zone, brackets and a port.
ENTRY_CHARS: Final = 80

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """Finds the address of a client from ``X-Forwarded-For``, which counts only where a trusted proxy sent it.

    Each proxy adds the address that it was connected from at the end. What is before the addresses of trusted proxies
    was sent by the client and may be invented, so the header is read from its end.
    """

    def __init__(self, networks: Sequence[_Network], *, unix: bool) -> None:
        self._networks = networks
        self._unix = unix

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Returns the address of the client that connected through ``peer``.

        Parameters
        ----------
        peer: :class:`str`
            The address of the connection, or ``unix``.
        forwarded: Sequence[:class:`str`]
            The ``X-Forwarded-For`` lines, in their order.
        """
        address = peer
        if not forwarded or not self._trusts(peer):
            return address
        entries = ",".join(forwarded).rsplit(",", HOPS)[-HOPS:]
        for entry in reversed(entries):
            ip = _read(entry)
            if ip is None:
                break  # the hop before it is the last one that is known
            address = str(ip)
            if not self._contain(ip):
                break
        return address

    def _trusts(self, peer: str) -> bool:
        if peer == UNIX:
            return self._unix
        ip = _read(peer)
        return ip is not None and self._contain(ip)

    def _contain(self, ip: _IP) -> bool:
        return any(ip in network for network in self._networks)


def checked_proxies(values: Collection[str]) -> Proxies | None:
    """Returns the trusted proxies, or ``None`` where there are none.

    Raises
    ------
    TypeError
        It is one string, or an entry is no string.
    ValueError
        An entry is no IP address, no network and not ``unix``.
    """
    if isinstance(values, str):
        raise TypeError(f"proxies must be a collection of strings, not one string: [{values!r:.100}]")
    networks: list[_Network] = []
    entries: list[Any] = list(values)
    for value in entries:
        if not isinstance(value, str):
            raise TypeError(f"a proxy must be a str, not {value!r:.100}")
        if value == UNIX:
            continue
        try:
            networks.append(ipaddress.ip_network(value))
        except ValueError as error:
            raise ValueError(
                f"the proxy {value!r:.100} is no IP address, no network and not 'unix': {error}"
            ) from None
    return Proxies(networks, unix=UNIX in entries) if entries else None


def _read(text: str) -> _IP | None:
    """Reads an address, perhaps with brackets, a port or a zone, as proxies write them."""
    text = text.strip()
    if len(text) > ENTRY_CHARS:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both families shows IPv4 addresses as IPv6 ones.
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return ip if mapped is None else mapped
