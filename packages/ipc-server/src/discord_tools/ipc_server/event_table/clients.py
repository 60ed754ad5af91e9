"""Events of the client itself: commands, purchases, its connection and its errors."""

from __future__ import annotations

from typing import Final

from discord_tools.ipc_server.event_table.spec import EventSpec, error, frame, ids, permissions, spec

__all__ = ("ROWS",)

_CONTEXT: Final = (
    "guild=context.guild.id channel=context.channel.id user=context.author.id message=context.message.id"
)
_INTERACTION: Final = "guild=interaction.guild_id channel=interaction.channel_id user=interaction.user.id"
_ENTITLEMENT: Final = "guild=entitlement.guild_id user=entitlement.user_id"
_COMMAND_FORM: Final = {
    "command": "context.command.qualified_name",
    "invoked_with": "context.invoked_with",
    "prefix": "context.prefix",
    "author": "context.author",
    "message": "context.message",
    "channel_id": ids("context.channel.id"),
    "guild_id": ids("context.guild.id"),
}

#: Rows of the table.
ROWS: Final[tuple[EventSpec, ...]] = (
    # -- commands
    spec("command", "context: Context", "commands", "", _CONTEXT, needs="commands", form=_COMMAND_FORM),
    spec(
        "command_completion",
        "context: Context",
        "commands",
        "",
        _CONTEXT,
        needs="commands",
        form=_COMMAND_FORM,
    ),
    spec(
        "command_error",
        "context: Context, error: CommandError",
        "commands errors",
        "",
        _CONTEXT,
        needs="commands",
        form={**_COMMAND_FORM, "error": error("error")},
    ),
    spec(
        "app_command_completion",
        "interaction: Interaction, command: Command | ContextMenu",
        "commands",
        "",
        _INTERACTION,
        form={
            "command": "command.qualified_name",
            "interaction": "interaction",
            "user": "interaction.user",
            "channel_id": ids("interaction.channel_id"),
            "guild_id": ids("interaction.guild_id"),
        },
    ),
    spec(
        "interaction",
        "interaction: Interaction",
        "commands",
        "",
        f"{_INTERACTION} message=interaction.message.id",
    ),
    spec(
        "raw_app_command_permissions_update",
        "payload: RawAppCommandPermissionsUpdateEvent",
        "commands",
        "",
        "guild=payload.guild.id",
        form={
            "id": ids("payload.target_id"),
            "application_id": ids("payload.application_id"),
            "guild_id": ids("payload.guild.id"),
            "permissions": permissions("payload.permissions"),
        },
    ),
    # -- what users pay for
    spec("entitlement_create", "entitlement: Entitlement", "monetization", "", _ENTITLEMENT),
    spec("entitlement_update", "entitlement: Entitlement", "monetization", "", _ENTITLEMENT),
    spec("entitlement_delete", "entitlement: Entitlement", "monetization", "", _ENTITLEMENT),
    spec(
        "subscription_create", "subscription: Subscription", "monetization", "", "user=subscription.user_id"
    ),
    spec(
        "subscription_update", "subscription: Subscription", "monetization", "", "user=subscription.user_id"
    ),
    spec(
        "subscription_delete", "subscription: Subscription", "monetization", "", "user=subscription.user_id"
    ),
    # -- the bot's connection
    spec("connect", groups="connection"),
    spec("disconnect", groups="connection"),
    spec("ready", groups="connection"),
    spec("resumed", groups="connection"),
    spec("shard_connect", "shard_id: int", "connection", needs="shards"),
    spec("shard_disconnect", "shard_id: int", "connection", needs="shards"),
    spec("shard_ready", "shard_id: int", "connection", needs="shards"),
    spec("shard_resumed", "shard_id: int", "connection", needs="shards"),
    spec("error", "event: str, error: Exception", "errors", form={"event": "event", "error": error("error")}),
    spec("socket_event_type", "event_type: str", "gateway"),
    spec(
        "socket_raw_receive", "msg: str", "gateway", needs="enable_debug_events", form={"frame": frame("msg")}
    ),
    spec(
        "socket_raw_send",
        "payload: str | bytes",
        "gateway",
        needs="enable_debug_events",
        form={"frame": frame("payload")},
    ),
)
