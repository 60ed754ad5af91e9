"""Tables of emojis, stickers and sounds.

Paths that begin with an underscore are discord.py's own attributes, where it has no public one or makes an asset of it.
"""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.forks import discord
from discord_tools.ipc_server.values.kinds import (
    TEXT,
    boolean,
    enum,
    extra,
    integer,
    made,
    many,
    nested,
    number,
    snowflake,
    text,
)
from discord_tools.ipc_server.values.table import Kind, Table

__all__ = ("EMOJI", "TABLES", "emoji_of", "emoji_pair")

#: An emoji that may be a character, which discord.py keeps as a string.
EMOJI: Final = Kind("emoji", "{}", {"type": "object"}, classes=(discord.PartialEmoji, discord.Emoji))


def emoji_of(emoji: Any) -> Any:
    """An emoji of a reaction in Discord's form."""
    if isinstance(emoji, str):
        return {"id": None, "name": emoji}
    # A partial one has no more than that.
    return {"id": None if emoji.id is None else str(emoji.id), "name": emoji.name, "animated": emoji.animated}


def _id(emoji: Any) -> int | None:
    return getattr(emoji, "id", None)


def emoji_pair(path: str) -> tuple[Any, Any]:
    """The fields ``emoji_id`` and ``emoji_name`` of an emoji that may be ``None`` or a character."""
    return (
        snowflake("emoji_id", path)._replace(prepare=_id),
        made(lambda emoji: emoji if isinstance(emoji, str) else emoji.name, TEXT, "emoji_name", path),
    )


def _tags(sticker: Any) -> str:
    return ", ".join(sticker.tags)


_STICKER: Final = (
    snowflake("id"),
    text("name"),
    text("description"),
    enum("format_type", "format"),
)
_URL: Final = extra(text("url"))

TABLES: Final = (
    Table(
        discord.Emoji,
        snowflake("id"),
        text("name"),
        boolean("animated"),
        boolean("managed"),
        boolean("require_colons"),
        boolean("available"),
        many(snowflake("roles", "_roles")),
        nested(discord.User, "user", omit=True),
        _URL,
        types=("emoji.Emoji",),
    ),
    Table(
        discord.PartialEmoji,
        snowflake("id"),
        text("name"),
        made(
            lambda emoji: emoji.animated or None,
            Kind("boolean", "{}", {"type": "boolean"}),
            "animated",
            omit=True,
        ),
        types=("emoji.PartialEmoji",),
    ),
    Table(discord.Sticker, *_STICKER, _URL, types=("sticker.BaseSticker",)),
    Table(
        discord.StandardSticker,
        *_STICKER,
        enum("type"),
        made(_tags, TEXT, "tags"),
        integer("sort_value"),
        snowflake("pack_id"),
        _URL,
        types=("sticker.StandardSticker",),
    ),
    Table(
        discord.GuildSticker,
        *_STICKER,
        enum("type"),
        text("tags", "emoji"),
        boolean("available"),
        snowflake("guild_id"),
        nested(discord.User, "user", omit=True),
        _URL,
        types=("sticker.GuildSticker",),
    ),
    Table(
        discord.StickerItem,
        snowflake("id"),
        text("name"),
        enum("format_type", "format"),
        _URL,
        types=("sticker.StickerItem",),
    ),
    Table(
        discord.StickerPack,
        snowflake("id"),
        text("name"),
        snowflake("sku_id"),
        snowflake("cover_sticker_id", omit=True),
        text("description"),
        snowflake("banner_asset_id", "_banner", omit=True),
        many(nested(discord.StandardSticker, "stickers")),
        types=("sticker.StickerPack",),
    ),
    Table(
        discord.SoundboardSound,
        snowflake("sound_id", "id"),
        text("name"),
        number("volume"),
        *emoji_pair("emoji"),
        boolean("available"),
        snowflake("guild_id", "guild.id"),
        snowflake("user_id", "_user_id", omit=True),
        nested(discord.User, "user", omit=True),
        _URL,
        types=("soundboard.SoundboardSound",),
    ),
    Table(
        discord.SoundboardDefaultSound,
        snowflake("sound_id", "id"),
        text("name"),
        number("volume"),
        *emoji_pair("emoji"),
        _URL,
        types=("soundboard.SoundboardDefaultSound",),
    ),
    Table(
        (discord.BaseSoundboardSound, discord.VoiceChannelSoundEffect),
        snowflake("sound_id", "id"),
        number("volume"),
        _URL,
        types=("soundboard.BaseSoundboardSound",),
    ),
)
