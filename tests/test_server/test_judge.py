"""Acting users are judged by the bot, on its own knowledge of the guild that a call is about."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, TypedDict

import aiohttp
import attrs
import discord
import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ActingUserRequired,
    BadData,
    ClientSession,
    FetchFailed,
    Forbidden,
    MissingPermissions,
    MissingRole,
    NotAMember,
    NotOwner,
    OnCooldown,
    Request,
    RouteFailed,
    RouteGroup,
    Server,
    UnknownObject,
    check,
    cooldown,
    requires,
    requires_owner,
    requires_role,
    route,
)
from discord_tools.ipc_server.judge import FETCHED_PERIOD, Judge
from discord_tools.ipc_server.parameters.fetching import Fetcher
from equipment.key import KEY
from equipment.serving import connecting, serving
from loopback import LoopbackDiscord, Member, Role, payloads
from loopback.bots import running_bot
from loopback.model import Guild

MANAGE_GUILD = discord.Permissions(manage_guild=True).value
MANAGE_MESSAGES = discord.Permissions(manage_messages=True).value
VIEW = discord.Permissions(view_channel=True).value


@pytest.fixture
def guild(loopback_discord: LoopbackDiscord) -> Guild:
    return loopback_discord.guilds[0]


@pytest.fixture
def member(guild: Guild) -> Member:
    """Somebody without any role."""
    return guild.members[1]


@pytest.fixture
def managers(loopback_discord: LoopbackDiscord, guild: Guild) -> Role:
    """A role that may manage the guild."""
    return loopback_discord.add_role(guild, "Managers", permissions=MANAGE_GUILD)


@pytest.fixture
async def settings(server: Server[commands.Bot]) -> None:
    """A route that demands a permission."""

    @server.route()
    @requires(manage_guild=True)
    async def settings(request: Request, guild: discord.Guild) -> list[Any]:
        assert request.member is not None
        return [guild.id, request.user_id, request.member.guild.id, request.member.id]


async def known(bot: discord.Client, loopback: LoopbackDiscord, member: Member, *roles: Role) -> None:
    """Gives a member roles, and waits until the bot knows."""
    for role in roles:
        loopback.give_role(member, role)
    wanted = {role.id for role in roles}

    def check(_: discord.Member, after: discord.Member) -> bool:
        return after.id == member.id and wanted <= {role.id for role in after.roles}

    async with asyncio.timeout(10):
        await bot.wait_for("member_update", check=check)


async def refusal(call: Any, error: type[Forbidden]) -> Any:
    with pytest.raises(error) as caught:
        await call
    assert type(caught.value) is error
    return caught.value


async def test_a_member_with_the_permission_is_allowed(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    session: ClientSession,
    settings: None,
    guild: Guild,
    member: Member,
    managers: Role,
) -> None:
    await known(loopback_bot, loopback_discord, member, managers)
    found = await session.acting_as(member.id).request("settings", guild=guild.id)
    assert found == [guild.id, member.id, guild.id, member.id]


async def test_a_member_without_the_permission_learns_which_one_is_missing(
    session: ClientSession, settings: None, guild: Guild, member: Member
) -> None:
    error = await refusal(session.acting_as(member.id)("settings", guild=guild.id), MissingPermissions)
    assert error.missing_permissions == ["manage_guild"]
    assert (error.user_id, error.guild_id, error.channel_id) == (member.id, guild.id, None)
    assert "manage_guild" in str(error)


async def test_a_role_that_was_taken_away_counts_no_more(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    session: ClientSession,
    settings: None,
    guild: Guild,
    member: Member,
    managers: Role,
) -> None:
    await known(loopback_bot, loopback_discord, member, managers)
    user = session.acting_as(member.id)
    await user("settings", guild=guild.id)
    loopback_discord.take_role(member, managers)
    await loopback_bot.wait_for("member_update")
    await refusal(user("settings", guild=guild.id), MissingPermissions)


async def test_the_owner_of_the_guild_and_administrators_have_all_permissions(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    session: ClientSession,
    settings: None,
    guild: Guild,
    member: Member,
) -> None:
    assert await session.acting_as(guild.owner_id)("settings", guild=guild.id)
    permissions = discord.Permissions(administrator=True).value
    await known(
        loopback_bot, loopback_discord, member, loopback_discord.add_role(guild, "A", permissions=permissions)
    )
    assert await session.acting_as(member.id)("settings", guild=guild.id)


async def test_who_is_timed_out_has_few_permissions(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    session: ClientSession,
    settings: None,
    guild: Guild,
    member: Member,
    managers: Role,
) -> None:
    member.timed_out_until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    await known(loopback_bot, loopback_discord, member, managers)
    await refusal(session.acting_as(member.id)("settings", guild=guild.id), MissingPermissions)


async def test_a_call_without_a_user_is_refused_and_says_what_is_missing(
    session: ClientSession, settings: None, guild: Guild
) -> None:
    error = await refusal(session.request("settings", guild=guild.id), ActingUserRequired)
    assert "acting_as" in str(error)
    assert error.needs_token is False


async def test_a_user_of_another_guild_is_no_member(
    loopback_discord: LoopbackDiscord, session: ClientSession, settings: None, guild: Guild
) -> None:
    other = loopback_discord.guilds[1]
    error = await refusal(session.acting_as(other.owner_id)("settings", guild=guild.id), NotAMember)
    assert (error.user_id, error.guild_id) == (other.owner_id, guild.id)


async def test_an_acting_user_who_has_left_is_refused(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    session: ClientSession,
    settings: None,
    guild: Guild,
    member: Member,
    managers: Role,
) -> None:
    await known(loopback_bot, loopback_discord, member, managers)
    await loopback_discord.leave(guild, member)
    await loopback_bot.wait_for("member_remove")
    await refusal(session.acting_as(member.id)("settings", guild=guild.id), NotAMember)


async def test_a_guild_that_the_bot_does_not_know_is_an_unknown_object(
    session: ClientSession, settings: None, member: Member
) -> None:
    with pytest.raises(UnknownObject):
        await session.acting_as(member.id)("settings", guild=5)


@pytest.mark.parametrize(
    "given", [{"guild_id": "x"}, {}, {"guild_id": None}], ids=["no id", "nothing", "null"]
)
async def test_a_route_without_parameters_needs_a_guild_in_the_data(
    server: Server[commands.Bot], session: ClientSession, guild: Guild, given: dict[str, Any]
) -> None:
    @server.route()
    @requires()
    async def raw(request: Request) -> None:
        """A route that takes the data as it is."""

    assert await session.acting_as(guild.owner_id)("raw", guild_id=str(guild.id)) is None
    with pytest.raises(BadData, match="guild_id"):
        await session.acting_as(guild.owner_id)("raw", **given)
    with pytest.raises(UnknownObject):
        await session.acting_as(guild.owner_id)("raw", guild_id=7)


async def test_permissions_are_judged_in_the_channel_of_the_parameters(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    server: Server[commands.Bot],
    session: ClientSession,
    guild: Guild,
    member: Member,
) -> None:
    @server.route()
    @requires(manage_messages=True)
    async def purge(request: Request, channel: discord.TextChannel) -> str:
        return channel.name

    allowed, other = guild.text_channels
    allowed.overwrites[member.id] = MANAGE_MESSAGES, 0
    loopback_discord.channel_changed(allowed)
    await loopback_bot.wait_for("guild_channel_update")
    user = session.acting_as(member.id)
    assert await user("purge", channel=allowed.id) == allowed.name
    error = await refusal(user("purge", channel=other.id), MissingPermissions)
    assert (error.missing_permissions, error.channel_id) == (["manage_messages"], other.id)


@dataclasses.dataclass
class Move:
    source: discord.TextChannel
    targets: list[discord.TextChannel]


async def test_permissions_are_judged_in_each_channel_also_inside_of_structures(
    server: Server[commands.Bot], session: ClientSession, loopback_discord: LoopbackDiscord
) -> None:
    @server.route()
    @requires(manage_messages=True)
    async def move(request: Request, what: Move) -> None:
        """Moves something."""

    mine, other = loopback_discord.guilds
    first, second = mine.text_channels
    foreign = other.text_channels[0]
    user = session.acting_as(mine.owner_id)
    await user("move", what={"source": first.id, "targets": [second.id]})
    error = await refusal(
        user("move", what={"source": first.id, "targets": [second.id, foreign.id]}), NotAMember
    )
    assert error.guild_id == other.id


@dataclasses.dataclass
class CopyData:
    guild: discord.Guild
    to: discord.Guild


class CopyStruct(msgspec.Struct):
    guild: discord.Guild
    to: discord.Guild


class CopyTuple(NamedTuple):
    guild: discord.Guild
    to: discord.Guild


@attrs.define
class CopyAttrs:
    to: discord.Guild


class CopyDict(TypedDict):
    to: discord.Guild


@pytest.mark.parametrize(
    ("annotation", "give"),
    [
        (CopyData, lambda mine, to: {"guild": mine.id, "to": to.id}),
        (CopyStruct, lambda mine, to: {"guild": mine.id, "to": to.id}),
        (CopyTuple, lambda mine, to: [mine.id, to.id]),
        (CopyAttrs, lambda mine, to: {"to": to.id}),
        (CopyDict, lambda mine, to: {"to": to.id}),
        (dict[discord.Guild, int], lambda mine, to: {str(mine.id): 1, str(to.id): 2}),
        (dict[str, list[discord.Guild]], lambda mine, to: {"all": [mine.id, to.id]}),
    ],
    ids=["dataclass", "Struct", "NamedTuple", "attrs", "TypedDict", "keys", "values"],
)
async def test_all_guilds_in_structures_are_judged(
    server: Server[commands.Bot],
    session: ClientSession,
    loopback_discord: LoopbackDiscord,
    annotation: Any,
    give: Callable[[Guild, Guild], Any],
) -> None:
    async def copy(request: Request, source: discord.TextChannel, what: Any) -> str:
        return "copied"

    copy.__annotations__["what"] = annotation
    server.add_route(requires(manage_guild=True)(copy))
    mine, other = loopback_discord.guilds
    user, source = session.acting_as(mine.owner_id), mine.text_channels[0].id
    assert await user("copy", source=source, what=give(mine, mine)) == "copied"
    error = await refusal(user("copy", source=source, what=give(mine, other)), NotAMember)
    assert error.guild_id == other.id


@dataclasses.dataclass
class Spot:
    guild: discord.Guild
    channel: discord.TextChannel


async def test_the_channel_beside_a_guild_in_a_structure_is_judged(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    server: Server[commands.Bot],
    session: ClientSession,
    guild: Guild,
    member: Member,
) -> None:
    @server.route()
    @requires(view_channel=True)
    async def show(request: Request, spot: Spot) -> str:
        return spot.channel.name

    open_one, closed = guild.text_channels
    closed.overwrites[member.id] = 0, VIEW
    loopback_discord.channel_changed(closed)
    await loopback_bot.wait_for("guild_channel_update")
    user = session.acting_as(member.id)
    assert await user("show", spot={"guild": guild.id, "channel": open_one.id}) == open_one.name
    error = await refusal(user("show", spot={"guild": guild.id, "channel": closed.id}), MissingPermissions)
    assert error.channel_id == closed.id


async def test_a_channel_that_is_in_no_guild_cannot_be_judged(
    server: Server[commands.Bot],
    session: ClientSession,
    loopback_bot: commands.Bot,
    guild: Guild,
    member: Member,
) -> None:
    @server.route()
    @requires(read_message_history=True)
    async def export(request: Request, channels: list[discord.abc.Messageable]) -> None:
        """Exports messages."""

    @server.route()
    @requires(manage_messages=True)
    async def purge(request: Request, messages: list[discord.PartialMessage]) -> None:
        """Deletes messages."""

    state: Any = loopback_bot._connection  # pyright: ignore[reportPrivateUsage] (the loopback has no such channels)
    data: Any = {"id": "7", "recipients": [dict(payloads.user(member.user))]}
    state._add_private_channel(discord.DMChannel(me=state.user, state=state, data=data))
    own, user = guild.text_channels[0].id, session.acting_as(guild.owner_id)
    await user("export", channels=[own])
    await user("purge", messages=[{"channel_id": own, "id": 1}])
    for name, given in (
        ("export", {"channels": [own, 7]}),
        ("purge", {"messages": [{"channel_id": own, "id": 1}, {"channel_id": 7, "id": 1}]}),
    ):
        with pytest.raises(BadData, match="a channel that is in no guild cannot be judged"):
            await user(name, **given)


@pytest.mark.parametrize("by", ["name", "place"])
async def test_a_guild_id_beside_the_parameters_counts_too(
    server: Server[commands.Bot], session: ClientSession, loopback_discord: LoopbackDiscord, by: str
) -> None:
    @server.route()
    @requires(manage_guild=True)
    async def copy(request: Request, channel: discord.TextChannel, guild_id: int) -> str:
        """Copies a channel to a guild."""
        return "copied"

    mine, other = loopback_discord.guilds
    channel = mine.text_channels[0].id

    async def call(guild_id: int) -> Any:
        params = {"channel": channel, "guild_id": guild_id} if by == "name" else [channel, guild_id]
        message = {"jsonrpc": "2.0", "id": 1, "method": "copy", "params": params}
        message["meta"] = {"acting_as": {"user_id": str(mine.owner_id)}}
        async with aiohttp.ClientSession(headers={"Authorization": KEY}) as http:
            response = await http.post(f"http://127.0.0.1:{server.port}/", json=message)
            return await response.json()

    assert (await call(mine.id))["result"] == "copied"
    error = (await call(other.id))["error"]
    assert (error["code"], error["data"]["guild_id"]) == (NotAMember.code, str(other.id))


async def test_a_guild_id_beside_a_guild_counts_too(
    server: Server[commands.Bot], session: ClientSession, loopback_discord: LoopbackDiscord
) -> None:
    @server.route()
    @requires(manage_guild=True)
    async def copy(request: Request, source: discord.Guild, guild_id: str) -> str:
        return str(int(guild_id))

    @server.route()
    @requires(manage_guild=True)
    async def copies(request: Request, source: discord.Guild, guild: list[int]) -> list[int]:
        return guild

    mine, other = loopback_discord.guilds
    user = session.acting_as(mine.owner_id)
    assert await user("copy", source=mine.id, guild_id=str(mine.id)) == str(mine.id)
    assert await user("copies", source=mine.id, guild=[mine.id]) == [mine.id]
    await refusal(user("copy", source=mine.id, guild_id=str(other.id)), NotAMember)
    await refusal(user("copies", source=mine.id, guild=[mine.id, other.id]), NotAMember)
    # int() would read it.
    with pytest.raises(BadData, match="expected the id of a Guild"):
        await user("copy", source=mine.id, guild_id=f" {other.id}")


@pytest.mark.parametrize("by", ["name", "id"])
async def test_one_of_the_roles_is_enough(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    server: Server[commands.Bot],
    session: ClientSession,
    guild: Guild,
    member: Member,
    by: str,
) -> None:
    role = guild.roles[1]

    @server.route()
    @requires_role("Nobody", role.name if by == "name" else role.id)
    async def staff(request: Request, guild: discord.Guild) -> None:
        """For the staff."""

    user = session.acting_as(member.id)
    error = await refusal(user("staff", guild=guild.id), MissingRole)
    assert error.missing_roles == ["Nobody", role.name if by == "name" else str(role.id)]
    await known(loopback_bot, loopback_discord, member, role)
    assert await user("staff", guild=guild.id) is None


async def test_the_owner_of_the_bot_is_asked_for_once(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], session: ClientSession, guild: Guild
) -> None:
    @server.route()
    @requires_owner()
    async def shutdown(request: Request) -> int | None:
        return request.user_id

    owner = next(user for user in loopback_discord.users if user.name == "developer")
    asked = loopback_discord.rest.requests["GET /oauth2/applications/@me"]
    for _ in range(3):
        assert await session.acting_as(owner.id)("shutdown") == owner.id
    await refusal(session.acting_as(guild.owner_id)("shutdown"), NotOwner)
    await refusal(session.request("shutdown"), ActingUserRequired)
    assert loopback_discord.rest.requests["GET /oauth2/applications/@me"] == asked + 1


async def test_a_team_owns_the_bot_without_those_who_may_only_read(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], session: ClientSession
) -> None:
    server.add_route(requires_owner()(who))
    admin, developer, reader, outsider = [user for user in loopback_discord.users if not user.bot][:4]
    loopback_discord.team.extend([(admin, "admin"), (developer, "developer"), (reader, "read_only")])
    for user in (admin, developer):
        assert await session.acting_as(user.id)("who") == user.id
    for user in (reader, outsider):
        await refusal(session.acting_as(user.id)("who"), NotOwner)


async def test_an_owner_that_the_bot_was_given_counts(loopback_discord: LoopbackDiscord) -> None:
    async with (
        running_bot(loopback_discord, owner_ids={5, 6}) as bot,
        serving(bot) as server,
        connecting(server.port) as session,
    ):
        server.add_route(requires_owner()(who))
        assert await session.acting_as(6)("who") == 6
        await refusal(session.acting_as(7)("who"), NotOwner)


async def who(request: Request) -> int | None:
    return request.user_id


async def test_routes_without_demands_know_the_user_too(
    server: Server[commands.Bot], session: ClientSession, guild: Guild, member: Member
) -> None:
    @server.route()
    async def me(request: Request, guild: discord.Guild | None = None) -> list[Any]:
        assert request.user is not None
        return [
            request.user_id,
            request.user.name,
            request.member and request.member.guild.id,
            request.reason("so"),
        ]

    found = await session.acting_as(member.id)("me", guild=guild.id)
    assert found == [member.id, member.name, guild.id, f"{member.name} ({member.id}): so"]
    assert (await session.acting_as(str(member.id))("me"))[2] is None
    with pytest.raises(RouteFailed):
        await session.request("me")


async def test_groups_and_cogs_demand_something_for_all_their_routes(
    loopback_bot: commands.Bot,
    server: Server[commands.Bot],
    session: ClientSession,
    guild: Guild,
    member: Member,
) -> None:
    group = RouteGroup("admin", checks=[requires(manage_guild=True)])

    @group.route()
    async def reset(request: Request, guild: discord.Guild) -> str:
        return "reset"

    server.add_group(group)

    @requires(ban_members=True)
    class Bans(commands.Cog):
        @route()
        async def bans(self, request: Request, guild: discord.Guild) -> str:
            return "bans"

    await loopback_bot.add_cog(Bans())
    user = session.acting_as(member.id)
    for name, permission in (("admin/reset", "manage_guild"), ("bans", "ban_members")):
        error = await refusal(user(name, guild=guild.id), MissingPermissions)
        assert error.missing_permissions == [permission]
    owner = session.acting_as(guild.owner_id)
    assert [await owner("admin/reset", guild=guild.id), await owner("bans", guild=guild.id)] == [
        "reset",
        "bans",
    ]


@requires(ban_members=True)
class Moderating:
    @route()
    async def look(self, request: Request, guild: discord.Guild) -> str:
        return "looked"


@requires_owner()
class Owning:
    @route()
    async def shut(self, request: Request, guild: discord.Guild) -> str:
        return "shut"


class Both(Moderating, Owning, commands.Cog):
    pass


@requires(manage_guild=True)
class BothAndMore(Moderating, Owning, commands.Cog):
    pass


@pytest.mark.parametrize("cls", [Both, BothAndMore])
async def test_what_all_base_classes_of_a_cog_demand_counts(
    loopback_discord: LoopbackDiscord,
    loopback_bot: commands.Bot,
    session: ClientSession,
    server: Server[commands.Bot],
    guild: Guild,
    cls: type[commands.Cog],
) -> None:
    await loopback_bot.add_cog(cls())
    user = session.acting_as(guild.owner_id)
    for name in ("look", "shut"):
        await refusal(user(name, guild=guild.id), NotOwner)


async def test_requires_can_be_given_wherever_a_check_can(
    server: Server[commands.Bot], session: ClientSession, guild: Guild, member: Member
) -> None:
    demand = requires(manage_guild=True)
    outer = RouteGroup("outer")
    later = RouteGroup("later")
    later.check(demand)
    for group in (outer.group("inner", checks=[demand]), later, server.group("own", checks=[demand])):

        @group.route("reset")
        async def reset(request: Request, guild: discord.Guild) -> str:
            return "reset"

    @server.route()
    @check(demand)
    async def alone(request: Request, guild: discord.Guild) -> str:
        return "reset"

    server.add_group(outer)
    server.add_group(later)
    for name in ("outer/inner/reset", "later/reset", "own/reset", "alone"):
        await refusal(session(name, guild=guild.id), ActingUserRequired)
        error = await refusal(session.acting_as(member.id)(name, guild=guild.id), MissingPermissions)
        assert error.missing_permissions == ["manage_guild"]
        assert await session.acting_as(guild.owner_id)(name, guild=guild.id) == "reset"


async def test_cooldowns_of_users_count_by_the_acting_user(
    server: Server[commands.Bot], session: ClientSession, guild: Guild
) -> None:
    @server.route()
    @cooldown(1, 3600, commands.BucketType.user)
    async def vote(request: Request) -> None:
        """Votes."""

    await session.acting_as(1)("vote")
    await session.acting_as(2)("vote")
    with pytest.raises(OnCooldown):
        await session.acting_as(1)("vote")


async def test_the_description_of_the_routes_says_what_they_demand(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    @server.route()
    @requires_owner()
    @requires(manage_guild=True)
    @requires_role("Mods", 5)
    async def all_of_it(request: Request, guild: discord.Guild) -> None:
        """Everything."""

    found = await session.request("rpc.discover")
    (method,) = [one for one in found["methods"] if one["name"] == "all_of_it"]
    assert method["x-requires"] == [
        {"owner": True},
        {"permissions": ["manage_guild"]},
        {"roles": ["Mods", "5"]},
    ]


async def test_the_description_follows_a_group_that_demands_more_later(
    server: Server[commands.Bot], session: ClientSession
) -> None:
    group = server.group("admin")

    @group.route()
    async def reset(request: Request, guild: discord.Guild) -> None:
        """Resets."""

    async def demanded() -> Any:
        (method,) = (await session.request("rpc.discover"))["methods"]
        return method.get("x-requires")

    assert await demanded() is None
    group.check(requires(manage_guild=True))
    assert await demanded() == [{"permissions": ["manage_guild"]}]


# -- a bot that does not hear of changes of members


@pytest.fixture
async def fetching_session(loopback_discord: LoopbackDiscord) -> AsyncIterator[ClientSession]:
    """A session with a bot without the members intent, and a route that demands a permission."""
    async with (
        running_bot(loopback_discord, intents=discord.Intents.default()) as bot,
        serving(bot) as server,
        connecting(server.port) as session,
    ):

        @server.route()
        @requires(manage_guild=True)
        async def settings(request: Request, guild: discord.Guild) -> int:
            assert request.member is not None
            return request.member.id

        yield session


async def test_without_the_members_intent_the_member_is_fetched_and_counts_for_seconds(
    loopback_discord: LoopbackDiscord,
    fetching_session: ClientSession,
    guild: Guild,
    member: Member,
) -> None:
    user = fetching_session.acting_as(member.id)
    managers = loopback_discord.add_role(guild, "Managers", permissions=MANAGE_GUILD)
    member.roles.append(managers)
    path = f"GET /guilds/{guild.id}/members/{member.id}"
    for _ in range(3):
        assert await user("settings", guild=guild.id) == member.id
    assert loopback_discord.rest.requests[path] == 1


async def test_a_member_that_was_fetched_counts_for_some_seconds_only(
    loopback_discord: LoopbackDiscord, guild: Guild, member: Member
) -> None:
    now = 0.0
    async with running_bot(loopback_discord, intents=discord.Intents.default()) as bot:
        judged = Judge(bot, Fetcher(), lambda: now)
        place = bot.get_guild(guild.id)
        assert place is not None
        found = [await judged.member(place, member.id) for _ in range(2)]
        assert found[0] is found[1]
        member.roles.append(guild.roles[1])
        now = FETCHED_PERIOD
        again = await judged.member(place, member.id)
    assert again is not None
    assert again.get_role(guild.roles[1].id) is not None


async def test_without_the_members_intent_who_has_left_is_refused(
    loopback_discord: LoopbackDiscord, fetching_session: ClientSession, guild: Guild
) -> None:
    outsider = loopback_discord.add_user("outsider")
    await refusal(fetching_session.acting_as(outsider.id)("settings", guild=guild.id), NotAMember)


async def test_a_member_that_discord_does_not_give_is_a_typed_error(
    loopback_discord: LoopbackDiscord, fetching_session: ClientSession, guild: Guild, member: Member
) -> None:
    loopback_discord.rest.failures["GET /guilds/"] = 403
    with pytest.raises(FetchFailed) as caught:
        await fetching_session.acting_as(member.id)("settings", guild=guild.id)
    assert (caught.value.kind, caught.value.status) == ("Member", 403)
