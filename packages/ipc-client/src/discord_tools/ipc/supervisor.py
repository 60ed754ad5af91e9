"""Keeps one conversation with the bot going, over one connection after another, while the session is open."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Literal, TypeAlias

from discord_tools.ipc.connectors.base import Connector
from discord_tools.ipc.conversation import Conversation
from discord_tools.ipc.errors import ConnectError, IPCError, SessionClosed
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.transports.base import Closed, Transport

__all__ = ("State", "Supervisor")

log = logging.getLogger(__name__)

State: TypeAlias = Literal["connecting", "ready", "bot not ready", "lost", "closed"]


class Supervisor:
    """Connects, says hello, waits for the end of the connection, and connects again.

    It pauses between attempts: exponential back-off with full jitter, so that many dashboards do not come back to a
    restarted bot in the same instant. An attempt that fails for a reason that time does not heal, such as a wrong key,
    stops it; the next request starts it again.

    Parameters
    ----------
    connector: :class:`Connector`
        Opens the connections.
    conversation: Callable[[], Conversation]
        Makes the conversation, inside the event loop.
    connect_timeout: :class:`float`
        How long requests in progress outlive their connection, in seconds.
    """

    def __init__(
        self,
        connector: Connector,
        limits: ClientLimits,
        conversation: Callable[[], Conversation],
        connect_timeout: float,
    ) -> None:
        self._connector = connector
        self._limits = limits
        #: Makes the conversation.
        self._make = conversation
        self._connect_timeout = connect_timeout
        #: The conversation, from the first attempt on.
        self._conversation: Conversation | None = None
        #: Connects and runs the connection.
        self._task: asyncio.Task[None] | None = None
        #: Done with the next connection, or with what stopped the attempts.
        self._connected: asyncio.Future[None] | None = None
        #: Set after the first attempt.
        self._tried = asyncio.Event()
        #: Why the last attempt failed.
        self._failure: ConnectError | None = None
        #: Whether there has been a connection.
        self._was_connected = False
        #: Ends requests in progress, some time after the connection was lost.
        self._giving_up: asyncio.TimerHandle | None = None
        #: Whether the session was closed.
        self._closed = False

    @property
    def conversation(self) -> Conversation | None:
        """Optional[:class:`Conversation`]: The conversation, while it takes calls."""
        conversation = self._conversation
        return conversation if conversation is not None and conversation.usable else None

    @property
    def state(self) -> State:
        """:class:`str`: Connection state; see :attr:`ClientSession.state`."""
        if self._closed:
            return "closed"
        conversation = self.conversation
        if conversation is None:
            return "lost" if self._was_connected else "connecting"
        return "ready" if conversation.ready.is_set() else "bot not ready"

    def start(self) -> asyncio.Future[None]:
        """Starts connecting unless it runs already. The future is done with the next connection, or what stopped it."""
        idle = self._task is None or self._task.done()
        if self._connected is None or (idle and self._connected.done()):
            self._connected = asyncio.get_running_loop().create_future()
        if idle:
            self._tried = asyncio.Event()
            self._task = asyncio.create_task(self._run(), name="ipc session")
        return self._connected

    async def first_attempt(self) -> None:
        """Waits until one attempt has succeeded or failed.

        Raises
        ------
        Unauthorized
            The server does not accept the secret key.
        """
        connected = self.start()
        await self._tried.wait()
        if connected.done():
            connected.result()

    async def connected(self, timeout: float | None) -> Conversation:
        """Waits until the bot takes calls.

        Raises
        ------
        ConnectError
            It does not within ``timeout`` seconds.
        Unauthorized
            The server does not accept the secret key.
        SessionClosed
            The session was closed.
        """
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while (conversation := self.conversation) is None:
            if self._closed:
                raise SessionClosed
            left = None if end is None else end - loop.time()
            done, _ = await asyncio.wait((self.start(),), timeout=left)
            if not done:
                raise self._unreachable(timeout or 0) from self._failure
            done.pop().result()
        return conversation

    async def ready(self) -> None:
        """Waits until there is a connection and the bot is ready."""
        while self.state != "ready":
            conversation = await self.connected(None)
            await conversation.ready.wait()

    async def close(self) -> None:
        """Closes the connection and stops. What waits gets :exc:`SessionClosed`."""
        self._closed = True
        task, self._task = self._task, None
        self._fail(SessionClosed())
        self._tried.set()  # a task that is cancelled before its first step does not set it
        if self._giving_up is not None:
            self._giving_up.cancel()
        conversation = self._conversation
        try:
            if conversation is not None:
                await conversation.close()
        finally:
            # Even if closing is cancelled: nothing else would end it.
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
                    return  # close() would cancel an attempt, but that may leave an unused connection at the server
                level = logging.INFO if closed.clean else logging.WARNING
                conversation.log.log(level, "Lost the bot: %.500s", closed.reason)
                self._giving_up = loop.call_later(self._connect_timeout, self._give_up, conversation)
                # A server that accepts and closes at once deserves the same pauses as one that refuses.
                attempt = 0 if useful else attempt + 1
            except ConnectError as error:
                attempt += 1
                self._failure = error
                log.log(logging.WARNING if attempt == 1 else logging.DEBUG, "%s; trying again", error)
            except IPCError as error:
                log.error("%s; the next request tries again", error)
                conversation.give_up(error)  # requests that may have run get an error that says so
                conversation.end(error)
                self._fail(error)
                return
            except Exception:
                # A bug in this library must not leave the session without a connection.
                attempt += 1
                log.exception("The connection to the bot at %s failed", self._connector.label)
            finally:
                self._tried.set()
            await asyncio.sleep(self._pause(attempt))

    async def _connect(self, conversation: Conversation) -> tuple[Closed, bool]:
        """One connection from the attempt to the end, and whether anything was received over it."""
        transport = await self._connector.connect()
        try:
            await self._shake_hands(conversation, transport)
            connection = conversation.attach(transport, self._connector.label)
            self._succeed(conversation)
            received = conversation.received
            closed = await conversation.carry(connection)
            return closed, conversation.received > received
        finally:
            await transport.close()

    async def _shake_hands(self, conversation: Conversation, transport: Transport) -> None:
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                await transport.send(conversation.hello())
                conversation.welcomed(await transport.receive())
        except (Closed, TimeoutError) as error:
            failure = self._connector.failure("the connection ended before the server said hello")
            self._connector.forget()
            raise failure from error

    def _succeed(self, conversation: Conversation) -> None:
        self._failure = None
        if self._giving_up is not None:
            self._giving_up.cancel()
        conversation.log.info("Connected to the bot")
        self._was_connected = True
        self._tried.set()
        if self._connected is not None and not self._connected.done():
            self._connected.set_result(None)
        self._connected = asyncio.get_running_loop().create_future()

    def _give_up(self, conversation: Conversation) -> None:
        conversation.give_up(self._unreachable(self._connect_timeout))

    def _fail(self, error: IPCError) -> None:
        connected = self._connected
        if connected is not None and not connected.done():
            connected.set_exception(error)
            connected.exception()  # perhaps nobody waits, which is not a fault

    def _unreachable(self, seconds: float) -> ConnectError:
        last = self._failure
        if last is None:
            return self._connector.failure(f"no connection within {seconds:g} s")
        return type(last)(last.host, last.port, f"{last.reason} (tried for {seconds:g} s)", last.address)

    def _pause(self, attempt: int) -> float:
        longest = self._limits.backoff_initial * 2 ** min(max(attempt - 1, 0), 32)
        return random.uniform(0, min(self._limits.backoff_max, longest))
