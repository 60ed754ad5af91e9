"""Frozen settings of both sides, each with its unit and the reason for its default.

A setting whose name ends in ``_timeout`` ends something, one that ends in ``_bytes`` bounds a size. Durations are in
seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from discord_tools.ipc.settings import check_limits

__all__ = ("ClientLimits", "ServerLimits")

#: The largest message: clients of older libraries do not take a larger one.
DEFAULT_MESSAGE_BYTES = 4 * 1024 * 1024

#: What is retained to be sent again after a cut: twice the largest message.
DEFAULT_RETAINED_BYTES = 8 * 1024 * 1024

#: A pack stays below this size even when more frames wait, so that one message never blocks the loop for long.
PACK_BYTES = 256 * 1024

#: Settings that may be 0.
_CLIENT_ZERO = frozenset({"backoff_initial", "backoff_max", "retained_bytes"})
_SERVER_ZERO = frozenset(
    {
        "grace_period",
        "retained_bytes",
        "resume_timeout",
        "event_replay",
        "event_replay_bytes",
        "event_replay_timeout",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Sizes and timeouts of a :class:`ClientSession`.

    .. versionadded:: 1.0

    Raises
    ------
    TypeError
        A value is not a number.
    ValueError
        A value is negative, 0 where that makes no sense, or not finite.

    Attributes
    ----------
    message_bytes: :class:`int`
        The largest answer that is accepted, in bytes. Defaults to 4 MiB, the same as the server's.
    heartbeat: :class:`float`
        Maximum silence before the bot is pinged, in seconds; after half as long again without an answer the connection
        is closed. Defaults to 20 seconds: less than the usual idle timeout of proxies.
    handshake_timeout: :class:`float`
        How long one attempt to connect may take, in seconds. Defaults to 5.
    backoff_initial: :class:`float`
        The longest pause before the second attempt to connect, in seconds. It doubles with each further attempt, and
        the actual pause is a random part of it. Defaults to 0.1.
    backoff_max: :class:`float`
        The longest pause between two attempts, in seconds. Defaults to 1, so that a restarted bot is found within
        that time.
    close_timeout: :class:`float`
        How long closing may wait for the bot's answer, in seconds. Defaults to 1.
    stream_items: :class:`int`
        Maximum number of items of a stream, or events of a subscription, that wait for their reader; then the bot
        pauses. Defaults to 64, which hides the round trip without holding much.

        .. versionadded:: 1.1
    retained_bytes: :class:`int`
        Maximum size of the messages that the bot has not acknowledged, in bytes. They are retained to be sent again
        after a cut; beyond this size a cut loses the calls in progress. Defaults to 8 MiB, twice the largest message.

        .. versionadded:: 1.1
    """

    message_bytes: int = DEFAULT_MESSAGE_BYTES
    heartbeat: float = 20.0
    handshake_timeout: float = 5.0
    backoff_initial: float = 0.1
    backoff_max: float = 1.0
    close_timeout: float = 1.0
    stream_items: int = 64
    retained_bytes: int = DEFAULT_RETAINED_BYTES

    def __post_init__(self) -> None:
        check_limits(self, zero=_CLIENT_ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Sizes and timeouts of a :class:`Server`.

    .. versionadded:: 1.0

    Raises
    ------
    TypeError
        A value is not a number.
    ValueError
        A value is negative, 0 where that makes no sense, or not finite.

    Attributes
    ----------
    message_bytes: :class:`int`
        The largest message in either direction, in bytes. Defaults to 4 MiB.
    calls: :class:`int`
        Maximum number of calls in progress of one client. Further ones wait in the client. Defaults to 1024.
    call_bytes: :class:`int`
        Maximum size of the data and the headers of one client's calls in progress, in bytes; a further call raises
        :exc:`Overloaded` in the client. A value in the data counts as 64 bytes besides its text. Defaults to 32 MiB,
        eight of the largest messages.

        .. versionadded:: 1.2
    total_bytes: :class:`int`
        Maximum memory that is held for all clients together, in bytes: messages that are being received, data of calls
        in progress, answers and events that wait, messages that are retained. Beyond it, clients that are away, do not
        read or do not complete a message are dropped, and then calls raise :exc:`Overloaded` in the client. Defaults to
        64 MiB, which suits a bot on a machine with 512 MB.

        .. versionadded:: 1.2
    connections: :class:`int`
        Maximum number of open connections, on the main port and the multicast port together. Further ones get HTTP 503;
        one that waits for its next HTTP request is closed for them. Defaults to 2048.
    call_timeout: :class:`float`
        How long a route may take when the caller set no shorter time, in seconds. Defaults to 60, twice the client's
        own timeout, so that it only ends calls that no caller waits for.
    grace_period: :class:`float`
        How long :meth:`Server.terminate_server` waits for routes in progress, in seconds. Defaults to 5, half of
        what container runtimes give before they kill.
    heartbeat: :class:`float`
        Maximum silence before a client is pinged, in seconds; after half as long again without an answer its connection
        is closed. Defaults to 20.
    handshake_timeout: :class:`float`
        How long a new connection may take to send its first request, and then its first message, in seconds.
        Defaults to 5.
    backlog_bytes: :class:`int`
        Maximum size of the answers that wait for one client that reads slowly, in bytes; beyond it no more of its calls
        are read. Defaults to 8 MiB.
    retained_bytes: :class:`int`
        Maximum size of the messages that one client has not acknowledged, in bytes. They are retained to be sent again
        after a cut; beyond this size a cut loses that client's calls in progress. Defaults to 8 MiB, twice the largest
        message.

        .. versionadded:: 1.1
    resume_timeout: :class:`float`
        How long a client whose connection broke may stay away and still resume its calls, streams and subscriptions, in
        seconds. Defaults to 10, twice the time that clients wait for a connection.

        .. versionadded:: 1.1
    event_backlog: :class:`int`
        Maximum number of events that wait for one subscriber that reads slowly. Further ones are lost to it, and it
        gets a :class:`Gap`. Defaults to 1024.

        .. versionadded:: 1.1
    event_backlog_bytes: :class:`int`
        The same in bytes. Defaults to 4 MiB.

        .. versionadded:: 1.1
    event_replay: :class:`int`
        Maximum number of events of each name that are kept for subscribers that come back. Defaults to 1024.

        .. versionadded:: 1.1
    event_replay_bytes: :class:`int`
        The same in bytes. Defaults to 4 MiB.

        .. versionadded:: 1.1
    event_replay_timeout: :class:`float`
        How long events of a name are kept after its last subscriber has left, in seconds. Defaults to 300. Before the
        first subscriber, none are kept.

        .. versionadded:: 1.1
    """

    message_bytes: int = DEFAULT_MESSAGE_BYTES
    calls: int = 1024
    call_bytes: int = 32 * 1024 * 1024
    total_bytes: int = 64 * 1024 * 1024
    connections: int = 2048
    call_timeout: float = 60.0
    grace_period: float = 5.0
    heartbeat: float = 20.0
    handshake_timeout: float = 5.0
    backlog_bytes: int = 8 * 1024 * 1024
    retained_bytes: int = DEFAULT_RETAINED_BYTES
    resume_timeout: float = 10.0
    event_backlog: int = 1024
    event_backlog_bytes: int = 4 * 1024 * 1024
    event_replay: int = 1024
    event_replay_bytes: int = 4 * 1024 * 1024
    event_replay_timeout: float = 300.0

    def __post_init__(self) -> None:
        check_limits(self, zero=_SERVER_ZERO)
