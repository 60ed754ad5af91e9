"""All conversations of a server: shakes hands, resumes, and drops those whose clients stay away."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from discord_tools.ipc._version import __version__
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.tasks import complete
from discord_tools.ipc.transports.base import GOING_AWAY, POLICY, PROTOCOL_ERROR, Closed, Transport
from discord_tools.ipc.wire.frames import Id
from discord_tools.ipc.wire.handshake import (
    ACTING_AS,
    Grants,
    Hello,
    InvalidHello,
    Welcome,
    decode_hello,
    encode_refusal,
    encode_welcome,
)
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.conversation import Conversation
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.keys import REVOKED

__all__ = ("Conversations",)

log = logging.getLogger(__name__)

AGENT: Final = f"ipc-server/{__version__}"


class Conversations:
    """The conversations of one server.

    Parameters
    ----------
    make: Callable[[:class:`str`, :class:`Hello`, :class:`Caller`], :class:`Conversation`]
        Makes a new conversation.
    gate: :class:`Gate`
        Compares callers with the keys as they are now, and logs what clients can cause any number of times.
    ready: Callable[[], :class:`bool`]
        Returns whether the bot is ready.
    idempotent: Callable[[:class:`Caller`], List[:class:`str`]]
        Returns the routes that may run twice, of those that a caller's key opens.
    """

    def __init__(
        self,
        make: Callable[[str, Hello, Caller], Conversation],
        gate: Gate,
        limits: ServerLimits,
        ready: Callable[[], bool],
        idempotent: Callable[[Caller], list[str]],
    ) -> None:
        self._make = make
        #: Logs what clients can cause any number of times.
        self._incidents = gate.incidents
        self._limits = limits
        self._ready = ready
        self._idempotent = idempotent
        #: Returns a caller with what its key opens now, or ``None`` if the key is not accepted any more.
        self._renewed = gate.renewed
        #: All conversations by their tokens.
        self._all: dict[str, Conversation] = {}
        #: Conversations whose clients are away, with the timers that end them; the longest away comes first.
        self._away: dict[str, asyncio.TimerHandle] = {}
        #: Tasks that wait for the handlers of conversations that have ended.
        self._ending: set[asyncio.Task[None]] = set()
        #: Whether all conversations are being ended.
        self._draining = False
        #: Number of times that this was done.
        self._drains = 0

    async def serve(self, transport: Transport, caller: Caller) -> None:
        """Serves one connection until it ends."""
        drains = self._drains
        shaken = await self._shake_hands(transport, caller)
        if shaken is None:
            return
        if drains != self._drains:  # all conversations ended before this hello, which could not be among them
            await transport.close(GOING_AWAY, "the bot is shutting down")
            return
        renewed = self._renewed(caller)
        if renewed is None:  # the key was revoked since the handshake
            await transport.close(POLICY, REVOKED)
            return
        caller = renewed
        number, hello = shaken
        conversation, resumed = self._find(hello, caller)
        connection = conversation.attach(transport)
        try:
            await transport.send(self._welcome(number, conversation, resumed))
            closed = await connection.run()
        except Closed as error:
            closed = error
        finally:
            if conversation.detach(connection):
                self._step_away(conversation)
            await transport.close(GOING_AWAY, "the connection was closed")
        text, label = "The connection has ended: %.500r", connection.log.label
        if closed.clean:
            connection.log.debug(text, closed.reason)
        else:
            # Clients can cause it any number of times.
            level = logging.INFO
            self._incidents.warning(caller.account_label, text, closed.reason, label=label, level=level)

    def compare_callers(self) -> None:
        """Ends the conversations whose keys are not accepted any more, and what the other keys do not open any more.

        A route that has changed the keys is not cancelled.
        """
        spared = {task for task in (asyncio.current_task(),) if task is not None}
        for conversation in tuple(self._all.values()):
            caller = self._renewed(conversation.caller)
            if caller is None:
                conversation.revoke(REVOKED, spared)
                self._end(conversation, REVOKED)
            elif caller is not conversation.caller:
                conversation.welcomed(caller)

    def tell_ready(self, ready: bool) -> None:
        """Tells every client whether the bot is ready."""
        for conversation in tuple(self._all.values()):
            conversation.tell_ready(ready)

    async def drain(self, spared: Collection[asyncio.Task[Any]]) -> None:
        """Ends all conversations. Cancelling it ends the waiting for calls; the rest is done all the same."""
        self._draining = True
        self._drains += 1
        for timer in self._away.values():
            timer.cancel()
        self._away.clear()
        try:
            await asyncio.gather(*(one.drain(spared) for one in tuple(self._all.values())))
        finally:
            await complete(self._close(spared))

    async def _close(self, spared: Collection[asyncio.Task[Any]]) -> None:
        try:
            await asyncio.gather(*(one.close(spared) for one in tuple(self._all.values())), *self._ending)
        finally:
            self._all.clear()
            self._draining = False

    async def _shake_hands(self, transport: Transport, caller: Caller) -> tuple[Id, Hello] | None:
        if self._draining:
            await transport.close(GOING_AWAY, "the bot is shutting down")
            return None
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                return decode_hello(await transport.receive())
        except TimeoutError:
            text = "No hello in time"
            self._incidents.warning(caller.account_label, text, label=caller.label, level=logging.INFO)
            await transport.close(PROTOCOL_ERROR, "no hello in time")
        except InvalidHello as error:
            text = "Refused a hello: %.500r"
            self._incidents.warning(caller.account_label, text, str(error), label=caller.label)
            await self._refuse(transport, error)
        except Closed as closed:
            log.debug("[%s] The client closed before its hello: %.500r", caller.label, closed.reason)
        return None

    def _find(self, hello: Hello, caller: Caller) -> tuple[Conversation, bool]:
        """Returns the conversation that a hello resumes, or else a new one."""
        token = hello.session
        conversation = None if token is None else self._all.get(token)
        # A conversation belongs to the key that opened it: with another key, its token is not known.
        if conversation is not None and conversation.caller.identity == caller.identity:
            if timer := self._away.pop(conversation.token, None):
                timer.cancel()
            if not conversation.over and conversation.resume(hello.received):
                conversation.welcomed(caller)
                return conversation, True
            self._end(conversation, "it cannot be resumed")
        token = secrets.token_urlsafe(16)
        conversation = self._all[token] = self._make(token, hello, caller)
        return conversation, False

    def _step_away(self, conversation: Conversation) -> None:
        """Keeps a conversation without a connection for a while."""
        if conversation.over or self._draining:
            self._end(conversation, "the client has disconnected")
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(
            self._limits.resume_timeout, self._end, conversation, "the client stayed away"
        )
        self._away[conversation.token] = timer
        if len(self._away) > self._limits.connections:
            self._end(self._all[next(iter(self._away))], "too many clients are away")

    def by_absence(self) -> Iterator[Conversation]:
        """All conversations, those whose clients are away for longest first."""
        for token in self._away:
            yield self._all[token]
        for token, conversation in self._all.items():
            if token not in self._away:
                yield conversation

    def _end(self, conversation: Conversation, reason: str) -> None:
        if timer := self._away.pop(conversation.token, None):
            timer.cancel()
        conversation.end(reason)
        if not self._draining:  # otherwise drain() waits for the handlers
            ending = asyncio.get_running_loop().create_task(conversation.wait_for_handlers())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        if self._all.get(conversation.token) is conversation and not self._draining:
            del self._all[conversation.token]

    def _welcome(self, number: Id, conversation: Conversation, resumed: bool) -> bytes:
        welcome = Welcome(
            server=AGENT,
            session=conversation.token,
            resumed=resumed,
            received=conversation.received,
            heartbeat=self._limits.heartbeat,
            limits=Grants(self._limits.calls, self._limits.message_bytes),
            ready=self._ready(),
            idempotent=self._idempotent(conversation.caller),
            features=[ACTING_AS],
        )
        return encode_welcome(number, welcome)

    async def _refuse(self, transport: Transport, error: InvalidHello) -> None:
        try:
            for message in encode_refusal(error):
                await transport.send(message)
        except Closed:
            return
        await transport.close(PROTOCOL_ERROR, str(error))
