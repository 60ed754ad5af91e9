"""Events of discord.py, mirrored to subscribers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from discord_tools.ipc import ClientSession, Event, Gap, Server, Subscription
from equipment.key import KEY
from equipment.serving import connecting, serving
from equipment.until import until
from loopback import LoopbackDiscord
from loopback.bots import make_bot, running_bot
from loopback.server import TOKEN


async def take(subscription: Subscription, n: int) -> list[Event]:
    async with asyncio.timeout(10):
        return [await anext(subscription) for _ in range(n)]


@asynccontextmanager
async def forwarding(
    client: discord.Client, *events: str, subscribe: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[Subscription]:
    """A subscription to what a client forwards. ``options`` are those of the subscription, ``custom`` of forward()."""
    server = Server(client, port=0, secret_key=KEY, multicast=False)
    server.forward(*events, custom=options.pop("custom", ()))
    async with (
        server,
        connecting(server.port) as session,
        session.subscribe(*(subscribe or events), **options) as subscription,
    ):
        yield subscription


def raising(error: Exception) -> Any:
    """An object whose form fails."""

    class Broken:
        def __iter__(self) -> Any:
            raise error

    return Broken()


async def test_an_event_of_discord_comes_through_with_its_object(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], session: ClientSession
) -> None:
    server.forward("on_member_join")
    first, second = loopback_discord.guilds
    async with session.subscribe("member_join", guild_id=second.id) as subscription:
        await loopback_discord.join(first, name="elsewhere")
        await loopback_discord.join(second, name="ada")
        (event,) = await take(subscription, 1)
    assert event.name == "member_join"
    assert event.data["guild_id"] == str(second.id)
    assert "ada" in event.data["display_name"].lower()


async def test_a_log_of_one_channel_has_edits_deletions_and_reactions_of_messages_that_were_not_cached(
    loopback_discord: LoopbackDiscord,
) -> None:
    guild = loopback_discord.guilds[0]
    here, elsewhere = guild.text_channels
    ada, grace = guild.members[:2]
    old = [await loopback_discord.say(here, ada, f"message {n}") for n in range(3)]
    other = await loopback_discord.say(elsewhere, ada, "elsewhere")
    async with (
        running_bot(loopback_discord) as bot,
        forwarding(bot, "messages", "reactions", subscribe=EVERY_MESSAGE, channel_id=here.id) as log,
    ):
        for message in (old[0], other):
            await loopback_discord.edit(message, "changed")
            await loopback_discord.react(message, grace, "x")
            await loopback_discord.clear_reactions(message)
            await loopback_discord.delete(message)
        await loopback_discord.delete_many(old[1:])
        new = await loopback_discord.say(here, ada, "new")
        await loopback_discord.delete(new)
        events = await take(log, 7)
    assert [event.name for event in events] == [
        "raw_message_edit",
        "raw_reaction_add",
        "raw_reaction_clear",
        "raw_message_delete",
        "raw_bulk_message_delete",
        "message",
        "raw_message_delete",
    ]
    assert {event.data["channel_id"] for event in events} == {str(here.id)}
    assert events[0].data["message"]["content"] == "changed"
    assert events[3].data["cached_message"] is None
    assert events[4].data["ids"] == [str(message.id) for message in old[1:]]
    assert events[6].data["cached_message"]["content"] == "new"


EVERY_MESSAGE = (
    "message",
    "raw_message_edit",
    "raw_message_delete",
    "raw_bulk_message_delete",
    "raw_reaction_add",
    "raw_reaction_clear",
)


@pytest.mark.parametrize("key", ["guild_id", "channel_id", "message_id"])
async def test_cached_messages_are_found_by_every_id(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, key: str
) -> None:
    guild = loopback_discord.guilds[0]
    channel, ada = guild.text_channels[0], guild.members[0]
    message = await loopback_discord.say(channel, ada, "first")
    await loopback_bot.wait_for("message", timeout=5)
    wanted = {"guild_id": guild.id, "channel_id": channel.id, "message_id": message.id}[key]
    names = ("message_edit", "reaction_add", "reaction_clear", "bulk_message_delete")
    async with forwarding(loopback_bot, *names, filter={key: wanted}) as subscription:
        await loopback_discord.edit(message, "second")
        await loopback_discord.react(message, ada, "x")
        await loopback_discord.clear_reactions(message)
        await loopback_discord.delete_many([message])
        assert [event.name for event in await take(subscription, 4)] == list(names)


async def test_a_guild_that_is_left_is_found_by_its_id(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    first, second = loopback_discord.guilds
    async with forwarding(loopback_bot, "guild_remove", guild_id=second.id) as subscription:
        loopback_discord.remove_guild(first)
        loopback_discord.remove_guild(second)
        (event,) = await take(subscription, 1)
    assert event.data["id"] == str(second.id)


async def test_a_ban_is_found_by_the_moderator_in_the_audit_log_and_by_the_user_elsewhere(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    guild = loopback_discord.guilds[0]
    moderator, member, other = guild.members[:3]
    async with (
        forwarding(loopback_bot, "moderation", subscribe=MODERATION, user_id=member.id) as of_member,
        forwarding(loopback_bot, "audit_log_entry_create", user_id=moderator.id) as of_moderator,
    ):
        await loopback_discord.ban(other, moderator)
        await loopback_discord.ban(member, moderator, "spam")
        assert [event.name for event in await take(of_member, 2)] == ["member_ban", "raw_member_remove"]
        *_, entry = await take(of_moderator, 2)
    assert entry.data["action_type"] == discord.AuditLogAction.ban.value
    assert entry.data["reason"] == "spam"
    assert entry.data["guild_id"] == str(guild.id)
    assert (entry.data["user_id"], entry.data["target_id"]) == (str(moderator.id), str(member.id))


MODERATION = ("member_ban", "raw_member_remove", "audit_log_entry_create", "raw_message_delete")


async def test_what_happens_next_to_an_object_is_not_in_its_event(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    # Both come in one turn of the loop, and discord.py has one object for both.
    guild = loopback_bot.guilds[0]
    member = guild.members[0]
    async with forwarding(loopback_bot, "member_update") as subscription:
        for nick in ("one", "two"):
            before = discord.Member._copy(member)  # pyright: ignore[reportPrivateUsage]
            member.nick = nick
            loopback_bot.dispatch("member_update", before, member)
        events = await take(subscription, 2)
    assert [event.data["after"]["nick"] for event in events] == ["one", "two"]


# -- the client's own handlers


class Quiet(discord.Client):
    """A client with a handler of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.joined: list[str] = []

    async def on_member_join(self, member: discord.Member) -> None:
        self.joined.append(member.name)


async def test_a_plain_client_keeps_its_own_handler(loopback_discord: LoopbackDiscord) -> None:
    async with running_bot(loopback_discord, cls=Quiet) as client:
        async with forwarding(client, "member_join") as subscription:
            await loopback_discord.join(loopback_discord.guilds[0], name="ada")
            (event,) = await take(subscription, 1)
            await until(lambda: client.joined == ["ada"])
            assert event.data["display_name"] == "Ada"
        await loopback_discord.join(loopback_discord.guilds[0], name="bob")
        await until(lambda: client.joined == ["ada", "bob"])


async def test_a_handler_that_is_registered_later_does_not_end_forwarding(
    loopback_discord: LoopbackDiscord,
) -> None:
    async with (
        running_bot(loopback_discord, cls=discord.Client) as client,
        forwarding(client, "member_join") as subscription,
    ):
        heard: list[str] = []

        @client.event
        async def on_member_join(member: discord.Member) -> None:  # pyright: ignore[reportUnusedFunction]
            heard.append(member.name)

        await loopback_discord.join(loopback_discord.guilds[0], name="ada")
        await take(subscription, 1)
        await until(lambda: heard == ["ada"])


async def test_a_bot_still_logs_the_errors_of_commands_that_it_forwards(
    loopback_discord: LoopbackDiscord, caplog: pytest.LogCaptureFixture
) -> None:
    async def setup(bot: commands.Bot) -> None:
        @bot.command()
        async def fail(context: commands.Context[commands.Bot]) -> None:  # pyright: ignore[reportUnusedFunction]
            raise ValueError("no tea")

    guild = loopback_discord.guilds[0]
    async with (
        running_bot(loopback_discord, setup=setup) as bot,
        forwarding(
            bot, "commands", subscribe=("command", "command_error"), guild_id=guild.id
        ) as subscription,
    ):
        message = await loopback_discord.say(guild.text_channels[0], guild.members[0], "!fail")
        command, failed = await take(subscription, 2)
        await until(lambda: "Ignoring exception in command fail" in caplog.text)
    assert (command.name, command.data["command"]) == ("command", "fail")
    assert failed.data["message"]["id"] == str(message.id)
    assert failed.data["author"]["user"]["username"] == "ada"
    assert failed.data["error"]["type"] == "CommandInvokeError"
    assert "no tea" in failed.data["error"]["message"]


async def test_a_command_of_the_tree_is_named_with_its_user(loopback_bot: commands.Bot) -> None:
    async def callback(interaction: discord.Interaction) -> None: ...

    command = app_commands.Command(name="tea", description="...", callback=callback)
    member = loopback_bot.guilds[0].members[0]
    interaction = WithAttributes(guild_id=1, channel_id=2, user=member)
    async with forwarding(loopback_bot, "app_command_completion", user_id=member.id) as subscription:
        loopback_bot.dispatch("app_command_completion", interaction, command)
        (event,) = await take(subscription, 1)
    assert (event.data["command"], event.data["channel_id"]) == ("tea", "2")


class WithAttributes(dict[str, Any]):
    """Something with attributes that can be written."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(n=1)
        vars(self).update(attributes)


async def test_exceptions_of_handlers_are_forwarded_whichever_handler_of_errors_there_is(
    loopback_discord: LoopbackDiscord,
) -> None:
    handled: list[str] = []
    guild = loopback_discord.guilds[0]

    async def setup(bot: commands.Bot) -> None:
        async def fail(message: discord.Message) -> None:
            raise ValueError(message.content)

        bot.add_listener(fail, "on_message")

    async with running_bot(loopback_discord, setup=setup) as bot:
        async with forwarding(bot, "error", "socket_event_type", subscribe=("error",)) as subscription:
            await loopback_discord.say(guild.text_channels[0], guild.members[0], "first")
            (event,) = await take(subscription, 1)
            assert event.data == {"event": "message", "error": {"type": "ValueError", "message": "first"}}

            @bot.event
            async def on_error(event: str, /, *args: Any, **kwargs: Any) -> None:  # pyright: ignore[reportUnusedFunction]
                handled.append(event)

            await loopback_discord.say(guild.text_channels[0], guild.members[0], "second")
            (event,) = await take(subscription, 1)
            assert event.data["error"]["message"] == "second"
            await until(lambda: handled == ["on_message"])
        assert vars(bot)["on_error"] is on_error


async def test_a_bot_hears_nothing_of_it_after_the_server_has_ended(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    server = Server(loopback_bot, port=0, secret_key=KEY, multicast=False)
    server.forward("member_join", "error")
    waiting: Any = loopback_bot
    async with server:
        assert len(waiting._listeners["member_join"]) == 1
        assert "on_error" in vars(loopback_bot)
    await loopback_discord.join(loopback_discord.guilds[0])
    await loopback_bot.wait_for("member_join", timeout=5)
    await until(lambda: not waiting._listeners.get("member_join"))
    assert "on_error" not in vars(loopback_bot)


async def test_a_server_that_starts_again_publishes_once(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    server = Server(loopback_bot, port=0, secret_key=KEY, multicast=False)
    server.forward("member_join", "member_join")
    server.forward("members")
    await server.start()
    await server.terminate_server()
    async with server, connecting(server.port) as session, session.subscribe("member_join") as subscription:
        for name in ("ada2", "bob2"):
            await loopback_discord.join(loopback_discord.guilds[0], name=name)
        events = await take(subscription, 2)
    assert [event.data["user"]["username"] for event in events] == ["ada2", "bob2"]


async def test_a_server_that_starts_before_its_bot_forwards_from_log_in_on(
    loopback_discord: LoopbackDiscord,
) -> None:
    bot = make_bot(loopback_discord, cls=discord.Client)
    async with serving(bot) as server:  # pyright: ignore[reportArgumentType]
        server.forward("guild_join", custom=["late"])
        async with (
            connecting(server.port) as session,
            session.subscribe("late", "guild_join") as subscription,
            bot,
        ):
            await bot.login(TOKEN)
            waiting: Any = bot
            await until(lambda: bool(waiting._listeners.get("late")))
            bot.dispatch("late", 1)
            (event,) = await take(subscription, 1)
            assert event.data == 1


# -- events of the bot's own


async def test_events_that_the_bot_dispatches_itself_are_forwarded_if_they_are_named_as_such(
    loopback_bot: commands.Bot,
) -> None:
    guild = loopback_bot.guilds[0]
    async with forwarding(
        loopback_bot,
        subscribe=("level_up", "quiet"),
        custom={"level_up": ("member", "level"), "on_quiet": ()},
        guild_id=guild.id,
    ) as subscription:
        loopback_bot.dispatch("level_up", loopback_bot.guilds[1].members[0], 3)
        loopback_bot.dispatch("level_up", guild.members[0], 4)
        loopback_bot.dispatch("quiet", {"guild_id": str(guild.id)})
        first, second = await take(subscription, 2)
    assert (first.data["level"], first.data["guild_id"]) == (4, str(guild.id))
    assert second.data == {"guild_id": str(guild.id)}


@pytest.mark.parametrize(
    ("events", "custom", "text"),
    [
        (("mesage",), (), "'mesage'.*did you mean 'message'"),
        (("moderatoin",), (), "did you mean 'moderation'"),
        (("zzzzzzzz",), (), r"nor is this a group of events\. For an event"),
        (("",), (), "''"),
        (("x" * 10_000,), (), "x{100}'"),
        ((), ("message",), "'message' is an event of discord.py"),
        ((), ("messages",), "group"),
        ((), ("LevelUp",), "lower case"),
        ((), ("on_",), "lower case"),
        ((), {"level_up": ("a", "a")}, "same name"),
    ],
)
async def test_names_that_are_not_there_are_refused_and_nothing_is_added(
    events: Any, custom: Any, text: str
) -> None:
    server = Server(discord.Client(intents=discord.Intents.all()), port=0)
    with pytest.raises(ValueError, match=text) as caught:
        server.forward("member_join", *events, custom=custom)
    assert len(str(caught.value)) < 400
    assert not server._shared.hub.known  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("events", "custom"), [((5,), ()), ((), "level_up"), ((), [5]), ((), {"level_up": "member"})]
)
async def test_names_of_other_types_are_refused(events: Any, custom: Any) -> None:
    server = Server(discord.Client(intents=discord.Intents.all()), port=0)
    with pytest.raises(TypeError):
        server.forward(*events, custom=custom)


async def test_an_event_can_be_declared_published_and_forwarded_again_with_other_arguments(
    loopback_bot: commands.Bot, server: Server[commands.Bot], session: ClientSession
) -> None:
    server.add_event("level_up", int)
    await server.publish("level_up", 1)
    async with session.subscribe("level_up") as subscription:
        server.forward(custom={"level_up": ["level", "who"]})
        loopback_bot.dispatch("level_up", 2, "ada")
        server.forward(custom={"level_up": ["level", "member"]})
        loopback_bot.dispatch("level_up", 3, "ada")
        first, second = await take(subscription, 2)
    assert (first.data, second.data) == ({"level": 2, "who": "ada"}, {"level": 3, "member": "ada"})


# -- what cannot happen, and what cannot be written


async def test_events_that_the_intents_keep_from_happening_are_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(commands.Bot("!", intents=discord.Intents.default()), port=0)
    server.forward("member_join", "message", "presence_update", "raw_typing")
    server.forward("members")
    server.forward("member_join")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "member_join (members), presence_update (members, presences)" in lines[0]
    assert "raw_typing" not in lines[0]
    assert "member_join" not in lines[1]
    assert "member_remove (members)" in lines[1]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("shard_ready", "AutoSharded"),
        ("on_shard_ready", "AutoSharded"),
        ("command", "commands.Bot"),
        ("socket_raw_send", "enable_debug_events"),
    ],
)
async def test_events_of_other_kinds_of_clients_are_logged(
    caplog: pytest.LogCaptureFixture, event: str, text: str
) -> None:
    server = Server(discord.Client(intents=discord.Intents.all()), port=0)
    server.forward("connection", "commands")
    assert caplog.text == ""
    server = Server(discord.Client(intents=discord.Intents.all()), port=0)
    server.forward(event)
    assert text in caplog.text


async def test_an_event_that_cannot_be_written_is_one_line_and_a_gap_and_the_next_one_comes(
    loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="discord_tools")
    async with forwarding(loopback_bot, subscribe=("odd", "fine"), custom=["odd", "fine"]) as subscription:
        for value in (object(), raising(RuntimeError("x" * 10_000)), "good"):
            loopback_bot.dispatch("odd", value)
        loopback_bot.dispatch("fine", 1)
        *gaps, odd, fine = await take(subscription, 4)
    assert all(isinstance(gap, Gap) and gap.missed == 1 for gap in gaps)
    assert (odd.data, odd.seq, fine.data) == ("good", 3, 1)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "event odd" in line
    assert "object" in line
    assert len(line) < 1000


async def test_nothing_is_made_of_an_event_that_no_subscriber_can_get(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async with forwarding(loopback_bot, subscribe=("odd",), custom=["odd"], guild_id=1) as subscription:
        loopback_bot.dispatch("odd", SimpleNamespace(guild=SimpleNamespace(id=2)))  # could not be written
        loopback_bot.dispatch("odd", WithAttributes(guild=SimpleNamespace(id=1)))
        (event,) = await take(subscription, 1)
    assert (event.seq, event.data) == (2, {"n": 1})
    assert not caplog.records


async def test_all_events_can_be_described(server: Server[commands.Bot], session: ClientSession) -> None:
    server.forward("*")
    found = {event.name: event for event in await session.events()}
    assert len(found) == 102
    assert found["member_join"].data["$ref"] == "#/components/schemas/Member"
    schemas = found["member_join"].data["components"]["schemas"]
    assert schemas["Member"]["properties"]["guild_id"]["pattern"] == "^[0-9]+$"
    banned = found["member_ban"].data["properties"]
    assert banned["guild"] == {"$ref": "#/components/schemas/Guild"}
    either = [{"$ref": f"#/components/schemas/{name}"} for name in ("Member", "User")]
    assert banned["user"] == {"anyOf": either}
    emojis = found["guild_emojis_update"].data["properties"]["after"]
    assert emojis == {"type": "array", "items": {"$ref": "#/components/schemas/Emoji"}}
    assert found["member_join"].filter == ("guild_id", "user_id")
    assert found["raw_message_delete"].filter == ("guild_id", "channel_id", "user_id", "message_id")
    assert set(found["message_edit"].data["properties"]) == {"before", "after", "guild_id"}
    assert json.dumps(found["ready"].data) == "{}"
