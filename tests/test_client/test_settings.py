from __future__ import annotations

from typing import Any

import pytest

from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.settings import checked_key


def test_no_key_is_none() -> None:
    assert checked_key(MISSING) is None


@pytest.mark.parametrize("value", ["key", "two words", "ключ", "0"])
def test_a_key_is_kept_as_it_is(value: str) -> None:
    assert checked_key(value) == value


@pytest.mark.parametrize("value", ["", " ", "\n", "\t "])
def test_an_empty_key_is_refused_and_not_taken_for_none(value: str) -> None:
    with pytest.raises(ValueError, match="secret_key is empty"):
        checked_key(value)


@pytest.mark.parametrize("value", [" key", "key ", "key\n", "a\r\nX-Other: header", "a\x00b"])
def test_a_key_that_would_not_come_through_a_header_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="white space nor hold control characters"):
        checked_key(value)


@pytest.mark.parametrize("value", [b"key", 0, 1, False, ["key"]])
def test_a_key_that_is_no_string_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(value).__name__}"):
        checked_key(value)
