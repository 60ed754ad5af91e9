"""What members and moderators do reaches the bot as on Discord."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
from discord.ext import commands

from loopback import LoopbackDiscord
from loopback.bots import running_bot


async def heard(bot: commands.Bot, event: str) -> Any:
    return await bot.wait_for(event, timeout=5)


async def test_messages_are_edited_and_deleted(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    guild = loopback_discord.guilds[0]
    message = await loopback_discord.say(guild.text_channels[0], guild.members[0], "frist")
    edited = await loopback_discord.edit(message, "first")
    before, after = await heard(loopback_bot, "message_edit")
    assert (before.content, after.content, edited.id) == ("frist", "first", message.id)
    assert after.edited_at is not None

    other = await loopback_discord.say(guild.text_channels[0], guild.members[0], "second")
    await loopback_discord.delete(message)
    assert (await heard(loopback_bot, "message_delete")).id == message.id
    await loopback_discord.delete_many([message, other])
    payload: discord.RawBulkMessageDeleteEvent = await heard(loopback_bot, "raw_bulk_message_delete")
    assert payload.message_ids == {message.id, other.id}
    assert [cached.id for cached in payload.cached_messages] == [other.id]


async def test_reactions_come_and_are_cleared(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    guild = loopback_discord.guilds[0]
    message = await loopback_discord.say(guild.text_channels[0], guild.members[0], "hello")
    await loopback_discord.react(message, guild.members[1], "x")
    reaction, user = await heard(loopback_bot, "reaction_add")
    assert (reaction.emoji, reaction.count, user.id) == ("x", 1, guild.members[1].id)
    await loopback_discord.clear_reactions(message)
    cleared, reactions = await heard(loopback_bot, "reaction_clear")
    assert (cleared.id, len(reactions)) == (message.id, 1)


async def test_a_ban_is_an_event_a_leave_and_an_entry_of_the_audit_log(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    guild = loopback_discord.guilds[0]
    moderator, member = guild.members[:2]
    async with asyncio.TaskGroup() as waiting:
        ban, leave, entry = (
            waiting.create_task(heard(loopback_bot, event))
            for event in ("member_ban", "member_remove", "audit_log_entry_create")
        )
        await asyncio.sleep(0)  # all are waiting
        await loopback_discord.ban(member, moderator, "spam")
    assert ban.result()[1].id == leave.result().id == member.id
    logged: discord.AuditLogEntry = entry.result()
    assert (logged.action, logged.user_id, logged.reason) == (
        discord.AuditLogAction.ban,
        moderator.id,
        "spam",
    )
    assert member not in guild.members


async def test_auto_moderation_says_what_it_has_blocked(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    guild = loopback_discord.guilds[0]
    await loopback_discord.automod(guild.text_channels[0], guild.members[0], "buy spam", "spam")
    action: discord.AutoModAction = await heard(loopback_bot, "automod_action")
    assert (action.user_id, action.matched_keyword) == (guild.members[0].id, "spam")


async def test_intents_hold_for_moderation(loopback_discord: LoopbackDiscord) -> None:
    guild = loopback_discord.guilds[0]
    intents = discord.Intents.all()
    intents.moderation = intents.messages = intents.auto_moderation = False
    seen: list[str] = []
    async with running_bot(loopback_discord, intents=intents) as bot:
        for event in ("member_ban", "audit_log_entry_create", "automod_action", "raw_message_delete"):
            bot.add_listener(_noting(seen, event), f"on_{event}")
        message = await loopback_discord.say(guild.text_channels[0], guild.members[0], "hello")
        await loopback_discord.delete(message)
        await loopback_discord.automod(guild.text_channels[0], guild.members[0], "spam", "spam")
        waiting = asyncio.ensure_future(heard(bot, "member_remove"))
        await asyncio.sleep(0)
        await loopback_discord.ban(guild.members[1], guild.members[0])
        await loopback_discord.leave(guild, guild.members[1])
        await waiting
    assert seen == []


def _noting(seen: list[str], event: str) -> Any:
    async def note(*_: object) -> None:
        seen.append(event)

    return note
