"""Wrong keys are answered later and later, and then not at all, for each address by itself."""

from __future__ import annotations

import asyncio
import gc
from http import HTTPStatus
from types import SimpleNamespace

import pytest
from multidict import CIMultiDict

from discord_tools.ipc_server import brake as brakes
from discord_tools.ipc_server.brake import Brake
from discord_tools.ipc_server.browsers import Pages
from discord_tools.ipc_server.caller import NATIVE, Caller
from discord_tools.ipc_server.gate import Gate, Refusal
from discord_tools.ipc_server.keys import Keys
from equipment.until import until

ADDRESS = "192.0.2.1"
OTHER = "192.0.2.2"


class Clock:
    """The loop's clock as the brake sees it. A delay ends at once and takes no time, unless delays are held."""

    def __init__(self) -> None:
        self.now = 1000.0
        #: All delays so far, in seconds.
        self.delays: list[float] = []
        #: Cleared while delays are held.
        self.released = asyncio.Event()
        self.released.set()

    def time(self) -> float:
        return self.now

    async def sleep(self, delay: float) -> None:
        self.delays.append(delay)
        await self.released.wait()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    of_the_brake = SimpleNamespace(get_running_loop=lambda: clock, sleep=clock.sleep)
    monkeypatch.setattr(brakes, "asyncio", of_the_brake)
    return clock


async def fail(brake: Brake, count: int, address: str | None = ADDRESS) -> list[bool]:
    """Shows this number of wrong keys one after another, and returns which are answered."""
    return [await brake.failed(address) for _ in range(count)]


async def test_the_first_wrong_keys_are_answered_without_a_delay(clock: Clock) -> None:
    assert await fail(Brake(), brakes.FREE) == [True] * brakes.FREE
    assert clock.delays == []


async def test_each_further_wrong_key_is_answered_after_twice_the_delay_up_to_the_longest(
    clock: Clock,
) -> None:
    brake = Brake()
    assert all(await fail(brake, brakes.REFUSED))
    assert len(clock.delays) == brakes.REFUSED - brakes.FREE
    assert clock.delays[0] == brakes.FIRST_DELAY
    assert max(clock.delays) == clock.delays[-1] == brakes.LONGEST_DELAY
    for one, following in zip(clock.delays, clock.delays[1:], strict=False):
        assert following == min(2 * one, brakes.LONGEST_DELAY)


async def test_after_too_many_wrong_keys_there_is_neither_an_answer_nor_a_delay(clock: Clock) -> None:
    brake = Brake()
    await fail(brake, brakes.REFUSED)
    clock.delays.clear()
    assert await fail(brake, 5) == [False] * 5
    assert clock.delays == []


async def test_the_wrong_keys_of_one_address_do_not_delay_those_of_another(clock: Clock) -> None:
    brake = Brake()
    await fail(brake, brakes.REFUSED + 5)
    clock.delays.clear()
    assert await fail(brake, brakes.FREE, OTHER) == [True] * brakes.FREE
    assert clock.delays == []


async def test_clients_whose_address_is_not_known_count_as_one_address(clock: Clock) -> None:
    brake = Brake()
    await fail(brake, brakes.REFUSED, None)
    assert await fail(brake, 1, None) == [False]
    assert await fail(brake, 1) == [True]


async def test_an_address_starts_again_after_a_minute_without_a_wrong_key(clock: Clock) -> None:
    brake = Brake()
    await fail(brake, brakes.REFUSED + 1)
    clock.now += brakes.FORGOTTEN_AFTER
    assert await fail(brake, 1) == [False]  # which counts from this one again
    clock.now += brakes.FORGOTTEN_AFTER + 0.001
    clock.delays.clear()
    assert await fail(brake, brakes.FREE) == [True] * brakes.FREE
    assert clock.delays == []


async def test_the_address_that_failed_longest_ago_is_the_first_one_that_is_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brakes, "ADDRESSES", 3)
    brake = Brake()
    for address in ("a", "b", "c"):
        await fail(brake, brakes.REFUSED, address)
    assert await fail(brake, 1, "a") == [False]  # now b is the one that failed longest ago
    assert await fail(brake, 1, "d") == [True]
    assert [await brake.failed(address) for address in ("a", "c")] == [False, False]
    assert await fail(brake, 1, "b") == [True]


async def test_the_number_of_addresses_that_are_remembered_is_bounded(clock: Clock) -> None:
    brake = Brake()
    gc.collect()
    before = number_of_addresses()
    for number in range(3 * brakes.ADDRESSES):
        await brake.failed(f"2001:db8::{number:x}")
    assert number_of_addresses() - before == brakes.ADDRESSES


def number_of_addresses() -> int:
    return sum(type(one) is brakes._Failures for one in gc.get_objects())  # pyright: ignore[reportPrivateUsage]


# -- answers that are delayed


async def waiting(brake: Brake, clock: Clock, address: str, count: int) -> list[asyncio.Task[bool]]:
    """Starts this number of answers that are delayed."""
    before = len(clock.delays)
    tasks = [asyncio.create_task(brake.failed(address)) for _ in range(count)]
    await until(lambda: len(clock.delays) == before + count)
    return tasks


async def test_answers_that_are_delayed_at_a_time_are_bounded_for_each_address(clock: Clock) -> None:
    brake = Brake()
    for address in (ADDRESS, OTHER):
        await fail(brake, brakes.FREE, address)
    clock.released.clear()
    tasks = await waiting(brake, clock, ADDRESS, brakes.WAITING_PER_ADDRESS)
    assert await fail(brake, 1) == [False]
    tasks += await waiting(brake, clock, OTHER, 1)
    clock.released.set()
    assert await asyncio.gather(*tasks) == [True] * len(tasks)
    assert await fail(brake, 1) == [True]


async def test_answers_that_are_delayed_at_a_time_are_bounded_for_all_addresses_together(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brakes, "WAITING", 3)
    brake = Brake()
    addresses = [f"192.0.2.{number}" for number in range(4)]
    for address in addresses:
        await fail(brake, brakes.FREE, address)
    clock.released.clear()
    tasks = [task for one in addresses[:3] for task in await waiting(brake, clock, one, 1)]
    assert await fail(brake, 1, addresses[3]) == [False]
    # A client that disconnects no longer waits.
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    tasks += await waiting(brake, clock, addresses[3], 1)
    clock.released.set()
    assert await asyncio.gather(*tasks[1:]) == [True] * 3


async def test_an_address_with_a_delayed_answer_is_not_forgotten(clock: Clock) -> None:
    brake = Brake()
    await fail(brake, brakes.REFUSED - 1)
    clock.released.clear()
    tasks = await waiting(brake, clock, ADDRESS, 1)
    clock.now += brakes.FORGOTTEN_AFTER + 1
    assert await fail(brake, 1) == [False]
    clock.released.set()
    assert await asyncio.gather(*tasks) == [True]


# -- the right key


async def test_the_right_key_is_accepted_from_an_address_that_showed_any_number_of_wrong_ones(
    clock: Clock,
) -> None:
    gate = Gate(Keys("key"), Pages())
    await fail(gate.brake, brakes.REFUSED + 5)
    for shown, expected in (("kex", Refusal), ("key", Caller)):
        entered = gate.enter(CIMultiDict(authorization=shown), ADDRESS, NATIVE, "conn-1")
        assert isinstance(entered, expected)
        assert not isinstance(entered, Refusal) or entered.status is HTTPStatus.UNAUTHORIZED
    assert gate.identify("key", ADDRESS, NATIVE, "conn-1") is not None
