"""Every exception of the library, in one tree.

The first level of the tree tells what the caller can do about it: connect again, fix the key, fix the call, or read the
bot's log.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict, cast

from discord_tools.ipc.error_data import field_of, id_of, seconds_of, strings_of

__all__ = (
    "AlreadyResponded",
    "BadData",
    "Cancelled",
    "CheckFailed",
    "ConnectError",
    "ConnectionLost",
    "ConverterError",
    "DeadlineExceeded",
    "DecodeError",
    "DiscordError",
    "DuplicateRoute",
    "EncodeError",
    "FellBehind",
    "FetchFailed",
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
    "UnknownObject",
    "UnprovenServer",
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
        The host that was tried, or the path of the Unix socket.
    port: :class:`int`
        The port that was tried, or 0 for a Unix socket.
    reason: :class:`str`
        Why it did not work, in words.
    address: :class:`str`
        The address in words: the host and the port, the URL, or ``unix:`` with the path of the socket.

        .. versionadded:: 1.2
    """

    def __init__(self, host: str, port: int, reason: str, address: str | None = None) -> None:
        super().__init__()
        # Not by OSError, which would take them for errno, strerror and filename.
        self.args = (host, port, reason, *(() if address is None else (address,)))
        self.host: str = host
        self.port: int = port
        self.reason: str = reason
        self.address: str = f"{host}:{port}" if address is None else address

    def __str__(self) -> str:
        return f"cannot connect to {self.address}: {self.reason}"


class ResolutionError(ConnectError):
    """The multicast port gave no usable answer, so the bot's port is not known.

    Give ``port`` to the session, or check that the server runs with ``multicast=True`` and that no
    other bot on the same machine holds the multicast port.

    .. versionadded:: 1.0
    """

    def __str__(self) -> str:
        return f"cannot find the bot's port through the multicast port {self.address}: {self.reason}"


class UnprovenServer(ConnectError):
    """What listens there does not prove that it knows the secret key. It may be another program that took the port, or
    a server of an older library, which wants the key in clear.

    Where a server of an older library runs there, give ``older_servers=True`` to the session. Otherwise find the
    program that listens there. Attempts go on in the background, since that program may leave the port again.

    .. versionadded:: 1.2
    """


class Unauthorized(IPCError):
    """The server does not accept the secret key.

    It is raised by the request at hand and the connection is not tried again until the next one.

    .. versionadded:: 1.0

    Attributes
    ----------
    host: :class:`str`
        The host that refused the key, or the path of the Unix socket.
    port: :class:`int`
        The port that refused the key, or 0 for a Unix socket.
    address: :class:`str`
        The address in words: the host and the port, the URL, or ``unix:`` with the path of the socket.

        .. versionadded:: 1.2
    """

    def __init__(self, host: str, port: int, address: str | None = None) -> None:
        super().__init__(host, port, *(() if address is None else (address,)))
        self.host: str = host
        self.port: int = port
        self.address: str = f"{host}:{port}" if address is None else address

    def __str__(self) -> str:
        return (
            f"{self.address} does not accept the secret key (it must equal the server's or one of its keys)"
        )


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
    """The bot runs a server of an older library, which does not have what the call needs: streams, events,
    acting users or tickets. No route has run.

    .. versionadded:: 1.2

    Attributes
    ----------
    endpoint: :class:`str`
        The endpoint that was to be called.
    reason: :class:`str`
        What the bot's library lacks, in words.
    """

    def __init__(self, endpoint: str, reason: str = "it has neither streams nor events") -> None:
        super().__init__(endpoint, reason)
        self.endpoint: str = endpoint
        self.reason: str = reason

    def __str__(self) -> str:
        return f"cannot call {self.endpoint!r}, since the bot's library is older: {self.reason}; no route has run"


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
        The host that was tried, or the path of the Unix socket.
    port: :class:`int`
        The port that was tried, or 0 for a Unix socket.
    reason: :class:`str`
        Why it did not work, in words.
    address: :class:`str`
        The address in words: the host and the port, the URL, or ``unix:`` with the path of the socket.

        .. versionadded:: 1.2
    """

    def __init__(self, host: str, port: int, reason: str, address: str | None = None) -> None:
        super().__init__()
        self.args = (host, port, reason, *(() if address is None else (address,)))  # as for ConnectError
        self.host: str = host
        self.port: int = port
        self.reason: str = reason
        self.address: str = f"{host}:{port}" if address is None else address

    def __str__(self) -> str:
        return f"cannot listen on {self.address}: {self.reason}"


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


class ConverterError(IPCError):
    """A converter of a route's parameter raised an exception. Raised in the bot alone: :func:`on_ipc_error` gets it,
    and the caller gets :exc:`RouteFailed`.

    A converter that refuses a value raises :exc:`BadData` or another :exc:`RemoteError`, which the caller gets as it
    is.

    .. versionadded:: 1.2

    Attributes
    ----------
    parameter: :class:`str`
        Where in the data the value stands: the parameter, and a place inside of it where it has parts.
    original: :exc:`Exception`
        What the converter raised.
    """

    def __init__(self, parameter: str, original: Exception) -> None:
        super().__init__(parameter, original)
        self.parameter: str = parameter
        self.original: Exception = original

    def __str__(self) -> str:
        return f"the converter of {self.parameter!r} raised {type(self.original).__name__}: {self.original}"


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
    kind: :class:`str`
        What kind of object was asked for, ``Member`` say. Present only where there is none with this id.

        .. versionadded:: 1.2
    id: :class:`str`
        The id of that object, or the code of an invite. Present only together with ``kind``.

        .. versionadded:: 1.2
    """

    path: str
    message: str
    kind: NotRequired[str]
    id: NotRequired[str]


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


class UnknownObject(BadData, LookupError):
    """The data has the id of an object that the bot does not know, and that Discord does not know either where the bot
    can ask for it. Nothing else is wrong with the data.

    :attr:`~BadData.errors` has all such ids. The attributes are those of the first one.

    .. versionadded:: 1.2
        Until 1.1 this was :exc:`BadData` itself, whose code it has.
    """

    def _first(self, key: str) -> str:
        return field_of(self.errors[0] if self.errors else None, key, str) or ""

    @property
    def parameter(self) -> str:
        """:class:`str`: Where the id stands in the data: ``member``, or ``settings.roles[2]``."""
        return self._first("path")

    @property
    def kind(self) -> str:
        """:class:`str`: What was looked for: ``Member``, or ``TextChannel or Thread``."""
        return self._first("kind")

    @property
    def id(self) -> int | str:
        """Union[:class:`int`, :class:`str`]: The id. A string for an invite, which has a code."""
        number = self._first("id")
        is_code = self.kind == "Invite" or not (number.isascii() and number.isdigit())
        # int() refuses longer ones by default.
        return number if is_code or len(number) > 1000 else int(number)


class RouteFailed(RemoteError):
    """The route raised an exception, or its answer cannot be written as JSON.

    The text of the exception stays on the bot. Its log has the traceback under :attr:`error_id`.

    .. versionadded:: 1.0
    """

    code = -32603

    @property
    def error_id(self) -> str | None:
        """Optional[:class:`str`]: What to search the bot's log for, or ``None`` where the bot did not say: it logs a
        bounded number of failures of a route within a minute.
        """
        return field_of(self.data, "error_id", str)

    @property
    def parameter(self) -> str | None:
        """Optional[:class:`str`]: Where in the data the value stands whose converter failed. ``None`` where it was not
        a converter.

        .. versionadded:: 1.2
        """
        return field_of(self.data, "parameter", str)


class FetchFailed(RemoteError):
    """An object is not in the bot's cache, and Discord did not give it: it is not available, its rate limit is reached,
    or the bot may not see the object. The route did not run. Trying again later may help.

    .. versionadded:: 1.2
    """

    code = -32014

    @property
    def kind(self) -> str:
        """:class:`str`: What was to be fetched: ``Member``, ``User``, ``Message`` or ``Invite``. Empty where the bot
        did not say.
        """
        return field_of(self.data, "kind", str) or ""

    @property
    def status(self) -> int | None:
        """Optional[:class:`int`]: The status of Discord's answer, 503 say. ``None`` where there was no answer."""
        return field_of(self.data, "status", int)


class Forbidden(RemoteError):
    """The caller may not do this. A key without the scope that a route or an event needs leads to it, too.

    .. versionadded:: 1.0
    """

    code = -32002

    @property
    def scopes(self) -> list[str]:
        """List[:class:`str`]: Scopes of which the key needs one. Empty where nothing opens the route to such keys,
        and where the refusal has another reason.

        .. versionadded:: 1.2
        """
        return strings_of(self.data, "scopes")

    @property
    def user_id(self) -> int | None:
        """Optional[:class:`int`]: The acting user that was refused. ``None`` where the refusal has another reason.

        .. versionadded:: 1.2
        """
        return id_of(self.data, "user_id")

    @property
    def guild_id(self) -> int | None:
        """Optional[:class:`int`]: The guild in which the acting user was judged, if the refusal has to do with one.

        .. versionadded:: 1.2
        """
        return id_of(self.data, "guild_id")


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
        return seconds_of(self.data, "retry_after") or 0.0

    @property
    def rate(self) -> int | None:
        """Optional[:class:`int`]: Number of calls that the route takes in :attr:`per` seconds, or ``None`` where the
        bot did not say.
        """
        return field_of(self.data, "rate", int)

    @property
    def per(self) -> float | None:
        """Optional[:class:`float`]: The length of the cooldown in seconds, or ``None`` where the bot did not say."""
        return seconds_of(self.data, "per")


class MaxConcurrencyReached(Overloaded):
    """As many calls of the route are in progress as may be. This one did not run.

    :func:`max_concurrency` sets how many calls of a route run at the same time.

    .. versionadded:: 1.2
    """

    code = -32012

    @property
    def number(self) -> int | None:
        """Optional[:class:`int`]: Maximum number of calls in progress, or ``None`` where the bot did not say."""
        return field_of(self.data, "number", int)


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
        return field_of(self.data, "status", int)

    @property
    def discord_code(self) -> int | None:
        """Optional[:class:`int`]: Discord's own number of the error, such as 50013, 0 where Discord gave none, or
        ``None`` where the bot did not say. (:attr:`~RemoteError.code` is the number on the wire.)
        """
        return field_of(self.data, "code", int)

    @property
    def text(self) -> str:
        """:class:`str`: Discord's text, such as ``Missing Permissions``. Empty where there is none. The bot shortens a
        long one.
        """
        return field_of(self.data, "text", str) or ""

    @property
    def retry_after(self) -> float | None:
        """Optional[:class:`float`]: Seconds after which Discord takes the request, where it limits how often it takes
        one. ``None`` for all other errors.
        """
        return seconds_of(self.data, "retry_after")


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
