"""Tables of applications: teams, webhooks, integrations, invites, events, shops, commands at Discord, interactions.

No token is in any of them: who has the token of a webhook or an interaction can write in its name. The address of a
webhook has its token.

Paths that begin with an underscore are discord.py's own attributes, which it makes an asset or flags of every time they
are read by their public names.
"""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.forks import discord
from discord_tools.ipc_server.values.activities import OBJECT
from discord_tools.ipc_server.values.kinds import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    boolean,
    enum,
    extra,
    integer,
    json,
    made,
    many,
    nested,
    of,
    one_of,
    permissions,
    snowflake,
    text,
    timestamp,
)
from discord_tools.ipc_server.values.table import Table
from discord_tools.ipc_server.values.users import USER_FIELDS

__all__ = ("TABLES",)


def _latency(shard: Any) -> float | None:
    """``None`` before the first heartbeat, when it is not a number or infinite."""
    return shard.latency


def _metadata(event: Any) -> dict[str, str] | None:
    return None if event.location is None else {"location": event.location}


_APPLICATION: Final = (
    snowflake("id"),
    text("name"),
    text("icon", "_icon"),
    text("description"),
    text("cover_image", "_cover_image", omit=True),
    text("verify_key"),
    integer("flags", "_flags"),
    json("rpc_origins", omit=True),
    text("terms_of_service_url", omit=True),
    text("privacy_policy_url", omit=True),
    text("interactions_endpoint_url", omit=True),
    text("role_connections_verification_url", omit=True),
    json("redirect_uris"),
    integer("approximate_guild_count"),
)
_INTEGRATION: Final = (
    snowflake("id"),
    snowflake("guild_id", "guild.id"),
    text("name"),
    text("type"),
    nested(discord.IntegrationAccount, "account"),
)
_FULL_INTEGRATION: Final = (
    *_INTEGRATION,
    boolean("enabled"),
    nested(discord.User, "user", omit=True),
    json("scopes"),
)
_WEBHOOK: Final = (
    snowflake("id"),
    enum("type"),
    snowflake("guild_id"),
    snowflake("channel_id"),
    text("name"),
    text("avatar", "_avatar"),
    nested(discord.User, "user", omit=True),
    one_of((discord.PartialWebhookChannel,), "source_channel", omit=True),
    one_of((discord.PartialWebhookGuild,), "source_guild", omit=True),
)
TABLES: Final = (
    Table(
        discord.AppInfo,
        *_APPLICATION,
        nested(discord.User, "owner"),
        boolean("bot_public"),
        boolean("bot_require_code_grant"),
        nested(discord.Team, "team"),
        snowflake("guild_id", omit=True),
        snowflake("primary_sku_id", omit=True),
        text("slug", omit=True),
        json("tags"),
        nested(discord.AppInstallParams, "install_params", omit=True),
        text("custom_install_url", omit=True),
        json("integration_types_config", "_integration_types_config"),
        integer("approximate_user_install_count"),
        types=("appinfo.AppInfo",),
    ),
    Table(discord.PartialAppInfo, *_APPLICATION, types=("appinfo.PartialAppInfo",)),
    Table(
        discord.AppInstallParams,
        json("scopes"),
        permissions("permissions"),
        types=("appinfo.InstallParams",),
    ),
    Table(
        discord.IntegrationTypeConfig,
        nested(discord.AppInstallParams, "oauth2_install_params", omit=True),
        types=("appinfo.AppIntegrationTypeConfig",),
    ),
    Table(
        discord.Team,
        snowflake("id"),
        text("name"),
        text("icon", "_icon"),
        snowflake("owner_user_id", "owner_id"),
        many(nested(discord.TeamMember, "members")),
        types=("team.Team",),
    ),
    Table(
        discord.TeamMember,
        of(nested(Table(discord.TeamMember, *USER_FIELDS, types=("user.PartialUser",)), "user"), None),
        snowflake("team_id", "team.id"),
        enum("membership_state"),
        json("permissions"),
        enum("role"),
        types=("team.TeamMember",),
    ),
    Table((discord.Webhook, discord.SyncWebhook), *_WEBHOOK, types=("webhook.Webhook",)),
    Table(discord.Integration, *_FULL_INTEGRATION, types=("integration.BaseIntegration",)),
    Table(
        discord.StreamIntegration,
        *_FULL_INTEGRATION,
        boolean("syncing"),
        timestamp("synced_at"),
        snowflake("role_id", "_role_id"),
        boolean("enable_emoticons"),
        enum("expire_behavior", "expire_behaviour"),
        integer("expire_grace_period"),
        integer("subscriber_count"),
        boolean("revoked"),
        types=("integration.StreamIntegration",),
    ),
    Table(
        discord.BotIntegration,
        *_FULL_INTEGRATION,
        nested(discord.IntegrationApplication, "application"),
        types=("integration.BotIntegration",),
    ),
    Table(
        discord.PartialIntegration,
        *_INTEGRATION,
        snowflake("application_id"),
        types=("integration.PartialIntegration",),
    ),
    Table(discord.IntegrationAccount, text("id"), text("name"), types=("integration.IntegrationAccount",)),
    Table(
        discord.IntegrationApplication,
        snowflake("id"),
        text("name"),
        text("icon"),
        text("description"),
        text("summary"),
        nested(discord.User, "bot", "user", omit=True),
        types=("integration.IntegrationApplication",),
    ),
    Table(
        discord.Invite,
        enum("type"),
        text("code"),
        one_of((discord.Guild, discord.PartialInviteGuild, discord.Object), "guild"),
        one_of((discord.abc.GuildChannel, discord.PartialInviteChannel, discord.Object), "channel"),
        nested(discord.User, "inviter", omit=True),
        enum("target_type", omit=True),
        nested(discord.User, "target_user", omit=True),
        nested(discord.PartialAppInfo, "target_application", omit=True),
        integer("approximate_member_count", omit=True),
        integer("approximate_presence_count", omit=True),
        timestamp("expires_at"),
        nested(discord.ScheduledEvent, "guild_scheduled_event", "scheduled_event", omit=True),
        integer("flags", "_flags"),
        integer("uses"),
        integer("max_uses"),
        integer("max_age"),
        boolean("temporary"),
        timestamp("created_at"),
        boolean("revoked", omit=True),
        extra(text("url")),
        types=("invite.Invite",),
    ),
    Table(
        discord.ScheduledEvent,
        snowflake("id"),
        snowflake("guild_id"),
        snowflake("channel_id"),
        snowflake("creator_id"),
        nested(discord.User, "creator", omit=True),
        text("name"),
        text("description"),
        text("image", "_cover_image"),
        timestamp("scheduled_start_time", "start_time"),
        timestamp("scheduled_end_time", "end_time"),
        # discord.py 2.7 has the status in its place. There is only one level.
        made(lambda _: 2, INTEGER, "privacy_level"),
        enum("status"),
        enum("entity_type"),
        snowflake("entity_id"),
        made(_metadata, OBJECT, "entity_metadata"),
        integer("user_count"),
        types=("scheduled_event.ExternalScheduledEvent",),
    ),
    Table(
        discord.SKU,
        snowflake("id"),
        enum("type"),
        snowflake("application_id"),
        text("name"),
        text("slug"),
        integer("flags", "_flags"),
        types=("sku.SKU",),
    ),
    Table(
        discord.Entitlement,
        snowflake("id"),
        snowflake("sku_id"),
        snowflake("application_id"),
        snowflake("user_id"),
        enum("type"),
        boolean("deleted"),
        timestamp("starts_at"),
        timestamp("ends_at"),
        snowflake("guild_id", omit=True),
        boolean("consumed"),
        types=("sku.Entitlement",),
    ),
    Table(
        discord.Subscription,
        snowflake("id"),
        snowflake("user_id"),
        many(snowflake("sku_ids")),
        many(snowflake("entitlement_ids")),
        many(snowflake("renewal_sku_ids")),
        timestamp("current_period_start"),
        timestamp("current_period_end"),
        enum("status"),
        timestamp("canceled_at"),
        types=("subscription.Subscription",),
    ),
    Table(
        discord.SessionStartLimits,
        integer("total"),
        integer("remaining"),
        integer("reset_after"),
        integer("max_concurrency"),
        types=("gateway.SessionStartLimit",),
    ),
    Table(
        discord.ShardInfo,
        integer("id"),
        integer("shard_count"),
        made(_latency, NUMBER, "latency"),
        made(lambda shard: shard.is_closed(), BOOLEAN, "is_closed"),
    ),
)
