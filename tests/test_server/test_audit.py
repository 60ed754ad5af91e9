"""``on_ipc_audit``: an entry for each call, in each dialect, with who called what and the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import FrozenInstanceError
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import AuditEntry, Forbidden, Request, Route, RouteError
from discord_tools.ipc_server.access import checked_scopes
from discord_tools.ipc_server.caller import Caller
from equipment.handlers import WaitingHandler
from equipment.until import until
from test_server.callers import MakeCaller, in_each_dialect
from test_server.tools import CALLER, Failed, RecordedEvents, caller, jsonrpc, memory_server, native_client

STATUS = caller(key="status", scopes=frozenset({"read"}))


class Entries(list[AuditEntry]):
    """What a bot's listener gets."""

    def __init__(self, client: commands.Bot) -> None:
        super().__init__()
        client.add_listener(self._listener, "on_ipc_audit")

    async def _listener(self, entry: AuditEntry) -> None:
        self.append(entry)

    async def next(self, count: int = 1) -> list[AuditEntry]:
        """Waits for the next entries and takes them."""
        await until(lambda: len(self) >= count)
        taken = self[:]
        self.clear()
        return taken


@pytest.fixture
def entries(bot: commands.Bot) -> Entries:
    return Entries(bot)


async def answer(request: Request) -> str:
    return "answer"


async def refuse(request: Request) -> None:
    raise RouteError(404, "there is none")


async def fail(request: Request) -> None:
    raise ValueError("a bug")


async def count(request: Request) -> AsyncIterator[int]:
    for number in range(3):
        yield number


@in_each_dialect
async def test_an_entry_says_who_called_what_and_the_outcome(
    bot: commands.Bot, entries: Entries, make: MakeCaller
) -> None:
    async with memory_server(bot) as server:
        route = server.add_route(answer)
        server.add_route(refuse)
        server.add_route(fail)
        client = make(server, CALLER)
        for name in ("answer", "refuse", "fail", "none"):
            await client.call(name, guild_id="5")
        first, second, third, fourth = await entries.next(4)
    assert (first.outcome, first.code) == ("ok", None)
    assert (second.outcome, second.code) == ("RouteError", 404)
    assert (third.outcome, third.code) == ("RouteFailed", -32603)
    assert (fourth.outcome, fourth.code) == ("UnknownEndpoint", -32601)
    assert [entry.endpoint for entry in (first, second, third, fourth)] == [
        "/answer",
        "/refuse",
        "/fail",
        "/none",
    ]
    assert (first.route, fourth.route) == (route, None)
    for entry in (first, second, third, fourth):
        assert (entry.caller.key, entry.caller.address) == ("secret_key", "192.0.2.1")
        assert (entry.kind, entry.guild_id, entry.user, entry.events) == ("request", 5, None, ())
        assert 0 <= entry.duration < 60


async def test_a_call_that_a_key_does_not_open_has_an_entry(bot: commands.Bot, entries: Entries) -> None:
    async with memory_server(bot) as server:
        route: Route[Any] = Route(answer, scopes=checked_scopes({"moderate"}, "here"))
        server.table.add(route)
        async with server.session(STATUS) as session:
            with pytest.raises(Forbidden):
                await session.request("answer")
        (entry,) = await entries.next()
    assert (entry.outcome, entry.code, entry.caller.key, entry.route) == (
        "Forbidden",
        -32002,
        "status",
        route,
    )


async def test_a_stream_has_one_entry_at_its_end(bot: commands.Bot, entries: Entries) -> None:
    async with memory_server(bot) as server:
        server.add_route(count)
        async with server.session() as session:
            assert [item async for item in session.stream("count")] == [0, 1, 2]
        (entry,) = await entries.next()
    assert (entry.kind, entry.endpoint, entry.outcome) == ("stream", "/count", "ok")


async def test_a_subscription_has_an_entry_when_it_begins_with_its_events(
    bot: commands.Bot, entries: Entries
) -> None:
    async with memory_server(bot) as server:
        async with server.session() as session, session.subscribe("order", "visit"):
            (entry,) = await entries.next()
        async with server.session(STATUS) as session:
            with pytest.raises(Forbidden):
                async with session.subscribe("order"):
                    pytest.fail("it must not begin")
        (refused,) = await entries.next()
    assert (entry.kind, entry.endpoint, entry.outcome) == ("subscription", "rpc.subscribe", "ok")
    assert entry.events == ("order", "visit")
    assert (refused.outcome, refused.events, refused.caller) == ("Forbidden", ("order",), STATUS)


@pytest.mark.parametrize(("method", "outcome"), [("rpc.discover", "ok"), ("rpc.anything", "UnknownEndpoint")])
@pytest.mark.parametrize("dialect", ["native", "http"])
async def test_a_method_of_the_protocol_has_an_entry(
    bot: commands.Bot, entries: Entries, dialect: str, method: str, outcome: str
) -> None:
    async with memory_server(bot) as server:
        if dialect == "http":
            await server.post(jsonrpc(method), caller(dialect="http"))
        else:
            native = server.connect()
            await native.hello()
            await asyncio.wait((native.start_call(method),))
        (entry,) = await entries.next()
    assert (entry.kind, entry.outcome, entry.endpoint) == ("protocol", outcome, method)
    assert entry.caller.dialect == dialect


async def test_parameters_of_a_subscription_that_cannot_be_read_name_no_events(
    bot: commands.Bot, entries: Entries
) -> None:
    async with native_client(bot) as native:
        with pytest.raises(Failed):
            await native.call("rpc.subscribe", [5], credit=1)
        (entry,) = await entries.next()
    assert (entry.kind, entry.outcome, entry.events) == ("subscription", "BadData", ())


@in_each_dialect
async def test_a_call_that_is_not_admitted_has_an_entry(
    bot: commands.Bot, entries: Entries, make: MakeCaller
) -> None:
    async with memory_server(bot) as server:
        route = server.add_route(answer)
        client = make(server, CALLER)
        await client.call("answer")
        server.admission.draining = True
        await client.call("answer")
        _, refused = await entries.next(2)
        server.admission.draining = False
    assert (refused.outcome, refused.duration, refused.code) == ("NotReady", 0.0, -32003)
    assert refused.route is route


async def test_a_call_that_its_caller_cancels_has_that_outcome(bot: commands.Bot, entries: Entries) -> None:
    handler = WaitingHandler()
    async with native_client(bot) as native:
        native.add_route(handler.wait)
        calling = native.start_call("wait")
        await handler.started.wait()
        native.forget(calling)
        (entry,) = await entries.next()
    assert (entry.outcome, entry.code) == ("Cancelled", -32006)


@pytest.mark.parametrize(
    ("data", "guild"),
    [({"guild": 7}, 7), ({"guild_id": "8"}, 8), ({}, None), ({"guild": "x"}, None), ([1], None)],
)
async def test_an_entry_names_the_guild_of_the_data(
    bot: commands.Bot, entries: Entries, data: Any, guild: int | None
) -> None:
    async with native_client(bot) as native:
        native.add_route(answer)
        await native.call("answer", data)
        (entry,) = await entries.next()
    assert entry.guild_id == guild


async def test_data_that_is_no_object_names_no_guild(bot: commands.Bot, entries: Entries) -> None:
    async with native_client(bot) as native:
        native.add_route(answer)
        with pytest.raises(Failed):
            await native.call("answer", "text")
        (entry,) = await entries.next()
    assert (entry.outcome, entry.guild_id) == ("BadData", None)


async def test_an_entry_cannot_be_changed_and_is_one_safe_line(bot: commands.Bot, entries: Entries) -> None:
    async with native_client(bot) as native:
        with pytest.raises(Failed):
            await native.call("x\nforged" * 1000)
        (entry,) = await entries.next()
    with pytest.raises(FrozenInstanceError):
        entry.outcome = "ok"  # pyright: ignore[reportAttributeAccessIssue]
    assert str(entry).startswith("[conn-1001 192.0.2.1 key secret_key] request '/x\\nforged")
    assert str(entry).isprintable()
    assert len(str(entry)) < 400


async def test_no_entry_is_made_while_nobody_listens(
    bot: commands.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatched: list[str] = []
    monkeypatch.setattr(discord.Client, "dispatch", lambda self, event, *args: dispatched.append(event))
    RecordedEvents(bot)
    async with native_client(bot) as native:
        native.add_route(answer)
        await native.call("answer")
        await native.call("rpc.discover")
    assert dispatched == ["raw_ipc_request", "ipc_request_completion"]


async def test_a_listener_may_come_and_go_at_any_time(bot: commands.Bot) -> None:
    async with native_client(bot) as native:
        native.add_route(answer)
        await native.call("answer")
        waiting = asyncio.create_task(bot.wait_for("ipc_audit", timeout=5))
        await asyncio.sleep(0)
        await native.call("answer")
        assert isinstance(await waiting, AuditEntry)


def test_a_caller_of_an_entry_has_no_value_of_a_key() -> None:
    entry = AuditEntry(Caller("a", "b", "c", "d", credential=b"digest"), "request", "/x", "ok", None, 0.0)
    assert "digest" not in repr(entry)
