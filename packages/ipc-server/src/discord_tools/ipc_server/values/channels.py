"""Tables of channels and threads.

Paths that begin with an underscore are discord.py's own attributes, where it has no public one in Discord's form.
"""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.forks import app_commands, discord
from discord_tools.ipc_server.values.activities import OBJECT
from discord_tools.ipc_server.values.emojis import emoji_pair
from discord_tools.ipc_server.values.kinds import (
    boolean,
    enum,
    extra,
    integer,
    made,
    many,
    nested,
    number,
    one_of,
    permissions,
    snowflake,
    text,
    timestamp,
)
from discord_tools.ipc_server.values.table import Field, Table

__all__ = ("TABLES", "THREAD")


def _overwrites(channel: Any) -> list[dict[str, Any]]:
    """Permission overwrites as Discord has them. ``channel.overwrites`` looks up each role and member."""
    return [
        {"id": str(each.id), "type": each.type, "allow": str(each.allow), "deny": str(each.deny)}
        for each in channel._overwrites
    ]


def _allow_and_deny(overwrite: Any) -> dict[str, str]:
    allow, deny = overwrite.pair()
    return {"allow": str(allow.value), "deny": str(deny.value)}


def _metadata(thread: Any) -> dict[str, Any]:
    found = {
        "archived": thread.archived,
        "auto_archive_duration": thread.auto_archive_duration,
        "archive_timestamp": thread.archive_timestamp,
        "locked": thread.locked,
        "invitable": thread.invitable,
        "create_timestamp": thread._created_at,
    }
    if thread.archiver_id is not None:
        found["archiver_id"] = str(thread.archiver_id)
    return found


def _default_reaction(emoji: Any) -> dict[str, str | None]:
    # An emoji of a guild has no name here.
    return (
        {"emoji_id": str(emoji.id), "emoji_name": None}
        if emoji.id
        else {"emoji_id": None, "emoji_name": emoji.name}
    )


def _on_request(field: Field) -> Field:
    return extra(field)._replace(on_request=True)


_BASE: Final = (snowflake("id"), enum("type"), text("name"))
_GUILD_CHANNEL: Final = (
    *_BASE,
    snowflake("guild_id", "guild.id"),
    integer("position"),
    made(_overwrites, OBJECT._replace(many=True), "permission_overwrites"),
    boolean("nsfw"),
    snowflake("parent_id", "category_id"),
)
_TEXT: Final = (snowflake("last_message_id"), integer("rate_limit_per_user", "slowmode_delay"))
_THREADS: Final = (
    text("topic"),
    integer("default_auto_archive_duration"),
    integer("default_thread_rate_limit_per_user", "default_thread_slowmode_delay"),
    _on_request(many(nested(discord.Thread, "threads"))),
)
_VOICE: Final = (
    integer("bitrate"),
    integer("user_limit"),
    text("rtc_region"),
    enum("video_quality_mode"),
    _on_request(many(nested(discord.Member, "members"))),
)
_PRIVATE: Final = (snowflake("id"), enum("type"))
_RECIPIENTS: Final = many(nested(discord.User, "recipients"))

THREAD: Final = (
    *_BASE,
    snowflake("guild_id", "guild.id"),
    snowflake("parent_id"),
    snowflake("owner_id"),
    snowflake("last_message_id"),
    integer("rate_limit_per_user", "slowmode_delay"),
    integer("message_count"),
    integer("member_count"),
    integer("total_message_sent"),
    integer("flags", "_flags"),
    many(snowflake("applied_tags", "_applied_tags")),
    made(_metadata, OBJECT, "thread_metadata"),
)

TABLES: Final = (
    Table(discord.TextChannel, *_GUILD_CHANNEL, *_TEXT, *_THREADS, types=("channel.TextChannel",)),
    Table(discord.VoiceChannel, *_GUILD_CHANNEL, *_TEXT, *_VOICE, types=("channel.VoiceChannel",)),
    Table(
        discord.StageChannel, *_GUILD_CHANNEL, *_TEXT, *_VOICE, text("topic"), types=("channel.StageChannel",)
    ),
    Table(discord.CategoryChannel, *_GUILD_CHANNEL, types=("channel.CategoryChannel",)),
    Table(
        discord.ForumChannel,
        *_GUILD_CHANNEL,
        *_TEXT,
        *_THREADS,
        integer("flags", "_flags"),
        many(nested(discord.ForumTag, "available_tags")),
        made(_default_reaction, OBJECT, "default_reaction_emoji", "default_reaction_emoji"),
        enum("default_sort_order"),
        enum("default_forum_layout", "default_layout"),
        types=("channel.ForumChannel",),
    ),
    Table(
        discord.ForumTag,
        snowflake("id"),
        text("name"),
        boolean("moderated"),
        *emoji_pair("emoji"),
        types=("channel.ForumTag",),
    ),
    Table(
        discord.Thread,
        *THREAD,
        nested(discord.ThreadMember, "member", "me", omit=True),
        _on_request(many(nested(discord.ThreadMember, "members"))),
        types=("threads.Thread",),
    ),
    Table(
        discord.ThreadMember,
        snowflake("id", "thread_id"),
        snowflake("user_id", "id"),
        timestamp("join_timestamp", "joined_at"),
        integer("flags"),
        types=("threads.ThreadMember",),
    ),
    Table(discord.DMChannel, *_PRIVATE, _RECIPIENTS, types=("channel.DMChannel",)),
    Table(
        discord.GroupChannel,
        *_PRIVATE,
        text("name"),
        text("icon", "_icon"),
        snowflake("owner_id"),
        _RECIPIENTS,
        types=("channel.GroupDMChannel",),
    ),
    Table(
        discord.PartialMessageable,
        snowflake("id"),
        enum("type", omit=True),
        snowflake("guild_id", omit=True),
        types=("channel.PartialChannel",),
    ),
    Table(
        discord.PartialInviteChannel,
        *_BASE,
        types=("channel.PartialChannel",),
    ),
    Table(discord.PartialWebhookChannel, snowflake("id"), text("name"), types=("channel.PartialChannel",)),
    Table(
        app_commands.AppCommandChannel,
        *_BASE,
        snowflake("guild_id", extra=True),
        permissions("permissions"),
        text("topic"),
        integer("position"),
        boolean("nsfw"),
        integer("flags", "_flags"),
        integer("rate_limit_per_user", "slowmode_delay"),
        snowflake("parent_id", "category_id"),
        snowflake("last_message_id"),
        timestamp("last_pin_timestamp", "_last_pin"),
        types=("interactions.PartialChannel",),
    ),
    Table(
        app_commands.AppCommandThread,
        *(field for field in THREAD if field.name != "guild_id"),
        snowflake("guild_id", extra=True),
        permissions("permissions"),
        types=("interactions.PartialThread",),
    ),
    Table(
        app_commands.AllChannels,
        snowflake("id"),
        snowflake("guild_id", "guild.id", extra=True),
    ),
    Table(
        discord.PermissionOverwrite,
        scalar=OBJECT._replace(code="call({})", function=_allow_and_deny),
        types=("channel.PermissionOverwrite",),
    ),
    Table(
        discord.StageInstance,
        snowflake("id"),
        snowflake("guild_id", "guild.id"),
        snowflake("channel_id"),
        text("topic"),
        enum("privacy_level"),
        boolean("discoverable_disabled"),
        snowflake("guild_scheduled_event_id", "scheduled_event_id"),
        types=("channel.StageInstance",),
    ),
    Table(
        discord.VoiceChannelEffect,
        snowflake("channel_id", "channel.id"),
        snowflake("guild_id", "channel.guild.id"),
        snowflake("user_id", "user?.id"),
        one_of((discord.PartialEmoji,), "emoji", omit=True),
        enum("animation_type", "animation?.type", omit=True),
        integer("animation_id", "animation?.id", omit=True),
        snowflake("sound_id", "sound?.id", omit=True),
        number("sound_volume", "sound?.volume", omit=True),
        types=("channel.VoiceChannelEffect",),
    ),
)
