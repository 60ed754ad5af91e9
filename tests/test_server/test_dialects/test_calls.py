"""Calls of clients that do not speak our own protocol."""

from __future__ import annotations

import asyncio

from discord.ext import commands

from discord_tools.ipc import Cancelled, Request, ServerLimits
from discord_tools.ipc_server.admission import Admission
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.dialects.calls import ByteBudget, DialectCall, DialectCalls
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.routes import Route, RouteTable
from test_server.tools import CALLER


class Bare:
    """Writes answers and errors with nothing around them."""

    def result(self, result: bytes) -> bytes:
        return result

    def error(self, error: Exception) -> bytes:
        return str(error).encode()


async def test_a_call_that_is_aborted_before_its_first_step_counts_no_longer(bot: commands.Bot) -> None:
    async def echo(request: Request) -> str:
        return "echo"

    table = RouteTable(bot)
    table.add(Route(echo))
    limits = ServerLimits(calls=1)
    budget = MemoryBudget(limits.total_bytes, tuple, lambda: 0)
    calls = DialectCalls(Dispatcher(bot, table), Admission(limits, budget), budget, limits)
    answers: list[bytes | None] = []

    def call() -> DialectCall:
        return DialectCall(CALLER, "echo", b"{}", {}, Bare(), ByteBudget(1000), answers.append)

    first = call()
    calls.start(first)
    first.abort(Cancelled("the caller has disconnected"))
    assert first.task is not None
    await asyncio.wait((first.task,))
    second = call()
    calls.start(second)
    assert second.task is not None
    await asyncio.wait((second.task,))
    assert answers == [b"the caller has disconnected (code -32006)", b'"echo"']
