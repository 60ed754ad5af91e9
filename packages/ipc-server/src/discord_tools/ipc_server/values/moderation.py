"""Tables of moderation: audit logs, automatic moderation, bans.

Paths that begin with an underscore are discord.py's own attributes, for parts that it keeps as Discord sent them.
"""

from __future__ import annotations

from typing import Any, Final, cast

from discord_tools.ipc_server.forks import discord
from discord_tools.ipc_server.values.activities import OBJECT
from discord_tools.ipc_server.values.kinds import (
    boolean,
    enum,
    made,
    many,
    nested,
    snowflake,
    text,
)
from discord_tools.ipc_server.values.python import is_discord_enum
from discord_tools.ipc_server.values.table import Table

__all__ = ("TABLES",)

#: Discord's keys of changes by discord.py's names, where they differ. Made of discord.py's own table.
_KEYS: Final[dict[str, str]] = {
    str(name): key for key, (name, _) in discord.AuditLogChanges.TRANSFORMERS.items() if name is not None
} | {"emoji": "emoji_id"}


def _settled(value: Any) -> Any:
    """Replaces enums of discord.py, which are tuples, and tuples of a target and its overwrite."""
    kind = cast("type[Any]", type(value))
    if is_discord_enum(kind):
        return value.value
    return [_settled(each) for each in value] if issubclass(kind, list | tuple) else value


def _diff(diff: Any) -> dict[str, Any]:
    return {_KEYS.get(str(name), str(name)): _settled(value) for name, value in diff}


def _differences(changes: Any) -> list[dict[str, Any]]:
    before, after = _diff(changes.before), _diff(changes.after)
    return [{"key": key, "old_value": before.get(key), "new_value": after.get(key)} for key in before | after]


def _changes(entry: Any) -> list[dict[str, Any]]:
    """What Discord sent, or what discord.py has made of it: it forgets the former once the latter is read."""
    kept = entry.__dict__.get("_changes")
    return _differences(entry.changes) if kept is None else kept


def _options(entry: Any) -> dict[str, Any] | None:
    """Discord's form of ``entry.extra``, whose class depends on the action."""
    extra: Any = entry.extra
    if extra is None:
        return None
    if isinstance(extra, discord.Member | discord.User):
        return {"type": "1", "id": str(extra.id)}
    if isinstance(extra, discord.PartialIntegration):
        return {"application_id": str(extra.application_id)}
    if isinstance(extra, discord.Role | discord.Object):
        if entry.action.name.startswith("app_command"):
            return {"application_id": str(extra.id)}
        return {"type": "0", "id": str(extra.id), "role_name": getattr(extra, "name", None)}
    names = {
        "channel": "channel_id",
        "automod_rule_name": "auto_moderation_rule_name",
        "automod_rule_trigger_type": "auto_moderation_rule_trigger_type",
    }
    given: dict[str, Any] = extra.__dict__
    return {names.get(name, name): _option(value) for name, value in given.items() if value is not None}


def _option(value: Any) -> str:
    """All options are strings."""
    return str(getattr(value, "id", _settled(value)))


def _trigger_metadata(trigger: Any) -> dict[str, Any]:
    return trigger.to_metadata_dict() or {}


def _trigger(trigger: Any) -> dict[str, Any]:
    return {"trigger_type": trigger.type.value, "trigger_metadata": _trigger_metadata(trigger)}


TABLES: Final = (
    Table(
        discord.AuditLogEntry,
        snowflake("id"),
        snowflake("guild_id", "guild.id"),
        enum("action_type", "action"),
        snowflake("user_id"),
        snowflake("target_id", "_target_id"),
        text("reason", omit=True),
        made(_changes, OBJECT._replace(many=True), "changes"),
        made(_options, OBJECT, "options", omit=True),
        types=("gateway.GuildAuditLogEntryCreate",),
    ),
    Table(
        discord.AuditLogChanges,
        scalar=OBJECT._replace(many=False, code="call({})", function=_differences),
    ),
    Table(discord.AuditLogDiff, scalar=OBJECT._replace(code="call({})", function=_diff)),
    Table(
        discord.AutoModRule,
        snowflake("id"),
        snowflake("guild_id", "guild.id"),
        text("name"),
        snowflake("creator_id"),
        enum("event_type"),
        enum("trigger_type", "trigger.type"),
        made(_trigger_metadata, OBJECT, "trigger_metadata", "trigger"),
        many(nested(discord.AutoModRuleAction, "actions")),
        boolean("enabled"),
        many(snowflake("exempt_roles", "exempt_role_ids")),
        many(snowflake("exempt_channels", "exempt_channel_ids")),
        types=("automod._AutoModerationRuleKeyword",),
    ),
    Table(discord.AutoModTrigger, scalar=OBJECT._replace(code="call({})", function=_trigger)),
    Table(
        discord.AutoModRuleAction,
        enum("type"),
        made(lambda action: action.to_dict()["metadata"], OBJECT, "metadata"),
        types=("automod._AutoModerationActionAlert",),
    ),
    Table(
        discord.AutoModAction,
        snowflake("guild_id"),
        nested(discord.AutoModRuleAction, "action"),
        snowflake("rule_id"),
        enum("rule_trigger_type"),
        snowflake("user_id"),
        snowflake("channel_id", omit=True),
        snowflake("message_id", omit=True),
        snowflake("alert_system_message_id", omit=True),
        text("content"),
        text("matched_keyword"),
        text("matched_content"),
        types=("automod.AutoModerationActionExecution",),
    ),
)
