"""The bot asks Discord whose an access token is, and nothing of a token is written anywhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ActingUserRequired,
    BadData,
    ClientSession,
    FetchFailed,
    Forbidden,
    InvalidToken,
    Key,
    Overloaded,
    Request,
    RequestTimeout,
    RouteFailed,
    Server,
)
from discord_tools.ipc_server import tokens
from discord_tools.ipc_server.tokens import (
    ACCEPTED_PERIOD,
    REFUSED_PER_CALLER,
    REFUSED_PERIOD,
    WAITING_PER_CALLER,
    TokenUser,
    Verifier,
)
from equipment.clocks import Clock
from equipment.key import KEY
from equipment.serving import connecting, serving
from equipment.until import settle
from loopback import TOKEN, LoopbackDiscord, User
from test_server.tools import http_url

ASKED = "GET /users/@me as a user"


@pytest.fixture
def user(loopback_discord: LoopbackDiscord) -> User:
    return loopback_discord.guilds[0].members[1].user


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def verifier(loopback_bot: commands.Bot, clock: Clock) -> Verifier:
    return Verifier(loopback_bot, clock)


@pytest.fixture
async def whoami(server: Server[commands.Bot]) -> None:
    @server.route()
    async def whoami(request: Request) -> list[Any]:
        return [request.user_id, request.reason("x"), dict(request.headers)]


async def test_a_token_tells_the_user(
    loopback_discord: LoopbackDiscord, session: ClientSession, whoami: None, user: User
) -> None:
    token = loopback_discord.oauth2.grant(user)
    found = await session.acting_as(token=token)("whoami")
    assert found == [user.id, f"{user.name} ({user.id}): x", {}]


async def test_a_token_must_be_of_the_user_that_the_call_names(
    loopback_discord: LoopbackDiscord, session: ClientSession, whoami: None, user: User
) -> None:
    token = loopback_discord.oauth2.grant(user)
    assert (await session.acting_as(user.id, token=token)("whoami"))[0] == user.id
    with pytest.raises(InvalidToken, match="another user"):
        await session.acting_as(5, token=token)("whoami")


async def test_a_token_that_discord_does_not_know_is_refused(session: ClientSession, whoami: None) -> None:
    with pytest.raises(InvalidToken, match="expired"):
        await session.acting_as(token="made-up")("whoami")


async def test_a_token_without_the_right_scope_is_refused(
    loopback_discord: LoopbackDiscord, session: ClientSession, whoami: None, user: User
) -> None:
    token = loopback_discord.oauth2.grant(user, "guilds")
    with pytest.raises(InvalidToken, match="identify"):
        await session.acting_as(token=token)("whoami")


async def test_the_token_of_the_bot_is_no_access_token(session: ClientSession, whoami: None) -> None:
    with pytest.raises(InvalidToken):
        await session.acting_as(token=TOKEN)("whoami")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"token": "two words"}, "characters"),
        ({"token": "a\r\nX: y"}, "characters"),
        ({"token": ""}, "characters"),
        ({"token": "x" * 2000}, "too long"),
        ({"user_id": "x"}, "no id"),
        ({"user_id": -5}, "no id"),
        ({"user_id": 0}, "no id"),
        ({"user_id": "1" * 30}, "no id"),
        ({}, "needs an id"),
    ],
)
async def test_a_user_that_cannot_be_is_bad_data(
    loopback_discord: LoopbackDiscord,
    server: Server[commands.Bot],
    whoami: None,
    given: dict[str, Any],
    text: str,
) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": KEY}) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "whoami", "meta": {"acting_as": given}}
        async with http.post(http_url(server), json=body) as response:
            answer = await response.json()
    assert answer["error"]["code"] == BadData.code
    assert text in answer["error"]["message"]
    assert loopback_discord.rest.requests[ASKED] == 0


async def test_who_it_is_is_remembered_for_a_while(
    loopback_discord: LoopbackDiscord, verifier: Verifier, clock: Clock, user: User
) -> None:
    token = loopback_discord.oauth2.grant(user)
    for _ in range(3):
        assert (await verifier.verify(token, "dashboard")).id == user.id
    assert loopback_discord.rest.requests[ASKED] == 1
    loopback_discord.oauth2.revoke(token)
    clock.now += ACCEPTED_PERIOD
    with pytest.raises(InvalidToken):
        await verifier.verify(token, "dashboard")


async def test_a_refused_token_is_not_shown_again_for_a_while(
    loopback_discord: LoopbackDiscord, verifier: Verifier, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(InvalidToken):
            await verifier.verify("made-up", "dashboard")
    assert loopback_discord.rest.requests[ASKED] == 1
    clock.now += REFUSED_PERIOD
    with pytest.raises(InvalidToken):
        await verifier.verify("made-up", "dashboard")
    assert loopback_discord.rest.requests[ASKED] == 2


async def test_calls_with_the_same_token_share_one_request(
    loopback_discord: LoopbackDiscord, verifier: Verifier, user: User
) -> None:
    token = loopback_discord.oauth2.grant(user)
    with loopback_discord.rest.held(ASKED):
        calls = [asyncio.create_task(verifier.verify(token, "dashboard")) for _ in range(5)]
        await loopback_discord.wait_until(lambda: loopback_discord.rest.in_progress == 1)
        calls[0].cancel()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [one for one in found[1:] if isinstance(one, TokenUser)] == [TokenUser(user.id, user.name)] * 4
    assert loopback_discord.rest.requests[ASKED] == 1


@pytest.mark.parametrize("status", [500, 503, 418])
async def test_an_error_of_discord_is_typed_and_not_remembered(
    loopback_discord: LoopbackDiscord, session: ClientSession, whoami: None, user: User, status: int
) -> None:
    token = loopback_discord.oauth2.grant(user)
    loopback_discord.rest.failures[ASKED] = status
    with pytest.raises(FetchFailed, match=str(status)) as caught:
        await session.acting_as(token=token)("whoami")
    assert (caught.value.kind, caught.value.status) == ("User", status)
    del loopback_discord.rest.failures[ASKED]
    assert (await session.acting_as(token=token)("whoami"))[0] == user.id


async def test_the_rate_limit_of_discord_is_overloaded_and_says_when_to_try_again(
    loopback_discord: LoopbackDiscord, verifier: Verifier, clock: Clock, user: User
) -> None:
    token = loopback_discord.oauth2.grant(user)
    loopback_discord.rest.failures[ASKED] = 429
    for _ in range(2):
        with pytest.raises(Overloaded) as caught:
            await verifier.verify(token, "dashboard")
    assert caught.value.data == {"retry_after": 1.0}
    assert loopback_discord.rest.requests[ASKED] == 1  # it is not asked while it said so
    del loopback_discord.rest.failures[ASKED]
    clock.now += 1.0
    assert (await verifier.verify(token, "dashboard")).id == user.id


async def test_a_discord_that_hangs_ends_with_the_deadline_of_the_call(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], whoami: None, user: User
) -> None:
    token = loopback_discord.oauth2.grant(user)
    async with connecting(server.port, timeout=0.2) as session:
        with loopback_discord.rest.held(ASKED), pytest.raises(RequestTimeout):
            await session.acting_as(token=token)("whoami")


async def test_a_discord_that_hangs_ends_with_a_typed_error(
    loopback_discord: LoopbackDiscord,
    session: ClientSession,
    whoami: None,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "VERIFY_TIMEOUT", 0.05)
    token = loopback_discord.oauth2.grant(user)
    with loopback_discord.rest.held(ASKED), pytest.raises(FetchFailed, match="did not answer") as caught:
        await session.acting_as(token=token)("whoami")
    assert caught.value.status is None


async def test_a_bot_that_is_not_logged_in_is_a_typed_error() -> None:
    bot = commands.Bot("!", intents=discord.Intents.none())
    with pytest.raises(FetchFailed, match="not logged in"):
        await Verifier(bot).verify("token", None)


async def test_one_caller_cannot_keep_all_others_waiting(
    loopback_discord: LoopbackDiscord, verifier: Verifier, user: User
) -> None:
    with loopback_discord.rest.held(ASKED):
        flood = [asyncio.create_task(verifier.verify(f"t{n}", "greedy")) for n in range(WAITING_PER_CALLER)]
        await loopback_discord.wait_until(lambda: loopback_discord.rest.in_progress == tokens.IN_FLIGHT)
        with pytest.raises(Overloaded):
            await verifier.verify("one more", "greedy")
        other = asyncio.create_task(verifier.verify(loopback_discord.oauth2.grant(user), "other"))
        await settle()
        assert not other.done()
        for one in flood:
            one.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    assert (await other).id == user.id


async def test_a_route_that_is_replaced_while_a_token_is_verified_does_not_run(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, user: User
) -> None:
    ran: list[str] = []

    async def old(request: Request) -> None:
        ran.append("old")

    async def new(request: Request) -> None:
        ran.append("new")

    async with (
        serving(loopback_bot, keys={"panel": Key("panel key", scopes={"read"})}) as server,
        connecting(server.port, secret_key="panel key") as session,
    ):
        server.add_route(old, "work", scopes={"read"})
        token = loopback_discord.oauth2.grant(user)
        with loopback_discord.rest.held(ASKED):
            call = asyncio.create_task(session.acting_as(token=token)("work"))
            await loopback_discord.wait_until(lambda: loopback_discord.rest.in_progress == 1)
            server.remove_route("work")
            server.add_route(new, "work", scopes={"admin"})
        with pytest.raises(Forbidden):
            await call
    assert ran == []


async def test_a_caller_who_makes_tokens_up_cannot_have_discord_lock_the_bot_out(
    loopback_discord: LoopbackDiscord, verifier: Verifier, clock: Clock
) -> None:
    for number in range(REFUSED_PER_CALLER):
        with pytest.raises(InvalidToken):
            await verifier.verify(f"made-up-{number}", "greedy")
    with pytest.raises(Overloaded) as caught:
        await verifier.verify("one more", "greedy")
    assert caught.value.data == {"retry_after": 60.0}
    assert loopback_discord.rest.requests[ASKED] == REFUSED_PER_CALLER
    with pytest.raises(InvalidToken):
        await verifier.verify("made up by somebody else", "other")
    clock.now += 60
    with pytest.raises(InvalidToken):
        await verifier.verify("one more", "greedy")


async def test_the_number_of_tokens_that_are_remembered_is_bounded(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED", 3)
    for number in range(10):
        with pytest.raises(InvalidToken):
            await verifier.verify(f"made-up-{number}", "x")
    assert len(verifier._known) == 3  # pyright: ignore[reportPrivateUsage]


async def test_a_token_is_in_no_log_and_in_no_text(
    loopback_discord: LoopbackDiscord,
    session: ClientSession,
    server: Server[commands.Bot],
    user: User,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    @server.route()
    async def fails(request: Request) -> None:
        kept = [getattr(request, name, None) for name in Request.__slots__]
        seen.append(f"{request!r} {dict(request.headers)!r} {kept!r}")
        raise RuntimeError("no")

    secret = loopback_discord.oauth2.grant(user)
    view = session.acting_as(token=secret)
    with pytest.raises(RouteFailed) as failed:
        await view("fails")
    with pytest.raises(InvalidToken) as refused:
        await session.acting_as(token=f"{secret}-wrong")("fails")
    texts = [*seen, repr(view), repr(failed.value), repr(refused.value), str(refused.value.data), caplog.text]
    assert not any(secret in text for text in texts)


# -- keys for verified users only


@pytest.fixture
async def strict(loopback_bot: commands.Bot) -> AsyncIterator[ClientSession]:
    """A session whose key demands that the bot verifies each user."""
    keys = {"dashboard": Key("only-for-verified-users", verified_users_only=True)}
    async with (
        serving(loopback_bot, keys=keys) as server,
        connecting(server.port, secret_key="only-for-verified-users") as session,
    ):

        @server.route()
        async def whoami(request: Request) -> int | None:
            return request.user_id

        server.add_event("tick")
        yield session


async def test_a_key_for_verified_users_takes_only_calls_with_a_token(
    loopback_discord: LoopbackDiscord, strict: ClientSession, user: User
) -> None:
    assert await strict.acting_as(token=loopback_discord.oauth2.grant(user))("whoami") == user.id
    for call in (strict.request("whoami"), strict.acting_as(user.id)("whoami")):
        with pytest.raises(ActingUserRequired) as caught:
            await call
        assert caught.value.needs_token is True
    assert [one.name for one in await strict.events()] == ["tick"]


async def test_a_key_that_becomes_one_for_verified_users_ends_what_has_none(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, user: User
) -> None:
    async with (
        serving(loopback_bot, keys={"panel": Key("value")}) as server,
        connecting(server.port, secret_key="value") as session,
    ):
        view = session.acting_as(token=loopback_discord.oauth2.grant(user))
        async with session.subscribe("tick") as ended, view.subscribe("tick") as kept:
            server.keys["panel"] = Key("value", verified_users_only=True)
            with pytest.raises(ActingUserRequired):
                await anext(ended)
            await server.publish("tick", 1, requires=())
            async with asyncio.timeout(5):
                assert (await anext(kept)).data == 1


async def test_a_client_of_plain_json_rpc_acts_for_users_too(
    loopback_discord: LoopbackDiscord, server: Server[commands.Bot], whoami: None, user: User
) -> None:
    for acting_as in ({"user_id": str(user.id)}, {"token": loopback_discord.oauth2.grant(user)}):
        async with aiohttp.ClientSession(headers={"Authorization": KEY}) as http:
            body = {"jsonrpc": "2.0", "id": 1, "method": "whoami", "meta": {"acting_as": acting_as}}
            async with http.post(http_url(server), json=body) as response:
                assert (await response.json())["result"][0] == user.id


def test_a_key_says_whether_it_is_for_verified_users_only() -> None:
    key = Key("value", verified_users_only=True)
    assert key.verified_users_only is True
    assert key != Key("value")
    assert "verified_users_only=True" in repr(key)
    with pytest.raises(TypeError, match="verified_users_only"):
        Key("value", verified_users_only="yes")  # pyright: ignore[reportArgumentType]
