"""Tables of the arguments of raw events, in the form of the gateway's events."""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.forks import app_commands, discord
from discord_tools.ipc_server.values.emojis import EMOJI, emoji_of
from discord_tools.ipc_server.values.kinds import (
    INTEGER,
    JSON,
    TEXT,
    boolean,
    enum,
    extra,
    integer,
    json,
    made,
    many,
    nested,
    snowflake,
)
from discord_tools.ipc_server.values.table import Field, Table
from discord_tools.ipc_server.values.users import PERSON, member_of

__all__ = ("TABLES",)


def _burst_colors(event: Any) -> list[str]:
    """Discord has these as texts, other than all other colours."""
    return [str(colour) for colour in event.burst_colours]


def _seconds(event: Any) -> int:
    return int(event.timestamp.timestamp())


_IDS: Final = (snowflake("channel_id"), snowflake("guild_id"))
_MESSAGE: Final = (snowflake("message_id"), *_IDS)
_DELETED: Final = (snowflake("id", "message_id"), *_IDS)
_EMOJI: Final[Field] = made(emoji_of, EMOJI, "emoji", "emoji")
_CACHED: Final = nested(discord.Message, "cached_message", omit=True, extra=True)
_THREAD: Final = (
    snowflake("id", "thread_id"),
    enum("type", "thread_type"),
    snowflake("parent_id"),
    snowflake("guild_id"),
    nested(discord.Thread, "thread", omit=True, extra=True),
)

TABLES: Final = (
    Table(discord.RawMessageDeleteEvent, *_DELETED, _CACHED, types=("gateway.MessageDeleteEvent",)),
    Table(
        discord.RawBulkMessageDeleteEvent,
        many(snowflake("ids", "message_ids")),
        *_IDS,
        extra(many(nested(discord.Message, "cached_messages"))),
        types=("gateway.MessageDeleteBulkEvent",),
    ),
    Table(
        discord.RawMessageUpdateEvent,
        *_DELETED,
        # What Discord sent, which has no more than this.
        nested(discord.Message, "message", extra=True),
        _CACHED,
        types=("message.PartialMessage",),
    ),
    Table(
        discord.RawReactionActionEvent,
        snowflake("user_id"),
        *_MESSAGE,
        snowflake("message_author_id", omit=True),
        nested(discord.Member, "member", omit=True),
        _EMOJI,
        boolean("burst"),
        made(_burst_colors, TEXT._replace(many=True), "burst_colors"),
        enum("type"),
        # Discord has two events, discord.py one class.
        Field("event_type", "event_type", TEXT, extra=True),
        types=("gateway.MessageReactionAddEvent",),
    ),
    Table(discord.RawReactionClearEvent, *_MESSAGE, types=("gateway.MessageReactionRemoveAllEvent",)),
    Table(
        discord.RawReactionClearEmojiEvent,
        *_MESSAGE,
        _EMOJI,
        types=("gateway.MessageReactionRemoveEmojiEvent",),
    ),
    Table(
        discord.RawPollVoteActionEvent,
        snowflake("user_id"),
        *_MESSAGE,
        integer("answer_id"),
        types=("gateway.PollVoteActionEvent",),
    ),
    Table(
        discord.RawMemberRemoveEvent,
        snowflake("guild_id"),
        nested(PERSON, "user"),
        types=("gateway.GuildMemberRemoveEvent",),
    ),
    Table(
        discord.RawIntegrationDeleteEvent,
        snowflake("id", "integration_id"),
        snowflake("guild_id"),
        snowflake("application_id", omit=True),
        types=("gateway.IntegrationDeleteEvent",),
    ),
    Table(
        discord.RawThreadUpdateEvent, *_THREAD, json("data", extra=True), types=("gateway.ThreadDeleteEvent",)
    ),
    Table(discord.RawThreadDeleteEvent, *_THREAD, types=("gateway.ThreadDeleteEvent",)),
    Table(
        discord.RawThreadMembersUpdate,
        snowflake("id", "thread_id"),
        snowflake("guild_id"),
        integer("member_count"),
        made(lambda event: event.data.get("added_members"), JSON, "added_members", omit=True),
        made(lambda event: event.data.get("removed_member_ids"), JSON, "removed_member_ids", omit=True),
        types=("gateway.ThreadMembersUpdate",),
    ),
    Table(
        discord.RawTypingEvent,
        *_IDS,
        snowflake("user_id"),
        made(_seconds, INTEGER, "timestamp"),
        nested(discord.Member, "member", "user", omit=True)._replace(prepare=member_of),
        types=("gateway.TypingStartEvent",),
    ),
    Table(
        discord.RawAppCommandPermissionsUpdateEvent,
        snowflake("id", "target_id"),
        snowflake("application_id"),
        snowflake("guild_id", "guild.id"),
        many(nested(app_commands.AppCommandPermissions, "permissions")),
        types=("command.GuildApplicationCommandPermissions",),
    ),
)
