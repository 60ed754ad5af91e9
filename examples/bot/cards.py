"""What the dashboard is shown of Discord's objects, and no more.

A route may also answer with the discord.py objects themselves. Cards keep the answers small, and in one
place what the page needs. Ids are strings, since they do not fit into JavaScript's numbers. A picture is
None where there is only Discord's default.
"""

from typing import Any

import discord

Card = dict[str, Any]


def guild_card(guild: discord.Guild) -> Card:
    return {
        "id": str(guild.id),
        "name": guild.name,
        "icon_url": guild.icon.with_size(64).url if guild.icon else None,
        "member_count": guild.member_count or 0,
    }


def channel_card(channel: discord.TextChannel) -> Card:
    return {
        "id": str(channel.id),
        "name": channel.name,
        "topic": channel.topic,
        "can_send": channel.permissions_for(channel.guild.me).send_messages,
    }


def person_card(person: discord.abc.User) -> Card:
    return {
        "id": str(person.id),
        "name": person.display_name,
        "avatar_url": person.display_avatar.with_size(64).url if person.avatar else None,
        "bot": person.bot,
    }


def message_card(message: discord.Message) -> Card:
    return {
        "id": str(message.id),
        "channel_id": str(message.channel.id),
        "author": person_card(message.author),
        "text": message.clean_content,
        "at": message.created_at.isoformat(),
    }
