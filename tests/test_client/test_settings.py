from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import discord
import pytest

from discord_tools.ipc import ClientLimits, ClientSession, Server, ServerLimits
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.settings import MAX_KEY_BYTES, checked_key


def server(**options: Any) -> Server[discord.Client]:
    return Server(discord.Client(intents=discord.Intents.none()), **options)


SIDES = [pytest.param(ClientSession, id="ClientSession"), pytest.param(server, id="Server")]
EACH_SIDE = pytest.mark.parametrize("side", SIDES)

Side = Callable[..., Any]


# -- the secret key


def test_no_key_is_none() -> None:
    assert checked_key(MISSING) is None


@EACH_SIDE
def test_each_side_may_go_without_a_key(side: Side) -> None:
    assert side().secret_key is None


@EACH_SIDE
@pytest.mark.parametrize("value", ["key", "two words", "ключ", "0", "x" * MAX_KEY_BYTES])
def test_a_key_is_kept_as_it_is(side: Side, value: str) -> None:
    assert side(secret_key=value).secret_key == value


@EACH_SIDE
def test_none_is_refused_and_not_taken_for_no_key(side: Side) -> None:
    with pytest.raises(ValueError, match="secret_key is None: is the environment variable set") as caught:
        side(secret_key=None)
    assert "Leave it out to run without a key" in str(caught.value)


@EACH_SIDE
@pytest.mark.parametrize("value", ["", " ", "\n", "\t "])
def test_an_empty_key_is_refused_and_not_taken_for_none(side: Side, value: str) -> None:
    with pytest.raises(ValueError, match="secret_key is empty: is the environment variable set"):
        side(secret_key=value)


@EACH_SIDE
@pytest.mark.parametrize(
    "value",
    [" key", "key ", "key\n", "a\r\nX-Other: header", "a\x00b", "a\x7fb", "a\tb", "a\u2028b", "\ud800"],
    ids=ascii,
)
def test_a_key_that_would_not_come_through_a_header_is_refused(side: Side, value: str) -> None:
    with pytest.raises(ValueError, match="white space nor hold control characters"):
        side(secret_key=value)


@EACH_SIDE
@pytest.mark.parametrize(
    "value", ["x" * 5000, "x" * (MAX_KEY_BYTES + 1), "ж" * (MAX_KEY_BYTES // 2 + 1)], ids=len
)
def test_a_key_that_is_longer_than_a_header_line_is_refused(side: Side, value: str) -> None:
    with pytest.raises(ValueError, match=f"secret_key must not be longer than {MAX_KEY_BYTES} bytes"):
        side(secret_key=value)


@EACH_SIDE
@pytest.mark.parametrize("value", [b"key", 0, 1, False, ["key"]])
def test_a_key_that_is_no_string_is_refused(side: Side, value: Any) -> None:
    with pytest.raises(TypeError, match=f"secret_key must be a str, not {type(value).__name__}"):
        side(secret_key=value)


@EACH_SIDE
@pytest.mark.parametrize(
    "value", [" hunter2", "hunter2\n", "hunter2" * 1000, b"hunter2", ["hunter2"]], ids=repr
)
def test_a_key_that_is_refused_is_not_shown(side: Side, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        side(secret_key=value)
    assert "hunter2" not in str(caught.value)


# -- the host


@EACH_SIDE
@pytest.mark.parametrize("value", ["localhost", "example.org", "127.0.0.1", "::1", "fe80::1%eth0", "a_b"])
def test_a_host_is_kept_as_it_is(side: Side, value: str) -> None:
    assert side(host=value).host == value


def test_a_server_may_listen_on_all_addresses_and_a_session_may_not_connect_to_them() -> None:
    assert server(host="").host == ""
    with pytest.raises(
        ValueError, match="host is '': write a host name or an IP address, such as \"localhost\""
    ):
        ClientSession(host="")


@EACH_SIDE
@pytest.mark.parametrize(
    ("value", "instead"),
    [
        (" ", "write a host name or an IP address"),
        (" localhost", "write a host name or an IP address"),
        ("localhost\n", "write a host name or an IP address"),
        ("http://localhost", "write the host name alone, without a scheme"),
        ("ws://localhost:8000/path", "write the host name alone, without a scheme"),
        ("localhost/path", "write the host name alone, without a path, a query or a user"),
        ("localhost:8000/", "write the host name alone, without a path, a query or a user"),
        ("localhost?x=1", "write the host name alone, without a path, a query or a user"),
        ("localhost#top", "write the host name alone, without a path, a query or a user"),
        ("user@localhost", "write the host name alone, without a path, a query or a user"),
        ("localhost:8000", "write the host name alone, and the port as port="),
        ("127.0.0.1:8000", "write the host name alone, and the port as port="),
        ("[::1]", "write an IPv6 address without brackets, and the port as port="),
        ("[::1]:8000", "write an IPv6 address without brackets, and the port as port="),
    ],
    ids=lambda value: repr(value) if len(value) < 28 else "",
)
def test_a_wrong_host_is_refused_with_what_to_write(side: Side, value: str, instead: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"host is {value!r}: {instead}")):
        side(host=value)


@EACH_SIDE
@pytest.mark.parametrize("value", [None, 127, b"localhost", ("localhost", 8000)], ids=repr)
def test_a_host_that_is_no_string_is_refused_with_what_to_write(side: Side, value: Any) -> None:
    text = f'host must be a str, not {value!r}: write "localhost" for this machine'
    with pytest.raises(TypeError, match=re.escape(text)):
        side(host=value)


# -- ports

PORTS = pytest.mark.parametrize("name", ["port", "multicast_port"])


@EACH_SIDE
@PORTS
@pytest.mark.parametrize("value", [1, 8123, 65535, "8123", "1", "65535"], ids=repr)
def test_a_port_may_be_a_number_or_the_digits_of_an_environment_variable(
    side: Side, name: str, value: int | str
) -> None:
    port = getattr(side(**{name: value}), name)
    assert (port, type(port)) == (int(value), int)


def test_a_session_uses_a_port_that_was_given_as_digits() -> None:
    assert ClientSession(port="8123").url == "ws://localhost:8123"  # pyright: ignore[reportArgumentType]


@EACH_SIDE
@PORTS
@pytest.mark.parametrize(
    "value",
    ["81x", "", " 8123", "-1", "8123.0", "٣", "0x50", True, False, None, 80.0, b"80", [80]],
    ids=ascii,
)
def test_a_port_that_is_no_number_is_refused(side: Side, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{name} must be an int, not {value!r}")):
        side(**{name: value})


@EACH_SIDE
@PORTS
@pytest.mark.parametrize("value", [-1, -8000, 65536, 70000, 10**30, "65536", "70000"], ids=repr)
def test_a_port_out_of_range_is_refused_with_the_range(side: Side, name: str, value: int | str) -> None:
    lowest = 1 if side is ClientSession else 0
    text = f"{name} is {value}: a port is a number from {lowest} to 65535"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        side(**{name: value})


@PORTS
@pytest.mark.parametrize("value", [0, "0"], ids=repr)
def test_port_0_is_a_free_port_for_a_server_and_no_port_for_a_session(name: str, value: int | str) -> None:
    assert getattr(server(**{name: value}), name) == 0
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} is 0: a port is a number from 1 to 65535"):
        ClientSession(**options)


# -- timeouts

TIMEOUTS = pytest.mark.parametrize("name", ["timeout", "connect_timeout"])


@TIMEOUTS
@pytest.mark.parametrize("value", [0.001, 1, 2.5, math.inf])
def test_a_timeout_may_be_any_positive_number(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    assert getattr(ClientSession(**options), name) == value


def test_a_request_may_have_no_timeout_and_wait_for_no_connection() -> None:
    ipc = ClientSession(timeout=None, connect_timeout=0)
    assert (ipc.timeout, ipc.connect_timeout) == (None, 0)


@TIMEOUTS
@pytest.mark.parametrize("value", [math.nan, -1, -0.001, -math.inf])
def test_a_timeout_that_is_no_duration_is_refused_with_what_to_write(name: str, value: float) -> None:
    zero = "0 or " if name == "connect_timeout" else ""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"^{name} is {value}: write {zero}a positive number of seconds$"):
        ClientSession(**options)


def test_a_timeout_of_0_is_refused_since_every_request_would_fail() -> None:
    with pytest.raises(ValueError, match=r"^timeout is 0: write a positive number of seconds$"):
        ClientSession(timeout=0)


@TIMEOUTS
@pytest.mark.parametrize("value", ["5", True, b"5", [5]], ids=repr)
def test_a_timeout_that_is_no_number_is_refused(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=re.escape(f"{name} must be a number of seconds, not {value!r}")):
        ClientSession(**options)


def test_a_session_has_to_wait_some_time_or_none_for_a_connection() -> None:
    options: dict[str, Any] = {"connect_timeout": None}
    with pytest.raises(TypeError, match="connect_timeout must be a number of seconds, not None"):
        ClientSession(**options)


# -- flags


@pytest.mark.parametrize("value", ["false", "", 0, 1, None])
def test_only_true_and_false_say_whether_older_servers_are_shown_the_key(value: Any) -> None:
    with pytest.raises(TypeError, match=f"^older_servers must be True or False, not {value!r}$"):
        ClientSession(older_servers=value)


# -- headers


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION", "aUTHORIZATION"])
def test_the_key_is_not_given_as_a_header_in_any_case(name: str) -> None:
    text = f"headers must not have {name!r}: give the key as secret_key"
    with pytest.raises(ValueError, match=f"^{text}$") as caught:
        ClientSession(headers={"user": 7, name: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_headers_with_other_names_are_accepted_and_copied() -> None:
    headers = {"user": 7, "Proxy-Authorization": "x"}
    ClientSession(headers=headers)
    assert headers == {"user": 7, "Proxy-Authorization": "x"}


# -- limits

#: The limits of both sides for which 0 means something: do not wait, keep nothing.
ZERO = {
    ClientLimits: {"backoff_initial", "backoff_max", "retained_bytes"},
    ServerLimits: {
        "grace_period",
        "retained_bytes",
        "resume_timeout",
        "event_replay",
        "event_replay_bytes",
        "event_replay_timeout",
    },
}
LIMITS = [
    pytest.param(kind, field.name, type(field.default), id=f"{kind.__name__}.{field.name}")
    for kind in ZERO
    for field in dataclasses.fields(kind)
]
EACH_LIMIT = pytest.mark.parametrize(("kind", "name", "type_"), LIMITS)


@EACH_LIMIT
def test_a_limit_may_have_any_sensible_value(kind: type[Any], name: str, type_: type[Any]) -> None:
    for value in (1, 2.5) if type_ is float else (4096, 2**40):
        assert getattr(kind(**{name: value}), name) == value
    if name != "message_bytes":
        assert getattr(kind(**{name: 1}), name) == 1


@EACH_LIMIT
def test_a_limit_of_0_is_accepted_only_where_it_means_something(
    kind: type[Any], name: str, type_: type[Any]
) -> None:
    if name in ZERO[kind]:
        assert getattr(kind(**{name: 0}), name) == 0
        return
    number = "a positive number of seconds" if type_ is float else "a positive number"
    with pytest.raises(ValueError, match=f"^{kind.__name__}.{name} is 0: write {number}$"):
        kind(**{name: 0})


@EACH_LIMIT
def test_a_negative_limit_is_refused_with_what_to_write(kind: type[Any], name: str, type_: type[Any]) -> None:
    zero = "0 or " if name in ZERO[kind] else ""
    number = "a positive number of seconds" if type_ is float else "a positive number"
    with pytest.raises(ValueError, match=f"^{kind.__name__}.{name} is -1: write {zero}{number}$"):
        kind(**{name: -1})


@EACH_LIMIT
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_limit_that_is_not_finite_is_refused(
    kind: type[Any], name: str, type_: type[Any], value: float
) -> None:
    text = f"{kind.__name__}.{name} "
    text += f"is {value}: write" if type_ is float else f"must be an int, not {value!r}"
    with pytest.raises(ValueError if type_ is float else TypeError, match=f"^{text}"):
        kind(**{name: value})


@EACH_LIMIT
@pytest.mark.parametrize("value", ["5000", True, None, b"5000", [5000]], ids=repr)
def test_a_limit_that_is_no_number_is_refused(
    kind: type[Any], name: str, type_: type[Any], value: Any
) -> None:
    expected = "a number of seconds" if type_ is float else "an int"
    text = f"{kind.__name__}.{name} must be {expected}, not {value!r}"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        kind(**{name: value})


@pytest.mark.parametrize("kind", ZERO)
def test_the_largest_message_has_space_for_errors_and_welcomes(kind: type[Any]) -> None:
    assert kind(message_bytes=4096).message_bytes == 4096
    for value in (1, 4095):
        with pytest.raises(
            ValueError, match=f"^{kind.__name__}.message_bytes is {value}: write 4096 or more$"
        ):
            kind(message_bytes=value)


@pytest.mark.parametrize("kind", ZERO)
def test_limits_that_are_changed_in_a_copy_are_checked_too(kind: type[Any]) -> None:
    with pytest.raises(ValueError, match="heartbeat is -1"):
        dataclasses.replace(kind(), heartbeat=-1)
