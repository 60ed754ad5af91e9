"""Judges acting users: who they are, and what they may do in the guild that a call is about."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, cast

import discord

from discord_tools.ipc.errors import BadData, Forbidden, NotReady, Violation
from discord_tools.ipc.refusals import ActingUserRequired, InvalidToken, NotAMember, NotOwner
from discord_tools.ipc.wire.frames import ActingAs
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.forks import CLIENT_WITH_OWNERS
from discord_tools.ipc_server.parameters.fetching import MISS, Fetcher, Key
from discord_tools.ipc_server.places import places_of
from discord_tools.ipc_server.remembered import remember
from discord_tools.ipc_server.request import Request
from discord_tools.ipc_server.requirements import Requirement
from discord_tools.ipc_server.tokens import Verifier

__all__ = ("UNKNOWN", "Judge", "Unknown", "not_a_member", "not_the_owner", "unverified")

#: Seconds for which a fetched member counts, and that a user is no member: where the bot has no members intent, Discord
#: does not tell it of changes, and a call may come with each click.
FETCHED_PERIOD: Final = 5.0

#: Maximum number of such members that are remembered; the oldest are forgotten first.
FETCHED: Final = 10_000

#: Roles in a team whose members own the bot, by their names: the classes of these are different in py-cord, which also
#: has the first one.
_OWNING_ROLES: Final = ("owner", "admin", "developer")

#: Identifies the request for the owners of the bot.
_OWNERS: Final[Key] = ("AppInfo", 0, 0)


class Call(Protocol):
    """A call, as far as its user is concerned. Implemented by :class:`~.incoming.NativeCall` and
    :class:`~.dialects.calls.DialectCall`.
    """

    acting: ActingUser | None

    @property
    def caller(self) -> Caller:
        """Who calls."""
        ...


class Judge:
    """Judges the acting users of one server.

    Parameters
    ----------
    client: :class:`discord.Client`
        The bot.
    fetcher: :class:`Fetcher`
        Fetches members that are not in the cache.
    clock: Callable[[], :class:`float`]
        Seconds, for the time for which fetched members count. Defaults to :func:`time.monotonic`.
    """

    def __init__(
        self, client: discord.Client, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        #: The bot.
        self.client: discord.Client = client
        self._fetcher = fetcher
        self._clock = clock
        #: Finds the users of access tokens.
        self._verifier = Verifier(client)
        #: Members that were fetched lately, and until when they count, oldest first. ``None`` for users who are none.
        self._fetched: dict[tuple[int, int], tuple[discord.Member | None, float]] = {}
        #: The owners of the bot, once they were fetched.
        self._owners: frozenset[int] | None = None
        #: What an ``is_owner()`` of the bot's own has said of users, and until when that counts, oldest first.
        self._told: dict[int, tuple[bool, float]] = {}

    # -- who it is

    async def identify(self, call: Call) -> None:
        """Finds out for whom a call is made, before anything of it runs.

        Raises
        ------
        BadData
            What the call says of its user cannot be.
        Forbidden
            A page acts for another user than its ticket says.
        ActingUserRequired
            The key demands a verified user.
        InvalidToken
            Discord does not accept the token, or it belongs to another user.
        FetchFailed
            Discord did not say whose the token is.
        Overloaded
            Too many tokens are being verified.
        """
        caller = call.caller
        if caller.user is not None:
            call.acting = _of_ticket(call.acting, caller.user, caller.user_verified)
        acting = call.acting
        if acting is not None and acting.token is None and caller.origin is not None and caller.user is None:
            raise Forbidden(
                "the ticket of this page names no user, so the page acts for none: let its backend ask for the ticket "
                "with acting_as(...).ticket(...)"
            )
        if (refusal := unverified(acting, caller)) is not None:
            raise refusal
        if acting is None:
            return
        if acting.problem:
            raise BadData(acting.problem, data=[Violation(path="", message=acting.problem)])
        if acting.token is None:
            return
        user = await self._verifier.verify(acting.token, caller.account)
        if acting.id not in (None, user.id):
            raise InvalidToken("the access token belongs to another user than the call says")
        # The token is secret, and nobody needs it from here on.
        acting.id, acting.name, acting.verified, acting.token = user.id, user.name, True, None

    # -- what they may do

    async def judge(
        self,
        requirements: tuple[Requirement, ...],
        acting: ActingUser | None,
        request: Request,
        arguments: Mapping[str, Any],
    ) -> None:
        """Judges the user of a call by all requirements of its route.

        Raises
        ------
        Forbidden
            The user does not fulfil one of them; the subclass says which.
        BadData
            The data names no guild, or one that the bot does not know.
        NotReady
            The bot has not received the guild.
        FetchFailed
            The member is not in the cache, and Discord did not give it.
        """
        if acting is None or acting.id is None:
            raise ActingUserRequired("this route demands an acting user: call it with acting_as(...)")
        if not all(one.needs_guild for one in requirements) and not await self.is_owner(acting.id):
            raise not_the_owner(acting.id)
        demanded = [one for one in requirements if one.needs_guild]
        if not demanded:
            return
        for guild, channels in places_of(self.client, request, arguments).items():
            member = await self.member(guild, acting.id)
            if member is None:
                raise not_a_member(acting.id, guild.id)
            if acting.member is None:
                acting.member = member
            for requirement in demanded:
                for channel in channels.values() or (None,):
                    refusal = requirement.refusal(member, channel)
                    if refusal is not None:
                        raise refusal

    async def is_owner(self, user_id: int) -> bool:
        """Whether a user owns the bot."""
        known = self.known_owner(user_id)
        if known is not None:
            return known
        client = self.client
        if _has_own_rule(client):
            user: Any = client.get_user(user_id) or discord.Object(user_id)
            is_owner = bool(await cast("Any", client).is_owner(user))
            remember(self._told, user_id, (is_owner, self._clock() + FETCHED_PERIOD), FETCHED)
            return is_owner
        if self._owners is None:
            outcomes = await self._fetcher.fetch({_OWNERS: client.application_info}, 0)
            self._owners = _owners(outcomes[_OWNERS])
        return user_id in self._owners

    def known_owner(self, user_id: int) -> bool | None:
        """The same without asking. ``None`` where the bot or Discord has to be asked."""
        client = self.client
        if _has_own_rule(client):
            told, until = self._told.get(user_id, (False, 0.0))
            return told if self._clock() < until else None
        if isinstance(client, CLIENT_WITH_OWNERS) and (client.owner_id or client.owner_ids):
            return user_id == client.owner_id or user_id in (client.owner_ids or ())
        return None if self._owners is None else user_id in self._owners

    async def member(self, guild: discord.Guild, user_id: int) -> discord.Member | None:
        """The member that a user is in a guild, as of now. ``None`` for a user who is none."""
        if guild.unavailable:
            raise NotReady("the guild is unavailable at present")
        known = self.known_member(guild, user_id)
        if not isinstance(known, Unknown):
            return known
        key: Key = ("Member", guild.id, user_id)
        outcomes = await self._fetcher.fetch({key: partial(guild.fetch_member, user_id)}, 0)
        member: discord.Member | None = None if outcomes[key] is MISS else outcomes[key]
        remember(self._fetched, (guild.id, user_id), (member, self._clock() + FETCHED_PERIOD), FETCHED)
        return member

    def known_member(self, guild: discord.Guild, user_id: int) -> discord.Member | Unknown | None:
        """The same without asking Discord. :data:`UNKNOWN` where it has to be asked."""
        if self.client.intents.members:
            member = guild.get_member(user_id)
            if member is not None or guild.chunked:
                return member
        # Without the intent, Discord does not tell of roles that a cached member has lost.
        member, until = self._fetched.get((guild.id, user_id), (None, 0.0))
        return member if self._clock() < until else UNKNOWN


def unverified(acting: ActingUser | None, caller: Caller) -> ActingUserRequired | None:
    """The error for a call whose key demands a verified user, and that neither has one nor brings a token."""
    if not caller.verified_users_only or (
        acting is not None and (acting.verified or acting.token is not None)
    ):
        return None
    return ActingUserRequired(
        f"the key {caller.key!r} is for verified users only: call it with acting_as(token=...)",
        data={"needs_token": True},
    )


class Unknown:
    """The type of :data:`UNKNOWN`."""


#: Stands for a member who has to be fetched.
UNKNOWN: Final = Unknown()


def not_the_owner(user_id: int) -> NotOwner:
    """The error for a user who does not own the bot."""
    return NotOwner("the acting user does not own this bot", data={"user_id": str(user_id)})


def not_a_member(user_id: int, guild_id: int) -> NotAMember:
    """The error for a user who is no member of a guild."""
    return NotAMember(
        "the acting user is not a member of the guild",
        data={"user_id": str(user_id), "guild_id": str(guild_id)},
    )


def _has_own_rule(client: discord.Client) -> bool:
    """Whether the bot has an ``is_owner()`` of its own."""
    base = CLIENT_WITH_OWNERS
    return isinstance(client, base) and cast("Any", type(client)).is_owner is not base.is_owner


def _owners(info: Any) -> frozenset[int]:
    """The owners of an application, as :meth:`discord.ext.commands.Bot.is_owner` has them."""
    team: discord.Team | None = info.team
    if team is None:
        return frozenset((info.owner.id,))
    return frozenset(one.id for one in team.members if one.role.name in _OWNING_ROLES)


def _of_ticket(given: ActingUser | None, user: int, verified: bool) -> ActingUser:
    """The acting user of a page, who is that of its ticket."""
    if given is not None and (given.id != user or given.token is not None or given.problem):
        raise Forbidden("a page acts for the user of its ticket, and for no other one")
    acting = ActingUser(ActingAs(user_id=user))
    acting.verified = verified
    return acting
