"""The loopback Discord itself: state, REST and gateway on one port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Self, overload

from aiohttp import web

from . import payloads
from .connector import HOST, LoopbackConnector
from .gateway import Gateway
from .model import Channel, Guild, Member, Message, Role, User, World
from .moderation import Moderation
from .oauth2 import OAuth2
from .rest import Handler, Rest

TOKEN = "loopback.token.of-no-worth"
"""What bots log in with; anything else is refused."""


class _Start:
    """Lets ``LoopbackDiscord.start(guilds=2)`` read well next to ``await discord_.start()``."""

    @overload
    def __get__(self, instance: None, owner: type[LoopbackDiscord]) -> type[LoopbackDiscord]: ...
    @overload
    def __get__(
        self, instance: LoopbackDiscord, owner: type[LoopbackDiscord]
    ) -> Callable[[], Awaitable[LoopbackDiscord]]: ...
    def __get__(self, instance: LoopbackDiscord | None, owner: type[LoopbackDiscord]) -> object:
        return owner if instance is None else instance.__aenter__


class LoopbackDiscord(Moderation):
    """A Discord for tests, demo and benchmarks, without internet.

    An asynchronous context manager; :meth:`start` and :meth:`close` do the same by hand. Close the bots
    first: one that is still connected would try to come back.

    Parameters
    ----------
    guilds: :class:`int`
        How many guilds to begin with; the other parameters say what is in each, see :meth:`add_guild`.
    shards: :class:`int`
        The number of shards recommended to a bot that asks. Any number that a bot chooses itself is served.
    port: :class:`int`
        Where to listen. Defaults to any free port.
    clock: :class:`bool`
        Whether what happens from now on, such as a message, gets an id of the present, as on Discord. Defaults to
        ``False``: ids are counted, so that they are the same in each run.
    """

    start = _Start()

    def __init__(
        self,
        *,
        guilds: int = 0,
        members: int = 5,
        text_channels: int = 2,
        voice_channels: int = 0,
        roles: int = 2,
        shards: int = 1,
        port: int = 0,
        clock: bool = False,
    ) -> None:
        self.sent: list[Message] = []
        """Every message that a bot posted, oldest first."""
        self._world = World()
        self._port = port
        self._unclaimed: list[Message] = []
        self._changes: set[asyncio.Future[None]] = set()
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._runner: web.AppRunner | None = None
        self.gateway = Gateway(self._world, TOKEN, self._changed)
        """The sessions; ``gateway.dispatch`` sends events that there is no method for."""
        self.rest = Rest(
            self._world,
            TOKEN,
            shards=shards,
            dispatch=self.gateway.dispatch,
            posted=self._message_posted,
            changed=self._changed,
        )
        """Counts requests; ``rest.held`` and ``rest.failures`` delay their answers and make them fail."""
        for _ in range(guilds):
            self.add_guild(
                members=members, text_channels=text_channels, voice_channels=voice_channels, roles=roles
            )
        if clock:
            self._world.follow_the_clock()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._remember_tasks])
        app.add_routes([web.get("/", self.gateway.handle), *self.rest.routes()])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        site = web.TCPSite(runner, HOST, self._port)
        await site.start()
        self._port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Cuts all connections and frees the port. Doing it twice does no harm."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await self.gateway.close(resumable=False)
            await runner.cleanup()

    # --- What tests look at

    @property
    def port(self) -> int:
        """:class:`int`: The port, once started."""
        return self._port

    @property
    def oauth2(self) -> OAuth2:
        """:class:`.OAuth2`: Users who log in to dashboards."""
        return self.rest.oauth2

    @property
    def guilds(self) -> list[Guild]:
        """:class:`list`: The guilds, in the order they were added."""
        return self._world.guilds

    @property
    def bot_user(self) -> User:
        """:class:`.User`: The user that every bot logs in as, whatever the number of processes and shards."""
        return self._world.bot

    @property
    def unhandled(self) -> list[str]:
        """:class:`list`: The requests not spoken here, as ``"GET /path"``. They were answered 404."""
        return self.rest.unhandled

    @property
    def identifies(self) -> int:
        """:class:`int`: How many sessions were begun: one a shard, and one for each that could not resume."""
        return self.gateway.identifies

    @property
    def resumes(self) -> int:
        """:class:`int`: How many sessions were resumed."""
        return self.gateway.resumes

    def connector(self) -> LoopbackConnector:
        """A connector for one bot, to be made inside the running event loop."""
        return LoopbackConnector(self._port)

    def serves(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task of this event loop is the loopback's own, answering a bot's connection."""
        return task in self._tasks or task in self.gateway.tasks

    async def wait_until(self, condition: Callable[[], bool], *, timeout: float = 5.0) -> None:
        """Waits until a condition on :attr:`sent`, :attr:`identifies` or :attr:`resumes` holds.

        Raises
        ------
        TimeoutError
            It did not hold within ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            while not condition():
                change = asyncio.get_running_loop().create_future()
                self._changes.add(change)
                try:
                    await change
                finally:
                    self._changes.discard(change)

    async def wait_sent(
        self, predicate: Callable[[Message], bool] | None = None, *, timeout: float = 5.0
    ) -> Message:
        """The oldest message of a bot for which ``predicate`` holds and that no earlier call returned.

        A message that was posted before the call counts, so there is no race to lose.

        Raises
        ------
        TimeoutError
            There was none within ``timeout`` seconds.
        """

        def claimable() -> Message | None:
            return next((each for each in self._unclaimed if predicate is None or predicate(each)), None)

        try:
            await self.wait_until(lambda: claimable() is not None, timeout=timeout)
        except TimeoutError:
            raise TimeoutError(f"no such message within {timeout} s; sent: {self.sent!r}") from None
        message = claimable()
        assert message is not None, "nothing runs between the condition and here"
        self._unclaimed.remove(message)
        return message

    # --- What happens on Discord

    def add_guild(
        self,
        *,
        name: str | None = None,
        members: int = 5,
        text_channels: int = 2,
        voice_channels: int = 0,
        roles: int = 2,
    ) -> Guild:
        """Adds a guild; bots that are connected already see that they joined it.

        Parameters
        ----------
        members: :class:`int`
            How many members, the bot included: it is the last one. The first one owns the guild.
        roles: :class:`int`
            How many roles besides @everyone. Nobody has one.
        """
        guild = self._world.make_guild(
            name=name,
            members=members,
            text_channels=text_channels,
            voice_channels=voice_channels,
            roles=roles,
        )
        # Discord leaves "unavailable" out of a guild that is new to the bot; discord.py tells a join by that.
        payload = {key: value for key, value in payloads.guild(guild).items() if key != "unavailable"}
        self.gateway.dispatch("GUILD_CREATE", guild, payload)
        return guild

    def remove_guild(self, guild: Guild) -> None:
        """The bot is removed from a guild."""
        self._world.guilds.remove(guild)
        self.gateway.dispatch("GUILD_DELETE", guild, {"id": str(guild.id)})

    def add_role(self, guild: Guild, name: str, *, permissions: int = 0, colour: int = 0) -> Role:
        """Somebody makes a role."""
        role = self._world.make_role(guild, name, permissions=permissions, colour=colour)
        data = {"guild_id": str(guild.id), "role": payloads.role(role)}
        self.gateway.dispatch("GUILD_ROLE_CREATE", guild, data)
        return role

    def add_user(self, name: str | None = None) -> User:
        """Somebody makes an account, and joins no guild."""
        return self._world.make_user(name)

    @property
    def users(self) -> list[User]:
        """:class:`list`: All accounts."""
        return list(self._world.users.values())

    @property
    def team(self) -> list[tuple[User, str]]:
        """:class:`list`: The members of the team that owns the bot, with their roles. Empty without a team."""
        return self._world.team

    def add_invite(self, channel: Channel, code: str) -> None:
        """Somebody makes an invite to a channel."""
        self._world.invites[code] = channel

    def give_role(self, member: Member, role: Role) -> None:
        """Somebody gives a member a role."""
        member.roles.append(role)
        self.member_changed(member)

    def take_role(self, member: Member, role: Role) -> None:
        """Somebody takes a role from a member."""
        member.roles.remove(role)
        self.member_changed(member)

    def member_changed(self, member: Member) -> None:
        """Tells bots what a member is like now."""
        data = {**payloads.member(member), "guild_id": str(member.guild.id)}
        self.gateway.dispatch("GUILD_MEMBER_UPDATE", member.guild, data)

    def channel_changed(self, channel: Channel) -> None:
        """Tells bots what a channel is like now."""
        self.gateway.dispatch("CHANNEL_UPDATE", channel.guild, payloads.channel(channel))

    async def join(self, guild: Guild, *, name: str | None = None, user: User | None = None) -> Member:
        """Somebody joins: ``user``, or else a new user with that name."""
        member = self._world.make_member(guild, user or self._world.make_user(name))
        data = {**payloads.member(member), "guild_id": str(guild.id)}
        self.gateway.dispatch("GUILD_MEMBER_ADD", guild, data)
        return member

    async def leave(self, guild: Guild, member: Member) -> None:
        """A member leaves."""
        guild.members.remove(member)
        data = {"guild_id": str(guild.id), "user": payloads.user(member.user)}
        self.gateway.dispatch("GUILD_MEMBER_REMOVE", guild, data)

    async def say(self, channel: Channel, author: Member | User, content: str) -> Message:
        """Somebody says something."""
        user = author.user if isinstance(author, Member) else author
        message = Message(self._world.next_id(), channel, user, content)
        self._world.remember(message)
        self.gateway.dispatch("MESSAGE_CREATE", channel.guild, payloads.message(message))
        return message

    async def drop_gateways(self, *, resumable: bool = True, shard: int | None = None) -> None:
        """Closes every gateway socket, or those of one shard, as Discord does when it moves bots to another machine.

        The sockets end with close frames: if TCP alone ended while the bot is busy, aiohttp 3.14 would leave
        an unclosed connection to the garbage collector, which warns.

        Bots come back by themselves: with RESUME, and are sent what they missed, or with IDENTIFY if
        not ``resumable``. Use :meth:`wait_until` with the counters to wait for that.
        """
        await self.gateway.close(resumable=resumable, shard=shard)

    # --- Inside

    def _changed(self) -> None:
        for change in self._changes:
            if not change.done():
                change.set_result(None)

    def _message_posted(self, message: Message) -> None:
        self.sent.append(message)
        self._unclaimed.append(message)
        self._changed()

    @web.middleware
    async def _remember_tasks(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # aiohttp has a task for the connection and, with some options, another one for the request.
        self._tasks.update(task for task in (request.task, asyncio.current_task()) if task is not None)
        return await handler(request)
