"""What routes and events demand of the acting user, and how the bot judges it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import discord

from discord_tools.ipc.errors import Forbidden
from discord_tools.ipc.refusals import MissingPermissions, MissingRole

__all__ = ("MEMBERSHIP", "Channel", "Ownership", "Permissions", "Requirement", "Roles", "lacking")

#: A channel of a guild in which permissions are judged.
Channel: TypeAlias = "discord.abc.GuildChannel | discord.Thread"


#: Permissions that channels may give and take.
_OF_CHANNELS: Final = discord.Permissions.all_channel()


class Requirement:
    """Something that is demanded of the acting user."""

    __slots__ = ()

    #: Whether it is judged in a guild.
    needs_guild: bool = True

    def refusal(self, member: discord.Member, channel: Channel | None) -> Forbidden | None:
        """The error for a member who does not fulfil it, in a channel or in the whole guild."""
        raise NotImplementedError

    def is_fulfilled(self, member: discord.Member, channel: Channel | None) -> bool:
        """Whether a member fulfils it. An event may be judged for a thousand members."""
        return self.refusal(member, channel) is None

    def refusal_anywhere(self, member: discord.Member) -> Forbidden | None:
        """The error for a member who fulfils it in no channel of the guild, as far as that is known without one."""
        return self.refusal(member, None)

    def described(self) -> dict[str, Any]:
        """What it demands, for ``rpc.discover``."""
        raise NotImplementedError


class Permissions(Requirement):
    """All of some permissions. With none of them, the user has to be a member of the guild.

    Parameters
    ----------
    names: Iterable[:class:`str`]
        Their names in discord.py.
    """

    __slots__ = ("names",)

    def __init__(self, names: Iterable[str]) -> None:
        self.names: tuple[str, ...] = tuple(names)

    def refusal(self, member: discord.Member, channel: Channel | None) -> Forbidden | None:
        missing = lacking(member, channel, self.names) if self.names else ()
        if not missing:
            return None
        where = "in the guild" if channel is None else "in the channel"
        return MissingPermissions(
            f"the acting user lacks {_listed(missing, 'and')} {where}",
            data={
                "missing_permissions": list(missing),
                "user_id": str(member.id),
                "guild_id": str(member.guild.id),
                "channel_id": None if channel is None else str(channel.id),
            },
        )

    def is_fulfilled(self, member: discord.Member, channel: Channel | None) -> bool:
        return not self.names or not lacking(member, channel, self.names)

    def refusal_anywhere(self, member: discord.Member) -> Forbidden | None:
        # The others may be given in a channel.
        names = [name for name in self.names if not getattr(_OF_CHANNELS, name)]
        return Permissions(names).refusal(member, None)

    def described(self) -> dict[str, Any]:
        return {"permissions": list(self.names)}


class Roles(Requirement):
    """One of some roles.

    Parameters
    ----------
    roles: Sequence[Union[:class:`int`, :class:`str`]]
        Their ids and names.
    """

    __slots__ = ("roles",)

    def __init__(self, roles: Sequence[int | str]) -> None:
        self.roles: tuple[int | str, ...] = tuple(roles)

    def refusal(self, member: discord.Member, channel: Channel | None) -> Forbidden | None:
        for role in member.roles:
            if role.id in self.roles or role.name in self.roles:
                return None
        roles = [str(role) for role in self.roles]
        return MissingRole(
            f"the acting user does not have the role {_listed(roles, 'or')}",
            data={"missing_roles": roles, "user_id": str(member.id), "guild_id": str(member.guild.id)},
        )

    def described(self) -> dict[str, Any]:
        return {"roles": [str(role) for role in self.roles]}


class Ownership(Requirement):
    """The bot belongs to the user, or to the team of the user."""

    __slots__ = ()

    needs_guild = False

    def refusal(self, member: discord.Member, channel: Channel | None) -> Forbidden | None:
        return None  # it takes more than the member: see Judge

    def described(self) -> dict[str, Any]:
        return {"owner": True}


#: The user is a member of the guild.
MEMBERSHIP: Final = Permissions(())


def lacking(member: discord.Member, channel: Channel | None, names: Iterable[str]) -> tuple[str, ...]:
    """Which of some permissions a member lacks, in a channel or in the whole guild.

    Owners of the guild and administrators lack none, not even those that discord.py takes from them since a channel is
    of another type.
    """
    if member.guild.owner_id == member.id:
        return ()
    permissions = member.guild_permissions if channel is None else _permissions_in(channel, member)
    missing = tuple(name for name in names if not getattr(permissions, name))
    # Asked last: nearly all that is judged is allowed, and this costs as much as the rest.
    return () if missing and member.guild_permissions.administrator else missing


def _permissions_in(channel: Channel, member: discord.Member) -> discord.Permissions:
    if not isinstance(channel, discord.Thread):
        return channel.permissions_for(member)
    if channel.parent is None:  # not cached, so nobody knows
        return discord.Permissions.none()
    permissions = channel.permissions_for(member)
    # discord.py judges a thread like its parent. A private one is only for those who are in it, and its moderators.
    if (
        channel.is_private()
        and not permissions.manage_threads
        and all(one.id != member.id for one in channel.members)
    ):
        permissions.value &= ~discord.Permissions.all_channel().value
    return permissions


def _listed(names: Sequence[str], word: str) -> str:
    quoted = [f"{name:.100}" for name in names]
    return f" {word} ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
