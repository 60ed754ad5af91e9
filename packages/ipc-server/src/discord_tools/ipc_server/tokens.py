"""Asks Discord whose an access token is: few requests at a time, and their outcomes are remembered for a while."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Hashable
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeAlias

import aiohttp
import discord
import msgspec
from discord.http import Route
from msgspec import Struct

from discord_tools.ipc.errors import FetchFailed, Overloaded, RemoteError
from discord_tools.ipc.refusals import InvalidToken
from discord_tools.ipc.snowflakes import snowflake
from discord_tools.ipc_server.remembered import remember

__all__ = ("TokenUser", "Verifier")

#: Maximum number of requests in progress, of all calls together.
IN_FLIGHT: Final = 10

#: Maximum number of different tokens that are being verified or wait for it: of one caller, and of all together.
WAITING_PER_CALLER: Final = 250
WAITING: Final = 1000

#: Seconds after which a request fails. The deadline of the call may come earlier.
VERIFY_TIMEOUT: Final = 10.0

#: Seconds for which the user of a token is remembered. A token that is revoked works for that long.
ACCEPTED_PERIOD: Final = 300.0

#: Seconds for which a token that Discord does not accept is not shown to it again.
REFUSED_PERIOD: Final = 30.0

#: Maximum number of tokens that are remembered; the oldest are forgotten first.
REMEMBERED: Final = 10_000

#: Maximum number of tokens in a minute that Discord refuses, of one caller and of all together, after which no more are
#: shown to it. It locks addresses out that make 10,000 refused requests in ten minutes, and the bot would be with them.
REFUSED_PER_CALLER: Final = 60
REFUSED_PER_MINUTE: Final = 300

#: Maximum number of seconds for which a rate limit of Discord is believed.
MAX_RETRY_AFTER: Final = 60.0

#: Maximum size of an answer, in bytes. A user takes about 500.
ANSWER_BYTES: Final = 64 * 1024


class _User(Struct):
    """What is read of Discord's answer."""

    id: str
    username: str = ""


#: Why Discord does not accept a token, by the status of its answer.
_REASONS: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "it has expired, was revoked, or never was one",
    HTTPStatus.FORBIDDEN: "it was given without the scope 'identify'",
}

_decode = msgspec.json.Decoder(_User).decode


class TokenUser(NamedTuple):
    """The user of an access token."""

    id: int
    name: str


class _Refusal(NamedTuple):
    """Why a token was not accepted, as an error for each call."""

    make: type[RemoteError]
    message: str
    data: Any = None
    #: Seconds for which it is remembered.
    period: float = 0.0

    def error(self) -> RemoteError:
        return self.make(self.message, data=self.data)


Outcome: TypeAlias = "TokenUser | _Refusal"


class _Check:
    """A request in progress, and how many calls wait for it."""

    def __init__(self, caller: Hashable, task: asyncio.Task[Outcome]) -> None:
        self.caller = caller
        self.task = task
        #: Number of calls that wait for its outcome.
        self.waiters = 0


class Verifier:
    """Finds the users of access tokens, for all calls of a server.

    It keeps no token, but a digest with a salt of its own.

    Parameters
    ----------
    client: :class:`discord.Client`
        The bot, whose connections to Discord are used.
    clock: Callable[[], :class:`float`]
        Seconds, for what is remembered. Defaults to :func:`time.monotonic`.
    """

    def __init__(self, client: discord.Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        #: Makes digests that nobody can compare with others.
        self._salt = secrets.token_bytes(16)
        #: Outcomes by digest, and until when they count, oldest first.
        self._known: dict[bytes, tuple[Outcome, float]] = {}
        #: Requests in progress and those that wait, by digest.
        self._running: dict[bytes, _Check] = {}
        #: The number of them, by caller.
        self._by_caller: Counter[Hashable] = Counter()
        #: Tokens that were refused in the present minute, by caller.
        self._refused: Counter[Hashable] = Counter()
        #: When that minute ends.
        self._minute_ends = 0.0
        #: Limits the requests in progress.
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    async def verify(self, token: str, caller: Hashable) -> TokenUser:
        """Returns the user of a token. Cancelling it is safe: requests that other calls wait for go on.

        Raises
        ------
        InvalidToken
            Discord does not accept the token.
        FetchFailed
            Discord did not answer, or answered with an error.
        Overloaded
            Too many tokens are being verified, or were refused lately, or Discord's rate limit is reached.
        """
        digest = hashlib.blake2b(token.encode(), key=self._salt, digest_size=16).digest()
        outcome, until = self._known.get(digest, (None, 0.0))
        if outcome is None or self._clock() >= until:
            check = self._running.get(digest) or self._begin(digest, token, caller)
            check.waiters += 1
            try:
                await asyncio.wait((check.task,))
                outcome = check.task.result()
            finally:
                self._leave(digest, check)
        if isinstance(outcome, _Refusal):
            raise outcome.error()
        return outcome

    def _begin(self, digest: bytes, token: str, caller: Hashable) -> _Check:
        if len(self._running) >= WAITING or self._by_caller[caller] >= WAITING_PER_CALLER:
            raise Overloaded("too many access tokens are being verified: try again later")
        if self._clock() >= self._minute_ends:
            self._minute_ends = self._clock() + 60.0
            self._refused.clear()
        if self._refused[caller] >= REFUSED_PER_CALLER or self._refused.total() >= REFUSED_PER_MINUTE:
            left = max(0.0, self._minute_ends - self._clock())
            raise Overloaded(
                f"Discord has refused too many access tokens: try again in {left:.0f} s",
                data={"retry_after": left},
            )
        task = asyncio.create_task(self._run(digest, token, caller), name="ipc verifies a token")
        check = self._running[digest] = _Check(caller, task)
        self._by_caller[caller] += 1
        return check

    def _leave(self, digest: bytes, check: _Check) -> None:
        check.waiters -= 1
        if check.waiters:
            return
        # At once: a call that comes before the task has ended must not get its cancellation.
        if self._running.get(digest) is check:
            del self._running[digest]
            self._by_caller[check.caller] -= 1
            if not self._by_caller[check.caller]:
                del self._by_caller[check.caller]
        check.task.cancel()

    async def _run(self, digest: bytes, token: str, caller: Hashable) -> Outcome:
        """Returns the outcome, refusals included: an exception that no call waits for would be logged by asyncio."""
        async with self._slots:
            try:
                async with asyncio.timeout(VERIFY_TIMEOUT):
                    outcome = await self._ask(token)
            except TimeoutError:
                outcome = _failed(f"Discord did not answer within {VERIFY_TIMEOUT:g} s", None)
            except (OSError, aiohttp.ClientError, ValueError):
                # ValueError: a proxy that cannot be used. The text of none of them is sent, nor logged: it may quote
                # what was sent.
                outcome = _failed("Discord cannot be reached", None)
        if isinstance(outcome, TokenUser):
            self._remember(digest, outcome, ACCEPTED_PERIOD)
            return outcome
        if outcome.make is InvalidToken:
            self._refused[caller] += 1
        if outcome.period:
            self._remember(digest, outcome, outcome.period)
        return outcome

    def _remember(self, digest: bytes, outcome: Outcome, period: float) -> None:
        remember(self._known, digest, (outcome, self._clock() + period), REMEMBERED)

    async def _ask(self, token: str) -> Outcome:
        # The bot's own session sends the bot's token with each request, so this one only shares its connections. Its
        # trace is left out: it could write the header to a log.
        http = self._client.http
        # Before log-in the attribute is a sentinel of discord.py.
        connector: Any = http.connector
        if not isinstance(connector, aiohttp.BaseConnector) or connector.closed:
            return _failed("the bot is not logged in", None)
        headers = {"Authorization": f"Bearer {token}", "User-Agent": http.user_agent}
        async with (
            aiohttp.ClientSession(
                connector=connector, connector_owner=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.get(
                Route("GET", "/users/@me").url,
                headers=headers,
                proxy=http.proxy,
                proxy_auth=http.proxy_auth,
                allow_redirects=False,
            ) as answer,
        ):
            if answer.status == HTTPStatus.OK:
                return await _read_user(answer)
            if answer.status in _REASONS:
                return _Refusal(
                    InvalidToken,
                    f"Discord does not accept the access token: {_REASONS[answer.status]}",
                    period=REFUSED_PERIOD,
                )
            if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                return _limited(answer.headers.get("Retry-After", ""))
            return _failed(f"Discord answered {answer.status}", answer.status)


async def _read_user(answer: aiohttp.ClientResponse) -> Outcome:
    wrong = _failed("Discord's answer is not a user", HTTPStatus.OK)
    body = b""
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES:
            return wrong
    try:
        user = _decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return wrong
    number = snowflake(user.id)
    return TokenUser(number, user.username) if number > 0 else wrong


def _failed(reason: str, status: int | None) -> _Refusal:
    return _Refusal(
        FetchFailed, f"cannot verify the access token: {reason}", {"kind": "User", "status": status}
    )


def _limited(retry_after: str) -> _Refusal:
    try:
        seconds = min(max(float(retry_after), 0.0), MAX_RETRY_AFTER)
    except ValueError:
        seconds = 1.0
    if seconds != seconds:  # NaN
        seconds = 1.0
    return _Refusal(
        Overloaded,
        f"Discord's rate limit is reached: the access token can be verified in {seconds:.1f} s",
        {"retry_after": seconds},
        seconds,
    )
