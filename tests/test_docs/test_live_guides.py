"""The guides about what lives longer than a request: streams, events, lost connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from discord_tools import ipc
from equipment.until import PATIENCE, until
from loopback import LoopbackDiscord
from test_docs.blocks import checks
from test_docs.programs import port_of
from test_docs.reader import Reader


def reading(page: Reader, name: str) -> asyncio.Task[None]:
    """Runs a block whose loop has no end. Cancelling the task ends it."""
    return asyncio.create_task(page.run(name))


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled(), task.exception()


async def printed(page: Reader, text: str) -> None:
    """Waits until that, and nothing else, has been printed."""
    shown = ""

    def is_shown() -> bool:
        nonlocal shown
        shown += page.output()
        return shown.rstrip() == text.rstrip()

    await until(is_shown)


async def subscribed(page: Reader) -> None:
    """Waits until the bot knows of what a block has subscribed to in its first step: it takes calls in their order."""
    for _ in range(2):  # the first time, that step is not done yet
        async with page.names["ipc"].subscribe("nothing"):
            pass


# ---------------------------------------------------------------- cogs


@checks("cogs-stream", "cogs-idempotent")
async def test_routes_that_stream_or_may_run_twice_are_declared(page: Reader, bot: Any) -> None:
    await page.run("cogs-stream")
    await page.run("cogs-idempotent")
    guild = bot.get_guild(page.names["guild_id"])
    assert bot.ipc.routes["/topic"].idempotent
    assert not bot.ipc.routes["/channel_names"].idempotent
    session = page.names["ipc"]
    names = [name async for name in session.stream("channel_names", guild=guild.id)]
    assert names == [channel.name for channel in guild.channels]
    assert await session.request("topic", channel=guild.text_channels[0].id) is None


# ---------------------------------------------------------------- streams


@checks("streams-route", "streams-read", "streams-read-output", "streams-typed")
async def test_the_stream_of_the_guide_is_read(page: Reader) -> None:
    await page.run("streams-route")
    await page.run("streams-read")
    page.sees("streams-read-output")
    await page.run("streams-typed")
    assert page.names["names"] == page.text("streams-read-output").split()
    with pytest.raises(ipc.InvalidRequest, match="stream"):
        await page.names["ipc"].request("member_names", guild=page.names["guild_id"])
    with pytest.raises(ipc.InvalidRequest, match="request"):
        await anext(page.names["ipc"].stream("guilds"))


@checks("streams-finally", "streams-break", "streams-break-output")
async def test_a_reader_that_leaves_closes_the_generator(page: Reader) -> None:
    await page.run("streams-finally")
    await page.run("streams-break")
    await printed(page, page.text("streams-break-output"))

    async def plain() -> None:
        async for _ in page.names["ipc"].stream("clock", seconds=0.01):
            break

    await plain()
    await printed(page, page.text("streams-break-output"))


@checks("streams-error", "streams-error-caught", "streams-error-output")
async def test_an_error_comes_after_the_items_before_it(page: Reader) -> None:
    await page.run("streams-error")
    await page.run("streams-error-caught")
    page.sees("streams-error-output")


# ---------------------------------------------------------------- events


@checks("events-publish", "events-subscribe", "events-subscribe-output")
async def test_what_is_published_comes_to_the_subscriber(page: Reader) -> None:
    loop = reading(page, "events-subscribe")
    await subscribed(page)
    await page.run("events-publish")
    await printed(page, page.text("events-subscribe-output"))
    await ended(loop)


@checks("events-forward", "events-load", "events-load-output")
async def test_forwarded_events_have_what_the_guide_says(
    page: Reader, bot: Any, loopback: LoopbackDiscord
) -> None:
    await page.run("events-forward")
    guild = loopback.guilds[1]
    loop = reading(page, "events-load")
    await subscribed(page)
    async with page.names["ipc"].subscribe("member_join", "message", "message_edit") as events:
        member = await loopback.join(guild, name="ada")
        joined = await asyncio.wait_for(anext(events), PATIENCE)
        assert (joined.name, joined.data["user"]["id"]) == ("member_join", str(member.id))
        message = await loopback.say(guild.text_channels[0], member, "tea?")
        said = await asyncio.wait_for(anext(events), PATIENCE)
        assert (said.data["id"], said.data["content"]) == (str(message.id), "tea?")
        seen = bot.cached_messages[-1]
        bot.dispatch("message_edit", seen, seen)
        edited = await asyncio.wait_for(anext(events), PATIENCE)
        assert set(edited.data) == {"before", "after", "guild_id"}
        assert edited.data["guild_id"] == str(guild.id)
    await asyncio.wait_for(loop, PATIENCE)
    page.sees("events-load-output")


@checks("events-filter")
async def test_the_filters_of_the_guide_let_through_what_they_say(
    page: Reader, bot: Any, loopback: LoopbackDiscord
) -> None:
    guild = loopback.guilds[1]
    first, second = guild.text_channels
    page.names |= {"first_id": first.id, "second_id": str(second.id)}
    await page.run("events-filter")
    bot.ipc.forward("message")
    elsewhere = loopback.guilds[0].text_channels[0]
    async with page.names["here"] as here, page.names["either"] as either, page.names["people"] as people:
        await loopback.say(elsewhere, loopback.guilds[0].members[0], "elsewhere")
        await loopback.say(first, loopback.bot_user, "beep")
        await loopback.say(second, guild.members[0], "hello")
        for events, expected in (
            (here, ["beep", "hello"]),
            (either, ["beep", "hello"]),
            (people, ["hello"]),
        ):
            came = [(await asyncio.wait_for(anext(events), PATIENCE)).data["content"] for _ in expected]
            assert came == expected


@checks("events-gap", "events-after")
async def test_a_gap_is_seen_and_a_later_reader_goes_on_where_it_was(page: Reader, bot: Any) -> None:
    page.names["orders"] = []
    asked = 0

    async def orders(request: ipc.Request):
        nonlocal asked
        asked += 1
        return ["loaded"]

    bot.ipc.add_route(orders)
    loop = reading(page, "events-gap")
    await subscribed(page)
    await bot.ipc.publish("order", "tea")
    await until(lambda: page.names["orders"] == ["tea"])
    # A restart of the bot, as far as clients can tell.
    port = bot.ipc.multicast_port
    await bot.ipc.terminate_server()
    bot.ipc = ipc.Server(bot, multicast_port=port, secret_key=page.names["key"])
    bot.ipc.add_route(orders)
    await bot.ipc.start()
    await until(lambda: page.names["orders"] == ["loaded"])
    assert asked == 1
    await bot.ipc.publish("order", "cake")
    await until(lambda: page.names["orders"] == ["loaded", "cake"])
    await ended(loop)

    page.names.update(last_seq=1, last_epoch=None)
    await bot.ipc.publish("order", "milk")
    loop = reading(page, "events-after")
    await until(lambda: page.names["last_seq"] == 2)
    await ended(loop)


# ---------------------------------------------------------------- reconnecting


@checks("reconnecting-idempotent", "reconnecting-deadline")
async def test_the_routes_of_the_guide_work(page: Reader, bot: Any) -> None:
    await page.run("reconnecting-idempotent")
    assert bot.ipc.routes["/set_topic"].idempotent
    left: list[float] = []

    async def find(text: str) -> str:
        return text.upper()

    page.names["find"] = find
    await page.run("reconnecting-deadline")
    assert await page.names["ipc"].request("search", text="tea") == "TEA"

    async def never(text: str) -> None:
        left.append(1.0)
        await asyncio.Event().wait()

    page.names["find"] = never
    async with ipc.ClientSession(port=bot.ipc.port, secret_key=page.names["key"], timeout=0.3) as hasty:
        with pytest.raises((ipc.RequestTimeout, ipc.DeadlineExceeded, ipc.RouteFailed)):
            await hasty.request("search", text="tea")
    assert left


@checks("reconnecting-ready", "reconnecting-ready-output")
async def test_a_session_tells_and_awaits_its_state(page: Reader) -> None:
    await page.run("reconnecting-ready")
    page.sees("reconnecting-ready-output")


@checks("reconnecting-limits")
async def test_the_limits_of_the_guide_exist(page: Reader) -> None:
    await page.run("reconnecting-limits")
    session, server = page.names["session"], page.names["server"]
    assert session.connect_timeout == 10
    assert server.limits.resume_timeout == 30
    async with server, ipc.ClientSession(port=port_of(server.ws_url), secret_key=page.names["key"]) as one:
        assert one.is_connected()
    await session.close()


@checks("reconnecting-loops", "reconnecting-loops-output")
async def test_a_session_is_taken_over_by_one_loop_after_another(page: Reader) -> None:
    def program() -> None:
        exec(page.text("reconnecting-loops"), page.names)

    await asyncio.to_thread(program)
    page.sees("reconnecting-loops-output")
    await page.names["session"].close()


@checks("index-subscribe")
async def test_the_subscription_of_the_first_page_tells_who_joins(
    page: Reader, bot: Any, loopback: LoopbackDiscord
) -> None:
    bot.ipc.forward("member_join")
    loop = reading(page, "index-subscribe")
    await subscribed(page)
    await loopback.join(loopback.guilds[0], name="elsewhere")
    await loopback.join(loopback.guilds[1], name="ada")
    await printed(page, "Ada is here")
    await ended(loop)


@checks("events-publish-ids", "events-declare", "events-list", "events-list-output")
async def test_events_of_the_bots_own_have_ids_and_are_listed(page: Reader, bot: Any) -> None:
    page.names["user_id"] = 3
    ids = {"guild_id": page.names["guild_id"], "user_id": 3}
    async with page.names["ipc"].subscribe("level_up", filter=ids) as events:
        await page.run("events-publish-ids")
        assert (await asyncio.wait_for(anext(events), PATIENCE)).data == "Ada is on level 5"
    bot.ipc = ipc.Server(bot, multicast_port=bot.ipc.multicast_port, secret_key=page.names["key"])
    bot.ipc.forward("member_join")
    await page.run("events-declare")
    await bot.ipc.start()
    try:
        async with ipc.ClientSession(port=bot.ipc.port, secret_key=page.names["key"]) as session:
            page.names["ipc"] = session
            await page.run("events-list")
    finally:
        await bot.ipc.terminate_server()
    page.sees("events-list-output")


@checks("events-forward-groups", "events-forward-custom")
async def test_groups_and_events_of_the_bots_own_are_forwarded(page: Reader, bot: Any) -> None:
    await page.run("events-forward-groups")
    names = {event.name for event in await page.names["ipc"].events()}
    assert {"message", "raw_message_delete", "audit_log_entry_create"} <= names
    page.names["member"] = bot.get_guild(page.names["guild_id"]).members[0]
    async with page.names["ipc"].subscribe("level_up", guild_id=page.names["guild_id"]) as events:
        await page.run("events-forward-custom")
        event = await asyncio.wait_for(anext(events), PATIENCE)
    assert (event.data["level"], event.data["member"]["guild_id"]) == (5, str(page.names["guild_id"]))


@checks("moderation-bot", "moderation-intents", "moderation-dashboard", "moderation-dashboard-output")
async def test_the_moderation_log_of_the_guide_shows_what_was_done(
    page: Reader, bot: Any, loopback: LoopbackDiscord
) -> None:
    await page.run("moderation-bot")
    await page.run("moderation-intents")
    await page.run("moderation-dashboard")
    guild = loopback.guilds[1]
    channel, (ada, alan, *_) = guild.text_channels[0], guild.members
    old = [await loopback.say(channel, ada, "old") for _ in range(3)]
    await until(lambda: len(bot.cached_messages) == 3)
    bot._connection._messages.clear()  # they are older than the bot's cache
    following = asyncio.create_task(page.names["follow"](guild.id))
    await subscribed(page)
    message = await loopback.say(channel, ada, "frist")
    message = await loopback.edit(message, "first")
    await loopback.delete(message)
    await loopback.delete(old[0])
    await loopback.delete_many(old[1:])
    await loopback.ban(alan, ada)
    expected = page.text("moderation-dashboard-output").replace("1148709135978594304", str(old[0].id))
    await printed(page, expected)
    await ended(following)
    intents = page.names["intents"]
    assert (intents.members, intents.message_content, intents.moderation) == (True, True, True)
    assert intents.auto_moderation
