"""Run where both wheels are installed with py-cord in place of discord.py: a real bot on the loopback Discord.

It needs the folder ``tests`` of the checkout on PYTHONPATH, for the loopback.
"""

import asyncio
import warnings
from typing import Any

warnings.simplefilter("ignore")  # those of py-cord about its voice and its deprecations

import discord
from discord.ext import commands

from discord_tools.ipc import (
    BadData,
    ClientSession,
    InvalidToken,
    MissingPermissions,
    NotOwner,
    Request,
    RouteFailed,
    Server,
    full,
    requires,
    requires_owner,
    route,
)
from loopback import LoopbackDiscord, payloads
from loopback.bots import make_bot
from loopback.server import TOKEN


class Cog(commands.Cog):
    """Routes with parameters and answers of each kind."""

    @route()
    async def everything(self, request: Request, guild: discord.Guild) -> Any:
        return full(guild, "roles", "channels", "members")

    @route()
    async def member(self, request: Request, guild: discord.Guild, member: discord.Member) -> Any:
        return member

    @route()
    async def user(self, request: Request, user: discord.User) -> Any:
        return user

    @route()
    async def channel(self, request: Request, channel: discord.abc.GuildChannel) -> Any:
        return channel

    @route()
    async def message(self, request: Request, message: discord.Message) -> Any:
        return message

    @route()
    async def small(self, request: Request, colour: discord.Colour, type: discord.ChannelType) -> Any:
        return [colour, type, discord.Permissions(4)]

    @route()
    @requires_owner()
    async def shutdown(self, request: Request) -> Any:
        return request.user_id

    @route()
    @requires(manage_guild=True)
    async def rename(self, request: Request, guild: discord.Guild) -> Any:
        return request.reason("better")

    @route()
    async def poll(self, request: Request) -> Any:
        return discord.Poll("?")


#: What py-cord does not keep of a guild, or of a member that is not connected to voice.
NOT_KEPT = {
    "application_id", "deaf", "joined_at", "mute", "presences", "region", "soundboard_sounds", "vanity_url_code",
}  # fmt: skip


def check(ours: Any, theirs: Any, path: str) -> None:
    """Fails where an answer is not what Discord has sent."""
    if isinstance(theirs, dict):
        for name in theirs.keys() - NOT_KEPT:
            if path.endswith("guild") and name in ("emojis", "stickers", "threads", "voice_states"):
                continue  # only on request
            if name not in ("stage_instances", "guild_scheduled_events"):
                check(ours[name], theirs[name], f"{path}.{name}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), path
        key = "user" if theirs and isinstance(theirs[0], dict) and "user" in theirs[0] else "id"
        if theirs and isinstance(theirs[0], dict):
            ours, theirs = (sorted(each, key=lambda one: str(one[key])) for each in (ours, theirs))
        for mine, their in zip(ours, theirs, strict=True):
            check(mine, their, f"{path}[]")
    elif isinstance(theirs, str) and theirs[:2] == "20" and "T" in theirs:
        assert ours[:19] == theirs[:19], path
    else:
        assert ours == theirs, f"{path}: {ours!r} is not {theirs!r}"


async def ask(discord_: LoopbackDiscord, server: Server[Any], session: ClientSession) -> None:
    """Calls all routes and compares their answers."""
    guild = discord_.guilds[0]
    person, channel = guild.members[0], guild.text_channels[0]
    member = await session.request("member", guild=guild.id, member=person.user.id)
    check(member, payloads.member(person), "member")
    check(await session.request("everything", guild=guild.id), payloads.guild(guild), "guild")
    check(await session.request("user", user=str(person.user.id)), payloads.user(person.user), "user")
    check(await session.request("channel", channel=channel.id), payloads.channel(channel), "channel")
    async with session.subscribe("message", channel_id=channel.id) as events:
        said = await discord_.say(channel, person, f"hello <@{person.user.id}>")
        check((await anext(aiter(events))).data, payloads.message(said), "event")
    place = {"channel_id": channel.id, "id": said.id}
    check(await session.request("message", message=place), payloads.message(said), "message")
    assert await session.request("small", colour="#ff0000", type="voice") == [0xFF0000, 2, "4"]
    for name, data in (("everything", {"guild": 5}), ("member", {"guild": guild.id, "member": "x"})):
        try:
            await session.request(name, **data)
        except BadData as error:
            print(f"refused: {error}")
        else:
            raise AssertionError(f"{name} took {data}")
    try:
        await session.request("poll")
    except RouteFailed as error:
        print(f"refused: {error}")
    else:
        raise AssertionError("a poll was written")


async def act(discord_: LoopbackDiscord, session: ClientSession) -> None:
    """Calls for users: those who may, and those who may not."""
    guild = discord_.guilds[0]
    developer, *_, reader = [user for user in discord_.users if not user.bot][:3]
    discord_.team[:] = [(developer, "admin"), (reader, "read_only")]
    assert await session.acting_as(developer.id)("shutdown") == developer.id
    owner = next(member for member in guild.members if member.user.id == guild.owner_id)
    token = discord_.oauth2.grant(owner.user)
    expected = f"{owner.user.name} ({owner.user.id}): better"
    assert await session.acting_as(token=token)("rename", guild=guild.id) == expected
    for error, call in (
        (NotOwner, session.acting_as(reader.id)("shutdown")),
        (MissingPermissions, session.acting_as(guild.members[1].user.id)("rename", guild=guild.id)),
        (InvalidToken, session.acting_as(token="made-up")("rename", guild=guild.id)),
    ):
        try:
            await call
        except error as refused:
            print(f"refused: {refused}")
        else:
            raise AssertionError(f"{error.__name__} was not raised")


async def main() -> None:
    async with LoopbackDiscord(guilds=2) as discord_:
        for cls in (commands.Bot, discord.Bot):
            bot: Any = make_bot(discord_, cls)
            bot.add_cog(Cog())
            server = Server(bot, port=0, secret_key="a key", multicast=False)
            server.forward("message")
            calls: list[Request] = []
            bot.add_listener(async_append(calls), "on_ipc_request_completion")
            running = asyncio.create_task(bot.start(TOKEN))
            ready = asyncio.create_task(bot.wait_until_ready())
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
            assert bot.is_ready()
            await server.start()
            async with ClientSession(port=server.port, secret_key="a key") as session:
                await asyncio.wait_for(ask(discord_, server, session), 30)
                await asyncio.wait_for(act(discord_, session), 30)
            assert len(calls) >= 6, calls
            bot.remove_cog("Cog")
            assert not server.routes
            await bot.close()
            assert not server.is_running()
            await asyncio.wait({running})
            running.exception()  # py-cord tries to connect once more
            print(f"{cls.__module__}.{cls.__qualname__} of py-cord {discord.__version__}: {len(calls)} calls")
    assert discord_.unhandled == [], discord_.unhandled


def async_append(to: list[Request]) -> Any:
    async def append(request: Request) -> None:
        to.append(request)

    return append


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(), 90))
