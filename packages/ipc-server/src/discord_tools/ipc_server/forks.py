"""The library named ``discord`` that is installed: discord.py, an earlier version of it, or py-cord in its place.

Other modules take from here what not all of them have, and do not ask which one it is. Nothing of the library itself is
changed.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

__all__ = (
    "ADDED_LISTENERS",
    "CLIENT_WITH_COGS",
    "CLIENT_WITH_LISTENERS",
    "CLIENT_WITH_OWNERS",
    "OWN_DISPATCH",
    "REPLACED",
    "BaseFlags",
    "DiscordEnum",
    "RangeTransformer",
    "Replacement",
    "Typing",
    "app_commands",
    "colour_from_text",
    "commands",
    "discord",
    "has_attribute",
    "is_whole",
    "ui",
)

if TYPE_CHECKING:
    import discord
    from discord import app_commands, ui
    from discord.app_commands.transformers import RangeTransformer
    from discord.context_managers import Typing
    from discord.enums import Enum as DiscordEnum
    from discord.ext import commands
    from discord.flags import BaseFlags

    CLIENT_WITH_COGS = commands.bot.BotBase
    CLIENT_WITH_OWNERS = commands.bot.BotBase
    IS_PYCORD = False
else:
    import discord as _discord
    from discord.context_managers import Typing
    from discord.enums import Enum as DiscordEnum
    from discord.ext import commands as _commands
    from discord.flags import BaseFlags

    class Library:
        """A module, with a class without objects for each class that it does not have.

        So a table of such a class is never used, and ``isinstance`` is false.
        """

        def __init__(self, name: str, module: ModuleType | None) -> None:
            #: The name of the module, for errors.
            self.__name__ = name
            #: The module, or ``None`` where the library does not have it.
            self._module = module

        def __getattr__(self, name: str) -> Any:
            try:
                found = getattr(self._module, name)
            # py-cord's classes for voice raise the second one where what they need is not installed.
            except (AttributeError, _discord.DiscordException):
                if name.startswith("__"):
                    raise
                found = type(name, (), {"__module__": self.__name__})
            # The next look-up finds it without this method.
            setattr(self, name, found)
            return found

    discord = Library("discord", _discord)
    commands = Library("discord.ext.commands", _commands)
    ui = Library("discord.ui", _discord.ui)
    try:
        from discord.app_commands import transformers
    except ModuleNotFoundError as error:
        # py-cord has commands of its own, without this package.
        if error.name != "discord.app_commands":
            raise
        app_commands = Library("discord.app_commands", None)
        RangeTransformer = app_commands.RangeTransformer
    else:
        app_commands = Library("discord.app_commands", _discord.app_commands)
        RangeTransformer = transformers.RangeTransformer

    IS_PYCORD = hasattr(_discord, "ApplicationContext")
    CLIENT_WITH_COGS = _discord.cog.CogMixin if IS_PYCORD else _commands.bot.BotBase
    # The class that has owner_id, owner_ids and is_owner().
    CLIENT_WITH_OWNERS = _discord.bot.BotBase if IS_PYCORD else _commands.bot.BotBase


# -- clients

#: The clients that functions can be added to as listeners: in py-cord all of them.
CLIENT_WITH_LISTENERS: Final[type[Any]] = discord.Client if IS_PYCORD else commands.bot.BotBase

#: The attribute of such a client that has them, by the name of the method that they are beside.
ADDED_LISTENERS: Final = "_event_handlers" if IS_PYCORD else "extra_events"

#: The library's own ways to dispatch an event.
OWN_DISPATCH: Final[tuple[Any, ...]] = tuple(
    vars(cls)["dispatch"] for cls in (discord.Client, commands.bot.BotBase) if "dispatch" in vars(cls)
)


def colour_from_text(text: str) -> discord.Colour:
    """What ``discord.Colour.from_str`` does.

    Raises
    ------
    ValueError
        It is no colour, or one in a form that this library does not read.
    """
    if not IS_PYCORD:
        return discord.Colour.from_str(text)
    digits = text.removeprefix("#") if text.startswith("#") else text.removeprefix("0x")
    if digits == text or len(digits) not in (3, 6) or not digits.isalnum():
        raise ValueError("expected #rgb, #rrggbb or 0xrrggbb")
    return discord.Colour(int(digits if len(digits) == 6 else "".join(2 * each for each in digits), 16))


# -- values

#: What stands for a field of a table: another path, a function of the object, or ``None`` for a field that the library
#: knows nothing of.
Replacement = str | Callable[[Any], Any] | None


def has_attribute(cls: type[Any], path: str) -> bool:
    """Whether the objects of a class have an attribute, as far as the class tells.

    Earlier versions of discord.py do not keep all that Discord sends now. In py-cord, what is not in :data:`REPLACED`
    is taken to be there: it is an error if it is not.
    """
    if IS_PYCORD:
        return True
    name = path.partition(".")[0].rstrip("?")
    if any(name in vars(base) or name in getattr(base, "__annotations__", ()) for base in cls.__mro__):
        return True
    # An attribute that has no place in any class may be in the dict of the object.
    return any("__slots__" not in vars(base) for base in cls.__mro__[:-1] if base.__module__ != "typing")


def _dict_of(thing: Any) -> Any:
    """A part of a message in Discord's form: ids are strings."""
    if isinstance(thing, dict):
        items = cast("dict[str, Any]", thing).items()
        return {key: str(value) if key == "id" and _is_id(value) else _dict_of(value) for key, value in items}
    return [_dict_of(each) for each in cast("list[Any]", thing)] if isinstance(thing, list) else thing


def _is_id(value: Any) -> bool:
    # The other ids, of components, are small numbers.
    return isinstance(value, int) and value >= 1 << 32


def _sent(name: str) -> Callable[[Any], Any]:
    """A member of a message as Discord sent it. Those of which py-cord makes no attribute do not change."""
    return lambda message: message._raw_data.get(name)


def _primary_guild(user: Any) -> dict[str, Any] | None:
    guild = user.primary_guild
    if guild is None:
        return None
    return {
        "identity_guild_id": None if guild.identity_guild_id is None else str(guild.identity_guild_id),
        "identity_enabled": guild.identity_enabled,
        "tag": guild.tag,
        "badge": guild._badge,
    }


def _client_status(member: Any) -> dict[str, str]:
    return {device: state for device, state in member._client_status.items() if device is not None}


def _colors(role: Any) -> dict[str, int | None]:
    colours = role.colours
    each = {"primary": colours.primary, "secondary": colours.secondary, "tertiary": colours.tertiary}
    return {f"{name}_color": None if colour is None else colour.value for name, colour in each.items()}


def _metadata(thread: Any) -> dict[str, Any]:
    return {
        "archived": thread.archived,
        "auto_archive_duration": thread.auto_archive_duration,
        "archive_timestamp": thread.archive_timestamp,
        "locked": thread.locked,
        "invitable": thread.invitable,
        "create_timestamp": thread.created_at,
    }


_FLAGS: Final = attrgetter("flags.value")

_USER: Final[dict[str, Replacement]] = {
    "avatar_decoration_data": "_avatar_decoration",
    "primary_guild": _primary_guild,
}
_MESSAGE: Final[dict[str, Replacement]] = {
    **{
        name: _sent(name)
        for name in (
            *("application_id", "position", "role_subscription_data", "purchase_notification", "application"),
            *("message_snapshots", "interaction", "interaction_metadata", "call"),
        )
    },
    "components": lambda message: _dict_of([each.to_dict() for each in message.components]) or None,
    "poll": "_poll",
    "pinned_at": None,
}

#: What is different in py-cord, by class and field. It has a table for these classes only, and all others are
#: refused.
_PYCORD: Final[dict[str, dict[str, Replacement]]] = {
    "User": _USER,
    "ClientUser": _USER,
    "Member": {
        "avatar_decoration_data": "_avatar_decoration",
        "flags": _FLAGS,
        "communication_disabled_until": "communication_disabled_until",
        "permissions": None,
        "status": attrgetter("raw_status"),
        "client_status": _client_status,
    },
    "Activity": {"platform": None, "state_url": None, "details_url": None, "status_display_type": None},
    "Game": {"platform": None, "assets": None},
    "Streaming": {},
    "CustomActivity": {},
    "Spotify": {},
    "Guild": {
        "afk_channel_id": "afk_channel?.id",
        "safety_alerts_channel_id": None,
        "widget_enabled": None,
        "widget_channel_id": None,
        "vanity_url_code": None,
        "max_stage_video_channel_users": None,
        "mfa_level": attrgetter("mfa_level"),
        "preferred_locale": attrgetter("preferred_locale"),
        "incidents_data": lambda guild: guild.incidents_data and guild.incidents_data.to_dict(),
        "soundboard_sounds": None,
    },
    "Role": {
        "flags": _FLAGS,
        "colors": _colors,
        "tags": lambda role: None if role.tags is None else role.tags._data,
    },
    "TextChannel": {},
    "VoiceChannel": {},
    "CategoryChannel": {},
    "StageChannel": {},
    "Thread": {"flags": _FLAGS, "thread_metadata": _metadata},
    "ThreadMember": {},
    "PermissionOverwrite": {},
    "Message": _MESSAGE,
    "PartialMessage": {},
    "DeletedReferencedMessage": {},
    "MessageReference": {},
    "Attachment": {"duration_secs": "duration_secs", "flags": _FLAGS},
    "Embed": {},
    "AllowedMentions": {},
    "Reaction": {"count_details": lambda reaction: dict(reaction._count_details)},
    "PartialEmoji": {},
    "Emoji": {},
    "StickerItem": {},
    "VoiceState": {},
    "BanEntry": {},
    "Asset": {},
    "Colour": {},
    "Permissions": {},
    "BaseFlags": {},
    "Object": {},
}

#: Parts of functions that make a field, and are missing in earlier versions of discord.py.
_EARLIER: Final[dict[str, dict[str, Replacement]]] = (
    {} if has_attribute(discord.Role, "_secondary_colour") else {"Role": {"colors": None}}
)

#: The fields that are different from those of discord.py, by class.
REPLACED: Final[dict[str, dict[str, Replacement]]] = _PYCORD if IS_PYCORD else _EARLIER


def is_whole(cls: type[Any]) -> bool:
    """Whether all of an object of this class can be written by its table."""
    return not IS_PYCORD or cls.__name__ in REPLACED
