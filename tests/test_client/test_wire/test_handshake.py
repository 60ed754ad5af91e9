from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET

from discord_tools.ipc import ClientLimits, InvalidRequest, ProtocolError
from discord_tools.ipc.conversation import AGENT
from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.wire.codec import MAX_PACK_BYTES, encode
from discord_tools.ipc.wire.codes import PARSE_ERROR
from discord_tools.ipc.wire.frames import HELLO
from discord_tools.ipc.wire.handshake import (
    MAX_CLIENT_CHARS,
    MAX_HEADERS_BYTES,
    MAX_HELLO_BYTES,
    MAX_REFUSED,
    MIN_MESSAGE_BYTES,
    Grants,
    Hello,
    InvalidHello,
    Welcome,
    decode_hello,
    decode_welcome,
    encode_hello,
    encode_refusal,
    encode_welcome,
)

GRANTS = Grants(1024, 4_000_000)


def welcome(**members: Any) -> Welcome:
    return Welcome(**{"server": "s", "heartbeat": 20.0, "limits": GRANTS, "ready": True, **members})


def refused(message: bytes | str) -> InvalidHello:
    with pytest.raises(InvalidHello) as caught:
        decode_hello(message)
    return caught.value


def frame(**members: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", **members})


# -- the hello


@pytest.mark.parametrize(
    "hello",
    [
        Hello("client"),
        Hello("client", "token", 7, 1.5, 5000, {"user": "me", "timeout": "mine"}),
        Hello("client", headers={"größe": [1, None]}),
    ],
)
def test_a_hello_is_read_as_it_was_written(hello: Hello) -> None:
    assert decode_hello(encode_hello(hello)) == (0, hello)
    assert decode_hello(encode_hello(hello).decode()) == (0, hello)


def test_a_hello_is_a_call_with_only_the_members_that_say_something() -> None:
    assert json.loads(encode_hello(Hello("client", timeout=1.5))) == {
        "jsonrpc": "2.0",
        "id": 0,
        "method": HELLO,
        "params": {"client": "client", "timeout": 1.5},
    }


@pytest.mark.parametrize("number", [7, "seven", None, 1.5])
def test_a_hello_may_have_any_id(number: Any) -> None:
    assert decode_hello(frame(id=number, method=HELLO, params={"client": "c"})) == (number, Hello("c"))


def test_members_of_later_versions_are_ignored_in_a_hello() -> None:
    assert decode_hello(frame(id=1, method=HELLO, params={"client": "c", "later": [1]})) == (1, Hello("c"))


def test_a_pack_of_one_hello_is_a_hello() -> None:
    assert decode_hello(b"[" + encode_hello(Hello("c")) + b"]") == (0, Hello("c"))


@pytest.mark.parametrize("message", [b"", b"nonsense", b"\xff\x00", b'{"jsonrpc":"2.0"', "hello, world"])
def test_a_first_message_that_is_not_json_is_an_invalid_hello_without_an_id(message: bytes | str) -> None:
    error = refused(message)
    assert (error.numbers, error.code) == ((None,), PARSE_ERROR)
    assert str(error).startswith("the message cannot be read: ")


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        (b"5", [None]),
        (b"[]", [None]),
        (frame(method=HELLO, params={"client": "c"}), [None]),
        (frame(id=7, method="stats"), [7]),
        (frame(id=7, result=1), [7]),
        (frame(id="x", method="rpc.subscribe"), ["x"]),
        (f"[{frame(id=1, method=HELLO)},{frame(id=2, method='stats')},{frame(method='rpc.bye')},5]", [1, 2]),
    ],
)
def test_a_first_message_that_is_not_one_hello_is_refused_under_the_ids_of_its_calls(
    message: bytes | str, numbers: list[Any]
) -> None:
    error = refused(message)
    assert (list(error.numbers), error.code) == (numbers, InvalidRequest.code)
    assert f"must be one call of {HELLO}" in str(error)


@pytest.mark.parametrize(
    "params",
    [None, [], "client", {}, {"client": 5}, {"client": "c", "received": "7"}, {"client": "c", "headers": []}],
)
def test_a_hello_with_bad_parameters_is_refused_under_its_id(params: Any) -> None:
    error = refused(frame(id=7, method=HELLO, params=params))
    assert (error.numbers, error.code) == ((7,), InvalidRequest.code)
    assert f"bad parameters of {HELLO}" in str(error)


def test_a_hello_without_parameters_is_refused_under_its_id() -> None:
    assert refused(frame(id=7, method=HELLO)).numbers == (7,)


def test_a_first_message_of_many_calls_gets_a_bounded_number_of_answers() -> None:
    message = "[" + ",".join(frame(id=number, method="stats") for number in range(5000)) + "]"
    assert list(refused(message).numbers) == list(range(MAX_REFUSED))


def test_a_first_message_over_the_largest_pack_cannot_be_read() -> None:
    call = frame(id=1, method="stats")
    error = refused("[" + ",".join([call] * (MAX_PACK_BYTES // len(call))) + "]")
    assert (error.numbers, error.code) == ((None,), PARSE_ERROR)
    assert str(error).startswith("the message cannot be read: an array of frames may have")


# -- bounds of what is kept as long as the conversation


def hello_of(**params: Any) -> str:
    return frame(id=7, method=HELLO, params={"client": "c", **params})


def headers_of(size: int) -> dict[str, str]:
    """Headers that take this number of bytes."""
    headers = {"x": ""}
    headers["x"] = "x" * (size - len(encode(headers)))
    assert len(encode(headers)) == size
    return headers


@pytest.mark.parametrize(
    "params",
    [
        {"client": "ü" * MAX_CLIENT_CHARS},
        {"client": ""},
        {"headers": headers_of(MAX_HEADERS_BYTES)},
        {"message_bytes": MIN_MESSAGE_BYTES},
        {"message_bytes": 2**62},
        {"message_bytes": None},
    ],
    ids=["name", "no name", "headers", "small messages", "large messages", "any messages"],
)
def test_a_hello_within_the_bounds_is_read(params: dict[str, Any]) -> None:
    number, hello = decode_hello(hello_of(**params))
    assert number == 7
    assert {name: getattr(hello, name) for name in params} == params


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"client": "x" * (MAX_CLIENT_CHARS + 1)}, "the name of a client may have 256 characters"),
        ({"headers": headers_of(MAX_HEADERS_BYTES + 1)}, "may have 8192 bytes, these have 8193"),
        ({"headers": {"ü" * 5000: None}}, "may have 8192 bytes, these have 10009"),
        ({"message_bytes": MIN_MESSAGE_BYTES - 1}, "messages of 4096 bytes, this one takes 4095"),
        ({"message_bytes": 0}, "this one takes 0"),
        ({"message_bytes": -1}, "this one takes -1"),
    ],
    ids=["name", "headers", "headers beyond ascii", "small messages", "no messages", "negative"],
)
def test_a_hello_over_a_bound_is_refused_under_its_id_with_the_bound(
    params: dict[str, Any], reason: str
) -> None:
    error = refused(hello_of(**params))
    assert (error.numbers, error.code) == ((7,), InvalidRequest.code)
    assert reason in str(error)


def test_the_hello_of_any_session_is_within_the_bounds() -> None:
    assert len(AGENT) <= MAX_CLIENT_CHARS
    with pytest.raises(ValueError, match="write 4096 or more"):
        ClientLimits(message_bytes=MIN_MESSAGE_BYTES - 1)
    assert ClientLimits(message_bytes=MIN_MESSAGE_BYTES).message_bytes == MIN_MESSAGE_BYTES


def test_a_refusal_answers_each_call_with_the_reason() -> None:
    (message,) = encode_refusal(InvalidHello("no", (1, "x", None), PARSE_ERROR))
    error = {"code": PARSE_ERROR, "message": "no"}
    assert json.loads(message) == [{"jsonrpc": "2.0", "id": n, "error": error} for n in (1, "x", None)]


def test_a_refusal_of_one_call_is_a_plain_frame() -> None:
    (message,) = encode_refusal(InvalidHello("no"))
    assert json.loads(message) == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": InvalidRequest.code, "message": "no"},
    }


def test_the_messages_of_a_refusal_are_no_larger_than_a_pack() -> None:
    ids = [str(digit) * (PACK_BYTES // 2) for digit in range(3)]
    messages = encode_refusal(InvalidHello("no", ids))
    assert [json.loads(message)["id"] for message in messages] == ids


# -- the welcome


@pytest.mark.parametrize(
    "answer",
    [
        welcome(),
        welcome(session="token", resumed=True, received=7, ready=False, idempotent=["/a", "/b"]),
        welcome(streams=False),
        welcome(streams=True),
    ],
)
def test_a_welcome_is_read_as_it_was_written(answer: Welcome) -> None:
    assert decode_welcome(encode_welcome(0, answer)) == answer


@pytest.mark.parametrize("number", [7, "seven", None])
def test_a_welcome_answers_the_hello_with_its_id(number: Any) -> None:
    assert json.loads(encode_welcome(number, welcome()))["id"] == number


def test_a_welcome_says_nothing_about_streams_unless_there_are_none() -> None:
    assert "streams" not in json.loads(encode_welcome(0, welcome()))["result"]
    assert json.loads(encode_welcome(0, welcome(streams=False)))["result"]["streams"] is False


#: All that a server of version 1.0 sends.
OLDEST = {"server": "s", "heartbeat": 20, "limits": {"calls": 1, "message_bytes": 2}, "ready": True}


def test_the_welcome_of_a_server_of_version_1_0_has_no_conversation_and_streams() -> None:
    answer = decode_welcome(frame(id=0, result=OLDEST))
    assert (answer.session, answer.resumed, answer.received, answer.idempotent) == (None, False, 0, [])
    assert answer.streams is UNSET
    assert answer.limits == Grants(1, 2)


def test_members_of_later_versions_are_ignored_in_a_welcome() -> None:
    later = {**OLDEST, "later": 1, "limits": {**OLDEST["limits"], "later": 2}}  # pyright: ignore[reportGeneralTypeIssues]
    assert decode_welcome(frame(id=0, result=later)).limits == Grants(1, 2)


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        "welcome",
        [],
        *({name: value for name, value in OLDEST.items() if name != missing} for missing in OLDEST),
        {**OLDEST, "limits": {"calls": 1}},
        {**OLDEST, "limits": {"calls": "1", "message_bytes": 1}},
        {**OLDEST, "ready": "yes"},
        {**OLDEST, "session": 7},
        {**OLDEST, "idempotent": None},
    ],
    ids=str,
)
def test_a_welcome_of_a_wrong_shape_is_a_protocol_error(result: Any) -> None:
    with pytest.raises(ProtocolError, match=r"answer to rpc\.hello cannot be understood"):
        decode_welcome(frame(id=0, result=result))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"nonsense", "cannot be understood"),
        (b"\xff\x00", "cannot be understood"),
        ("hello, world", "cannot be understood"),
        (b"[]", "cannot be understood"),
        (b'{"jsonrpc":"2.0","method":"rpc.later"}', "cannot be understood"),
        (frame(id=0, result=OLDEST).encode().replace(b'"s"', b'"\xff"'), "cannot be understood"),
        (b"[" * 100_000, "is not a frame"),
        (b"5", "is not a frame"),
    ],
    ids=range(8),
)
def test_an_answer_to_the_hello_that_cannot_be_read_is_a_protocol_error(
    message: bytes | str, reason: str
) -> None:
    with pytest.raises(ProtocolError, match=reason):
        decode_welcome(message)


def test_a_refused_hello_is_a_protocol_error_with_the_reason_of_the_server() -> None:
    (message,) = encode_refusal(InvalidHello("the version is not supported", (0,)))
    with pytest.raises(ProtocolError, match=r"refuses the rpc\.hello: the version is not supported"):
        decode_welcome(message)


def test_a_hello_over_its_size_is_refused_under_its_id_without_decoding_it() -> None:
    hello = b'{"jsonrpc":"2.0","id":4,"method":"rpc.hello","params":{"client":"a","x":"%b"}}'
    assert decode_hello(hello % (b"x" * (MAX_HELLO_BYTES - 100)))[1].client == "a"
    for larger in (b"x" * MAX_HELLO_BYTES, b'"' * MAX_HELLO_BYTES):
        with pytest.raises(
            InvalidHello, match=f"may have {MAX_HELLO_BYTES} bytes, this message has"
        ) as caught:
            decode_hello(hello % larger)
        assert caught.value.numbers == (4,)
