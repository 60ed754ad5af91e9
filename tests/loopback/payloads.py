"""The model as Discord's JSON, checked by pyright against the types that discord.py itself declares.

Every key that discord.py declares as required is there, so these are a good oracle for tests that encode
discord.py's objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from .model import Channel, ChannelType, Guild, Member, Message, Role, User, created_at

if TYPE_CHECKING:
    from discord.types import (
        appinfo,
        channel as channels,
        embed as embeds,
        guild as guilds,
        member as members,
        message as messages,
        role as roles,
        team as teams,
        user as users,
    )

MENTION = re.compile(r"<@!?(\d+)>")


def user(model: User) -> users.User:
    """A user object."""
    return {
        "id": str(model.id),
        "username": model.name,
        "discriminator": "0",
        "global_name": model.display_name,
        "avatar": model.avatar,
        "bot": model.bot,
        "public_flags": 0,
    }


def role(model: Role) -> roles.Role:
    """A role object."""
    return {
        "id": str(model.id),
        "name": model.name,
        "color": model.colour,
        "colors": {"primary_color": model.colour, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "position": model.position,
        "permissions": str(model.permissions),
        "managed": False,
        "mentionable": False,
        "flags": 0,
        "icon": None,
        "unicode_emoji": None,
    }


def partial_member(model: Member) -> members.PartialMember:
    """A member object without its user, as messages carry it."""
    return {
        "roles": [str(role.id) for role in model.roles],
        "joined_at": model.joined_at.isoformat(),
        "deaf": False,
        "mute": False,
        "flags": 0,
    }


def member(model: Member) -> members.MemberWithUser:
    """A member object with its user."""
    payload: members.MemberWithUser = {**partial_member(model), "user": user(model.user)}
    if model.nick is not None:
        payload["nick"] = model.nick
    if model.timed_out_until is not None:
        payload["communication_disabled_until"] = model.timed_out_until.isoformat()
    return payload


def overwrites(model: Channel) -> list[channels.PermissionOverwrite]:
    """The overwrites of a channel."""
    roles = {one.id for one in model.guild.roles}
    return [
        {"id": str(number), "type": 0 if number in roles else 1, "allow": str(allow), "deny": str(deny)}
        for number, (allow, deny) in model.overwrites.items()
    ]


def channel(model: Channel) -> channels.TextChannel | channels.VoiceChannel:
    """A channel object."""
    if model.type is ChannelType.VOICE:
        return {
            "id": str(model.id),
            "guild_id": str(model.guild.id),
            "type": 2,
            "name": model.name,
            "position": model.position,
            "permission_overwrites": overwrites(model),
            "nsfw": False,
            "parent_id": None,
            "bitrate": 64_000,
            "user_limit": 0,
        }
    payload: channels.TextChannel = {
        "id": str(model.id),
        "guild_id": str(model.guild.id),
        "type": 0,
        "name": model.name,
        "position": model.position,
        "permission_overwrites": overwrites(model),
        "nsfw": False,
        "parent_id": None,
        "last_message_id": None,
        "rate_limit_per_user": 0,
    }
    if model.topic is not None:
        payload["topic"] = model.topic
    return payload


def _mention(model: Member) -> members.UserWithMember:
    mention = cast("members.UserWithMember", user(model.user))
    mention["member"] = cast("members.Member", partial_member(model))
    return mention


def message(model: Message) -> messages.Message:
    """A message object with what MESSAGE_CREATE adds: the guild's id and the author's member."""
    guild = model.channel.guild
    mentioned = [guild.member(int(user_id)) for user_id in MENTION.findall(model.content)]
    payload: messages.Message = {
        "id": str(model.id),
        "channel_id": str(model.channel.id),
        "guild_id": str(guild.id),
        "author": user(model.author),
        "content": model.content,
        "timestamp": created_at(model.id).isoformat(),
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [_mention(found) for found in mentioned if found],
        "mention_roles": [],
        "attachments": [],
        "embeds": cast("list[embeds.Embed]", list(model.embeds)),
        "pinned": False,
        "type": 0 if model.reference is None else 19,
    }
    author = guild.member(model.author.id)
    if author is not None:
        payload["member"] = cast("members.Member", partial_member(author))
    if model.reference is not None:
        payload["message_reference"] = cast("messages.MessageReference", model.reference)
    if model.nonce is not None:
        payload["nonce"] = model.nonce
    return payload


def guild(model: Guild) -> guilds.Guild:
    """A guild as GUILD_CREATE has it, with everything in it."""
    return {
        "id": str(model.id),
        "unavailable": False,
        "name": model.name,
        "icon": None,
        "splash": None,
        "discovery_splash": None,
        "banner": None,
        "description": None,
        "owner_id": str(model.owner_id),
        "region": "deprecated",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "verification_level": 1,
        "default_message_notifications": 1,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "application_id": None,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "vanity_url_code": None,
        "premium_tier": 0,
        "preferred_locale": "en-US",
        "incidents_data": None,
        "features": [],
        "emojis": [],
        "stickers": [],
        "roles": [role(each) for each in model.roles],
        "channels": [channel(each) for each in model.channels],
        "members": cast("list[members.Member]", [member(each) for each in model.members]),
        "member_count": len(model.members),
        "joined_at": created_at(model.id).isoformat(),
        "large": len(model.members) > 250,
        "threads": [],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def invite(code: str, model: Channel) -> dict[str, Any]:
    """An invite to a channel, without counts."""
    guild_: dict[str, Any] = {"id": str(model.guild.id), "name": model.guild.name, "features": []}
    return {
        "type": 0,
        "code": code,
        "guild": {
            **guild_,
            "verification_level": 1,
            "splash": None,
            "banner": None,
            "description": None,
            "icon": None,
        },
        "channel": {"id": str(model.id), "name": model.name, "type": int(model.type)},
        "expires_at": None,
    }


def ready(
    bot: User, guilds_: Iterable[Guild], session_id: str, shard: tuple[int, int] | None
) -> dict[str, Any]:
    """The READY event; only a sharded session is told its shard."""
    payload: dict[str, Any] = {
        "v": 10,
        "user": user(bot),
        "guilds": [{"id": str(each.id), "unavailable": True} for each in guilds_],
        "session_id": session_id,
        "resume_gateway_url": "wss://gateway-resume.discord.gg",
        "application": {"id": str(bot.id), "flags": 0},
    }
    if shard is not None:
        payload["shard"] = list(shard)
    return payload


def application(bot: User, owner: User, team: Iterable[tuple[User, str]]) -> appinfo.AppInfo:
    """The bot's application; it has the id of the bot's user, as new applications do."""
    found: appinfo.AppInfo = {
        "id": str(bot.id),
        "name": bot.name,
        "icon": None,
        "description": "A bot on the loopback Discord.",
        "summary": "",
        "flags": 0,
        "verify_key": "0" * 64,
        "bot_public": False,
        "bot_require_code_grant": False,
        "owner": user(owner),
    }
    if team:
        members = [
            {
                "user": user(member),
                "membership_state": 2,
                "permissions": ["*"],
                "team_id": str(bot.id),
                "role": role,
            }
            for member, role in team
        ]
        # Discord's name for the owner, which discord.py reads, is not the one in its types.
        facts = {"id": str(bot.id), "name": "developers", "icon": None, "owner_user_id": str(owner.id)}
        found["team"] = cast("teams.Team", {**facts, "members": members})
    return found
