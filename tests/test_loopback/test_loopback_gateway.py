"""Shards, and sessions that outlive their socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import discord
import pytest
from discord.ext import commands

from loopback import TOKEN, LoopbackConnector, LoopbackDiscord
from loopback.bots import running_bot
from loopback.gateway import REPLAY_LIMIT, Session
from loopback.model import World


async def test_each_shard_has_its_own_guilds() -> None:
    async with (
        LoopbackDiscord(guilds=7) as discord_,
        running_bot(discord_, cls=commands.AutoShardedBot, shard_count=3) as bot,
    ):
        assert discord_.identifies == 3
        assert [guild.shard_id for guild in bot.guilds] != [0] * 7
        expected = {guild.id: index % 3 for index, guild in enumerate(discord_.guilds)}
        assert {guild.id: guild.shard_id for guild in bot.guilds} == expected


async def test_a_bot_may_ask_how_many_shards_to_have() -> None:
    async with (
        LoopbackDiscord(guilds=4, shards=2) as discord_,
        running_bot(discord_, cls=commands.AutoShardedBot) as bot,
    ):
        assert bot.shard_count == 2
        assert discord_.identifies == 2


async def test_a_cluster_runs_its_shards_only() -> None:
    async with (
        LoopbackDiscord(guilds=8) as discord_,
        running_bot(discord_, cls=commands.AutoShardedBot, shard_count=4, shard_ids=[1, 3]) as odd,
        running_bot(discord_, shard_count=4, shard_id=2) as single,
    ):
        assert {guild.shard_id for guild in odd.guilds} == {1, 3}
        assert len(odd.guilds) == 4
        assert [guild.id for guild in single.guilds] == [discord_.guilds[2].id, discord_.guilds[6].id]
        await discord_.join(discord_.guilds[2], name="joan")
        assert (await single.wait_for("member_join", timeout=5)).name == "joan"
        assert odd.get_guild(discord_.guilds[2].id) is None


@pytest.mark.parametrize("cls", [commands.Bot, commands.AutoShardedBot])
async def test_a_cut_bot_resumes_and_gets_what_it_missed(cls: type[commands.Bot]) -> None:
    async with LoopbackDiscord(guilds=2) as discord_, running_bot(discord_, cls=cls) as bot:
        guild = discord_.guilds[0]
        ready_again = asyncio.ensure_future(bot.wait_for("ready"))
        resumed = asyncio.ensure_future(bot.wait_for("resumed", timeout=5))
        await asyncio.sleep(0)
        await discord_.drop_gateways()
        await discord_.join(guild, name="joan")
        assert (await bot.wait_for("member_join", timeout=5)).name == "joan"
        await resumed
        assert (discord_.identifies, discord_.resumes) == (1, 1)
        assert not ready_again.done()
        ready_again.cancel()


async def test_every_shard_resumes() -> None:
    async with (
        LoopbackDiscord(guilds=3) as discord_,
        running_bot(discord_, cls=commands.AutoShardedBot, shard_count=3),
    ):
        await discord_.drop_gateways()
        await discord_.wait_until(lambda: discord_.resumes == 3)
        assert discord_.identifies == 3


@pytest.mark.parametrize("cls", [commands.Bot, commands.AutoShardedBot])
async def test_a_cut_bot_identifies_again_if_it_cannot_resume(cls: type[commands.Bot]) -> None:
    async with LoopbackDiscord(guilds=2) as discord_, running_bot(discord_, cls=cls) as bot:
        ready_again = asyncio.ensure_future(bot.wait_for("ready", timeout=5))
        await asyncio.sleep(0)
        await discord_.drop_gateways(resumable=False)
        await ready_again
        assert (discord_.identifies, discord_.resumes) == (2, 0)
        assert len(bot.guilds) == 2


@pytest.mark.parametrize(
    ("close_code", "missed", "op"),
    [(1000, 0, 9), (1001, 0, 9), (4000, 0, 0), (4000, REPLAY_LIMIT, 0), (4000, REPLAY_LIMIT + 1, 9)],
)
async def test_a_session_ends_with_a_clean_close_or_when_too_much_is_missed(
    close_code: int, missed: int, op: int
) -> None:
    async with LoopbackDiscord(guilds=1) as discord_:
        guild = discord_.guilds[0]
        async with RawGateway(discord_) as gateway:
            await gateway.send(2, {"token": TOKEN, "intents": 0})
            _, ready = await gateway.receive()
            await gateway.receive()
            await gateway.close(close_code)
        for number in range(missed):
            discord_.gateway.dispatch("EVENT", guild, {"id": str(number)})
        async with RawGateway(discord_) as gateway:
            await gateway.send(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 2})
            assert (await gateway.receive())[0] == op


async def test_a_heartbeat_is_acknowledged() -> None:
    async with LoopbackDiscord() as discord_, RawGateway(discord_) as gateway:
        await gateway.send(1, None)
        assert await gateway.receive() == (11, None)


async def test_an_acknowledgement_is_under_way_for_a_while_and_holds_up_nothing() -> None:
    async with LoopbackDiscord() as discord_, RawGateway(discord_) as gateway:
        await gateway.send(1, None)
        await gateway.send(2, {"token": TOKEN, "intents": 0})
        assert [(await gateway.receive())[0] for _ in range(2)] == [0, 11]


async def test_acknowledgements_come_after_the_bot_has_noticed_its_heartbeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise discord.py adds the interval of heartbeats to its latency."""
    monkeypatch.setattr("loopback.gateway.HEARTBEAT_INTERVAL", 100)
    monkeypatch.setattr("loopback.gateway.ROUND_TRIP", 0.2)  # more than a busy machine keeps a thread waiting
    submit = asyncio.run_coroutine_threadsafe
    noticed = 0
    acknowledged: list[int] = []
    enough = asyncio.Event()

    class Sending:
        """What discord.py's thread gets when it sends a heartbeat."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._future = submit(*args, **kwargs)

        def result(self, timeout: float | None = None) -> Any:
            nonlocal noticed
            result = self._future.result(timeout)
            noticed += 1
            return result

    async def setup(bot: commands.Bot) -> None:
        async def on_socket_raw_receive(message: str) -> None:
            if json.loads(message)["op"] == 11:
                acknowledged.append(noticed)
                if len(acknowledged) == 5:
                    enough.set()

        bot.add_listener(on_socket_raw_receive)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", Sending)
    async with LoopbackDiscord() as discord_, running_bot(discord_, setup=setup, enable_debug_events=True):
        await asyncio.wait_for(enough.wait(), 30)
    # The first heartbeat is not the thread's.
    assert all(count >= number for number, count in enumerate(acknowledged))


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        (2, {"token": "wrong", "intents": 0}, 4004),
        (2, {"token": TOKEN, "intents": 0, "shard": [2, 2]}, 4010),
        (8, {"guild_id": "1", "query": "", "limit": 0}, 4003),
    ],
)
async def test_a_wrong_frame_closes_the_socket_with_its_code(
    op: int, data: dict[str, Any], code: int
) -> None:
    async with LoopbackDiscord() as discord_, RawGateway(discord_) as gateway:
        await gateway.send(op, data)
        assert await gateway.close_code() == code


@pytest.mark.parametrize(("op", "code"), [(2, 4005), (99, 4001)])
async def test_a_wrong_frame_after_identify_closes_the_socket_with_its_code(op: int, code: int) -> None:
    async with LoopbackDiscord() as discord_, RawGateway(discord_) as gateway:
        await gateway.send(2, {"token": TOKEN, "intents": 0})
        assert (await gateway.receive())[0] == 0
        await gateway.send(op, {"token": TOKEN, "intents": 0})
        assert await gateway.close_code() == code


async def test_events_that_were_sent_but_not_received_are_replayed() -> None:
    async with LoopbackDiscord(guilds=1) as discord_:
        async with RawGateway(discord_) as gateway:
            await gateway.send(2, {"token": TOKEN, "intents": 0})
            _, ready = await gateway.receive()
            for name in ("one", "two", "three"):
                discord_.gateway.dispatch("EVENT", discord_.guilds[0], {"name": name})
            assert [(await gateway.receive())[1]["name"] for _ in range(4)] == [
                "Tea House",
                "one",
                "two",
                "three",
            ]
            await gateway.close(4000)
        discord_.gateway.dispatch("EVENT", discord_.guilds[0], {"name": "four"})
        async with RawGateway(discord_) as gateway:
            await gateway.send(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 3})
            assert [(await gateway.receive())[1].get("name") for _ in range(4)] == [
                "two",
                "three",
                "four",
                None,
            ]


async def test_a_session_that_is_resumed_twice_belongs_to_the_newer_socket() -> None:
    async with LoopbackDiscord() as discord_, RawGateway(discord_) as old, RawGateway(discord_) as new:
        await old.send(2, {"token": TOKEN, "intents": 0})
        _, ready = await old.receive()
        async with asyncio.TaskGroup() as group:
            end_of_old = group.create_task(old.close_code())
            await new.send(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 1})
        assert end_of_old.result() == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        assert await new.receive() == (0, {})
        discord_.add_guild(name="For The Newer One")
        assert (await new.receive())[1]["name"] == "For The Newer One"


async def test_events_go_out_in_the_order_they_happened() -> None:
    async with LoopbackDiscord(guilds=1) as discord_, running_bot(discord_) as bot:
        guild = discord_.guilds[0]
        seen: list[str] = []

        async def on_message(message: discord.Message) -> None:
            seen.append(message.content)

        bot.add_listener(on_message)
        for number in range(200):
            if number == 100:
                await discord_.drop_gateways()
            await discord_.say(guild.text_channels[0], guild.members[0], str(number))
        await bot.wait_for("message", check=lambda message: message.content == "199", timeout=5)
    assert seen == [str(number) for number in range(200)]


async def test_a_session_forgets_events_beyond_its_limit() -> None:
    world = World()
    guild = world.make_guild(name=None, members=1, text_channels=0, voice_channels=0, roles=0)
    session = Session("0", intents=0, shard=None)
    assert session.sees(guild)
    sink = Sink(wanted=REPLAY_LIMIT + 10)
    for number in range(REPLAY_LIMIT + 10):
        session.dispatch("EVENT", {"number": number})
    pump = asyncio.create_task(session.pump(sink))  # pyright: ignore[reportArgumentType]
    await sink.full.wait()
    pump.cancel()
    assert not session.rewind(9)
    assert not session.rewind(REPLAY_LIMIT + 11)
    assert session.rewind(10)


class Sink:
    """In place of a socket: counts what is sent."""

    def __init__(self, wanted: int) -> None:
        self.full = asyncio.Event()
        self._wanted = wanted

    async def send_str(self, data: str) -> None:
        self._wanted -= 1
        if self._wanted == 0:
            self.full.set()


class RawGateway:
    """A gateway client without discord.py, for what that would never do."""

    def __init__(self, discord_: LoopbackDiscord) -> None:
        self._session = aiohttp.ClientSession(connector=LoopbackConnector(discord_.port))

    async def __aenter__(self) -> RawGateway:
        self._socket = await self._session.ws_connect("wss://gateway.discord.gg/")
        assert (await self.receive())[0] == 10
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, op: int, data: object) -> None:
        await self._socket.send_json({"op": op, "d": data})

    async def receive(self) -> tuple[int, Any]:
        frame = json.loads(await self._socket.receive_str(timeout=5))
        return frame["op"], frame["d"]

    async def close(self, code: int) -> None:
        await self._socket.close(code=code)

    async def close_code(self) -> int | None:
        message = await self._socket.receive(timeout=5)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        return self._socket.close_code
