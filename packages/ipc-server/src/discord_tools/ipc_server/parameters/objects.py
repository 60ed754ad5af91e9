"""Ids to Discord's objects: which classes are looked up, where, and which of them are fetched."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

import discord

from discord_tools.ipc.errors import NotReady
from discord_tools.ipc_server.parameters.binding import SCANNED, UNKNOWN, Binding
from discord_tools.ipc_server.parameters.faults import Path, article, shown
from discord_tools.ipc_server.parameters.fetching import MISS
from discord_tools.ipc_server.parameters.nodes import Node, Scalar, Schemas
from discord_tools.ipc_server.snowflakes import SNOWFLAKE_SCHEMA, snowflake

__all__ = ("Cached", "Lookup", "is_looked_up")


class Cached:
    """Marks a parameter whose objects are taken from the bot's cache alone, never fetched from Discord:
    ``Annotated[discord.Member, Cached]``.

    .. versionadded:: 1.2
    """


Finder: TypeAlias = Callable[[Binding, int], Any]


def _in_guilds(get: str) -> Finder:
    """Makes a finder of what guilds have: in the given guild, or else in all."""

    def find(binding: Binding, number: int) -> Any:
        guild = binding.guild
        if guild is not None and guild is not UNKNOWN:
            return getattr(guild, get)(number)
        guilds = binding.client.guilds
        binding.scanned += len(guilds)
        if binding.scanned > SCANNED:
            return None
        found = (getattr(each, get)(number) for each in guilds)
        return next((one for one in found if one is not None), None)

    return find


def _channel(binding: Binding, number: int) -> Any:
    guild = binding.guild
    if guild is None or guild is UNKNOWN:
        return binding.client.get_channel(number)
    return guild.get_channel_or_thread(number)


def _member(binding: Binding, number: int) -> discord.Member | None:
    guild = binding.guild
    return None if guild is None or guild is UNKNOWN else guild.get_member(number)


_FINDERS: Final[tuple[tuple[type, Finder], ...]] = (
    (discord.Guild, lambda binding, number: binding.client.get_guild(number)),
    (discord.Member, _member),
    (discord.User, lambda binding, number: binding.client.get_user(number)),
    (discord.Role, _in_guilds("get_role")),
    (discord.Emoji, lambda binding, number: binding.client.get_emoji(number)),
    (discord.GuildSticker, lambda binding, number: binding.client.get_sticker(number)),
    (discord.SoundboardSound, lambda binding, number: binding.client.get_soundboard_sound(number)),
    (discord.ScheduledEvent, _in_guilds("get_scheduled_event")),
    (discord.StageInstance, lambda binding, number: binding.client.get_stage_instance(number)),
    (discord.abc.GuildChannel, _channel),
    (discord.abc.PrivateChannel, lambda binding, number: binding.client.get_channel(number)),
    (discord.Thread, _channel),
    (discord.abc.Messageable, _channel),
    (discord.Object, lambda _, number: discord.Object(number)),
)

#: Classes that are other objects' in discord.py's cache: the bot's own user is no :class:`discord.User`.
_ALSO: Final[dict[type, tuple[type, ...]]] = {discord.User: (discord.ClientUser,)}

_CHANNELS: Final = (discord.abc.GuildChannel, discord.abc.PrivateChannel, discord.Thread)

_BASES: Final = tuple(base for base, _ in _FINDERS if base is not discord.abc.Messageable)


def is_looked_up(annotation: Any) -> bool:
    """Whether an annotation is a class whose objects are found by their id."""
    # Other subclasses of Messageable are no channels: the context of a command is one.
    return annotation is discord.abc.Messageable or (
        isinstance(annotation, type) and issubclass(annotation, _BASES)
    )


class Lookup(Node):
    """An object that is found by its id.

    Parameters
    ----------
    classes: Tuple[:class:`type`, ...]
        What the object may be.
    cached: :class:`bool`
        Whether nothing is fetched.
    """

    def __init__(self, classes: tuple[type, ...], *, cached: bool = False) -> None:
        #: What is looked for, in words.
        self.noun: str = " or ".join(cls.__name__ for cls in classes)
        super().__init__(
            Scalar,
            # Without a guild, a member or user is a user.
            needs_guild=discord.Member in classes and discord.User not in classes,
            is_guild=classes == (discord.Guild,),
            is_channel=all(issubclass(cls, _CHANNELS) or cls is discord.abc.Messageable for cls in classes),
            summary=f"The id of {article(self.noun)} {self.noun}",
        )
        self.classes = classes
        self.cached = cached
        #: What a found object may be.
        self._accepted = classes + tuple(one for cls in classes for one in _ALSO.get(cls, ()))
        #: How each of the classes is found in the cache.
        self._finders = tuple(
            next(finder for base, finder in _FINDERS if issubclass(cls, base)) for cls in classes
        )
        #: Classes whose objects are fetched from Discord.
        self._fetched = (
            () if cached else tuple(cls for cls in classes if cls in (discord.Member, discord.User))
        )

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        number = snowflake(value)
        if number < 0:
            what = f"the id of {article(self.noun)} {self.noun}"
            message = f"expected {what}, a number or a string of digits, got {shown(value)}"
            binding.fault(path, message)
            return None
        if self.needs_guild and len(self.classes) == 1 and not self._has_guild(binding, path):
            return None
        for find in self._finders:
            found = find(binding, number)
            if isinstance(found, self._accepted):
                if isinstance(found, discord.Guild) and found.unavailable:
                    raise NotReady("the guild is unavailable at present")
                return found
        return self._fetch(number, binding, path)

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return dict(SNOWFLAKE_SCHEMA)

    def _has_guild(self, binding: Binding, path: Path) -> bool:
        if binding.guild is None:
            binding.fault(path, f"needs {binding.guild_name!r} to be given, too")
        # An unknown one is a fault already.
        return binding.guild is not None and binding.guild is not UNKNOWN

    def _fetch(self, number: int, binding: Binding, path: Path) -> Any:
        for cls in self._fetched:
            guild = binding.guild
            if cls is discord.User:
                key = ("User", 0, number)
                request = partial(binding.client.fetch_user, number)
            elif guild is None or guild is UNKNOWN:
                continue
            else:
                key = ("Member", guild.id, number)
                request = partial(guild.fetch_member, number)
            found = binding.obtain(key, request)
            if found is not MISS:
                return found
        if binding.scanned > SCANNED:
            binding.fault(path, "cannot be looked for in all guilds of the bot: send less at a time")
        else:
            binding.unknown(path, self.noun, number)
        return None
