"""Keeps one connection to the bot alive, for as long as the session is open."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from discord_tools.ipc.connection import Connection
from discord_tools.ipc.dial import Dialer, OlderServer
from discord_tools.ipc.errors import ConnectError, IPCError, SessionClosed
from discord_tools.ipc.legacy import LegacyConnection
from discord_tools.ipc.limits import ClientLimits

__all__ = ("Supervisor",)

log = logging.getLogger(__name__)


class Supervisor:
    """Connects, says hello, watches, connects again.

    It pauses between attempts: exponential back-off with full jitter, so that many dashboards do not come back to a
    restarted bot in the same instant. An attempt that fails for a reason that time does not heal (a wrong key) ends
    it; the next request starts it again.
    """

    def __init__(
        self,
        dialer: Dialer,
        http: Callable[[], aiohttp.ClientSession],
        limits: ClientLimits,
        host: str,
        timeout: float | None,
        headers: Mapping[str, Any],
    ) -> None:
        self._dialer = dialer
        self._http = http
        self._limits = limits
        self._host = host
        self._timeout = timeout
        self._headers = headers
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Connection | LegacyConnection] | None = None
        self._tried: asyncio.Event = asyncio.Event()
        self._failure: ConnectError | None = None
        self.connection: Connection | LegacyConnection | None = None

    def start(self) -> asyncio.Future[Connection | LegacyConnection]:
        """Starts connecting unless it runs already. The future has the next usable connection, or what ended it."""
        if self._ready is None or (self._ready.done() and (self._task is None or self._task.done())):
            self._ready = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._tried = asyncio.Event()
            self._task = asyncio.create_task(self._run(), name="ipc session")
        return self._ready

    async def first_attempt(self) -> None:
        """Waits until one attempt has ended, well or badly.

        Raises
        ------
        Unauthorized
            The server does not accept the secret key.
        """
        ready = self.start()
        await self._tried.wait()
        if ready.done():
            ready.result()

    async def connected(self, seconds: float) -> Connection | LegacyConnection:
        """Waits for a usable connection.

        Raises
        ------
        ConnectError
            There is none after so many seconds.
        Unauthorized
            The server does not accept the secret key.
        """
        ready = self.start()
        done, _ = await asyncio.wait((ready,), timeout=seconds)
        if done:
            return ready.result()
        if self._failure is not None:
            last = self._failure
            raise type(last)(last.host, last.port, f"{last.reason} (tried for {seconds:g} s)") from last
        raise ConnectError(self._host, self._dialer.port or 0, f"no connection within {seconds:g} s")

    async def close(self) -> None:
        """Closes the connection and stops. Whoever waits gets :exc:`SessionClosed`."""
        task, self._task = self._task, None
        connection, self.connection = self.connection, None
        if self._ready is not None and not self._ready.done():
            self._fail(SessionClosed())
        self._tried.set()  # a task that is cancelled before its first step does not come to it
        try:
            if connection is not None:
                await connection.close("the session is closed")
        finally:
            # Also where closing is cancelled: nobody else would end it.
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))

    async def _run(self) -> None:
        attempt = 0
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._connect() as connection:
                    began = loop.time()
                    self._succeed(connection)
                    await connection.wait_until_leaving()
                    self.connection = None
                    self._ready = loop.create_future()
                    # A server that accepts and hangs up at once deserves the same pauses as one that refuses.
                    attempt = 0 if loop.time() - began > self._limits.backoff_max else attempt + 1
            except ConnectError as error:
                attempt += 1
                self._failure = error
                (log.warning if attempt == 1 else log.debug)("%s; trying again", error)
            except IPCError as error:
                self._fail(error)
                return
            except Exception:
                # A fault of ours must not leave the session without a connection for ever.
                attempt += 1
                log.exception("The connection to the bot failed")
            finally:
                self.connection = None
                self._tried.set()
            await asyncio.sleep(self._pause(attempt))

    @asynccontextmanager
    async def _connect(self) -> AsyncGenerator[Connection | LegacyConnection]:
        """A connection that said hello, carried by a task that ends with it."""
        reached = await self._dialer.dial(self._http())
        if isinstance(reached, OlderServer):
            connection = LegacyConnection(
                reached.dial, self._host, reached.port, self._dialer.secret_key, self._limits
            )
        else:
            connection = Connection(reached, self._limits)
        carrier = asyncio.create_task(connection.run(), name="ipc connection")
        try:
            await connection.hello(self._host, self._dialer.port or 0, self._timeout, self._headers)
            log.info("Connected to the bot at %s:%s", self._host, self._dialer.port)
            yield connection
            # Calls in progress may still be answered while the bot takes its leave.
            closed = await asyncio.shield(carrier)
            if self._task is not None:  # otherwise it is this session that closes
                (log.info if closed.clean else log.warning)(
                    "Lost the bot at %s: %s", self._host, closed.reason
                )
        finally:
            carrier.cancel()
            await asyncio.wait((carrier,))
            if not isinstance(reached, OlderServer):
                await reached.close()

    def _succeed(self, connection: Connection | LegacyConnection) -> None:
        self._failure = None
        self.connection = connection
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(connection)
        self._tried.set()

    def _fail(self, error: IPCError) -> None:
        ready = self._ready
        if ready is not None and not ready.done():
            ready.set_exception(error)
            ready.exception()  # it may be that nobody waits, which is no fault
        if not isinstance(error, SessionClosed):
            log.error("%s; the next request tries again", error)

    def _pause(self, attempt: int) -> float:
        longest = min(self._limits.backoff_max, self._limits.backoff * 2 ** min(max(attempt - 1, 0), 32))
        return random.uniform(0, longest)
