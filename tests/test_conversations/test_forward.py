"""Events of discord.py, mirrored to subscribers."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, Server
from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.forward import Forwarder, event_data
from equipment.key import KEY
from equipment.serving import connecting
from equipment.until import until
from loopback import LoopbackDiscord
from loopback.bots import running_bot


async def test_an_event_of_discord_comes_through_with_its_object(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], session: ClientSession
) -> None:
    server.forward("on_member_join")
    first, second = loopback_discord.guilds
    async with session.subscribe("member_join", guild_id=second.id) as subscription, asyncio.timeout(10):
        await loopback_discord.join(first, name="elsewhere")
        await loopback_discord.join(second, name="ada")
        event = await anext(subscription)
    assert event.name == "member_join"
    assert event.data["guild_id"] == str(second.id)
    assert "ada" in event.data["display_name"].lower()


async def test_an_event_with_several_arguments_is_an_object_of_them(loopback_bot: commands.Bot) -> None:
    guild = loopback_bot.guilds[0]
    before, after = guild.members[:2]
    data = event_data("member_update", (before, after))
    assert data == {"before": before, "after": after, "guild_id": str(guild.id)}
    assert event_data("typing", ("c", "u", "w")) == {"channel": "c", "user": "u", "when": "w"}
    assert event_data("own_event", (1, 2, 3)) == {"arg0": 1, "arg1": 2, "arg2": 3}
    assert event_data("ready", ()) == {}
    assert event_data("member_ban", (guild, after))["guild_id"] == str(guild.id)


async def test_a_plain_client_keeps_its_own_handler(loopback_discord: LoopbackDiscord) -> None:
    joined: list[str] = []

    class Client(discord.Client):
        async def on_member_join(self, member: discord.Member) -> None:
            joined.append(member.name)

    async with running_bot(loopback_discord, cls=Client) as client:
        server = Server(client, port=0, secret_key=KEY, multicast=False)
        server.forward("member_join", "member_join")
        async with (
            server,
            connecting(server.port) as session,
            session.subscribe("member_join") as subscription,
        ):
            await loopback_discord.join(loopback_discord.guilds[0], name="ada")
            async with asyncio.timeout(10):
                event = await anext(subscription)
            assert len(joined) == 1
            assert event.data["display_name"].lower() == joined[0].lower()
        await loopback_discord.join(loopback_discord.guilds[0], name="bob")
        await until(lambda: len(joined) == 2)
        assert "on_member_join" not in vars(client)


async def test_a_handler_of_the_client_itself_is_back_at_the_end() -> None:
    client = discord.Client(intents=discord.Intents.none())

    async def on_custom(value: int) -> None: ...

    client.on_custom = on_custom  # pyright: ignore[reportAttributeAccessIssue]
    forwarder = Forwarder(client, lambda name, data: None)
    forwarder.start()
    forwarder.add("custom")
    assert vars(client)["on_custom"] is not on_custom
    forwarder.stop()
    forwarder.stop()
    assert vars(client)["on_custom"] is on_custom


async def test_a_handler_that_came_after_ours_stays_at_the_end() -> None:
    client = discord.Client(intents=discord.Intents.none())
    forwarder = Forwarder(client, lambda name, data: None)
    forwarder.add("custom")
    forwarder.start()

    async def on_custom(value: int) -> None: ...

    client.event(on_custom)
    forwarder.stop()
    assert vars(client)["on_custom"] is on_custom


async def test_voice_states_and_reactions_can_be_forwarded(loopback_bot: commands.Bot) -> None:
    member = loopback_bot.guilds[0].members[0]
    state: Any = {"session_id": "s", "self_mute": True}
    voice = discord.VoiceState(data=state)
    data = json.loads(encode_answer(event_data("voice_state_update", (member, voice, voice))))
    assert data["guild_id"] == str(member.guild.id)
    assert (data["after"]["channel_id"], data["after"]["self_mute"]) == (None, True)

    message: Any = SimpleNamespace(id=1, channel=SimpleNamespace(id=2), guild=member.guild)
    payload: Any = {"emoji": {"id": None, "name": "x"}, "count": 3, "me": False}
    reaction = discord.Reaction(message=message, data=payload, emoji="x")
    assert json.loads(encode_answer(event_data("reaction_add", (reaction, member))))["reaction"] == {
        "message_id": "1",
        "channel_id": "2",
        "guild_id": str(member.guild.id),
        "emoji": {"id": None, "name": "x"},
        "count": 3,
        "me": False,
        "me_burst": False,
        "count_details": {"burst": 0, "normal": 0},
    }


async def test_an_event_that_cannot_be_written_is_not_kept_from_the_clients_own_handler() -> None:
    client = discord.Client(intents=discord.Intents.none())
    heard: list[object] = []

    async def on_custom(value: object) -> None:
        heard.append(value)

    def publish(name: str, data: object) -> None:
        raise TypeError("it cannot be written as JSON")

    client.on_custom = on_custom  # pyright: ignore[reportAttributeAccessIssue]
    forwarder = Forwarder(client, publish)
    forwarder.add("custom")
    forwarder.start()
    with pytest.raises(TypeError):
        await client.on_custom("value")  # pyright: ignore[reportAttributeAccessIssue]
    assert heard == ["value"]


async def test_a_bot_hears_nothing_of_it_after_the_server_has_ended(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    server = Server(loopback_bot, port=0, secret_key=KEY, multicast=False)
    before = dict(loopback_bot.extra_events)
    server.forward("member_join")
    async with server:
        assert "on_member_join" in loopback_bot.extra_events
    left = {name: listeners for name, listeners in loopback_bot.extra_events.items() if listeners}
    assert left == {name: listeners for name, listeners in before.items() if listeners}
