from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import sys
import weakref
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict

import aiohttp
import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ClientLimits,
    ClientSession,
    ConnectError,
    ConnectionLost,
    DecodeError,
    EncodeError,
    IPCError,
    NotReady,
    ProtocolError,
    Request,
    RequestTimeout,
    RequestTooLarge,
    ResolutionError,
    Server,
    SessionClosed,
    Unauthorized,
    UnknownEndpoint,
)
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc.transports.base import Closed, Transport
from equipment.key import KEY
from equipment.ports import VacantPort, answering, listening, silence, silence_after
from equipment.serving import QUICK, connecting
from equipment.until import until
from equipment.websockets import Script, ScriptedWebSocket, WebSocketBot, echoing, multicast_bot, port_answer

# -- construction


def test_the_defaults_are_those_of_the_reference() -> None:
    ipc = ClientSession()
    assert (ipc.host, ipc.port, ipc.multicast_port, ipc.secret_key) == ("localhost", None, 20000, None)
    assert (ipc.timeout, ipc.connect_timeout) == (30.0, 5.0)
    assert not ipc.is_connected()
    assert not ipc.is_closed()


def test_a_port_that_is_given_is_the_resolved_port() -> None:
    ipc = ClientSession("example.org", 8000, 1)
    assert ipc.resolved_port == 8000
    assert ipc.url == "ws://example.org:8000"


def test_without_a_port_the_multicast_port_is_the_resolved_port() -> None:
    ipc = ClientSession(multicast_port=20001)
    assert ipc.resolved_port == 20001
    assert ipc.url == "ws://localhost:20001"


def test_an_ipv6_address_has_brackets_in_the_url() -> None:
    assert ClientSession("::1", 8000).url == "ws://[::1]:8000"


def test_the_key_can_be_read() -> None:
    assert ClientSession(secret_key=KEY).secret_key == KEY


#: Every attribute of the reference.
ATTRIBUTES = sorted(name for name, value in vars(ClientSession).items() if isinstance(value, property))


def test_all_public_attributes_are_properties() -> None:
    assert {"host", "port", "multicast_port", "secret_key", "timeout", "connect_timeout"} <= set(ATTRIBUTES)
    assert [name for name in vars(ClientSession()) if not name.startswith("_")] == []


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_cannot_be_changed(name: str) -> None:
    ipc = ClientSession()
    value = getattr(ipc, name)
    with pytest.raises(AttributeError):
        setattr(ipc, name, value)
    with pytest.raises(AttributeError):
        delattr(ipc, name)
    assert getattr(ipc, name) == value


async def not_served(transport: Transport) -> None:
    """Serves a connection by closing it."""


@pytest.mark.parametrize(
    "options",
    [
        {"host": "example.org"},
        {"port": 8000},
        {"port": 20000},
        {"multicast_port": 20001},
        {"secret_key": KEY},
        {"session": object()},
        {"older_servers": True},
    ],
    ids=lambda options: "-".join(f"{name}-{value}"[:20] for name, value in options.items()),
)
def test_a_connector_is_not_given_together_with_what_it_replaces(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="connector replaces host, port"):
        ClientSession(connector=MemoryConnector(not_served), **options)


async def test_a_session_with_a_connector_has_the_other_settings_as_usual() -> None:
    ipc = ClientSession(
        connector=MemoryConnector(not_served), timeout=2.0, connect_timeout=0.05, limits=QUICK
    )
    assert (ipc.timeout, ipc.connect_timeout, ipc.secret_key) == (2.0, 0.05, None)
    with pytest.raises(ConnectError) as caught:
        await ipc.request("echo")
    assert caught.value.host == "memory"
    await ipc.close()


@pytest.mark.parametrize("key", ["", " "])
def test_an_empty_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="secret_key is empty"):
        ClientSession(secret_key=key)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1.0}, {"connect_timeout": -0.1}])
def test_times_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="timeout"):
        ClientSession(**options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("headers", [{"x": object()}, {"x": "\ud800"}])
def test_headers_that_cannot_be_sent_are_refused_at_once(headers: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        ClientSession(headers=headers)


def test_a_session_made_outside_of_any_loop_works_in_the_loop_that_uses_it(vacant: VacantPort) -> None:
    port = vacant.port
    ipc = connecting(port)

    async def main() -> Any:
        vacant.release()
        async with WebSocketBot(port=port), ipc:
            return await ipc.request("echo", word="hello")

    assert asyncio.run(main()) == {"word": "hello"}


# -- requests


async def test_a_request_gets_its_answer() -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        assert ipc.is_connected()
        assert await ipc.request("echo", x=1, y=[None, "ü", 1.5]) == {"x": 1, "y": [None, "ü", 1.5]}
        assert await ipc("echo", x=2) == {"x": 2}
        assert await ipc.request("echo") == {}


async def test_data_may_have_any_name() -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        data = {"route": 1, "type": 2, "self": 3, "endpoint": 4}
        assert await ipc.request("echo", **data) == data
        assert await ipc("echo", **data) == data


async def test_the_first_request_connects() -> None:
    async with WebSocketBot() as bot:
        ipc = connecting(bot.port)
        try:
            assert await ipc.request("echo", x=1) == {"x": 1}
        finally:
            await ipc.close()


async def test_a_thousand_requests_at_a_time_each_get_their_own_answer() -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        answers = await asyncio.gather(*(ipc.request("echo", x=number) for number in range(1000)))
        assert [answer["x"] for answer in answers] == list(range(1000))
        assert len(bot.requests) == 1


async def test_a_route_may_be_given_as_anything_that_prints_as_its_name() -> None:
    class Route:
        def __str__(self) -> str:
            return "/stats"

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.read()
        await far.answer(frame, frame["method"])
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        assert await ipc.request(Route()) == "/stats"  # pyright: ignore[reportCallIssue, reportArgumentType]


@pytest.mark.parametrize("first", [True, False], ids=["waits for the connection", "is connected"])
async def test_a_header_named_timeout_reaches_the_route_as_it_is(
    first: bool, server: Server[commands.Bot]
) -> None:
    seen: list[tuple[Any, float | None]] = []

    @server.route()
    async def look(request: Request) -> None:
        seen.append((dict(request.headers), request.deadline))

    ipc = connecting(
        server.port, secret_key=server.secret_key, timeout=10.0, headers={"timeout": "mine", "x": 1}
    )
    if not first:
        await ipc.start()
    await ipc.request("look")
    await ipc.close()
    ((headers, deadline),) = seen
    assert headers == {"timeout": "mine", "x": 1}
    assert deadline is not None
    assert 0 < deadline <= 10.0


async def test_a_request_that_waited_for_the_connection_tells_the_bot_how_long_it_still_waits() -> None:
    frames: list[dict[str, Any]] = []

    async def script(far: ScriptedWebSocket) -> None:
        frames.append(await far.welcome())
        for _ in range(2):
            frames.append(await far.read())
            await far.answer(frames[-1])
        await far.ended()

    async with WebSocketBot(script) as bot:
        ipc = connecting(bot.port, timeout=10.0, headers={"timeout": "mine"})
        await ipc.request("first")
        await ipc.request("second")
        await ipc.close()
    hello, first, second = frames
    assert hello["params"]["headers"] == {"timeout": "mine"}
    # Bots of 1.0 and 1.1 look for it in the headers of the call, later ones in its meta.
    assert 0 < first["meta"]["timeout"] < 10.0
    assert first["headers"] == first["meta"]
    assert set(second["meta"]) == {"clock"}
    assert "headers" not in second


async def test_the_bot_learns_the_timeout_and_the_headers() -> None:
    hellos: list[dict[str, Any]] = []

    async def script(far: ScriptedWebSocket) -> None:
        hellos.append(await far.welcome())
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port, timeout=7.5, headers={"user": "me"}):
        assert hellos[0]["params"]["timeout"] == 7.5
        assert hellos[0]["params"]["headers"] == {"user": "me"}


class Point(TypedDict):
    x: int


@dataclass
class PointClass:
    x: int


class PointStruct(msgspec.Struct):
    x: int


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Point, {"x": 1}),
        (PointClass, PointClass(1)),
        (PointStruct, PointStruct(1)),
        (dict[str, int], {"x": 1}),
        (Any, {"x": 1}),
    ],
    ids=["TypedDict", "dataclass", "Struct", "dict", "Any"],
)
async def test_an_answer_is_decoded_into_the_type_asked_for(type_: Any, value: Any) -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        assert await ipc.request("echo", type_, x=1) == value
        assert await ipc("echo", type_, x=1) == value


@pytest.mark.parametrize("type_", [None, int, list[int]])
async def test_an_answer_of_another_type_is_a_decode_error_that_names_the_route(type_: Any) -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        with pytest.raises(DecodeError, match="'echo' is not what was asked for"):
            await ipc.request("echo", type_, x=1)


def answering_once(result: bytes) -> Any:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.read()
        await far.send_bytes(b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (frame["id"], result))
        await far.echo()

    return script


@pytest.mark.parametrize("result", [b'"\xff"', b'["\xff"]'])
async def test_an_answer_that_cannot_be_decoded_is_a_decode_error(result: bytes) -> None:
    async with WebSocketBot(answering_once(result)) as bot, connecting(bot.port) as ipc:
        with pytest.raises(DecodeError):
            await ipc.request("stats")
        assert await ipc.request("echo", x=1) == {"x": 1}


async def test_an_answer_nested_as_deep_as_the_stack_is_decoded_or_a_decode_error() -> None:
    # On Python 3.11 the frame can be read where less of the stack is in use, and its result cannot here.
    async def deeper(depth: int) -> Any:
        return await (deeper(depth - 1) if depth else ipc.request("deep"))

    async with WebSocketBot(answering_once(b"[" * 900 + b"]" * 900)) as bot, connecting(bot.port) as ipc:
        try:
            answer = await deeper(60)
        except DecodeError:
            assert sys.version_info < (3, 12)
        else:
            assert str(answer) == "[" * 900 + "]" * 900
        assert await ipc.request("echo", x=1) == {"x": 1}


async def test_a_type_that_nothing_can_be_decoded_into_is_found_out_before_the_call() -> None:
    frames: list[dict[str, Any]] = []

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frames.append(await far.read())
        await far.answer(frames[0])
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        with pytest.raises(TypeError):
            await ipc.request("echo", list[int] | tuple[int, int])
        assert await ipc.request("next") is None
        assert [frame["method"] for frame in frames] == ["next"]


@pytest.mark.parametrize("data", [{"x": object()}, {"x": {1, object()}}, {"x": "\ud800"}, {"x": {(1, 2): 3}}])
async def test_data_that_cannot_be_written_is_an_encode_error_and_nothing_is_sent(data: Any) -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        with pytest.raises(EncodeError):
            await ipc.request("echo", **data)
        assert await ipc.request("echo", x=1) == {"x": 1}


async def test_data_that_contains_itself_is_an_encode_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        with pytest.raises(EncodeError):
            await ipc.request("echo", x=loop)


async def test_a_name_that_cannot_be_written_is_an_encode_error() -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        with pytest.raises(EncodeError, match="name"):
            await ipc.request("\ud800")
        assert await ipc.request("echo", x=1) == {"x": 1}


async def test_a_name_beyond_ascii_reaches_the_bot_as_it_is() -> None:
    methods: list[str] = []

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.read()
        methods.append(frame["method"])
        await far.answer(frame, 1)
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        assert await ipc.request("größe") == 1
    assert methods == ["größe"]


async def test_an_error_of_the_bot_names_the_endpoint() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.read()
        await far.send({"id": frame["id"], "error": {"code": -32601, "message": "there is no such endpoint"}})
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        with pytest.raises(UnknownEndpoint) as caught:
            await ipc.request("stats")
        assert caught.value.endpoint == "stats"


async def test_a_request_over_the_bots_limit_is_too_large_and_the_others_go_on() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome(message_bytes=1000)
        await far.echo()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        large = ipc.request("echo", x="x" * 1000)
        results = await asyncio.gather(large, ipc.request("echo", x=1), return_exceptions=True)
        assert isinstance(results[0], RequestTooLarge)
        assert results[1] == {"x": 1}
        assert len(bot.requests) == 1


async def test_a_stream_or_subscription_over_the_bots_limit_is_too_large_and_the_others_go_on() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome(message_bytes=1000)
        await far.echo()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        with pytest.raises(RequestTooLarge) as caught:
            await anext(ipc.stream("items", x="x" * 1000))
        assert (caught.value.endpoint, caught.value.limit) == ("items", 1000)
        with pytest.raises(RequestTooLarge):
            await anext(ipc.subscribe("tick", x="x" * 1000))
        assert await ipc.request("echo", x=1) == {"x": 1}


async def test_requests_fit_together_into_what_a_bot_with_a_small_limit_takes() -> None:
    largest = 0

    async def script(far: ScriptedWebSocket) -> None:
        nonlocal largest
        await far.welcome(message_bytes=200)
        receive = far.transport.receive

        async def measured() -> bytes | str:
            nonlocal largest
            message = await receive()
            largest = max(largest, len(message))
            return message

        far.transport.receive = measured
        await far.echo()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        await asyncio.gather(*(ipc.request("echo", x="x" * number) for number in range(100)))
    assert 150 < largest <= 200


async def test_an_answer_over_the_own_limit_ends_the_connection_and_the_next_one_works() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.read()
        if frame["method"] == "large":
            await far.answer(frame, "x" * 5000)
            await far.ended()
        else:
            await far.answer(frame, "small")
            await far.echo()

    limits = ClientLimits(message_bytes=4096, backoff_initial=0.01, backoff_max=0.02, close_timeout=0.2)
    async with WebSocketBot(script) as bot, connecting(bot.port, limits=limits) as ipc:
        with pytest.raises(ConnectionLost):
            await ipc.request("large")
        assert await ipc.request("small") == "small"


# -- timeouts and cancellation


async def test_a_request_without_an_answer_times_out_and_the_session_goes_on() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        assert (await far.read())["method"] == "slow"
        assert (await far.read())["method"] == "rpc.cancel"
        await far.echo()

    async with WebSocketBot(script) as bot, connecting(bot.port, timeout=0.2) as ipc:
        with pytest.raises(RequestTimeout) as caught:
            await ipc.request("slow")
        assert (caught.value.endpoint, caught.value.seconds) == ("slow", 0.2)
        assert await ipc.request("echo", x=1) == {"x": 1}
        assert len(bot.requests) == 1


@pytest.mark.parametrize("timeout", [None, float("inf")])
async def test_a_session_may_wait_without_a_limit(timeout: float | None) -> None:
    async with WebSocketBot() as bot, connecting(bot.port, timeout=timeout) as ipc:
        assert await ipc.request("echo", x=1) == {"x": 1}


async def test_a_timeout_around_a_request_cancels_it_there() -> None:
    frames: list[dict[str, Any]] = []

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frames.extend([await far.read(), await far.read()])
        await far.answer(frames[0], "late")
        await far.echo()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ipc.request("slow")
        assert await ipc.request("echo", x=1) == {"x": 1}
    assert [frame["method"] for frame in frames] == ["slow", "rpc.cancel"]
    assert frames[1]["params"] == {"id": frames[0]["id"]}


async def test_no_connection_within_the_whole_time_is_a_connect_error_in_that_time(
    vacant: VacantPort,
) -> None:
    ipc = connecting(vacant.port, timeout=0.1, connect_timeout=60.0)
    try:
        with pytest.raises(ConnectError):
            async with asyncio.timeout(5):
                await ipc.request("echo")
    finally:
        await ipc.close()


async def test_time_that_is_over_at_once_is_a_timeout_and_what_was_sent_is_cancelled() -> None:
    frames: list[str] = []

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        while "rpc.bye" not in frames:
            frames.append((await far.read())["method"])
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port, timeout=1e-9) as ipc:
        with pytest.raises(RequestTimeout):
            await ipc.request("echo")
        await ipc.close()
        await until(lambda: "rpc.bye" in frames)
    assert frames in (["echo", "rpc.cancel", "rpc.bye"], ["rpc.bye"])


async def test_a_connect_timeout_of_0_fails_at_once_without_a_connection() -> None:
    async with WebSocketBot() as bot:
        ipc = connecting(bot.port, connect_timeout=0)
        try:
            with pytest.raises(ConnectError, match="no connection within 0 s"):
                await ipc.request("echo")
            await ipc.start()
            assert await ipc.request("echo", x=1) == {"x": 1}
        finally:
            await ipc.close()


# -- errors of this library only


Place = AbstractAsyncContextManager[int]


@asynccontextmanager
async def nobody() -> Any:
    with VacantPort() as port:
        yield port


@asynccontextmanager
async def bot_with(script: Any = echoing, **options: Any) -> Any:
    async with WebSocketBot(script, **options) as bot:
        yield bot.port


async def close_at_once(far: ScriptedWebSocket) -> None:
    await far.socket.close()


async def garbage(far: ScriptedWebSocket) -> None:
    await far.send_bytes(b"\x00\xff" * 100)
    await far.ended()


async def words(far: ScriptedWebSocket) -> None:
    await far.socket.send_str("hello, world")
    await far.ended()


async def wrong_hello(far: ScriptedWebSocket) -> None:
    await far.answer(await far.read(), {"version": 2})
    await far.ended()


async def wrong_frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A proper upgrade, and then no WebSocket frames."""
    request = await reader.readuntil(b"\r\n\r\n")
    (key,) = (
        line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key")
    )
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: discord-tools.ipc.1\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    writer.write(b"\xff" * 1000)
    await reader.read()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


PLACES: dict[str, tuple[Callable[[], Place], type[IPCError]]] = {
    "nobody": (nobody, ConnectError),
    "silent": (lambda: listening(silence), ConnectError),
    "reset": (lambda: listening(reset), ConnectError),
    "not HTTP": (lambda: listening(answering(b"220 mail.example.org ESMTP\r\n")), ConnectError),
    "no frames": (lambda: listening(wrong_frames), ConnectError),
    "200": (lambda: bot_with(status=200), ConnectError),
    "401": (lambda: bot_with(status=401), Unauthorized),
    "403": (lambda: bot_with(status=403), ConnectError),
    "404": (lambda: bot_with(status=404), ConnectError),
    "500": (lambda: bot_with(status=500), ConnectError),
    "503": (lambda: bot_with(status=503), ConnectError),
    "closes": (lambda: bot_with(close_at_once), ConnectError),
    "garbage": (lambda: bot_with(garbage), ProtocolError),
    "words": (lambda: bot_with(words), ProtocolError),
    "no hello": (lambda: bot_with(ScriptedWebSocket.ended), ConnectError),
    "wrong hello": (lambda: bot_with(wrong_hello), ProtocolError),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_request_to_anything_that_listens_there_raises_an_error_of_this_library(place: str) -> None:
    make, error = PLACES[place]
    limits = ClientLimits(handshake_timeout=0.1, backoff_initial=0.01, backoff_max=0.02, close_timeout=0.1)
    async with make() as port:
        ipc = connecting(port, connect_timeout=0.3, limits=limits)
        try:
            with pytest.raises(IPCError) as caught:
                async with asyncio.timeout(5):
                    await ipc.request("echo")
        finally:
            await ipc.close()
    assert type(caught.value) is error


@pytest.mark.parametrize("place", PLACES)
async def test_starting_with_anything_that_listens_there_goes_on_or_raises_an_error_of_this_library(
    place: str,
) -> None:
    make, error = PLACES[place]
    limits = ClientLimits(handshake_timeout=0.1, backoff_initial=0.01, backoff_max=0.02, close_timeout=0.1)
    async with make() as port, asyncio.timeout(5):
        ipc = connecting(port, limits=limits)
        if error is ConnectError:
            async with ipc:
                assert not ipc.is_connected()
        else:
            with pytest.raises(error):
                await ipc.__aenter__()
        assert ipc.is_closed()


@pytest.mark.parametrize(("host", "port"), [("nobody.invalid", 8000), ("not a host", 8000)])
async def test_a_request_to_an_invalid_address_raises_an_error_of_this_library(host: str, port: int) -> None:
    ipc = ClientSession(host, port, connect_timeout=0.2, limits=QUICK)
    try:
        with pytest.raises(ConnectError):
            await ipc.request("echo")
    finally:
        await ipc.close()


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense",
        b"\xff\x00",
        b"[" * 100_000,
        b"5",
        b"[]",
        b"{}",
        b'{"jsonrpc":"2.0","id":99,"result":1}',
        b'{"jsonrpc":"2.0","id":1.5e300,"error":{"code":1,"message":"x"}}',
        b'{"jsonrpc":"2.0","method":"rpc.bye","params":5}',
        b'{"jsonrpc":"2.0","method":"rpc.later"}',
        b'{"jsonrpc":"2.0","id":1,"method":"stats"}',
    ],
    ids=range(11),
)
async def test_an_invalid_message_of_the_bot_disturbs_no_request(message: bytes) -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.read()
        await far.send_bytes(message)
        await far.answer(frame, "answer")
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        assert await ipc.request("stats") == "answer"
        assert len(bot.requests) == 1


# -- losing the bot


async def test_a_request_that_was_sent_is_lost_with_the_connection_and_says_that_it_may_have_run() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        await far.expect_call("stats")
        bot.disconnect_all()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        with pytest.raises(ConnectionLost, match="may have run") as caught:
            await ipc.request("stats")
        assert caught.value.endpoint == "stats"


async def test_requests_that_wait_for_a_place_are_not_lost_with_the_connection_nor_run_twice() -> None:
    ran: list[int] = []

    async def first(far: ScriptedWebSocket) -> None:
        await far.welcome(calls=2)
        ran.extend([(await far.read())["params"]["x"] for _ in range(2)])
        bot.script = second
        await far.socket.close()

    async def second(far: ScriptedWebSocket) -> None:
        await far.welcome(calls=2)
        try:
            while True:
                frame = await far.read()
                ran.append(frame["params"]["x"])
                await far.answer(frame, frame["params"]["x"])
        except (KeyError, Closed):
            pass  # rpc.bye has no id

    async with WebSocketBot(first) as bot, connecting(bot.port) as ipc:
        requests = (ipc.request("echo", x=number) for number in range(10))
        answers = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(answer) for answer in answers[:2]] == [ConnectionLost] * 2
    assert answers[2:] == list(range(2, 10))
    assert sorted(ran) == list(range(10))


async def test_a_request_outlives_its_connection() -> None:
    async def first(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.expect_call("stats")
        bot.script = partial(second, frame)
        bot.disconnect_all()

    async def second(frame: dict[str, Any], far: ScriptedWebSocket) -> None:
        await far.welcome(resumed=True, received=1)
        await far.answer(frame, "answer")
        await far.ended()

    async with WebSocketBot(first) as bot, connecting(bot.port) as ipc:
        assert await ipc.request("stats") == "answer"
        assert len(bot.requests) == 2


REFUSAL = {"code": NotReady.code, "message": "the bot is shutting down", "data": {"ran": False}}


def closing_once(bot_of: Callable[[], WebSocketBot], then: Script) -> Script:
    """Refuses the first call as a bot does that is closing. ``then`` is the script of the next connection."""

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.read()
        bot_of().script = then
        await far.send({"id": frame["id"], "error": REFUSAL})
        await far.socket.close(code=1001)

    return script


async def test_a_request_that_a_closing_bot_refused_is_answered_by_the_next_one() -> None:
    bot = WebSocketBot()
    bot.script = closing_once(lambda: bot, echoing)
    async with bot, connecting(bot.port) as ipc:
        assert await ipc.request("echo", x=1) == {"x": 1}
        assert len(bot.requests) == 2


async def test_a_stream_that_a_closing_bot_refused_is_read_from_the_next_one() -> None:
    calls: list[dict[str, Any]] = []

    async def streaming(far: ScriptedWebSocket) -> None:
        await far.welcome(session="another")
        calls.append(await far.expect_call("items"))
        number = calls[0]["id"]
        await far.send({"method": "rpc.item", "params": {"id": number, "items": [1, 2]}})
        await far.answer(calls[0])
        await far.ended()

    bot = WebSocketBot()
    bot.script = closing_once(lambda: bot, streaming)
    async with bot, connecting(bot.port) as ipc:
        assert [item async for item in ipc.stream("items", a=1)] == [1, 2]
    assert (calls[0]["params"], calls[0]["credit"]) == ({"a": 1}, QUICK.stream_items)


async def test_a_subscription_that_a_closing_bot_refused_begins_at_the_next_one() -> None:
    async def publishing(far: ScriptedWebSocket) -> None:
        await far.welcome(session="another")
        number = (await far.expect_call("rpc.subscribe"))["id"]
        items = [{"epoch": "e", "seq": {"tick": 0}}, {"event": "tick", "seq": 1, "time": 0.0, "data": 7}]
        await far.send({"method": "rpc.item", "params": {"id": number, "items": items}})
        await far.ended()

    bot = WebSocketBot()
    bot.script = closing_once(lambda: bot, publishing)
    async with bot, connecting(bot.port) as ipc, ipc.subscribe("tick") as events:
        assert (await anext(events)).data == 7


async def test_a_refused_stream_that_was_left_meanwhile_is_not_sent_again() -> None:
    frames: list[dict[str, Any]] = []
    connected = asyncio.Event()

    async def second(far: ScriptedWebSocket) -> None:
        await connected.wait()
        await far.welcome(session="another")
        frames.append(await far.read())
        await far.answer(frames[0], "answer")
        await far.ended()

    bot = WebSocketBot()
    bot.script = closing_once(lambda: bot, second)
    async with bot, connecting(bot.port) as ipc:
        stream = ipc.stream("items")
        await stream.__aenter__()
        await until(lambda: len(bot.requests) == 2)
        await stream.aclose()
        connected.set()
        assert await ipc.request("other") == "answer"
    assert [frame["method"] for frame in frames] == ["other"]


async def test_a_stream_that_has_begun_is_not_begun_again_by_a_refusal() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        number = (await far.expect_call("items"))["id"]
        await far.send({"method": "rpc.item", "params": {"id": number, "items": [1]}})
        bot.script = echoing
        await far.send({"id": number, "error": REFUSAL})
        await far.socket.close(code=1001)

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        stream = ipc.stream("items")
        assert await anext(stream) == 1
        with pytest.raises(ConnectionLost):
            await anext(stream)


async def test_a_restarted_bot_is_found_by_the_same_session() -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        assert await ipc.request("echo", x=1) == {"x": 1}
        await bot.stop()
        await until(lambda: not ipc.is_connected())
        again = WebSocketBot(port=bot.port)
        request = asyncio.create_task(ipc.request("echo", x=2))
        async with again:
            assert await request == {"x": 2}
            assert ipc.is_connected()


async def test_a_bot_that_is_started_after_its_dashboard_is_found(vacant: VacantPort) -> None:
    port = vacant.port
    async with connecting(port) as ipc:
        assert not ipc.is_connected()
        request = asyncio.create_task(ipc.request("echo", x=1))
        vacant.release()
        async with WebSocketBot(port=port):
            assert await request == {"x": 1}


async def test_a_bot_that_moved_is_found_through_the_multicast_port() -> None:
    async with (
        WebSocketBot() as new,
        WebSocketBot() as old,
        multicast_bot(port_answer(old.port), port_answer(new.port)) as multicast,
        connecting(multicast_port=multicast.port) as ipc,
    ):
        assert ipc.url == f"ws://127.0.0.1:{old.port}"
        assert ipc.resolved_port == multicast.port
        await ipc.request("echo")
        await old.stop()
        await until(lambda: len(multicast.requests) == 2)
        await ipc.request("echo")
        assert ipc.url == f"ws://127.0.0.1:{new.port}"


async def test_a_bot_whose_old_port_does_not_answer_the_hello_is_found_through_the_multicast_port() -> None:
    async with (
        WebSocketBot() as new,
        WebSocketBot() as old,
        multicast_bot(port_answer(old.port), port_answer(new.port)) as multicast,
        connecting(multicast_port=multicast.port) as ipc,
    ):
        await ipc.request("echo")
        old.script = close_at_once
        old.disconnect_all()
        await until(lambda: len(multicast.requests) == 2)
        assert await ipc.request("echo", x=1) == {"x": 1}
        assert ipc.url == f"ws://127.0.0.1:{new.port}"


async def test_a_connect_timeout_does_not_forget_the_port_that_was_found() -> None:
    patient = asyncio.Event()

    async def slow(far: ScriptedWebSocket) -> None:
        await patient.wait()
        await echoing(far)

    async with (
        WebSocketBot(slow) as bot,
        multicast_bot(port_answer(bot.port)) as multicast,
    ):
        ipc = connecting(multicast_port=multicast.port, connect_timeout=0.05)
        try:
            starting = asyncio.create_task(ipc.start())
            await until(lambda: bot.connections)
            with pytest.raises(ConnectError):
                await ipc.request("echo")
            patient.set()
            await starting
            assert ipc.url == f"ws://127.0.0.1:{bot.port}"
        finally:
            await ipc.close()


async def test_a_changed_key_is_unauthorized_at_each_request_until_it_is_right_again() -> None:
    async with WebSocketBot(key=KEY) as bot, connecting(bot.port, secret_key=KEY) as ipc:
        await ipc.request("echo")
        bot.key = "a new key"
        bot.disconnect_all()
        await until(lambda: not ipc.is_connected())
        for _ in range(2):
            with pytest.raises(Unauthorized):
                await ipc.request("echo")
        bot.key = KEY
        assert await ipc.request("echo", x=1) == {"x": 1}


async def test_a_wrong_key_at_the_multicast_port_is_unauthorized() -> None:
    refusal = {"error": "Invalid or no token provided.", "code": 403}
    async with multicast_bot(refusal) as multicast:
        with pytest.raises(Unauthorized):
            await connecting(multicast_port=multicast.port, secret_key="wrong").__aenter__()


async def test_nobody_at_the_multicast_port_is_a_resolution_error(vacant: VacantPort) -> None:
    ipc = connecting(multicast_port=vacant.port, connect_timeout=0.1)
    try:
        with pytest.raises(ResolutionError):
            await ipc.request("echo")
    finally:
        await ipc.close()


# -- life


async def test_starting_twice_or_by_two_tasks_makes_one_connection() -> None:
    async with WebSocketBot() as bot:
        ipc = connecting(bot.port)
        try:
            await asyncio.gather(ipc.start(), ipc.start(), ipc.request("echo"))
            await ipc.start()
            assert len(bot.requests) == 1
        finally:
            await ipc.close()


async def test_starting_that_is_cancelled_can_be_repeated() -> None:
    connected = asyncio.Event()
    async with listening(silence_after(connected)) as port:
        ipc = connecting(port)
        try:
            starting = asyncio.create_task(ipc.start())
            await connected.wait()
            starting.cancel()
            await asyncio.wait((starting,))
            assert starting.cancelled()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await ipc.start()
        finally:
            await ipc.close()


async def test_entering_that_is_cancelled_leaves_the_session_closed() -> None:
    connected = asyncio.Event()
    async with listening(silence_after(connected)) as port:
        ipc = connecting(port)
        entering = asyncio.create_task(ipc.__aenter__())
        await connected.wait()
        entering.cancel()
        await asyncio.wait((entering,))
        assert entering.cancelled()
        assert ipc.is_closed()


async def test_requests_and_starts_of_a_closed_session_are_refused() -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:
        pass
    assert ipc.is_closed()
    assert not ipc.is_connected()
    with pytest.raises(SessionClosed):
        await ipc.request("echo")
    with pytest.raises(SessionClosed):
        await ipc.start()
    await ipc.close()


async def test_streams_and_subscriptions_of_a_closed_session_are_refused() -> None:
    async with WebSocketBot() as bot:
        ipc = connecting(bot.port)
        await ipc.start()
        await ipc.close()
        with pytest.raises(SessionClosed):
            await anext(ipc.stream("items"))
        with pytest.raises(SessionClosed):
            await anext(ipc.subscribe("tick"))
        assert len(bot.requests) == 1


async def test_closing_what_never_started_is_no_error() -> None:
    ipc = connecting(1)
    await ipc.close()
    assert ipc.is_closed()


async def test_closing_while_connecting_ends_the_requests_that_wait() -> None:
    connected = asyncio.Event()
    async with listening(silence_after(connected)) as port:
        ipc = connecting(port)
        tasks = [asyncio.create_task(ipc.request("echo")), asyncio.create_task(ipc.start())]
        await connected.wait()
        async with asyncio.timeout(5):
            await ipc.close()
            await asyncio.wait(tasks)
        assert [type(task.exception()) for task in tasks] == [SessionClosed] * 2


async def test_closing_in_the_turn_of_the_start_ends_the_start(vacant: VacantPort) -> None:
    ipc = connecting(vacant.port)
    starting = asyncio.create_task(ipc.start())
    closing = asyncio.create_task(ipc.close())
    async with asyncio.timeout(5):
        await closing
        with pytest.raises(SessionClosed):
            await starting


async def test_closing_with_requests_in_progress_ends_each_of_them() -> None:
    received = asyncio.Event()

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome(calls=2)
        for _ in range(2):
            await far.expect_call("slow")
        received.set()
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        tasks = [asyncio.create_task(ipc.request("slow")) for _ in range(5)]
        await received.wait()
        async with asyncio.timeout(5):
            await ipc.close()
            await asyncio.wait(tasks)
        assert [type(task.exception()) for task in tasks] == [SessionClosed] * 5


async def test_closing_by_two_tasks_returns_only_when_it_is_done() -> None:
    async with WebSocketBot() as bot:
        ipc = connecting(bot.port)
        await ipc.start()
        closings = [asyncio.create_task(ipc.close()) for _ in range(2)]
        await asyncio.wait(closings, return_when=asyncio.FIRST_COMPLETED)
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("ipc")] == []
        await asyncio.gather(*closings)
        await until(lambda: bot.connections[0].socket.close_code == 1000)


async def test_closing_that_is_cancelled_still_closes_the_connection() -> None:
    async def not_reading(far: ScriptedWebSocket) -> None:
        await far.welcome()
        await over.wait()

    over = asyncio.Event()
    async with WebSocketBot(not_reading) as bot:
        ipc = connecting(bot.port, limits=ClientLimits(close_timeout=1.0))
        await ipc.start()
        closing = asyncio.create_task(ipc.close())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait((closing,))
        assert closing.cancelled()
        over.set()
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("ipc")] == []
        await ipc.close()


async def test_closing_ends_in_time_with_a_bot_that_never_stops_sending() -> None:
    async def flooding(far: ScriptedWebSocket) -> None:
        await far.welcome()
        while True:
            await far.send({"method": "rpc.later"})
            await asyncio.sleep(0)

    async with WebSocketBot(flooding) as bot:
        ipc = connecting(bot.port)
        await ipc.start()
        async with asyncio.timeout(5):
            await ipc.close()


async def test_a_given_session_is_used_and_never_closed(vacant: VacantPort) -> None:
    async with WebSocketBot() as bot, aiohttp.ClientSession(headers={"X-From": "dashboard"}) as http:
        async with connecting(bot.port, session=http) as ipc:
            await ipc.request("echo")
        assert bot.requests[0].headers["X-From"] == "dashboard"
        assert not http.closed
        with pytest.raises(ConnectError):
            async with connecting(vacant.port, session=http, connect_timeout=0.1) as ipc:
                await ipc.request("echo")
        assert not http.closed


async def test_a_given_session_that_was_closed_is_a_connect_error() -> None:
    http = aiohttp.ClientSession()
    await http.close()
    async with WebSocketBot() as bot, connecting(bot.port, session=http, connect_timeout=0.1) as ipc:
        with pytest.raises(ConnectError, match="closed"):
            await ipc.request("echo")


async def test_a_closed_session_is_freed_by_the_garbage_collector() -> None:
    async with WebSocketBot() as bot:
        ipc = connecting(bot.port)
        async with ipc:
            await ipc.request("echo")
        watched = weakref.ref(ipc)
        del ipc
        gc.collect()
        assert watched() is None
