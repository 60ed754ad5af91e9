"""Tables of guilds and of what belongs to them: roles, previews, templates, widgets, onboarding.

Paths that begin with an underscore are discord.py's own attributes, which it makes an asset, a colour or a channel of
every time they are read by their public names. A test compares both.
"""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.forks import discord
from discord_tools.ipc_server.values.activities import ACTIVITIES, OBJECT
from discord_tools.ipc_server.values.emojis import emoji_pair
from discord_tools.ipc_server.values.images import guild_icon_url, role_icon_url
from discord_tools.ipc_server.values.kinds import (
    BITS,
    SNOWFLAKE,
    URL,
    boolean,
    enum,
    extra,
    integer,
    json,
    made,
    many,
    nested,
    one_of,
    snowflake,
    text,
    timestamp,
)
from discord_tools.ipc_server.values.table import Field, Table
from discord_tools.ipc_server.values.users import USER_FIELDS

__all__ = ("CHANNELS", "TABLES")

CHANNELS: Final = (
    discord.TextChannel,
    discord.VoiceChannel,
    discord.StageChannel,
    discord.ForumChannel,
    discord.CategoryChannel,
)


def _colors(role: Any) -> dict[str, int | None]:
    return {
        "primary_color": role._colour,
        "secondary_color": role._secondary_colour,
        "tertiary_color": role._tertiary_colour,
    }


def _tags(tags: Any) -> dict[str, Any]:
    """Discord's form of tags: what is true is there and null."""
    ids = {name: getattr(tags, name) for name in ("bot_id", "integration_id", "subscription_listing_id")}
    marks = {
        "premium_subscriber": tags.is_premium_subscriber(),
        "available_for_purchase": tags.is_available_for_purchase(),
        "guild_connections": tags.is_guild_connection(),
    }
    found: dict[str, Any] = {name: str(value) for name, value in ids.items() if value is not None}
    return found | {name: None for name, value in marks.items() if value}


def _user_id(state: Any) -> str | None:
    """Whose voice state it is. discord.py only keeps that in a table of the guild."""
    guild = None if state.channel is None else state.channel.guild
    states: dict[int, Any] = {} if guild is None else guild._voice_states
    return next((str(user) for user, known in states.items() if known is state), None)


def _voice_states(guild: Any) -> list[dict[str, Any]]:
    """All voice states of a guild with their users. Looking for the user of each would take the square of the time."""
    names = [(field.name, field.path) for field in VOICE_STATE]
    return [
        {
            "user_id": str(user),
            "guild_id": str(guild.id),
            "channel_id": None if state.channel is None else str(state.channel.id),
            **{name: getattr(state, path) for name, path in names},
        }
        for user, state in guild._voice_states.items()
    ]


VOICE_STATE: Final[tuple[Field, ...]] = (
    text("session_id"),
    boolean("deaf"),
    boolean("mute"),
    boolean("self_deaf"),
    boolean("self_mute"),
    boolean("self_stream"),
    boolean("self_video"),
    boolean("suppress"),
    timestamp("request_to_speak_timestamp", "requested_to_speak_at"),
)


def _on_request(field: Field) -> Field:
    return field._replace(on_request=True)


#: What a guild consists of. Written only where it is asked for, since it may be a thousand times as much as the rest.
_COLLECTIONS: Final = tuple(
    map(
        _on_request,
        (
            many(nested(discord.Role, "roles")),
            many(nested(discord.Emoji, "emojis")),
            many(nested(discord.GuildSticker, "stickers")),
            many(one_of(CHANNELS, "channels")),
            many(nested(discord.Thread, "threads")),
            many(nested(discord.Member, "members")),
            made(_voice_states, OBJECT._replace(many=True), "voice_states"),
            many(nested(discord.StageInstance, "stage_instances")),
            many(nested(discord.ScheduledEvent, "guild_scheduled_events", "scheduled_events")),
            many(nested(discord.SoundboardSound, "soundboard_sounds")),
        ),
    )
)

_PARTIAL_GUILD: Final = (
    snowflake("id"),
    text("name"),
    text("icon", "_icon"),
    made(guild_icon_url, URL, "icon_url", extra=True),
    text("description"),
    json("features"),
)


TABLES: Final = (
    Table(
        discord.Guild,
        *_PARTIAL_GUILD,
        text("splash", "_splash"),
        text("discovery_splash", "_discovery_splash"),
        text("banner", "_banner"),
        snowflake("owner_id"),
        integer("member_count", "_member_count"),
        integer("approximate_member_count", omit=True),
        integer("approximate_presence_count", omit=True),
        snowflake("afk_channel_id", "_afk_channel_id"),
        integer("afk_timeout"),
        enum("verification_level"),
        enum("default_message_notifications", "default_notifications"),
        enum("explicit_content_filter"),
        enum("mfa_level"),
        enum("nsfw_level"),
        snowflake("system_channel_id", "_system_channel_id"),
        integer("system_channel_flags", "_system_channel_flags"),
        snowflake("rules_channel_id", "_rules_channel_id"),
        snowflake("public_updates_channel_id", "_public_updates_channel_id"),
        snowflake("safety_alerts_channel_id", "_safety_alerts_channel_id"),
        boolean("widget_enabled"),
        snowflake("widget_channel_id", "_widget_channel_id"),
        text("vanity_url_code"),
        integer("premium_tier"),
        integer("premium_subscription_count"),
        boolean("premium_progress_bar_enabled"),
        enum("preferred_locale"),
        integer("max_presences"),
        integer("max_members"),
        integer("max_video_channel_users"),
        integer("max_stage_video_channel_users", "max_stage_video_users"),
        json("incidents_data", "_incidents_data"),
        boolean("unavailable"),
        boolean("large", "_large"),
        *_COLLECTIONS,
        types=("guild.Guild",),
    ),
    Table(
        discord.GuildPreview,
        *_PARTIAL_GUILD,
        text("splash", "_splash"),
        text("discovery_splash", "_discovery_splash"),
        integer("approximate_member_count"),
        integer("approximate_presence_count"),
        many(nested(discord.Emoji, "emojis")),
        many(nested(discord.GuildSticker, "stickers")),
        types=("guild.GuildPreview",),
    ),
    Table(
        discord.PartialInviteGuild,
        *_PARTIAL_GUILD,
        text("splash", "_splash"),
        text("banner", "_banner"),
        enum("verification_level"),
        enum("nsfw_level"),
        text("vanity_url_code"),
        integer("premium_subscription_count"),
        types=("invite.InviteGuild",),
    ),
    Table(
        discord.PartialWebhookGuild,
        snowflake("id"),
        text("name"),
        text("icon", "_icon"),
        types=("webhook.SourceGuild",),
    ),
    Table(
        discord.Role,
        snowflake("id"),
        extra(snowflake("guild_id", "guild.id")),
        text("name"),
        integer("color", "_colour"),
        made(_colors, OBJECT, "colors"),
        boolean("hoist"),
        text("icon", "_icon"),
        text("unicode_emoji"),
        integer("position"),
        Field("permissions", "_permissions", BITS),
        boolean("managed"),
        boolean("mentionable"),
        integer("flags", "_flags"),
        made(_tags, OBJECT, "tags", "tags", omit=True),
        made(role_icon_url, URL, "icon_url", extra=True),
        _on_request(extra(many(nested(discord.Member, "members")))),
        types=("role.Role",),
    ),
    Table(
        discord.RoleTags,
        scalar=OBJECT._replace(code="call({})", function=_tags),
        types=("role.RoleTags",),
    ),
    Table(
        discord.VoiceState,
        made(_user_id, SNOWFLAKE, "user_id"),
        snowflake("guild_id", "channel?.guild.id"),
        snowflake("channel_id", "channel?.id"),
        *VOICE_STATE,
        types=("voice.VoiceState",),
    ),
    Table(
        discord.BanEntry,
        text("reason"),
        nested(discord.User, "user"),
        types=("guild.Ban",),
    ),
    Table(
        discord.Template,
        text("code"),
        text("name"),
        text("description"),
        integer("usage_count", "uses"),
        snowflake("creator_id", "creator?.id"),
        nested(discord.User, "creator"),
        timestamp("created_at"),
        timestamp("updated_at"),
        snowflake("source_guild_id", "source_guild.id"),
        nested(discord.Guild, "serialized_source_guild", "source_guild"),
        boolean("is_dirty"),
        extra(text("url")),
        types=("template.Template",),
    ),
    Table(
        discord.WelcomeScreen,
        text("description"),
        many(nested(discord.WelcomeChannel, "welcome_channels")),
        types=("welcome_screen.WelcomeScreen",),
    ),
    Table(
        discord.WelcomeChannel,
        snowflake("channel_id", "channel.id"),
        text("description"),
        *emoji_pair("emoji"),
        types=("welcome_screen.WelcomeScreenChannel",),
    ),
    Table(
        discord.Onboarding,
        snowflake("guild_id", "guild.id"),
        many(nested(discord.OnboardingPrompt, "prompts")),
        many(snowflake("default_channel_ids")),
        boolean("enabled"),
        enum("mode"),
        types=("onboarding.Onboarding",),
    ),
    Table(
        discord.OnboardingPrompt,
        snowflake("id"),
        enum("type"),
        text("title"),
        many(nested(discord.OnboardingPromptOption, "options")),
        boolean("single_select"),
        boolean("required"),
        boolean("in_onboarding"),
        types=("onboarding.Prompt",),
    ),
    Table(
        discord.OnboardingPromptOption,
        snowflake("id"),
        text("title"),
        text("description"),
        many(snowflake("channel_ids")),
        many(snowflake("role_ids")),
        one_of((discord.PartialEmoji, discord.Emoji), "emoji", omit=True),
        types=("onboarding.PromptOption",),
    ),
    Table(
        discord.Widget,
        snowflake("id"),
        text("name"),
        text("instant_invite", "_invite"),
        many(nested(discord.WidgetChannel, "channels")),
        many(nested(discord.WidgetMember, "members")),
        integer("presence_count"),
        types=("widget.Widget",),
    ),
    Table(
        discord.WidgetChannel,
        snowflake("id"),
        text("name"),
        integer("position"),
        types=("widget.WidgetChannel",),
    ),
    Table(
        discord.WidgetMember,
        # A widget hides who its members are: ids and addresses of avatars are none of their users.
        *(field for field in USER_FIELDS if field.name != "avatar_url"),
        text("nick"),
        enum("status"),
        one_of(ACTIVITIES, "game", "activity", omit=True),
        boolean("deaf", "deafened"),
        boolean("mute", "muted"),
        boolean("suppress"),
        snowflake("channel_id", "connected_channel?.id"),
        types=("widget.WidgetMember",),
    ),
)
