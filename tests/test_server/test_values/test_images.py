"""What is made of discord.py's own attributes is what its public ones say."""

from __future__ import annotations

import json
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc_server.encoding import encode_answer
from test_server.test_values.test_payloads import HASH, TIME, USER

STILL = "c" * 32


def written(value: Any) -> Any:
    return json.loads(encode_answer(value))


@pytest.mark.parametrize("key", [HASH, STILL, None])
@pytest.mark.parametrize(("id_", "discriminator"), [("31", "0"), (str(5 << 22), "0"), ("31", "0007")])
async def test_addresses_of_avatars_are_those_of_discord_py(
    loopback_bot: commands.Bot, key: str | None, id_: str, discriminator: str
) -> None:
    guild, state = loopback_bot.guilds[0], loopback_bot._connection  # pyright: ignore[reportPrivateUsage]
    data: Any = {**USER, "id": id_, "discriminator": discriminator, "avatar": key}
    user = discord.User(state=state, data=data)
    assert written(user)["avatar_url"] == user.display_avatar.url
    assert written(user)["display_name"] == user.display_name
    for own in (HASH, STILL, None):
        member_data: Any = {
            "user": data,
            "roles": [],
            "joined_at": TIME,
            "flags": 0,
            "avatar": own,
            "nick": "N",
        }
        member = discord.Member(guild=guild, state=state, data=member_data)
        assert written(member)["avatar_url"] == member.display_avatar.url
        assert written(member)["display_name"] == "N"
        assert written(member)["status"] == str(member.status)


@pytest.mark.parametrize("key", [HASH, STILL, None])
async def test_addresses_of_icons_are_those_of_discord_py(
    loopback_bot: commands.Bot, key: str | None
) -> None:
    guild = loopback_bot.guilds[0]
    role = guild.roles[0]
    guild._icon = role._icon = key  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    assert written(guild)["icon_url"] == (guild.icon.url if guild.icon else None)
    assert written(role)["icon_url"] == (role.icon.url if isinstance(role.icon, discord.Asset) else None)


async def test_roles_of_a_member_are_those_of_discord_py_also_after_one_was_deleted(
    loopback_bot: commands.Bot,
) -> None:
    guild = loopback_bot.guilds[0]
    state = loopback_bot._connection  # pyright: ignore[reportPrivateUsage]
    for id_ in ("8", "9"):
        data: Any = {
            "guild_id": str(guild.id),
            "role": {"id": id_, "name": id_, "permissions": "0", "colors": {}},
        }
        state.parse_guild_role_create(data)
    member_data: Any = {"user": USER, "roles": ["8", "9", "10"], "joined_at": TIME, "flags": 0}
    member = discord.Member(guild=guild, state=state, data=member_data)
    assert written(member)["roles"] == ["8", "9"]
    gone: Any = {"guild_id": str(guild.id), "role_id": "8"}
    state.parse_guild_role_delete(gone)
    public = [str(role.id) for role in member.roles if not role.is_default()]
    assert written(member)["roles"] == public == ["9"]
