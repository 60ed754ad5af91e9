"""Which clients are accepted, and how the port is found."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession, ConnectError, Request, ResolutionError, Server, Unauthorized
from discord_tools.ipc.missing import MISSING
from equipment.key import KEY
from equipment.ports import VacantPort
from equipment.serving import serving
from equipment.websockets import (
    HELLO,
    RawWebSocket,
    ScriptedWebSocket,
    WebSocketBot,
    multicast_bot,
    upgrade_request,
    websocket_client,
)


@pytest.fixture
async def open_server(loopback_bot: commands.Bot) -> AsyncIterator[Server[commands.Bot]]:
    """A server with a key, a multicast port, and one origin that may connect."""
    server = serving(loopback_bot, multicast_port=0, origins=["https://dashboard.example"])

    @server.route()
    async def whoami(request: Request) -> str:
        return "bot"

    async with server:
        yield server


async def status(port: int, *headers: str) -> int:
    """The HTTP status that a handshake with these headers gets."""
    socket = await RawWebSocket.open(port, upgrade_request(*headers))
    await socket.close()
    return socket.status


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([f"Authorization: {KEY}"], 101),
        ([f"Authorization: Bearer {KEY}"], 101),
        ([], 401),
        (["Authorization:"], 401),
        (["Authorization: wrong"], 401),
        ([f"Authorization: {KEY}x"], 401),
        ([f"Authorization: {KEY[:-1]}"], 401),
        ([f"Authorization: {KEY.upper()}"], 401),
        ([f"Authorization: bearer {KEY}"], 101),
        # Programs may send any origin: no page can set the other header.
        ([f"Authorization: {KEY}", "Origin: https://evil.example"], 101),
        (["Authorization: wrong", "Origin: https://evil.example"], 401),
        (["Origin: https://evil.example"], 403),
        (["Origin: null"], 403),
        (["Origin: https://dashboard.example.evil.example"], 403),
        (["Origin: https://dashboard.example"], 401),
        ([f"Authorization: {KEY}", "Origin: https://dashboard.example"], 101),
        (["Authorization: wrong", "Origin: https://dashboard.example"], 401),
    ],
)
async def test_only_requests_with_the_right_key_are_upgraded(
    open_server: Server[commands.Bot], headers: list[str], expected: int
) -> None:
    assert await status(open_server.port, *headers) == expected


@pytest.mark.parametrize("multicast", [False, True])
async def test_clients_that_disconnect_during_the_handshake_leave_no_error(
    open_server: Server[commands.Bot], multicast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    port = open_server.multicast_port if multicast else open_server.port
    for _ in range(100):
        # All of this has happened before the server, in the same thread, gets to see any of it.
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(upgrade_request(f"Authorization: {KEY}").encode())
            # Closing with a lingering of no seconds resets the connection.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    async with ClientSession(multicast_port=open_server.multicast_port, secret_key=KEY) as session:
        assert await session.request("whoami") == "bot"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_wrong_key_is_an_error_at_the_start(open_server: Server[commands.Bot]) -> None:
    with pytest.raises(Unauthorized):
        async with ClientSession(port=open_server.port, secret_key="wrong"):
            pytest.fail("it must not start")


async def test_a_wrong_key_is_an_error_at_the_multicast_port(open_server: Server[commands.Bot]) -> None:
    with pytest.raises(Unauthorized):
        async with ClientSession(multicast_port=open_server.multicast_port, secret_key="wrong"):
            pytest.fail("it must not start")


async def test_the_multicast_port_tells_the_port(open_server: Server[commands.Bot]) -> None:
    async with ClientSession(multicast_port=open_server.multicast_port, secret_key=KEY) as session:
        assert await session.request("whoami") == "bot"
        assert session.url == f"ws://localhost:{open_server.port}"


async def test_a_key_that_was_changed_is_an_error_of_the_next_request(loopback_bot: commands.Bot) -> None:
    server = serving(loopback_bot)
    await server.start()
    port = server.port
    async with ClientSession(port=port, secret_key=KEY) as session:
        assert session.is_connected()
        await server.terminate_server()
        async with serving(loopback_bot, port=port, secret_key="another"):
            with pytest.raises(Unauthorized):
                await session.request("whoami")


async def test_a_page_in_a_browser_that_was_allowed_can_call(loopback_bot: commands.Bot) -> None:
    # A browser can set no Authorization header, offers to compress, and sends text.
    server = serving(loopback_bot, secret_key=MISSING, origins=["https://dashboard.example"])

    @server.route()
    async def greet(request: Request, name: str) -> str:
        return f"Grüße, {name}"

    async with (
        server,
        websocket_client(
            server.port, None, hello=False, origin="https://dashboard.example", compress=15
        ) as page,
    ):
        await page.send_text(json.dumps({**HELLO, "params": {"client": "Mozilla/5.0"}}).encode())
        assert (await page.read())["id"] == "hello"
        await page.call(1, "greet", {"name": "Zoë"})
        assert (await page.read())["result"] == "Grüße, Zoë"


# -- the multicast port, and what else may listen there


async def closes(bot: ScriptedWebSocket) -> None:
    """A script that closes each connection at once."""


@pytest.mark.parametrize(
    "bot",
    [
        WebSocketBot(status=200),
        WebSocketBot(closes),
        *map(
            multicast_bot,
            (
                "hello",
                "[]",
                "{}",
                '{"port": 0}',
                '{"port": 70000}',
                '{"port": "http"}',
                '{"port": {"a": 1}}',
                '{"error": "no idea", "code": 500}',
                b"\xff\x00",
                "[" * 50_000,
            ),
        ),
    ],
)
async def test_another_program_at_the_multicast_port_is_one_clear_error(bot: WebSocketBot) -> None:
    async with bot, ClientSession(multicast_port=bot.port, secret_key=KEY, connect_timeout=0.3) as session:
        with pytest.raises(ResolutionError) as caught:
            await session.request("whoami")
    assert str(bot.port) in str(caught.value)


async def test_a_multicast_port_on_which_nothing_listens_is_one_clear_error() -> None:
    with VacantPort() as port:
        async with ClientSession(multicast_port=port, secret_key=KEY, connect_timeout=0.3) as session:
            with pytest.raises(ResolutionError) as caught:
                await session.request("whoami")
    assert str(port) in str(caught.value)


async def test_a_multicast_port_that_answers_with_a_vacant_port_gives_a_connect_error() -> None:
    answer = {"message": "ok", "code": 200}
    with VacantPort() as vacant:
        async with (
            multicast_bot({**answer, "port": vacant}) as bot,
            ClientSession(multicast_port=bot.port, secret_key=KEY, connect_timeout=0.3) as session,
        ):
            with pytest.raises(ConnectError) as caught:
                await session.request("whoami")
    assert not isinstance(caught.value, ResolutionError)


@pytest.mark.parametrize(
    "question",
    [
        "hello",
        "[]",
        "{}",
        '{"connect": false}',
        '{"connect": "yes"}',
        '{"connect": true}',
        '{"connect": true, "headers": {}}',
        '{"connect": true, "headers": {"Authorization": 7}}',
        '{"connect": true, "headers": []}',
        "[" * 10_000,
    ],
)
async def test_the_multicast_port_refuses_questions_without_the_key(
    open_server: Server[commands.Bot], question: str
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"ws://127.0.0.1:{open_server.multicast_port}/") as socket,
    ):
        await socket.send_str(question)
        answer = await socket.receive_json(timeout=5)
        assert answer["code"] in (400, 403)
        assert str(open_server.port) not in json.dumps(answer)
    async with ClientSession(multicast_port=open_server.multicast_port, secret_key=KEY) as session:
        assert await session.request("whoami") == "bot"


async def test_the_multicast_port_refuses_browsers(open_server: Server[commands.Bot]) -> None:
    assert await status(open_server.multicast_port, "Origin: https://evil.example") == 403
