"""Tables of interactions and of commands as Discord has them. The token of an interaction is in none of them.

Paths that begin with an underscore are discord.py's own attributes, where it has no public one.
"""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.forks import app_commands, discord
from discord_tools.ipc_server.values.activities import OBJECT
from discord_tools.ipc_server.values.kinds import (
    INTEGER,
    boolean,
    enum,
    integer,
    json,
    made,
    many,
    nested,
    number,
    one_of,
    permissions,
    snowflake,
    text,
)
from discord_tools.ipc_server.values.table import Field, Table
from discord_tools.ipc_server.values.users import PARTIAL_MEMBER, PERSON, member_of

__all__ = ("TABLES",)


def _localized(texts: Any) -> dict[str, str]:
    """Texts by their languages, whose enums are no keys of JSON."""
    return {str(locale.value): text for locale, text in texts.items()}


def _numbers(flags: Any) -> list[int]:
    """The list of numbers that Discord has in place of flags."""
    return flags.to_array()


def _owners(interaction: Any) -> dict[str, str]:
    return {str(kind): str(owner) for kind, owner in interaction._integration_owners.items()}


def _context(interaction: Any) -> int | None:
    return next(iter(interaction.context.to_array()), None)


def _partial_guild(interaction: Any) -> dict[str, Any] | None:
    guild = interaction.guild
    if guild is None:
        return None
    locale = interaction.guild_locale
    return {
        "id": str(guild.id),
        "locale": None if locale is None else locale.value,
        "features": guild.features,
    }


def _resource(response: Any) -> dict[str, Any]:
    """What Discord made of a response: its type and the message or activity."""
    resource = response.resource
    result: dict[str, Any] = {"type": response.type.value}
    if isinstance(resource, discord.InteractionMessage):
        result["message"] = resource
    elif resource is not None:
        result["activity_instance"] = {"id": resource.id}
    return result


def _callback(response: Any) -> dict[str, Any]:
    return {
        "id": str(response.id),
        "type": response._parent.type.value,
        "activity_instance_id": response.activity_id,
        "response_message_id": None if response.message_id is None else str(response.message_id),
        "response_message_loading": response.is_thinking(),
        "response_message_ephemeral": response.is_ephemeral(),
    }


def _localizations(name: str) -> Field:
    return made(_localized, OBJECT, name, name)


_NAMED: Final = (
    enum("type"),
    text("name"),
    _localizations("name_localizations"),
    text("description"),
    _localizations("description_localizations"),
)
_OPTIONS: Final = many(one_of((app_commands.Argument, app_commands.AppCommandGroup), "options"))

TABLES: Final = (
    Table(
        discord.Interaction,
        snowflake("id"),
        snowflake("application_id"),
        enum("type"),
        json("data"),
        made(_partial_guild, OBJECT, "guild", omit=True),
        snowflake("guild_id"),
        one_of((discord.abc.GuildChannel, discord.Thread, discord.DMChannel), "channel", omit=True),
        snowflake("channel_id"),
        nested(PERSON, "user"),
        nested(PARTIAL_MEMBER, "member", "user", omit=True)._replace(prepare=member_of),
        nested(discord.Message, "message", omit=True),
        integer("version"),
        permissions("app_permissions"),
        enum("locale"),
        enum("guild_locale", omit=True),
        many(nested(discord.Entitlement, "entitlements")),
        many(snowflake("entitlement_sku_ids")),
        made(_owners, OBJECT, "authorizing_integration_owners"),
        made(_context, INTEGER, "context", omit=True),
        integer("attachment_size_limit", "filesize_limit"),
        types=("interactions.ApplicationCommandInteraction",),
    ),
    Table(
        discord.InteractionCallbackResponse,
        made(_callback, OBJECT, "interaction"),
        made(_resource, OBJECT, "resource"),
        types=("interactions.InteractionCallback",),
    ),
    Table(
        discord.InteractionCallbackActivityInstance,
        text("id"),
        types=("interactions.InteractionCallbackActivity",),
    ),
    Table(
        app_commands.AppCommand,
        snowflake("id"),
        snowflake("application_id"),
        snowflake("guild_id", omit=True),
        *_NAMED,
        _OPTIONS,
        permissions("default_member_permissions"),
        boolean("dm_permission"),
        made(_numbers, INTEGER._replace(many=True), "contexts", "allowed_contexts"),
        made(_numbers, INTEGER._replace(many=True), "integration_types", "allowed_installs"),
        boolean("nsfw"),
        types=("command._ChatInputApplicationCommand",),
    ),
    Table(app_commands.AppCommandGroup, *_NAMED, _OPTIONS, types=("command._SubCommandCommandOption",)),
    Table(
        app_commands.Argument,
        *_NAMED,
        boolean("required"),
        many(nested(app_commands.Choice, "choices")),
        many(enum("channel_types")),
        number("min_value", omit=True),
        number("max_value", omit=True),
        integer("min_length", omit=True),
        integer("max_length", omit=True),
        boolean("autocomplete"),
        types=("command._StringApplicationCommandOption", "command._NumberApplicationCommandOption"),
    ),
    Table(
        app_commands.Choice,
        text("name"),
        _localizations("name_localizations"),
        json("value"),
        types=("command._StringApplicationCommandOptionChoice",),
    ),
    Table(
        app_commands.AppCommandPermissions,
        snowflake("id"),
        enum("type"),
        boolean("permission"),
        types=("command.ApplicationCommandPermissions",),
    ),
    Table(
        app_commands.GuildAppCommandPermissions,
        snowflake("id"),
        snowflake("application_id"),
        snowflake("guild_id"),
        many(nested(app_commands.AppCommandPermissions, "permissions")),
        types=("command.GuildApplicationCommandPermissions",),
    ),
    Table(
        (app_commands.AppCommandContext, app_commands.AppInstallationType),
        scalar=INTEGER._replace(code="call({})", function=_numbers, many=False),
    ),
)
