"""Log-in, the cache after it, and a clean end."""

from __future__ import annotations

import asyncio

import discord
import pytest
from discord.ext import commands

from loopback import TOKEN, LoopbackDiscord
from loopback.bots import make_bot, running, running_bot


@pytest.mark.parametrize(
    "cls", [discord.Client, discord.AutoShardedClient, commands.Bot, commands.AutoShardedBot]
)
async def test_every_kind_of_client_gets_ready_and_closes(
    loopback_discord: LoopbackDiscord, cls: type[discord.Client]
) -> None:
    async with running_bot(loopback_discord, cls=cls) as bot:
        assert bot.is_ready()
        assert [guild.id for guild in bot.guilds] == [guild.id for guild in loopback_discord.guilds]
    assert bot.is_closed()


async def test_the_cache_holds_what_the_model_holds(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    for model in loopback_discord.guilds:
        guild = loopback_bot.get_guild(model.id)
        assert guild is not None
        assert guild.name == model.name
        assert guild.owner is not None
        assert guild.owner.id == model.members[0].id
        assert guild.chunked
        assert guild.member_count == len(model.members) == 5
        assert {member.id: member.name for member in guild.members} == {
            each.id: each.name for each in model.members
        }
        assert guild.me.id == loopback_discord.bot_user.id
        assert [(role.id, role.name) for role in guild.roles] == [
            (role.id, role.name) for role in model.roles
        ]
        assert guild.default_role.name == "@everyone"
        assert [channel.name for channel in guild.text_channels] == ["general", "random"]


async def test_start_and_close_work_by_hand() -> None:
    discord_ = LoopbackDiscord()
    guild = discord_.add_guild(name="By Hand", members=1, text_channels=0, voice_channels=2)
    await discord_.start()
    async with running_bot(discord_) as bot:
        assert [(found.id, found.name) for found in bot.guilds] == [(guild.id, "By Hand")]
        assert [channel.name for channel in bot.guilds[0].voice_channels] == ["Lounge", "Gaming"]
    await discord_.close()
    await discord_.close()


async def test_start_on_the_class_makes_a_context_manager() -> None:
    async with LoopbackDiscord.start(guilds=1, members=3) as discord_:
        assert discord_.port > 0
        assert len(discord_.guilds[0].members) == 3


async def test_a_closed_loopback_refuses_connections() -> None:
    async with LoopbackDiscord() as discord_:
        pass
    bot = make_bot(discord_)
    async with bot:
        with pytest.raises(OSError, match="Cannot connect"):
            await bot.login(TOKEN)


async def test_a_wrong_token_is_a_login_failure(loopback_discord: LoopbackDiscord) -> None:
    bot = make_bot(loopback_discord)
    async with bot:
        with pytest.raises(discord.LoginFailure):
            await bot.login("not the token")


async def test_a_wrong_token_is_refused_by_the_gateway(loopback_discord: LoopbackDiscord) -> None:
    bot = make_bot(loopback_discord)
    async with bot:
        await bot.login(TOKEN)
        bot.http.token = "not the token"
        with pytest.raises(discord.ConnectionClosed) as caught:
            await bot.connect()
    assert caught.value.code == 4004


async def test_setup_runs_between_log_in_and_connecting(loopback_discord: LoopbackDiscord) -> None:
    seen: list[tuple[bool, int]] = []

    async def setup(bot: commands.Bot) -> None:
        seen.append((bot.user is not None, loopback_discord.identifies))

    async with running_bot(loopback_discord, setup=setup):
        assert seen == [(True, 0)]


async def test_an_error_in_setup_closes_the_bot(loopback_discord: LoopbackDiscord) -> None:
    async def setup(bot: commands.Bot) -> None:
        raise ZeroDivisionError

    bot = make_bot(loopback_discord)
    with pytest.raises(ZeroDivisionError):
        async with running(bot, setup=setup):
            pytest.fail("it must not get here")
    assert bot.is_closed()


async def test_a_task_that_outlives_its_bot_is_reported(loopback_discord: LoopbackDiscord) -> None:
    stragglers: list[asyncio.Task[bool]] = []
    with pytest.raises(AssertionError, match="straggler"):
        async with running_bot(loopback_discord):
            stragglers.append(asyncio.create_task(asyncio.Event().wait(), name="straggler"))
    with pytest.raises(asyncio.CancelledError):
        await stragglers[0]


async def test_a_running_bot_has_all_guilds_even_if_discord_py_did_not_wait_for_them() -> None:
    async with (
        LoopbackDiscord(guilds=100, members=60) as discord_,
        running_bot(discord_, guild_ready_timeout=0.0) as bot,
    ):
        assert [guild.member_count for guild in bot.guilds] == [60] * 100
        assert not any(guild.unavailable for guild in bot.guilds)


async def test_another_bot_that_reconnects_meanwhile_is_no_leak(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    async with running_bot(loopback_discord):
        await loopback_discord.drop_gateways()
        await loopback_discord.wait_until(lambda: loopback_discord.resumes == 2)
    assert not loopback_bot.is_closed()


async def test_two_bots_run_side_by_side(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    async with running_bot(loopback_discord) as other:
        assert len(other.guilds) == len(loopback_bot.guilds) == 2
    assert loopback_discord.identifies == 2
