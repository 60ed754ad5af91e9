"""What members and moderators do to messages and members of the loopback Discord."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from . import payloads
from .gateway import Gateway
from .model import Channel, Guild, Member, Message, World, created_at

BAN, UNBAN, DELETE = 22, 23, 72
"""Types of entries of the audit log."""


class Moderation:
    """The part of :class:`loopback.LoopbackDiscord` that changes and deletes."""

    _world: World
    gateway: Gateway

    async def edit(self, message: Message, content: str) -> Message:
        """The author edits a message."""
        edited = dataclasses.replace(message, content=content)
        data = {**payloads.message(edited), "edited_timestamp": created_at(self._world.next_id()).isoformat()}
        self.gateway.dispatch("MESSAGE_UPDATE", message.channel.guild, data)
        return edited

    async def delete(self, message: Message) -> None:
        """Somebody deletes a message, which Discord does not say."""
        data = {"id": str(message.id), **_place(message.channel)}
        self.gateway.dispatch("MESSAGE_DELETE", message.channel.guild, data)

    async def delete_many(self, messages: Sequence[Message]) -> None:
        """A bot deletes messages of one channel at once."""
        channel = messages[0].channel
        data = {"ids": [str(message.id) for message in messages], **_place(channel)}
        self.gateway.dispatch("MESSAGE_DELETE_BULK", channel.guild, data)

    async def react(self, message: Message, member: Member, emoji: str) -> None:
        """A member reacts to a message."""
        data: dict[str, Any] = {
            **_reaction(message, member, emoji),
            "member": payloads.member(member),
            "message_author_id": str(message.author.id),
        }
        self.gateway.dispatch("MESSAGE_REACTION_ADD", member.guild, data)

    async def clear_reactions(self, message: Message) -> None:
        """A moderator removes all reactions of a message."""
        data = {"message_id": str(message.id), **_place(message.channel)}
        self.gateway.dispatch("MESSAGE_REACTION_REMOVE_ALL", message.channel.guild, data)

    async def ban(self, member: Member, moderator: Member, reason: str | None = None) -> None:
        """A moderator bans a member, who leaves with that."""
        guild = member.guild
        guild.members.remove(member)
        data = {"guild_id": str(guild.id), "user": payloads.user(member.user)}
        self.gateway.dispatch("GUILD_BAN_ADD", guild, data)
        self.gateway.dispatch("GUILD_MEMBER_REMOVE", guild, data)
        await self.log(guild, moderator, BAN, target_id=member.id, reason=reason)

    async def log(
        self,
        guild: Guild,
        moderator: Member,
        action: int,
        *,
        target_id: int,
        reason: str | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        """An entry comes into the audit log."""
        data: dict[str, Any] = {
            "guild_id": str(guild.id),
            "id": str(self._world.next_id()),
            "user_id": str(moderator.id),
            "target_id": str(target_id),
            "action_type": action,
        }
        if reason is not None:
            data["reason"] = reason
        if options is not None:
            data["options"] = options
        self.gateway.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", guild, data)

    async def automod(self, channel: Channel, member: Member, content: str, keyword: str) -> None:
        """Auto-moderation blocks what a member wrote."""
        data: dict[str, Any] = {
            **_place(channel),
            "user_id": str(member.id),
            "action": {"type": 1, "metadata": {}},
            "rule_id": str(self._world.next_id()),
            "rule_trigger_type": 1,
            "content": content,
            "matched_keyword": keyword,
            "matched_content": keyword,
        }
        self.gateway.dispatch("AUTO_MODERATION_ACTION_EXECUTION", channel.guild, data)


def _place(channel: Channel) -> dict[str, str]:
    return {"channel_id": str(channel.id), "guild_id": str(channel.guild.id)}


def _reaction(message: Message, member: Member, emoji: str) -> dict[str, Any]:
    return {
        "message_id": str(message.id),
        **_place(message.channel),
        "user_id": str(member.id),
        "emoji": {"id": None, "name": emoji},
        "burst": False,
        "type": 0,
    }
