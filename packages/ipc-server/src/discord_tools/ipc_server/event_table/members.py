"""Events of members: who they are, their presence, and moderation."""

from __future__ import annotations

from typing import Final

from discord_tools.ipc_server.event_table.spec import EventSpec, ids, spec

__all__ = ("ROWS",)

_TYPING: Final = "guild_typing|dm_typing"
_RAW: Final = "guild=payload.guild_id channel=payload.channel_id"

#: Rows of the table.
ROWS: Final[tuple[EventSpec, ...]] = (
    # -- members and their presence
    spec(
        "member_join",
        "member: Member",
        "members moderation",
        "members",
        "guild=member.guild.id user=member.id",
    ),
    spec("member_remove", "member: Member", "members", "members", "guild=member.guild.id user=member.id"),
    spec(
        "raw_member_remove",
        "payload: RawMemberRemoveEvent",
        "members moderation",
        "members",
        "guild=payload.guild_id user=payload.user.id",
        form={"guild_id": ids("payload.guild_id"), "user": "payload.user"},
    ),
    spec(
        "member_update",
        "before: Member, after: Member",
        "members moderation",
        "members",
        "guild=after.guild.id user=after.id",
    ),
    spec("user_update", "before: User, after: User", "members", "members|presences", "user=after.id"),
    spec(
        "member_ban",
        "guild: Guild, user: Member | User",
        "members moderation",
        "moderation",
        "guild=guild.id user=user.id",
    ),
    spec(
        "member_unban",
        "guild: Guild, user: User",
        "members moderation",
        "moderation",
        "guild=guild.id user=user.id",
    ),
    spec(
        "presence_update",
        "before: Member, after: Member",
        "presence",
        "members presences",
        "guild=after.guild.id user=after.id",
    ),
    spec(
        "raw_presence_update",
        "payload: RawPresenceUpdateEvent",
        "presence",
        "presences",
        "guild=payload.guild_id user=payload.user_id",
        needs="enable_raw_presences",
        form={
            "user_id": ids("payload.user_id"),
            "guild_id": ids("payload.guild_id"),
            "status": "payload.client_status.raw_status",
            "client_status": {
                "desktop": "payload.client_status.desktop",
                "mobile": "payload.client_status.mobile",
                "web": "payload.client_status.web",
            },
            "activities": "payload.activities",
        },
    ),
    spec(
        "typing",
        "channel: Messageable, user: Member | User, when: datetime",
        "presence",
        _TYPING,
        "guild=channel.guild.id channel=channel.id user=user.id",
    ),
    spec(
        "raw_typing",
        "payload: RawTypingEvent",
        "presence",
        _TYPING,
        f"{_RAW} user=payload.user_id",
        form={
            "channel_id": ids("payload.channel_id"),
            "user_id": ids("payload.user_id"),
            "guild_id": ids("payload.guild_id"),
            "timestamp": "payload.timestamp",
            "user": "payload.user",
        },
    ),
    # -- moderation
    spec(
        "audit_log_entry_create",
        "entry: AuditLogEntry",
        "moderation",
        "moderation",
        "guild=entry.guild.id channel=entry.extra.channel.id user=entry.user_id message=entry.extra.message_id",
    ),
    spec(
        "automod_rule_create",
        "rule: AutoModRule",
        "moderation",
        "auto_moderation_configuration",
        "guild=rule.guild.id user=rule.creator_id",
    ),
    spec(
        "automod_rule_update",
        "rule: AutoModRule",
        "moderation",
        "auto_moderation_configuration",
        "guild=rule.guild.id user=rule.creator_id",
    ),
    spec(
        "automod_rule_delete",
        "rule: AutoModRule",
        "moderation",
        "auto_moderation_configuration",
        "guild=rule.guild.id user=rule.creator_id",
    ),
    spec(
        "automod_action",
        "execution: AutoModAction",
        "moderation",
        "auto_moderation_execution",
        "guild=execution.guild_id channel=execution.channel_id user=execution.user_id message=execution.message_id",
    ),
)
