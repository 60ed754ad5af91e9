from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from discord_tools.ipc.address import Address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://example.org", Address(host="example.org", port=80)),
        ("http://example.org", Address(host="example.org", port=80)),
        ("wss://example.org", Address(host="example.org", port=443, tls=True)),
        ("https://example.org", Address(host="example.org", port=443, tls=True)),
        ("ws://example.org:8000", Address(host="example.org", port=8000)),
        ("https://example.org:8443", Address(host="example.org", port=8443, tls=True)),
        ("ws://127.0.0.1:8000/", Address(host="127.0.0.1", port=8000)),
        ("ws://[::1]:8000", Address(host="::1", port=8000)),
        ("ws://[2001:db8::1]", Address(host="2001:db8::1", port=80)),
        ("wss://example.org/bots/one", Address(host="example.org", port=443, path="/bots/one/", tls=True)),
        ("ws://example.org:8000/ipc/", Address(host="example.org", port=8000, path="/ipc/")),
        ("WS://Example.ORG:8000", Address(host="example.org", port=8000)),
        ("unix:///run/bot.sock", Address(unix="/run/bot.sock")),
        ("UNIX:///run/bot.sock", Address(unix="/run/bot.sock")),
        ("unix:///run/my bot/100%.sock", Address(unix="/run/my bot/100%.sock")),
    ],
)
def test_a_url_is_read_into_its_parts(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must begin with ws, http, wss, https or unix"),
        ("example.org", "must begin with"),
        ("localhost:8000", "must begin with"),
        ("//example.org", "must begin with"),
        ("ftp://example.org", "must begin with"),
        ("ws://", "names no host"),
        ("ws:///path", "names no host"),
        ("ws://:8000", "names no host"),
        ("ws:example.org", "names no host"),
        ("ws://example.org/?a=1", "must not have a query"),
        ("ws://example.org/#top", "a fragment"),
        ("ws://me@example.org", "or a user"),
        ("ws://me:password@example.org", "or a user"),
        ("ws://:password@example.org", "or a user"),
        ("ws://example.org:eight", "bad port"),
        ("ws://example.org:-1", "bad port"),
        ("ws://example.org:65536", "bad port"),
        ("ws://example.org:0", "bad port"),
        ("ws://[::1", "is not a URL"),
        ("unix://run/bot.sock", "three slashes"),
        ("unix:/run/bot.sock", "three slashes"),
        ("unix:bot.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("unix:///", "three slashes"),
        ("unix:///run/bot.sock?a=1", "must not have a query"),
        ("unix:///run/bot.sock#top", "a fragment"),
    ],
)
def test_an_invalid_url_is_a_value_error_that_quotes_it_and_names_the_problem(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        Address.parse(url)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (Address(), "ws://localhost/"),
        (Address(port=8000), "ws://localhost:8000/"),
        (Address(host="::1", port=8000), "ws://[::1]:8000/"),
        (Address(host="example.org", port=443, tls=True), "wss://example.org:443/"),
        (Address(host="example.org", port=80, path="/ipc/"), "ws://example.org:80/ipc/"),
        (Address(unix="/run/bot.sock"), "ws://localhost/"),
        (Address(unix="/run/bot.sock", host="bot"), "ws://bot/"),
    ],
)
def test_an_address_has_a_websocket_url(address: Address, url: str) -> None:
    assert address.url == url


@pytest.mark.parametrize(
    ("address", "label"),
    [
        (Address(port=8000), "localhost:8000"),
        (Address(host="::1", port=8000), "[::1]:8000"),
        (Address(host="example.org", port=443, tls=True), "wss://example.org:443/"),
        (Address(host="example.org", port=80, path="/ipc/"), "ws://example.org:80/ipc/"),
        (Address(unix="/run/bot.sock"), "unix:/run/bot.sock"),
    ],
)
def test_the_label_is_short_and_tells_addresses_apart(address: Address, label: str) -> None:
    assert address.label == label


@pytest.mark.parametrize("url", ["ws://h:1/", "ws://[::1]:1/", "wss://h:443/", "ws://h:80/a/b/"])
def test_the_url_of_an_address_reads_back_as_the_same_address(url: str) -> None:
    assert Address.parse(url).url == url


@pytest.mark.parametrize(
    ("options", "exposed"),
    [
        ({"host": "localhost"}, False),
        ({"host": "127.0.0.1"}, False),
        ({"host": "127.1.2.3"}, False),
        ({"host": "::1"}, False),
        ({"host": "::1%lo"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": ""}, True),
        ({"host": "192.168.0.1"}, True),
        ({"host": "fe80::1%eth0"}, True),
        ({"host": "example.org"}, True),
        ({"host": "localhost.example.org"}, True),
        ({"unix": "/run/bot.sock"}, False),
        ({"unix": "/run/bot.sock", "host": "example.org"}, False),
    ],
    ids=str,
)
def test_an_address_is_exposed_unless_only_this_machine_reaches_it(
    options: dict[str, Any], exposed: bool
) -> None:
    assert Address(**options).is_exposed is exposed


def test_an_address_cannot_be_changed_and_is_equal_to_another_of_the_same_parts() -> None:
    address = Address(host="h", port=1)
    assert {address, Address(host="h", port=1)} == {address}
    with pytest.raises(FrozenInstanceError):
        address.port = 2  # pyright: ignore[reportAttributeAccessIssue]
