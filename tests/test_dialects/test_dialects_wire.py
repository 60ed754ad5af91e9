"""The older envelopes and plain JSON-RPC without any socket."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from discord_tools.ipc import NotReady, RouteError, RouteFailed, TooLarge, UnknownEndpoint
from discord_tools.ipc.wire.codec import MAX_VALUES
from discord_tools.ipc.wire.dialects import (
    BetterDialect,
    FamilyDialect,
    KeyRefused,
    OriginalDialect,
    ask,
    hear,
    legacy,
    recognise,
)
from discord_tools.ipc.wire.jsonrpc import Fault, JsonRpcRequest, read_body

RECOGNISED = {
    '{"jsonrpc":"2.0","id":1,"method":"x"}': "jsonrpc",
    '{"jsonrpc":"1.0","endpoint":"x"}': "jsonrpc",
    " \n[]": "jsonrpc",
    "[": "jsonrpc",
    '{"endpoint":"x","data":{},"headers":{}}': "discord-ext-ipc",
    '{"endpoint":null}': "discord-ext-ipc",
    '{"endpoint":"x","secret":"None","kwargs":{}}': "better-ipc",
    '{"kwargs":{}}': "better-ipc",
    '{"connect":true,"headers":{"Authorization":null}}': "connect",
    '{"connect":false}': None,
    '{"connect":"yes"}': None,
    "{}": None,
    "5": None,
    '"text"': None,
    "null": None,
    "": None,
    "{": None,
    "\x00": None,
    "\ud800": None,
}


@pytest.mark.parametrize(("message", "spoken"), RECOGNISED.items())
def test_the_first_message_tells_who_speaks(message: str, spoken: str | None) -> None:
    assert recognise(message) == spoken
    if "\ud800" not in message:
        assert recognise(message.encode()) == spoken


def test_whatever_comes_is_read_without_an_exception() -> None:
    dice = random.Random(5)
    seeds = [message for message in RECOGNISED if "\ud800" not in message] + ["[" * 5000, '{"a":' * 5000]
    for _ in range(3000):
        message = bytearray(dice.choice(seeds).encode())
        for _ in range(dice.randrange(4)):
            if message:
                message[dice.randrange(len(message))] = dice.randrange(256)
        recognise(bytes(message))
        read_body(bytes(message), 100)
        for dialect in (FamilyDialect(), OriginalDialect(), BetterDialect()):
            dialect.read(bytes(message))


def test_the_original_library_is_recognised_by_the_leading_slash() -> None:
    assert type(legacy("discord-ext-ipc", '{"endpoint":"/x"}')) is OriginalDialect
    assert type(legacy("discord-ext-ipc", '{"endpoint":"x"}')) is FamilyDialect
    assert type(legacy("better-ipc", '{"endpoint":"/x","secret":"y"}')) is BetterDialect


def test_the_class_of_an_exception_is_told_where_it_always_was_and_never_its_text() -> None:
    failed = RouteFailed("see the log", data={"error_id": "x"})
    failed.__cause__ = KeyError("secret")
    assert json.loads(FamilyDialect().error(failed)) == {
        "error": "IPC route raised error of type KeyError",
        "code": 500,
    }
    assert b"secret" not in BetterDialect().error(failed)
    assert b"KeyError" not in BetterDialect().error(failed)


@pytest.mark.parametrize("error", [NotReady("later"), TooLarge("too much"), RouteError(418, "teapot")])
def test_other_errors_carry_their_message_which_is_meant_for_callers(error: Any) -> None:
    code = error.code if isinstance(error, RouteError) else 500
    assert json.loads(FamilyDialect().error(error)) == {"error": error.message, "code": code}
    answer = json.loads(BetterDialect().error(error))
    assert (answer["code"], answer["error_details"]) == (500, error.message)


@pytest.mark.parametrize(
    ("result", "decoding", "response"),
    [
        (b"null", None, None),
        (b'"text"', None, "text"),
        (b'"\\u00e9"', None, "é"),
        (b'{"a":"\xc3\xa9"}', "JSON", '{"a":"é"}'),
        (b"[]", "JSON", "[]"),
        (b"5", "JSON", "5"),
        (b"false", "JSON", "false"),
    ],
)
def test_better_ipc_gets_texts_as_they_are_and_everything_else_as_json_in_json(
    result: bytes, decoding: str | None, response: str | None
) -> None:
    answer = json.loads(BetterDialect().result(result))
    assert answer == {"decoding": decoding, "code": 200, "response": response}


def test_our_question_to_an_older_server_always_has_data_and_no_slash() -> None:
    assert json.loads(ask("/x", b"{}", None)) == {
        "endpoint": "x",
        "data": {},
        "headers": {"Authorization": None},
    }
    assert json.loads(ask("x", b'{"a":1}', "k"))["headers"] == {"Authorization": "k"}


@pytest.mark.parametrize(
    "reply",
    [
        "1",
        "null",
        '{"error":"x"}',
        '{"error":"x","code":500,"more":1}',
        '{"error":5,"code":500}',
        '{"error":"x","code":"500"}',
        '{"code":403}',
    ],
)
def test_only_exactly_error_and_code_are_an_error(reply: str) -> None:
    assert bytes(hear("x", reply)) == reply.encode()


@pytest.mark.parametrize(
    ("code", "expected"),
    [(403, KeyRefused), (401, KeyRefused), (400, UnknownEndpoint), (500, RouteFailed), (409, RouteError)],
)
def test_the_number_of_an_error_tells_its_class(code: int, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        hear("x", json.dumps({"error": "text", "code": code}))
    if expected is not KeyRefused:
        assert caught.value.endpoint == "x"  # type: ignore[attr-defined]
        assert caught.value.message == "text"  # type: ignore[attr-defined]


def test_a_batch_keeps_its_order_and_its_faults() -> None:
    body = read_body('[{"jsonrpc":"2.0","method":"a"},1,{"jsonrpc":"2.0","method":"b","id":null}]', 10)
    assert body.batch
    kinds = [type(item) for item in body.items]
    assert kinds == [JsonRpcRequest, Fault, JsonRpcRequest]
    assert not read_body('{"jsonrpc":"2.0","method":"a"}', 10).batch


# -- too many values

CROWD = json.dumps([[]] * MAX_VALUES, separators=(",", ":"))


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        (FamilyDialect(), '{"endpoint":"x","data":{"a":CROWD},"headers":{"Authorization":"key"}}'),
        (FamilyDialect(), '{"endpoint":"x","data":{},"headers":{"a":CROWD,"Authorization":"key"}}'),
        (FamilyDialect(), '{"other":CROWD,"endpoint":"x","headers":{"Authorization":"key"}}'),
        (BetterDialect(), '{"endpoint":"x","kwargs":{"a":CROWD},"secret":"key"}'),
    ],
    ids=["data", "headers", "other members", "better-ipc"],
)
def test_a_request_with_too_many_values_is_not_decoded_but_for_its_key(dialect: Any, message: str) -> None:
    message = message.replace("CROWD", CROWD)
    spoken = recognise(message)
    assert spoken is not None
    assert legacy(spoken, message).name == dialect.name
    asked = dialect.read(message)
    assert (asked.endpoint, asked.key, asked.params, asked.headers) == ("x", "key", b"{}", {})
    assert asked.problem is not None
    assert f"a request may have {MAX_VALUES} values" in asked.problem


@pytest.mark.parametrize(
    "message",
    [
        '{"endpoint":"x","headers":{"Authorization":CROWD}}',
        '{"endpoint":"x","headers":CROWD}',
        '{"endpoint":"x","kwargs":{},"secret":CROWD}',
        '{"endpoint":CROWD,"data":NaN,"headers":{"Authorization":"key"}}',
    ],
)
def test_a_key_of_many_values_is_no_key(message: str) -> None:
    message = message.replace("CROWD", CROWD)
    assert FamilyDialect().read(message).key is None
    assert BetterDialect().read(message).key is None
