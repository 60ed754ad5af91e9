"""Events of what happens in guilds: voice, stages, scheduled events, invites and integrations."""

from __future__ import annotations

from typing import Final

from discord_tools.ipc_server.event_table.spec import EventSpec, ids, spec

__all__ = ("ROWS",)

_INVITE: Final = "guild=invite.guild.id channel=invite.channel.id user=invite.inviter.id"
_SCHEDULED: Final = "guild=event.guild_id channel=event.channel_id"
_INTEGRATION: Final = "guild=integration.guild.id user=integration.user.id"

#: Rows of the table.
ROWS: Final[tuple[EventSpec, ...]] = (
    # -- voice and scheduled events
    spec(
        "voice_state_update",
        "member: Member, before: VoiceState, after: VoiceState",
        "voice",
        "voice_states",
        "guild=member.guild.id channel=before.channel.id channel=after.channel.id user=member.id",
    ),
    spec(
        "voice_channel_effect",
        "effect: VoiceChannelEffect",
        "voice",
        "voice_states",
        "guild=effect.channel.guild.id channel=effect.channel.id user=effect.user.id",
    ),
    spec(
        "stage_instance_create",
        "stage_instance: StageInstance",
        "voice",
        "guilds",
        "guild=stage_instance.guild.id channel=stage_instance.channel_id",
    ),
    spec(
        "stage_instance_update",
        "before: StageInstance, after: StageInstance",
        "voice",
        "guilds",
        "guild=after.guild.id channel=after.channel_id",
    ),
    spec(
        "stage_instance_delete",
        "stage_instance: StageInstance",
        "voice",
        "guilds",
        "guild=stage_instance.guild.id channel=stage_instance.channel_id",
    ),
    spec(
        "scheduled_event_create",
        "event: ScheduledEvent",
        "scheduled_events",
        "guild_scheduled_events",
        f"{_SCHEDULED} user=event.creator_id",
    ),
    spec(
        "scheduled_event_update",
        "before: ScheduledEvent, after: ScheduledEvent",
        "scheduled_events",
        "guild_scheduled_events",
        "guild=after.guild_id channel=after.channel_id user=after.creator_id",
    ),
    spec(
        "scheduled_event_delete",
        "event: ScheduledEvent",
        "scheduled_events",
        "guild_scheduled_events",
        f"{_SCHEDULED} user=event.creator_id",
    ),
    spec(
        "scheduled_event_user_add",
        "event: ScheduledEvent, user: User",
        "scheduled_events",
        "guild_scheduled_events",
        f"{_SCHEDULED} user=user.id",
    ),
    spec(
        "scheduled_event_user_remove",
        "event: ScheduledEvent, user: User",
        "scheduled_events",
        "guild_scheduled_events",
        f"{_SCHEDULED} user=user.id",
    ),
    # -- invites and integrations
    spec("invite_create", "invite: Invite", "invites", "invites", _INVITE),
    spec("invite_delete", "invite: Invite", "invites", "invites", _INVITE),
    spec("guild_integrations_update", "guild: Guild", "integrations", "integrations", "guild=guild.id"),
    spec("integration_create", "integration: Integration", "integrations", "integrations", _INTEGRATION),
    spec("integration_update", "integration: Integration", "integrations", "integrations", _INTEGRATION),
    spec(
        "raw_integration_delete",
        "payload: RawIntegrationDeleteEvent",
        "integrations",
        "integrations",
        "guild=payload.guild_id",
        form={
            "id": ids("payload.integration_id"),
            "guild_id": ids("payload.guild_id"),
            "application_id": ids("payload.application_id"),
        },
    ),
)
