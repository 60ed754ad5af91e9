"""The published package discord-ext-ipcx: its unchanged client at our server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from discord.ext import commands, ipcx

from discord_tools.ipc import Server
from discord_tools.ipc.missing import MISSING
from test_dialects.conftest import KEY, HeldRoutes, Serving

Bot = commands.Bot


def client_of(server: Server[Bot], key: str | None = KEY, *, resolve: bool = True) -> ipcx.Client:
    port = None if resolve else server.port
    return ipcx.Client("127.0.0.1", port=port, multicast_port=server.multicast_port, secret_key=key)


async def test_an_ipcx_client_finds_the_port_and_gets_bare_answers(server: Server[Bot]) -> None:
    async with client_of(server) as client:
        assert await client.request("get_member_count") == 42
        assert client.port == server.port
        assert await client.request("nothing") is None
        assert await client.request("text") == "text"
        assert await client.request("listing") == [1, "zwei", None]
        data = {"guild_id": 81384788765712384, "name": "Zoë"}
        assert await client.request("echo", **data) == {"data": data}
        assert await client.request("/text") == "text"


async def test_an_ipcx_client_gets_its_errors_to_the_letter(server: Server[Bot]) -> None:
    async with client_of(server) as client:
        assert await client.request("no_such_route") == {
            "error": "Invalid or no endpoint given.",
            "code": 400,
        }
        assert await client.request("fails") == {
            "error": "IPC route raised error of type ValueError",
            "code": 500,
        }
        assert await client.request("refuses") == {"error": "no such member", "code": 404}
        bad = await client.request("guild_name", guild="x")
        assert bad["code"] == 500
        assert bad["error"].startswith("bad data: guild: ")


async def test_an_ipcx_client_with_a_wrong_key_gets_nothing_done(
    server: Server[Bot], held: HeldRoutes
) -> None:
    refusal = {"error": "Invalid or no token provided.", "code": 403}
    for key in ("wrong", None, "", ["k"], {"k": 1}, 5):
        async with client_of(server, key, resolve=False) as client:  # type: ignore[arg-type]
            assert await client.request("waits") == refusal
        async with client_of(server, key) as client:  # type: ignore[arg-type]
            with pytest.raises(KeyError):  # that is how it takes the refusal of the multicast port
                await client.request("waits")
    assert held.runs == 0


async def test_requests_of_an_ipcx_client_run_at_the_same_time(server: Server[Bot], held: HeldRoutes) -> None:
    async with client_of(server, resolve=False) as client:
        slow = asyncio.create_task(client.request("waits", answer=7))
        await held.entered.wait()
        assert await asyncio.gather(*(client.request("echo", n=n) for n in range(30))) == [
            {"data": {"n": n}} for n in range(30)
        ]
        held.opened.set()
        assert await slow == 7


async def test_an_ipcx_client_is_never_pinged_and_so_runs_a_slow_route_once(
    serving: Serving, held: HeldRoutes
) -> None:
    async with serving(heartbeat=0.05) as server, client_of(server) as client:
        slow = asyncio.create_task(client.request("waits"))
        await held.entered.wait()
        loop = asyncio.get_running_loop()
        loop.call_later(0.4, held.opened.set)  # eight heartbeats
        assert await slow == 0
        assert held.runs == 1


async def test_an_answer_that_is_too_large_becomes_an_error(serving: Serving) -> None:
    async with serving(message_bytes=64 * 1024 * 1024) as server, client_of(server) as client:
        most = 4 * 1024 * 1024 - 3  # with its quotes, one byte less than kills the client
        assert len(await client.request("large", size=most)) == most
        refused = await client.request("large", size=most + 1)
        assert refused["code"] == 500
        assert "bytes" in refused["error"]


async def test_an_ipcx_client_that_goes_cancels_its_call(server: Server[Bot], held: HeldRoutes) -> None:
    async with client_of(server) as client:
        asking = asyncio.create_task(client.request("waits"))
        await held.entered.wait()
        asking.cancel()
        await held.cancelled.wait()


async def test_the_time_for_a_call_holds_for_an_ipcx_client(serving: Serving, held: HeldRoutes) -> None:
    async with serving(call_timeout=0.05) as server, client_of(server) as client:
        answer = await client.request("waits")
        assert answer == {"error": "the time for this call is over", "code": 500}
        await held.cancelled.wait()


async def test_all_ipcx_clients_together_have_the_bound_of_one(serving: Serving, held: HeldRoutes) -> None:
    async with serving(calls=1) as server, client_of(server) as client:
        slow = asyncio.create_task(client.request("waits"))
        await held.entered.wait()
        assert (await client.request("text"))["code"] == 500
        held.opened.set()
        assert await slow == 0
        assert await client.request("text") == "text"


async def test_terminating_lets_the_call_of_an_ipcx_client_end(server: Server[Bot], held: HeldRoutes) -> None:
    async with client_of(server) as client:
        slow = asyncio.create_task(client.request("waits", answer=3))
        await held.entered.wait()
        end = asyncio.create_task(server.terminate_server())
        asyncio.get_running_loop().call_soon(held.opened.set)
        assert await slow == 3
        await end


async def test_it_is_logged_once_that_such_a_client_is_connected_and_how_to_migrate(
    server: Server[Bot], caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(server, "wrong", resolve=False) as client:
        await client.request("text")
    assert "ClientSession" not in caplog.text
    caplog.set_level(logging.INFO)
    async with client_of(server) as client:
        await client.request("text")
        await client.request("text")
    lines = [r.getMessage() for r in caplog.records if "ClientSession" in r.getMessage()]
    assert len(lines) == 1
    assert "discord-ext-ipc" in lines[0]
    assert "ipc-client" in lines[0]


async def test_without_a_key_at_the_server_an_ipcx_client_needs_none(serving: Serving) -> None:
    async with serving(secret_key=MISSING) as server, client_of(server, None) as client:
        assert await client.request("text") == "text"


async def test_an_ipcx_client_works_against_a_bot_with_several_addresses(serving: Serving) -> None:
    async with serving(host="localhost") as server:
        client: Any = ipcx.Client("localhost", multicast_port=server.multicast_port, secret_key=KEY)
        async with client:
            assert await client.request("text") == "text"
