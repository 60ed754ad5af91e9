"""``POST /`` and ``GET /health``."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import Server
from loopback import LoopbackDiscord
from loopback.bots import make_bot
from test_dialects.conftest import KEY, HeldRoutes, Serving

Bot = commands.Bot
TEXT = '{"jsonrpc":"2.0","id":1,"method":"text"}'
WAITS = '{"jsonrpc":"2.0","id":1,"method":"waits"}'


def url_of(server: Server[Any], path: str = "/") -> str:
    return server.ws_url.replace("ws", "http") + path


async def test_a_post_needs_the_key_and_no_foreign_origin(
    server: Server[Bot], http: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    for headers, status in (
        ({}, 401),
        ({"Authorization": "wrong"}, 401),
        ({"Origin": "https://evil.example"}, 403),
    ):
        async with http.post(url_of(server), data=WAITS, headers=headers) as response:
            assert response.status == status
            assert (await response.json())["error"]["code"] == -32001
    assert held.runs == 0
    for key in (KEY, f"Bearer {KEY}"):
        async with http.post(url_of(server), data=TEXT, headers={"Authorization": key}) as response:
            assert (response.status, await response.json()) == (
                200,
                {"jsonrpc": "2.0", "id": 1, "result": "text"},
            )


OURS = "https://ours.example"
FOREIGN = "https://evil.example"


async def test_the_page_of_an_allowed_origin_may_post_and_read_the_answer(
    serving: Serving, keyed: aiohttp.ClientSession
) -> None:
    async with serving(origins=[OURS]) as server:
        async with keyed.post(url_of(server), data=TEXT, headers={"Origin": OURS}) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == OURS
            assert response.headers["Vary"] == "Origin"
        async with keyed.post(url_of(server), data=b"{", headers={"Origin": OURS}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == OURS
        async with keyed.post(url_of(server), data=TEXT, headers={"Origin": FOREIGN}) as response:
            assert "Access-Control-Allow-Origin" not in response.headers
        async with keyed.post(url_of(server), data=TEXT) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_the_page_of_an_allowed_origin_may_read_a_refusal(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async with serving(origins=[OURS]) as server:
        headers = {"Origin": OURS, "Authorization": "wrong"}
        async with http.post(url_of(server), data=TEXT, headers=headers) as response:
            assert response.status == 401
            assert response.headers["Access-Control-Allow-Origin"] == OURS


@pytest.mark.parametrize("private", [True, False])
async def test_a_preflight_request_is_answered_for_the_page_of_an_allowed_origin(
    serving: Serving, http: aiohttp.ClientSession, private: bool
) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    if private:
        asked["Access-Control-Request-Private-Network"] = "true"
    async with serving(origins=[OURS]) as server:
        async with http.options(url_of(server), headers={"Origin": OURS, **asked}) as response:
            assert response.status == 204
            allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
            assert set(allowed) == {"authorization", "content-type"}
            assert response.headers["Access-Control-Allow-Methods"] == "POST"
            assert response.headers["Access-Control-Allow-Origin"] == OURS
            assert ("Access-Control-Allow-Private-Network" in response.headers) is private
        for headers in ({"Origin": FOREIGN, **asked}, asked, {"Origin": OURS, "Host": "rebound.example"}):
            async with http.options(url_of(server), headers=headers) as response:
                assert response.status == 403
                assert not any(name.startswith("Access-Control") for name in response.headers)


async def test_a_post_that_is_too_large_is_refused(serving: Serving, keyed: aiohttp.ClientSession) -> None:
    async with serving(message_bytes=2_000_000) as server:
        for size, status in ((1_500_000, 200), (2_100_000, 413)):
            body = '{"jsonrpc":"2.0","id":1,"method":"echo","params":{"x":"%s"}}' % ("x" * size)
            async with keyed.post(url_of(server), data=io.BytesIO(body.encode())) as response:
                assert response.status == status


async def test_a_post_that_never_ends_is_given_up(serving: Serving, keyed: aiohttp.ClientSession) -> None:
    async def body() -> Any:
        yield b"["
        await asyncio.Event().wait()

    async with serving(handshake_timeout=0.05) as server:
        try:
            async with keyed.post(url_of(server), data=body()) as response:
                assert response.status == 408
        except aiohttp.ClientConnectionError:
            pass  # the server closed the connection while this side was still sending


async def test_posts_run_at_the_same_time_and_within_the_bound(
    serving: Serving, keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async def post(body: str) -> Any:
        async with keyed.post(url_of(server), data=body) as response:
            return await response.json()

    async with serving(calls=1) as server:
        slow = asyncio.create_task(post(WAITS))
        await held.entered.wait()
        assert (await post(TEXT))["error"]["code"] == -32004
        held.opened.set()
        assert (await slow)["result"] == 0
        assert (await post(TEXT))["result"] == "text"


async def test_a_caller_that_disconnects_cancels_its_call(
    server: Server[Bot], keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async def post() -> None:
        async with keyed.post(url_of(server), data=WAITS):
            pass

    posting = asyncio.create_task(post())
    await held.entered.wait()
    posting.cancel()
    await held.cancelled.wait()


async def test_terminating_lets_a_post_end(
    server: Server[Bot], keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async def post() -> Any:
        async with keyed.post(url_of(server), data=WAITS) as response:
            return await response.json()

    posting = asyncio.create_task(post())
    await held.entered.wait()
    end = asyncio.create_task(server.terminate_server())
    asyncio.get_running_loop().call_soon(held.opened.set)
    assert (await posting)["result"] == 0
    await end


async def test_health_says_that_the_bot_is_ready_without_a_key_and_nothing_else(
    server: Server[Bot], http: aiohttp.ClientSession
) -> None:
    async with http.get(url_of(server, "/health")) as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})
    async with http.post(url_of(server, "/health")) as response:
        assert response.status == 405


async def test_health_says_503_while_the_bot_is_not_ready_or_shuts_down(
    loopback: LoopbackDiscord, serving: Serving, keyed: aiohttp.ClientSession, held: HeldRoutes
) -> None:
    async with (
        make_bot(loopback) as starting,
        Server(starting, "127.0.0.1", 0, KEY, multicast=False) as server,
        keyed.get(url_of(server, "/health")) as response,
    ):
        assert (response.status, await response.json()) == (503, {"status": "not ready"})
    async with serving() as server:
        url = url_of(server, "/health")
        async with keyed.ws_connect(server.ws_url) as socket:
            await socket.send_str(WAITS)
            await held.entered.wait()
            async with keyed.get(url) as response:
                assert response.status == 200
                await response.read()
            end = asyncio.create_task(server.terminate_server())
            await asyncio.sleep(0)  # its first step
            assert not server.is_running()
            # The port is free already; this asks on the connection that is still open.
            async with keyed.get(url) as response:
                assert response.status == 503
            held.opened.set()
            await end


async def test_http_can_be_switched_off(serving: Serving, keyed: aiohttp.ClientSession) -> None:
    async with serving(dialects=("jsonrpc",)) as server:
        async with keyed.post(url_of(server), data=TEXT) as response:
            assert response.status == 405
        async with keyed.get(url_of(server, "/health")) as response:
            assert response.status == 404
    async with serving(dialects=("http",)) as server:
        async with keyed.post(url_of(server), data=TEXT) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.WSServerHandshakeError, match="426"):
            await keyed.ws_connect(server.ws_url)
