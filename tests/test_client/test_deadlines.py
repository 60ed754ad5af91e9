from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest

from discord_tools.ipc.deadlines import Deadlines


class Timer:
    """A timer of :class:`Clock`."""

    def __init__(self, when: float, call: Callable[[], object]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """The part of an event loop that deadlines need. Its time goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        #: All timers that were ever set.
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        self.timers.append(Timer(when, lambda: callback(*args)))
        return self.timers[-1]

    def pending(self) -> list[float]:
        """When timers are going to fire."""
        return sorted(timer.when for timer in self.timers if not timer.cancelled)

    def advance(self, to: float) -> None:
        """Fires what is due until then, at its time."""
        while due := [timer for timer in self.timers if not timer.cancelled and timer.when <= to]:
            timer = min(due, key=lambda one: one.when)
            timer.cancelled = True
            self.now = max(self.now, timer.when)
            timer.call()
        self.now = to


class Expiring:
    """Deadlines with a clock, and what they expired, with its time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.expired: list[tuple[str, float]] = []
        self.deadlines: Deadlines[str] = Deadlines(cast("asyncio.AbstractEventLoop", self.clock), self.expire)

    def expire(self, item: str) -> None:
        self.expired.append((item, self.clock.now))


@pytest.fixture
def expiring() -> Expiring:
    return Expiring()


def test_items_expire_once_and_each_at_its_deadline(expiring: Expiring) -> None:
    for item, deadline in (("a", 110.0), ("b", 120.0), ("c", 130.0)):
        expiring.deadlines.add(item, deadline)
    expiring.clock.advance(109.9)
    assert expiring.expired == []
    expiring.clock.advance(1000.0)
    assert expiring.expired == [("a", 110.0), ("b", 120.0), ("c", 130.0)]
    assert expiring.clock.pending() == []


def test_items_in_the_order_of_their_deadlines_share_one_timer(expiring: Expiring) -> None:
    for number in range(100):
        expiring.deadlines.add(str(number), 110.0 + number)
    assert len(expiring.clock.timers) == 1


def test_items_with_the_same_deadline_expire_together_and_in_their_order(expiring: Expiring) -> None:
    for item in "abc":
        expiring.deadlines.add(item, 110.0)
    expiring.clock.advance(110.0)
    assert expiring.expired == [("a", 110.0), ("b", 110.0), ("c", 110.0)]
    assert len(expiring.clock.timers) == 1


def test_an_item_that_is_due_before_those_added_earlier_has_a_timer_of_its_own(expiring: Expiring) -> None:
    expiring.deadlines.add("late", 130.0)
    expiring.deadlines.add("early", 110.0)
    expiring.deadlines.add("later", 140.0)
    assert expiring.clock.pending() == [110.0, 130.0]
    expiring.clock.advance(1000.0)
    assert expiring.expired == [("early", 110.0), ("late", 130.0), ("later", 140.0)]


def test_an_item_whose_deadline_has_passed_expires_with_the_next_turn(expiring: Expiring) -> None:
    expiring.deadlines.add("late", 90.0)
    expiring.clock.advance(100.0)
    assert expiring.expired == [("late", 100.0)]


def test_a_discarded_item_does_not_expire(expiring: Expiring) -> None:
    for item, deadline in (("a", 110.0), ("b", 120.0), ("own", 105.0)):
        expiring.deadlines.add(item, deadline)
    for item in ("a", "own", "unknown", "a"):
        expiring.deadlines.discard(item)
    expiring.clock.advance(1000.0)
    assert expiring.expired == [("b", 120.0)]


def test_discarding_sets_no_timer_and_leaves_the_shared_one_in_place(expiring: Expiring) -> None:
    expiring.deadlines.add("a", 110.0)
    expiring.deadlines.add("b", 120.0)
    expiring.deadlines.discard("a")
    assert len(expiring.clock.timers) == 1
    assert expiring.clock.pending() == [110.0]


def test_a_timer_left_by_an_item_that_was_discarded_fires_early_and_is_set_again(expiring: Expiring) -> None:
    expiring.deadlines.add("gone", 110.0)
    expiring.deadlines.discard("gone")
    expiring.deadlines.add("kept", 115.0)
    expiring.clock.advance(110.0)
    assert expiring.expired == []
    assert expiring.clock.pending() == [115.0]
    expiring.clock.advance(1000.0)
    assert expiring.expired == [("kept", 115.0)]


def test_an_item_that_is_due_before_a_timer_left_by_others_brings_it_forward(expiring: Expiring) -> None:
    expiring.deadlines.add("gone", 130.0)
    expiring.deadlines.discard("gone")
    expiring.deadlines.add("early", 110.0)
    assert expiring.clock.pending() == [110.0]
    expiring.deadlines.add("later", 120.0)
    expiring.clock.advance(1000.0)
    assert expiring.expired == [("early", 110.0), ("later", 120.0)]


def test_items_without_any_left_end_with_no_timer_set(expiring: Expiring) -> None:
    expiring.deadlines.add("a", 110.0)
    expiring.deadlines.discard("a")
    expiring.clock.advance(110.0)
    assert expiring.clock.pending() == []
    expiring.deadlines.add("b", 120.0)
    expiring.clock.advance(120.0)
    assert expiring.expired == [("b", 120.0)]


def test_an_item_that_another_one_discards_in_the_same_moment_does_not_expire(expiring: Expiring) -> None:
    def expire(item: str) -> None:
        expiring.expire(item)
        deadlines.discard("b")

    deadlines: Deadlines[str] = Deadlines(cast("asyncio.AbstractEventLoop", expiring.clock), expire)
    for item in "abc":
        deadlines.add(item, 110.0)
    expiring.clock.advance(110.0)
    assert [item for item, _ in expiring.expired] == ["a", "c"]


def test_closing_removes_all_items_and_timers_and_new_items_can_be_added(expiring: Expiring) -> None:
    for item, deadline in (("a", 120.0), ("b", 130.0), ("own", 110.0)):
        expiring.deadlines.add(item, deadline)
    expiring.deadlines.close()
    assert expiring.clock.pending() == []
    expiring.deadlines.add("new", 140.0)
    expiring.clock.advance(1000.0)
    assert expiring.expired == [("new", 140.0)]


class Item:
    """An item that a weak reference can watch."""


@pytest.mark.parametrize("end", ["expired", "discarded", "closed"])
def test_items_are_not_kept_after_their_end(end: str) -> None:
    clock = Clock()
    deadlines: Deadlines[Item] = Deadlines(cast("asyncio.AbstractEventLoop", clock), lambda item: None)
    items = [Item(), Item()]
    for item, deadline in zip(items, (120.0, 110.0), strict=True):
        deadlines.add(item, deadline)
        if end == "discarded":
            deadlines.discard(item)
    if end == "expired":
        clock.advance(120.0)
    elif end == "closed":
        deadlines.close()
    watched = [weakref.ref(item) for item in items]
    clock.timers.clear()
    del items, item
    gc.collect()
    assert [reference() for reference in watched] == [None, None]


async def test_deadlines_work_with_the_clock_of_an_event_loop() -> None:
    loop = asyncio.get_running_loop()
    expired: asyncio.Queue[str] = asyncio.Queue()
    deadlines: Deadlines[str] = Deadlines(loop, expired.put_nowait)
    now = loop.time()
    for item, seconds in (("third", 0.03), ("first", 0.01), ("never", 60.0), ("second", 0.02)):
        deadlines.add(item, now + seconds)
    async with asyncio.timeout(5):
        assert [await expired.get() for _ in range(3)] == ["first", "second", "third"]
    deadlines.close()
