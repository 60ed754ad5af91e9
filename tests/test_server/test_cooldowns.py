"""Cooldowns and limits of concurrency: who is counted together, what refuses, and that memory is bounded."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from discord.ext import commands
from discord.ext.commands import BucketType

from discord_tools.ipc import MaxConcurrencyReached, OnCooldown, Request, Server, by_caller, cooldown, route
from discord_tools.ipc_server import cooldowns
from discord_tools.ipc_server.cooldowns import Buckets, Concurrency, CooldownRule, Slots, Usage
from test_server.callers import MakeCaller, in_each_dialect
from test_server.tools import CALLER, caller, memory_server


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cooldowns, "monotonic", clock)
    return clock


def request_of(data: dict[str, Any] | None = None) -> Request:
    return Request(data or {}, None, "/stats", {}, None)  # pyright: ignore[reportArgumentType]


def rule(rate: int, per: float, key: Callable[[Request], Any] = lambda _: None) -> CooldownRule:
    return CooldownRule(rate, per, key)


# -- cooldowns


async def test_a_cooldown_takes_its_rate_and_then_says_when_to_try_again(clock: Clock) -> None:
    usage, rules = Usage(), (rule(2, 60),)
    await usage.count(rules, request_of())
    clock.now += 10
    await usage.count(rules, request_of())
    with pytest.raises(OnCooldown) as caught:
        await usage.count(rules, request_of())
    assert caught.value.retry_after == pytest.approx(50, abs=0.01)
    assert (caught.value.rate, caught.value.per) == (2, 60)
    assert "try again in 50.00 s" in caught.value.message


async def test_a_call_after_exactly_that_time_is_taken(clock: Clock) -> None:
    usage, rules = Usage(), (rule(1, 0.1),)
    for _ in range(50):
        await usage.count(rules, request_of())
        with pytest.raises(OnCooldown) as caught:
            await usage.count(rules, request_of())
        clock.now += caught.value.retry_after


async def test_a_refused_call_does_not_extend_the_cooldown(clock: Clock) -> None:
    usage, rules = Usage(), (rule(1, 60),)
    await usage.count(rules, request_of())
    for _ in range(5):
        clock.now += 11
        with pytest.raises(OnCooldown):
            await usage.count(rules, request_of())
    clock.now += 6
    await usage.count(rules, request_of())


async def test_a_call_that_one_cooldown_refuses_does_not_count_for_the_others(clock: Clock) -> None:
    usage, rules = Usage(), (rule(1, 1), rule(2, 600))
    await usage.count(rules, request_of())
    for _ in range(10):
        with pytest.raises(OnCooldown):
            await usage.count(rules, request_of())
    clock.now += 2
    await usage.count(rules, request_of())
    clock.now += 2
    with pytest.raises(OnCooldown) as caught:
        await usage.count(rules, request_of())
    assert caught.value.per == 600


async def test_keys_are_counted_apart(clock: Clock) -> None:
    usage, rules = Usage(), (rule(1, 60, lambda request: request["key"]),)
    for key in (1, "1", 2**70, "x" * 1000, None, (1, 2), 1.5, b"1"):
        await usage.count(rules, request_of({"key": key}))
        with pytest.raises(OnCooldown):
            await usage.count(rules, request_of({"key": key}))


async def test_a_key_may_be_awaited(clock: Clock) -> None:
    async def key(request: Request) -> Any:
        await asyncio.sleep(0)
        return request["key"]

    usage, rules = Usage(), (rule(1, 60, key),)
    await usage.count(rules, request_of({"key": 1}))
    await usage.count(rules, request_of({"key": 2}))
    with pytest.raises(OnCooldown):
        await usage.count(rules, request_of({"key": 1}))


async def test_a_key_that_cannot_be_hashed_is_an_error() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        await Usage().count((rule(1, 60, lambda _: []),), request_of())


def test_the_number_of_buckets_is_bounded_and_further_keys_share_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cooldowns, "MAX_BUCKETS", 10)
    buckets = Buckets(rule(1, 60))
    own = [buckets.cooldown(key, 0.0) for key in range(10)]
    shared = {buckets.cooldown(key, 1.0) for key in range(100, 200)}
    assert len(shared) == 1
    assert not shared & set(own)
    assert [buckets.cooldown(key, 2.0) for key in range(10)] == own
    assert len(buckets) == 11


def test_buckets_that_are_over_make_way() -> None:
    buckets = Buckets(rule(1, 60))
    for key in range(100):
        buckets.cooldown(key, key)
    assert len(buckets) == 61
    kept = buckets.cooldown(99, 150.0)
    buckets.cooldown("new", 200.0)
    assert len(buckets) == 2
    assert buckets.cooldown(99, 201.0) is kept


async def test_a_large_key_is_not_kept() -> None:
    usage, rules = Usage(), (rule(1, 60, lambda request: request["key"]),)
    await usage.count(rules, request_of({"key": "x" * 1_000_000}))
    gc.collect()
    (buckets,) = usage.buckets.values()
    assert all(len(repr(key)) < 100 for key in buckets._cooldowns)  # pyright: ignore[reportPrivateUsage]


# -- concurrency


async def test_slots_are_taken_and_given_back() -> None:
    slots = Slots(Concurrency(2, lambda _: None, wait=False))
    await slots.take("a")
    await slots.take("a")
    await slots.take("b")
    with pytest.raises(MaxConcurrencyReached, match="2 calls at a time") as caught:
        await slots.take("a")
    assert caught.value.number == 2
    slots.give_back("a")
    await slots.take("a")
    for key in "aab":
        slots.give_back(key)
    assert len(slots) == 0


async def test_calls_that_wait_get_their_slot_in_their_order() -> None:
    slots, order = Slots(Concurrency(1, lambda _: None, wait=True)), []

    async def work(number: int) -> None:
        await slots.take("a")
        order.append(number)
        await asyncio.sleep(0)
        slots.give_back("a")

    await asyncio.gather(*(work(number) for number in range(20)))
    assert order == list(range(20))
    assert len(slots) == 0


@pytest.mark.parametrize("also_released", [False, True])
async def test_a_call_that_is_cancelled_while_it_waits_passes_its_slot_on(also_released: bool) -> None:
    slots = Slots(Concurrency(1, lambda _: None, wait=True))
    await slots.take("a")
    first, second = (asyncio.create_task(slots.take("a")) for _ in range(2))
    await asyncio.sleep(0)
    if also_released:
        slots.give_back("a")  # to the first, which has not run since
    first.cancel()
    if not also_released:
        slots.give_back("a")
    await asyncio.wait((first, second), timeout=5)
    assert first.cancelled()
    assert second.done()
    slots.give_back("a")
    assert len(slots) == 0


async def test_calls_that_are_all_cancelled_leave_nothing() -> None:
    slots = Slots(Concurrency(1, lambda _: None, wait=True))
    await slots.take("a")
    tasks = [asyncio.create_task(slots.take("a")) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=5)
    slots.give_back("a")
    assert len(slots) == 0


# -- who is counted together


async def count(server: Any, name: str, callers: list[tuple[Any, dict[str, Any]]]) -> list[bool]:
    """Calls once for each caller, and returns which calls were taken."""
    taken: list[bool] = []
    for one, data in callers:
        async with server.session(one) as session:
            try:
                await session.request(name, **data)
            except OnCooldown:
                taken.append(False)
            else:
                taken.append(True)
    return taken


def limited(kind: Any) -> Any:
    @route()
    @cooldown(1, 60, kind)
    async def limited(request: Request) -> None: ...

    return limited


HERE, THERE = CALLER, caller(address="192.0.2.77")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (BucketType.default, [True, False, False, False]),
        (BucketType.user, [True, False, True, False]),
        (by_caller, [True, False, True, False]),
        (lambda request: request["a"], [True, True, False, False]),
    ],
    ids=["default", "user", "by_caller", "function"],
)
async def test_a_type_says_which_calls_are_counted_together(
    bot: commands.Bot, kind: Any, expected: list[bool]
) -> None:
    async with memory_server(bot) as server:
        server.add_route(limited(kind))
        calls = [(HERE, {"a": 1}), (HERE, {"a": 2}), (THERE, {"a": 1}), (THERE, {"a": 2})]
        assert await count(server, "limited", calls) == expected


async def test_guilds_are_counted_apart_and_ids_that_are_no_guild_by_their_caller(
    loopback_bot: commands.Bot,
) -> None:
    guild = loopback_bot.guilds[0].id
    async with memory_server(loopback_bot) as server:
        server.add_route(limited(BucketType.guild))
        calls = [
            (HERE, {"guild_id": guild}),
            (THERE, {"guild_id": str(guild)}),
            (HERE, {"guild_id": 1}),
            (HERE, {"guild_id": 2}),
            (HERE, {"guild_id": []}),
            (HERE, {}),
            (THERE, {"guild_id": 3}),
        ]
        assert await count(server, "limited", calls) == [True, False, True, False, False, False, True]


async def test_members_are_counted_by_guild_and_user(loopback_bot: commands.Bot) -> None:
    guild = loopback_bot.guilds[0].id
    async with memory_server(loopback_bot) as server:
        server.add_route(limited(BucketType.member))
        calls = [
            (HERE, {"guild_id": guild}),
            (HERE, {}),
            (THERE, {"guild_id": guild}),
            (HERE, {"guild_id": guild}),
        ]
        assert await count(server, "limited", calls) == [True, True, True, False]


@in_each_dialect
async def test_a_cooldown_holds_in_each_dialect(bot: commands.Bot, make: MakeCaller) -> None:
    async with memory_server(bot) as server:
        server.add_route(limited(by_caller))
        client = make(server, CALLER)
        assert (await client.call("limited")).error is None
        refused = await client.call("limited")
        assert refused.error is not None
        assert "try again in " in refused.error


# -- whose counts they are


class Counted(commands.Cog):
    @route()
    @cooldown(1, 60)
    async def counted(self, request: Request) -> None: ...


class Other(commands.Cog):
    """Another cog, so that the routes are scanned again."""

    @route()
    async def other(self, request: Request) -> None: ...


async def test_counts_stay_while_the_cog_is_loaded_and_end_with_it(bot: commands.Bot) -> None:
    await bot.add_cog(Counted())
    async with memory_server(bot) as server, server.session() as session:
        await session.request("counted")
        await bot.add_cog(Other())
        with pytest.raises(OnCooldown):
            await session.request("counted")
        await bot.remove_cog("Other")
        with pytest.raises(OnCooldown):
            await session.request("counted")
        await bot.remove_cog("Counted")
        await bot.add_cog(Counted())
        await session.request("counted")


async def test_the_counts_of_a_cog_that_was_removed_are_not_kept(bot: commands.Bot) -> None:
    server = Server(bot)
    for _ in range(10):
        await bot.add_cog(Counted())
        assert set(server.routes) == {"/counted"}
        await bot.remove_cog("Counted")
        assert dict(server.routes) == {}
    assert not server._table._bound  # pyright: ignore[reportPrivateUsage]
