from __future__ import annotations

import asyncio

import pytest
from msgspec import UNSET, Raw

from discord_tools.ipc import RequestTimeout, SessionClosed
from discord_tools.ipc.pending import CallWindow, PendingRequest
from discord_tools.ipc.wire.received import Answered


def request(endpoint: str = "stats", timeout: float = 5.0) -> PendingRequest:
    one = PendingRequest(loop=asyncio.get_running_loop())
    one.endpoint, one.timeout = endpoint, timeout
    one.frame = b'{"jsonrpc":"2.0","id":1,"method":"stats","params":{"a":1}}'
    return one


def window(size: int) -> CallWindow:
    """A window with a number of free places."""
    one = CallWindow()
    one.resize(size)
    return one


def waiting(places: CallWindow, number: int = 1) -> list[asyncio.Task[None]]:
    """Tasks that wait for places, in their order."""
    return [asyncio.create_task(places.wait(request())) for _ in range(number)]


async def turn() -> None:
    """Lets all tasks that can go on do so."""
    for _ in range(3):
        await asyncio.sleep(0)


def done(tasks: list[asyncio.Task[None]]) -> list[bool]:
    return [task.done() for task in tasks]


async def cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


# -- places


async def test_before_the_first_connection_there_is_one_place() -> None:
    places = CallWindow()
    assert [places.acquire() for _ in range(2)] == [True, False]


async def test_places_are_given_until_none_is_free_and_again_after_a_release() -> None:
    places = window(3)
    assert [places.acquire() for _ in range(4)] == [True, True, True, False]
    places.release()
    assert [places.acquire() for _ in range(2)] == [True, False]


async def test_a_released_place_goes_to_the_request_that_waits_longest() -> None:
    places = window(1)
    assert places.acquire()
    tasks = waiting(places, 3)
    for number in range(3):
        await turn()
        assert done(tasks) == [True] * number + [False] * (3 - number)
        places.release()
    await asyncio.gather(*tasks)
    assert not places.acquire()  # the last of them has it


async def test_a_place_that_is_released_for_a_waiting_request_is_not_given_to_a_new_one() -> None:
    places = window(1)
    assert places.acquire()
    (task,) = waiting(places)
    await turn()
    places.release()
    assert not places.acquire()
    await task


async def test_more_places_admit_as_many_more_that_wait() -> None:
    places = window(1)
    assert places.acquire()
    tasks = waiting(places, 4)
    await turn()
    places.resize(3)
    await turn()
    assert done(tasks) == [True, True, False, False]
    await cancel(*tasks[2:])


async def test_fewer_places_are_given_again_once_enough_were_released() -> None:
    places = window(3)
    assert [places.acquire() for _ in range(3)] == [True] * 3
    places.resize(1)
    for _ in range(2):
        assert not places.acquire()
        places.release()
    assert not places.acquire()
    places.release()
    assert [places.acquire() for _ in range(2)] == [True, False]


async def test_a_held_window_gives_no_places_until_it_is_resized() -> None:
    places = window(2)
    assert places.acquire()
    places.hold()
    assert not places.acquire()
    tasks = waiting(places, 3)
    await turn()
    places.release()
    await turn()
    assert done(tasks) == [False] * 3
    places.resize(2)
    await turn()
    assert done(tasks) == [True, True, False]
    await cancel(tasks[2])


# -- requests that wait for a place


async def test_a_wait_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    places = window(1)
    assert places.acquire()
    first, second = waiting(places, 2)
    await turn()
    await cancel(first)
    assert first.cancelled()
    places.release()
    await turn()
    assert second.done()


async def test_a_place_that_is_given_in_the_turn_of_the_cancellation_is_released() -> None:
    places = window(1)
    assert places.acquire()
    first, second = waiting(places, 2)
    await turn()
    places.release()  # to the first one, which has not seen it
    await cancel(first)
    assert first.cancelled()
    await turn()
    assert second.done()
    places.release()
    assert places.acquire()


async def test_what_ends_a_request_is_raised_by_its_wait() -> None:
    places = window(1)
    assert places.acquire()
    one = request("slow", 1.5)
    task = asyncio.create_task(places.wait(one))
    await turn()
    one.expire()
    with pytest.raises(RequestTimeout) as caught:
        await task
    assert (caught.value.endpoint, caught.value.seconds) == ("slow", 1.5)
    places.release()
    assert places.acquire()


async def test_closing_ends_all_that_wait_and_takes_no_places() -> None:
    places = window(1)
    assert places.acquire()
    tasks = waiting(places, 3)
    await turn()
    await cancel(tasks[1])
    places.close(SessionClosed())
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SessionClosed, asyncio.CancelledError, SessionClosed]
    places.release()
    assert places.acquire()


# -- requests


async def test_a_request_ends_once() -> None:
    one = request()
    answer = Answered(one, Raw(b"1"), UNSET)
    one.answered(answer)
    one.answered(Answered(one, Raw(b"2"), UNSET))
    one.lost(SessionClosed())
    one.expire()
    assert one.result() is answer


async def test_a_request_ignores_what_comes_after_its_cancellation() -> None:
    one = request()
    one.cancel()
    one.received([Raw(b"1")])
    one.answered(Answered(one, Raw(b"1"), UNSET))
    one.lost(SessionClosed())
    assert one.cancelled()


async def test_the_parameters_of_a_request_are_returned_to_call_again_unless_that_may_do_harm() -> None:
    assert request().repeated(True) == Raw(b'{"a":1}')
    assert request().repeated(False) is None
