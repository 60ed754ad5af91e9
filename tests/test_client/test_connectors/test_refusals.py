"""What errors of aiohttp and answers to handshakes mean, in words."""

from __future__ import annotations

import aiohttp
import pytest

from discord_tools.ipc.address import Address
from discord_tools.ipc.connectors.refusals import explain, refusal

PLAIN = Address(host="bot.example", port=8000)
SECURE = Address(host="bot.example", port=443, tls=True)


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (502, {}, "a proxy cannot reach the bot"),
        (504, None, "a proxy got no answer from the bot in time"),
        (426, {"IPC-Missing": "Upgrade, Connection"}, "proxy_set_header Upgrade $http_upgrade;"),
        (426, {"IPC-Missing": "<script>"}, "something else listens there: it answers HTTP 426"),
        (426, {}, "something else listens there: it answers HTTP 426"),
        (426, None, "something else listens there: it answers HTTP 426"),
        (400, {}, "or it speaks TLS only"),
        (418, {}, "something else listens there: it answers HTTP 418"),
    ],
)
def test_a_status_is_explained(status: int, headers: dict[str, str] | None, text: str) -> None:
    explained = refusal(status, headers, PLAIN)
    assert text in explained
    assert "<script>" not in explained


def test_a_connection_that_ends_during_the_handshake_is_explained_by_the_scheme() -> None:
    error = aiohttp.ServerDisconnectedError()
    assert "write wss://" in explain(error, PLAIN)
    assert "client certificate" in explain(error, SECURE)


def test_other_errors_keep_their_text() -> None:
    assert explain(RuntimeError("Session is closed"), PLAIN) == "Session is closed"
    assert explain(RuntimeError(), PLAIN) == "RuntimeError"
