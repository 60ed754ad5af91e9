"""Frozen settings of both sides, each with its unit and the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("ClientLimits", "ServerLimits")

#: What one message may weigh: the largest that older clients of this idea can take, too.
DEFAULT_MESSAGE_BYTES = 4 * 1024 * 1024

#: What is kept to be sent again after a cut.
DEFAULT_RETAINED_BYTES = 8 * 1024 * 1024

#: A pack stays below this even when more frames wait, so that one message never holds up the loop for long.
PACK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What a :class:`ClientSession` grants itself and the bot.

    .. versionadded:: 1.0

    Attributes
    ----------
    message_bytes: :class:`int`
        The largest answer that is accepted, in bytes. Defaults to 4 MiB, the same as the server's.
    heartbeat: :class:`float`
        After so many seconds of silence at the latest the bot is asked for a sign of life; after half as many more
        without one the connection is given up. Defaults to 20 seconds: less than the usual idle time-out of proxies.
    handshake_timeout: :class:`float`
        How long one attempt to connect may take, in seconds. Defaults to 5.
    backoff_initial: :class:`float`
        The longest pause before the second attempt to connect, in seconds; it doubles with each further attempt,
        and a random part of it is waited. Defaults to 0.1.
    backoff_max: :class:`float`
        The longest pause between two attempts, in seconds. Defaults to 1, so that a restarted bot is found within
        that time.
    close_timeout: :class:`float`
        How long closing may wait for the bot to agree, in seconds. Defaults to 1.
    stream_items: :class:`int`
        How many items of a stream, or events of a subscription, may wait for their reader before the bot pauses.
        Defaults to 64, which hides the way there and back without holding much.

        .. versionadded:: 1.1
    retained_bytes: :class:`int`
        How many bytes that the bot has not acknowledged are kept to be sent again after a cut. Beyond it a cut loses
        the calls in progress. Defaults to 8 MiB, twice the largest message.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a :class:`Server` grants its clients.

    .. versionadded:: 1.0

    Attributes
    ----------
    message_bytes: :class:`int`
        The largest message in either direction, in bytes. Defaults to 4 MiB.
    calls: :class:`int`
        How many calls of one client may be in progress. Further ones wait in the client. Defaults to 1024.
    connections: :class:`int`
        How many connections may be open at once; further ones get HTTP 503. As many more may wait for a request
        over HTTP; beyond that, the one that waits longest is closed. Defaults to 2048.
    call_timeout: :class:`float`
        How long a route may take when the caller named no shorter time, in seconds. Defaults to 60, twice the
        client's own timeout, so that it only ends what nobody waits for.
    grace_period: :class:`float`
        How long :meth:`Server.terminate_server` waits for routes in progress, in seconds. Defaults to 5, half of
        what container runtimes give before they kill.
    heartbeat: :class:`float`
        After so many seconds of silence at the latest a client is asked for a sign of life; after half as many more
        without one its connection is given up. Defaults to 20.
    handshake_timeout: :class:`float`
        How long a new connection may take to send its first request, and then to say what it is, in seconds.
        Defaults to 5.
    backlog_bytes: :class:`int`
        How many bytes of answers may wait for one client that reads slowly before no more of its calls are read.
        Defaults to 8 MiB.
    retained_bytes: :class:`int`
        How many bytes that a client has not acknowledged are kept to be sent again after a cut. Beyond it a cut loses
        that client's calls in progress. Defaults to 8 MiB, twice the largest message.

        .. versionadded:: 1.1
    resume_timeout: :class:`float`
        How long a client whose connection broke may stay away and still find its calls, streams and subscriptions, in
        seconds. Defaults to 10, twice the time after which clients give their calls up.

        .. versionadded:: 1.1
    resume_conversations: :class:`int`
        How many clients may be away at a time; the one that is away longest is dropped first. Defaults to 256.

        .. versionadded:: 1.1
    event_backlog: :class:`int`
        How many events may wait for one subscriber that reads slowly; then some are lost to it, and it is told.
        Defaults to 1024.

        .. versionadded:: 1.1
    event_backlog_bytes: :class:`int`
        The same in bytes. Defaults to 4 MiB.

        .. versionadded:: 1.1
    event_replay: :class:`int`
        How many events of each name are kept for subscribers that come back. Defaults to 1024.

        .. versionadded:: 1.1
    event_replay_bytes: :class:`int`
        The same in bytes. Defaults to 4 MiB.

        .. versionadded:: 1.1
    event_replay_timeout: :class:`float`
        For how long events of a name are kept after its last subscriber has gone, in seconds. Defaults to 300. Until
        somebody subscribes, nothing is kept.

        .. versionadded:: 1.1
    """

    message_bytes: int = DEFAULT_MESSAGE_BYTES
    calls: int = 1024
    call_bytes: int = 32 * 1024 * 1024
    connections: int = 2048
    call_timeout: float = 60.0
    grace_period: float = 5.0
    heartbeat: float = 20.0
    handshake_timeout: float = 5.0
    backlog_bytes: int = 8 * 1024 * 1024
    retained_bytes: int = DEFAULT_RETAINED_BYTES
    resume_timeout: float = 10.0
    resume_conversations: int = 256
    event_backlog: int = 1024
    event_backlog_bytes: int = 4 * 1024 * 1024
    event_replay: int = 1024
    event_replay_bytes: int = 4 * 1024 * 1024
    event_replay_timeout: float = 300.0
