"""Messages by link, by ids and beside a channel, and invites."""

from __future__ import annotations

from typing import Annotated, Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, Cached, UnknownObject
from loopback import LoopbackDiscord
from loopback.bots import running_bot
from test_server.test_parameters.calls import bind, bind_later, errors, signature_for, value

MESSAGE = signature_for(discord.Message)
PARTIAL = signature_for(discord.PartialMessage)
BESIDE = signature_for(discord.Message, channel=discord.TextChannel)


@pytest.fixture
async def said(loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot) -> Any:
    """A message that the bot has cached."""
    guild = loopback_discord.guilds[0]
    heard = loopback_bot.wait_for("message")
    message = await loopback_discord.say(guild.channels[0], guild.members[0], "hello")
    await heard
    return message


def link(message: Any, host: str = "discord.com", guild: Any = None) -> str:
    where = message.channel.guild.id if guild is None else guild
    return f"https://{host}/channels/{where}/{message.channel.id}/{message.id}"


async def test_a_cached_message_is_found_by_its_link_and_its_ids(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, said: Any
) -> None:
    ids = {"channel_id": str(said.channel.id), "id": said.id}
    forms = [link(said), link(said, "ptb.discord.com"), link(said, "discordapp.com") + "/"]
    for given in (*forms, f"{said.channel.id}-{said.id}", ids, {**ids, "content": "hello"}):
        found = bind(MESSAGE, loopback_bot, it=given)["it"]
        assert isinstance(found, discord.Message)
        assert found.content == "hello"
    found = bind(BESIDE, loopback_bot, channel=said.channel.id, it=str(said.id))["it"]
    assert found.content == "hello"


async def test_a_message_that_is_not_cached_is_fetched(
    loopback_discord: LoopbackDiscord,
) -> None:
    guild = loopback_discord.guilds[0]
    old = await loopback_discord.say(guild.channels[0], guild.members[0], "before the bot came")
    async with running_bot(loopback_discord) as bot:
        found = (await bind_later(MESSAGE, bot, it=link(old)))["it"]
        assert found.content == "before the bot came"
        assert errors(
            signature_for(Annotated[discord.Message, Cached]), bot, it=link(old), kind=UnknownObject
        )


async def test_a_message_that_does_not_exist_is_an_error_of_its_own(
    loopback_bot: commands.Bot, said: Any
) -> None:
    with pytest.raises(UnknownObject) as caught:
        await bind_later(BESIDE, loopback_bot, channel=said.channel.id, it=5)
    assert (caught.value.parameter, caught.value.kind, caught.value.id) == ("it", "Message", 5)


async def test_a_partial_message_is_neither_looked_up_nor_fetched(
    loopback_bot: commands.Bot, said: Any
) -> None:
    found = bind(PARTIAL, loopback_bot, it={"channel_id": said.channel.id, "id": 5})["it"]
    assert isinstance(found, discord.PartialMessage)
    assert (found.id, found.channel.id) == (5, said.channel.id)


async def test_a_message_of_another_channel_or_guild_is_not_found(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, said: Any
) -> None:
    other = loopback_discord.guilds[1]
    with pytest.raises(UnknownObject):
        await bind_later(BESIDE, loopback_bot, channel=said.channel.guild.channels[1].id, it=said.id)
    in_guild = signature_for(discord.Message, guild=discord.Guild)
    assert errors(in_guild, loopback_bot, guild=other.id, it=link(said), kind=UnknownObject)
    # A URL that names one guild and a channel of another one.
    for wrong in (other.id, "@me"):
        forged = link(said, guild=wrong)
        assert errors(MESSAGE, loopback_bot, it=forged, kind=UnknownObject)
        assert errors(in_guild, loopback_bot, guild=said.channel.guild.id, it=forged, kind=UnknownObject)
    found = errors(MESSAGE, loopback_bot, it={"channel_id": 5, "id": said.id}, kind=UnknownObject)
    assert found == {"it": "no channel with messages with this id is known to the bot"}


async def test_an_id_alone_needs_a_channel(loopback_bot: commands.Bot) -> None:
    found = errors(MESSAGE, loopback_bot, it=5, kind=BadData)
    assert found == {"it": "is an id alone: send the message's URL, or an object with channel_id and id"}


async def test_a_channel_without_messages_says_nothing_about_a_message(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    guild = loopback_discord.guilds[0]
    category = {"id": "5", "guild_id": str(guild.id), "type": 4, "name": "c", "position": 9}
    created = loopback_bot.wait_for("guild_channel_create")
    loopback_discord.gateway.dispatch("CHANNEL_CREATE", guild, {**category, "permission_overwrites": []})
    await created
    signature = signature_for(discord.Message, channel=discord.abc.GuildChannel)
    (message,) = errors(signature, loopback_bot, channel=5, it=6).values()
    assert message.startswith("is an id alone")
    found = errors(MESSAGE, loopback_bot, it="5-6", kind=UnknownObject)
    assert found == {"it": "no channel with messages with this id is known to the bot"}


@pytest.mark.parametrize(
    "given",
    [
        "", "x", "5-", "-5", "https://example.org/channels/1/2/3", "https://discord.com/channels/1/2", None, True,
        {}, {"channel_id": 1}, {"id": 1}, {"channel_id": "x", "id": 1}, 1.5, "1-2-3", f"1-{2**64}", "5" * 10_000,
    ],
)  # fmt: skip
async def test_what_is_no_message_is_bad_data(loopback_bot: commands.Bot, given: Any) -> None:
    (message,) = errors(MESSAGE, loopback_bot, it=given, kind=BadData).values()
    assert message.startswith("expected a message's URL, or an object with channel_id and id, got ")
    assert len(message) < 300


async def test_an_invite_is_fetched_by_its_code_or_link(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    channel = loopback_discord.guilds[0].channels[0]
    loopback_discord.add_invite(channel, "tea-time")
    signature = signature_for(discord.Invite)
    for given in ("tea-time", "https://discord.gg/tea-time", "discord.com/invite/tea-time"):
        found = (await bind_later(signature, loopback_bot, it=given))["it"]
        assert isinstance(found, discord.Invite)
        assert found.code == "tea-time"


async def test_an_invite_that_does_not_exist_is_an_error_with_its_code(loopback_bot: commands.Bot) -> None:
    with pytest.raises(UnknownObject) as caught:
        await bind_later(signature_for(discord.Invite), loopback_bot, it="123")
    assert (caught.value.kind, caught.value.id) == ("Invite", "123")


@pytest.mark.parametrize("given", ["", "a b", "../users/@me", 5, None, "x" * 101, "https://example.org/x"])
async def test_what_is_no_invite_is_bad_data(loopback_bot: commands.Bot, given: Any) -> None:
    (message,) = errors(signature_for(discord.Invite), loopback_bot, it=given, kind=BadData).values()
    assert message.startswith("expected the code or the URL of an invite, got ")


def test_invites_cannot_be_taken_from_the_cache() -> None:
    with pytest.raises(TypeError, match="invites are not cached"):
        signature_for(Annotated[discord.Invite, Cached])


def test_the_value_of_nothing_is_none() -> None:
    assert value(discord.Message | None, None) is None
