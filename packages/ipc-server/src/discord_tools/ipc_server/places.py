"""The guilds and channels that a call is about, by the arguments of its route."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeAlias, cast

import discord
import msgspec

from discord_tools.ipc.errors import BadData, NotReady, Violation
from discord_tools.ipc_server.parameters.faults import bad_data, shown
from discord_tools.ipc_server.request import GUILD_KEYS, Request
from discord_tools.ipc_server.requirements import Channel
from discord_tools.ipc_server.snowflakes import snowflake

__all__ = ("Places", "places_of")

#: Guilds, with the channels in them by their ids.
Places: TypeAlias = dict[discord.Guild, dict[int, Channel]]

#: Types in arguments that hold no object of a guild. There may be many.
_PLAIN: Final = frozenset((bool, bytes, float, int, str, type(None)))

#: Channels that may be in no guild.
_MAY_BE_PRIVATE: Final = (discord.abc.PrivateChannel, discord.PartialMessageable)


def places_of(client: discord.Client, request: Request, arguments: Mapping[str, Any]) -> Places:
    """Returns the guilds and channels that a call is about: those of all objects in its arguments, and those whose ids
    ``guild_id`` and ``guild`` are.

    Raises
    ------
    BadData
        There is none, one is not known, or a channel is in no guild.
    NotReady
        The bot has not received all of its guilds.
    """
    places: Places = {}
    for found in _objects(arguments):
        guild = found if isinstance(found, discord.Guild) else getattr(found, "guild", None)
        if guild is None:
            message = "a channel that is in no guild cannot be judged, and this route judges the acting user in a guild"
            raise BadData(message, data=[Violation(path="", message=message)])
        channels = places.setdefault(guild, {})
        if isinstance(found, discord.abc.GuildChannel | discord.Thread):
            channels[found.id] = found
    route = request.route
    # A route without parameters reads the data itself.
    named = arguments if route is not None and route.signature.takes_data else request
    for key in GUILD_KEYS:
        for value in _ids(named[key]) if key in named else ():
            places.setdefault(_guild(client, key, value), {})
    if not places:
        message = (
            "this route judges the acting user in a guild, and the data does not say in which: give guild_id"
        )
        raise BadData(message, data=[Violation(path="guild_id", message=message)])
    return places


def _ids(value: Any) -> Iterator[Any]:
    """What may be ids in a value that names guilds. Objects are judged as all others in arguments."""
    several = isinstance(value, list | tuple | set | frozenset)
    for one in cast("Collection[Any]", value) if several else (value,):
        if isinstance(one, discord.Object):
            yield one.id
        elif isinstance(one, bool | bytes | float | int | str):
            yield one


def _guild(client: discord.Client, key: str, value: Any) -> discord.Guild:
    number = snowflake(value)
    if number < 0:
        raise bad_data([Violation(path=key, message=f"expected the id of a Guild, got {shown(value)}")])
    guild = client.get_guild(number)
    if guild is None:
        if not client.is_ready():
            raise NotReady("the bot has not received all of its guilds")
        message = "no Guild with this id is known to the bot"
        raise bad_data([Violation(path=key, message=message, kind="Guild", id=str(number))])
    return guild


def _objects(arguments: Mapping[str, Any]) -> Iterator[Any]:
    """The objects among arguments that belong to a guild, and channels that may belong to none, in containers, too."""
    left: list[Any] = [arguments]
    seen: set[int] = set()
    while left:
        value = left.pop()
        if isinstance(value, discord.Message | discord.PartialMessage):
            value = value.channel
        # First: a structure may have a field named guild, among others.
        if (parts := _parts(value)) is not None:
            if id(value) not in seen:  # a converter may return what refers to itself
                seen.add(id(value))
                left.extend(one for one in parts if type(one) not in _PLAIN)
        elif isinstance(value, (discord.Guild, *_MAY_BE_PRIVATE)) or isinstance(
            getattr(value, "guild", None), discord.Guild
        ):
            yield value


def _parts(value: Any) -> Iterable[Any] | None:
    """What is in a container or in a structure. ``None`` for anything else."""
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]  # pyright: ignore[reportUnknownVariableType] (of Any)
    if isinstance(value, list | tuple | set | frozenset):
        return cast("list[Any]", value)
    if is_dataclass(value):
        return [getattr(value, field.name, None) for field in fields(value)]
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name, None) for name in value.__struct_fields__]
    of_attrs = getattr(value, "__attrs_attrs__", None)
    return None if of_attrs is None else [getattr(value, one.name, None) for one in of_attrs]
