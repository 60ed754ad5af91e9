"""Calls of clients that do not speak our own protocol."""

from __future__ import annotations

import asyncio

from discord.ext import commands

from discord_tools.ipc import Cancelled, Request, ServerLimits
from discord_tools.ipc_server.dialects.calls import ByteBudget, Caller, DialectCall, Pool
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.routes import Route, RouteTable


class Plain:
    """Writes what it is told, and nothing around it."""

    def result(self, result: bytes) -> bytes:
        return result

    def error(self, error: Exception) -> bytes:
        return str(error).encode()


async def test_a_call_that_is_aborted_before_its_first_step_gives_its_place_back(bot: commands.Bot) -> None:
    async def echo(request: Request) -> str:
        return "echo"

    table = RouteTable(bot)
    table.add(Route(echo))
    limits = ServerLimits(calls=1)
    caller = Caller(Pool(Dispatcher(bot, table), limits), limits)
    answers: list[bytes | None] = []

    def call() -> DialectCall:
        return DialectCall("echo", b"{}", {}, Plain(), ByteBudget(1000), answers.append)

    first = call()
    caller.start(first)
    first.abort(Cancelled("the caller has gone"))
    assert first.task is not None
    await asyncio.wait((first.task,))
    second = call()
    caller.start(second)
    assert second.task is not None
    await asyncio.wait((second.task,))
    assert answers == [b"the caller has gone (code -32006)", b'"echo"']
