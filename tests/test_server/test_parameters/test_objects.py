"""Ids become Discord's objects, from the cache of a real bot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, Cached, NotReady, Request, UnknownObject
from discord_tools.ipc_server.parameters import binding, objects
from loopback import LoopbackDiscord
from loopback.bots import running_bot
from test_server.test_parameters.calls import bind, errors, fault, signature_for, value


async def takes_guild(request: Request, guild: discord.Guild) -> None: ...


async def takes_member(request: Request, guild: discord.Guild, member: discord.Member) -> None: ...


async def takes_cached_member(
    request: Request, guild: discord.Guild, member: Annotated[discord.Member, Cached]
) -> None: ...


async def takes_optional(
    request: Request, guild: discord.Guild | None = None, member: discord.Member | None = None
) -> None: ...


async def takes_many(
    request: Request,
    guild: discord.Guild,
    members: Annotated[list[discord.Member], Cached],
    roles: Sequence[discord.Role] = (),
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


async def takes_user(request: Request, user: Annotated[discord.User, Cached]) -> None: ...


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
    assert errors(
        takes_cached_member, loopback_bot, kind=UnknownObject, member=one.members[0].id, guild=other.id
    ) == {"member": "no Member with this id is known to the bot"}


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


async def test_a_guild_that_is_left_out_is_one_error_only(loopback_bot: commands.Bot) -> None:
    assert errors(takes_member, loopback_bot, member=6) == {"guild": "is required"}


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


WRONG_IDS = {
    "text": ("ada", "'ada'"),
    "digits and a letter": ("12a", "'12a'"),
    "a space before": (" 12", "' 12'"),
    "a space after": ("12 ", "'12 '"),
    "a sign": ("+12", r"'\+12'"),
    "an underscore": ("1_2", "'1_2'"),
    "a zero before": ("012", "'012'"),
    "digits of another script": ("\u0661\u0662", "'\u0661\u0662'"),
    "a superscript": ("\u00b2", "'\u00b2'"),
    "empty": ("", "''"),
    "negative": (-1, "-1"),
    "negative text": ("-1", "'-1'"),
    "65 bits": (2**64, "18446744073709551616"),
    "65 bits as text": (str(2**64), "'18446744073709551616'"),
    "very large": (10**400, "a number of 1329 bits"),
    "very long": ("9" * 500, "and 400 more characters"),
    "a fraction": (1.5, "1.5"),
    "a float": (12.0, "12.0"),
    "true": (True, "true"),
    "null": (None, "null"),
    "an array": ([12], "an array"),
    "an object": ({"id": 12}, "an object"),
}


@pytest.mark.parametrize("name", WRONG_IDS)
@pytest.mark.parametrize("cls", [discord.Guild, discord.User, discord.Object, discord.TextChannel])
def test_an_id_of_a_wrong_form_is_bad_data_that_shows_it(cls: type, name: str) -> None:
    given, quoted = WRONG_IDS[name]
    signature = signature_for(cls)
    (message,) = errors(signature, kind=BadData, it=given).values()
    if isinstance(given, list | dict):
        assert message == f"Expected a number or a string, got `{quoted.split()[-1]}`"
        return
    what = "an Object" if cls is discord.Object else f"a {cls.__name__}"
    expected = f"expected the id of {what}, a number or a string of digits, got .*{quoted}$"
    assert re.match(expected, message)


@pytest.mark.parametrize("number", [0, 1, 2**63, 2**64 - 1])
def test_ids_have_64_bits(number: int) -> None:
    assert value(discord.Object, number).id == number
    assert value(discord.Object, str(number)).id == number


def test_every_wrong_id_of_a_list_is_reported_with_its_place() -> None:
    found = errors(signature_for(list[discord.Object]), it=[1, "x", 2, True, -3])
    assert list(found) == ["it[1]", "it[3]", "it[4]"]


async def test_an_unknown_id_is_an_error_of_its_own_that_names_parameter_kind_and_id(
    loopback_bot: commands.Bot,
) -> None:
    with pytest.raises(UnknownObject) as caught:
        bind(takes_channels, loopback_bot, channel=5)
    error = caught.value
    assert (error.parameter, error.kind, error.id) == ("channel", "TextChannel or Thread", 5)
    assert "channel: no TextChannel or Thread with this id" in error.message


async def test_what_is_both_malformed_and_unknown_is_bad_data_with_all_faults(
    loopback_bot: commands.Bot,
) -> None:
    signature = signature_for(discord.Role, other=discord.Emoji, number=int)
    found = errors(signature, loopback_bot, kind=BadData, it=5, other="x", number="y")
    assert set(found) == {"it", "other", "number"}


async def test_the_own_id_of_the_bot_is_a_user(loopback_bot: commands.Bot) -> None:
    assert loopback_bot.user is not None
    assert bind(takes_user, loopback_bot, user=loopback_bot.user.id) == {"user": loopback_bot.user}


async def test_before_the_bot_is_ready_an_unknown_id_means_that_it_is_not_ready(bot: commands.Bot) -> None:
    with pytest.raises(NotReady, match="not received all of its guilds"):
        bind(takes_guild, bot, guild=5)


async def test_before_the_bot_is_ready_nothing_is_fetched(bot: commands.Bot) -> None:
    with pytest.raises(NotReady, match="not received all of its guilds"):
        bind(signature_for(discord.User), bot, it=5)


async def test_before_the_bot_is_ready_a_malformed_id_is_bad_data(bot: commands.Bot) -> None:
    assert errors(takes_guild, bot, kind=BadData, guild="x")


def test_plain_data_is_not_counted() -> None:
    assert len(bind(signature_for(list[int], other=discord.Object), it=[1] * 10_000, other=5)["it"]) == 10_000


def test_a_call_has_a_bounded_number_of_ids() -> None:
    limit = binding.MAX_VALUES
    signature = signature_for(list[discord.Object], other=list[discord.Object])
    assert len(bind(signature, it=[1] * limit, other=[])["it"]) == limit
    message = f"a call may have {limit} ids and converted values: send less at a time"
    assert errors(signature, it=[1] * limit, other=[1]) == {"it": message}


async def test_ids_are_looked_for_in_a_bounded_number_of_guilds(
    loopback_bot: commands.Bot, monkeypatch: pytest.MonkeyPatch, loopback_discord: LoopbackDiscord
) -> None:
    monkeypatch.setattr(objects, "SCANNED", 4)
    role = loopback_discord.guilds[1].roles[1].id
    signature = signature_for(list[discord.Role])
    assert len(bind(signature, loopback_bot, it=[role, role])["it"]) == 2
    found = errors(signature, loopback_bot, it=[role, role, role])
    assert found == {"it[2]": "cannot be looked for in all guilds of the bot: send less at a time"}


async def test_any_channel_with_messages_is_found_as_messageable(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    channel = loopback_discord.guilds[0].channels[0]
    assert value(discord.abc.Messageable, channel.id, loopback_bot) is loopback_bot.get_channel(channel.id)


@pytest.mark.parametrize(
    "annotation", [discord.abc.User, discord.Member | discord.User], ids=["base", "union"]
)
async def test_a_member_or_user_is_a_member_where_a_guild_is_given_and_else_a_user(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, annotation: Any
) -> None:
    guild = loopback_discord.guilds[0]
    number = guild.members[0].id
    assert isinstance(value(annotation, number, loopback_bot), discord.User)
    found = bind(signature_for(annotation, guild=discord.Guild), loopback_bot, guild=guild.id, it=number)
    assert isinstance(found["it"], discord.Member)


@pytest.mark.parametrize(
    "cls", [discord.GuildSticker, discord.SoundboardSound, discord.ScheduledEvent, discord.StageInstance]
)
async def test_rarer_objects_are_looked_up_too(loopback_bot: commands.Bot, cls: type) -> None:
    assert fault(cls, 5, loopback_bot) == f"no {cls.__name__} with this id is known to the bot"


def test_the_summary_names_all_that_is_looked_for() -> None:
    signature = signature_for(discord.TextChannel | discord.VoiceChannel | None)
    assert signature.nodes["it"].summary == "The id of a TextChannel or VoiceChannel"
