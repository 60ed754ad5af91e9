"""What happens on Discord reaches the bot, and what the bot does reaches Discord."""

from __future__ import annotations

import asyncio

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from loopback import LoopbackDiscord
from loopback.bots import running_bot


async def test_a_member_who_joins_and_leaves_is_seen(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    member = await loopback_discord.join(model, name="joan")
    joined: discord.Member = await loopback_bot.wait_for("member_join", timeout=5)
    assert (joined.id, joined.name, joined.guild.id) == (member.id, "joan", model.id)
    assert joined.guild.member_count == len(model.members) == 6

    await loopback_discord.leave(model, member)
    left: discord.Member = await loopback_bot.wait_for("member_remove", timeout=5)
    assert left.id == member.id
    assert left.guild.member_count == len(model.members) == 5
    assert left.guild.get_member(member.id) is None


async def test_one_user_can_be_in_two_guilds(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    first, second = loopback_discord.guilds
    await loopback_discord.join(second, user=first.members[0].user)
    joined: discord.Member = await loopback_bot.wait_for("member_join", timeout=5)
    assert {guild.id for guild in joined.mutual_guilds} == {first.id, second.id}


async def test_nobody_joins_a_guild_twice(loopback_discord: LoopbackDiscord) -> None:
    guild = loopback_discord.guilds[0]
    with pytest.raises(ValueError, match="ada is a member"):
        await loopback_discord.join(guild, user=guild.members[0].user)


async def test_a_bot_answers_a_command(loopback_discord: LoopbackDiscord) -> None:
    async def setup(bot: commands.Bot) -> None:
        @bot.command()
        async def greet(context: commands.Context[commands.Bot], *, who: discord.Member) -> None:  # pyright: ignore[reportUnusedFunction]
            await context.reply(f"hello {who.mention}", embed=discord.Embed(title="Greetings"))

    guild = loopback_discord.guilds[1]
    ada, grace = guild.members[:2]
    async with running_bot(loopback_discord, setup=setup):
        await loopback_discord.say(guild.text_channels[1], ada, f"!greet {grace.name}")
        answer = await loopback_discord.wait_sent()
    assert loopback_discord.sent == [answer]
    assert answer.content == f"hello <@{grace.id}>"
    assert answer.channel is guild.text_channels[1]
    assert answer.author is loopback_discord.bot_user
    assert [embed["title"] for embed in answer.embeds] == ["Greetings"]
    assert answer.reference is not None


async def test_a_bot_hears_itself_as_on_discord(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.guilds[0]
    channel = loopback_bot.get_channel(model.text_channels[0].id)
    assert isinstance(channel, discord.TextChannel)
    sent = await channel.send(f"hi <@{model.members[0].id}>")
    heard: discord.Message = await loopback_bot.wait_for("message", timeout=5)
    assert heard == sent
    assert heard.author == loopback_bot.user
    assert [user.name for user in heard.mentions] == ["ada"]
    assert heard.created_at == sent.created_at == discord.utils.snowflake_time(sent.id)


async def test_wait_sent_returns_each_message_once_and_past_ones_too(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    channel = loopback_bot.get_channel(loopback_discord.guilds[0].text_channels[0].id)
    assert isinstance(channel, discord.TextChannel)
    for content in ("one", "two", "three"):
        await channel.send(content)
    assert (await loopback_discord.wait_sent(lambda message: message.content == "two")).content == "two"
    assert (await loopback_discord.wait_sent()).content == "one"
    assert (await loopback_discord.wait_sent()).content == "three"
    with pytest.raises(TimeoutError, match="no such message"):
        await loopback_discord.wait_sent(timeout=0)


async def test_a_message_without_content_is_refused(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    channel = loopback_bot.get_channel(loopback_discord.guilds[0].text_channels[0].id)
    assert isinstance(channel, discord.TextChannel)
    with pytest.raises(discord.HTTPException) as caught:
        await channel.send("")
    assert (caught.value.status, caught.value.code) == (400, 50006)
    assert loopback_discord.sent == []


async def test_an_unknown_channel_is_not_found(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    with pytest.raises(discord.NotFound) as caught:
        await loopback_bot.get_partial_messageable(1).send("anybody here?")
    assert caught.value.code == 10003


async def test_a_member_can_be_fetched(loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot) -> None:
    model = loopback_discord.guilds[0].members[1]
    fetched = await loopback_bot.guilds[0].fetch_member(model.id)
    assert fetched == loopback_bot.guilds[0].get_member(model.id)
    with pytest.raises(discord.NotFound) as caught:
        await loopback_bot.guilds[0].fetch_member(1)
    assert caught.value.code == 10007


async def test_roles_are_given_and_taken(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    guild = loopback_bot.guilds[0]
    model = loopback_discord.guilds[0].members[0]
    member = guild.get_member(model.id)
    assert member is not None
    await member.add_roles(guild.roles[1], guild.roles[2])
    await loopback_bot.wait_for("member_update", check=lambda _, after: len(after.roles) == 3, timeout=5)
    assert [role.name for role in model.roles] == ["Moderator", "Helper"]
    await member.remove_roles(guild.roles[1])
    await loopback_bot.wait_for("member_update", timeout=5)
    assert [role.name for role in member.roles] == ["@everyone", "Helper"]
    assert [role.name for role in model.roles] == ["Helper"]
    with pytest.raises(discord.NotFound) as caught:
        await member.add_roles(discord.Object(1))
    assert caught.value.code == 10011


async def test_a_new_role_is_seen(loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot) -> None:
    permissions = discord.Permissions(kick_members=True)
    loopback_discord.add_role(
        loopback_discord.guilds[0], "Bouncer", permissions=permissions.value, colour=0xABCDEF
    )
    role: discord.Role = await loopback_bot.wait_for("guild_role_create", timeout=5)
    assert (role.name, role.permissions, role.colour.value) == ("Bouncer", permissions, 0xABCDEF)


async def test_a_bot_sees_that_it_joined_and_left_a_guild(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    model = loopback_discord.add_guild(name="Brand New", members=3)
    joined: discord.Guild = await loopback_bot.wait_for("guild_join", timeout=5)
    assert (joined.id, joined.name, joined.member_count) == (model.id, "Brand New", 3)
    loopback_discord.remove_guild(model)
    left: discord.Guild = await loopback_bot.wait_for("guild_remove", timeout=5)
    assert left.id == model.id


async def test_commands_are_synced(loopback_discord: LoopbackDiscord) -> None:
    async def ping(interaction: discord.Interaction) -> None: ...

    async with running_bot(loopback_discord) as bot:
        bot.tree.add_command(app_commands.Command(name="ping", description="Pong.", callback=ping))
        everywhere = await bot.tree.sync()
        bot.tree.copy_global_to(guild=bot.guilds[0])
        here = await bot.tree.sync(guild=bot.guilds[0])
    assert [command.name for command in everywhere] == [command.name for command in here] == ["ping"]
    assert everywhere[0].id != here[0].id
    assert here[0].guild_id == loopback_discord.guilds[0].id


async def test_members_are_asked_for_over_the_gateway() -> None:
    async with (
        LoopbackDiscord(guilds=1, members=1201) as discord_,
        running_bot(discord_, chunk_guilds_at_startup=False) as bot,
    ):
        model = discord_.guilds[0]
        everybody = await bot.guilds[0].chunk()
        assert [member.id for member in everybody] == [member.id for member in model.members]
        some = await bot.guilds[0].query_members("ada", limit=3)
        assert [member.name for member in some] == ["ada", "ada2", "ada3"]
        wanted = [model.members[5].id, 1, model.members[3].id]
        by_id = await bot.guilds[0].query_members(user_ids=wanted)
        assert {member.id for member in by_id} == {wanted[0], wanted[2]}


async def test_what_is_not_spoken_is_answered_404_and_recorded() -> None:
    async with LoopbackDiscord(guilds=1) as discord_, running_bot(discord_) as bot:
        assert discord_.unhandled == []
        with pytest.raises(discord.NotFound):
            await bot.fetch_sticker(1)
        assert discord_.unhandled == ["GET /api/v10/stickers/1"]


async def test_users_messages_and_invites_are_fetched_and_counted() -> None:
    async with LoopbackDiscord(guilds=1) as discord_, running_bot(discord_) as bot:
        channel, user = discord_.guilds[0].channels[0], discord_.add_user("hedy")
        said = await discord_.say(channel, discord_.guilds[0].members[0], "hello")
        discord_.add_invite(channel, "tea")
        assert (await bot.fetch_user(user.id)).name == "hedy"
        found = bot.get_channel(channel.id)
        assert isinstance(found, discord.TextChannel)
        assert (await found.fetch_message(said.id)).content == "hello"
        assert (await bot.fetch_invite("tea")).code == "tea"
        for request in (bot.fetch_user(1), found.fetch_message(1), bot.fetch_invite("coffee")):
            with pytest.raises(discord.NotFound):
                await request
        assert discord_.rest.requests[f"GET /users/{user.id}"] == 1
        assert not discord_.unhandled


async def test_requests_are_held_and_made_to_fail() -> None:
    async with LoopbackDiscord(guilds=1) as discord_, running_bot(discord_) as bot:
        with discord_.rest.held("GET /users/"):
            fetching = asyncio.create_task(bot.fetch_user(discord_.add_user().id))
            await discord_.wait_until(lambda: discord_.rest.in_progress == 1)
            assert not fetching.done()
        await fetching
        discord_.rest.failures["GET /users/"] = 403
        with pytest.raises(discord.Forbidden):
            await bot.fetch_user(1)


async def test_a_bot_without_the_members_intent_hears_of_no_joins(loopback_discord: LoopbackDiscord) -> None:
    intents = discord.Intents.all()
    intents.members = False
    guild = loopback_discord.guilds[0]
    async with running_bot(loopback_discord, intents=intents, enable_debug_events=True) as bot:
        events: list[str] = []

        async def on_socket_event_type(event: str) -> None:
            events.append(event)

        bot.add_listener(on_socket_event_type)
        await loopback_discord.join(guild)
        await loopback_discord.say(
            guild.text_channels[0], guild.members[0], "a message, to have something last"
        )
        await bot.wait_for("message", timeout=5)
    assert events == ["MESSAGE_CREATE"]
