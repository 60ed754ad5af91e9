"""Ids become Discord's objects, from the cache of a real bot."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, NotReady, Request
from discord_tools.ipc_server.converters import lookup_of
from discord_tools.ipc_server.signature import Signature
from loopback import LoopbackDiscord
from loopback.bots import running_bot


def bind(callback: Any, client: discord.Client, **data: Any) -> dict[str, Any]:
    return Signature(callback, bound=False, namespace={}).bind(json.dumps(data).encode(), client)


def errors(callback: Any, client: discord.Client, **data: Any) -> dict[str, str]:
    with pytest.raises(BadData) as caught:
        bind(callback, client, **data)
    return {error["path"]: error["message"] for error in caught.value.errors}


async def takes_guild(request: Request, guild: discord.Guild) -> None: ...


async def takes_member(request: Request, guild: discord.Guild, member: discord.Member) -> None: ...


async def takes_optional(
    request: Request, guild: discord.Guild | None = None, member: discord.Member | None = None
) -> None: ...


async def takes_many(
    request: Request, guild: discord.Guild, members: list[discord.Member], roles: Sequence[discord.Role] = ()
) -> None: ...


async def takes_role(request: Request, role: discord.Role) -> None: ...


async def takes_guilds_and_role(
    request: Request, guilds: list[discord.Guild], role: discord.Role
) -> None: ...


async def takes_text(request: Request, channel: discord.TextChannel) -> None: ...


async def takes_text_of_guild(
    request: Request, channel: discord.TextChannel, guild: discord.Guild
) -> None: ...


async def takes_channels(request: Request, channel: discord.TextChannel | discord.Thread) -> None: ...


async def takes_any_channel(request: Request, channel: discord.abc.GuildChannel) -> None: ...


async def takes_voice(request: Request, channel: discord.VoiceChannel) -> None: ...


async def takes_user(request: Request, user: discord.User) -> None: ...


async def takes_object(request: Request, thing: discord.Object) -> None: ...


async def takes_emoji(request: Request, emoji: discord.Emoji) -> None: ...


async def takes_private(request: Request, channel: discord.DMChannel) -> None: ...


@pytest.mark.parametrize("as_text", [False, True])
async def test_an_id_is_looked_up_as_a_number_and_as_text(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, as_text: bool
) -> None:
    number = loopback_discord.guilds[1].id
    found = bind(takes_guild, loopback_bot, guild=str(number) if as_text else number)
    assert found == {"guild": loopback_bot.get_guild(number)}


async def test_a_member_is_looked_up_in_the_guild_that_is_named(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    one, other = loopback_discord.guilds
    found = bind(takes_member, loopback_bot, member=one.members[0].id, guild=one.id)
    assert isinstance(found["member"], discord.Member)
    assert found["member"].id == one.members[0].id
    assert found["member"].guild is found["guild"]
    assert errors(takes_member, loopback_bot, member=one.members[0].id, guild=other.id) == {
        "member": "no Member with this id is known to the bot"
    }


async def test_lists_are_looked_up_one_by_one(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    ids = [member.id for member in model.members]
    found = bind(takes_many, loopback_bot, guild=model.id, members=ids, roles=[model.roles[1].id])
    assert [member.id for member in found["members"]] == ids
    assert [role.id for role in found["roles"]] == [model.roles[1].id]
    assert errors(takes_many, loopback_bot, guild=model.id, members=[ids[0], 5, 6]) == {
        "members[1]": "no Member with this id is known to the bot",
        "members[2]": "no Member with this id is known to the bot",
    }
    assert bind(takes_many, loopback_bot, guild=model.id, members=[])["members"] == []


async def test_what_may_be_none_may_be_none_or_left_out(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    assert bind(takes_optional, loopback_bot) == {}
    assert bind(takes_optional, loopback_bot, guild=None, member=None) == {"guild": None, "member": None}


async def test_a_member_needs_the_guild_to_be_given(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    number = loopback_discord.guilds[0].members[0].id
    assert errors(takes_optional, loopback_bot, member=number) == {"member": "needs 'guild' to be given, too"}


async def test_an_unknown_guild_is_one_error_only(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    assert errors(takes_member, loopback_bot, guild=5, member=6) == {
        "guild": "no Guild with this id is known to the bot"
    }


async def test_a_role_is_found_in_any_guild_unless_one_is_named(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    role = loopback_discord.guilds[1].roles[1]
    assert bind(takes_role, loopback_bot, role=role.id)["role"].id == role.id
    assert errors(takes_many, loopback_bot, guild=loopback_discord.guilds[0].id, members=[], roles=[role.id])


async def test_a_list_of_guilds_does_not_say_where_a_role_is(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    role = loopback_discord.guilds[1].roles[1]
    guilds = [guild.id for guild in loopback_discord.guilds]
    assert bind(takes_guilds_and_role, loopback_bot, guilds=guilds, role=role.id)["role"].id == role.id


async def test_a_channel_is_found_by_its_kind(loopback_bot: commands.Bot) -> None:
    async with (
        LoopbackDiscord(guilds=2, text_channels=1, voice_channels=1) as discord_,
        running_bot(discord_) as bot,
    ):
        text, voice = discord_.guilds[0].channels
        for callback in (takes_text, takes_channels, takes_any_channel):
            assert bind(callback, bot, channel=text.id) == {"channel": bot.get_channel(text.id)}
        for callback in (takes_voice, takes_any_channel):
            assert bind(callback, bot, channel=voice.id) == {"channel": bot.get_channel(voice.id)}
        assert errors(takes_text, bot, channel=voice.id) == {
            "channel": "no TextChannel with this id is known to the bot"
        }
        assert errors(takes_channels, bot, channel=voice.id) == {
            "channel": "no TextChannel or Thread with this id is known to the bot"
        }
        guild, other = discord_.guilds
        assert bind(takes_text_of_guild, bot, channel=text.id, guild=guild.id)["channel"].id == text.id
        assert errors(takes_text_of_guild, bot, channel=text.id, guild=other.id)


async def test_users_and_bare_ids_are_looked_up(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    number = loopback_discord.guilds[0].members[0].id
    assert bind(takes_user, loopback_bot, user=number) == {"user": loopback_bot.get_user(number)}
    assert bind(takes_object, loopback_bot, thing="123")["thing"].id == 123
    assert errors(takes_user, loopback_bot, user=5)
    assert errors(takes_emoji, loopback_bot, emoji=5)
    assert errors(takes_private, loopback_bot, channel=5)


@pytest.mark.parametrize("value", ["ada", -1, 1.5, None, [], {}, "", "12x", True])
async def test_what_is_no_id_is_bad_data(loopback_bot: commands.Bot, value: Any) -> None:
    assert set(errors(takes_guild, loopback_bot, guild=value)) == {"guild"}


async def test_before_the_bot_is_ready_an_unknown_id_means_that_it_is_not_ready(bot: commands.Bot) -> None:
    with pytest.raises(NotReady, match="not received all of its guilds"):
        bind(takes_guild, bot, guild=5)


@pytest.mark.parametrize("annotation", [int, str, list[int], None, Any, dict[str, discord.Guild]])
def test_plain_data_is_not_looked_up(annotation: Any) -> None:
    assert lookup_of(annotation) is None


def test_the_noun_names_all_that_is_looked_for() -> None:
    lookup = lookup_of(discord.TextChannel | discord.VoiceChannel | None)
    assert lookup is not None
    assert re.fullmatch("TextChannel or VoiceChannel", lookup.noun)
