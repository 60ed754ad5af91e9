"""What may be done in one turn of the event loop, so that nobody holds it for long."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

__all__ = (
    "ITEMS_PER_TURN",
    "LARGE_BYTES",
    "STARTS_PER_TURN",
    "TURN_BYTES",
    "AnswersToCome",
    "TurnBudget",
    "TurnPlaces",
    "TurnShare",
    "in_turns",
)

T = TypeVar("T")

#: Maximum number of items that all streams of one client send in one turn of the loop.
ITEMS_PER_TURN: Final = 64

#: Maximum number of calls that are cancelled in one turn of the loop when a client is dropped.
CANCELS_PER_TURN: Final = 64

#: Maximum number of calls of all clients without our subprotocol that are started in one turn of the loop. The rest of
#: a batch, and further messages, wait.
STARTS_PER_TURN: Final = 32

#: Number of native connections that go on in one turn of the loop, of those that have worked on a number of events
#: without a pause. The others wait.
CONNECTIONS_PER_TURN: Final = 2

#: Size of the messages and answers that are decoded and encoded in one turn of the loop, for all clients together, in
#: bytes. What is larger has a turn for itself.
TURN_BYTES: Final = 256 * 1024

#: Answers, and messages of clients without our subprotocol, up to this size do not wait for a turn, in bytes: they take
#: less than a millisecond.
LARGE_BYTES: Final = 32 * 1024

#: Maximum number of routes whose last answer was large that are kept in mind.
_MAX_ROUTES: Final = 1024


class TurnShare:
    """What all streams of one client may send in one turn of the event loop, so that others get their turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: Number of items in this turn.
        self._items = 0

    def take(self) -> bool:
        """Takes an item. Returns ``False`` where no more may be sent in this turn."""
        if not self._items:
            self._loop.call_soon(self._end_turn)
        self._items += 1
        return self._items <= ITEMS_PER_TURN

    def _end_turn(self) -> None:
        self._items = 0


class TurnPlaces:
    """A number of places in each turn of the event loop. What waits for one gets it in order.

    Parameters
    ----------
    most: :class:`int`
        The number of places in a turn.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        #: Number of places of this turn that were taken.
        self._taken = 0
        #: What waits for a turn.
        self._waiting: deque[asyncio.Future[None]] = deque()

    def try_take(self) -> bool:
        """Takes a place in this turn. Returns ``False`` where there is none, or others wait for one."""
        if self._waiting or self._taken >= self._most:
            return False
        if not self._taken:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._taken += 1
        return True

    async def take(self) -> None:
        """Waits for a turn with a place, and takes it. Cancelling it is safe."""
        if self.try_take():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def close(self) -> None:
        """Forgets everything, since the event loop may be another one next time."""
        self._taken = 0
        _release(self._waiting)
        self._waiting.clear()

    def _end_turn(self) -> None:
        self._taken = 0
        while self._waiting and self._taken < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # otherwise it was cancelled
                turn.set_result(None)
                self._taken += 1
        if self._taken:
            asyncio.get_running_loop().call_soon(self._end_turn)


def _release(turns: Iterable[asyncio.Future[None]]) -> None:
    """Lets everything go on that waits for one of these turns."""
    for turn in turns:
        if not turn.done() and not turn.get_loop().is_closed():
            turn.set_result(None)


class AnswersToCome:
    """Answers of one caller that large routes work on.

    Attributes
    ----------
    size: :class:`int`
        Size that they may have, in bytes.
    """

    __slots__ = ("_ended", "size")

    def __init__(self) -> None:
        self.size: int = 0
        #: Set when one of them was sent or given up, where a handler waits for that.
        self._ended: asyncio.Event | None = None

    def end(self, size: int) -> None:
        """Takes note that one of them was sent or given up."""
        self.size -= size
        if self._ended is not None:
            self._ended.set()
            self._ended = None

    async def wait(self) -> None:
        """Waits until one of them was sent or given up."""
        if self._ended is None:
            self._ended = asyncio.Event()
        await self._ended.wait()


class TurnBudget:
    """Bytes that are decoded and encoded for all clients in one turn of the event loop.

    A turn runs everything that is ready. Without a bound, forty clients that each send or get 4 MB would hold the loop
    for as long as all of that takes. What waits for a turn gets it in order, answers that are ready before other work.

    The size of an answer is not known before it is encoded, so a route whose last answer was large counts with that:
    its handler does not start before there is a turn for it, and memory for its answer.

    Parameters
    ----------
    answer_bytes: :class:`int`
        Maximum size of the answers of one caller that large routes work on, in bytes. One is always admitted.
    """

    def __init__(self, answer_bytes: int) -> None:
        self._answer_bytes = answer_bytes
        #: Number of the present turn, among those in which something was spent.
        self.number: int = 0
        #: Bytes of this turn.
        self._spent = 0
        #: Answers that are ready and wait for a turn, with their sizes.
        self._answers: deque[tuple[asyncio.Future[None], int]] = deque()
        #: What else waits for a turn, with its size.
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        #: Of those connections that have worked on a number of events without a pause, the ones that go on.
        self._busy = TurnPlaces(CONNECTIONS_PER_TURN)
        #: Endpoints of the routes whose last answer was large, with its size in bytes.
        self.large: dict[str, int] = {}

    def spend(self, size: int) -> None:
        """Takes note of bytes that were decoded or encoded in this turn."""
        if not self._spent:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._spent += max(size, 1)

    async def take(self, size: int, *, answer: bool = False) -> None:
        """Waits for a turn with bytes left, and takes ``size`` of them.

        Cancelling it is safe: the turn is left to others.
        """
        if self._spent < TURN_BYTES and not self._answers and (answer or not self._waiting):
            self.spend(size)
            return
        turn = asyncio.get_running_loop().create_future()
        (self._answers if answer else self._waiting).append((turn, size))
        await turn

    async def rest(self) -> None:
        """Waits for another turn, of those in which a bounded number of connections go on. Cancelling it is safe."""
        if self._busy.try_take():
            await asyncio.sleep(0)
        else:
            await self._busy.take()

    async def begin(self, endpoint: str, answers: AnswersToCome) -> int:
        """Waits until a handler of a large route may start.

        Returns the size that its answer may have, in bytes, which counts among the answers of its caller until
        :meth:`AnswersToCome.end`.
        """
        size = self.large.get(endpoint, 0)
        if size:
            while answers.size and answers.size + size > self._answer_bytes:
                await answers.wait()
            answers.size += size
            try:
                await self.take(size)
            except BaseException:
                answers.end(size)
                raise
        return size

    def must_wait(self, endpoint: str, number: int) -> bool:
        """Whether an answer has to wait for a turn. ``number`` is that of the turn in which its handler began."""
        return bool(self.large) and endpoint in self.large and number != self.number

    async def take_for(self, endpoint: str, number: int) -> None:
        """Waits for a turn to encode an answer in, if it has to."""
        if self.must_wait(endpoint, number):
            await self.take(self.large[endpoint], answer=True)

    def encoded(self, endpoint: str, size: int) -> None:
        """Takes note of the size of an answer of a route."""
        if size <= LARGE_BYTES:
            self.large.pop(endpoint, None)
            return
        if endpoint not in self.large:
            self.spend(size)
        if len(self.large) >= _MAX_ROUTES:
            self.large.clear()
        self.large[endpoint] = size

    def close(self) -> None:
        """Forgets everything, since the event loop may be another one next time."""
        self._spent = 0
        for waiting in (self._answers, self._waiting):
            _release(turn for turn, _ in waiting)
            waiting.clear()
        self._busy.close()
        self.large.clear()

    def _end_turn(self) -> None:
        self._spent = 0
        self.number += 1
        while self._spent < TURN_BYTES and (waiting := self._answers or self._waiting):
            turn, size = waiting.popleft()
            if not turn.done():  # otherwise it was cancelled
                turn.set_result(None)
                self._spent += max(size, 1)
        if self._spent:
            asyncio.get_running_loop().call_soon(self._end_turn)


def in_turns(items: Iterable[T], handle: Callable[[T], None], done: Callable[[], None]) -> Callable[[], None]:
    """Handles items, :data:`CANCELS_PER_TURN` in each turn of the event loop, the first of them at once.

    ``done`` is called once, when all have been handled.

    Returns
    -------
    Callable[[], None]
        Handles the rest at once.
    """
    left = deque(items)
    ended = False

    def go_on(most: int) -> None:
        nonlocal ended
        for _ in range(min(most, len(left))):
            handle(left.popleft())
        if left:
            asyncio.get_running_loop().call_soon(go_on, CANCELS_PER_TURN)
        elif not ended:
            ended = True
            done()

    go_on(CANCELS_PER_TURN)
    return lambda: go_on(len(left))
