"""Tables of users and members.

Paths that begin with an underscore are discord.py's own attributes, of which it makes assets, colours and sorted lists
every time that the public ones are read. A test compares both.
"""

from __future__ import annotations

from typing import Any, Final

import discord

from discord_tools.ipc_server.values.activities import ACTIVITIES, OBJECT, client_status
from discord_tools.ipc_server.values.images import member_avatar_url, user_avatar_url
from discord_tools.ipc_server.values.kinds import (
    BITS,
    SNOWFLAKE,
    TEXT,
    URL,
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
    snowflake,
    text,
    timestamp,
)
from discord_tools.ipc_server.values.table import Field, Table

__all__ = ("MENTIONED", "PARTIAL_MEMBER", "PERSON", "TABLES", "USER_FIELDS", "member_of")


def _status(member: Any) -> str:
    """What ``member.raw_status`` is."""
    return member.client_status._status


def _roles(member: Any) -> list[str]:
    """The ids of ``member.roles`` without the default role. discord.py keeps those of roles that were deleted."""
    roles = member.guild._roles
    return [str(role) for role in member._roles if role in roles]


USER_FIELDS: Final[tuple[Field, ...]] = (
    snowflake("id"),
    text("username", "name"),
    text("discriminator"),
    text("global_name"),
    text("avatar", "_avatar"),
    boolean("bot"),
    boolean("system", omit=True),
    integer("public_flags", "_public_flags"),
    text("banner", "_banner"),
    integer("accent_color", "_accent_colour"),
    json("avatar_decoration_data", "_avatar_decoration_data"),
    json("primary_guild", "_primary_guild"),
    json("collectibles", "_collectibles"),
    extra(text("display_name")),
    made(user_avatar_url, URL, "avatar_url", extra=True),
)

#: A member without its user and its guild, as messages and interactions have it.
_MEMBER_FIELDS: Final[tuple[Field, ...]] = (
    text("nick"),
    text("avatar", "_avatar"),
    text("banner", "_banner"),
    made(_roles, SNOWFLAKE._replace(many=True), "roles"),
    timestamp("joined_at"),
    timestamp("premium_since"),
    boolean("pending"),
    timestamp("communication_disabled_until", "timed_out_until"),
    integer("flags", "_flags"),
    json("avatar_decoration_data", "_avatar_decoration_data"),
    # Discord sends it with interactions only.
    Field("permissions", "_permissions", BITS, omit=True),
)


def _of_member(field: Field) -> Field:
    """A field of the user that a member is, named and pictured as in its guild."""
    if field.name == "avatar_url":
        return made(member_avatar_url, URL, "avatar_url", extra=True)
    return field if field.extra else field._replace(path=f"_user.{field.path}")


PARTIAL_MEMBER: Final = Table(discord.Member, *_MEMBER_FIELDS, types=("member.PartialMember",))


def member_of(user: Any) -> Any:
    """The member that a user is, or ``None``."""
    return user if isinstance(user, discord.Member) else None


_MEMBER_AS_USER: Final = Table(discord.Member, *map(_of_member, USER_FIELDS), types=("user.User",))

#: A user who may be known as a member.
PERSON: Final = Table(discord.User, *USER_FIELDS, variants=((discord.Member, _MEMBER_AS_USER, "_user"),))

#: The same in the mentions of a message, with the member.
MENTIONED: Final = Table(
    discord.User,
    *USER_FIELDS,
    variants=(
        (
            discord.Member,
            Table(
                discord.Member,
                *_MEMBER_AS_USER.fields,
                of(nested(PARTIAL_MEMBER, "member", omit=True), member_of),
                types=("member.UserWithMember",),
            ),
            "_user",
        ),
    ),
)

TABLES: Final = (
    Table(discord.User, *USER_FIELDS, types=("user.User",)),
    Table(
        discord.ClientUser,
        *USER_FIELDS,
        boolean("mfa_enabled"),
        text("locale"),
        boolean("verified"),
        integer("flags", "_flags"),
        types=("user.User",),
    ),
    Table(
        discord.Member,
        nested(discord.User, "user", "_user"),
        extra(snowflake("guild_id", "guild.id")),
        *_MEMBER_FIELDS,
        # The gateway has these beside a member, in presences and voice states.
        boolean("deaf", "voice?.deaf"),
        boolean("mute", "voice?.mute"),
        made(_status, TEXT, "status", extra=True),
        made(client_status, OBJECT, "client_status", extra=True),
        extra(many(one_of(ACTIVITIES, "activities"))),
        extra(text("display_name")),
        made(member_avatar_url, URL, "avatar_url", extra=True),
        types=("member.MemberWithUser",),
    ),
    Table(
        discord.PrimaryGuild,
        snowflake("identity_guild_id", "id"),
        boolean("identity_enabled"),
        text("tag"),
        text("badge", "_badge"),
        types=("user.PrimaryGuild",),
    ),
    Table(
        discord.Collectible,
        enum("type", extra=True),
        snowflake("sku_id"),
        text("asset", "_asset"),
        text("label"),
        timestamp("expires_at"),
        enum("palette", omit=True),
        types=("user.NameplateCollectible",),
    ),
)
