from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from discord_tools import ipc
from discord_tools.ipc import errors, refusals
from discord_tools.ipc.errors import (
    AlreadyResponded,
    BadData,
    Cancelled,
    CheckFailed,
    ConnectError,
    ConnectionLost,
    ConverterError,
    DeadlineExceeded,
    DecodeError,
    DiscordError,
    DuplicateRoute,
    EncodeError,
    FellBehind,
    FetchFailed,
    Forbidden,
    InvalidRequest,
    IPCError,
    ListenError,
    MaxConcurrencyReached,
    NotReady,
    OnCooldown,
    Overloaded,
    ProtocolError,
    RemoteError,
    RequestTimeout,
    RequestTooLarge,
    ResolutionError,
    RouteError,
    RouteFailed,
    SessionClosed,
    TooLarge,
    Unauthorized,
    UnknownEndpoint,
    UnknownObject,
    UnprovenServer,
    Unsupported,
    WrongEventLoop,
)
from discord_tools.ipc.refusals import (
    ActingUserRequired,
    InvalidToken,
    MissingPermissions,
    MissingRole,
    NotAMember,
    NotOwner,
)
from discord_tools.ipc.wire.codes import remote_error

TREE: dict[type[BaseException], tuple[type[BaseException], ...]] = {
    IPCError: (Exception,),
    ConnectError: (IPCError, ConnectionError),
    ResolutionError: (ConnectError,),
    UnprovenServer: (ConnectError,),
    ConnectionLost: (IPCError, ConnectionError),
    Unauthorized: (IPCError,),
    SessionClosed: (IPCError, RuntimeError),
    WrongEventLoop: (IPCError, RuntimeError),
    RequestTimeout: (IPCError, TimeoutError),
    DecodeError: (IPCError, ValueError),
    EncodeError: (IPCError, TypeError),
    RequestTooLarge: (IPCError, ValueError),
    Unsupported: (IPCError, NotImplementedError),
    ProtocolError: (IPCError,),
    ListenError: (IPCError, OSError),
    DuplicateRoute: (IPCError, ValueError),
    AlreadyResponded: (IPCError, RuntimeError),
    ConverterError: (IPCError,),
    RemoteError: (IPCError,),
    InvalidRequest: (RemoteError,),
    UnknownEndpoint: (RemoteError, LookupError),
    BadData: (RemoteError, ValueError),
    UnknownObject: (BadData, LookupError),
    RouteFailed: (RemoteError,),
    FetchFailed: (RemoteError,),
    ActingUserRequired: (Forbidden,),
    InvalidToken: (Forbidden,),
    MissingPermissions: (Forbidden,),
    MissingRole: (Forbidden,),
    NotAMember: (Forbidden,),
    NotOwner: (Forbidden,),
    Forbidden: (RemoteError,),
    CheckFailed: (Forbidden,),
    NotReady: (RemoteError,),
    Overloaded: (RemoteError,),
    OnCooldown: (Overloaded,),
    MaxConcurrencyReached: (Overloaded,),
    DiscordError: (RemoteError,),
    DeadlineExceeded: (RemoteError, TimeoutError),
    Cancelled: (RemoteError,),
    TooLarge: (RemoteError,),
    FellBehind: (RemoteError,),
    RouteError: (RemoteError,),
}

#: One of each that has fields, its fields, and what it says.
SAMPLES: list[tuple[IPCError, dict[str, Any], str]] = [
    (
        ConnectError("localhost", 8000, "refused"),
        {"host": "localhost", "port": 8000, "reason": "refused"},
        "cannot connect to localhost:8000: refused",
    ),
    (
        ResolutionError("localhost", 20000, "silence"),
        {"host": "localhost", "port": 20000, "reason": "silence"},
        "cannot find the bot's port through the multicast port localhost:20000: silence",
    ),
    (
        UnprovenServer("localhost", 20000, "its proof is wrong"),
        {"host": "localhost", "port": 20000, "reason": "its proof is wrong"},
        "cannot connect to localhost:20000: its proof is wrong",
    ),
    (
        ListenError("localhost", 8000, "taken"),
        {"host": "localhost", "port": 8000, "reason": "taken"},
        "cannot listen on localhost:8000: taken",
    ),
    (
        Unauthorized("localhost", 8000),
        {"host": "localhost", "port": 8000},
        "localhost:8000 does not accept the secret key (it must equal the server's or one of its keys)",
    ),
    (
        ConnectionLost("stats"),
        {"endpoint": "stats"},
        "the connection was lost while 'stats' was waiting for its answer; the route may have run",
    ),
    (SessionClosed(), {}, "the session is closed"),
    (
        WrongEventLoop(),
        {},
        "the session belongs to another event loop: make one session for each loop; nothing was sent",
    ),
    (
        RequestTimeout("stats", 1.5),
        {"endpoint": "stats", "seconds": 1.5},
        "no answer from 'stats' within 1.5 s",
    ),
    (
        DuplicateRoute("/stats", "a.py:1", "b.py:2"),
        {"name": "/stats", "first": "a.py:1", "second": "b.py:2"},
        "two routes are named '/stats': a.py:1 and b.py:2",
    ),
    (AlreadyResponded("stats"), {"endpoint": "stats"}, "the request to 'stats' has been answered already"),
    (
        RequestTooLarge("stats", 5000, 4000),
        {"endpoint": "stats", "size": 5000, "limit": 4000},
        "the call of 'stats' has 5000 bytes, the bot takes 4000; nothing was sent",
    ),
    (
        Unsupported("stats"),
        {"endpoint": "stats", "reason": "it has neither streams nor events"},
        "cannot call 'stats', since the bot's library is older: it has neither streams nor events; no route has run",
    ),
    (EncodeError("no"), {}, "no"),
    (DecodeError("no"), {}, "no"),
    (ProtocolError("no"), {}, "no"),
    (
        RouteError(404, "no such guild", data={"id": 1}),
        {"code": 404, "message": "no such guild", "data": {"id": 1}, "endpoint": None},
        "no such guild (code 404)",
    ),
    (
        remote_error("stats", 404, "no such guild", None),
        {"code": 404, "message": "no such guild", "data": None, "endpoint": "stats"},
        "'stats': no such guild (code 404)",
    ),
    (
        remote_error("stats", -32602, "bad", [{"path": "top", "message": "no"}]),
        {"code": -32602, "errors": [{"path": "top", "message": "no"}], "endpoint": "stats"},
        "'stats': bad (code -32602)",
    ),
    (
        UnknownObject("a guild", data=[{"path": "guild", "message": "no", "kind": "Guild", "id": "5"}]),
        {"code": -32602, "parameter": "guild", "kind": "Guild", "id": 5},
        "a guild (code -32602)",
    ),
    (
        UnknownObject("an invite", data=[{"path": "x", "message": "no", "kind": "Invite", "id": "5"}]),
        {"parameter": "x", "kind": "Invite", "id": "5"},
        "an invite (code -32602)",
    ),
    (UnknownObject("no"), {"parameter": "", "kind": "", "id": "", "errors": []}, "no (code -32602)"),
    (
        FetchFailed("failed", data={"kind": "User", "status": 503}),
        {"code": -32014, "kind": "User", "status": 503},
        "failed (code -32014)",
    ),
    (FetchFailed("no"), {"kind": "", "status": None}, "no (code -32014)"),
    (
        MissingPermissions(
            "no",
            data={"missing_permissions": ["ban_members"], "user_id": "1", "guild_id": "2", "channel_id": "3"},
        ),
        {"missing_permissions": ["ban_members"], "user_id": 1, "guild_id": 2, "channel_id": 3},
        "no (code -32017)",
    ),
    (
        MissingPermissions("odd", data={"missing_permissions": [5], "user_id": "x", "guild_id": 2}),
        {"missing_permissions": [], "user_id": None, "guild_id": None, "channel_id": None},
        "odd (code -32017)",
    ),
    (MissingRole("no", data={"missing_roles": ["mod"]}), {"missing_roles": ["mod"]}, "no (code -32018)"),
    (NotAMember("no", data={"user_id": "1"}), {"user_id": 1, "guild_id": None}, "no (code -32016)"),
    (NotOwner("no"), {"user_id": None}, "no (code -32019)"),
    (InvalidToken("no"), {"user_id": None}, "no (code -32020)"),
    (ActingUserRequired("no"), {"needs_token": False}, "no (code -32015)"),
    (ActingUserRequired("odd", data={"needs_token": True}), {"needs_token": True}, "odd (code -32015)"),
    (
        RouteFailed("no", data={"error_id": "1a", "parameter": "when"}),
        {"error_id": "1a", "parameter": "when"},
        "no (code -32603)",
    ),
    (
        ConverterError("when", LookupError("no")),
        {"parameter": "when"},
        "the converter of 'when' raised LookupError: no",
    ),
    (
        remote_error("stats", -32011, "wait", {"retry_after": 1.5, "rate": 2, "per": 60.0}),
        {"retry_after": 1.5, "rate": 2, "per": 60.0, "endpoint": "stats"},
        "'stats': wait (code -32011)",
    ),
    (
        MaxConcurrencyReached("busy", data={"number": 2}),
        {"number": 2, "endpoint": None},
        "busy (code -32012)",
    ),
    (
        DiscordError("no", data={"status": 403, "code": 50013, "text": "Missing Permissions"}),
        {"status": 403, "discord_code": 50013, "text": "Missing Permissions", "retry_after": None},
        "no (code -32013)",
    ),
    (
        remote_error("stats", -32099, "new", None),
        {"code": -32099, "message": "new"},
        "'stats': new (code -32099)",
    ),
]

EACH = pytest.mark.parametrize(
    ("error", "fields", "text"), SAMPLES, ids=[f"{type(e).__name__}-{s[:12]}" for e, _, s in SAMPLES]
)


def test_every_exception_is_in_the_tree_and_exported() -> None:
    defined = {
        value
        for module in (errors, refusals)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == module.__name__
    }
    assert defined == set(TREE)
    assert {cls.__name__ for cls in TREE} | {"Violation"} == {*errors.__all__, *refusals.__all__}
    for module in (errors, refusals):
        assert all(getattr(ipc, name) is getattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_an_exception_has_its_place_in_the_tree(cls: type[BaseException]) -> None:
    assert cls.__bases__ == TREE[cls]


@EACH
def test_an_error_has_its_data_in_fields(error: IPCError, fields: dict[str, Any], text: str) -> None:
    assert {name: getattr(error, name) for name in fields} == fields


@EACH
def test_the_text_of_an_error_says_what_happened(error: IPCError, fields: dict[str, Any], text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
@EACH
def test_an_error_survives_copying_and_pickling(
    error: IPCError, fields: dict[str, Any], text: str, again: Callable[[IPCError], IPCError]
) -> None:
    other = again(error)
    assert type(other) is type(error)
    assert other is not error
    assert {name: getattr(other, name) for name in fields} == fields
    assert str(other) == text


@EACH
def test_an_error_that_is_an_oserror_has_no_invented_errno(
    error: IPCError, fields: dict[str, Any], text: str
) -> None:
    if isinstance(error, OSError):
        assert (error.errno, error.strerror, error.filename) == (None, None, None)
    else:
        assert not hasattr(error, "errno")


@pytest.mark.parametrize(
    "cls", [RequestTooLarge, EncodeError, Unsupported, WrongEventLoop], ids=lambda cls: cls.__name__
)
def test_an_error_of_the_client_alone_is_an_ipc_error_but_no_error_of_the_bot(cls: type[IPCError]) -> None:
    assert issubclass(cls, IPCError)
    assert not issubclass(cls, RemoteError)
    assert not hasattr(cls, "code")


@pytest.mark.parametrize("code", [0, -1, -32601])
def test_a_route_cannot_use_the_codes_of_the_protocol(code: int) -> None:
    with pytest.raises(ValueError, match=f"1 or more, not {code}"):
        RouteError(code, "text")


@pytest.mark.parametrize("data", [None, "text", {"path": "top"}])
def test_bad_data_without_a_list_has_no_errors(data: Any) -> None:
    assert BadData("bad", data=data).errors == []


@pytest.mark.parametrize(
    ("data", "number"),
    [({"error_id": "1a2b"}, "1a2b"), ({"error_id": 1}, None), ({}, None), (None, None), ([], None)],
)
def test_a_failed_route_has_an_error_id_where_the_bot_said_one(data: Any, number: str | None) -> None:
    assert RouteFailed("failed", data=data).error_id == number


def test_what_a_route_raises_has_no_endpoint_yet() -> None:
    assert Forbidden("no").endpoint is None


@pytest.mark.parametrize("data", [None, [], "text", {}, {"retry_after": None}, {"retry_after": "5"}])
@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (OnCooldown, {"retry_after": 0.0, "rate": None, "per": None}),
        (MaxConcurrencyReached, {"number": None}),
        (DiscordError, {"status": None, "discord_code": None, "text": "", "retry_after": None}),
    ],
    ids=["OnCooldown", "MaxConcurrencyReached", "DiscordError"],
)
def test_a_refusal_without_its_data_has_no_figures(
    cls: type[RemoteError], fields: dict[str, Any], data: Any
) -> None:
    error = cls("no", data=data)
    assert {name: getattr(error, name) for name in fields} == fields


@pytest.mark.parametrize("value", [-1, True, float("nan"), float("inf"), 10**400, "1", [1]])
def test_a_time_that_nobody_can_wait_for_is_no_time(value: Any) -> None:
    assert OnCooldown("no", data={"retry_after": value}).retry_after == 0.0
    assert DiscordError("no", data={"retry_after": value}).retry_after is None


@pytest.mark.parametrize("value", [True, 1.5, "403", None])
def test_a_number_of_another_type_is_no_number(value: Any) -> None:
    assert DiscordError("no", data={"status": value}).status is None
    assert MaxConcurrencyReached("no", data={"number": value}).number is None
