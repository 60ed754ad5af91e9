"""Numbers of errors on the wire, and the exceptions that they become."""

from __future__ import annotations

import logging
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET

from discord_tools.ipc.errors import (
    BadData,
    Cancelled,
    CheckFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    DiscordError,
    FellBehind,
    FetchFailed,
    Forbidden,
    InvalidRequest,
    IPCError,
    MaxConcurrencyReached,
    NotReady,
    OnCooldown,
    Overloaded,
    RemoteError,
    RouteError,
    RouteFailed,
    TooLarge,
    UnknownEndpoint,
    UnknownObject,
)
from discord_tools.ipc.refusals import (
    ActingUserRequired,
    InvalidToken,
    MissingPermissions,
    MissingRole,
    NotAMember,
    NotOwner,
)
from discord_tools.ipc.wire.codec import UNREADABLE
from discord_tools.ipc.wire.frames import ErrorObject, NotRun

__all__ = ("CONNECTION_LOST", "PARSE_ERROR", "UNAUTHORIZED", "did_not_run", "error_of", "remote_error")

log = logging.getLogger(__name__)

#: JSON-RPC 2.0: the message is not JSON.
PARSE_ERROR: Final = -32700
#: The secret key is wrong or missing.
UNAUTHORIZED: Final = -32001
#: The process that passed the call on lost its own connection to the bot, so the route may have run.
CONNECTION_LOST: Final = -32008

_BY_CODE: Final[dict[int, type[RemoteError]]] = {
    cls.code: cls
    for cls in (
        InvalidRequest,
        UnknownEndpoint,
        BadData,
        RouteFailed,
        Forbidden,
        NotReady,
        Overloaded,
        DeadlineExceeded,
        Cancelled,
        TooLarge,
        FellBehind,
        CheckFailed,
        OnCooldown,
        MaxConcurrencyReached,
        DiscordError,
        FetchFailed,
        ActingUserRequired,
        NotAMember,
        MissingPermissions,
        MissingRole,
        NotOwner,
        InvalidToken,
    )
}

_not_run = msgspec.json.Decoder(NotRun)


def did_not_run(error: ErrorObject) -> bool:
    """Whether the other side refused a call because it is closing, so another connection can take it."""
    if error.code != NotReady.code or error.data is UNSET:
        return False
    try:
        return _not_run.decode(error.data).ran is False
    except UNREADABLE:
        return False


def error_of(endpoint: str, error: ErrorObject) -> IPCError:
    """Makes the exception for the error of a reply."""
    if error.code == CONNECTION_LOST:
        return ConnectionLost(endpoint)
    if error.code == PARSE_ERROR:  # from the process that passed the call on
        return DecodeError(f"the answer of {endpoint!r} cannot be decoded: {error.message}")
    data: Any = None
    if error.data is not UNSET:
        try:
            data = msgspec.json.decode(error.data)
        except UNREADABLE:
            log.warning("The data of an error of %.200r cannot be decoded", endpoint)
    return remote_error(endpoint, error.code, error.message, data)


def remote_error(endpoint: str, code: int, message: str, data: Any) -> RemoteError:
    """Makes the exception for a code that came over the wire."""
    error: RemoteError
    if code > 0:
        error = RouteError(code, message, data=data)
    elif cls := _BY_CODE.get(code):
        error = (UnknownObject if cls is BadData and _is_about_objects(data) else cls)(message, data=data)
    else:
        error = RemoteError(message, data=data)
        error.code = code
    error.endpoint = endpoint
    return error


def _is_about_objects(data: Any) -> bool:
    """Whether nothing is wrong in the data of a call but ids that no object has.

    The error has the code of bad data, so that clients of 1.1 and other clients take it for that.
    """
    violations = cast("list[Any]", data) if isinstance(data, list) else []
    return bool(violations) and all(isinstance(one, dict) and "kind" in one for one in violations)
