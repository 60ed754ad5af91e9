from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from discord_tools.ipc import ClientLimits, ClientSession, ServerLimits
from discord_tools.ipc.missing import MISSING

BOTH = pytest.mark.parametrize("limits", [ClientLimits, ServerLimits])


@BOTH
def test_limits_cannot_be_changed_since_sessions_share_the_default(limits: Any) -> None:
    one = limits()
    with pytest.raises(FrozenInstanceError):
        one.message_bytes = 1


@BOTH
def test_limits_are_given_by_name(limits: Any) -> None:
    with pytest.raises(TypeError):
        limits(5000)
    assert limits(message_bytes=5000).message_bytes == 5000


@BOTH
def test_every_limit_is_documented(limits: Any) -> None:
    assert [f.name for f in fields(limits) if f"{f.name}: :class:`" not in limits.__doc__] == []


def test_both_sides_take_messages_of_the_same_size() -> None:
    assert ClientLimits().message_bytes == ServerLimits().message_bytes == 4 * 1024 * 1024


def test_a_client_waits_no_longer_than_the_server_works() -> None:
    assert ServerLimits().call_timeout > 30.0


def test_a_server_keeps_a_client_that_is_away_for_longer_than_its_requests_wait() -> None:
    assert ServerLimits().resume_timeout > ClientSession().connect_timeout


def test_both_sides_keep_more_than_the_largest_message_to_send_it_again() -> None:
    for limits in (ClientLimits(), ServerLimits()):
        assert limits.retained_bytes > limits.message_bytes


def test_a_missing_parameter_shows_as_three_dots_and_is_false() -> None:
    assert repr(MISSING) == "..."
    assert not MISSING
