from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from discord_tools.ipc import (
    ClientLimits,
    ConnectError,
    IPCError,
    ResolutionError,
    Unauthorized,
    UnprovenServer,
)
from discord_tools.ipc.address import Address
from discord_tools.ipc.connectors.websocket import WebSocketConnector
from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.transports.websocket import WebSocketTransport
from discord_tools.ipc.wire.handshake import Hello, decode_welcome, encode_hello
from equipment.key import KEY
from equipment.ports import VacantPort, answering, listening, silence
from equipment.serving import QUICK
from equipment.websockets import ScriptedWebSocket, WebSocketBot, multicast_bot, port_answer

IMPATIENT = ClientLimits(handshake_timeout=0.1, close_timeout=0.05)
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: nonsense\r\n\r\n"
)


def connector(port: int | None, multicast_port: int = 20000, **options: Any) -> WebSocketConnector:
    """A connector for a port, or for a bot whose port the multicast port knows."""
    address = Address(host=options.pop("host", "127.0.0.1"), port=port or 0)
    options = {"secret_key": KEY, "limits": QUICK, **options}
    return WebSocketConnector(address, multicast_port, **options)


@asynccontextmanager
async def connecting(one: WebSocketConnector) -> AsyncIterator[Transport]:
    """One attempt of a connector, which is closed afterwards."""
    try:
        transport = await one.connect()
        try:
            yield transport
        finally:
            await transport.close()
    finally:
        await one.close()


async def connect(one: WebSocketConnector) -> None:
    """Makes one attempt and disconnects."""
    async with connecting(one):
        pass


async def test_the_handshake_shows_the_key_and_the_subprotocol() -> None:
    async with WebSocketBot(ScriptedWebSocket.ended) as bot:
        await connect(connector(bot.port))
        headers = bot.requests[0].headers
        assert headers["Authorization"] == KEY
        assert headers["Sec-WebSocket-Protocol"] == "discord-tools.ipc.1"
        assert "Sec-WebSocket-Extensions" not in headers
        assert "Origin" not in headers


@pytest.mark.parametrize("protocols", [(), ("discord-tools.ipc.2",)])
async def test_a_server_without_the_subprotocol_is_taken_for_an_older_one(protocols: tuple[str, ...]) -> None:
    bot = WebSocketBot(ScriptedWebSocket.ended, protocols=protocols)
    async with bot, connecting(connector(bot.port, older_servers=True)) as transport:
        assert not isinstance(transport, WebSocketTransport)
        await transport.send(encode_hello(Hello("test")))
        assert decode_welcome(await transport.receive()).streams is False


async def test_without_a_key_none_is_shown() -> None:
    async with WebSocketBot(ScriptedWebSocket.ended) as bot:
        await connect(connector(bot.port, secret_key=None))
        assert "Authorization" not in bot.requests[0].headers


@asynccontextmanager
async def bot_with(**options: Any) -> AsyncIterator[int]:
    async with WebSocketBot(ScriptedWebSocket.ended, **options) as bot:
        yield bot.port


@asynccontextmanager
async def nobody() -> AsyncIterator[int]:
    with VacantPort() as port:
        yield port


Place = AbstractAsyncContextManager[int]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (nobody, "(?i)connect"),
        (lambda: listening(silence), "no answer within 0.1 s"),
        (lambda: listening(answering(b"")), "."),
        (lambda: listening(answering(b"220 mail.example.org ESMTP\r\n")), "."),
        (lambda: listening(answering(b"\x00\xff" * 1000)), "."),
        (lambda: listening(answering(b"HTTP/1.1 101 Swit")), "."),
        (lambda: listening(answering(ACCEPT)), "HTTP 101"),
        (lambda: bot_with(status=200), "something else listens there: it answers HTTP 200"),
        (lambda: bot_with(status=302), "something else listens there: it answers HTTP 302"),
        (lambda: bot_with(status=404), "something else listens there: it answers HTTP 404"),
        (lambda: bot_with(status=500), "something else listens there: it answers HTTP 500"),
        (lambda: bot_with(status=403), "refuses this origin"),
        (lambda: bot_with(status=503), "too many connections or is shutting down"),
    ],
    ids=[
        "nobody",
        "silent",
        "closes",
        "not HTTP",
        "binary",
        "half an answer",
        "no WebSocket",
        "200",
        "302",
        "404",
        "500",
        "403",
        "503",
    ],
)
async def test_an_attempt_that_fails_is_a_connect_error_that_says_why(
    place: Callable[[], Place], reason: str
) -> None:
    async with place() as port:
        with pytest.raises(ConnectError, match=reason) as caught:
            await connect(connector(port, limits=IMPATIENT))
    assert type(caught.value) is ConnectError
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)


async def test_a_reset_during_the_handshake_is_a_connect_error() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with listening(reset) as port:
        with pytest.raises(ConnectError):
            await connect(connector(port))


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 8000),
        ("not a host", 8000),
        ("nobody.invalid", 8000),
        ("x" * 300, 8000),
        ("a..b", 8000),
        ("1.2.3.4.5:6", 8000),
        ("127.0.0.1", -1),
        ("127.0.0.1", 65536),
        ("127.0.0.1", "nonsense"),
        ("\ud800", 8000),
        ("127.0.0.1\r\nX: y", 8000),
    ],
    ids=range(11),
)
async def test_an_invalid_host_or_port_is_a_connect_error(host: str, port: int) -> None:
    with pytest.raises(ConnectError) as caught:
        await connect(connector(port, host=host))
    assert (caught.value.host, caught.value.port) == (host, port)


async def test_a_wrong_key_is_unauthorized() -> None:
    async with WebSocketBot(key="another key") as bot:
        with pytest.raises(Unauthorized) as caught:
            await connect(connector(bot.port))
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", bot.port)


async def test_a_wrong_key_is_unauthorized_even_with_a_session_that_raises_for_a_status() -> None:
    async with WebSocketBot(key="another key") as bot, aiohttp.ClientSession(raise_for_status=True) as http:
        with pytest.raises(Unauthorized):
            await connector(bot.port, http=http).connect()


async def test_a_given_session_that_is_closed_is_a_connect_error() -> None:
    async with WebSocketBot() as bot:
        http = aiohttp.ClientSession()
        await http.close()
        with pytest.raises(ConnectError, match="closed"):
            await connector(bot.port, http=http).connect()


async def test_a_message_as_large_as_the_limit_is_taken_and_a_larger_one_is_not() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.send_bytes(b"x" * 5000)
        await far.send_bytes(b"x" * 5001)
        await far.ended()

    limits = ClientLimits(message_bytes=5000)
    async with WebSocketBot(script) as bot, connecting(connector(bot.port, limits=limits)) as transport:
        assert await transport.receive() == b"x" * 5000
        with pytest.raises(Closed, match="exceeds limit"):
            await transport.receive()


async def test_a_bot_that_does_not_answer_the_heartbeat_is_disconnected() -> None:
    async def not_reading(far: ScriptedWebSocket) -> None:
        # Reads nothing, and so answers no PING.
        await over.wait()

    over = asyncio.Event()
    limits = ClientLimits(heartbeat=0.1, close_timeout=0.1)
    async with WebSocketBot(not_reading) as bot, connecting(connector(bot.port, limits=limits)) as transport:
        try:
            async with asyncio.timeout(5):
                with pytest.raises(Closed, match="heartbeat") as caught:
                    await transport.receive()
            assert not caught.value.clean
        finally:
            over.set()


# -- without a port


async def test_without_a_key_the_multicast_port_is_asked_once_and_its_answer_remembered() -> None:
    async with (
        WebSocketBot(ScriptedWebSocket.ended) as bot,
        multicast_bot(port_answer(bot.port)) as multicast,
    ):
        one = connector(None, multicast.port, secret_key=None)
        assert (one.address.port, one.label) == (multicast.port, f"127.0.0.1:{multicast.port}")
        await connect(one)
        await connect(one)
        assert (one.address.port, one.label) == (bot.port, f"127.0.0.1:{bot.port}")
        assert len(multicast.requests) == 1


async def test_with_a_key_the_multicast_port_proves_each_time_that_the_port_is_the_bots() -> None:
    async with (
        WebSocketBot(ScriptedWebSocket.ended) as bot,
        WebSocketBot(ScriptedWebSocket.ended) as grabbed,
        multicast_bot(port_answer(grabbed.port), port_answer(bot.port)) as multicast,
    ):
        one = connector(None, multicast.port)
        await connect(one)
        await connect(one)
        assert (len(grabbed.requests), len(bot.requests), len(multicast.requests)) == (1, 1, 2)


async def test_a_remembered_port_is_not_used_once_the_multicast_port_proves_nothing() -> None:
    async with (
        WebSocketBot(ScriptedWebSocket.ended) as bot,
        multicast_bot(port_answer(bot.port), {**port_answer(bot.port), "proof": "0" * 64}) as multicast,
    ):
        one = connector(None, multicast.port)
        await connect(one)
        with pytest.raises(UnprovenServer):
            await connect(one)
        assert len(bot.requests) == 1
        assert one.address.port == multicast.port


async def test_the_multicast_port_is_asked_again_after_an_attempt_that_failed(vacant: VacantPort) -> None:
    async with (
        WebSocketBot(ScriptedWebSocket.ended) as bot,
        multicast_bot(port_answer(vacant.port), port_answer(bot.port)) as multicast,
    ):
        one = connector(None, multicast.port)
        with pytest.raises(ConnectError):
            await connect(one)
        assert one.address.port == multicast.port
        await connect(one)
        assert one.address.port == bot.port


async def test_with_a_given_port_the_multicast_port_is_never_asked(vacant: VacantPort) -> None:
    port = vacant.port
    async with multicast_bot(port_answer(1)) as multicast:
        one = connector(port, multicast.port)
        for _ in range(2):
            with pytest.raises(ConnectError):
                await connect(one)
        assert one.address.port == port
        assert multicast.requests == []


async def test_a_bot_with_a_key_at_the_remembered_port_is_not_taken_for_the_one_without() -> None:
    async with (
        WebSocketBot(ScriptedWebSocket.ended) as old,
        WebSocketBot(ScriptedWebSocket.ended) as new,
        multicast_bot(port_answer(old.port), port_answer(new.port)) as multicast,
    ):
        one = connector(None, multicast.port, secret_key=None)
        await connect(one)
        old.key = "another bot's key"
        await connect(one)
        assert one.address.port == new.port


async def test_a_key_that_is_wrong_at_the_new_port_too_is_wrong() -> None:
    async with (
        WebSocketBot(ScriptedWebSocket.ended, key=KEY) as bot,
        multicast_bot(port_answer(bot.port)) as multicast,
    ):
        one = connector(None, multicast.port)
        await connect(one)
        bot.key = "a new key"
        with pytest.raises(Unauthorized):
            await connect(one)
        assert len(multicast.requests) == 2


@pytest.mark.parametrize(
    ("place", "error"),
    [
        (nobody, ResolutionError),
        (lambda: listening(silence), ResolutionError),
        (lambda: listening(answering(b"220 mail.example.org ESMTP\r\n")), ResolutionError),
        (lambda: bot_with(status=200), ResolutionError),
        (lambda: bot_with(status=403), ResolutionError),
        (lambda: bot_with(status=401), Unauthorized),
    ],
    ids=["nobody", "silent", "not HTTP", "200", "403", "401"],
)
async def test_an_attempt_that_fails_at_the_multicast_port_says_what_is_there(
    place: Callable[[], Place], error: type[IPCError]
) -> None:
    async with place() as port:
        with pytest.raises(error) as caught:
            await connect(connector(None, port, limits=IMPATIENT))
    assert type(caught.value) is error
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)  # pyright: ignore[reportAttributeAccessIssue]
