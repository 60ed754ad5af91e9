"""Views of a session for acting users: the same methods, and never a call whose user the bot would ignore."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec import Struct

from discord_tools.ipc import ClientSession, SessionView, UnknownEndpoint, Unsupported
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc.transports.memory import MemoryTransport
from discord_tools.ipc.wire.frames import ActingAs
from equipment.peers import ScriptedBot
from equipment.serving import QUICK


class Bots:
    """What answers each connection, one after the other."""

    def __init__(self) -> None:
        self.scripts: list[Callable[[ScriptedBot], Any]] = []

    async def serve(self, transport: MemoryTransport) -> None:
        with contextlib.suppress(Closed):
            await (self.scripts.pop(0) if self.scripts else older)(ScriptedBot(transport))


@pytest.fixture
def bots() -> Bots:
    return Bots()


@pytest.fixture
async def session(bots: Bots) -> AsyncIterator[ClientSession]:
    async with ClientSession(
        connector=MemoryConnector(bots.serve), limits=QUICK, timeout=5, connect_timeout=2
    ) as session:
        yield session


async def understanding(bot: ScriptedBot) -> None:
    """A bot that takes acting users, and answers with the meta of each call."""
    await bot.welcome(features=["acting_as"])
    while True:
        frame = await bot.read()
        if "id" in frame:
            await bot.answer(frame, [frame.get("meta"), frame["params"], frame.get("headers")])


@pytest.fixture
async def view(bots: Bots) -> AsyncIterator[SessionView]:
    bots.scripts = [understanding]
    async with ClientSession(connector=MemoryConnector(bots.serve), limits=QUICK, timeout=None) as session:
        yield session.acting_as(5)


async def test_the_user_is_beside_the_data_and_the_headers(view: SessionView) -> None:
    assert await view.request("x", a=1) == [{"acting_as": {"user_id": "5"}}, {"a": 1}, None]
    assert await view("x", user_id=6) == [{"acting_as": {"user_id": "5"}}, {"user_id": 6}, None]
    assert await view.request("x", list[Any], type=7) == [{"acting_as": {"user_id": "5"}}, {"type": 7}, None]


async def test_a_view_of_a_view_replaces_the_user(view: SessionView) -> None:
    other = view.acting_as("6", token="secret")
    assert (await other("x"))[0] == {"acting_as": {"user_id": "6", "token": "secret"}}
    assert (await view.acting_as(token="secret")("x"))[0] == {"acting_as": {"token": "secret"}}
    assert (other.user_id, view.acting_as(token="secret").user_id) == (6, None)


async def test_the_session_itself_goes_on_without_a_user(bots: Bots) -> None:
    bots.scripts = [understanding]
    async with ClientSession(connector=MemoryConnector(bots.serve), limits=QUICK, timeout=None) as session:
        session.acting_as(5)
        assert (await session("x"))[0] is None


def test_a_view_has_the_methods_of_the_session_that_call_the_bot() -> None:
    for name in ("request", "__call__", "stream", "subscribe", "events", "acting_as"):
        ours = inspect.signature(getattr(SessionView, name)).parameters
        theirs = inspect.signature(getattr(ClientSession, name)).parameters
        assert list(ours) == list(theirs), name


async def older(bot: ScriptedBot) -> None:
    """A bot of an older library."""
    await bot.welcome()
    await bot.echo()


async def test_a_bot_that_would_ignore_the_user_gets_no_call(bots: Bots, session: ClientSession) -> None:
    bots.scripts = [older]
    view = session.acting_as(5)
    with pytest.raises(Unsupported) as caught:
        await view("delete_everything")
    assert caught.value.endpoint == "delete_everything"
    assert "no route has run" in str(caught.value)
    with pytest.raises(Unsupported):
        await anext(view.stream("x"))
    with pytest.raises(Unsupported):
        async with view.subscribe("x"):
            pass
    # The connection is none the worse for it.
    assert await session("x", a=1) == {"a": 1}


@pytest.mark.parametrize("features", [["acting_as"], []], ids=["a bot of this library", "an older bot"])
async def test_a_call_that_is_sent_again_to_another_bot_keeps_its_user(
    bots: Bots, features: list[str]
) -> None:
    asked = asyncio.Event()

    async def dying(bot: ScriptedBot) -> None:
        await bot.welcome(features=["acting_as"], idempotent=["/x"])
        await bot.expect_call("x")
        asked.set()
        await bot.transport.close()

    async def next_one(bot: ScriptedBot) -> None:
        await bot.welcome(features=features, session="another", idempotent=["/x"])
        if features:
            call = await bot.expect_call("x")
            await bot.answer(call, call["meta"]["acting_as"])
        assert await bot.ended()

    bots.scripts = [dying, next_one]
    async with ClientSession(connector=MemoryConnector(bots.serve), limits=QUICK, timeout=5) as session:
        call = asyncio.create_task(session.acting_as(5)("x"))
        await asked.wait()
        if features:
            assert await call == {"user_id": "5"}
        else:
            with pytest.raises(Unsupported):
                await call


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, TypeError, "needs the id of a user, or a token"),
        ({"user_id": True}, TypeError, "must be an int or a str, not True"),
        ({"user_id": 5.0}, TypeError, "not 5.0"),
        ({"user_id": -1}, ValueError, "-1"),
        ({"user_id": 0}, ValueError, "0"),
        ({"user_id": "ada"}, ValueError, "'ada'"),
        ({"user_id": 1 << 64}, ValueError, "18446744073709551616"),
        ({"token": 5}, TypeError, "must be a str, not int"),
        ({"token": ""}, ValueError, "1 to 1024"),
        ({"token": "Bearer s3cret"}, ValueError, "Bearer"),
        ({"token": "s3cret\n"}, ValueError, "printable"),
        ({"token": "s3cretü"}, ValueError, "ASCII"),
        ({"token": "s3cret" * 1000}, ValueError, "1024"),
    ],
)
async def test_a_user_that_cannot_be_is_refused_at_once(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    session = ClientSession(port=1)
    given = dict(arguments)
    with pytest.raises(error, match="acting_as") as caught:
        session.acting_as(*([given.pop("user_id")] if "user_id" in given else []), **given)
    assert text in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_token_is_in_no_text() -> None:
    view = ClientSession(port=1).acting_as(5, token="s3cret")
    wire = ActingAs("5", "s3cret")

    class Holder(Struct):
        user: ActingAs

    for text in (repr(view), str(view), repr(wire), repr(Holder(wire))):
        assert "s3cret" not in text
    assert repr(view) == "<SessionView user_id=5 token=***>"


@pytest.mark.parametrize("acting", [False, True])
async def test_a_bot_of_an_older_library_makes_no_tickets(bots: Bots, acting: bool) -> None:
    async def without_tickets(bot: ScriptedBot) -> None:
        await bot.welcome(features=["acting_as"])
        while True:
            frame = await bot.read()
            if "id" in frame:
                error = {"code": UnknownEndpoint.code, "message": "there is no such method"}
                await bot.send({"jsonrpc": "2.0", "id": frame["id"], "error": error})

    bots.scripts = [without_tickets]
    async with ClientSession(connector=MemoryConnector(bots.serve), limits=QUICK, timeout=5) as session:
        with pytest.raises(Unsupported) as caught:
            await (session.acting_as(5) if acting else session).ticket(origin="https://panel.example")
    assert (caught.value.endpoint, caught.value.reason) == ("rpc.ticket", "it makes no tickets")
