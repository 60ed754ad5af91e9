"""Calls that a blocked bot reads after their callers have given up are not started."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from discord.ext import commands

from discord_tools.ipc import Server
from discord_tools.ipc_server.watchdog import BEAT, THRESHOLD
from equipment.peers import ScriptedClient
from equipment.serving import memory_client
from test_conversations.routes import Routes

#: How long callers wait, which is long enough for the watchdog to notice.
TIMEOUT = THRESHOLD + 2 * BEAT
EXPIRED = -32005


async def called(client: ScriptedClient, number: int, **members: Any) -> dict[str, Any]:
    await client.call(number, "/echo", {"value": number}, **members)
    return await client.answer_to(number)


def clock() -> dict[str, Any]:
    return {"meta": {"clock": asyncio.get_running_loop().time()}}


async def test_a_call_that_waited_too_long_is_refused_and_the_next_one_runs(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with memory_client(server) as client:
        await client.hello(timeout=TIMEOUT)
        assert (await called(client, 1, **clock()))["result"] == 1
        await client.call(2, "/echo", {"value": 2}, **clock())
        time.sleep(TIMEOUT + 0.1)  # noqa: ASYNC251 (this is what it is about)
        assert (await client.answer_to(2))["error"]["code"] == EXPIRED
        assert (await called(client, 3, **clock()))["result"] == 3
    assert routes.ran == [1, 3]


async def test_a_client_that_sends_no_clock_is_served_after_a_block(
    server: Server[commands.Bot], routes: Routes
) -> None:
    async with memory_client(server) as client:
        await client.hello(timeout=TIMEOUT)
        await client.call(1, "/echo", {"value": 1})
        time.sleep(TIMEOUT + 0.1)  # noqa: ASYNC251 (this is what it is about)
        assert (await client.answer_to(1))["result"] == 1
    assert routes.ran == [1]
