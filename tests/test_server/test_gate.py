"""Who may connect: keys, origins, and the callers that the gate makes."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import pytest
from discord.ext import commands
from multidict import CIMultiDict

from discord_tools.ipc import Server, logs
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.gate import Gate, Refusal
from discord_tools.ipc_server.keys import Keys
from equipment.clocks import IncidentClock


def enter(gate: Gate, **headers: str) -> Caller | Refusal:
    return gate.enter(CIMultiDict(headers), "192.0.2.7", "native", "conn-7")


def refusal(gate: Gate, **headers: str) -> HTTPStatus | None:
    """The HTTP status of a refusal; ``None`` for a caller."""
    entered = enter(gate, **headers)
    return entered.status if isinstance(entered, Refusal) else None


def accepts(gate: Gate, key: Any) -> bool:
    return gate.identify(key, "192.0.2.7", "better-ipc", "conn-7") is not None


@pytest.mark.parametrize("key", ["key", "a key with spaces", "Bearer key", "Schlüssel-鍵-🔑"])
def test_the_key_is_accepted_alone_and_after_bearer(key: str) -> None:
    gate = Gate(Keys(key), ())
    assert refusal(gate, authorization=key) is None
    assert refusal(gate, authorization=f"Bearer {key}") is None
    assert accepts(gate, key)


@pytest.mark.parametrize(
    "shown", ["", "kex", "ke", "keyy", "KEY", " key", "key ", "Basic key", "Bearer  key", "\udcff", "ключ"]
)
def test_any_other_key_is_refused(shown: str) -> None:
    gate = Gate(Keys("key"), ())
    assert refusal(gate, authorization=shown) == HTTPStatus.UNAUTHORIZED
    assert not accepts(gate, shown)


def test_a_missing_key_is_refused_where_one_is_needed() -> None:
    gate = Gate(Keys("key"), ())
    assert refusal(gate) == HTTPStatus.UNAUTHORIZED
    assert not accepts(gate, None)


@pytest.mark.parametrize("shown", [5, True, ["key"], {"key": 1}, b"key"])
def test_a_key_that_is_no_text_is_refused(shown: Any) -> None:
    assert not accepts(Gate(Keys("key"), ()), shown)


@pytest.mark.parametrize("shown", ["Bearer key", "key\n"])
def test_a_key_in_a_message_has_no_other_form(shown: str) -> None:
    assert not accepts(Gate(Keys("key"), ()), shown)


def test_a_server_without_a_key_accepts_every_key() -> None:
    gate = Gate(Keys(None), ())
    assert refusal(gate) is None
    assert refusal(gate, authorization="anything") is None
    assert accepts(gate, None)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost", "", "https://good.example:444"]
)
def test_web_pages_are_refused_whatever_key_they_show(origin: str) -> None:
    gate = Gate(Keys("key"), ("https://good.example",))
    assert refusal(gate, origin=origin, authorization="key") == HTTPStatus.FORBIDDEN
    assert refusal(Gate(Keys(None), ()), origin=origin) == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("origin", ["https://good.example", "HTTPS://GOOD.example", "https://good.example/"])
def test_web_pages_of_an_allowed_origin_are_accepted_with_the_key(origin: str) -> None:
    gate = Gate(Keys("key"), ("https://Good.example/",))
    assert refusal(gate, origin=origin, authorization="key") is None
    assert refusal(gate, origin=origin, authorization="wrong") == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"authorization": "kex"}, 401, "wrong secret key"),
        ({"origin": "https://evil.example"}, 403, "this origin may not connect"),
    ],
)
def test_a_refusal_has_a_status_and_a_text_without_the_key(
    headers: dict[str, str], status: int, text: str
) -> None:
    assert enter(Gate(Keys("key"), ()), **headers) == Refusal(HTTPStatus(status), text)


def test_the_caller_has_the_name_of_the_key_and_where_it_comes_from() -> None:
    gate = Gate(Keys("key"), ())
    assert enter(gate, authorization="Bearer key") == Caller("secret_key", "192.0.2.7", "native", "conn-7")
    assert gate.identify("key", "192.0.2.8", "better-ipc", "conn-8") == Caller(
        "secret_key", "192.0.2.8", "better-ipc", "conn-8"
    )


def test_the_caller_of_a_server_without_a_key_has_no_key() -> None:
    gate = Gate(Keys(None), ())
    assert enter(gate, authorization="anything") == Caller(None, "192.0.2.7", "native", "conn-7")


def test_a_caller_without_an_address_is_called_unknown() -> None:
    caller = Gate(Keys(None), ()).enter(CIMultiDict(), None, "native", "conn-7")
    assert isinstance(caller, Caller)
    assert caller.address == "unknown"


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


def test_a_key_that_is_none_is_refused_by_the_constructor(bot: commands.Bot) -> None:
    with pytest.raises(ValueError, match="secret_key is None"):
        Server(bot, secret_key=None)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("key", ["", " ", "\n", "key\n", " key", "a\x00b"])
def test_a_key_that_no_header_can_hold_is_refused_by_the_constructor(bot: commands.Bot, key: str) -> None:
    with pytest.raises(ValueError, match="secret_key"):
        Server(bot, secret_key=key)


def test_refusals_of_one_address_for_one_reason_are_one_line_a_minute_and_then_a_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = IncidentClock(monkeypatch)
    incidents = Gate(Keys("k"), ()).incidents
    for number in range(1000):
        incidents.warning("192.0.2.1", "refused %d", number, label=f"conn-{number} 192.0.2.1")
    incidents.warning("192.0.2.2", "refused %d", 1)
    incidents.warning("192.0.2.2", "closed %d", 2)
    first = ["[conn-0 192.0.2.1] refused 0", "[192.0.2.2] refused 1", "[192.0.2.2] closed 2"]
    assert caplog.messages == first
    caplog.clear()
    clock.pass_period()
    incidents.warning("192.0.2.1", "refused %d", 1000)
    assert caplog.messages == ["[192.0.2.1] 999 more within a minute: refused 0", "[192.0.2.1] refused 1000"]


def test_the_number_of_lines_a_minute_is_bounded_whatever_the_number_of_addresses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = IncidentClock(monkeypatch)
    incidents = Gate(Keys("k"), ()).incidents
    for number in range(5000):
        incidents.warning(f"2001:db8::{number:x}", "refused")
    assert len(caplog.messages) == logs.INCIDENT_KINDS + 1
    caplog.clear()
    clock.pass_period()
    incidents.warning("192.0.2.1", "refused")
    rest = 5000 - logs.INCIDENT_KINDS - 1
    assert caplog.messages == [
        f"[others] {rest} more within a minute: more kinds of incidents",
        "[192.0.2.1] refused",
    ]
