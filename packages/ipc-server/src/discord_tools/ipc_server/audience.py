"""Which events an acting user hears."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, cast

from discord_tools.ipc.errors import RemoteError
from discord_tools.ipc.snowflakes import snowflake
from discord_tools.ipc.wire.codec import UNREADABLE
from discord_tools.ipc.wire.events import decode_subscribe
from discord_tools.ipc_server.event_demands import EventDemands
from discord_tools.ipc_server.judge import Judge, Unknown, not_a_member, not_the_owner
from discord_tools.ipc_server.requirements import Permissions, Requirement
from discord_tools.ipc_server.topics import Published

__all__ = ("Audience",)


#: What it takes to hear of a channel that the bot does not know, or not any more: who could see it is not known either.
_UNSEEN: Final = Permissions(("manage_channels",))

#: Maximum number of times that what is not known is asked for: what was fetched counts for a few seconds only.
ATTEMPTS: Final = 3

#: Maximum number of guilds in a filter in which a user is judged when the subscription begins. All are judged with each
#: event.
JUDGED_GUILDS: Final = 25


class Audience:
    """What one acting user hears.

    The user is judged with each event again, so that one who leaves or loses a permission hears nothing from then on.

    Parameters
    ----------
    judge: :class:`Judge`
        Knows the members of guilds, and the owners of the bot.
    user_id: :class:`int`
        The user.
    demands: :class:`EventDemands`
        What events demand.
    failed: Callable[[:class:`Exception`], Any]
        Logs that judging the user has failed.
    """

    def __init__(
        self, judge: Judge, user_id: int, demands: EventDemands, failed: Callable[[Exception], Any]
    ) -> None:
        self._judge = judge
        self._user_id = user_id
        self._demands = demands
        self._failed = failed

    async def admit(self, params: bytes) -> None:
        """Judges a subscription before it begins, as far as its filter names guilds.

        Raises
        ------
        Forbidden
            The user may not hear these events at all; the subclass says why.
        FetchFailed
            The member is not in the cache, and Discord did not give it.
        """
        try:
            wish = decode_subscribe(params)
        except UNREADABLE:
            return  # the hub says what is wrong
        demanded = tuple(one for name in wish.events for one in self._demands.of(name))
        if _needs_owner(demanded) and not await self._judge.is_owner(self._user_id):
            raise not_the_owner(self._user_id)
        if not any(one.needs_guild for one in demanded):
            return
        named: Any = wish.filter.get("guild_id") if wish.filter else None
        values: list[Any] = cast("list[Any]", named) if isinstance(named, list) else [named]
        for number in map(snowflake, values[:JUDGED_GUILDS]):
            if number >= 0:
                await self._admit_in(number, demanded)

    async def _admit_in(self, guild_id: int, requirements: Iterable[Requirement]) -> None:
        guild = self._judge.client.get_guild(guild_id)
        member = None if guild is None else await self._judge.member(guild, self._user_id)
        if member is None:
            raise not_a_member(self._user_id, guild_id)
        for requirement in requirements:
            refusal = requirement.refusal_anywhere(member)
            if refusal is not None:
                raise refusal

    def hears(self, event: Published) -> bool | None:
        """Whether the user hears an event. ``None`` where Discord has to be asked first; see :meth:`decide`."""
        requirements = self._demanded(event)
        if requirements is not None and not requirements:
            return True  # it is for everybody
        about = event.about()
        if about is None:
            return False  # nobody can say what it is about
        guilds, channels, users = about
        if _needs_owner(requirements):
            owner = self._judge.known_owner(self._user_id)
            if owner is not True:
                return owner
        if requirements is None and not guilds:
            return self._user_id in users
        if requirements is not None and not any(one.needs_guild for one in requirements):
            return True
        if not guilds:
            return False
        for guild_id in guilds:
            verdict = self._hears_in(guild_id, event.name, channels, requirements)
            if verdict is not True:
                return verdict
        return True

    def _hears_in(
        self,
        guild_id: int,
        name: str,
        channels: Collection[int],
        requirements: tuple[Requirement, ...] | None,
    ) -> bool | None:
        guild = self._judge.client.get_guild(guild_id)
        if guild is None:
            return False
        member = self._judge.known_member(guild, self._user_id)
        if member is None or isinstance(member, Unknown):
            return False if member is None else None
        places = [guild.get_channel_or_thread(number) for number in channels]
        if None in places and not _UNSEEN.is_fulfilled(member, None):
            return False
        known = [place for place in places if place is not None]
        if requirements is None:
            requirements = self._demands.default(name, in_channel=bool(known))
        for requirement in requirements:
            for place in known or (None,):
                if not requirement.is_fulfilled(member, place):
                    return False
        return True

    async def decide(self, event: Published) -> bool:
        """Asks Discord for what is not known, and returns whether the user hears an event. Where an ``is_owner()`` of
        the bot's own fails, that is logged, and the user does not hear it.

        Raises
        ------
        RemoteError
            Discord did not say.
        """
        try:
            return await self._decided(event)
        except RemoteError:
            raise
        except Exception as error:
            self._failed(error)
            return False

    async def _decided(self, event: Published) -> bool:
        for _ in range(ATTEMPTS):
            verdict = self.hears(event)
            if verdict is not None:
                return verdict
            if _needs_owner(self._demanded(event)):
                await self._judge.is_owner(self._user_id)
            guilds, _, _ = event.about() or ((), (), ())
            for guild_id in guilds:
                guild = self._judge.client.get_guild(guild_id)
                if guild is not None:
                    await self._judge.member(guild, self._user_id)
        return False

    def _demanded(self, event: Published) -> tuple[Requirement, ...] | None:
        """What the bot says that an event demands; ``None`` for the default rule."""
        return self._demands.declared(event.name) if event.requires is None else event.requires


def _needs_owner(requirements: tuple[Requirement, ...] | None) -> bool:
    return requirements is not None and any(not one.needs_guild for one in requirements)
