"""The typed state of the loopback Discord, and the factories that fill it."""

from __future__ import annotations

import datetime
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

DISCORD_EPOCH = 1_420_070_400_000
"""Milliseconds between the Unix epoch and the first millisecond of 2015, where snowflakes count from."""

# A multiple of every number up to 16: the n-th guild lands on shard ``n % shard_count`` of any such count.
FIRST_MILLISECOND = 720_720 * 380_000

MESSAGES = 1000
"""How many messages are kept."""

PEOPLE = ("ada", "grace", "alan", "barbara", "edsger", "frances", "donald", "margaret", "dennis", "radia")
TEXT_CHANNELS = ("general", "random", "help", "showcase", "off-topic", "announcements", "music")
VOICE_CHANNELS = ("Lounge", "Gaming", "Study Hall", "Listening")
ROLES = ("Moderator", "Helper", "Regular", "Artist", "Newcomer", "Veteran")
GUILDS = ("Tea House", "Pixel Forge", "Night Owls", "Chess Corner", "Garden Club", "Radio Shack", "Book Nook")
COLOURS = (0x3498DB, 0x2ECC71, 0xE67E22, 0x9B59B6, 0xE91E63, 0x1ABC9C)


class ChannelType(IntEnum):
    """The channel types that the loopback makes, with Discord's numbers."""

    TEXT = 0
    VOICE = 2


@dataclass(eq=False, slots=True)
class User:
    """An account: a person or the bot."""

    id: int
    name: str
    display_name: str | None = None
    avatar: str | None = None
    bot: bool = False


@dataclass(eq=False, slots=True)
class Role:
    """A role of a guild; the one whose id is the guild's id is @everyone."""

    id: int
    guild: Guild = field(repr=False)
    name: str
    position: int
    permissions: int = 0
    colour: int = 0


@dataclass(eq=False, slots=True)
class Member:
    """A user in a guild. ``roles`` leaves out @everyone, as Discord does."""

    user: User
    guild: Guild = field(repr=False)
    joined_at: datetime.datetime
    roles: list[Role] = field(default_factory=list["Role"])
    nick: str | None = None
    timed_out_until: datetime.datetime | None = None

    @property
    def id(self) -> int:
        """:class:`int`: The id of the user."""
        return self.user.id

    @property
    def name(self) -> str:
        """:class:`str`: The name of the user."""
        return self.user.name


@dataclass(eq=False, slots=True)
class Channel:
    """A text or voice channel."""

    id: int
    guild: Guild = field(repr=False)
    name: str
    position: int
    type: ChannelType = ChannelType.TEXT
    topic: str | None = None
    overwrites: dict[int, tuple[int, int]] = field(default_factory=dict[int, "tuple[int, int]"])
    """What roles and members are allowed and denied here, by their ids."""


@dataclass(eq=False, slots=True)
class Message:
    """A message that a person said or a bot posted."""

    id: int
    channel: Channel
    author: User
    content: str
    embeds: Sequence[Mapping[str, Any]] = ()
    reference: Mapping[str, Any] | None = None
    nonce: str | int | None = None


@dataclass(eq=False, slots=True)
class Guild:
    """A guild with all that is in it."""

    id: int
    name: str
    owner_id: int = 0
    roles: list[Role] = field(default_factory=list["Role"], repr=False)
    channels: list[Channel] = field(default_factory=list["Channel"], repr=False)
    members: list[Member] = field(default_factory=list["Member"], repr=False)

    @property
    def text_channels(self) -> list[Channel]:
        """:class:`list`: The channels where members can talk."""
        return [channel for channel in self.channels if channel.type is ChannelType.TEXT]

    def shard_id(self, shard_count: int) -> int:
        """:class:`int`: The shard that gets the events of this guild, by Discord's formula."""
        return (self.id >> 22) % shard_count

    def member(self, user_id: int) -> Member | None:
        """The member of that id, or ``None``."""
        return _find(self.members, user_id)

    def channel(self, channel_id: int) -> Channel | None:
        """The channel of that id, or ``None``."""
        return _find(self.channels, channel_id)

    def role(self, role_id: int) -> Role | None:
        """The role of that id, or ``None``."""
        return _find(self.roles, role_id)


_Entity = TypeVar("_Entity", Guild, Member, Channel, Role)


def _find(entities: list[_Entity], wanted: int) -> _Entity | None:
    return next((entity for entity in entities if entity.id == wanted), None)


def created_at(snowflake: int) -> datetime.datetime:
    """When the thing with this id was made, in UTC."""
    return datetime.datetime.fromtimestamp(((snowflake >> 22) + DISCORD_EPOCH) / 1000, datetime.UTC)


def _snowflakes() -> Iterator[int]:
    return ((FIRST_MILLISECOND + n) << 22 for n in itertools.count())


def _name(names: Sequence[str], index: int, separator: str = "") -> str:
    turn, place = divmod(index, len(names))
    return names[place] if turn == 0 else f"{names[place]}{separator}{turn + 1}"


class World:
    """Everything the loopback Discord knows. The factories change state; events are the server's business.

    Ids are snowflakes one millisecond apart. Guilds count on their own, else the number of members
    and channels in between would decide which shard a guild lands on.
    """

    def __init__(self) -> None:
        self._guild_ids = _snowflakes()
        self._last_millisecond = FIRST_MILLISECOND - 1
        self._by_the_clock = False
        self._people = itertools.count()
        self.users: dict[int, User] = {}
        """Every account, by its id."""
        self.messages: dict[int, Message] = {}
        """The last messages, by their ids."""
        self.invites: dict[str, Channel] = {}
        """The channels of invites, by their codes."""
        self.owner = self.make_user("developer")
        self.team: list[tuple[User, str]] = []
        """The members of the team that owns the bot, with their roles. Empty for a bot that its owner alone owns."""
        self.bot = self.make_user("loopback-bot", bot=True)
        self.guilds: list[Guild] = []

    def follow_the_clock(self) -> None:
        """What is made from now on is as old as its id says. Before that, everything is of the same old days."""
        self._by_the_clock = True

    def next_id(self) -> int:
        """An id for anything but a guild, one millisecond or more after the last one."""
        now = int(time.time() * 1000) - DISCORD_EPOCH if self._by_the_clock else 0
        self._last_millisecond = max(self._last_millisecond + 1, now)
        return self._last_millisecond << 22 | 1 << 17

    def make_user(self, name: str | None = None, *, bot: bool = False) -> User:
        """A new user; without a name, the next of the people."""
        if name is None:
            name = _name(PEOPLE, next(self._people))
        user = User(self.next_id(), name, display_name=None if bot else name.capitalize(), bot=bot)
        self.users[user.id] = user
        return user

    def remember(self, message: Message) -> None:
        """Keeps a message, so that it can be fetched."""
        self.messages[message.id] = message
        if len(self.messages) > MESSAGES:
            del self.messages[next(iter(self.messages))]

    def make_guild(
        self, *, name: str | None, members: int, text_channels: int, voice_channels: int, roles: int
    ) -> Guild:
        """A new guild; see :meth:`loopback.LoopbackDiscord.add_guild`."""
        if members < 1:
            raise ValueError("members counts the bot too, so a guild has at least 1")
        guild = Guild(next(self._guild_ids), name or _name(GUILDS, len(self.guilds), " "))
        guild.roles.append(Role(guild.id, guild, "@everyone", 0, permissions=0x6_4E40))
        for index in range(roles):
            self.make_role(guild, _name(ROLES, index, " "), colour=COLOURS[index % len(COLOURS)])
        for index in range(text_channels):
            self.make_channel(guild, _name(TEXT_CHANNELS, index, "-"))
        for index in range(voice_channels):
            self.make_channel(guild, _name(VOICE_CHANNELS, index, " "), ChannelType.VOICE)
        for _ in range(members - 1):
            self.make_member(guild, self.make_user())
        self.make_member(guild, self.bot)
        guild.owner_id = guild.members[0].id
        self.guilds.append(guild)
        return guild

    def make_role(self, guild: Guild, name: str, *, permissions: int = 0, colour: int = 0) -> Role:
        """A new role, above those the guild has."""
        role = Role(self.next_id(), guild, name, len(guild.roles), permissions, colour)
        guild.roles.append(role)
        return role

    def make_channel(self, guild: Guild, name: str, type_: ChannelType = ChannelType.TEXT) -> Channel:
        """A new channel, below those the guild has."""
        channel = Channel(self.next_id(), guild, name, len(guild.channels), type_)
        guild.channels.append(channel)
        return channel

    def make_member(self, guild: Guild, user: User) -> Member:
        """Puts a user into a guild."""
        if guild.member(user.id) is not None:
            raise ValueError(f"{user.name} is a member of {guild.name} already")
        member = Member(user, guild, joined_at=created_at(max(user.id, guild.id)))
        guild.members.append(member)
        return member

    def guild(self, guild_id: int) -> Guild | None:
        """The guild of that id, or ``None``."""
        return _find(self.guilds, guild_id)

    def channel(self, channel_id: int) -> Channel | None:
        """The channel of that id in any guild, or ``None``."""
        return next((found for guild in self.guilds if (found := guild.channel(channel_id))), None)
