"""Who gets in: keys and origins."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from discord.ext import commands
from multidict import CIMultiDict

from discord_tools.ipc import Server
from discord_tools.ipc_server import gate as access
from discord_tools.ipc_server.gate import Gate


def refusal(gate: Gate, **headers: str) -> HTTPStatus | None:
    return gate.refusal(CIMultiDict(headers))


@pytest.mark.parametrize("key", ["key", "a key with spaces", "Bearer key", "Schlüssel-鍵-🔑"])
def test_the_key_lets_in_as_it_is_and_after_bearer(key: str) -> None:
    gate = Gate(key, ())
    assert refusal(gate, authorization=key) is None
    assert refusal(gate, authorization=f"Bearer {key}") is None
    assert gate.accepts(key)


@pytest.mark.parametrize(
    "shown", ["", "kex", "ke", "keyy", "KEY", " key", "key ", "Basic key", "Bearer  key", "\udcff", "ключ"]
)
def test_any_other_key_is_refused(shown: str) -> None:
    assert refusal(Gate("key", ()), authorization=shown) == HTTPStatus.UNAUTHORIZED


def test_no_key_is_refused_where_one_is_needed() -> None:
    gate = Gate("key", ())
    assert refusal(gate) == HTTPStatus.UNAUTHORIZED
    assert not gate.accepts(None)


@pytest.mark.parametrize("shown", [5, True, ["key"], {"key": 1}, b"key"])
def test_a_key_that_is_no_text_is_refused(shown: Any) -> None:
    assert not Gate("key", ()).accepts(shown)


def test_without_a_key_everybody_on_the_machine_gets_in() -> None:
    gate = Gate(None, ())
    assert refusal(gate) is None
    assert refusal(gate, authorization="anything") is None
    assert gate.accepts(None)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost", "", "https://good.example:444"]
)
def test_web_pages_are_refused_whatever_key_they_show(origin: str) -> None:
    gate = Gate("key", ("https://good.example",))
    assert refusal(gate, origin=origin, authorization="key") == HTTPStatus.FORBIDDEN
    assert refusal(Gate(None, ()), origin=origin) == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("origin", ["https://good.example", "HTTPS://GOOD.example", "https://good.example/"])
def test_web_pages_of_an_allowed_origin_get_in_with_the_key(origin: str) -> None:
    gate = Gate("key", ("https://Good.example/",))
    assert refusal(gate, origin=origin, authorization="key") is None
    assert refusal(gate, origin=origin, authorization="wrong") == HTTPStatus.UNAUTHORIZED


def test_one_origin_is_not_taken_for_many(bot: commands.Bot) -> None:
    with pytest.raises(TypeError, match="a collection of strings"):
        Server(bot, origins="https://good.example")


@pytest.mark.parametrize("key", ["", " ", "\n", "key\n", " key", "a\x00b"])
def test_a_key_that_no_header_can_hold_is_refused_by_the_constructor(bot: commands.Bot, key: str) -> None:
    with pytest.raises(ValueError, match="secret_key"):
        Server(bot, secret_key=key)


def test_many_refusals_are_told_a_few_times_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(access.time, "monotonic", lambda: now)
    gate = Gate("k", ())
    for number in range(1000):
        gate.tell("refused %d", number)
    assert caplog.messages == [f"refused {number}" for number in range(access.TOLD_PER_MINUTE)]
    caplog.clear()
    now += 60
    gate.tell("refused once more")
    assert caplog.messages == [f"{1000 - access.TOLD_PER_MINUTE} more were refused", "refused once more"]
