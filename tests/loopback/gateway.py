"""The gateway: sessions that outlive their socket, and the socket's side of IDENTIFY, RESUME and the rest."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from aiohttp import WSMsgType, web

from . import payloads
from .model import Guild, Member, World

HEARTBEAT_INTERVAL = 41_250
REPLAY_LIMIT = 1_000
CHUNK_SIZE = 1_000
CLOSE_TIMEOUT = 1.0

# The way to Discord and back, in seconds. discord.py notes in a thread when it has sent a heartbeat, after the fact: to
# an acknowledgement that comes before that it adds the whole interval, and calls 41 s the latency.
ROUND_TRIP = 0.05

GUILD_MEMBERS, GUILD_MODERATION, GUILD_MESSAGES, GUILD_REACTIONS = 1 << 1, 1 << 2, 1 << 9, 1 << 10
AUTO_MODERATION_EXECUTION = 1 << 21
INTENT_OF = {
    "AUTO_MODERATION_ACTION_EXECUTION": AUTO_MODERATION_EXECUTION,
    "GUILD_AUDIT_LOG_ENTRY_CREATE": GUILD_MODERATION,
    "GUILD_BAN_ADD": GUILD_MODERATION,
    "GUILD_MEMBER_ADD": GUILD_MEMBERS,
    "GUILD_MEMBER_REMOVE": GUILD_MEMBERS,
    "GUILD_MEMBER_UPDATE": GUILD_MEMBERS,
    "MESSAGE_CREATE": GUILD_MESSAGES,
    "MESSAGE_DELETE": GUILD_MESSAGES,
    "MESSAGE_DELETE_BULK": GUILD_MESSAGES,
    "MESSAGE_REACTION_ADD": GUILD_REACTIONS,
    "MESSAGE_REACTION_REMOVE_ALL": GUILD_REACTIONS,
    "MESSAGE_UPDATE": GUILD_MESSAGES,
}


class Op(IntEnum):
    """The gateway's opcodes."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE_UPDATE = 3
    VOICE_STATE_UPDATE = 4
    RESUME = 6
    REQUEST_GUILD_MEMBERS = 8
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


class CloseCode(IntEnum):
    """The gateway's close codes that are used here."""

    UNKNOWN_ERROR = 4000
    UNKNOWN_OPCODE = 4001
    NOT_AUTHENTICATED = 4003
    AUTHENTICATION_FAILED = 4004
    ALREADY_AUTHENTICATED = 4005
    INVALID_SHARD = 4010


class Session:
    """The events of one shard of one bot, in order, whether or not a socket is there to take them."""

    def __init__(self, session_id: str, *, intents: int, shard: tuple[int, int] | None) -> None:
        self.id = session_id
        self.intents = intents
        self.shard = shard
        self.connection: Connection | None = None
        self._sequence = 0
        self._unsent: deque[tuple[int, str]] = deque()
        self._sent: deque[tuple[int, str]] = deque(maxlen=REPLAY_LIMIT)
        self._news = asyncio.Event()

    def sees(self, guild: Guild) -> bool:
        """Whether the events of that guild belong to this shard."""
        return self.shard is None or guild.shard_id(self.shard[1]) == self.shard[0]

    def dispatch(self, event: str, data: Mapping[str, Any]) -> None:
        """Queues an event, written out here and now: later changes of the model stay out of it."""
        needed = INTENT_OF.get(event, 0)
        if self.intents & needed != needed:
            return
        self._sequence += 1
        frame = {"op": Op.DISPATCH, "s": self._sequence, "t": event, "d": data}
        self._unsent.append((self._sequence, json.dumps(frame)))
        self._news.set()

    def is_stale(self) -> bool:
        """Whether the bot stayed away for so long that a RESUME could not catch up."""
        return self.connection is None and len(self._unsent) > REPLAY_LIMIT

    def rewind(self, sequence: int) -> bool:
        """Makes the events after ``sequence`` unsent again; ``False`` if they are no longer known."""
        first_known = self._sent[0][0] if self._sent else self._sequence - len(self._unsent) + 1
        if not first_known - 1 <= sequence <= self._sequence:
            return False
        self._unsent.extendleft(reversed([entry for entry in self._sent if entry[0] > sequence]))
        self._sent.clear()
        return True

    async def pump(self, socket: web.WebSocketResponse) -> None:
        """Writes events to the socket until that is lost. The only writer of events, so their order holds."""
        while True:
            while self._unsent:
                entry = self._unsent.popleft()
                # Before the write: an event that a cut swallows half-way must be there to be replayed.
                self._sent.append(entry)
                try:
                    await socket.send_str(entry[1])
                except ConnectionError:
                    return
            self._news.clear()
            await self._news.wait()


class Connection:
    """One socket from a bot."""

    def __init__(self, gateway: Gateway, request: web.Request) -> None:
        self._gateway = gateway
        self._request = request
        self._socket = web.WebSocketResponse(timeout=CLOSE_TIMEOUT)
        self._session: Session | None = None
        self._pump: asyncio.Task[None] | None = None
        self._acknowledging: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Makes the HTTP request a WebSocket."""
        await self._socket.prepare(self._request)

    async def serve(self) -> web.WebSocketResponse:
        """Talks to the bot until either side ends it."""
        try:
            await self._send(Op.HELLO, {"heartbeat_interval": HEARTBEAT_INTERVAL})
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(json.loads(message.data))
        except ConnectionError:
            pass
        finally:
            session = self._session
            self._detach()
            for task in self._acknowledging:
                task.cancel()
            # A bot that closes with 1000 or 1001 will not come back; after any other end it may RESUME.
            # Client.close() of discord.py ends up sending 4000, so most sessions stay until they are stale.
            if session is not None and self._socket.close_code in (1000, 1001):
                self._gateway.forget(session)
        return self._socket

    async def close(self) -> None:
        """Ends the socket with a close frame from which discord.py comes back."""
        self._detach()
        await self._socket.close(code=CloseCode.UNKNOWN_ERROR)

    def abort(self) -> None:
        """Ends the socket without a close frame."""
        self._detach()
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _send(self, op: Op, data: object = None) -> None:
        await self._socket.send_str(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    async def _receive(self, frame: dict[str, Any]) -> None:
        op, data = frame["op"], frame.get("d")
        if op == Op.HEARTBEAT:
            # What comes meanwhile, such as the IDENTIFY right after the first heartbeat, need not wait for it.
            task = asyncio.create_task(self._acknowledge(), name="loopback heartbeat")
            self._acknowledging.add(task)
            task.add_done_callback(self._acknowledging.discard)
            self._gateway.tasks.add(task)
        elif op in (Op.IDENTIFY, Op.RESUME):
            await self._authenticate(op, data or {})
        elif self._session is None:
            await self._socket.close(code=CloseCode.NOT_AUTHENTICATED)
        elif op == Op.REQUEST_GUILD_MEMBERS:
            self._gateway.send_chunks(self._session, data or {})
        elif op not in (Op.PRESENCE_UPDATE, Op.VOICE_STATE_UPDATE):
            await self._socket.close(code=CloseCode.UNKNOWN_OPCODE)

    async def _acknowledge(self) -> None:
        await asyncio.sleep(ROUND_TRIP)
        # The bot may have disconnected, which reading from it notices.
        with contextlib.suppress(ConnectionError):
            await self._send(Op.HEARTBEAT_ACK)

    async def _authenticate(self, op: Op, data: dict[str, Any]) -> None:
        if self._session is not None:
            await self._socket.close(code=CloseCode.ALREADY_AUTHENTICATED)
        elif data["token"] != self._gateway.token:
            await self._socket.close(code=CloseCode.AUTHENTICATION_FAILED)
        elif op == Op.RESUME:
            session = self._gateway.resume(data["session_id"], data["seq"])
            if session is None:
                await self._send(Op.INVALID_SESSION, data=False)
            else:
                self._attach(session)
        else:
            shard: list[int] | None = data.get("shard")
            if shard is not None and not 0 <= shard[0] < shard[1]:
                await self._socket.close(code=CloseCode.INVALID_SHARD)
            else:
                self._attach(self._gateway.identify(data["intents"], (shard[0], shard[1]) if shard else None))

    def _attach(self, session: Session) -> None:
        if session.connection is not None:
            # The bot gave up on a socket that this side still believes in.
            session.connection.abort()
        self._session, session.connection = session, self
        self._pump = asyncio.create_task(session.pump(self._socket), name=f"loopback gateway {session.id}")
        self._gateway.tasks.add(self._pump)

    def _detach(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        if self._session is not None and self._session.connection is self:
            self._session.connection = None
        self._session = None


class Gateway:
    """All sessions and sockets, and the counters that tests look at."""

    def __init__(self, world: World, token: str, changed: Callable[[], None]) -> None:
        self.token = token
        self.identifies = 0
        self.resumes = 0
        self.tasks: weakref.WeakSet[asyncio.Task[None]] = weakref.WeakSet()
        self._world = world
        self._changed = changed
        self._numbers = itertools.count(1)
        self._sessions: dict[str, Session] = {}
        self._connections: set[Connection] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The route ``GET /``, which is all that a gateway URL has."""
        connection = Connection(self, request)
        await connection.open()
        self._connections.add(connection)
        try:
            return await connection.serve()
        finally:
            self._connections.discard(connection)

    def dispatch(self, event: str, guild: Guild, data: Mapping[str, Any]) -> None:
        """Queues an event for every session whose shard has the guild."""
        for session in tuple(self._sessions.values()):
            if session.sees(guild):
                session.dispatch(event, data)
            if session.is_stale():
                self.forget(session)

    async def close(self, *, resumable: bool, shard: int | None = None) -> None:
        """Closes every socket, or those of one shard; sessions that are not resumable are gone too."""
        for session in tuple(self._sessions.values()):
            if shard is None or (session.shard is not None and session.shard[0] == shard):
                connection = session.connection
                if not resumable:
                    self.forget(session)
                if shard is not None and connection is not None:
                    await connection.close()
        if shard is None:
            await asyncio.gather(*(connection.close() for connection in self._connections))

    def identify(self, intents: int, shard: tuple[int, int] | None) -> Session:
        """A new session with READY and its guilds queued."""
        session = Session(f"{next(self._numbers):032x}", intents=intents, shard=shard)
        self._sessions[session.id] = session
        guilds = [guild for guild in self._world.guilds if session.sees(guild)]
        session.dispatch("READY", payloads.ready(self._world.bot, guilds, session.id, shard))
        for guild in guilds:
            session.dispatch("GUILD_CREATE", payloads.guild(guild))
        self.identifies += 1
        self._changed()
        return session

    def resume(self, session_id: str, sequence: int) -> Session | None:
        """The session with what the bot missed queued, or ``None`` if that is not known here."""
        session = self._sessions.get(session_id)
        if session is None or not session.rewind(sequence):
            return None
        session.dispatch("RESUMED", {})
        self.resumes += 1
        self._changed()
        return session

    def forget(self, session: Session) -> None:
        """Ends a session for good."""
        self._sessions.pop(session.id, None)

    def send_chunks(self, session: Session, wanted: Mapping[str, Any]) -> None:
        """Answers REQUEST_GUILD_MEMBERS: by ids, or by the beginning of a name, with 0 as no limit."""
        guild = self._world.guild(int(wanted["guild_id"]))
        if guild is None:
            return
        found, not_found = _search(guild, wanted)
        chunks = [found[start : start + CHUNK_SIZE] for start in range(0, len(found), CHUNK_SIZE)] or [[]]
        for index, chunk in enumerate(chunks):
            data: dict[str, Any] = {
                "guild_id": str(guild.id),
                "members": [payloads.member(member) for member in chunk],
                "chunk_index": index,
                "chunk_count": len(chunks),
                "not_found": not_found,
            }
            if "nonce" in wanted:
                data["nonce"] = wanted["nonce"]
            session.dispatch("GUILD_MEMBERS_CHUNK", data)


def _search(guild: Guild, wanted: Mapping[str, Any]) -> tuple[list[Member], list[str]]:
    if "user_ids" in wanted:
        by_id = {int(user_id): guild.member(int(user_id)) for user_id in wanted["user_ids"]}
        missing = [str(user_id) for user_id, found in by_id.items() if found is None]
        return [found for found in by_id.values() if found], missing
    prefix = wanted["query"].lower()
    found = [member for member in guild.members if (member.nick or member.name).lower().startswith(prefix)]
    return found[: wanted["limit"] or None], []
