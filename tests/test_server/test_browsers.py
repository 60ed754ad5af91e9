"""Which web pages may connect, and what browsers are told about them."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import pytest
from discord.ext import commands
from multidict import CIMultiDict

from discord_tools.ipc import Server
from discord_tools.ipc_server.browsers import Pages, checked_hosts, host_name

GOOD = "https://good.example"


def refusal(pages: Pages, **headers: str) -> str | None:
    found = pages.refusal(CIMultiDict(headers))
    assert found is None or found.status is HTTPStatus.FORBIDDEN
    return None if found is None else found.text


def test_a_string_is_no_collection_of_origins(bot: commands.Bot) -> None:
    with pytest.raises(TypeError, match="a collection of strings"):
        Server(bot, origins="https://good.example")


@pytest.mark.parametrize(
    ("origin", "hint"),
    [
        ("good.example", "write https://good.example"),
        ("//good.example", "write https://good.example"),
        ("https://good.example/page", "write https://good.example"),
        ("https://good.example?page", "write https://good.example"),
        ("https://good.example:443", "https://good.example"),
        ("http://good.example:80", "http://good.example"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_by_the_constructor_with_a_hint(
    bot: commands.Bot, origin: str, hint: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(origin)) as caught:
        Server(bot, origins=["https://fine.example", origin])
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize(
    "origin",
    ["https://good.example", "http://good.example:8080", "https://good.example/", "http://[::1]:3000"],
)
def test_an_origin_as_browsers_send_it_is_accepted_by_the_constructor(bot: commands.Bot, origin: str) -> None:
    Server(bot, origins=[origin])


def test_requests_without_an_origin_come_from_no_page() -> None:
    assert refusal(Pages((GOOD,), ("bot.example",)), host="elsewhere.example") is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LOCALHOST.",
        "127.0.0.1:8000",
        "[::1]:8000",
        "[::1]",
        "192.0.2.1",
        "good.example",
    ],
)
def test_pages_may_connect_by_localhost_by_addresses_and_by_names_of_allowed_origins(host: str) -> None:
    assert refusal(Pages((GOOD,)), origin=GOOD, host=host) is None


def test_pages_may_connect_by_the_name_that_the_server_runs_on() -> None:
    assert refusal(Pages((GOOD,), None, "Bot.internal"), origin=GOOD, host="bot.internal:8000") is None


@pytest.mark.parametrize(
    "host", ["rebound.example", "rebound.example:8000", "127.0.0.1.rebound.example", "", "[::1", "1.2.3"]
)
def test_pages_may_not_connect_by_other_names(host: str) -> None:
    assert refusal(Pages((GOOD,)), origin=GOOD, host=host) == "pages may not connect by this host name"


@pytest.mark.parametrize(
    ("host", "refused"), [("bot.example", False), ("127.0.0.1", True), ("localhost", True)]
)
def test_names_that_were_given_replace_the_others(host: str, refused: bool) -> None:
    assert (refusal(Pages((GOOD,), ("bot.example",)), origin=GOOD, host=host) is not None) is refused


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("https://bot.example", "'bot.example'"),
        ("bot.example:8000", "'bot.example'"),
        ("bot.example/ipc", "'bot.example'"),
        ("", "''"),
    ],
)
def test_a_host_with_more_than_a_name_is_refused_by_the_constructor_with_a_hint(
    bot: commands.Bot, host: str, hint: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(host))) as caught:
        Server(bot, hosts=["fine.example", host])
    assert str(caught.value).endswith(f"write {hint}")


@pytest.mark.parametrize("host", ["*", "*.example"])
def test_patterns_of_hosts_are_refused_by_the_constructor(bot: commands.Bot, host: str) -> None:
    with pytest.raises(ValueError, match="name each host"):
        Server(bot, hosts=[host])


@pytest.mark.parametrize(("hosts", "what"), [("bot.example", "not one string"), ([5], "must be a str")])
def test_hosts_of_a_wrong_type_are_refused_by_the_constructor(
    bot: commands.Bot, hosts: Any, what: str
) -> None:
    with pytest.raises(TypeError, match=what):
        Server(bot, hosts=hosts)


def test_hosts_are_compared_in_lower_case() -> None:
    assert checked_hosts(["Bot.Example", "::1"]) == {"bot.example", "::1"}


@pytest.mark.parametrize(
    ("header", "name"),
    [("a.example", "a.example"), ("A.example.:80", "a.example"), ("[::1]:80", "::1"), (" a ", "a"), ("", "")],
)
def test_the_name_in_a_host_header_has_no_port(header: str, name: str) -> None:
    assert host_name(header) == name
