"""Clean-up that is not done by halves."""

from __future__ import annotations

import asyncio

import pytest

from discord_tools.ipc.tasks import complete


async def test_what_is_cancelled_goes_on_to_its_end() -> None:
    gate, ended = asyncio.Event(), asyncio.Event()

    async def clean() -> None:
        await gate.wait()
        ended.set()

    task = asyncio.create_task(complete(clean()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_its_error_is_raised(cancelled: bool) -> None:
    gate = asyncio.Event()

    async def fail() -> None:
        await gate.wait()
        raise OSError("as it should")

    task = asyncio.create_task(complete(fail()))
    await asyncio.sleep(0)
    if cancelled:
        task.cancel()
        await asyncio.sleep(0)
    gate.set()
    with pytest.raises(OSError, match="as it should"):
        await task


async def test_without_cancelling_it_just_waits() -> None:
    done: list[int] = []

    async def clean() -> None:
        await asyncio.sleep(0)
        done.append(1)

    await complete(clean())
    assert done == [1]
