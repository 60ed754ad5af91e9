"""Calls that a blocked bot reads after their callers have given up are not started."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from discord.ext import commands
from test_wire.parts import Routes, Wire, wired

from discord_tools.ipc import Server
from discord_tools.ipc_server.watchdog import BEAT, THRESHOLD

#: How long callers wait, which is long enough for the watchdog to notice.
TIMEOUT = THRESHOLD + 2 * BEAT
EXPIRED = -32005


async def answered(wire: Wire, number: int) -> dict[str, Any]:
    await wire.call(number, "/echo", {"value": number})
    return await wire.answer_to(number)


async def clock(wire: Wire) -> None:
    await wire.say({"method": "rpc.clock", "params": {"time": asyncio.get_running_loop().time()}})


@pytest.mark.parametrize("again", [False, True], ids=["the clock came before", "the clock comes with it"])
async def test_a_call_that_waited_too_long_is_refused(server: Server[commands.Bot], again: bool) -> None:
    routes = Routes(server)
    async with wired(server) as wire:
        await wire.hello(timeout=TIMEOUT)
        await clock(wire)
        assert (await answered(wire, 1))["result"] == 1
        if again:
            await clock(wire)
        await wire.call(2, "/echo", {"value": 2})
        time.sleep(TIMEOUT + 0.1)  # noqa: ASYNC251 (this is what it is about)
        assert (await wire.answer_to(2))["error"]["code"] == EXPIRED
        await clock(wire)
        assert (await answered(wire, 3))["result"] == 3
    assert routes.ran == [1, 3]


async def test_without_a_block_a_clock_that_was_stopped_does_not_count(server: Server[commands.Bot]) -> None:
    Routes(server)
    async with wired(server) as wire:
        await wire.hello(timeout=TIMEOUT)
        await clock(wire)
        assert (await answered(wire, 1))["result"] == 1
        await wire.say({"method": "rpc.clock", "params": {"time": asyncio.get_running_loop().time() - 3600}})
        assert (await answered(wire, 2))["result"] == 2


async def test_a_client_that_sends_no_clock_is_always_served(server: Server[commands.Bot]) -> None:
    Routes(server)
    async with wired(server) as wire:
        await wire.hello(timeout=TIMEOUT)
        await wire.call(1, "/echo", {"value": 1})
        time.sleep(TIMEOUT + 0.1)  # noqa: ASYNC251 (this is what it is about)
        assert (await wire.answer_to(1))["result"] == 1
