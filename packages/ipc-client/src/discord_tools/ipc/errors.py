"""Every exception of the library, in one tree.

The first level of the tree tells what the caller can do about it: connect again, fix the key, fix the call, or read the
bot's log.
"""

from __future__ import annotations

from typing import Any, TypedDict, cast

__all__ = (
    "AlreadyResponded",
    "BadData",
    "Cancelled",
    "CheckFailed",
    "ConnectError",
    "ConnectionLost",
    "DeadlineExceeded",
    "DecodeError",
    "DiscordError",
    "DuplicateRoute",
    "EncodeError",
    "FellBehind",
    "Forbidden",
    "IPCError",
    "InvalidRequest",
    "ListenError",
    "MaxConcurrencyReached",
    "NotReady",
    "OnCooldown",
    "Overloaded",
    "ProtocolError",
    "RemoteError",
    "RequestTimeout",
    "RequestTooLarge",
    "ResolutionError",
    "RouteError",
    "RouteFailed",
    "SessionClosed",
    "TooLarge",
    "Unauthorized",
    "UnknownEndpoint",
    "Unsupported",
    "Violation",
    "WrongEventLoop",
)


class IPCError(Exception):
    """The base of every exception that this library raises.

    .. versionadded:: 1.0
    """


class ConnectError(IPCError, ConnectionError):
    """The bot could not be reached.

    Nothing was sent, so repeating the request is always safe.

    .. versionadded:: 1.0

    Attributes
    ----------
    host: :class:`str`
        The host that was tried.
    port: :class:`int`
        The port that was tried.
    reason: :class:`str`
        Why it did not work, in words.
    """

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__()
        self.args = (
            host,
            port,
            reason,
        )  # not by OSError, which would take them for errno, strerror and filename
        self.host: str = host
        self.port: int = port
        self.reason: str = reason

    def __str__(self) -> str:
        return f"cannot connect to {self.host}:{self.port}: {self.reason}"


class ResolutionError(ConnectError):
    """The multicast port gave no usable answer, so the bot's port is not known.

    Give ``port`` to the session, or check that the server runs with ``multicast=True`` and that no
    other bot on the same machine holds the multicast port.

    .. versionadded:: 1.0
    """

    def __str__(self) -> str:
        return f"cannot find the bot's port through the multicast port {self.host}:{self.port}: {self.reason}"


class Unauthorized(IPCError):
    """The server does not accept the secret key.

    It is raised by the request at hand and the connection is not tried again until the next one.

    .. versionadded:: 1.0

    Attributes
    ----------
    host: :class:`str`
        The host that refused the key.
    port: :class:`int`
        The port that refused the key.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.host: str = host
        self.port: int = port

    def __str__(self) -> str:
        return f"{self.host}:{self.port} does not accept the secret key (it must equal Server.secret_key)"


class ConnectionLost(IPCError, ConnectionError):
    """The connection broke after the call was sent and before it was answered.

    The route may have run, or not. Repeat the request only if running it twice does no harm.

    .. versionadded:: 1.0

    .. versionchanged:: 1.1
        A connection that comes back within :attr:`ClientSession.connect_timeout` loses no call. This is raised when it
        stays away for longer, and when the bot was restarted meanwhile.

    Attributes
    ----------
    endpoint: :class:`str`
        The endpoint that was called.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.endpoint: str = endpoint

    def __str__(self) -> str:
        return f"the connection was lost while {self.endpoint!r} was waiting for its answer; the route may have run"


class SessionClosed(IPCError, RuntimeError):
    """The session was closed before or during the request.

    .. versionadded:: 1.0
    """

    def __str__(self) -> str:
        return "the session is closed"


class WrongEventLoop(IPCError, RuntimeError):
    """The session belongs to another event loop, which is still open. Nothing was sent.

    A session belongs to the event loop that uses it first. Once that loop is closed, the next one takes it over. For
    threads or synchronous code, make a session for each event loop.

    .. versionadded:: 1.2
    """

    def __str__(self) -> str:
        return "the session belongs to another event loop: make one session for each loop; nothing was sent"


class RequestTimeout(IPCError, TimeoutError):
    """No answer came within the session's timeout. The bot was told to stop working on it.

    .. versionadded:: 1.0

    Attributes
    ----------
    endpoint: :class:`str`
        The endpoint that was called.
    seconds: :class:`float`
        The timeout that ran out, in seconds.
    """

    def __init__(self, endpoint: str, seconds: float) -> None:
        super().__init__()
        self.args = (endpoint, seconds)  # not by OSError, which would take them for errno and strerror
        self.endpoint: str = endpoint
        self.seconds: float = seconds

    def __str__(self) -> str:
        return f"no answer from {self.endpoint!r} within {self.seconds:g} s"


class EncodeError(IPCError, TypeError):
    """The data of a request cannot be written as JSON. Nothing was sent.

    .. versionadded:: 1.0
    """


class RequestTooLarge(IPCError, ValueError):
    """The data of a request is larger than the bot takes in one message. Nothing was sent.

    Send less at a time, or raise :attr:`ServerLimits.message_bytes` on the bot.

    .. versionadded:: 1.2
        Until 1.1 this was :exc:`TooLarge`, which now always comes from the bot.

    Attributes
    ----------
    endpoint: :class:`str`
        The endpoint that was to be called.
    size: :class:`int`
        The size of the call, in bytes.
    limit: :class:`int`
        The largest message that the bot takes, in bytes.
    """

    def __init__(self, endpoint: str, size: int, limit: int) -> None:
        super().__init__(endpoint, size, limit)
        self.endpoint: str = endpoint
        self.size: int = size
        self.limit: int = limit

    def __str__(self) -> str:
        return f"the call of {self.endpoint!r} has {self.size} bytes, the bot takes {self.limit}; nothing was sent"


class Unsupported(IPCError, NotImplementedError):
    """The bot runs a server of an older library, which has neither streams nor events. Nothing was sent.

    .. versionadded:: 1.2

    Attributes
    ----------
    endpoint: :class:`str`
        The endpoint that was to be called.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.endpoint: str = endpoint

    def __str__(self) -> str:
        return f"cannot read {self.endpoint!r}: the bot's library is older and has neither streams nor events"


class DecodeError(IPCError, ValueError):
    """The answer is not of the type that was asked for.

    .. versionadded:: 1.0
    """


class ProtocolError(IPCError):
    """The other side does not keep to the protocol, so the connection cannot go on.

    .. versionadded:: 1.0
    """


class ListenError(IPCError, OSError):
    """The server cannot listen on its address.

    .. versionadded:: 1.0

    Attributes
    ----------
    host: :class:`str`
        The host that was tried.
    port: :class:`int`
        The port that was tried.
    reason: :class:`str`
        Why it did not work, in words.
    """

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__()
        self.args = (
            host,
            port,
            reason,
        )  # not by OSError, which would take them for errno, strerror and filename
        self.host: str = host
        self.port: int = port
        self.reason: str = reason

    def __str__(self) -> str:
        return f"cannot listen on {self.host}:{self.port}: {self.reason}"


class DuplicateRoute(IPCError, ValueError):
    """Two routes have the same name.

    .. versionadded:: 1.0

    Attributes
    ----------
    name: :class:`str`
        The name, with its leading ``/``.
    first: :class:`str`
        Where the route that keeps the name is defined.
    second: :class:`str`
        Where the route that was refused is defined.
    """

    def __init__(self, name: str, first: str, second: str) -> None:
        super().__init__(name, first, second)
        self.name: str = name
        self.first: str = first
        self.second: str = second

    def __str__(self) -> str:
        return f"two routes are named {self.name!r}: {self.first} and {self.second}"


class AlreadyResponded(IPCError, RuntimeError):
    """A route tried to answer a request that has its answer already.

    .. versionadded:: 1.0

    Attributes
    ----------
    endpoint: :class:`str`
        The endpoint of the request.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.endpoint: str = endpoint

    def __str__(self) -> str:
        return f"the request to {self.endpoint!r} has been answered already"


def _member(data: object, name: str) -> object:
    """A member of an error's data, which another side may have written: ``None`` where there is none of that name."""
    return cast("dict[str, Any]", data).get(name) if isinstance(data, dict) else None


def _integer(data: object, name: str) -> int | None:
    value = _member(data, name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(data: object, name: str) -> float | None:
    value = _member(data, name)
    # Neither NaN, nor infinite, nor an integer that is too large for a float.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
        return float(value)
    return None


class RemoteError(IPCError):
    """The bot answered with an error.

    A route raises one of the subclasses, usually :exc:`RouteError`, to send it to the caller.

    .. versionadded:: 1.0

    Parameters
    ----------
    message: :class:`str`
        What went wrong, for people. The caller sees it, so it must hold nothing internal.
    data: Any
        More about it, for programs: anything that can be written as JSON. Defaults to ``None``.

    Attributes
    ----------
    code: :class:`int`
        The number of the error on the wire. Negative ones belong to the protocol, positive ones to routes.
    message: :class:`str`
        What went wrong, for people.
    data: Any
        More about it, for programs, or ``None``.
    endpoint: Optional[:class:`str`]
        The endpoint that was called, or ``None`` where the error was made by a route and not received.
    """

    code: int = -32000

    def __init__(self, message: str, *, data: Any = None) -> None:
        super().__init__(message)
        self.message: str = message
        self.data: Any = data
        self.endpoint: str | None = None

    def __str__(self) -> str:
        where = "" if self.endpoint is None else f"{self.endpoint!r}: "
        return f"{where}{self.message} (code {self.code})"


class InvalidRequest(RemoteError):
    """The bot did not understand the call itself.

    .. versionadded:: 1.0
    """

    code = -32600


class UnknownEndpoint(RemoteError, LookupError):
    """The bot has no route of that name.

    .. versionadded:: 1.0
    """

    code = -32601


class Violation(TypedDict):
    """One entry of :attr:`BadData.errors`.

    .. versionadded:: 1.0

    Attributes
    ----------
    path: :class:`str`
        Where in the data, ``top`` or ``members[3].id``; empty for the data as a whole.
    message: :class:`str`
        What is wrong there.
    """

    path: str
    message: str


class BadData(RemoteError, ValueError):
    """The data of the request does not fit what the route asks for.

    .. versionadded:: 1.0
    """

    code = -32602

    @property
    def errors(self) -> list[Violation]:
        """List[:class:`Violation`]: What is wrong and where. Empty where the bot did not say."""
        data: object = self.data
        return cast("list[Violation]", data) if isinstance(data, list) else []


class RouteFailed(RemoteError):
    """The route raised an exception, or its answer cannot be written as JSON.

    The text of the exception stays on the bot. Its log has the traceback under :attr:`error_id`.

    .. versionadded:: 1.0
    """

    code = -32603

    @property
    def error_id(self) -> str | None:
        """Optional[:class:`str`]: What to search the bot's log for, or ``None`` where the bot did not say."""
        value = _member(self.data, "error_id")
        return value if isinstance(value, str) else None


class Forbidden(RemoteError):
    """The caller may not do this.

    .. versionadded:: 1.0
    """

    code = -32002


class CheckFailed(Forbidden):
    """A check of the route refused the call. The route did not run.

    A check is a function that :func:`check` adds to a route, or the ``cog_ipc_check`` of a cog. Where it returns false,
    the caller gets this exception. One that raises another :exc:`RemoteError` is answered with that.

    .. versionadded:: 1.2
    """

    code = -32010


class NotReady(RemoteError):
    """The bot is not ready for this yet, or not any more: it is starting or shutting down.

    .. versionadded:: 1.0
    """

    code = -32003


class Overloaded(RemoteError):
    """The bot has too many calls in progress. It did not start this one.

    .. versionadded:: 1.0
    """

    code = -32004


class OnCooldown(Overloaded):
    """The route was called too often. It did not run.

    :func:`cooldown` sets how often a route may be called.

    .. versionadded:: 1.2
    """

    code = -32011

    @property
    def retry_after(self) -> float:
        """:class:`float`: Seconds after which the route takes another call. 0 where the bot did not say."""
        return _seconds(self.data, "retry_after") or 0.0

    @property
    def rate(self) -> int | None:
        """Optional[:class:`int`]: Number of calls that the route takes in :attr:`per` seconds, or ``None`` where the
        bot did not say.
        """
        return _integer(self.data, "rate")

    @property
    def per(self) -> float | None:
        """Optional[:class:`float`]: The length of the cooldown in seconds, or ``None`` where the bot did not say."""
        return _seconds(self.data, "per")


class MaxConcurrencyReached(Overloaded):
    """As many calls of the route are in progress as may be. This one did not run.

    :func:`max_concurrency` sets how many calls of a route run at the same time.

    .. versionadded:: 1.2
    """

    code = -32012

    @property
    def number(self) -> int | None:
        """Optional[:class:`int`]: Maximum number of calls in progress, or ``None`` where the bot did not say."""
        return _integer(self.data, "number")


class DiscordError(RemoteError):
    """Discord refused what the route asked of it, and the route let the exception of discord.py through.

    The route may have run in part.

    .. versionadded:: 1.2
        Until 1.1 this was :exc:`RouteFailed`.
    """

    code = -32013

    @property
    def status(self) -> int | None:
        """Optional[:class:`int`]: The HTTP status of Discord's answer, such as 403 or 404, or ``None`` where the bot
        did not say.
        """
        return _integer(self.data, "status")

    @property
    def discord_code(self) -> int | None:
        """Optional[:class:`int`]: Discord's own number of the error, such as 50013, 0 where Discord gave none, or
        ``None`` where the bot did not say. (:attr:`~RemoteError.code` is the number on the wire.)
        """
        return _integer(self.data, "code")

    @property
    def text(self) -> str:
        """:class:`str`: Discord's text, such as ``Missing Permissions``. Empty where there is none. The bot shortens a
        long one.
        """
        value = _member(self.data, "text")
        return value if isinstance(value, str) else ""

    @property
    def retry_after(self) -> float | None:
        """Optional[:class:`float`]: Seconds after which Discord takes the request, where it limits how often it takes
        one. ``None`` for all other errors.
        """
        return _seconds(self.data, "retry_after")


class DeadlineExceeded(RemoteError, TimeoutError):
    """The bot gave the call up because its time was over.

    .. versionadded:: 1.0
    """

    code = -32005


class Cancelled(RemoteError):
    """The call was ended on the bot's side before it had an answer.

    .. versionadded:: 1.0
    """

    code = -32006


class TooLarge(RemoteError):
    """The answer of the route is larger than the caller takes in one message.

    .. versionadded:: 1.0

    .. versionchanged:: 1.2
        Data that is too large to be sent is :exc:`RequestTooLarge`.
    """

    code = -32007


class FellBehind(RemoteError):
    """The reader of a subscription was too slow, and had asked to be ended then.

    .. versionadded:: 1.1
    """

    code = -32009


class RouteError(RemoteError):
    """A route's own error.

    .. versionadded:: 1.0

    Parameters
    ----------
    code: :class:`int`
        The route's own number for this error, 1 or more; HTTP's numbers are a good choice.
    message: :class:`str`
        What went wrong, for people. The caller sees it, so it must hold nothing internal.
    data: Any
        More about it, for programs: anything that can be written as JSON. Defaults to ``None``.

    Raises
    ------
    ValueError
        The code is 0 or negative: those belong to the protocol.
    """

    def __init__(self, code: int, message: str, *, data: Any = None) -> None:
        if code < 1:
            raise ValueError(f"the code of a route's own error must be 1 or more, not {code}")
        super().__init__(message, data=data)
        self.args = (code, message)  # what it can be made of again, by copy and pickle
        self.code = code
