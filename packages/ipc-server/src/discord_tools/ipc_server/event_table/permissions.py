"""Permissions that events of discord.py demand of acting users, beyond seeing the channel of an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ("PERMISSIONS",)

_MANAGE_GUILD: Final = ("manage_guild",)

#: What Discord itself demands for the same facts, as far as it shows them to members at all. Events that are not here
#: are for all members of the guild who can see their channels.
PERMISSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "member_ban": ("ban_members",),
    "member_unban": ("ban_members",),
    "audit_log_entry_create": ("view_audit_log",),
    **dict.fromkeys(
        ("automod_rule_create", "automod_rule_update", "automod_rule_delete", "automod_action"), _MANAGE_GUILD
    ),
    **dict.fromkeys(("invite_create", "invite_delete"), _MANAGE_GUILD),
    **dict.fromkeys(
        ("guild_integrations_update", "integration_create", "integration_update", "raw_integration_delete"),
        _MANAGE_GUILD,
    ),
    "webhooks_update": ("manage_webhooks",),
    # What a user of a command has written to the bot may be for the bot alone.
    **dict.fromkeys(
        ("command", "command_completion", "command_error", "app_command_completion", "interaction"),
        _MANAGE_GUILD,
    ),
    "raw_app_command_permissions_update": _MANAGE_GUILD,
    **dict.fromkeys(("entitlement_create", "entitlement_update", "entitlement_delete"), _MANAGE_GUILD),
    # What was deleted or edited, of messages that a member may never have seen.
    **dict.fromkeys(
        (
            *("message_edit", "message_delete", "bulk_message_delete"),
            *("raw_message_edit", "raw_message_delete", "raw_bulk_message_delete"),
        ),
        ("read_message_history",),
    ),
}
