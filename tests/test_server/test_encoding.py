"""Answers as JSON. The loopback's own payloads, which are Discord's, tell how each field has to look."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import gc
import json
import math
import weakref
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import discord
import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc_server.encoding import encode_answer
from loopback import LoopbackDiscord, Message, payloads
from loopback.bots import running_bot


def written(value: Any) -> Any:
    return json.loads(encode_answer(value))


def assert_agrees(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], *, missing: Collection[str] = ()
) -> None:
    """What Discord has under a name, we have under it, too. What we have beside is compared in test_tables."""
    assert set(theirs) - set(ours) == set(missing)
    for name in set(ours) & set(theirs):
        mine, their = ours[name], theirs[name]
        if name in ("timestamp", "edited_timestamp", "joined_at") and their is not None:
            mine, their = datetime.datetime.fromisoformat(mine), datetime.datetime.fromisoformat(their)
        assert mine == their, name


# -- Discord's objects


async def test_a_guild_is_written_as_discord_does(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    ours = written(loopback_bot.get_guild(model.id))
    kept = {name: value for name, value in payloads.guild(model).items() if not isinstance(value, list)}
    assert_agrees(ours, kept, missing=("region", "application_id", "joined_at"))
    assert ours["icon_url"] is None
    assert ours["features"] == []


async def test_the_icon_of_a_guild_is_written_as_its_hash_and_its_url(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    changed = loopback_bot.loop.create_future()
    loopback_bot.event(_setting(changed, "on_guild_update"))
    loopback_discord.gateway.dispatch("GUILD_UPDATE", model, {**payloads.guild(model), "icon": "a" * 32})
    await asyncio.wait_for(changed, 5)
    ours = written(loopback_bot.get_guild(model.id))
    assert ours["icon"] == "a" * 32
    assert ours["icon_url"].startswith(f"https://cdn.discordapp.com/icons/{model.id}/{'a' * 32}")


def _setting(future: asyncio.Future[Any], name: str) -> Any:
    async def listener(*args: Any) -> None:
        future.set_result(args)

    listener.__name__ = name
    return listener


async def test_a_member_is_written_as_discord_does(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    guild = loopback_bot.get_guild(model.id)
    assert guild is not None
    role = loopback_discord.add_role(model, "Guest")
    model.members[0].roles.append(role)
    model.members[0].nick = "Countess"
    changed = loopback_bot.loop.create_future()
    loopback_bot.event(_setting(changed, "on_member_update"))
    data = {**payloads.member(model.members[0]), "guild_id": str(model.id)}
    loopback_discord.gateway.dispatch("GUILD_MEMBER_UPDATE", model, data)
    await asyncio.wait_for(changed, 5)
    ours = written(guild.get_member(model.members[0].id))
    user = ours.pop("user")
    theirs: dict[str, Any] = {**payloads.member(model.members[0])}
    assert_agrees(user, theirs.pop("user"))
    # Discord has them beside the member, too. discord.py only keeps those of voice states.
    assert (theirs.pop("deaf"), theirs.pop("mute")) == (False, False)
    assert (ours.pop("deaf"), ours.pop("mute")) == (None, None)
    assert_agrees(
        ours,
        theirs)  # fmt: skip
    assert ours["roles"] == [str(role.id)]
    assert ours["display_name"] == "Countess"
    assert ours["guild_id"] == str(model.id)


async def test_users_are_written_as_discord_does(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0].members[0].user
    for user, theirs in (
        (loopback_bot.get_user(model.id), model),
        (loopback_bot.user, loopback_discord.bot_user),
    ):
        assert_agrees(written(user), payloads.user(theirs))


async def test_a_role_is_written_as_discord_does(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    guild = loopback_bot.get_guild(model.id)
    assert guild is not None
    for role in model.roles:
        ours = written(guild.get_role(role.id))
        assert_agrees(ours, payloads.role(role))
        assert ours["guild_id"] == str(model.id)


async def test_channels_are_written_as_discord_does() -> None:
    async with (
        LoopbackDiscord(guilds=1, text_channels=1, voice_channels=1) as discord_,
        running_bot(discord_) as bot,
    ):
        model = discord_.guilds[0]
        text, voice = (written(bot.get_channel(channel.id)) for channel in model.channels)
        assert_agrees(text, payloads.channel(model.channels[0]))
        assert_agrees(voice, payloads.channel(model.channels[1]))
        assert text["topic"] is None


async def test_a_private_channel_is_written_without_a_guild(loopback_bot: commands.Bot) -> None:
    ours = written(loopback_bot.get_partial_messageable(5))
    assert ours == {"id": "5"}
    private = discord.DMChannel(
        me=loopback_bot.user,  # pyright: ignore[reportArgumentType]
        state=loopback_bot._connection,  # pyright: ignore[reportPrivateUsage] (Discord alone makes them)
        data={"id": "6", "type": 1, "recipients": [], "last_message_id": None},
    )
    assert written(private) == {"id": "6", "type": 1, "recipients": []}


async def test_a_message_is_written_as_discord_does(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    said = loopback_bot.loop.create_future()
    loopback_bot.event(_setting(said, "on_message"))
    message = await loopback_discord.say(model.text_channels[0], model.members[0], "hello")
    (received,) = await asyncio.wait_for(said, 5)
    ours, theirs = written(received), dict(payloads.message(message))
    assert_agrees(ours.pop("author"), theirs.pop("author"))
    member, their_member = ours.pop("member"), theirs.pop("member")
    assert_agrees(member, their_member, missing=("deaf", "mute"))
    assert_agrees(ours, theirs)
    assert ours["jump_url"].endswith(f"/{model.id}/{message.channel.id}/{message.id}")


async def test_a_message_with_everything_has_strings_for_ids(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    message = Message(4711, model.text_channels[0], model.members[0].user, "x")
    data = {
        **payloads.message(message),
        "attachments": [
            {
                "id": "99",
                "filename": "a.png",
                "size": 1,
                "url": "https://a/a.png",
                "proxy_url": "https://b/a.png",
            }
        ],
        "embeds": [{"type": "rich", "title": "T", "color": 255}],
    }
    said = loopback_bot.loop.create_future()
    loopback_bot.event(_setting(said, "on_message"))
    loopback_discord.gateway.dispatch("MESSAGE_CREATE", model, data)
    (received,) = await asyncio.wait_for(said, 5)
    ours = written(received)
    assert ours["attachments"][0]["id"] == "99"
    assert ours["attachments"][0]["filename"] == "a.png"
    assert ours["embeds"][0]["title"] == "T"


async def test_a_thread_is_written_with_discords_names(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    created = loopback_bot.loop.create_future()
    loopback_bot.event(_setting(created, "on_thread_create"))
    theirs = {
        "id": "4711",
        "guild_id": str(model.id),
        "parent_id": str(model.text_channels[0].id),
        "owner_id": str(model.members[0].id),
        "name": "a thread",
        "type": 11,
        "message_count": 3,
        "member_count": 2,
        "rate_limit_per_user": 0,
        "newly_created": True,
        "thread_metadata": {
            "archived": False,
            "auto_archive_duration": 60,
            "archive_timestamp": "2024-01-01T00:00:00+00:00",
            "locked": False,
        },
    }
    loopback_discord.gateway.dispatch("THREAD_CREATE", model, theirs)
    (thread,) = await asyncio.wait_for(created, 5)
    ours = written(thread)
    metadata = ours.pop("thread_metadata")
    assert metadata == {
        **theirs.pop("thread_metadata"),
        "archive_timestamp": "2024-01-01T00:00:00Z",
        "create_timestamp": None,
        "invitable": True,
    }
    assert_agrees(ours, theirs, missing=("newly_created",))


async def test_an_emoji_is_written_with_discords_names(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    updated = loopback_bot.loop.create_future()
    loopback_bot.event(_setting(updated, "on_guild_emojis_update"))
    theirs = {
        "id": "77",
        "name": "wave",
        "roles": [],
        "managed": False,
        "animated": True,
        "require_colons": True,
    }
    data = {"guild_id": str(model.id), "emojis": [theirs]}
    loopback_discord.gateway.dispatch("GUILD_EMOJIS_UPDATE", model, data)
    await asyncio.wait_for(updated, 5)
    ours = written(loopback_bot.get_emoji(77))
    assert_agrees(ours, theirs)
    assert ours["url"].startswith("https://cdn.discordapp.com/emojis/77.")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (discord.Colour(0x3498DB), 0x3498DB),
        (discord.Permissions(1 << 40), str(1 << 40)),
        (discord.Intents(guilds=True), 1),
        (
            discord.Embed(title="T", description="D"),
            {"type": "rich", "title": "T", "description": "D", "flags": 0},
        ),
        (discord.PartialEmoji(name="x", id=5), {"id": "5", "name": "x"}),
        (discord.PartialEmoji(name="👋"), {"id": None, "name": "👋"}),
        (discord.Object(12), {"id": "12"}),
        (discord.AllowedMentions.none(), {"parse": []}),
        (discord.ChannelType.text, 0),
        (discord.Status.online, "online"),
        (discord.Locale.german, "de"),
        (discord.utils.SequenceProxy([1, 2]), [1, 2]),
    ],
)
def test_smaller_things_of_discord_are_written_as_discord_does(value: Any, expected: Any) -> None:
    assert written(value) == expected


async def test_an_asset_is_written_as_its_url(loopback_bot: commands.Bot) -> None:
    assert loopback_bot.user is not None
    assert written(loopback_bot.user.display_avatar) == loopback_bot.user.display_avatar.url


class Status(NamedTuple):
    status: Any


@dataclasses.dataclass
class Report:
    status: Any
    more: list[Any]


@attrs.define
class Attrs:
    status: Any


class Packed(msgspec.Struct, rename="camel"):
    the_status: Any


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (lambda it: [it], ["online"]),
        (lambda it: (it, 1), ["online", 1]),
        (lambda it: {it}, ["online"]),
        (lambda it: frozenset((it,)), ["online"]),
        (lambda it: {"a": {"b": [it]}}, {"a": {"b": ["online"]}}),
        (lambda it: OrderedDict(a=it), {"a": "online"}),
        (lambda it: UserDict(a=it), {"a": "online"}),
        (lambda it: Status(it), {"status": "online"}),
        (lambda it: Report(it, [it]), {"status": "online", "more": ["online"]}),
        (lambda it: Packed(it), {"theStatus": "online"}),
        (lambda it: [Packed({"x": it})], [{"theStatus": {"x": "online"}}]),
        (lambda it: deque([it]), ["online"]),
        (lambda it: {it: 1}, {"online": 1}),
        (lambda it: Attrs(it), {"status": "online"}),
    ],
)
def test_enums_of_discord_are_written_as_their_values_wherever_they_are(wrap: Any, expected: Any) -> None:
    assert written(wrap(discord.Status.online)) == expected


# -- other values


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 1.5, "text", "", [], {}, [1, "a", None], {"a": [1, {"b": 2}]}],
)
def test_plain_values_stay_what_they_are(value: Any) -> None:
    assert written(value) == value


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_latency_before_the_first_heartbeat_is_null(value: float) -> None:
    assert written({"latency": value}) == {"latency": None}


class Fruit(enum.Enum):
    APPLE = "apple"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime.datetime(2024, 5, 17, 12, tzinfo=datetime.UTC), "2024-05-17T12:00:00Z"),
        (datetime.date(2024, 5, 17), "2024-05-17"),
        (Fruit.APPLE, "apple"),
        (b"ab", "YWI="),
        ({1: "a"}, {"1": "a"}),
        (range(3), [0, 1, 2]),
        (Packed(the_status=1), {"theStatus": 1}),
        (Report(1, []), {"status": 1, "more": []}),
        (namedtuple("Point", "x y")(1, 2), {"x": 1, "y": 2}),
        (Path("/a") / "b", "/a/b"),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_common_values_have_a_form(value: Any, expected: Any) -> None:
    assert written(value) == expected


class Row:
    id = 5
    secret = "s"


endless: list[Any] = []
endless.append(endless)


@pytest.mark.parametrize(
    "value",
    [object(), "\ud800", {"a": object()}, {(1, 2): 3}, endless, Row(), [Row()], {"f": print}],
)
def test_what_json_has_no_form_for_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        encode_answer(value)


def test_an_error_names_the_type_that_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="Row"):
        encode_answer({"row": Row()})


class Kept:
    """Something that a test sees the end of."""


class Holder(list[Any]):
    """An array with something beside its elements."""

    def __init__(self, beside: object, *items: object) -> None:
        super().__init__(items)
        self.beside = beside


@pytest.mark.parametrize("element", [object(), [object()], "\ud800"])
def test_an_answer_that_cannot_be_written_is_freed_without_the_garbage_collector(element: Any) -> None:
    ends: list[bool] = []

    def fail() -> None:
        kept = Kept()
        weakref.finalize(kept, ends.append, True)
        with pytest.raises(TypeError):
            encode_answer(Holder(kept, element))

    gc.disable()
    try:
        fail()
        assert ends == [True]
    finally:
        gc.enable()
