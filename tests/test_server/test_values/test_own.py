"""Encoders of users, where objects of Discord and scalars are in other values."""

from __future__ import annotations

import datetime
import json
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import Server, full, only
from discord_tools.ipc_server.encoding import LARGE, encode_answer, encode_large, encode_reply, encode_small
from discord_tools.ipc_server.values.encoder import Encoder
from test_server.test_values.test_encoder import unlimited, written
from test_server.test_values.test_payloads import MESSAGE


class Admin(discord.Member):
    """A member of a class of the bot's own."""


def message_of(bot: commands.Bot, author: Any) -> discord.Message:
    made = discord.Message(
        state=bot._connection,  # pyright: ignore[reportPrivateUsage] (only it makes messages)
        channel=bot.guilds[0].text_channels[0],
        data=MESSAGE,
    )
    made.author = author
    made.mentions = [author]
    return made


def an_admin(member: discord.Member) -> Admin:
    return Admin._copy(member)  # pyright: ignore[reportPrivateUsage] (members have no other copy)


def encoder_of(*classes: type[Any]) -> Encoder:
    encoder = Encoder()
    for cls in classes:
        encoder.add(cls, lambda value, name=cls.__name__: f"{name} {value.id}")
    return encoder


async def test_an_encoder_of_members_is_used_where_a_person_is_written(loopback_bot: commands.Bot) -> None:
    member = loopback_bot.guilds[0].members[0]
    own = f"Member {member.id}"
    found = written(message_of(loopback_bot, member), encoder_of(discord.Member, discord.User))
    assert (found["author"], found["member"], found["mentions"]) == (own, own, [own])
    found = written(full(loopback_bot.guilds[0], "members"), encoder_of(discord.Member))
    assert own in found["members"]
    found = written(message_of(loopback_bot, member))
    assert found["author"]["id"] == str(member.id)


async def test_an_encoder_of_users_is_used_for_the_user_of_a_member(loopback_bot: commands.Bot) -> None:
    member = next(one for one in loopback_bot.guilds[0].members if one != loopback_bot.guilds[0].me)
    user = loopback_bot.get_user(member.id)
    own = f"User {member.id}"
    encoder = encoder_of(discord.User)
    for author in (member, user):
        found = written(message_of(loopback_bot, author), encoder)
        assert (found["author"], found["mentions"]) == (own, [own])
    # The part that Discord has beside the user is that of a member.
    assert "nick" in written(message_of(loopback_bot, member), encoder)["member"]


async def test_an_encoder_of_a_subclass_is_used_in_fields_of_its_base(loopback_bot: commands.Bot) -> None:
    plain = loopback_bot.guilds[0].members[0]
    member = an_admin(plain)
    for encoder in (encoder_of(Admin), encoder_of(Admin, discord.Member)):
        assert written(message_of(loopback_bot, member), encoder)["author"] == f"Admin {member.id}"
    found = written(message_of(loopback_bot, member), encoder_of(discord.Member))
    assert found["author"] == f"Member {member.id}"
    found = written(message_of(loopback_bot, plain), encoder_of(Admin))
    assert found["author"]["id"] == str(plain.id)


async def test_an_encoder_of_a_base_class_is_used_for_classes_with_a_form(loopback_bot: commands.Bot) -> None:
    guild = loopback_bot.guilds[0]
    channel = guild.text_channels[0]
    encoder = encoder_of(discord.abc.GuildChannel)
    assert written([channel], encoder) == [f"GuildChannel {channel.id}"]
    assert f"GuildChannel {channel.id}" in written(full(guild, "channels"), encoder)["channels"]


async def test_an_encoder_of_roles_is_used_in_a_guild_of_any_size(loopback_bot: commands.Bot) -> None:
    guild = loopback_bot.guilds[0]
    encoder = encoder_of(discord.Role)
    names = [f"Role {role.id}" for role in guild.roles]
    assert sorted(written(full(guild, "roles"), encoder)["roles"]) == sorted(names)
    large = await encode_large([full(guild, "roles")] * LARGE, 2**30, unlimited, encoder)
    assert sorted(json.loads(large)[-1]["roles"]) == sorted(names)


async def test_fields_that_are_named_are_those_of_the_usual_form(loopback_bot: commands.Bot) -> None:
    guild = loopback_bot.guilds[0]
    member = guild.members[0]
    encoder = encoder_of(discord.Member, discord.User, discord.Guild)
    author = {"id": str(member.id)}
    assert written(only(member, "user.id"), encoder) == {"user": author}
    assert written(only(message_of(loopback_bot, member), "author.id"), encoder) == {"author": author}
    assert written(only(member, "user"), encoder) == {"user": f"User {member.id}"}
    in_one = written(only(guild, "members.user.id"), encoder)
    in_pieces = await encode_large([only(guild, "members.user.id")] * LARGE, 2**30, unlimited, encoder)
    assert {"user": author} in in_one["members"]
    assert json.loads(in_pieces)[0] == in_one


NOW = datetime.datetime(2024, 5, 17, tzinfo=datetime.UTC)


@pytest.mark.parametrize("cls", [datetime.datetime, datetime.date])
@pytest.mark.parametrize(
    "value", [NOW, [NOW], {"at": NOW}, [{"at": NOW}], {"a": {"at": NOW}, "b": []}], ids=repr
)
def test_an_encoder_of_a_scalar_is_used_in_dicts_that_are_not_tracked(cls: type[Any], value: Any) -> None:
    encoder = Encoder()
    encoder.add(cls, lambda at: "then")
    reply = encode_reply(1, value, encoder)
    assert encode_answer(value, encoder).count(b'"then"') == 1
    assert (encode_small(value, encoder) or b"").count(b'"then"') == 1
    assert (reply or b"").count(b'"then"') == 1


@pytest.mark.parametrize("cls", [discord.abc.User, discord.abc.Snowflake])
def test_a_protocol_is_refused_since_its_objects_need_not_inherit_from_it(cls: Any) -> None:
    server: Server[discord.Client] = Server(discord.Client(intents=discord.Intents.none()))
    with pytest.raises(TypeError, match=r"is a protocol.* discord\.Member"):
        server.encoder(cls)
