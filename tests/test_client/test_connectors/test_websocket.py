from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from discord_tools.ipc import ClientLimits, ConnectError, IPCError, ResolutionError, Unauthorized
from discord_tools.ipc.connectors.websocket import OlderServer, WebSocketConnector, url_of
from discord_tools.ipc.transports.base import Closed
from test_client.scripts import (
    KEY,
    QUICK,
    Bot,
    Talk,
    Vacant,
    listening,
    multicasting,
    saying,
    silence,
    told,
)

IMPATIENT = ClientLimits(handshake_timeout=0.1, close_timeout=0.05)
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: nonsense\r\n\r\n"
)


def dialer(port: int | None, multicast_port: int = 20000, **options: Any) -> WebSocketConnector:
    options = {"host": "127.0.0.1", "secret_key": KEY, "limits": QUICK, **options}
    return WebSocketConnector(port=port, multicast_port=multicast_port, **options)


async def dial(one: WebSocketConnector) -> None:
    """Makes one attempt and hangs up."""
    async with aiohttp.ClientSession() as http:
        transport = await one.dial(http)
        assert not isinstance(transport, OlderServer)
        await transport.close()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "ws://localhost:1/"),
        ("127.0.0.1", "ws://127.0.0.1:1/"),
        ("::1", "ws://[::1]:1/"),
        ("example.org", "ws://example.org:1/"),
    ],
)
def test_an_address_makes_a_url(host: str, url: str) -> None:
    assert url_of(host, 1) == url


async def test_the_handshake_shows_the_key_and_the_subprotocol() -> None:
    async with Bot(Talk.ended) as bot:
        await dial(dialer(bot.port))
        headers = bot.requests[0].headers
        assert headers["Authorization"] == KEY
        assert headers["Sec-WebSocket-Protocol"] == "discord-tools.ipc.1"
        assert "Sec-WebSocket-Extensions" not in headers
        assert "Origin" not in headers


@pytest.mark.parametrize("protocols", [(), ("discord-tools.ipc.2",)])
async def test_a_server_without_the_subprotocol_is_taken_for_an_older_one(protocols: tuple[str, ...]) -> None:
    async with Bot(Talk.ended, protocols=protocols) as bot, aiohttp.ClientSession() as http:
        reached = await dialer(bot.port).dial(http)
        assert isinstance(reached, OlderServer)
        assert reached.port == bot.port


async def test_without_a_key_none_is_shown() -> None:
    async with Bot(Talk.ended) as bot:
        await dial(dialer(bot.port, secret_key=None))
        assert "Authorization" not in bot.requests[0].headers


@asynccontextmanager
async def bot_with(**options: Any) -> AsyncIterator[int]:
    async with Bot(Talk.ended, **options) as bot:
        yield bot.port


@asynccontextmanager
async def nobody() -> AsyncIterator[int]:
    with Vacant() as port:
        yield port


Place = AbstractAsyncContextManager[int]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (nobody, "(?i)connect"),
        (lambda: listening(silence), "no answer within 0.1 s"),
        (lambda: listening(saying(b"")), "."),
        (lambda: listening(saying(b"220 mail.example.org ESMTP\r\n")), "."),
        (lambda: listening(saying(b"\x00\xff" * 1000)), "."),
        (lambda: listening(saying(b"HTTP/1.1 101 Swit")), "."),
        (lambda: listening(saying(ACCEPT)), "HTTP 101"),
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
        "hangs up",
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
async def test_whatever_answers_there_the_error_is_ours_and_says_what(
    place: Callable[[], Place], reason: str
) -> None:
    async with place() as port:
        with pytest.raises(ConnectError, match=reason) as caught:
            await dial(dialer(port, limits=IMPATIENT))
    assert type(caught.value) is ConnectError
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)


async def test_being_reset_in_the_handshake_is_our_error() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with listening(reset) as port:
        with pytest.raises(ConnectError):
            await dial(dialer(port))


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
        ("127.0.0.1", 0),
        ("127.0.0.1", "nonsense"),
        ("\ud800", 8000),
        ("127.0.0.1\r\nX: y", 8000),
    ],
    ids=range(12),
)
async def test_a_host_or_port_that_is_none_is_our_error(host: str, port: int) -> None:
    with pytest.raises(ConnectError) as caught:
        await dial(dialer(port, host=host))
    assert (caught.value.host, caught.value.port) == (host, port)


async def test_a_wrong_key_is_unauthorized() -> None:
    async with Bot(key="another key") as bot:
        with pytest.raises(Unauthorized) as caught:
            await dial(dialer(bot.port))
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", bot.port)


async def test_a_wrong_key_is_unauthorized_also_with_a_session_that_raises_by_itself() -> None:
    async with Bot(key="another key") as bot, aiohttp.ClientSession(raise_for_status=True) as http:
        with pytest.raises(Unauthorized):
            await dialer(bot.port).dial(http)


async def test_a_given_session_that_is_closed_is_our_error() -> None:
    async with Bot() as bot:
        http = aiohttp.ClientSession()
        await http.close()
        with pytest.raises(ConnectError, match="closed"):
            await dialer(bot.port).dial(http)


async def test_a_message_as_large_as_the_limit_is_taken_and_a_larger_one_is_not() -> None:
    async def script(talk: Talk) -> None:
        await talk.raw(b"x" * 1000)
        await talk.raw(b"x" * 1001)
        await talk.ended()

    async with Bot(script) as bot, aiohttp.ClientSession() as http:
        transport = await dialer(bot.port, limits=ClientLimits(message_bytes=1000)).dial(http)
        assert await transport.receive() == b"x" * 1000
        with pytest.raises(Closed, match="exceeds limit"):
            await transport.receive()


async def test_a_bot_that_gives_no_sign_of_life_is_given_up() -> None:
    async def deaf(talk: Talk) -> None:
        # Reads nothing, and so answers no PING.
        await over.wait()

    over = asyncio.Event()
    async with Bot(deaf) as bot, aiohttp.ClientSession() as http:
        transport = await dialer(bot.port, limits=ClientLimits(heartbeat=0.1, close_timeout=0.1)).dial(http)
        try:
            async with asyncio.timeout(5):
                with pytest.raises(Closed) as caught:
                    await transport.receive()
            assert not caught.value.clean
        finally:
            await transport.close()
            over.set()


# -- without a port


async def test_a_port_is_asked_for_once_and_remembered() -> None:
    async with Bot(Talk.ended) as bot, Bot(multicasting(told(bot.port)), protocols=()) as multicast:
        one = dialer(None, multicast.port)
        assert one.port is None
        await dial(one)
        await dial(one)
        assert one.port == bot.port
        assert len(multicast.requests) == 1


async def test_a_port_is_asked_for_again_after_a_connect_that_failed(vacant: Vacant) -> None:
    async with (
        Bot(Talk.ended) as bot,
        Bot(multicasting(told(vacant.port), told(bot.port)), protocols=()) as multicast,
    ):
        one = dialer(None, multicast.port)
        with pytest.raises(ConnectError):
            await dial(one)
        assert one.port is None
        await dial(one)
        assert one.port == bot.port


async def test_a_given_port_is_never_asked_for(vacant: Vacant) -> None:
    port = vacant.port
    async with Bot(multicasting(told(1)), protocols=()) as multicast:
        one = dialer(port, multicast.port)
        for _ in range(2):
            with pytest.raises(ConnectError):
                await dial(one)
        assert one.port == port
        assert multicast.requests == []


async def test_another_bot_at_the_remembered_port_is_not_taken_for_a_wrong_key() -> None:
    async with (
        Bot(Talk.ended, key=KEY) as old,
        Bot(Talk.ended, key=KEY) as new,
        Bot(multicasting(told(old.port), told(new.port)), protocols=()) as multicast,
    ):
        one = dialer(None, multicast.port)
        await dial(one)
        old.key = "another bot's key"
        await dial(one)
        assert one.port == new.port


async def test_a_key_that_is_wrong_at_the_new_port_too_is_wrong() -> None:
    async with (
        Bot(Talk.ended, key=KEY) as bot,
        Bot(multicasting(told(bot.port)), protocols=()) as multicast,
    ):
        one = dialer(None, multicast.port)
        await dial(one)
        bot.key = "a new key"
        with pytest.raises(Unauthorized):
            await dial(one)
        assert len(multicast.requests) == 2


@pytest.mark.parametrize(
    ("place", "error"),
    [
        (nobody, ResolutionError),
        (lambda: listening(silence), ResolutionError),
        (lambda: listening(saying(b"220 mail.example.org ESMTP\r\n")), ResolutionError),
        (lambda: bot_with(status=200), ResolutionError),
        (lambda: bot_with(status=403), ResolutionError),
        (lambda: bot_with(status=401), Unauthorized),
    ],
    ids=["nobody", "silent", "not HTTP", "200", "403", "401"],
)
async def test_whatever_is_at_the_multicast_port_the_error_is_ours(
    place: Callable[[], Place], error: type[IPCError]
) -> None:
    async with place() as port:
        with pytest.raises(error) as caught:
            await dial(dialer(None, port, limits=IMPATIENT))
    assert type(caught.value) is error
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)  # pyright: ignore[reportAttributeAccessIssue]
