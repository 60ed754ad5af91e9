"""An acting user hears of a guild only what the events demand, and as long as it holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ClientSession,
    Event,
    FellBehind,
    FetchFailed,
    Gap,
    InvalidToken,
    Key,
    MissingPermissions,
    NotAMember,
    NotOwner,
    RouteFailed,
    Server,
    Subscription,
    requires,
    requires_owner,
    requires_role,
)
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc_server.failure_log import MAX_FAILURES
from equipment.key import KEY
from equipment.serving import connecting, serving
from equipment.until import until
from loopback import LoopbackDiscord, Member
from loopback.bots import running_bot
from loopback.model import Guild
from test_server.tools import records_with


@pytest.fixture
def guild(loopback_discord: LoopbackDiscord) -> Guild:
    return loopback_discord.guilds[0]


@pytest.fixture
def member(guild: Guild) -> Member:
    return guild.members[1]


async def take(subscription: Subscription, n: int = 1) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(subscription) for _ in range(n)]


async def data(subscription: Subscription, n: int = 1) -> list[Any]:
    return [event.data for event in await take(subscription, n)]


async def test_events_of_a_guild_are_for_its_members(
    server: Server[commands.Bot], session: ClientSession, loopback_discord: LoopbackDiscord, guild: Guild
) -> None:
    other = loopback_discord.guilds[1]
    async with session.acting_as(guild.owner_id).subscribe("tick") as heard:
        await server.publish("tick", 1, guild_id=other.id)
        await server.publish("tick", 2, guild_id=[guild.id, other.id])
        await server.publish("tick", {"guild_id": str(other.id)})
        await server.publish("tick", {"guild_id": "no id"})
        await server.publish("tick", 3, guild_id=5)
        await server.publish("tick", {"guild_id": str(guild.id)})
        await server.publish("tick", 4, guild_id=guild.id)
        assert await data(heard, 2) == [{"guild_id": str(guild.id)}, 4]


async def test_an_event_without_a_guild_is_for_the_user_that_it_concerns(
    server: Server[commands.Bot], session: ClientSession, guild: Guild
) -> None:
    async with session.acting_as(guild.owner_id).subscribe("tick") as heard:
        await server.publish("tick", "nobody's")
        await server.publish("tick", "somebody's", user_id=5)
        await server.publish("tick", "mine", user_id=guild.owner_id)
        await server.publish("tick", "everybody's", requires=())
        assert await data(heard, 2) == ["mine", "everybody's"]


async def test_calls_without_a_user_hear_everything(
    server: Server[commands.Bot], session: ClientSession, guild: Guild
) -> None:
    server.add_event("tick", requires=requires(manage_guild=True))
    async with session.subscribe("tick") as heard:
        await server.publish("tick", 1, guild_id=guild.id)
        await server.publish("tick", 2)
        assert await data(heard, 2) == [1, 2]


async def test_an_event_demands_what_was_declared_or_published(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    server: Server[commands.Bot],
    session: ClientSession,
    guild: Guild,
    member: Member,
) -> None:
    server.add_event("order", requires=requires(manage_guild=True))
    role = loopback_discord.add_role(guild, "Staff")
    loopback_discord.give_role(member, role)
    await loopback_bot.wait_for("member_update")
    async with session.acting_as(member.id).subscribe("order") as heard:
        await server.publish("order", 1, guild_id=guild.id)
        await server.publish("order", 2, guild_id=guild.id, requires=[requires(), requires_role("Nobody")])
        await server.publish("order", 3, guild_id=guild.id, requires=requires_role("Staff"))
        await server.publish("order", 4, requires=requires(manage_guild=True))
        await server.publish("order", 5, guild_id=guild.id, requires=requires())
        assert await data(heard, 2) == [3, 5]


async def test_who_loses_the_permission_or_leaves_hears_nothing_more(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    server: Server[commands.Bot],
    session: ClientSession,
    guild: Guild,
    member: Member,
) -> None:
    role = loopback_discord.add_role(
        guild, "Managers", permissions=discord.Permissions(manage_guild=True).value
    )
    loopback_discord.give_role(member, role)
    await loopback_bot.wait_for("member_update")
    async with session.acting_as(member.id).subscribe("a", "b") as heard:
        await server.publish("a", 1, guild_id=guild.id, requires=requires(manage_guild=True))
        await server.publish("b", 2, guild_id=guild.id)
        loopback_discord.take_role(member, role)
        await loopback_bot.wait_for("member_update")
        await server.publish("a", 3, guild_id=guild.id, requires=requires(manage_guild=True))
        await server.publish("b", 4, guild_id=guild.id)
        await loopback_discord.leave(guild, member)
        await loopback_bot.wait_for("member_remove")
        await server.publish("b", 5, guild_id=guild.id)
        await server.publish("b", 6, requires=())
        assert await data(heard, 4) == [1, 2, 4, 6]


async def test_events_of_discord_are_for_those_who_see_the_channel(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    server: Server[commands.Bot],
    session: ClientSession,
    guild: Guild,
    member: Member,
) -> None:
    server.forward("message")
    secret, public = guild.text_channels
    secret.overwrites[guild.id] = 0, discord.Permissions(view_channel=True).value
    loopback_discord.channel_changed(secret)
    await loopback_bot.wait_for("guild_channel_update")
    async with (
        session.acting_as(member.id).subscribe("message") as heard,
        session.acting_as(guild.owner_id).subscribe("message") as all_of_it,
    ):
        await loopback_discord.say(secret, guild.members[0], "psst")
        await loopback_discord.say(public, guild.members[0], "hello")
        assert [one["content"] for one in await data(heard)] == ["hello"]
        assert [one["content"] for one in await data(all_of_it, 2)] == ["psst", "hello"]


async def test_events_of_moderators_demand_their_permissions(
    loopback_discord: LoopbackDiscord,
    server: Server[commands.Bot],
    session: ClientSession,
    guild: Guild,
    member: Member,
) -> None:
    server.forward("member_ban", "member_remove")
    async with (
        session.acting_as(member.id).subscribe("member_ban", "member_remove") as heard,
        session.acting_as(guild.owner_id).subscribe("member_ban") as moderator,
    ):
        await loopback_discord.ban(guild.members[2], guild.members[0])
        assert [one.name for one in await take(moderator)] == ["member_ban"]
        await loopback_discord.leave(guild, guild.members[2])
        assert [one.name for one in await take(heard)] == ["member_remove"]


async def test_a_channel_that_the_bot_does_not_know_is_for_those_who_manage_channels(
    server: Server[commands.Bot], session: ClientSession, guild: Guild, member: Member
) -> None:
    async with (
        session.acting_as(member.id).subscribe("tick") as heard,
        session.acting_as(guild.owner_id).subscribe("tick") as owner,
    ):
        await server.publish("tick", 1, guild_id=guild.id, channel_id=5)
        await server.publish("tick", 2, guild_id=guild.id, channel_id=guild.text_channels[0].id)
        assert await data(heard) == [2]
        assert await data(owner, 2) == [1, 2]


async def test_a_subscription_to_a_guild_is_refused_where_the_user_is_no_member(
    loopback_discord: LoopbackDiscord, session: ClientSession, guild: Guild
) -> None:
    other = loopback_discord.guilds[1]
    with pytest.raises(NotAMember) as caught:
        async with session.acting_as(other.owner_id).subscribe("tick", guild_id=[other.id, guild.id]):
            pass
    assert (caught.value.user_id, caught.value.guild_id) == (other.owner_id, guild.id)


async def test_a_subscription_to_a_guild_is_refused_where_the_permission_is_missing(
    server: Server[commands.Bot], session: ClientSession, guild: Guild, member: Member
) -> None:
    with pytest.raises(MissingPermissions) as caught:
        async with session.acting_as(member.id).subscribe("member_ban", guild_id=guild.id):
            pass
    assert caught.value.missing_permissions == ["ban_members"]


async def test_events_for_the_owner_of_the_bot(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], session: ClientSession, member: Member
) -> None:
    server.add_event("stats", requires=requires_owner())
    owner = next(user for user in loopback_discord.users if user.name == "developer")
    with pytest.raises(NotOwner):
        async with session.acting_as(member.id).subscribe("stats"):
            pass
    async with (
        session.acting_as(owner.id).subscribe("stats", "other") as heard,
        session.acting_as(member.id).subscribe("other") as others,
    ):
        await server.publish("stats", 1)
        await server.publish("other", 2, requires=requires_owner())
        await server.publish("other", 3, requires=())
        assert await data(heard, 3) == [1, 2, 3]
        assert await data(others) == [3]


async def test_the_owner_of_the_bot_need_not_be_a_member(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], session: ClientSession, guild: Guild
) -> None:
    server.add_event("stats", requires=requires_owner())
    owner = next(user for user in loopback_discord.users if user.name == "developer")
    async with (
        session.acting_as(owner.id).subscribe("stats") as all_guilds,
        session.acting_as(owner.id).subscribe("stats", guild_id=guild.id) as one_guild,
    ):
        await server.publish("stats", 1, guild_id=guild.id)
        assert await data(all_guilds) == await data(one_guild) == [1]


class Unsure(commands.Bot):
    """A bot whose own rule about its owners fails."""

    async def is_owner(self, user: Any, /) -> bool:
        raise LookupError(user.id)


async def test_a_rule_about_owners_that_fails_is_logged_a_bounded_number_of_times(
    loopback_discord: LoopbackDiscord, guild: Guild, caplog: pytest.LogCaptureFixture
) -> None:
    def failures() -> int:
        return len(records_with(caplog, "Judging the acting user of '/rpc.subscribe' failed"))

    async with (
        running_bot(loopback_discord, cls=Unsure) as bot,
        serving(bot) as server,
        connecting(server.port) as session,
        session.acting_as(guild.owner_id).subscribe("tick") as heard,
    ):
        for _ in range(MAX_FAILURES + 20):
            await server.publish("tick", 1, requires=requires_owner())
        await server.publish("tick", 2, requires=())
        assert await data(heard) == [2]
        assert failures() == MAX_FAILURES
        server.add_event("stats", requires=requires_owner())
        with pytest.raises(RouteFailed, match="the acting user could not be judged") as caught:
            async with session.acting_as(guild.owner_id).subscribe("stats"):
                pass
        assert caught.value.error_id is None
        assert failures() == MAX_FAILURES


async def test_a_token_tells_who_subscribes(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], session: ClientSession, member: Member
) -> None:
    token = loopback_discord.oauth2.grant(member.user)
    async with session.acting_as(token=token).subscribe("tick") as heard:
        await server.publish("tick", 1, user_id=member.id)
        assert await data(heard) == [1]
    with pytest.raises(InvalidToken):
        async with session.acting_as(token="made-up").subscribe("tick"):
            pass


async def test_events_that_are_replayed_are_judged_too(
    server: Server[commands.Bot], session: ClientSession, guild: Guild, member: Member
) -> None:
    async with session.subscribe("tick") as everything:
        await server.publish("tick", 0, guild_id=guild.id)
        (first,) = await take(everything)
        await server.publish("tick", 1, guild_id=guild.id, requires=requires(manage_guild=True))
        await server.publish("tick", 2, guild_id=guild.id)
        async with session.acting_as(member.id).subscribe("tick", after=first) as heard:
            assert await data(heard) == [2]


async def test_a_subscription_goes_on_after_the_connection_was_cut(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, guild: Guild, member: Member
) -> None:
    async with serving(loopback_bot) as first, connecting(first.port, connect_timeout=10) as session:
        port = first.port
        async with session.acting_as(member.id).subscribe("tick") as heard:
            await first.publish("tick", 1, guild_id=guild.id)
            assert await data(heard) == [1]
            await first.terminate_server()
            async with serving(loopback_bot, port=port) as second:
                await session.wait_until_ready()
                waiting = asyncio.create_task(take(heard, 2))
                hub = second._shared.hub  # pyright: ignore[reportPrivateUsage]
                await until(lambda: hub._topics)  # pyright: ignore[reportPrivateUsage]
                await second.publish("tick", 2, guild_id=guild.id, requires=requires(manage_guild=True))
                await second.publish("tick", 3, guild_id=guild.id)
                events = await waiting
                assert [type(event) for event in events] == [Gap, Event]
                assert events[1].data == 3


# -- a bot that does not hear of changes of members


@asynccontextmanager
async def fetching(
    loopback: LoopbackDiscord, *, secret_key: str = KEY, keys: dict[str, Key] | None = None, **limits: Any
) -> AsyncIterator[tuple[Server[commands.Bot], ClientSession]]:
    async with (
        running_bot(loopback, intents=discord.Intents.default()) as bot,
        serving(bot, keys=MISSING if keys is None else keys, **limits) as server,
        connecting(server.port, secret_key=secret_key) as session,
    ):
        yield server, session


async def test_without_the_members_intent_events_wait_until_the_member_was_fetched(
    loopback_discord: LoopbackDiscord, guild: Guild, member: Member
) -> None:
    outsider = loopback_discord.guilds[1].owner_id
    path = f"GET /guilds/{guild.id}/members/"
    async with fetching(loopback_discord) as (server, session):
        async with (
            session.acting_as(member.id).subscribe("tick") as heard,
            session.acting_as(outsider).subscribe("tick") as others,
        ):
            with loopback_discord.rest.held(path):
                for number in range(5):
                    await server.publish("tick", number, guild_id=guild.id)
                await server.publish("tick", 5, requires=())
                await loopback_discord.wait_until(lambda: loopback_discord.rest.in_progress == 1)
            assert await data(heard, 6) == [0, 1, 2, 3, 4, 5]
            assert await data(others) == [5]
        assert loopback_discord.rest.requests[f"{path}{member.id}"] == 1


async def test_events_that_are_too_many_while_they_wait_are_a_gap_after_those_that_wait(
    loopback_discord: LoopbackDiscord, guild: Guild, member: Member
) -> None:
    path = f"GET /guilds/{guild.id}/members/"
    async with (
        fetching(loopback_discord, event_backlog=4) as (server, session),
        session.acting_as(member.id).subscribe("tick") as heard,
    ):
        with loopback_discord.rest.held(path):
            for number in range(6):
                await server.publish("tick", number, guild_id=guild.id)
            await loopback_discord.wait_until(lambda: loopback_discord.rest.in_progress == 1)
        events = await take(heard, 5)
        assert [event.data for event in events[:4]] == [0, 1, 2, 3]
        assert isinstance(events[4], Gap)
        assert (events[4].missed, events[4].seq) == (2, events[3].seq + 2)
        await server.publish("tick", 6, guild_id=guild.id)
        assert await data(heard) == [6]


async def test_a_subscription_that_takes_no_gaps_ends_where_too_many_events_wait(
    loopback_discord: LoopbackDiscord, guild: Guild, member: Member
) -> None:
    path = f"GET /guilds/{guild.id}/members/"
    async with (
        fetching(loopback_discord, event_backlog=4) as (server, session),
        session.acting_as(member.id).subscribe("tick", overflow="drop") as heard,
    ):
        with loopback_discord.rest.held(path):
            for number in range(6):
                await server.publish("tick", number, guild_id=guild.id)
            await loopback_discord.wait_until(lambda: loopback_discord.rest.in_progress == 1)
        assert await data(heard, 4) == [0, 1, 2, 3]
        with pytest.raises(FellBehind, match="until the acting user was judged"):
            await take(heard)


async def test_an_event_that_waits_is_not_sent_once_the_key_has_lost_its_scope(
    loopback_discord: LoopbackDiscord, guild: Guild, member: Member
) -> None:
    path = f"GET /guilds/{guild.id}/members/"
    keys = {"panel": Key("panel key", scopes={"read", "moderate"})}
    async with fetching(loopback_discord, secret_key="panel key", keys=keys) as (server, session):
        server.add_event("tick", scopes={"read", "moderate"})
        async with session.acting_as(member.id).subscribe("tick") as heard:
            with loopback_discord.rest.held(path):
                await server.publish("tick", 1, guild_id=guild.id, scopes={"moderate"})
                await server.publish("tick", 2, guild_id=guild.id, scopes={"read"})
                await loopback_discord.wait_until(lambda: loopback_discord.rest.in_progress == 1)
                server.keys["panel"] = Key("panel key", scopes={"read"})
            assert await data(heard) == [2]


async def test_events_of_which_discord_does_not_say_who_hears_them_are_a_gap(
    loopback_discord: LoopbackDiscord, guild: Guild, member: Member
) -> None:
    async with fetching(loopback_discord) as (server, session):
        async with session.acting_as(member.id).subscribe("tick") as heard:
            loopback_discord.rest.failures[f"GET /guilds/{guild.id}/members/"] = 403
            await server.publish("tick", 1, guild_id=guild.id)
            await server.publish("tick", 2, guild_id=guild.id)
            (gap,) = await take(heard)
            assert isinstance(gap, Gap)
            assert gap.missed == 2
            loopback_discord.rest.failures.clear()
            await server.publish("tick", 3, guild_id=guild.id)
            assert await data(heard) == [3]
        loopback_discord.rest.failures["GET /guilds/"] = 403
        with pytest.raises(FetchFailed):
            async with session.acting_as(guild.members[3].id).subscribe("tick", guild_id=guild.id):
                pass


async def test_a_subscription_that_ends_while_its_user_is_judged_leaves_nothing(
    loopback_discord: LoopbackDiscord, guild: Guild, member: Member
) -> None:
    path = f"GET /guilds/{guild.id}/members/"
    async with fetching(loopback_discord) as (server, session):
        with loopback_discord.rest.held(path):
            subscription = session.acting_as(member.id).subscribe("tick", guild_id=guild.id)
            beginning = asyncio.create_task(subscription.__aenter__())
            await loopback_discord.wait_until(lambda: loopback_discord.rest.in_progress == 1)
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            await until(lambda: not judging())
            async with session.acting_as(member.id).subscribe("other"):
                await server.publish("other", 1, guild_id=guild.id)
                assert judging() == ["ipc judges a reader"]
            await until(lambda: not judging())
        topics = server._shared.hub._topics  # pyright: ignore[reportPrivateUsage]
        assert {name: topic.subscribers for name, topic in topics.items()} == {"other": 0}


def judging() -> list[str]:
    """The names of the tasks that judge acting users."""
    return [one.get_name() for one in asyncio.all_tasks() if one.get_name().startswith("ipc judges")]
