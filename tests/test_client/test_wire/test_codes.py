from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Raw

from discord_tools.ipc import (
    BadData,
    ConnectionLost,
    DecodeError,
    RemoteError,
    RouteError,
    UnknownObject,
    errors,
    refusals,
)
from discord_tools.ipc.errors import NotReady, Overloaded
from discord_tools.ipc.wire.codes import (
    CONNECTION_LOST,
    PARSE_ERROR,
    UNAUTHORIZED,
    did_not_run,
    error_of,
    remote_error,
)
from discord_tools.ipc.wire.frames import ErrorObject


def subclasses(cls: type[RemoteError]) -> list[type[RemoteError]]:
    every = [one for direct in cls.__subclasses__() for one in (direct, *subclasses(direct))]
    return [
        one for one in every if one.__module__ in (errors.__name__, refusals.__name__)
    ]  # tests have others


#: All exceptions with a code of their own. :exc:`RouteError` takes its code from the route.
WITH_CODE = sorted(
    (cls for cls in subclasses(RemoteError) if "code" in vars(cls)), key=lambda cls: cls.code, reverse=True
)


def test_each_exception_has_a_code_that_no_other_one_has() -> None:
    codes = [RemoteError.code, PARSE_ERROR, UNAUTHORIZED, CONNECTION_LOST, *(cls.code for cls in WITH_CODE)]
    assert len(WITH_CODE) == 22
    assert len(set(codes)) == len(codes)
    assert max(codes) < 0
    assert set(subclasses(RemoteError)) - set(WITH_CODE) == {RouteError, UnknownObject}


#: As the protocol's documentation has them. Other programs compare these numbers, so they must not change.
CODES = {
    "InvalidRequest": -32600,
    "UnknownEndpoint": -32601,
    "BadData": -32602,
    "RouteFailed": -32603,
    "Forbidden": -32002,
    "NotReady": -32003,
    "Overloaded": -32004,
    "DeadlineExceeded": -32005,
    "Cancelled": -32006,
    "TooLarge": -32007,
    "FellBehind": -32009,
    "CheckFailed": -32010,
    "OnCooldown": -32011,
    "MaxConcurrencyReached": -32012,
    "DiscordError": -32013,
    "FetchFailed": -32014,
    "ActingUserRequired": -32015,
    "NotAMember": -32016,
    "MissingPermissions": -32017,
    "MissingRole": -32018,
    "NotOwner": -32019,
    "InvalidToken": -32020,
}


def test_the_codes_are_those_of_the_protocol() -> None:
    assert {cls.__name__: cls.code for cls in WITH_CODE} == CODES
    assert (PARSE_ERROR, UNAUTHORIZED, CONNECTION_LOST) == (-32700, -32001, -32008)


@pytest.mark.parametrize("cls", WITH_CODE, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    "data", [None, {"a": 1}, [{"path": "top", "message": "no"}]], ids=["none", "object", "list"]
)
def test_an_exception_comes_back_by_its_code(cls: type[RemoteError], data: Any) -> None:
    sent = cls("text", data=data)
    raw = UNSET if data is None else Raw(msgspec.json.encode(data))
    error = error_of("stats", ErrorObject(sent.code, sent.message, raw))
    assert type(error) is cls
    assert (error.code, error.message, error.data, error.endpoint) == (cls.code, "text", data, "stats")


@pytest.mark.parametrize("code", [1, 404, 2**40])
def test_a_positive_code_is_a_routes_own_error(code: int) -> None:
    error = remote_error("stats", code, "text", None)
    assert type(error) is RouteError
    assert (error.code, error.endpoint) == (code, "stats")


@pytest.mark.parametrize("code", [0, -1, RemoteError.code, UNAUTHORIZED, -32700, -32999])
def test_another_code_is_a_plain_remote_error_that_has_it(code: int) -> None:
    error = remote_error("stats", code, "text", {"a": 1})
    assert type(error) is RemoteError
    assert (error.code, error.message, error.data, error.endpoint) == (code, "text", {"a": 1}, "stats")
    assert RemoteError.code == -32000


def test_a_connection_that_was_lost_on_the_way_is_connection_lost() -> None:
    error = error_of("stats", ErrorObject(CONNECTION_LOST, "the connection ended before the answer"))
    assert type(error) is ConnectionLost
    assert error.endpoint == "stats"


def test_an_answer_that_could_not_be_read_on_the_way_is_a_decode_error() -> None:
    error = error_of("stats", ErrorObject(PARSE_ERROR, "not JSON"))
    assert type(error) is DecodeError
    assert str(error) == "the answer of 'stats' cannot be decoded: not JSON"


def test_data_that_cannot_be_decoded_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = error_of("stats", ErrorObject(404, "no", Raw(b'"\xff"')))
    assert type(error) is RouteError
    assert (error.code, error.data) == (404, None)
    assert "data of an error of 'stats' cannot be decoded" in caplog.text


@pytest.mark.parametrize(
    ("code", "data", "expected"),
    [
        (NotReady.code, b'{"ran":false}', True),
        (NotReady.code, b'{"ran":false,"later":1}', True),
        (NotReady.code, b'{"ran":true}', False),
        (NotReady.code, b"{}", False),
        (NotReady.code, b"null", False),
        (NotReady.code, b"[]", False),
        (NotReady.code, b'{"ran":0}', False),
        (NotReady.code, b'{"ran":null}', False),
        (NotReady.code, b'"\xff"', False),
        (NotReady.code, None, False),
        (Overloaded.code, b'{"ran":false}', False),
        (404, b'{"ran":false}', False),
        (CONNECTION_LOST, b'{"ran":false}', False),
    ],
)
def test_a_call_did_not_run_only_where_a_bot_that_is_not_ready_says_so(
    code: int, data: bytes | None, expected: bool
) -> None:
    assert did_not_run(ErrorObject(code, "text", UNSET if data is None else Raw(data))) is expected


UNKNOWN = {"path": "member", "message": "no Member with this id", "kind": "Member", "id": "5"}


def received(data: Any) -> RemoteError:
    error = error_of("stats", ErrorObject(BadData.code, "text", Raw(msgspec.json.encode(data))))
    assert isinstance(error, BadData)
    return error


def test_bad_data_about_objects_alone_comes_back_as_unknown_objects() -> None:
    error = received([UNKNOWN])
    assert type(error) is UnknownObject
    assert (error.parameter, error.kind, error.id) == ("member", "Member", 5)
    assert error.code == BadData.code


@pytest.mark.parametrize(
    "data",
    [[UNKNOWN, {"path": "x", "message": "y"}], [], {}, [UNKNOWN, "text"], "kind", [["kind"]]],
    ids=["a second fault", "none", "object", "text inside", "text", "array inside"],
)
def test_any_other_bad_data_comes_back_as_bad_data(data: Any) -> None:
    assert type(received(data)) is BadData
