"""Keeps one conversation with the bot going, over one connection after another, for as long as the session is open."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import aiohttp

from discord_tools.ipc.connectors.older import LegacyConnection
from discord_tools.ipc.connectors.websocket import OlderServer, WebSocketConnector
from discord_tools.ipc.conversation import Conversation
from discord_tools.ipc.errors import ConnectError, InvalidRequest, IPCError, SessionClosed
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.transports.base import Closed, Transport

__all__ = ("NO_STREAMS", "State", "Supervisor")

log = logging.getLogger(__name__)

NO_STREAMS: Final = "the bot runs a server of an older library, which has neither streams nor events"

State: TypeAlias = Literal["connecting", "ready", "bot not ready", "lost", "closed"]


class Supervisor:
    """Connects, says hello, watches, connects again.

    It pauses between attempts: exponential back-off with full jitter, so that many dashboards do not come back to a
    restarted bot in the same instant. An attempt that fails for a reason that time does not heal (a wrong key) ends
    it; the next request starts it again.

    Parameters
    ----------
    patience: :class:`float`
        How long requests in progress outlive their connection, in seconds.
    """

    def __init__(
        self,
        dialer: WebSocketConnector,
        http: Callable[[], aiohttp.ClientSession],
        limits: ClientLimits,
        conversation: Callable[[], Conversation],
        patience: float,
    ) -> None:
        self._dialer = dialer
        self._http = http
        self._limits = limits
        self._make = conversation
        self._patience = patience
        self._conversation: Conversation | None = None
        self._task: asyncio.Task[None] | None = None
        self._connected: asyncio.Future[None] | None = None
        self._tried = asyncio.Event()
        self._failure: ConnectError | None = None
        self._was_connected = False
        self._giving_up: asyncio.TimerHandle | None = None
        self._closed = False
        #: Stands in for the conversation while the bot runs a server of an older library.
        self._legacy: LegacyConnection | None = None

    @property
    def conversation(self) -> Conversation | None:
        """Optional[:class:`Conversation`]: The conversation, while it takes calls."""
        conversation = self._conversation
        return conversation if conversation is not None and conversation.usable else None

    @property
    def legacy(self) -> LegacyConnection | None:
        """Optional[:class:`LegacyConnection`]: The connection to an older server, while it takes calls."""
        legacy = self._legacy
        return legacy if legacy is not None and legacy.usable else None

    @property
    def state(self) -> State:
        """:class:`str`: How things stand."""
        if self._closed:
            return "closed"
        if self.legacy is not None:
            return "ready"  # as far as it can be told
        conversation = self.conversation
        if conversation is None:
            return "lost" if self._was_connected else "connecting"
        return "ready" if conversation.ready.is_set() else "bot not ready"

    def start(self) -> asyncio.Future[None]:
        """Starts connecting unless it runs already. The future is done with the next connection, or what ended it."""
        idle = self._task is None or self._task.done()
        if self._connected is None or (idle and self._connected.done()):
            self._connected = asyncio.get_running_loop().create_future()
        if idle:
            self._tried = asyncio.Event()
            self._task = asyncio.create_task(self._run(), name="ipc session")
        return self._connected

    async def first_attempt(self) -> None:
        """Waits until one attempt has ended, well or badly.

        Raises
        ------
        Unauthorized
            The server does not accept the secret key.
        """
        connected = self.start()
        await self._tried.wait()
        if connected.done():
            connected.result()

    async def connected(self, seconds: float | None) -> Conversation | LegacyConnection:
        """Waits until the bot takes calls.

        Raises
        ------
        ConnectError
            It does not after so many seconds.
        Unauthorized
            The server does not accept the secret key.
        SessionClosed
            The session was closed.
        """
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while (reached := self.conversation or self.legacy) is None:
            if self._closed:
                raise SessionClosed
            left = None if end is None else end - loop.time()
            done, _ = await asyncio.wait((self.start(),), timeout=left)
            if not done:
                raise self._unreachable(seconds or 0) from self._failure
            done.pop().result()
        return reached

    async def ready(self) -> None:
        """Waits until there is a connection and the bot is ready."""
        while self.state != "ready":
            reached = await self.connected(None)
            if isinstance(reached, Conversation):
                await reached.ready.wait()

    async def close(self) -> None:
        """Closes the connection and stops. Whatever waits gets :exc:`SessionClosed`."""
        self._closed = True
        task, self._task = self._task, None
        self._fail(SessionClosed())
        self._tried.set()  # a task that is cancelled before its first step does not come to it
        if self._giving_up is not None:
            self._giving_up.cancel()
        conversation, legacy = self._conversation, self._legacy
        try:
            if legacy is not None:
                await legacy.close("the session is closed")
            if conversation is not None:
                await conversation.close()
        finally:
            # Also where closing is cancelled: nobody else would end it.
            if conversation is not None:
                conversation.end(SessionClosed())
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))

    async def _run(self) -> None:
        attempt = 0
        loop = asyncio.get_running_loop()
        conversation = self._conversation
        if conversation is None:
            conversation = self._conversation = self._make()
        while True:
            try:
                closed, useful = await self._connect(conversation)
                if self._closed:
                    return  # close() would cancel a dial, but may leave the server a connection of nobody
                (log.info if closed.clean else log.warning)(
                    "Lost the bot at port %s: %s", self._dialer.port, closed.reason
                )
                self._giving_up = loop.call_later(self._patience, self._give_up, conversation)
                # A server that accepts and hangs up at once deserves the same pauses as one that refuses.
                attempt = 0 if useful else attempt + 1
            except ConnectError as error:
                attempt += 1
                self._failure = error
                (log.warning if attempt == 1 else log.debug)("%s; trying again", error)
            except IPCError as error:
                log.error("%s; the next request tries again", error)
                conversation.give_up(error)  # requests that may have run get an error that says so
                conversation.end(error)
                self._fail(error)
                return
            except Exception:
                # A fault of ours must not leave the session without a connection for ever.
                attempt += 1
                log.exception("The connection to the bot failed")
            finally:
                self._tried.set()
            await asyncio.sleep(self._pause(attempt))

    async def _connect(self, conversation: Conversation) -> tuple[Closed, bool]:
        """One connection, from the dial to the end, and whether anything came in over it."""
        reached = await self._dialer.dial(self._http())
        if isinstance(reached, OlderServer):
            # Whoever still waits for the bot that was here before would wait for ever.
            conversation.give_up(self._dialer.failure("the bot has gone back to an older library"))
            conversation.end(InvalidRequest(NO_STREAMS))
            return await self._use(reached), True
        try:
            await self._greet(conversation, reached)
            link = conversation.attach(reached)
            self._succeed()
            received = conversation.received
            closed = await conversation.carry(link)
            return closed, conversation.received > received
        finally:
            await reached.close()

    async def _use(self, server: OlderServer) -> Closed:
        """An older server, until it cannot be reached any more."""
        self._legacy = legacy = LegacyConnection(
            server.dial, self._dialer.host, server.port, self._dialer.secret_key, self._limits
        )
        try:
            self._succeed()
            return await legacy.run()
        finally:
            self._legacy = None

    async def _greet(self, conversation: Conversation, transport: Transport) -> None:
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                await transport.send(conversation.hello())
                conversation.welcomed(await transport.receive())
        except (Closed, TimeoutError) as error:
            failure = self._dialer.failure("the connection ended before the server said hello")
            self._dialer.forget()
            raise failure from error

    def _succeed(self) -> None:
        self._failure = None
        if self._giving_up is not None:
            self._giving_up.cancel()
        log.info("Connected to the bot at port %s", self._dialer.port)
        self._was_connected = True
        self._tried.set()
        if self._connected is not None and not self._connected.done():
            self._connected.set_result(None)
        self._connected = asyncio.get_running_loop().create_future()

    def _give_up(self, conversation: Conversation) -> None:
        conversation.give_up(self._unreachable(self._patience))

    def _fail(self, error: IPCError) -> None:
        connected = self._connected
        if connected is not None and not connected.done():
            connected.set_exception(error)
            connected.exception()  # it may be that nobody waits, which is no fault

    def _unreachable(self, seconds: float) -> ConnectError:
        last = self._failure
        if last is None:
            return self._dialer.failure(f"no connection within {seconds:g} s")
        return type(last)(last.host, last.port, f"{last.reason} (tried for {seconds:g} s)")

    def _pause(self, attempt: int) -> float:
        longest = min(self._limits.backoff_max, self._limits.backoff_initial * 2 ** min(max(attempt - 1, 0), 32))
        return random.uniform(0, longest)
