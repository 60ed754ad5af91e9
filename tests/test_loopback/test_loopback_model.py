"""Ids and names that the factories make."""

from __future__ import annotations

import datetime
import itertools

import pytest

from loopback import ChannelType, Guild, payloads
from loopback.model import World, created_at


def make_guild(world: World, *, name: str | None = None, members: int = 3, text_channels: int = 2) -> Guild:
    return world.make_guild(
        name=name, members=members, text_channels=text_channels, voice_channels=1, roles=1
    )


def test_ids_are_unique_and_one_millisecond_apart() -> None:
    world = World()
    guilds = [make_guild(world) for _ in range(5)]
    others = [
        each.id
        for guild in guilds
        for each in (*guild.channels, *guild.roles[1:], *(member.user for member in guild.members[:-1]))
    ]
    assert len({*others, *(guild.id for guild in guilds)}) == len(others) + 5
    ordered = sorted(others)
    steps = {(after >> 22) - (before >> 22) for before, after in itertools.pairwise(ordered)}
    assert steps == {1}
    assert [guild.id >> 22 for guild in guilds] == [(guilds[0].id >> 22) + n for n in range(5)]


@pytest.mark.parametrize("shard_count", [1, 2, 3, 5, 7, 16])
def test_guilds_are_dealt_out_to_shards_in_turn_whatever_is_in_them(shard_count: int) -> None:
    world = World()
    guilds = [make_guild(world, members=1 + n % 4) for n in range(33)]
    assert [guild.shard_id(shard_count) for guild in guilds] == [n % shard_count for n in range(33)]


def test_an_id_tells_a_plausible_time() -> None:
    made = created_at(World().next_id())
    assert (
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        < made
        < datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    )


def test_the_bot_is_the_last_member_and_the_owner_the_first() -> None:
    world = World()
    guild = make_guild(world, members=4)
    assert len(guild.members) == 4
    assert guild.members[-1].user is world.bot
    assert guild.owner_id == guild.members[0].id
    assert not any(member.user.bot for member in guild.members[:-1])


def test_a_guild_cannot_be_without_the_bot() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make_guild(World(), members=0)


def test_names_stay_distinct_when_they_run_out() -> None:
    guild = make_guild(World(), members=60, text_channels=30)
    assert len({member.name for member in guild.members}) == 60
    assert len({channel.name for channel in guild.text_channels}) == 30


def test_a_guild_finds_its_parts_and_nothing_else() -> None:
    world = World()
    guild, other = make_guild(world), make_guild(world, name="Other")
    assert world.guild(other.id) is other
    assert world.guild(1) is None
    assert world.channel(other.channels[0].id) is other.channels[0]
    assert guild.member(guild.members[0].id) is guild.members[0]
    assert guild.role(guild.id) is guild.roles[0]
    assert guild.member(other.members[0].id) is None
    assert [channel.type for channel in guild.channels] == [
        ChannelType.TEXT,
        ChannelType.TEXT,
        ChannelType.VOICE,
    ]


def test_a_role_tells_its_colour_in_the_old_way_and_the_new() -> None:
    world = World()
    role = payloads.role(world.make_role(make_guild(world), "Painter", colour=0x123456))
    assert role["color"] == role["colors"]["primary_color"] == 0x123456


def test_a_nickname_is_sent_only_if_there_is_one() -> None:
    member = make_guild(World()).members[0]
    assert "nick" not in payloads.member(member)
    member.nick = "Countess"
    assert payloads.member(member).get("nick") == "Countess"
