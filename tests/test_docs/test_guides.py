"""The guides, read from top to bottom beside a real bot."""

from __future__ import annotations

import asyncio
import functools
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools import ipc
from equipment.until import until
from loopback import TOKEN, LoopbackDiscord
from loopback.bots import make_bot, running_bot
from test_docs.blocks import checks
from test_docs.programs import point_at, port_of
from test_docs.reader import Reader


def called(bot: commands.Bot, event: str) -> asyncio.Event:
    """Set once the bot's own ``event`` has run: discord.py calls further listeners after it."""
    happened = asyncio.Event()

    async def listener(*_: object) -> None:
        happened.set()

    bot.add_listener(listener, event)
    return happened


# ---------------------------------------------------------------- parameters


@checks("parameters-first", "parameters-unknown", "parameters-unknown-output")
async def test_members_are_looked_up_and_one_who_does_not_exist_has_an_error_of_its_own(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    await page.run("parameters-first")
    guild = loopback.guilds[1]
    member = guild.members[0]
    data = {"guild": guild.id, "member": member.id}
    assert await page.names["ipc"].request("nick", **data) == member.user.display_name
    await page.run("parameters-unknown")
    page.sees("parameters-unknown-output")


@checks(
    "parameters-structure", "parameters-structure-call", "parameters-structure-output",
    "parameters-faults", "parameters-faults-output",
)  # fmt: skip
async def test_a_settings_form_becomes_objects_and_all_its_faults_are_listed(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    guild = loopback.guilds[1]
    page.names |= {"dataclass": dataclass, "role_id": guild.roles[1].id, "channel_id": guild.channels[0].id}
    await page.run("parameters-structure")
    await page.run("parameters-structure-call")
    page.sees("parameters-structure-output")
    await page.run("parameters-faults")
    page.sees("parameters-faults-output")


@checks("parameters-cached")
async def test_a_user_who_is_not_cached_is_not_fetched_if_marked_so(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    page.names["Annotated"] = Annotated
    await page.run("parameters-cached")
    session = page.names["ipc"]
    assert await session.request("is_known", user=loopback.guilds[1].members[0].id) is True
    assert await session.request("is_known", user=None) is False
    outsider = loopback.add_user()
    with pytest.raises(ipc.UnknownObject):
        await session.request("is_known", user=outsider.id)
    assert not loopback.rest.requests[f"GET /users/{outsider.id}"]


@checks("parameters-converter", "parameters-converter-class")
async def test_the_converters_of_the_guide_convert_and_refuse(page: Reader) -> None:
    page.names |= {"tickets": {5: {"title": "help"}}, "Annotated": Annotated, "Any": Any}
    await page.run("parameters-converter")
    session = page.names["ipc"]
    assert await session.request("ticket_title", ticket="5") == "help"
    with pytest.raises(ipc.RouteError, match="there is no such ticket"):
        await session.request("ticket_title", ticket=6)
    page.names["dataclass"] = dataclass
    await page.run("parameters-converter-class")
    assert await session.request("remind", after="5m") == 300
    with pytest.raises(ipc.BadData, match="a duration is a number with s, m or h"):
        await session.request("remind", after="soon")


@checks("parameters-callables")
async def test_partial_functions_are_routes(page: Reader) -> None:
    page.names["functools"] = functools
    await page.run("parameters-callables")
    session = page.names["ipc"]
    assert await session.request("shout", text="hi") == "HI!"
    assert await session.request("ask", text="hi") == "HI?"


# ---------------------------------------------------------------- routes and cogs


@checks("cogs-extension", "cogs-load")
async def test_the_cog_of_the_guide_loads_answers_and_reloads(
    page: Reader, loopback: LoopbackDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = page.save("cogs-extension")
    monkeypatch.syspath_prepend(str(file.parent))
    await page.run("cogs-load")
    guild, bot = loopback.guilds[1], page.names["bot"]
    assert page.names["names"] == [member.user.display_name for member in guild.members[:2]]
    # The guide says that the next call runs the new code.
    file.write_text(page.text("cogs-extension").replace("member.display_name", "member.name"), "utf-8")
    await bot.reload_extension("members")
    assert await page.names["ipc"].request("member_names", guild=page.names["guild_id"], limit=1) == [
        guild.members[0].name
    ]
    await bot.unload_extension("members")
    with pytest.raises(ipc.UnknownEndpoint):
        await page.names["ipc"].request("member_names", guild=page.names["guild_id"])


@checks("cogs-bot-class")
async def test_a_route_in_the_class_of_the_bot_is_there(
    page: Reader, loopback: LoopbackDiscord, key: str
) -> None:
    await page.run("cogs-bot-class")

    async def start(bot: Any) -> None:
        bot.ipc = ipc.Server(bot, secret_key=key, multicast=False)
        await bot.ipc.start()

    async with (
        running_bot(loopback, cls=page.names["Bot"], setup=start) as bot,
        ipc.ClientSession(port=port_of(bot.ipc.ws_url), secret_key=key) as session,
    ):
        assert await session.request("status") == {"user": str(bot.user), "guilds": 2}


@checks("cogs-add-route", "cogs-add-route-output")
async def test_routes_come_and_go_without_a_decorator(page: Reader, bot: Any) -> None:
    for name in list(bot.ipc.routes):
        bot.ipc.remove_route(name)
    await page.run("cogs-add-route")
    page.sees("cogs-add-route-output")
    assert await page.names["ipc"].request("alive") == "pong"


@checks("cogs-parameters")
async def test_the_parameters_of_the_guide_arrive_converted_and_everything_else_is_refused(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    await page.run("cogs-parameters")
    session, guild = page.names["ipc"], loopback.guilds[1]
    member = guild.members[0]
    data = {"guild": guild.id, "member": str(member.id), "roles": [role.id for role in guild.roles]}
    assert await session.request("add_role", **data) == len(guild.roles)
    for wrong, path in [({"roles": ["x"]}, "roles[0]"), ({"guild": 1}, "guild"), ({"colour": 1}, "colour")]:
        with pytest.raises(ipc.BadData) as caught:
            await session.request("add_role", **{**data, **wrong})
        assert path in [error["path"] for error in caught.value.errors]
    with pytest.raises(ipc.BadData):
        await session.request("rename", name="news")


@checks("cogs-mapping")
async def test_a_route_without_parameters_reads_the_request(page: Reader) -> None:
    await page.run("cogs-mapping")
    session = page.names["ipc"]
    assert await session.request("echo", text="hi", times=2) == {"text": "hi", "times": 2}
    assert await session.request("echo") == "you sent nothing"


@checks("cogs-respond")
async def test_a_route_may_answer_first_and_work_on(page: Reader, loopback: LoopbackDiscord) -> None:
    await page.run("cogs-respond")
    channel = loopback.guilds[1].text_channels[0]
    assert await page.names["ipc"].request("announce", channel=channel.id, text="tea!") == {"accepted": True}
    message = await loopback.wait_sent()
    assert (message.channel, message.content) == (channel, "tea!")


@checks("cogs-headers", "cogs-headers-output")
async def test_a_route_sees_the_headers_of_the_session(page: Reader) -> None:
    await page.run("cogs-headers")
    page.sees("cogs-headers-output")


# ---------------------------------------------------------------- answers


@checks("answers-full", "answers-only", "answers-encoder")
async def test_the_routes_of_the_guide_answer_with_the_fields_that_they_ask_for(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    session, guild = page.names["ipc"], loopback.guilds[1]
    await page.run("answers-full")
    settings = await session.request("settings", guild=guild.id)
    assert {role["name"] for role in settings["roles"]} == {role.name for role in guild.roles}
    assert "channels" in settings
    assert "members" not in settings
    await page.run("answers-only")
    nicknames = await session.request("nicknames", guild=guild.id)
    assert {each["user"]["id"] for each in nicknames} == {str(member.id) for member in guild.members}
    assert {*nicknames[0]} == {"user", "nick"}
    await page.run("answers-encoder")
    (warned,) = await session.request("warned", guild=guild.id)
    assert warned["points"] == 3
    assert warned["user"]["user"]["username"] == loopback.bot_user.name


# ---------------------------------------------------------------- errors


@checks("errors-handling")
async def test_the_handling_of_errors_covers_an_answer_a_refusal_and_a_bot_that_is_gone(page: Reader) -> None:
    await page.run("errors-handling")
    member_count = page.names["member_count"]
    assert await member_count(page.names["guild_id"]) == "3 members"
    assert (await member_count(1)).startswith("The bot says: ")
    await page.names["bot"].ipc.terminate_server()
    async with ipc.ClientSession(secret_key=page.names["key"], connect_timeout=0) as session:
        page.names["ipc"] = session
        assert await member_count(page.names["guild_id"]) == "The bot is not running."
    assert await member_count(page.names["guild_id"]) == "The bot could not answer. Try again."


@checks("errors-bad-data", "errors-bad-data-output")
async def test_bad_data_names_its_faults(page: Reader) -> None:
    await page.run("errors-bad-data")
    page.sees("errors-bad-data-output")


@checks("errors-route-error", "errors-route-error-caught", "errors-route-error-output")
async def test_a_route_says_no_and_the_caller_hears_it(page: Reader) -> None:
    await page.run("errors-route-error")
    await page.run("errors-route-error-caught")
    page.sees("errors-route-error-output")


@checks("errors-event")
async def test_the_event_for_errors_hears_of_a_route_that_fails(
    page: Reader, bot: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fails(request: ipc.Request):
        raise LookupError("secret")

    bot.ipc.add_route(fails)
    await page.run("errors-event")
    heard = called(bot, "on_ipc_error")
    with pytest.raises(ipc.RouteFailed) as caught:
        await page.names["ipc"].request("fails")
    await heard.wait()
    assert caught.value.error_id
    assert "secret" not in str(caught.value)
    assert capsys.readouterr().out == "/fails failed: LookupError('secret')\n"


@checks("errors-timeout")
async def test_the_time_limits_of_the_guide_are_parameters_of_the_session(page: Reader) -> None:
    await page.run("errors-timeout")
    session = page.names["session"]
    assert (session.timeout, session.connect_timeout) == (10, 1)
    await session.close()


@checks("errors-asyncio-timeout")
async def test_a_limit_around_one_request_lets_a_quick_one_through(page: Reader) -> None:
    await page.run("errors-asyncio-timeout")


# ---------------------------------------------------------------- life cycle


@checks("lifecycle-start")
async def test_the_bot_of_the_guide_starts_its_server_and_says_where(
    page: Reader, loopback: LoopbackDiscord, capsys: pytest.CaptureFixture[str]
) -> None:
    await page.run("lifecycle-start")
    bot = page.names["Bot"]()
    bot.http.connector = loopback.connector()  # the guide's class has no parameter for it
    async with bot:
        ready = called(bot, "on_ipc_ready")
        await bot.login(TOKEN)
        await ready.wait()
        assert capsys.readouterr().out == f"listening on {bot.ipc.ws_url}\n"
        assert bot.ipc.is_running()
    assert not bot.ipc.is_running()


@checks("lifecycle-context", "lifecycle-context-output")
async def test_a_server_runs_as_long_as_its_block(page: Reader) -> None:
    await page.run("lifecycle-context")
    page.sees("lifecycle-context-output")


@checks("lifecycle-gather")
async def test_requests_of_one_session_run_at_the_same_time(page: Reader) -> None:
    await page.run("lifecycle-gather")
    assert [guild["name"] for guild in page.names["guilds"]] == ["Discord Developers", "Tea House"]
    assert page.names["stats"] == {"name": "Tea House", "members": 3}


@checks("lifecycle-start-close", "lifecycle-start-close-output")
async def test_a_session_starts_and_closes_by_hand(page: Reader) -> None:
    await page.run("lifecycle-start-close")
    page.sees("lifecycle-start-close-output")
    assert page.names["session"].is_closed()


@checks("lifecycle-memory", "lifecycle-memory-output")
async def test_a_session_and_a_server_meet_in_memory(page: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(monkeypatch, 20000)  # a connector replaces the multicast port, which must not be given beside it
    await page.run("lifecycle-memory")
    page.sees("lifecycle-memory-output")


@checks("lifecycle-blocking")
async def test_a_route_that_blocks_the_loop_is_named_as_in_the_guide(
    page: Reader, bot: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def report(request: ipc.Request) -> None:
        time.sleep(1.2)  # noqa: ASYNC251 (the guide is about that)

    bot.ipc.add_route(report)
    await page.names["ipc"].request("report")
    logged = [f"{record.levelname} {record.name}: {record.getMessage()}" for record in caplog.records]
    assert page.text("lifecycle-blocking").strip() in logged


@checks("lifecycle-two-bots")
async def test_two_bots_have_ports_of_their_own(page: Reader, loopback: LoopbackDiscord) -> None:
    page.names |= {"music_bot": make_bot(loopback), "games_bot": make_bot(loopback)}
    async with page.names["music_bot"], page.names["games_bot"]:
        await page.run("lifecycle-two-bots")
        music, games, session = (page.names[name] for name in ("music", "games", "session"))
        assert len({music.port, games.port, music.multicast_port, games.multicast_port}) == 4
        assert session.multicast_port == games.multicast_port
        await session.close()


@checks("lifecycle-events", "lifecycle-events-output")
async def test_the_events_of_the_guide_are_called_before_and_after_the_route(page: Reader, bot: Any) -> None:
    await page.run("lifecycle-events")
    done = called(bot, "on_ipc_request_completion")
    await page.names["ipc"].request("guild_stats", guild=page.names["guild_id"])
    await done.wait()
    page.sees("lifecycle-events-output")


# ---------------------------------------------------------------- keys


@checks(
    "keys-server", "keys-routes", "keys-forbidden", "keys-forbidden-output", "keys-events", "keys-publish",
    "keys-change", "keys-rotate", "keys-rotated", "keys-expires", "keys-audit", "keys-audit-output",
)  # fmt: skip
async def test_the_keys_of_the_guide_open_what_they_name_and_change(
    page: Reader, bot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("panel_key", "status_key", "worker_key", "new_key", "contractor_key")
    page.names |= {name: f"the {name} of the guide" for name in names} | {"timedelta": timedelta}
    await bot.ipc.terminate_server()
    await page.run("keys-server")
    await bot.ipc.start()
    point_at(monkeypatch, port_of(bot.ipc.multicast_ws_url))
    await page.run("keys-routes")
    await page.run("keys-forbidden")
    page.sees("keys-forbidden-output")
    await page.run("keys-events")
    panel, status = (ipc.ClientSession(secret_key=page.names[name]) for name in names[:2])
    async with panel, status, panel.subscribe("warning") as one, status.subscribe("warning") as other:
        await page.run("keys-publish")
        assert [(await anext(one)).data["user"] for _ in range(2)] == ["Ada", "Grace"]
        await bot.ipc.publish("warning", {"user": "Edsger"})
        assert [(await anext(other)).data["user"] for _ in range(2)] == ["Ada", "Edsger"]
        await page.run("keys-change")
        with pytest.raises(ipc.Unauthorized):
            await anext(other)
        await page.run("keys-rotate")
        assert await panel.request("member_count", guild=page.names["guild_id"]) == 3
    await page.run("keys-rotated")
    with pytest.raises(ipc.Unauthorized):
        async with ipc.ClientSession(secret_key=page.names["panel_key"]):
            pytest.fail("it was revoked")
    async with ipc.ClientSession(secret_key=page.names["new_key"]) as panel:
        await page.run("keys-audit")
        entries: list[ipc.AuditEntry] = []

        async def listener(entry: ipc.AuditEntry) -> None:
            entries.append(entry)

        bot.add_listener(listener, "on_ipc_audit")  # called after the bot's own
        assert await panel.request("member_count", guild=page.names["guild_id"]) == 3
        with pytest.raises(ipc.UnknownEndpoint):
            await panel.request("nothing")
        await until(lambda: len(entries) == 2)
    page.sees("keys-audit-output")
    await page.run("keys-expires")
    for name in ("worker_key", "contractor_key"):
        async with ipc.ClientSession(secret_key=page.names[name]):
            pass


# ---------------------------------------------------------------- security


@checks("security-origins")
async def test_only_the_origin_of_the_guide_may_connect_from_a_browser(
    page: Reader, loopback: LoopbackDiscord, key: str
) -> None:
    async with running_bot(loopback) as other:
        page.names["bot"] = other
        await page.run("security-origins")
        async with (
            page.names["server"] as server,
            aiohttp.ClientSession(headers={"Authorization": key}) as http,
        ):
            protocols = ["discord-tools.ipc.1"]
            async with http.ws_connect(
                server.ws_url, origin="https://dashboard.example", protocols=protocols
            ):
                pass
        # Without the key: no page can set that header on a WebSocket.
        async with page.names["server"] as server, aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await http.ws_connect(server.ws_url, origin="https://elsewhere.example", protocols=protocols)


@pytest.mark.parametrize(
    "origins",
    [
        "https://dashboard.example",
        ["*"],
        ["dashboard.example"],
        ["https://dashboard.example/admin"],
        ["https://dashboard.example:443"],
    ],
)
async def test_origins_that_the_guide_lists_are_refused(loopback: LoopbackDiscord, origins: Any) -> None:
    async with make_bot(loopback) as bot:
        with pytest.raises((TypeError, ValueError), match="origin"):
            ipc.Server(bot, origins=origins)


# ---------------------------------------------------------------- limits


@checks("limits-small", "limits-stream")
async def test_the_limits_of_the_guide_leave_place_for_a_dashboard(
    page: Reader, loopback: LoopbackDiscord
) -> None:
    async with running_bot(loopback) as other:
        page.names["bot"] = other
        await page.run("limits-small")
        other.ipc = page.names["server"]
        await page.run("limits-stream")
        async with (
            page.names["server"] as server,
            ipc.ClientSession(port=server.port, secret_key=page.names["key"]) as session,
        ):
            members = [one async for one in session.stream("members", guild=page.names["guild_id"])]
            assert len(members) == 3


# ---------------------------------------------------------------- moving from an older library


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"secret_key": None}, ValueError),
        ({"secret_key": ""}, ValueError),
        ({"secret_key": "k" * 4097}, ValueError),
        ({"host": "ws://localhost"}, ValueError),
        ({"host": "localhost:8000"}, ValueError),
        ({"port": None}, TypeError),
        ({"port": 65536}, ValueError),
        ({"headers": {"authorization": "key"}}, ValueError),
        ({"timeout": -1}, ValueError),
    ],
)
def test_settings_that_the_guide_lists_are_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        ipc.ClientSession(**settings)
