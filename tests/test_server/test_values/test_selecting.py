"""What `full` and `only` have written."""

from __future__ import annotations

import json
from itertools import combinations, islice
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import full, only
from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.values.encoder import CHOICES, Encoder
from discord_tools.ipc_server.values.selecting import (
    MAX_NAMES,
    _names_of,  # pyright: ignore[reportPrivateUsage]
)
from discord_tools.ipc_server.values.tables import TABLES
from loopback import LoopbackDiscord


def written(value: Any) -> Any:
    return json.loads(encode_answer(value))


@pytest.fixture
def guild(loopback_bot: commands.Bot) -> discord.Guild:
    return loopback_bot.guilds[0]


async def test_a_guild_alone_has_no_collections(guild: discord.Guild) -> None:
    assert not {"roles", "channels", "members", "emojis"} & written(guild).keys()


async def test_full_adds_the_collections_that_are_named(guild: discord.Guild) -> None:
    found = written(full(guild, "roles", "channels"))
    assert found.keys() - written(guild).keys() == {"roles", "channels"}
    assert found["roles"] == written(list(guild.roles))
    assert found["channels"] == written(list(guild.channels))


async def test_full_without_names_adds_all(guild: discord.Guild) -> None:
    assert {"roles", "channels", "members", "threads", "voice_states"} <= written(full(guild)).keys()


async def test_full_works_inside_of_other_values(guild: discord.Guild) -> None:
    assert written({"guilds": [full(guild, "roles")]}) == {"guilds": [written(full(guild, "roles"))]}


async def test_only_leaves_out_what_is_not_named(guild: discord.Guild) -> None:
    members = list(guild.members)
    expected = [{"user": {"id": str(member.id)}, "nick": member.nick} for member in members]
    assert written(only(members, "nick", "user.id")) == expected
    assert written(only(guild.members, "nick", "user.id")) == expected  # a proxy of a sequence
    assert written({"one": only(members[0], "nick", "user.id")}) == {"one": expected[0]}


async def test_only_takes_collections_and_their_fields(guild: discord.Guild) -> None:
    assert written(only(guild, "name", "roles.name")) == {
        "name": guild.name,
        "roles": [{"name": role.name} for role in guild.roles],
    }


async def test_objects_of_several_classes_are_written_with_the_fields_that_they_have(
    guild: discord.Guild,
) -> None:
    channel, role = guild.text_channels[0], guild.roles[0]
    assert written(only([channel, role], "name", "topic")) == [
        {"name": channel.name, "topic": channel.topic},
        {"name": role.name},
    ]


async def test_a_wrong_name_is_refused_at_once_with_the_nearest_one(guild: discord.Guild) -> None:
    with pytest.raises(ValueError, match="'chanels'; did you mean 'channels'"):
        full(guild, "chanels")
    with pytest.raises(ValueError, match="'nik'; did you mean 'nick'"):
        only(list(guild.members), "nik")
    with pytest.raises(ValueError, match="did you mean 'username'"):
        only(guild.members[0], "user.usernam")


async def test_what_cannot_be_chosen_of_is_refused_at_once(guild: discord.Guild) -> None:
    with pytest.raises(TypeError, match="Member have no collections"):
        full(guild.members[0], "roles")
    for value in ("text", {"a": 1}, 5, None, object()):
        with pytest.raises(TypeError, match="only\\(\\) takes"):
            only(value, "id")
    with pytest.raises(TypeError, match="needs the names"):
        only(guild)


async def test_what_is_not_of_discord_in_a_list_is_refused_with_its_place(guild: discord.Guild) -> None:
    with pytest.raises(TypeError, match=r"^a\[1\]: only\(\) takes objects of Discord, not of type str"):
        encode_answer({"a": only([guild, "text"], "id")})
    with pytest.raises(TypeError, match=r"^\[0\]: objects of type Guild have none of the fields"):
        encode_answer(only([guild], "nick"))


async def test_combinations_of_fields_that_callers_choose_take_bounded_memory(guild: discord.Guild) -> None:
    encoder = Encoder()
    names = [field.name for field in TABLES[discord.Guild].fields if not field.on_request]
    pairs = list(islice(combinations(names, 2), CHOICES + 10))
    assert len(pairs) > CHOICES
    for pair in pairs:
        assert set(json.loads(encoder.encode(only(guild, *pair)))) <= set(pair)
    assert len(encoder._choices) <= CHOICES  # pyright: ignore[reportPrivateUsage]


async def test_the_order_and_the_number_of_equal_names_make_no_other_choice(guild: discord.Guild) -> None:
    encoder = Encoder()
    for names in (("id", "name"), ("name", "id"), ("id", "name", *["id"] * 1000)):
        choice = only(guild, *names)
        assert len(choice.names) == 2
        assert json.loads(encoder.encode(choice)) == {"id": str(guild.id), "name": guild.name}
    assert len(encoder._choices) == 1  # pyright: ignore[reportPrivateUsage]


async def test_voice_states_have_their_users(
    loopback_bot: commands.Bot, loopback_discord: LoopbackDiscord, guild: discord.Guild
) -> None:
    state, channel, member = loopback_bot._connection, guild.text_channels[0], guild.members[0]  # pyright: ignore[reportPrivateUsage]
    data: Any = {
        "guild_id": str(guild.id), "channel_id": str(channel.id), "user_id": str(member.id), "session_id": "s",
        "deaf": True, "mute": False, "self_deaf": False, "self_mute": True, "self_video": False,
        "suppress": False, "self_stream": True, "request_to_speak_timestamp": "2024-05-17T12:00:00+00:00",
    }  # fmt: skip
    state.parse_voice_state_update(data)
    expected = {**data, "request_to_speak_timestamp": "2024-05-17T12:00:00Z"}
    assert written(full(guild, "voice_states"))["voice_states"] == [expected]
    assert written(member.voice) == expected
    assert (written(member)["deaf"], written(member)["mute"]) == (True, False)


async def test_the_number_of_names_is_bounded_as_callers_may_choose_them(guild: discord.Guild) -> None:
    assert written(only(guild, *["id"] * 90_000)) == {"id": str(guild.id)}
    names = [f"n{number}" for number in range(MAX_NAMES + 1)]
    for choose in (lambda: only([guild], *names), lambda: only(guild, *names), lambda: full(guild, *names)):
        with pytest.raises(ValueError, match=rf"\(\) takes at most {MAX_NAMES} names, not {MAX_NAMES + 1}$"):
            choose()


async def test_checking_many_names_collects_the_names_of_all_fields_once(guild: discord.Guild) -> None:
    _names_of.cache_clear()
    only([guild], *(name for name in ("id", "name", "nick", "topic", "position", "permissions")))
    assert _names_of.cache_info().misses == 1
