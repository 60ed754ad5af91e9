"""What a caller is compared by, and what precedes its lines in the log."""

from __future__ import annotations

from typing import Any

import pytest

from discord_tools.ipc_server.caller import Caller
from test_server.tools import CALLER, caller


@pytest.mark.parametrize(
    ("changes", "same_identity", "same_account"),
    [
        ({"connection": "conn-2"}, True, True),
        ({"address": "192.0.2.99"}, True, False),
        ({"key": "another"}, False, False),
        ({"key": None}, False, False),
        ({"dialect": "jsonrpc"}, False, False),
    ],
)
def test_key_and_dialect_are_the_identity_and_with_the_address_the_account(
    changes: dict[str, Any], same_identity: bool, same_account: bool
) -> None:
    other = caller(**changes)
    assert (other.identity == CALLER.identity) is same_identity
    assert (other.account == CALLER.account) is same_account


@pytest.mark.parametrize(
    ("key", "expected"),
    [("dashboard", "conn-7 2001:db8::1 key dashboard"), (None, "conn-7 2001:db8::1 no key")],
)
def test_the_label_names_the_connection_the_address_and_the_key(key: str | None, expected: str) -> None:
    assert Caller(key, "2001:db8::1", "native", "conn-7").label == expected
