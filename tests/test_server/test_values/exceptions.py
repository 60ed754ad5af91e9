"""Where tables and discord.py's types of payloads differ, and why."""

from __future__ import annotations

from typing import Final


def _because(reason: str, *lines: str) -> dict[tuple[str, str], str]:
    """Each line has the name of a table and those of its fields."""
    return {
        (table.strip(), name): reason
        for line in lines
        for table, _, names in (line.partition(":"),)
        for name in names.split()
    }


_NOT_KEPT = "discord.py does not keep it"

#: Members that Discord has and we do not.
ABSENT: Final = {
    **_because(
        _NOT_KEPT,
        "User: email flags locale mfa_enabled premium_type verified",
        "ClientUser: email premium_type",
        "Activity: instance secrets",
        "Guild: application_id icon_hash joined_at owner permissions region",
        "GuildPreview: incidents_data unavailable",
        "WidgetMember: avatar_url email flags locale mfa_enabled premium_type verified",
        "TextChannel: last_pin_timestamp",
        "VoiceChannel: last_pin_timestamp topic",
        "ForumChannel: last_pin_timestamp",
        "Thread: last_pin_timestamp newly_created",
        "DMChannel: last_message_id",
        "PartialWebhookChannel: type",
        "Message: mention_channels",
        "MessageSnapshot: mentions",
        "Reaction: burst_colors",
        "Sticker: tags",
        "AppInfo: hook max_participants summary",
        "PartialAppInfo: approximate_user_install_count hook max_participants summary",
        "Webhook: application_id",
        "Integration: application_id expire_behavior expire_grace_period synced_at syncing",
        "StreamIntegration: application_id",
        "BotIntegration: application_id expire_behavior expire_grace_period synced_at syncing",
        "AppCommand: version",
    ),
    **_because(
        "activities of this kind do not have it, or discord.py does not keep it",
        "Game: application_id buttons details details_url emoji flags instance party secrets session_id state",
        "Game: state_url status_display_type sync_id url",
        "Streaming: application_id buttons details_url emoji flags instance party platform secrets session_id",
        "Streaming: state_url status_display_type sync_id timestamps",
        "CustomActivity: application_id assets buttons details details_url flags instance party platform",
        "CustomActivity: secrets session_id state_url status_display_type sync_id timestamps url",
        "Spotify: application_id buttons details_url emoji instance platform secrets state_url",
        "Spotify: status_display_type url",
    ),
    **_because(
        "the guild of an invite is a part of a guild",
        "PartialInviteGuild: afk_channel_id afk_timeout application_id channels default_message_notifications",
        "PartialInviteGuild: discovery_splash emojis explicit_content_filter guild_scheduled_events icon_hash",
        "PartialInviteGuild: incidents_data joined_at large max_members max_presences max_video_channel_users",
        "PartialInviteGuild: member_count members mfa_level owner owner_id permissions preferred_locale",
        "PartialInviteGuild: premium_tier presences public_updates_channel_id region roles rules_channel_id",
        "PartialInviteGuild: soundboard_sounds stage_instances stickers system_channel_flags",
        "PartialInviteGuild: system_channel_id threads unavailable voice_states welcome_screen",
        "PartialInviteGuild: widget_channel_id widget_enabled",
    ),
    **_because("it is secret", "Webhook: token", "Interaction: token"),
    **_because("members have it", "Guild: presences", "VoiceState: member"),
    **_because("discord.py joins both into one", "WidgetMember: self_deaf self_mute"),
    **_because("voice channels do not have threads", "VoiceChannel: default_auto_archive_duration"),
    **_because("voice channels do not have threads", "VoiceChannel: default_thread_rate_limit_per_user"),
    **_because("private channels and channels that are known by their id only have none",
               "DMChannel: name", "PartialMessageable: name"),
    **_because("discord.py's type has another name than Discord's documentation", "Team: owner_id"),
}  # fmt: skip

_DOCUMENTED = "Discord's documentation has it, discord.py's type does not"

#: Members that we have under names that discord.py's types do not know.
NAMES: Final = {
    **_because(
        _DOCUMENTED,
        "User: accent_color banner",
        "ClientUser: accent_color banner",
        "Member: banner",
        "Guild: approximate_member_count approximate_presence_count max_stage_video_channel_users",
        "Guild: premium_progress_bar_enabled safety_alerts_channel_id",
        "VoiceState: request_to_speak_timestamp",
        "WidgetMember: accent_color banner channel_id",
        "StageChannel: last_message_id rate_limit_per_user video_quality_mode",
        "PartialMessageable: guild_id",
        "Message: message_snapshots",
        "PartialMessage: id",
        "DeletedReferencedMessage: id",
        "Attachment: title",
        "MessageInteractionMetadata: target_message_id triggering_interaction_metadata",
        "SoundboardDefaultSound: emoji_id",
        "AppInfo: approximate_guild_count",
        "Team: owner_user_id",
        "Webhook: source_channel source_guild",
        "Integration: scopes",
        "StreamIntegration: scopes",
        "BotIntegration: scopes",
        "Invite: approximate_member_count approximate_presence_count revoked",
        "Interaction: member message user",
        "AppCommand: guild_id",
        "Argument: channel_types",
        "RawMessageUpdateEvent: id",
    ),
    **_because(
        "the gateway's events have it",
        "Integration: guild_id",
        "StreamIntegration: guild_id",
        "BotIntegration: guild_id",
        "PartialIntegration: guild_id",
    ),
}

#: Members whose kind differs.
OTHER_KINDS: Final = {
    **_because(
        "Discord's documentation has a snowflake, discord.py's type does not",
        "PrimaryGuild: identity_guild_id",
        "PartialWebhookGuild: id",
        "StageInstance: guild_scheduled_event_id",
        "Button: sku_id",
        "SelectDefaultValue: id",
        "UnfurledMediaItem: attachment_id",
        "AuditLogEntry: target_id",
        "SKU: id application_id",
        "Entitlement: id sku_id application_id user_id guild_id",
        "ScheduledEvent: channel_id",
    ),
    **_because("it is a text, a number or an id, by the type of the option", "Choice: value"),
}
