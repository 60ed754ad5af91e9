"""Who may connect: keys, origins, and the callers that the gate makes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from discord.ext import commands
from multidict import CIMultiDict

from discord_tools.ipc import Server, logs
from discord_tools.ipc_server.browsers import Pages, Refusal
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.gate import Gate
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
    gate = Gate(Keys(key), Pages())
    assert refusal(gate, authorization=key) is None
    assert refusal(gate, authorization=f"Bearer {key}") is None
    assert accepts(gate, key)


@pytest.mark.parametrize(
    "shown", ["", "kex", "ke", "keyy", "KEY", " key", "key ", "Basic key", "Bearer  key", "\udcff", "ключ"]
)
def test_any_other_key_is_refused(shown: str) -> None:
    gate = Gate(Keys("key"), Pages())
    assert refusal(gate, authorization=shown) == HTTPStatus.UNAUTHORIZED
    assert not accepts(gate, shown)


def test_a_missing_key_is_refused_where_one_is_needed() -> None:
    gate = Gate(Keys("key"), Pages())
    assert refusal(gate) == HTTPStatus.UNAUTHORIZED
    assert not accepts(gate, None)


@pytest.mark.parametrize("shown", [5, True, ["key"], {"key": 1}, b"key"])
def test_a_key_that_is_no_text_is_refused(shown: Any) -> None:
    assert not accepts(Gate(Keys("key"), Pages()), shown)


@pytest.mark.parametrize("shown", ["Bearer key", "key\n"])
def test_a_key_in_a_message_has_no_other_form(shown: str) -> None:
    assert not accepts(Gate(Keys("key"), Pages()), shown)


def test_a_server_without_a_key_accepts_every_key() -> None:
    gate = Gate(Keys(None), Pages())
    assert refusal(gate) is None
    assert refusal(gate, authorization="anything") is None
    assert accepts(gate, None)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost", "", "https://good.example:444"]
)
def test_web_pages_of_other_origins_are_refused(origin: str) -> None:
    gate = Gate(Keys("key"), Pages(("https://good.example",)))
    assert refusal(gate, origin=origin) == HTTPStatus.FORBIDDEN
    assert refusal(Gate(Keys(None), Pages()), origin=origin, authorization="anything") == HTTPStatus.FORBIDDEN
    assert refusal(Gate(Keys(None), Pages()), origin=origin) == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "ws://localhost"])
def test_a_program_with_the_right_key_may_send_any_origin(origin: str) -> None:
    # A page can set this header neither on a WebSocket nor on a request without being asked for it.
    assert refusal(Gate(Keys("key"), Pages()), origin=origin, authorization="key") is None


def test_a_wrong_key_counts_as_one_whatever_the_origin_is() -> None:
    # Otherwise guesses with a foreign origin would not be slowed down, and would still find the right key.
    gate = Gate(Keys("key"), Pages())
    assert refusal(gate, origin="https://evil.example", authorization="kex") == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_before_the_key_may_be_written_in_any_case(scheme: str) -> None:
    assert refusal(Gate(Keys("key"), Pages()), authorization=f"{scheme} key") is None


@pytest.mark.parametrize("origin", ["https://good.example", "HTTPS://GOOD.example", "https://good.example/"])
def test_web_pages_of_an_allowed_origin_are_accepted_with_the_key(origin: str) -> None:
    gate = Gate(Keys("key"), Pages(("https://Good.example/",)))
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
    assert enter(Gate(Keys("key"), Pages()), **headers) == Refusal(HTTPStatus(status), text)


def test_the_caller_has_the_name_of_the_key_and_where_it_comes_from() -> None:
    gate = Gate(Keys("key"), Pages())
    assert enter(gate, authorization="Bearer key") == Caller("secret_key", "192.0.2.7", "native", "conn-7")
    assert gate.identify("key", "192.0.2.8", "better-ipc", "conn-8") == Caller(
        "secret_key", "192.0.2.8", "better-ipc", "conn-8"
    )


def test_the_caller_of_a_server_without_a_key_has_no_key() -> None:
    gate = Gate(Keys(None), Pages())
    assert enter(gate, authorization="anything") == Caller(None, "192.0.2.7", "native", "conn-7")


def test_a_caller_without_an_address_is_called_unknown() -> None:
    caller = Gate(Keys(None), Pages()).enter(CIMultiDict(), None, "native", "conn-7")
    assert isinstance(caller, Caller)
    assert caller.address == "unknown"


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
    incidents = Gate(Keys("k"), Pages()).incidents
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
    incidents = Gate(Keys("k"), Pages()).incidents
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
