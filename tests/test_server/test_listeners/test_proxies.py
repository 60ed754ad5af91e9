"""The address of a client behind trusted proxies."""

from __future__ import annotations

import pytest

from discord_tools.ipc_server.listeners.proxies import HOPS, checked_proxies

PROXIES = checked_proxies(["127.0.0.1", "10.0.0.0/8", "fd00::/8", "unix"])
assert PROXIES is not None


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("unix", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9, 10.0.0.5, 10.1.1.1"], "203.0.113.9"),
        ("127.0.0.1", ["10.0.0.7, 10.0.0.5"], "10.0.0.7"),
        ("127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("127.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, fd00::1%eth0"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, nonsense"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, nonsense, 10.0.0.5"], "10.0.0.5"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9,"], "127.0.0.1"),
        ("127.0.0.1", ["x" * 100_000], "127.0.0.1"),
        ("127.0.0.1", [", ".join(["203.0.113.9", *["10.0.0.5"] * HOPS])], "10.0.0.5"),
    ],
)
def test_it_is_the_last_address_that_is_no_proxy(peer: str, forwarded: list[str], client: str) -> None:
    assert PROXIES is not None
    assert PROXIES.client(peer, forwarded) == client


def test_a_unix_socket_counts_only_where_it_is_named() -> None:
    proxies = checked_proxies(["127.0.0.1"])
    assert proxies is not None
    assert proxies.client("unix", ["203.0.113.9"]) == "unix"


def test_there_are_none_by_default() -> None:
    assert checked_proxies(()) is None
