"""Ids to Discord's objects: which annotations of a route's parameters are looked up in the bot's cache, and how."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Optional, TypeAlias, Union, get_args, get_origin

import discord
from msgspec import Meta

__all__ = ("Lookup", "lookup_of")

#: An id on the wire: a number, or a string of digits since JavaScript's numbers are too small.
Snowflake: TypeAlias = Annotated[int, Meta(ge=0)]

Finder: TypeAlias = Callable[[discord.Client, "discord.Guild | None", int], Any]


def _role(client: discord.Client, guild: discord.Guild | None, number: int) -> discord.Role | None:
    guilds: Sequence[discord.Guild] = client.guilds if guild is None else (guild,)
    return next((role for one in guilds if (role := one.get_role(number))), None)


def _channel(client: discord.Client, guild: discord.Guild | None, number: int) -> Any:
    return client.get_channel(number) if guild is None else guild.get_channel_or_thread(number)


def _member(client: discord.Client, guild: discord.Guild | None, number: int) -> discord.Member | None:
    return None if guild is None else guild.get_member(number)


_FINDERS: tuple[tuple[type, Finder], ...] = (
    (discord.Guild, lambda client, _, number: client.get_guild(number)),
    (discord.Member, _member),
    (discord.User, lambda client, _, number: client.get_user(number)),
    (discord.Role, _role),
    (discord.Emoji, lambda client, _, number: client.get_emoji(number)),
    (discord.abc.GuildChannel, _channel),
    (discord.abc.PrivateChannel, lambda client, _, number: client.get_channel(number)),
    (discord.Thread, _channel),
    (discord.Object, lambda _client, _guild, number: discord.Object(number)),
)


@dataclass(frozen=True, slots=True)
class Lookup:
    """How the value of one parameter is found.

    Attributes
    ----------
    classes: Tuple[:class:`type`, ...]
        What the object may be.
    wire: Any
        The type of the value as it comes over the wire.
    many: :class:`bool`
        Whether the parameter is a list of such objects.
    """

    classes: tuple[type, ...]
    wire: Any
    many: bool

    @property
    def needs_guild(self) -> bool:
        """:class:`bool`: Whether an id alone does not tell which object is meant."""
        return discord.Member in self.classes

    @property
    def noun(self) -> str:
        """:class:`str`: What is looked for, in words."""
        return " or ".join(cls.__name__ for cls in self.classes)

    def find(self, client: discord.Client, guild: discord.Guild | None, number: int) -> Any:
        """Returns the object with that id, or ``None``."""
        for cls in self.classes:
            for base, finder in _FINDERS:
                if issubclass(cls, base):
                    found = finder(client, guild, number)
                    if isinstance(found, self.classes):
                        return found
        return None


def lookup_of(annotation: Any) -> Lookup | None:
    """Returns how a parameter with that annotation is looked up, or ``None`` for one that is plain data.

    Understood are the classes above, unions of them, ``None`` in a union, and lists of all that.

    Raises
    ------
    TypeError
        The annotation mixes Discord's objects with plain data, so an id cannot be told from a number.
    """
    if get_origin(annotation) in (list, Sequence):
        inner = lookup_of(get_args(annotation)[0])
        if inner is not None and inner.many:
            raise TypeError(f"{annotation} is a list of lists of Discord's objects")
        return None if inner is None else Lookup(inner.classes, list[inner.wire], many=True)
    is_union = get_origin(annotation) in (Union, types.UnionType)
    members: tuple[Any, ...] = get_args(annotation) if is_union else (annotation,)
    classes = tuple(member for member in members if _is_known(member))
    if not classes:
        return None
    others = [member for member in members if member not in classes and member is not type(None)]
    if others:
        raise TypeError(f"{annotation} mixes Discord's objects with other types")
    wire: Any = Optional[Snowflake] if type(None) in members else Snowflake  # noqa: UP045 (it is made at run time)
    return Lookup(classes, wire, many=False)


def _is_known(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, tuple(base for base, _ in _FINDERS))
