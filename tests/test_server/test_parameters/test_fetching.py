"""Objects that are not in the cache are fetched, once at a time, few in all, and misses are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import aiohttp
import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, Cached, FetchFailed, Overloaded, Request, UnknownObject
from discord_tools.ipc_server.parameters import fetching
from discord_tools.ipc_server.parameters.binding import MAX_VALUES, Source
from discord_tools.ipc_server.parameters.fetching import Fetcher, Key
from equipment.until import until
from loopback import LoopbackDiscord
from loopback.bots import running_bot
from test_server.test_parameters.calls import bind, bind_later, errors, signature_for
from test_server.tools import Failed, NativeClient, native_client

USER = signature_for(discord.User)
USERS = signature_for(list[discord.User])
MEMBER = signature_for(discord.Member, guild=discord.Guild)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def bot(loopback_discord: LoopbackDiscord) -> AsyncIterator[commands.Bot]:
    """A bot with the usual intents: it caches no members but itself."""
    async with running_bot(loopback_discord, intents=discord.Intents.default()) as bot:
        yield bot


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source(bot: commands.Bot, clock: Clock) -> Source:
    return Source(bot, Fetcher(clock))


def asked(loopback: LoopbackDiscord, path: str) -> int:
    return loopback.rest.requests[f"GET {path}"]


async def test_a_user_who_is_not_cached_is_fetched(loopback_discord: LoopbackDiscord, source: Source) -> None:
    user = loopback_discord.add_user("hedy")
    found = (await bind_later(USER, source, it=str(user.id)))["it"]
    assert isinstance(found, discord.User)
    assert (found.id, found.name) == (user.id, "hedy")


async def test_a_member_who_is_not_cached_is_fetched(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    guild = loopback_discord.guilds[0]
    member = guild.members[0]
    found = await bind_later(MEMBER, source, it=member.id, guild=guild.id)
    assert isinstance(found["it"], discord.Member)
    assert found["it"].id == member.id
    assert found["it"].guild is found["guild"]


async def test_values_are_counted_once_although_others_are_fetched(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    signature = signature_for(list[discord.Object], user=discord.User)
    found = await bind_later(signature, source, it=[5] * MAX_VALUES, user=loopback_discord.add_user().id)
    assert len(found["it"]) == MAX_VALUES


async def test_what_is_cached_is_not_fetched(
    loopback_discord: LoopbackDiscord, source: Source, bot: commands.Bot
) -> None:
    guild = loopback_discord.guilds[0]
    before = loopback_discord.rest.requests.total()
    assert bot.user is not None
    assert bind(MEMBER, source, it=bot.user.id, guild=guild.id)["it"].id == bot.user.id
    assert bind(USER, source, it=bot.user.id)["it"].id == bot.user.id
    assert loopback_discord.rest.requests.total() == before


async def test_what_is_marked_as_cached_is_never_fetched(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    user = loopback_discord.add_user()
    cached = signature_for(Annotated[discord.User, Cached])
    inside = signature_for(list[Annotated[discord.User, Cached] | None])
    around = signature_for(Annotated[list[discord.User], Cached])
    assert errors(cached, source, kind=UnknownObject, it=user.id)
    assert errors(inside, source, kind=UnknownObject, it=[None, user.id])
    assert errors(around, source, kind=UnknownObject, it=[user.id])
    assert not asked(loopback_discord, f"/users/{user.id}")


async def test_calls_for_the_same_id_share_one_request(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    user = loopback_discord.add_user()
    path = f"/users/{user.id}"
    with loopback_discord.rest.held("GET /users/"):
        calls = [asyncio.create_task(bind_later(USER, source, it=user.id)) for _ in range(10)]
        await loopback_discord.wait_until(lambda: asked(loopback_discord, path) == 1)
    found = await asyncio.gather(*calls)
    assert {one["it"].id for one in found} == {user.id}
    assert asked(loopback_discord, path) == 1


async def test_one_call_asks_for_the_same_id_once(loopback_discord: LoopbackDiscord, source: Source) -> None:
    user = loopback_discord.add_user()
    found = await bind_later(USERS, source, it=[user.id] * 100)
    assert len(found["it"]) == 100
    assert asked(loopback_discord, f"/users/{user.id}") == 1


async def test_a_call_that_is_cancelled_does_not_end_the_request_of_others(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    user = loopback_discord.add_user()
    path = f"/users/{user.id}"
    with loopback_discord.rest.held("GET /users/"):
        first, second = (asyncio.create_task(bind_later(USER, source, it=user.id)) for _ in range(2))
        await loopback_discord.wait_until(lambda: asked(loopback_discord, path) == 1)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        assert not second.done()
    assert (await second)["it"].id == user.id
    assert asked(loopback_discord, path) == 1


async def test_a_request_ends_when_its_last_call_is_cancelled_and_a_later_call_makes_its_own(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    user = loopback_discord.add_user()
    path = f"/users/{user.id}"
    with loopback_discord.rest.held("GET /users/"):
        first = asyncio.create_task(bind_later(USER, source, it=user.id))
        await loopback_discord.wait_until(lambda: asked(loopback_discord, path) == 1)
        first.cancel()
        # In the same turn of the loop as the cancellation reaches the request.
        await asyncio.wait([first])
        second = asyncio.create_task(bind_later(USER, source, it=user.id))
        await loopback_discord.wait_until(lambda: asked(loopback_discord, path) == 2)
    assert (await second)["it"].id == user.id


class Requests:
    """Requests that end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.released = asyncio.Event()

    def __getitem__(self, number: int) -> dict[Key, Callable[[], Any]]:
        async def request() -> int:
            self.begun.append(number)
            await self.released.wait()
            return number

        return {("User", 0, number): request}

    async def are_begun(self, count: int) -> None:
        await until(lambda: len(self.begun) >= count)


async def test_only_some_requests_are_in_progress_at_a_time() -> None:
    fetcher, requests = Fetcher(), Requests()
    calls = [asyncio.create_task(fetcher.fetch(requests[number], 0)) for number in range(25)]
    await requests.are_begun(10)
    for _ in range(20):
        await asyncio.sleep(0)
    assert requests.begun == list(range(10))
    # A place that becomes free is taken by the next.
    calls[3].cancel()
    await requests.are_begun(11)
    assert requests.begun[10:] == [10]
    # One that waits for its place can be cancelled, too.
    calls[24].cancel()
    requests.released.set()
    await asyncio.wait(calls)
    assert requests.begun == list(range(24))


async def test_a_call_may_have_25_objects_fetched(loopback_discord: LoopbackDiscord, source: Source) -> None:
    users = [loopback_discord.add_user().id for _ in range(26)]
    assert len((await bind_later(USERS, source, it=users[:25]))["it"]) == 25
    before = loopback_discord.rest.requests.total()
    with pytest.raises(Overloaded, match=r"26 objects that have to be fetched .* a call may have 25"):
        await bind_later(USERS, source, it=users)
    assert loopback_discord.rest.requests.total() == before


async def test_the_number_of_objects_that_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WAITING", 2)
    fetcher, requests = Fetcher(), Requests()
    calls = [asyncio.create_task(fetcher.fetch(requests[number], 0)) for number in (1, 2)]
    await requests.are_begun(2)
    with pytest.raises(Overloaded, match="too many objects are being fetched"):
        await fetcher.fetch(requests[3], 0)
    # One that is being fetched already costs nothing.
    calls.append(asyncio.create_task(fetcher.fetch(requests[1], 0)))
    requests.released.set()
    await asyncio.gather(*calls)
    assert requests.begun == [1, 2]


async def test_an_id_that_exists_nowhere_is_an_error_of_its_own(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    with pytest.raises(UnknownObject) as caught:
        await bind_later(USER, source, it=5)
    assert (caught.value.parameter, caught.value.kind, caught.value.id) == ("it", "User", 5)


async def test_a_member_of_another_guild_is_an_error_of_its_own(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    one, other = loopback_discord.guilds
    with pytest.raises(UnknownObject) as caught:
        await bind_later(MEMBER, source, it=one.members[0].id, guild=other.id)
    assert (caught.value.parameter, caught.value.kind) == ("it", "Member")
    assert caught.value.id == one.members[0].id


async def test_all_ids_that_do_not_exist_are_reported(source: Source) -> None:
    with pytest.raises(UnknownObject) as caught:
        await bind_later(USERS, source, it=[5, 6])
    assert [error["path"] for error in caught.value.errors] == ["it[0]", "it[1]"]


async def test_a_miss_is_remembered_for_a_minute(
    loopback_discord: LoopbackDiscord, source: Source, clock: Clock
) -> None:
    with pytest.raises(UnknownObject):
        await bind_later(USER, source, it=5)
    assert errors(USER, source, kind=UnknownObject, it=5)
    clock.now += 59
    assert errors(USER, source, kind=UnknownObject, it=5)
    assert asked(loopback_discord, "/users/5") == 1
    clock.now += 2
    with pytest.raises(UnknownObject):
        await bind_later(USER, source, it=5)
    assert asked(loopback_discord, "/users/5") == 2


async def test_misses_are_bounded_in_number(
    loopback_discord: LoopbackDiscord, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MISSES", 2)
    for number in (5, 6, 7):
        with pytest.raises(UnknownObject):
            await bind_later(USER, source, it=number)
    assert errors(USER, source, it=6)
    assert errors(USER, source, it=7)
    with pytest.raises(UnknownObject):
        await bind_later(USER, source, it=5)
    assert asked(loopback_discord, "/users/5") == 2


async def test_nothing_is_fetched_for_data_that_is_wrong_anyway(
    loopback_discord: LoopbackDiscord, source: Source
) -> None:
    signature = signature_for(discord.User, number=int)
    assert set(errors(signature, source, kind=BadData, it=5, number="x")) == {"number"}
    assert not asked(loopback_discord, "/users/5")


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_an_error_of_discord_is_a_typed_error_with_its_status(
    loopback_discord: LoopbackDiscord, source: Source, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # discord.py waits between its attempts.
    monkeypatch.setattr(asyncio, "sleep", _no_sleep(asyncio.sleep))
    loopback_discord.rest.failures["GET /users/"] = status
    with pytest.raises(FetchFailed) as caught:
        await bind_later(USER, source, it=5)
    assert (caught.value.kind, caught.value.status) == ("User", status)
    assert caught.value.message == f"cannot fetch a User: Discord answered {status}"
    del loopback_discord.rest.failures["GET /users/"]
    # It is not remembered.
    with pytest.raises(UnknownObject):
        await bind_later(USER, source, it=5)


def _no_sleep(sleep: Callable[[float], Any]) -> Callable[[float], Any]:
    return lambda seconds: sleep(0)


async def test_each_call_gets_its_own_exception(loopback_discord: LoopbackDiscord, source: Source) -> None:
    loopback_discord.rest.failures["GET /users/"] = 403
    with loopback_discord.rest.held("GET /users/"):
        calls = [asyncio.create_task(bind_later(USER, source, it=5)) for _ in range(2)]
        await loopback_discord.wait_until(lambda: asked(loopback_discord, "/users/5") == 1)
    one, other = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(one, FetchFailed)
    assert isinstance(other, FetchFailed)
    assert one is not other


async def test_a_request_that_takes_too_long_is_a_typed_error(
    loopback_discord: LoopbackDiscord, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FETCH_TIMEOUT", 0.01)
    with (
        loopback_discord.rest.held("GET /users/"),
        pytest.raises(FetchFailed, match=r"Discord did not answer within 0\.01 s") as caught,
    ):
        await bind_later(USER, source, it=5)
    assert caught.value.status is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aiohttp.ClientConnectionError("secret"), "Discord cannot be reached"),
        (OSError("secret"), "Discord cannot be reached"),
        (discord.RateLimited(30.0), "Discord's rate limit does not allow it for 30.0 s"),
        (RuntimeError("secret"), "the request to Discord failed with RuntimeError"),
    ],
)
async def test_any_other_failure_is_a_typed_error_without_internals(error: Exception, reason: str) -> None:
    async def request() -> Any:
        raise error

    with pytest.raises(FetchFailed) as caught:
        await Fetcher().fetch({("User", 0, 5): request}, 0)
    assert caught.value.message == f"cannot fetch a User: {reason}"
    assert caught.value.__cause__ is error


async def test_a_member_or_else_a_user_is_fetched(loopback_discord: LoopbackDiscord, source: Source) -> None:
    guild = loopback_discord.guilds[0]
    signature = signature_for(discord.Member | discord.User, guild=discord.Guild | None)
    member, outsider = guild.members[0], loopback_discord.add_user()
    found = await bind_later(signature, source, it=member.id, guild=guild.id)
    assert isinstance(found["it"], discord.Member)
    found = await bind_later(signature, source, it=outsider.id, guild=guild.id)
    assert isinstance(found["it"], discord.User)
    assert asked(loopback_discord, f"/guilds/{guild.id}/members/{outsider.id}") == 1
    found = await bind_later(signature, source, it=outsider.id, guild=None)
    assert isinstance(found["it"], discord.User)


# -- in a call, from end to end


@asynccontextmanager
async def calling(client: discord.Client, callback: Any) -> AsyncIterator[NativeClient]:
    async with native_client(client) as native:
        native.add_route(callback)
        yield native


async def test_a_route_gets_what_was_fetched(loopback_discord: LoopbackDiscord, bot: commands.Bot) -> None:
    async def name(request: Request, user: discord.User) -> str:
        return user.name

    user = loopback_discord.add_user("hedy")
    async with calling(bot, name) as native:
        assert await native.call("name", {"user": str(user.id)}) == "hedy"


async def test_the_deadline_of_a_call_ends_its_wait_for_an_object(
    loopback_discord: LoopbackDiscord, bot: commands.Bot
) -> None:
    async def name(request: Request, user: discord.User) -> str:
        return user.name

    user = loopback_discord.add_user()
    async with calling(bot, name) as native:
        with loopback_discord.rest.held("GET /users/"):
            answer = native.start_call("name", {"user": user.id}, headers={"timeout": 0.05})
            with pytest.raises(Failed, match="the time for this call is over"):
                await answer
        assert await native.call("name", {"user": user.id}) == user.name


async def test_a_call_that_its_client_cancels_stops_fetching(
    loopback_discord: LoopbackDiscord, bot: commands.Bot
) -> None:
    ran: list[int] = []

    async def name(request: Request, user: discord.User) -> str:
        ran.append(user.id)
        return user.name

    user, other = loopback_discord.add_user(), loopback_discord.add_user()
    rest = loopback_discord.rest
    async with calling(bot, name) as native:
        with rest.held(f"GET /users/{user.id}"):
            answer = native.start_call("name", {"user": user.id})
            await loopback_discord.wait_until(lambda: rest.in_progress == 1)
            native.forget(answer)
            # Frames are handled in their order, so the call is cancelled by then.
            assert await native.call("name", {"user": other.id})
    assert ran == [other.id]
