"""Names of routes in calls, and waiting for the handlers of calls."""

from __future__ import annotations

import asyncio

import pytest

from discord_tools.ipc import ServerLimits
from discord_tools.ipc_server.call import normal, wait_for_handlers
from discord_tools.ipc_server.dialects.calls import ByteBudget, DialectCall
from test_server.tools import CALLER


def call(endpoint: str, task: asyncio.Task[None] | None) -> DialectCall:
    one = DialectCall(CALLER, endpoint, b"{}", {}, None, ByteBudget(0), print)
    one.task = task
    return one


def endless() -> asyncio.Task[None]:
    async def wait() -> None:
        await asyncio.Event().wait()

    return asyncio.create_task(wait())


async def cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("stats", "/stats"), ("/stats", "/stats"), ("a/b", "/a/b"), ("//x", "//x"), ("", "/")],
)
def test_the_name_of_a_route_has_one_leading_slash(name: str, expected: str) -> None:
    assert normal(name) == expected


async def test_handlers_are_waited_for_until_they_end() -> None:
    tasks = [endless() for _ in range(2)]
    calls = [call("one", tasks[0]), call("two", tasks[1]), call("three", None)]
    waiting = asyncio.create_task(wait_for_handlers(calls, (), ServerLimits().grace_period))
    for task in tasks:
        await asyncio.sleep(0)
        assert not waiting.done()
        task.cancel()
    await asyncio.wait_for(waiting, 5)


async def test_spared_handlers_are_not_waited_for() -> None:
    spared = endless()
    await asyncio.wait_for(wait_for_handlers([call("one", spared)], (spared,), 3600), 5)
    assert not spared.done()
    await cancel(spared)


async def test_handlers_that_take_longer_are_logged_by_their_bounded_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = [endless() for _ in range(3)]
    calls = [call("b", tasks[0]), call("a", tasks[1]), call("x" * 5000, tasks[2])]
    await wait_for_handlers(calls, (), 0.01)
    assert caplog.messages == [f"Still running after 0.01 s: /a, /b, /{'x' * 199}"]
    await cancel(*tasks)


async def test_other_tasks_are_waited_for_and_not_named(caplog: pytest.LogCaptureFixture) -> None:
    other, handler = endless(), endless()
    await wait_for_handlers([call("one", handler)], (), 0.01, (other,))
    assert caplog.messages == ["Still running after 0.01 s: /one"]
    await cancel(other, handler)
