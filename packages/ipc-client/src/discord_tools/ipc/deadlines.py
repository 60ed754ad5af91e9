"""One timer for many deadlines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ("Deadlines",)

ItemT = TypeVar("ItemT")


class Deadlines(Generic[ItemT]):
    """Calls a function for each item whose time is over.

    Nearly all items of a conversation get the same time, so their deadlines come in the order in which they are added,
    and one timer serves all of them: a timer for each costs a tenth of a small call. An item that is due before those
    added earlier gets a timer of its own.

    Parameters
    ----------
    loop: :class:`asyncio.AbstractEventLoop`
        The event loop whose clock counts.
    expire: Callable[[ItemT], None]
        Called once for each item that is due. It must not raise.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[ItemT], None]) -> None:
        self._loop = loop
        self._expire = expire
        #: Items that share the timer, in the order of their deadlines.
        self._queue: dict[ItemT, float] = {}
        #: The latest deadline that was added to the queue.
        self._latest = 0.0
        #: Fires when the first item of the queue is due, or would have been: items leave without changing it.
        self._timer: asyncio.TimerHandle | None = None
        #: When the timer fires; infinite without a timer.
        self._due = math.inf
        #: Timers of the items that do not fit into the queue.
        self._own: dict[ItemT, asyncio.TimerHandle] = {}

    def add(self, item: ItemT, deadline: float) -> None:
        """Adds an item with its deadline, a time of the loop's clock."""
        if deadline < self._latest and self._queue:
            self._own[item] = self._loop.call_at(deadline, self._expire_own, item)
            return
        self._queue[item] = self._latest = deadline
        if deadline < self._due:
            if self._timer is not None:
                self._timer.cancel()  # it was set for items that have left
            self._set_timer(deadline)

    def discard(self, item: ItemT) -> None:
        """Removes an item, if it is there."""
        if self._queue.pop(item, None) is None and (timer := self._own.pop(item, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        """Removes all items."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, math.inf
        for timer in self._own.values():
            timer.cancel()
        self._own.clear()

    def _set_timer(self, deadline: float) -> None:
        self._due = deadline
        self._timer = self._loop.call_at(deadline, self._sweep)

    def _expire_own(self, item: ItemT) -> None:
        del self._own[item]
        self._expire(item)

    def _sweep(self) -> None:
        self._timer, self._due = None, math.inf
        now = self._loop.time()
        while self._queue:
            item, deadline = next(iter(self._queue.items()))
            if deadline > now:
                self._set_timer(deadline)
                return
            del self._queue[item]
            self._expire(item)
