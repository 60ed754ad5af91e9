"""All conversations of a server: greets clients, finds what they go on with, and forgets those who stay away."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from discord_tools.ipc._version import __version__
from discord_tools.ipc.errors import ErrorCodes, InvalidRequest
from discord_tools.ipc.limits import PACK_BYTES, ServerLimits
from discord_tools.ipc.transports.base import GOING_AWAY, PROTOCOL_ERROR, Closed, Transport
from discord_tools.ipc.wire.codec import Malformed, Unreadable, decode, encode, pack
from discord_tools.ipc.wire.frames import HELLO, ErrorObject, Frame, Grants, Hello, Id, Welcome
from discord_tools.ipc_server.conversation import Conversation

__all__ = ("Conversations",)

log = logging.getLogger(__name__)

AGENT = f"ipc-server/{__version__}"

#: So many calls in place of a hello are answered, each under its id; a message may hold 100,000 of them.
MAX_REFUSED: Final = 16


class Conversations:
    """The conversations of one server.

    Parameters
    ----------
    make: Callable[[:class:`str`, :class:`Hello`], :class:`Conversation`]
        Makes a new conversation.
    ready: Callable[[], :class:`bool`]
        Tells whether the bot is ready.
    idempotent: Callable[[], List[:class:`str`]]
        Tells which routes may run twice.
    """

    def __init__(
        self,
        make: Callable[[str, Hello], Conversation],
        limits: ServerLimits,
        ready: Callable[[], bool],
        idempotent: Callable[[], list[str]],
    ) -> None:
        self._make = make
        self._limits = limits
        self._ready = ready
        self._idempotent = idempotent
        self._all: dict[str, Conversation] = {}
        #: Conversations whose client is away, with the timer that ends them; the longest away comes first.
        self._away: dict[str, asyncio.TimerHandle] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._draining = False
        self._drains = 0

    async def serve(self, transport: Transport) -> None:
        """Talks to one client over one connection, until that ends."""
        drains = self._drains
        greeting = await self._greeting(transport)
        if greeting is None:
            return
        if drains != self._drains:  # it began before all ended, and said hello too late to be among them
            await transport.close(GOING_AWAY, "the bot is shutting down")
            return
        number, hello = greeting
        conversation, resumed = self._find(hello)
        link = conversation.attach(transport)
        try:
            await transport.send(self._welcome(number, conversation, resumed))
            closed = await link.run()
        except Closed as error:
            closed = error
        finally:
            if conversation.detach(link):
                self._step_away(conversation)
            await transport.close(GOING_AWAY, "the connection is given up")
        (log.debug if closed.clean else log.info)("%s has gone: %s", conversation.client, closed.reason)

    async def _greeting(self, transport: Transport) -> tuple[Id, Hello] | None:
        if self._draining:
            await transport.close(GOING_AWAY, "the bot is shutting down")
            return None
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                return _hello(await transport.receive())
        except TimeoutError:
            log.info("A client said no hello within %g s", self._limits.handshake_timeout)
            await transport.close(PROTOCOL_ERROR, "no hello in time")
        except InvalidHello as error:
            log.warning("A client was turned away: %s", error)
            await self._turn_away(transport, error)
        except Closed as closed:
            log.debug("A client has gone before its hello: %s", closed.reason)
        return None

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
            await asyncio.gather(*(one.close(spared) for one in tuple(self._all.values())), *self._settling)
            self._all.clear()
            self._draining = False

    def _find(self, hello: Hello) -> tuple[Conversation, bool]:
        token = hello.session
        conversation = None if token is None else self._all.get(token)
        if conversation is not None and token is not None:
            if timer := self._away.pop(token, None):
                timer.cancel()
            if not conversation.over and conversation.take_up(hello.received):
                return conversation, True
            self._end(conversation, "it cannot go on")
        token = secrets.token_urlsafe(16)
        conversation = self._all[token] = self._make(token, hello)
        return conversation, False

    def _step_away(self, conversation: Conversation) -> None:
        if conversation.over or self._draining:
            self._end(conversation, "the client has gone")
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(
            self._limits.resume_timeout, self._end, conversation, "the client stayed away"
        )
        self._away[conversation.token] = timer
        if len(self._away) > self._limits.resume_conversations:
            self._end(self._all[next(iter(self._away))], "too many clients are away")

    def _end(self, conversation: Conversation, reason: str) -> None:
        if timer := self._away.pop(conversation.token, None):
            timer.cancel()
        conversation.end(reason)
        if not self._draining:  # which waits for the handlers itself
            settling = asyncio.get_running_loop().create_task(conversation.settle())
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)
        if self._all.get(conversation.token) is conversation and not self._draining:
            del self._all[conversation.token]

    def _welcome(self, number: Id, conversation: Conversation, resumed: bool) -> bytes:
        grants = Grants(self._limits.calls, self._limits.message_bytes)
        welcome = Welcome(
            server=AGENT,
            session=conversation.token,
            resumed=resumed,
            received=conversation.peer.received,
            heartbeat=self._limits.heartbeat,
            limits=grants,
            ready=self._ready(),
            idempotent=self._idempotent(),
        )
        return encode(Frame("2.0", number, result=Raw(encode(welcome))))

    async def _turn_away(self, transport: Transport, error: InvalidHello) -> None:
        said = ErrorObject(error.code, str(error))
        frames = [encode(Frame("2.0", number, error=said)) for number in error.numbers]
        try:
            for message in pack(frames, PACK_BYTES):
                await transport.send(message)
        except Closed:
            return
        await transport.close(PROTOCOL_ERROR, str(error))


class InvalidHello(Exception):
    """The first message of a client is no hello."""

    def __init__(self, reason: str, numbers: Sequence[Id] = (None,), code: int = InvalidRequest.code) -> None:
        super().__init__(reason)
        #: Whose calls are refused by this.
        self.numbers: Sequence[Id] = numbers
        self.code: int = code


def _hello(message: bytes | str) -> tuple[Id, Hello]:
    try:
        frames = decode(message)
    except Unreadable as error:
        raise InvalidHello(f"the message is not JSON: {error}", code=ErrorCodes.PARSE_ERROR) from None
    frame = frames[0] if len(frames) == 1 else None
    if frame is None or isinstance(frame, Malformed) or frame.id is UNSET or frame.method != HELLO:
        calls = [one.id for one in frames if isinstance(one, Frame) and one.id is not UNSET]
        raise InvalidHello(f"the first message must be one call of {HELLO}", calls[:MAX_REFUSED] or (None,))
    try:
        return frame.id, msgspec.json.decode(b"{}" if frame.params is UNSET else frame.params, type=Hello)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidHello(f"bad parameters of {HELLO}: {error}", (frame.id,)) from None
