"""Requests to Discord for objects that the bot has not cached: one at a time for an object, and few in all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import aiohttp

from discord_tools.ipc.errors import FetchFailed, Overloaded
from discord_tools.ipc_server.forks import discord
from discord_tools.ipc_server.remembered import remember

__all__ = ("MISS", "Fetcher", "Key")

#: Maximum number of requests to Discord in progress, of all calls together: its rate limits are for the whole bot.
IN_FLIGHT: Final = 10

#: Maximum number of objects that are fetched for one call.
PER_CALL: Final = 25

#: Maximum number of objects that are being fetched or wait for it, of all calls together.
WAITING: Final = 1000

#: Seconds after which a request to Discord fails. discord.py itself retries and waits for rate limits.
FETCH_TIMEOUT: Final = 10.0

#: Seconds for which an id that Discord does not know is not asked for again.
MISS_PERIOD: Final = 60.0

#: Maximum number of such ids that are remembered; the oldest are forgotten first.
MISSES: Final = 10_000

#: What is fetched: the name of its class, and ids.
Key: TypeAlias = tuple[str, "int | str", "int | str"]

#: Outcome of a request: Discord has no such object.
MISS: Final = object()


class _Fetch:
    """A request to Discord, and how many calls wait for it."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        #: Number of calls that wait for its outcome.
        self.waiters = 0


class Fetcher:
    """Fetches objects for all calls of a server.

    Parameters
    ----------
    clock: Callable[[], :class:`float`]
        Seconds, for the time for which misses are remembered. Defaults to :func:`time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: The requests in progress and those that wait.
        self._running: dict[Key, _Fetch] = {}
        #: When a miss is forgotten, oldest first.
        self._misses: dict[Key, float] = {}
        #: Limits the requests in progress.
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    def is_miss(self, key: Key) -> bool:
        """Whether Discord did not know this object within the last minute."""
        until = self._misses.get(key)
        if until is None:
            return False
        if self._clock() < until:
            return True
        del self._misses[key]
        return False

    async def fetch(self, wanted: Mapping[Key, Callable[[], Awaitable[Any]]], fetched: int) -> dict[Key, Any]:
        """Fetches objects for one call, which has fetched a number of others already.

        Cancelling it is safe: requests that other calls wait for go on, and the rest is cancelled.

        Returns
        -------
        Dict[Key, Any]
            The objects. :data:`MISS` stands for one that does not exist.

        Raises
        ------
        Overloaded
            The call needs too many objects, or too many calls wait for theirs. Nothing was requested.
        FetchFailed
            Discord did not answer, or answered with an error.
        """
        count = len(wanted) + fetched
        if count > PER_CALL:
            raise Overloaded(
                f"the data has the ids of {count} objects that have to be fetched from Discord; "
                f"a call may have {PER_CALL}: send less at a time"
            )
        new = sum(key not in self._running for key in wanted)
        if len(self._running) + new > WAITING:
            raise Overloaded("too many objects are being fetched from Discord: try again later")
        joined = {key: self._join(key, request) for key, request in wanted.items()}
        try:
            # Unlike gather(), it does not cancel what it waits for.
            pending = {one.task for one in joined.values()}
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if isinstance(failure := task.result(), FetchFailed):
                        # Each call has its own exception.
                        raise FetchFailed(failure.message, data=failure.data) from failure.__cause__
            return {key: one.task.result() for key, one in joined.items()}
        finally:
            for key, one in joined.items():
                self._leave(key, one)

    def _join(self, key: Key, request: Callable[[], Awaitable[Any]]) -> _Fetch:
        fetch = self._running.get(key)
        if fetch is None:
            task = asyncio.create_task(self._run(key, request), name=f"ipc fetches a {key[0]}")
            fetch = self._running[key] = _Fetch(task)
        fetch.waiters += 1
        return fetch

    def _leave(self, key: Key, fetch: _Fetch) -> None:
        fetch.waiters -= 1
        if not fetch.waiters:
            # At once: a call that comes before the task has ended must not get its cancellation.
            if self._running.get(key) is fetch:
                del self._running[key]
            fetch.task.cancel()

    async def _run(self, key: Key, request: Callable[[], Awaitable[Any]]) -> Any:
        """Returns the outcome, failures included: an exception that no call waits for would be logged by asyncio."""
        async with self._slots:
            try:
                async with asyncio.timeout(FETCH_TIMEOUT):
                    outcome = await request()
            except Exception as error:
                outcome = _outcome(key, error)
        if outcome is MISS:
            remember(self._misses, key, self._clock() + MISS_PERIOD, MISSES)
        return outcome


def _outcome(key: Key, error: Exception) -> Any:
    """What an exception of a request to Discord means."""
    kind = key[0]
    if isinstance(error, discord.HTTPException):
        # Discord answers 400 for numbers that cannot be ids.
        if error.status in (400, 404):
            return MISS
        reason, status = f"Discord answered {error.status}", error.status
    elif isinstance(error, discord.RateLimited):
        reason, status = f"Discord's rate limit does not allow it for {error.retry_after:.1f} s", 429
    elif isinstance(error, TimeoutError):
        reason, status = f"Discord did not answer within {FETCH_TIMEOUT:g} s", None
    elif isinstance(error, (OSError, aiohttp.ClientError, discord.DiscordException)):
        reason, status = "Discord cannot be reached", None
    else:
        reason, status = f"the request to Discord failed with {type(error).__name__}", None
    failure = FetchFailed(f"cannot fetch a {kind}: {reason}", data={"kind": kind, "status": status})
    failure.__cause__ = error
    return failure
