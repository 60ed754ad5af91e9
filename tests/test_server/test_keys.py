"""Keys: their values, what they open, when they expire, and changes to all keys of a server."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Key, Server
from discord_tools.ipc_server import keys as module
from discord_tools.ipc_server.browsers import Pages
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.keys import Keys
from equipment.until import until

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


class Clock:
    """The system's clock, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = datetime(2030, 6, 1, tzinfo=UTC)
        monkeypatch.setattr(module, "now", lambda: self.time)

    def after(self, seconds: float) -> datetime:
        return self.time + timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        self.time = self.after(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def enter(keys: Keys, *shown: Any) -> Caller | str | None:
    return keys.enter(shown, "192.0.2.7", "native", "conn-7")


def caller(keys: Keys, shown: str) -> Caller:
    entered = enter(keys, shown)
    assert isinstance(entered, Caller)
    return entered


# -- one key


def test_a_key_has_scopes_and_an_expiry() -> None:
    key = Key("secret", scopes=["read", "write"], expires=FUTURE)
    assert key.scopes == frozenset({"read", "write"})
    assert key.expires == FUTURE
    assert (Key("secret").scopes, Key("secret").expires) == (None, None)


def test_no_text_has_the_value_of_a_key() -> None:
    key = Key("very secret", "also secret", scopes={"read"}, expires=FUTURE)
    for written in (repr(key), str(key), f"{[key]}", repr(Keys("plain", {"a": key}))):
        assert "<Key values=2 scopes=['read'] expires=2999-01-01T00:00:00+00:00>" in written
        assert "very" not in written
        assert "also" not in written


def test_keys_with_the_same_values_scopes_and_expiry_are_equal() -> None:
    one, same = (Key("a", "b", scopes={"read"}, expires=FUTURE) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    others = (
        Key("a", "c", scopes={"read"}, expires=FUTURE),
        Key("a", "b", scopes={"write"}, expires=FUTURE),
        Key("a", "b", scopes={"read"}),
        Key("a", "b", expires=FUTURE),
        "a",
    )
    for other in others:
        assert one != other


def test_a_key_cannot_be_changed() -> None:
    key = Key("secret")
    for name in ("scopes", "expires", "values", "anything"):
        with pytest.raises(AttributeError):
            setattr(key, name, None)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((), "Key() needs a value"),
        ((None,), "a value of Key() is None: is the environment variable set?"),
        (("",), "a value of Key() is empty"),
        (("a", " "), "a value of Key() is empty"),
        (("a\n",), "a value of Key() must not begin or end with white space nor hold control characters"),
        (("a\x00b",), "a value of Key() must not begin or end with white space nor hold control characters"),
        (("x" * 4097,), "a value of Key() must not be longer than 4096 bytes"),
        (("same", "same"), "two values of Key() are the same, or differ only in 'Bearer ' before them"),
        (("same", "Bearer same"), "two values of Key() are the same"),
        (("same", "Bearer Bearer same"), "two values of Key() are the same"),
    ],
)
def test_a_value_that_no_client_can_show_is_refused(values: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        Key(*values)
    assert "same" not in str(caught.value).replace("the same", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "a value of Key() must be a str, not int"),
        (b"secret", "a value of Key() must be a str, not bytes"),
        (["one", "two"], "a value of Key() must be a str: give several as Key(first, second)"),
        (Key("secret"), "a value of Key() must be a str, not Key"),
    ],
)
def test_a_value_of_another_type_is_refused_without_being_quoted(value: Any, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        Key(value)
    assert str(caught.value) == text


@pytest.mark.parametrize("expires", [5, 5.0, "2999-01-01", date(2999, 1, 1), timedelta(days=90)])
def test_an_expiry_that_is_no_datetime_is_refused(expires: Any) -> None:
    with pytest.raises(TypeError, match="expires must be a datetime") as caught:
        Key("secret", expires=expires)
    assert repr(expires) in str(caught.value)


def test_an_expiry_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="expires has no time zone"):
        Key("secret", expires=datetime(2999, 1, 1))


def test_an_expiry_may_be_in_any_time_zone(clock: Clock) -> None:
    zone = timezone(timedelta(hours=9))
    assert not Key("secret", expires=clock.after(1).astimezone(zone)).is_expired()
    assert Key("secret", expires=clock.after(0).astimezone(zone)).is_expired()


@pytest.mark.parametrize(("scopes", "error"), [("read", TypeError), ([5], TypeError), (["*"], ValueError)])
def test_scopes_of_a_key_that_cannot_be_used_are_refused(scopes: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"Key\(\): "):
        Key("secret", scopes=scopes)


# -- all keys of a server


@pytest.mark.parametrize(
    ("keys", "error", "text"),
    [
        (None, ValueError, "keys is None: leave it out to run without keys"),
        ([Key("a")], TypeError, "keys must be a dict of names and Key objects, not list"),
        (Key("a"), TypeError, "keys must be a dict of names and Key objects, not Key"),
        (
            {"panel": "top secret"},
            TypeError,
            "keys['panel'] must be a Key, not str: write Key(...) around it",
        ),
        ({"panel": None}, TypeError, "keys['panel'] must be a Key, not NoneType"),
        ({5: Key("a")}, TypeError, "the name of a key must be a str, not 5"),
        ({"": Key("a")}, ValueError, "the name of a key must have 1 to 100 characters, not 0"),
        ({"a\nb": Key("a")}, ValueError, "the name of a key must not begin or end with white space"),
        ({"secret_key": Key("a")}, ValueError, "the name 'secret_key' is that of the parameter secret_key"),
        (
            {"a": Key("top secret"), "b": Key("x", "top secret")},
            ValueError,
            "the keys 'a' and 'b' have the same value",
        ),
        ({"a": Key("plain key")}, ValueError, "the keys 'secret_key' and 'a' have the same value"),
        ({"a": Key("Bearer plain key")}, ValueError, "the keys 'secret_key' and 'a' have the same value"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_by_the_constructor(
    bot: commands.Bot, keys: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=re.escape(text)) as caught:
        Server(bot, secret_key="plain key", keys=keys)
    assert "top secret" not in str(caught.value)
    assert "plain key" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key"),
    [("secret_key", Key("b")), ("other", "b"), ("other", Key("a")), ("other", Key("Bearer a"))],
)
def test_a_change_that_is_refused_changes_nothing(name: str, key: Any) -> None:
    keys = Keys(None, {"panel": Key("a")})
    with pytest.raises((TypeError, ValueError)):
        keys[name] = key
    assert dict(keys) == {"panel": Key("a")}
    assert caller(keys, "a").key == "panel"


def test_keys_are_a_mapping_that_can_be_changed() -> None:
    keys = Keys("plain", {"panel": Key("a")})
    keys["status"] = Key("b", scopes={"read"})
    assert (list(keys), len(keys), "secret_key" in keys) == (["panel", "status"], 2, False)
    assert caller(keys, "b").scopes == frozenset({"read"})
    assert keys.pop("panel") == Key("a")
    assert enter(keys, "a") is None
    keys.update(panel=Key("c"))
    assert caller(keys, "c").key == "panel"
    with pytest.raises(KeyError):
        del keys["nobody"]
    keys.clear()
    assert (enter(keys, "b"), caller(keys, "plain").key) == (None, "secret_key")


def test_each_value_of_a_key_is_accepted_under_its_name_with_its_scopes_and_expiry() -> None:
    keys = Keys("plain", {"panel": Key("a", "b", scopes={"read"}, expires=FUTURE)})
    for value in ("a", "b"):
        entered = caller(keys, value)
        assert (entered.key, entered.scopes, entered.expires) == ("panel", frozenset({"read"}), FUTURE)
    plain = caller(keys, "plain")
    assert (plain.key, plain.scopes, plain.expires) == ("secret_key", None, None)


def test_a_text_of_a_caller_has_nothing_of_the_value_that_it_showed() -> None:
    entered = caller(Keys(None, {"panel": Key("a")}), "a")
    assert entered.credential is not None
    assert "credential" not in repr(entered)


@pytest.mark.parametrize(
    "shown", ["", "A", "aa", " a", "a ", "b", "\ud800", "x" * 100_000, None, 5, b"a", ["a"]]
)
def test_anything_else_is_accepted_by_no_key(shown: Any) -> None:
    assert enter(Keys("plain", {"panel": Key("a", "\xe4")}), shown) is None


@pytest.mark.parametrize("shown", ["first", "last", "Bearer last", "other", "f", ""])
def test_all_keys_are_compared_with_texts_of_one_length_whichever_is_shown(
    monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    compared: list[set[int]] = []
    compare = hmac.compare_digest

    def counting(one: bytes, another: bytes) -> bool:
        compared.append({len(one), len(another)})
        return compare(one, another)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    keys = Keys("first", {"a": Key("second", "a much longer one"), "b": Key("last")})
    enter(keys, shown, shown.removeprefix("Bearer "))
    assert compared == [{32}] * 8


def test_an_expired_key_is_named_and_not_accepted(clock: Clock) -> None:
    keys = Keys(None, {"panel": Key("a", expires=clock.after(10))})
    assert caller(keys, "a").expires == clock.after(10)
    clock.advance(10)
    assert enter(keys, "a") == "panel"


def test_the_values_that_a_client_may_prove_are_those_that_are_accepted(clock: Clock) -> None:
    old, new = Key("o", expires=clock.after(-1)), Key("n", expires=clock.after(1))
    keys = Keys("plain", {"panel": Key("a", "\xe4"), "old": old, "new": new})
    assert Gate(keys, Pages()).key_values == (b"plain", b"a", b"\xc3\xa4", b"n")
    assert Gate(Keys(), Pages()).key_values == ()


# -- callers that are connected


def test_a_caller_is_renewed_with_what_its_key_opens_now() -> None:
    keys = Keys(None, {"panel": Key("a", "b", scopes={"read"})})
    entered = caller(keys, "a")
    assert keys.renewed(entered) is entered
    keys["panel"] = Key("a", scopes={"write"}, expires=FUTURE)
    renewed = keys.renewed(entered)
    assert renewed is not None
    assert (renewed.key, renewed.scopes, renewed.expires) == ("panel", frozenset({"write"}), FUTURE)
    assert keys.renewed(renewed) is renewed


def test_only_callers_that_showed_the_value_which_was_removed_are_revoked() -> None:
    keys = Keys(None, {"panel": Key("new", "old"), "status": Key("s")})
    old, new, other = (caller(keys, value) for value in ("old", "new", "s"))
    keys["panel"] = Key("new")
    assert keys.renewed(old) is None
    assert keys.renewed(new) is new
    assert keys.renewed(other) is other


def test_a_value_under_another_name_is_another_key() -> None:
    keys = Keys(None, {"panel": Key("a")})
    entered = caller(keys, "a")
    del keys["panel"]
    keys["status"] = Key("a")
    assert keys.renewed(entered) is None


def test_a_caller_whose_key_expires_is_revoked(clock: Clock) -> None:
    keys = Keys(None, {"panel": Key("a", expires=clock.after(10))})
    entered = caller(keys, "a")
    clock.advance(10)
    assert keys.renewed(entered) is None


def test_the_first_key_closes_an_open_server_for_good() -> None:
    keys = Keys()
    anybody = caller(keys, "anything")
    assert anybody.key is None
    assert keys.renewed(anybody) is anybody
    keys["panel"] = Key("a")
    assert keys.renewed(anybody) is None
    del keys["panel"]
    assert (keys.is_open, enter(keys, "anything"), keys.renewed(anybody)) == (False, None, None)


def test_an_empty_dict_of_keys_accepts_nobody() -> None:
    assert enter(Keys(None, {}), "") is None


def test_callers_in_the_same_process_are_accepted_whatever_keys_there_are() -> None:
    keys = Keys(None, {"panel": Key("a", scopes={"read"})})
    entered = keys.in_process("conn-1")
    assert (entered.key, entered.scopes, entered.address) == (None, None, "memory")
    keys.clear()
    assert keys.renewed(entered) is entered


# -- expiry while the server runs


async def test_callers_are_compared_once_a_key_expires_and_its_name_is_logged(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "EXPIRY_CHECK_INTERVAL", 0.001)
    changes: list[None] = []
    keys = Keys(
        None, {"panel": Key("a", expires=clock.after(10)), "b": Key("b")}, lambda: changes.append(None)
    )
    keys.start()
    clock.advance(9.9)
    timer = keys._timer  # pyright: ignore[reportPrivateUsage]
    await until(lambda: keys._timer is not timer)  # pyright: ignore[reportPrivateUsage]
    assert changes == []
    clock.advance(0.1)
    await until(lambda: changes)
    assert changes == [None]
    assert caplog.messages == ["The key panel has expired"]
    keys["panel"] = Key("a", expires=clock.after(10))
    assert len(changes) == 2
    clock.advance(10)
    await until(lambda: len(changes) == 3)
    keys.stop()


async def test_a_key_that_expires_in_the_far_future_is_checked_again_soon(clock: Clock) -> None:
    # asyncio's clock does not go on while the machine sleeps.
    keys = Keys(None, {"panel": Key("a", expires=FUTURE)})
    keys.start()
    timer = keys._timer  # pyright: ignore[reportPrivateUsage]
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() <= module.EXPIRY_CHECK_INTERVAL
    keys.stop()
    assert timer.cancelled()


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"panel": Key("a", expires=PAST)}, "The key panel has expired"),
        ({}, "There is no key yet: nobody can call the bot until one is set in Server.keys"),
    ],
)
async def test_keys_that_are_of_no_use_are_mentioned_at_the_start(
    caplog: pytest.LogCaptureFixture, keys: dict[str, Key], line: str
) -> None:
    ring = Keys(None, keys)
    ring.start()
    ring.stop()
    assert caplog.messages == [line]


def test_revoked_keys_and_values_are_logged_by_their_names(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    keys = Keys(None, {"panel": Key("new secret", "old secret"), "status": Key("s")})
    keys["panel"] = Key("new secret")
    keys["other"] = Key("o")
    del keys["status"]
    assert caplog.messages == ["1 of 2 values of the key panel were revoked", "The key status was revoked"]


# -- scopes that nothing names


def test_a_scope_that_nothing_names_is_warned_of_once_with_the_nearest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = Keys(None, {"panel": Key("a", scopes={"raed", "write", "unlike"}), "full": Key("b")})
    for _ in range(2):
        keys.check_scopes({"read", "write"})
    assert caplog.messages == [
        "No route and no event names the scope 'raed' of the key panel: did you mean 'read'?",
        "No route and no event names the scope 'unlike' of the key panel",
    ]
    caplog.clear()
    keys["panel"] = Key("a", scopes={"reed"})
    keys.check_scopes({"read", "write"})
    assert len(caplog.messages) == 1
