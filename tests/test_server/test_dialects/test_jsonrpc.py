"""One message of JSON-RPC with its requests, and its answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Cancelled, Request, ServerLimits
from discord_tools.ipc.wire.jsonrpc import read_body
from discord_tools.ipc_server.dialects.jsonrpc import Exchange
from equipment.until import until
from test_server.tools import CALLER, MemoryServer, jsonrpc, memory_server


class Routes:
    """Routes for these tests, and what they did."""

    def __init__(self, server: MemoryServer) -> None:
        self.ran: list[str] = []
        self.ended: list[str] = []
        self.release = asyncio.Event()
        for callback in (self.text, self.wait, self.large):
            server.add_route(callback)

    async def text(self, request: Request) -> str:
        self.ran.append("text")
        return "text"

    async def wait(self, request: Request) -> str:
        self.ran.append("wait")
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return "waited"

    async def large(self, request: Request) -> str:
        return "x" * 2500


def result(value: Any, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": value}


def notification(method: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method}


async def answer(server: MemoryServer, message: Any) -> Any:
    async with asyncio.timeout(5):
        return await server.post(message)


def codes(answers: list[dict[str, Any]]) -> list[int | None]:
    """The codes of the errors in a batch; ``None`` for results."""
    return [one["error"]["code"] if "error" in one else None for one in answers]


@pytest.mark.parametrize("number", [1, "one", 1.5, None, 2**80])
async def test_a_request_is_answered_under_its_id(bot: commands.Bot, number: Any) -> None:
    async with memory_server(bot) as server:
        Routes(server)
        assert await answer(server, jsonrpc("text", number=number)) == result("text", number)


async def test_a_notification_is_answered_with_nothing_and_runs(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        routes = Routes(server)
        assert await server.post(notification("wait")) is None
        assert await server.post(notification("nothing")) is None
        await until(lambda: routes.ran == ["wait"])


async def test_a_batch_is_answered_in_its_order_when_all_of_it_is_done(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        routes = Routes(server)
        batch = [jsonrpc("wait", number=1), notification("text"), {"id": 5}, jsonrpc("text", number=2)]
        answered = server.post(batch)
        await until(lambda: routes.ran == ["wait", "text", "text"])
        assert not answered.done()
        routes.release.set()
        answers = await answered
    assert [one["id"] for one in answers] == [1, None, 2]
    assert codes(answers) == [None, -32600, None]


async def test_a_batch_of_notifications_is_answered_with_nothing(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        routes = Routes(server)
        assert await answer(server, [notification("text")] * 3) is None
        await until(lambda: routes.ran == ["text"] * 3)


@pytest.mark.parametrize(
    ("message", "code"), [(b"garbage", -32700), (b"17", -32600), ({"id": 1}, -32600), ([], -32600)]
)
async def test_a_message_that_is_no_request_is_answered_with_an_error(
    bot: commands.Bot, message: Any, code: int
) -> None:
    async with memory_server(bot) as server:
        assert (await answer(server, message))["error"]["code"] == code


async def test_a_batch_cannot_have_more_requests_than_a_caller_may_have_calls(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(calls=2)) as server:
        routes = Routes(server)
        assert codes(await answer(server, [jsonrpc("text"), jsonrpc("text")])) == [None, None]
        assert (await answer(server, [jsonrpc("text")] * 3))["error"]["code"] == -32600
        assert routes.ran == ["text"] * 2


async def test_the_answers_to_a_batch_share_one_budget(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(message_bytes=4096)) as server:
        Routes(server)
        answers = await answer(server, [jsonrpc("large", number=n) for n in range(3)])
    assert codes(answers) == [None, -32007, -32007]


async def test_lists_of_routes_in_a_batch_share_the_budget_too(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(message_bytes=4096)) as server:
        Routes(server)
        size = len(json.dumps(await answer(server, jsonrpc("rpc.discover")), separators=(",", ":")))
        most = 4096 // size
        assert 1 <= most < 20
        answers = await answer(server, [jsonrpc("rpc.discover", number=n) for n in range(20)])
    assert codes(answers) == [None] * most + [-32007] * (20 - most)


async def test_methods_of_the_protocol_are_answered_without_a_route(bot: commands.Bot) -> None:
    async with memory_server(bot) as server:
        Routes(server)
        described = (await answer(server, jsonrpc("rpc.discover")))["result"]
        assert [method["name"] for method in described["methods"]] == ["large", "text", "wait"]
        assert codes([await answer(server, jsonrpc("rpc.hello"))]) == [-32601]
        assert await answer(server, notification("rpc.discover")) is None


async def test_aborting_answers_and_cancels_all_calls_but_notifications(bot: commands.Bot) -> None:
    answers: list[bytes | None] = []
    async with memory_server(bot) as server:
        routes = Routes(server)
        body = read_body(b'[{"jsonrpc":"2.0","id":1,"method":"wait"},{"jsonrpc":"2.0","method":"wait"}]', 10)
        exchange = Exchange(server.service, CALLER, None, body, answers.append)
        await exchange.start()
        await until(lambda: routes.ran == ["wait", "wait"])
        assert exchange.open
        exchange.abort(Cancelled("the caller has disconnected"))
        assert not exchange.open
        assert len(answers) == 1
        assert answers[0] is not None
        assert b'"code":-32006' in answers[0]
        await until(lambda: routes.ended == ["cancelled"])
        routes.release.set()
        await server.service.drain(())
        assert routes.ended == ["cancelled", "done"]
        assert len(answers) == 1
