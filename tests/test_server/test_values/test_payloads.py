"""Objects that discord.py makes of payloads in Discord's form are written as these payloads."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import discord
import pytest
from discord import app_commands
from discord.activity import create_activity
from discord.components import _component_factory  # pyright: ignore[reportPrivateUsage] (it makes all components)
from discord.ext import commands

from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.values.encoder import Encoder
from discord_tools.ipc_server.values.tables import table_of
from loopback import LoopbackDiscord, payloads

TIME = "2024-05-17T12:00:00+00:00"
LATER = "2024-05-18T12:30:00+00:00"
HASH = "a_" + "c" * 32

USER: dict[str, Any] = {
    "id": "31", "username": "ada", "discriminator": "0", "global_name": "Ada", "avatar": HASH, "bot": False,
    "public_flags": 64, "banner": "d" * 32, "accent_color": 255,
    "avatar_decoration_data": {"asset": "a_1", "sku_id": "5"},
    "primary_guild": {"identity_guild_id": "6", "identity_enabled": True, "tag": "TEA", "badge": "b"},
    "collectibles": {"nameplate": {"asset": "x", "sku_id": "7", "label": "L", "palette": "sky", "expires_at": None}},
}  # fmt: skip
EMOJI = {"id": "77", "name": "wave", "animated": True}
STICKER = {"id": "8", "name": "s", "format_type": 1}
ATTACHMENT = {
    "id": "9", "filename": "a.ogg", "size": 3, "url": "https://a/a", "proxy_url": "https://b/a", "height": None,
    "width": None, "description": "d", "content_type": "audio/ogg", "ephemeral": False, "spoiler": False,
    "duration_secs": 1.5, "waveform": "AAEC", "flags": 4, "title": "T",
}  # fmt: skip
BUTTON = {"type": 2, "id": 2, "style": 1, "label": "L", "custom_id": "c", "disabled": False, "emoji": EMOJI}
MEDIA = {
    "url": "https://a/a.png", "proxy_url": "https://b/a.png", "height": 5, "width": 6, "content_type": "image/png",
    "placeholder": "p", "loading_state": 2, "attachment_id": "9", "flags": 0,
}  # fmt: skip
OPTION = {"label": "L", "value": "v", "description": "d", "default": True}
ACTION = {"type": 2, "metadata": {"channel_id": "55"}}
INTEGRATION = {
    "id": "41", "name": "I", "type": "twitch", "account": {"id": "x", "name": "y"}, "enabled": True, "user": USER,
    "scopes": ["a"],
}  # fmt: skip
APPLICATION = {
    "id": "51", "name": "A", "icon": HASH, "description": "d", "cover_image": HASH, "verify_key": "k", "flags": 3,
    "rpc_origins": ["o"], "terms_of_service_url": "https://t", "privacy_policy_url": "https://p",
    "interactions_endpoint_url": "https://i", "role_connections_verification_url": "https://r",
    "redirect_uris": ["https://u"], "approximate_guild_count": 2,
}  # fmt: skip
INSTALL = {"scopes": ["bot"], "permissions": "8"}
EVENT = {
    "id": "61", "guild_id": "1", "channel_id": None, "creator_id": "31", "creator": USER, "name": "E",
    "description": "d", "image": HASH, "scheduled_start_time": TIME, "scheduled_end_time": LATER, "privacy_level": 2,
    "status": 1, "entity_type": 3, "entity_id": None, "entity_metadata": {"location": "here"}, "user_count": 4,
}  # fmt: skip
TAG = {"id": "71", "name": "t", "moderated": True, "emoji_id": None, "emoji_name": "👋"}
OVERWRITE = {"id": "31", "type": 1, "allow": "1024", "deny": "8"}
ENTITLEMENT = {
    "id": "81", "sku_id": "5", "application_id": "51", "user_id": "31", "type": 8, "deleted": False,
    "starts_at": TIME, "ends_at": LATER, "guild_id": "1", "consumed": False,
}  # fmt: skip
CHOICE = {"name": "c", "name_localizations": {"de": "C"}, "value": 3}


class World(NamedTuple):
    """A bot with its state, one of its guilds, and a channel of that."""

    bot: commands.Bot
    state: Any
    guild: Any
    channel: Any

    def channel_of(self, cls: Any, payload: dict[str, Any]) -> Any:
        return cls(guild=self.guild, state=self.state, data=payload)

    def message(self, payload: dict[str, Any]) -> Any:
        return discord.Message(state=self.state, channel=self.channel, data=payload)  # pyright: ignore[reportArgumentType]


Make = Callable[[World, Any], Any]


class Case(NamedTuple):
    """A payload, and how discord.py makes an object of it."""

    name: str
    payload: dict[str, Any]
    make: Make


def state_first(cls: Any) -> Make:
    return lambda world, data: cls(state=world.state, data=data)


def guild_channel(type_: int, **more: Any) -> dict[str, Any]:
    return {
        "id": "91", "type": type_, "name": "c", "guild_id": "1", "position": 2, "nsfw": True, "parent_id": "92",
        "permission_overwrites": [OVERWRITE], **more,
    }  # fmt: skip


TEXT = {"topic": "t", "last_message_id": "93", "rate_limit_per_user": 5, "default_auto_archive_duration": 1440,
        "default_thread_rate_limit_per_user": 6}  # fmt: skip
VOICE = {"bitrate": 64000, "user_limit": 3, "rtc_region": "x", "video_quality_mode": 2, "last_message_id": "93",
         "rate_limit_per_user": 5}  # fmt: skip
THREAD = {
    "id": "95", "guild_id": "1", "parent_id": "91", "owner_id": "31", "name": "t", "type": 11, "member_count": 2,
    "message_count": 3, "total_message_sent": 4, "rate_limit_per_user": 5, "last_message_id": "96", "flags": 2,
    "applied_tags": ["71"],
    "thread_metadata": {"archived": True, "auto_archive_duration": 60, "archive_timestamp": TIME, "locked": True,
                        "invitable": False, "create_timestamp": TIME, "archiver_id": "31"},
    "member": {"id": "95", "user_id": "31", "join_timestamp": TIME, "flags": 1},
}  # fmt: skip
MESSAGE = {
    "id": "101", "channel_id": "91", "guild_id": "1", "author": USER, "content": "hello", "timestamp": None, "type": 0,
    "edited_timestamp": LATER, "tts": True, "mention_everyone": True, "mentions": [USER], "mention_roles": [],
    "attachments": [ATTACHMENT], "pinned": True, "flags": 4, "webhook_id": "5", "application_id": "51", "nonce": "n",
    "embeds": [{"type": "rich", "title": "T", "flags": 0}], "position": 3, "sticker_items": [STICKER],
    "activity": {"type": 1, "party_id": "p"},
    "application": {"id": "51", "name": "A", "description": "d", "icon": HASH, "cover_image": HASH},
    "reactions": [{"emoji": EMOJI, "count": 3, "me": True, "me_burst": True,
                   "count_details": {"burst": 1, "normal": 2}}],
    "components": [{"type": 1, "id": 1, "components": [BUTTON]}],
    "message_reference": {"type": 0, "message_id": "100", "channel_id": "91", "guild_id": "1",
                          "fail_if_not_exists": True},
    "interaction_metadata": {"id": "3", "type": 2, "user": USER, "authorizing_integration_owners": {"0": "1"},
                             "target_user": USER, "target_message_id": "4", "original_response_message_id": "5"},
    "interaction": {"id": "3", "type": 2, "name": "ping", "user": USER},
    "role_subscription_data": {"role_subscription_listing_id": "1", "tier_name": "t", "total_months_subscribed": 2,
                               "is_renewal": True},
    "purchase_notification": {"type": 0, "guild_product_purchase": {"listing_id": "1", "product_name": "p"}},
    "call": {"participants": ["31"], "ended_timestamp": TIME},
    "thread": THREAD,
    "poll": {"question": {"text": "q"}, "answers": [{"answer_id": 1, "poll_media": {"text": "a", "emoji": EMOJI}}],
             "expiry": TIME, "allow_multiselect": True, "layout_type": 1,
             "results": {"is_finalized": True, "answer_counts": [{"id": "1", "count": 2, "me_voted": True}]}},
    "message_snapshots": [{"message": {"type": 0, "content": "s", "embeds": [], "attachments": [], "timestamp": TIME,
                                       "edited_timestamp": None, "flags": 0, "mention_roles": [],
                                       "sticker_items": [STICKER], "components": []}}],
}  # fmt: skip
MESSAGE["timestamp"] = discord.utils.snowflake_time(101).isoformat()
REFERRING = {
    **{name: MESSAGE[name] for name in ("id", "channel_id", "content", "timestamp", "edited_timestamp", "type")},
    "author": USER, "tts": False, "mention_everyone": False, "mentions": [], "mention_roles": [], "attachments": [],
    "embeds": [], "pinned": False, "message_reference": MESSAGE["message_reference"],
}  # fmt: skip

CASES = [
    Case("User", {**USER, "system": False}, state_first(discord.User)),
    Case(
        "ClientUser",
        {**USER, "mfa_enabled": True, "locale": "de", "verified": True, "flags": 2},
        state_first(discord.user.ClientUser),
    ),
    Case("PrimaryGuild", USER["primary_guild"], state_first(discord.PrimaryGuild)),
    Case(
        "Collectible",
        USER["collectibles"]["nameplate"],
        lambda world, data: discord.Collectible(state=world.state, type="nameplate", data=data),
    ),
    Case(
        "Member",
        {
            "user": USER, "nick": "Countess", "avatar": HASH, "banner": HASH, "roles": [], "joined_at": TIME,
            "premium_since": TIME, "pending": True, "communication_disabled_until": LATER, "flags": 3,
            "avatar_decoration_data": {"asset": "a", "sku_id": "1"}, "permissions": "2048",
        },
        lambda world, data: discord.Member(guild=world.guild, state=world.state, data=data),
    ),
    Case(
        "Role",
        {
            "id": "21", "name": "r", "color": 255, "hoist": True, "icon": HASH, "unicode_emoji": "x", "position": 3,
            "colors": {"primary_color": 255, "secondary_color": 5, "tertiary_color": None},
            "permissions": "1099511627776", "managed": True, "mentionable": True, "flags": 1,
            "tags": {"bot_id": "31", "premium_subscriber": None},
        },
        lambda world, data: discord.Role(guild=world.guild, state=world.state, data=data),
    ),
    Case("TextChannel", guild_channel(5, **TEXT), lambda w, data: w.channel_of(discord.TextChannel, data)),
    Case("VoiceChannel", guild_channel(2, **VOICE), lambda w, data: w.channel_of(discord.VoiceChannel, data)),
    Case(
        "StageChannel",
        guild_channel(13, topic="t", **VOICE),
        lambda w, data: w.channel_of(discord.StageChannel, data),
    ),
    Case(
        "CategoryChannel",
        {**guild_channel(4), "parent_id": None},
        lambda w, data: w.channel_of(discord.CategoryChannel, data),
    ),
    Case(
        "ForumChannel",
        guild_channel(
            15, **TEXT, flags=16, available_tags=[TAG], default_sort_order=1, default_forum_layout=2,
            default_reaction_emoji={"emoji_id": "77", "emoji_name": None},
        ),
        lambda w, data: w.channel_of(discord.ForumChannel, data),
    ),
    Case("Thread", THREAD, lambda w, data: w.channel_of(discord.Thread, data)),
    Case(
        "DMChannel",
        {"id": "97", "type": 1, "recipients": [USER]},
        lambda w, data: discord.DMChannel(me=w.bot.user, state=w.state, data=data),  # pyright: ignore[reportArgumentType]
    ),
    Case(
        "GroupChannel",
        {"id": "97", "type": 3, "name": "g", "icon": HASH, "owner_id": "31", "recipients": [USER]},
        lambda w, data: discord.GroupChannel(me=w.bot.user, state=w.state, data=data),  # pyright: ignore[reportArgumentType]
    ),
    Case(
        "StageInstance",
        {"id": "98", "guild_id": "1", "channel_id": "91", "topic": "t", "privacy_level": 2,
         "discoverable_disabled": True, "guild_scheduled_event_id": "61"},
        lambda w, data: discord.StageInstance(guild=w.guild, state=w.state, data=data),
    ),
    Case("Message", MESSAGE, lambda w, data: w.message(data)),
    Case("Message with a reference", {**REFERRING, "referenced_message": {**REFERRING, "id": "100",
         "timestamp": discord.utils.snowflake_time(100).isoformat()}}, lambda w, data: w.message(data)),
    Case("Attachment", ATTACHMENT, lambda w, data: discord.Attachment(state=w.state, data=data)),
    Case(
        "Emoji",
        {**EMOJI, "managed": True, "require_colons": True, "available": True, "roles": ["21"], "user": USER},
        lambda w, data: discord.Emoji(guild=w.guild, state=w.state, data=data),
    ),
    Case("PartialEmoji", EMOJI, lambda w, data: discord.PartialEmoji.from_dict(data)),
    Case("StickerItem", STICKER, state_first(discord.StickerItem)),
    Case(
        "GuildSticker",
        {**STICKER, "type": 2, "description": "d", "tags": "wave", "available": True, "guild_id": "1", "user": USER},
        state_first(discord.GuildSticker),
    ),
    Case(
        "StickerPack",
        {
            "id": "8", "name": "p", "sku_id": "5", "cover_sticker_id": "8", "description": "d", "banner_asset_id": "6",
            "stickers": [{**STICKER, "type": 1, "description": "d", "tags": "a, b", "sort_value": 1, "pack_id": "8"}],
        },
        state_first(discord.StickerPack),
    ),
    Case(
        "SoundboardSound",
        {"sound_id": "12", "name": "s", "volume": 0.5, "emoji_id": None, "emoji_name": "👋", "available": True,
         "guild_id": "1", "user": USER},
        lambda w, data: discord.SoundboardSound(guild=w.guild, state=w.state, data=data),
    ),
    Case(
        "SoundboardDefaultSound",
        {"sound_id": "1", "name": "s", "volume": 0.5, "emoji_id": None, "emoji_name": "👋"},
        state_first(discord.SoundboardDefaultSound),
    ),
    Case(
        "Activity",
        {"name": "n", "type": 0, "url": "https://u", "created_at": 5, "state": "s", "details": "d",
         "timestamps": {"start": 1, "end": 2}, "platform": "p", "assets": {"large_image": "i"},
         "party": {"id": "x", "size": [1, 2]}, "application_id": "51", "flags": 1, "session_id": "s", "sync_id": "y",
         "buttons": ["b"], "state_url": "https://s", "details_url": "https://d", "status_display_type": 1},
        lambda w, data: create_activity(dict(data), w.state),
    ),
    Case("Game", {"name": "n", "type": 0, "created_at": 5, "timestamps": {"start": 1, "end": 2}},
         lambda w, data: create_activity(dict(data), w.state)),
    Case("Streaming", {"name": "Twitch", "type": 1, "url": "https://u", "created_at": 5, "state": "g", "details": "d",
                       "assets": {}}, lambda w, data: create_activity(dict(data), w.state)),
    Case("CustomActivity", {"name": "Custom Status", "type": 4, "created_at": 5, "state": "s", "emoji": EMOJI},
         lambda w, data: create_activity(dict(data), w.state)),
    Case("Spotify", {"name": "Spotify", "type": 2, "created_at": 5, "state": "s", "details": "d", "flags": 48,
                     "timestamps": {"start": 1, "end": 2}, "assets": {}, "party": {}, "sync_id": "y",
                     "session_id": "s"}, lambda w, data: create_activity(dict(data), w.state)),
    Case(
        "AuditLogEntry",
        {"id": "111", "guild_id": "1", "action_type": 24, "user_id": "31", "target_id": "32", "reason": "r",
         "changes": [{"key": "nick", "old_value": "a", "new_value": "b"}]},
        lambda w, data: audit_log_entry(w, data),
    ),
    Case(
        "AuditLogEntry with options",
        {"id": "111", "guild_id": "1", "action_type": 72, "user_id": "31", "target_id": "32", "changes": [],
         "options": {"channel_id": "55", "count": "3"}},
        lambda w, data: audit_log_entry(w, data),
    ),
    Case(
        "AutoModRule",
        {"id": "1", "guild_id": "1", "name": "n", "creator_id": "31", "event_type": 1, "trigger_type": 1,
         "trigger_metadata": {"keyword_filter": ["k"], "regex_patterns": ["r"], "allow_list": ["a"]},
         "actions": [ACTION, {"type": 3, "metadata": {"duration_seconds": 60}}], "enabled": True,
         "exempt_roles": ["21"], "exempt_channels": ["91"]},
        lambda w, data: discord.AutoModRule(guild=w.guild, state=w.state, data=data),
    ),
    Case(
        "AutoModRule with presets",
        {"id": "1", "guild_id": "1", "name": "n", "creator_id": "31", "event_type": 1, "trigger_type": 4,
         "trigger_metadata": {"presets": [1, 3], "allow_list": []}, "actions": [ACTION], "enabled": True,
         "exempt_roles": [], "exempt_channels": []},
        lambda w, data: discord.AutoModRule(guild=w.guild, state=w.state, data=data),
    ),
    Case(
        "AutoModAction",
        {"guild_id": "1", "action": ACTION, "rule_id": "2", "rule_trigger_type": 1, "user_id": "31",
         "channel_id": "91", "message_id": "101", "alert_system_message_id": "102", "content": "c",
         "matched_keyword": "k", "matched_content": "m"},
        lambda w, data: discord.AutoModAction(state=w.state, data=data),
    ),
    Case("Invite", {
        "type": 0, "code": "abc", "channel": {"id": "91", "type": 0, "name": "c"}, "inviter": USER, "target_type": 1,
        "target_user": USER, "target_application": APPLICATION, "approximate_member_count": 3,
        "approximate_presence_count": 2, "expires_at": TIME, "guild_scheduled_event": EVENT, "flags": 1, "uses": 1,
        "max_uses": 2, "max_age": 3, "temporary": True, "created_at": TIME,
        "guild": {"id": "999", "name": "g", "icon": HASH, "description": "d", "features": [], "splash": HASH,
                  "banner": HASH, "verification_level": 1, "nsfw_level": 0, "vanity_url_code": "v",
                  "premium_subscription_count": 2},
    }, lambda w, data: discord.Invite.from_incomplete(state=w.state, data=data)),
    Case("Webhook", {"id": "121", "type": 1, "guild_id": "1", "channel_id": "91", "name": "w", "avatar": HASH,
                     "user": USER}, lambda w, data: discord.Webhook.from_state({**data, "token": "SECRET"}, w.state)),
    Case("ScheduledEvent", EVENT, lambda w, data: discord.ScheduledEvent(state=w.state, data=data)),
    Case("AppInfo", {
        **APPLICATION, "owner": USER, "bot_public": True, "bot_require_code_grant": False, "guild_id": "1",
        "primary_sku_id": "2", "slug": "s", "tags": ["t"], "install_params": INSTALL, "custom_install_url": "https://c",
        "approximate_user_install_count": 3,
        "integration_types_config": {"0": {"oauth2_install_params": INSTALL}},
        "team": {"id": "1", "name": "t", "icon": HASH, "owner_user_id": "31", "members": [
            {"user": USER, "team_id": "1", "membership_state": 2, "permissions": ["*"], "role": "admin"}]},
    }, lambda w, data: discord.AppInfo(w.state, data)),
    Case("StreamIntegration", {
        **INTEGRATION, "guild_id": "1", "syncing": True, "synced_at": TIME, "role_id": "21", "enable_emoticons": True,
        "expire_behavior": 1, "expire_grace_period": 2, "subscriber_count": 3, "revoked": True,
    }, lambda w, data: discord.StreamIntegration(guild=w.guild, data=data)),
    Case("BotIntegration", {
        **INTEGRATION, "type": "discord",
        "application": {"id": "1", "name": "n", "icon": HASH, "description": "d", "summary": "", "bot": USER},
    }, lambda w, data: discord.BotIntegration(guild=w.guild, data=data)),
    Case("SKU", {"id": "5", "type": 5, "application_id": "51", "name": "n", "slug": "s", "flags": 4},
         state_first(discord.SKU)),
    Case("Entitlement", ENTITLEMENT, state_first(discord.Entitlement)),
    Case("Subscription", {
        "id": "1", "user_id": "31", "sku_ids": ["5"], "entitlement_ids": ["81"], "renewal_sku_ids": ["6"],
        "current_period_start": TIME, "current_period_end": LATER, "status": 0, "canceled_at": None,
    }, state_first(discord.Subscription)),
    Case("Template", {
        "code": "c", "name": "n", "description": "d", "usage_count": 3, "creator_id": "31", "creator": USER,
        "created_at": TIME, "updated_at": LATER, "source_guild_id": "1", "is_dirty": True,
        "serialized_source_guild": {"name": "g", "features": []},
    }, lambda w, data: discord.Template(state=w.state, data={**data, "serialized_source_guild": {"name": "g"}})),
    Case("WelcomeScreen", {"description": "d", "welcome_channels": [
        {"channel_id": "91", "description": "c", "emoji_id": None, "emoji_name": "👋"}]},
        lambda w, data: discord.WelcomeScreen(guild=w.guild, data=data)),
    Case("Onboarding", {
        "guild_id": "1", "default_channel_ids": ["91"], "enabled": True, "mode": 1, "prompts": [
            {"id": "1", "type": 0, "title": "t", "single_select": True, "required": True, "in_onboarding": True,
             "options": [{"id": "2", "title": "o", "description": "d", "channel_ids": ["91"], "role_ids": ["21"],
                          "emoji": EMOJI}]}],
    }, lambda w, data: discord.Onboarding(guild=w.guild, state=w.state, data=data)),
    Case("Widget", {
        "id": "1", "name": "n", "instant_invite": "https://i", "presence_count": 3,
        "channels": [{"id": "91", "name": "c", "position": 1}],
        "members": [{**USER, "status": "online", "deaf": True, "mute": True, "suppress": True, "channel_id": "91"}],
    }, state_first(discord.Widget)),
    Case("GuildPreview", {
        "id": "1", "name": "g", "icon": HASH, "splash": HASH, "discovery_splash": HASH, "features": ["NEWS"],
        "description": "d", "approximate_member_count": 3, "approximate_presence_count": 2, "emojis": [],
        "stickers": [],
    }, state_first(discord.GuildPreview)),
    Case("AppCommand", {
        "id": "1", "application_id": "51", "type": 1, "name": "n", "description": "d", "guild_id": "1",
        "name_localizations": {"de": "N"}, "description_localizations": {}, "default_member_permissions": "8",
        "dm_permission": True, "nsfw": True, "options": [
            {"type": 4, "name": "o", "description": "d", "required": True, "choices": [CHOICE], "min_value": 1,
             "max_value": 5, "autocomplete": False, "channel_types": []},
            {"type": 1, "name": "s", "description": "d", "options": []}],
    }, state_first(app_commands.AppCommand)),
    Case("Interaction", {
        "id": "1", "application_id": "51", "type": 2, "data": {"id": "2", "name": "ping", "type": 1},
        "user": USER, "version": 1, "app_permissions": "8", "locale": "de", "entitlements": [ENTITLEMENT],
        "authorizing_integration_owners": {"0": "1"}, "context": 1, "attachment_size_limit": 10,
    }, lambda w, data: discord.Interaction(state=w.state, data={**data, "token": "SECRET"})),
    *(
        Case(f"component {data['type']}", data, lambda w, data: _component_factory(data, w.state))
        for data in (
            {"type": 1, "id": 1, "components": [BUTTON]},
            BUTTON,
            {"type": 3, "id": 3, "custom_id": "c", "placeholder": "p", "min_values": 0, "max_values": 2,
             "disabled": False, "required": True, "options": [{**OPTION, "emoji": EMOJI}]},
            {"type": 8, "id": 3, "custom_id": "c", "min_values": 0, "max_values": 2, "disabled": False,
             "channel_types": [0], "default_values": [{"id": "91", "type": "channel"}]},
            {"type": 4, "id": 4, "custom_id": "c", "style": 2, "label": "L", "placeholder": "p", "value": "v",
             "required": False, "min_length": 1, "max_length": 9},
            {"type": 9, "id": 9, "components": [{"type": 10, "id": 8, "content": "x"}], "accessory": BUTTON},
            {"type": 11, "id": 1, "media": MEDIA, "description": "d", "spoiler": True},
            {"type": 12, "id": 1, "items": [{"media": MEDIA, "description": "d", "spoiler": True}]},
            {"type": 13, "id": 1, "file": MEDIA, "spoiler": True, "name": "n", "size": 4},
            {"type": 14, "id": 1, "divider": True, "spacing": 2},
            {"type": 17, "id": 1, "accent_color": 255, "spoiler": True,
             "components": [{"type": 10, "id": 2, "content": "x"}]},
            {"type": 18, "id": 1, "label": "L", "description": "d", "component":
             {"type": 19, "id": 2, "custom_id": "c", "min_values": 1, "max_values": 2, "required": True}},
            {"type": 21, "id": 1, "custom_id": "c", "required": True, "options": [OPTION]},
            {"type": 22, "id": 1, "custom_id": "c", "required": True, "min_values": 1, "max_values": 2,
             "options": [OPTION]},
            {"type": 23, "id": 1, "custom_id": "c", "default": True},
        )
    ),
]  # fmt: skip


def audit_log_entry(world: World, data: Any) -> discord.AuditLogEntry:
    return discord.AuditLogEntry(
        users={},
        integrations={},
        app_commands={},
        automod_rules={},
        webhooks={},
        data=data,
        guild=world.guild,
    )


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where what we write differs from a payload."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            line
            for name in theirs
            for line in (
                differences(ours[name], theirs[name], f"{path}.{name}")
                if name in ours
                else [f"{path}.{name} is missing"]
            )
        ]
    if isinstance(theirs, list) and isinstance(ours, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [line for n, (mine, their) in pairs for line in differences(mine, their, f"{path}[{n}]")]
    if isinstance(theirs, str) and theirs[:2] == "20" and "T" in theirs:
        ours, theirs = (datetime.datetime.fromisoformat(each) for each in (ours, theirs))
    return [] if ours == theirs else [f"{path}: {ours!r} is not {theirs!r}"]


def make(case: Case, bot: commands.Bot) -> tuple[Any, Any]:
    """The object of a case, and its payload."""
    guild = bot.guilds[0]
    world = World(bot, bot._connection, guild, guild.text_channels[0])  # pyright: ignore[reportPrivateUsage]
    # Payloads name the guild 1 and the channel 91, which are known by other ids here.
    text = json.dumps(case.payload).replace('guild_id": "1"', f'guild_id": "{guild.id}"')
    payload = json.loads(text.replace('channel_id": "91"', f'channel_id": "{world.channel.id}"'))
    return case.make(world, payload), payload


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_object_is_written_as_its_payload(
    loopback_bot: commands.Bot, loopback_discord: LoopbackDiscord, case: Case
) -> None:
    made, payload = make(case, loopback_bot)
    written = encode_answer(made)
    assert b"SECRET" not in written
    assert differences(json.loads(written), payload) == []
    # What is in no payload is an extra, empty, or known of the guild.
    table = table_of(type(made))
    assert table is not None
    names = {field.name for field in table.fields}
    assert json.loads(written).keys() <= names


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_encoder_of_users_holds_in_every_field(loopback_bot: commands.Bot, case: Case) -> None:
    made, _ = make(case, loopback_bot)
    encoder = Encoder()
    # The base of users, the bot's own user, members of teams, and members in widgets.
    encoder.add(discord.user.BaseUser, lambda user: "hidden")
    found = encode_answer(made, encoder)
    # The name of the only user in payloads.
    assert b'"ada"' not in found
    assert (b'"hidden"' in found) == (b'"ada"' in encode_answer(made))


async def test_a_guild_with_everything_is_written_as_guild_create_has_it(
    loopback_bot: commands.Bot, loopback_discord: LoopbackDiscord
) -> None:
    from discord_tools.ipc import full

    model = loopback_discord.guilds[0]
    theirs = dict(payloads.guild(model))
    for name in ("region", "application_id", "joined_at", "presences"):  # discord.py does not keep these
        del theirs[name]
    ours = json.loads(encode_answer(full(loopback_bot.get_guild(model.id))))
    for member in theirs["members"]:  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        del member["deaf"], member["mute"]  # which are those of a voice state
    for members in (ours["members"], theirs["members"]):  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        members.sort(key=lambda member: int(member["user"]["id"]))
    assert differences(ours, theirs) == []
