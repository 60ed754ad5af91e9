"""The session on the protocol page, replayed: every byte that it shows goes over a real socket, or comes from one."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest

from discord_tools import ipc
from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.transports import base
from discord_tools.ipc.transports.websocket import MAX_CONTROL_FRAMES
from discord_tools.ipc.wire import codec, codes, frames, handshake, jsonrpc, peer
from discord_tools.ipc_server.brake import REFUSED
from discord_tools.ipc_server.events import MAX_EVENTS
from equipment.checkout import ROOT
from equipment.until import PATIENCE, until
from equipment.websockets import RawWebSocket
from test_docs.blocks import Block, checks
from test_docs.programs import port_of
from test_docs.reader import Reader

PAGE = (ROOT / "docs/protocol.rst").read_text("utf-8")
#: What is different each time, and what replaces it in a comparison.
ASIDE = [
    (re.compile(rb'"session":"[^"]+"'), b'"session":"..."'),
    (re.compile(rb'"epoch":"[^"]+"'), b'"epoch":"..."'),
    (re.compile(rb'"time":[0-9.]+'), b'"time":0.0'),
    (re.compile(rb"ipc-server/[0-9.]+"), b"ipc-server/0"),
    (re.compile(rb'"port":[0-9]+'), b'"port":0'),
]


async def open_socket(url: str, request: str) -> RawWebSocket:
    """Connects with a request as the page shows it."""
    return await RawWebSocket.open(port_of(url), request.strip().replace("\n", "\r\n") + "\r\n\r\n")


def same(page: bytes, wire: bytes) -> None:
    for pattern, replacement in ASIDE:
        page, wire = pattern.sub(replacement, page), pattern.sub(replacement, wire)
    assert wire == page


class Client:
    """Does what a block shows: sends the lines after ``>``, and expects those after ``<``."""

    def __init__(self, reader: Reader, url: str, key: str) -> None:
        self._reader = reader
        self._url = url
        self._key = key
        self._token = b""
        self.wire: RawWebSocket | None = None

    async def connect(self) -> RawWebSocket:
        request = self._reader.text("protocol-handshake").replace("change me", self._key)
        self.wire = await open_socket(self._url, request)
        return self.wire

    async def replay(self, name: str) -> None:
        """Does one block."""
        assert self.wire is not None
        for line in self._reader.text(name).splitlines():
            direction, shown = line[:2], line[2:].encode()
            if direction == "> ":
                self.wire.send(re.sub(rb'"session":"[^"]+"', b'"session":"%b"' % self._token, shown))
            else:
                assert direction == "< ", line
                opcode, came = await self.wire.receive()
                assert opcode == RawWebSocket.BINARY
                same(shown, came)
                if token := re.search(rb'"session":"([^"]+)"', came):
                    self._token = token[1]


class Kettle:
    """The bot's route ``brew`` waits for it."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.boiled = asyncio.Event()


@pytest.fixture
async def kettle(bot: Any) -> AsyncIterator[Kettle]:
    """The kettle of a bot that has the routes of the session."""
    kettle = Kettle()

    async def guild_stats(request: ipc.Request, guild: discord.Guild):
        return {"name": guild.name, "members": guild.member_count}

    async def member_names(request: ipc.Request, guild: discord.Guild):
        for member in guild.members:
            yield member.display_name

    async def brew(request: ipc.Request):
        kettle.begun.put_nowait(None)
        await kettle.boiled.wait()
        return "tea"

    for route in (guild_stats, member_names, brew):
        bot.ipc.add_route(route)
    yield kettle
    kettle.boiled.set()


SESSION = (
    *("protocol-hello", "protocol-call", "protocol-error", "protocol-pack", "protocol-cancel"),
    *("protocol-stream", "protocol-subscribe", "protocol-event", "protocol-lost", "protocol-resume"),
    "protocol-bye",
)


@checks("protocol-handshake", "protocol-handshake-answer", *SESSION)
async def test_the_session_of_the_page_is_what_goes_over_the_wire(
    reader: Reader, bot: Any, kettle: Kettle, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="discord_tools")
    lines = [reader.block(name).line for name in SESSION]
    assert lines == sorted(lines), "the page has another order"
    client = Client(reader, bot.ipc.ws_url, key)
    first = await client.connect()
    assert set(reader.text("protocol-handshake-answer").splitlines()) <= set(first.head)

    async def order(item: str, cups: int) -> None:
        await bot.ipc.publish("order", {"item": item, "cups": cups})

    for name in SESSION:
        if name == "protocol-event":
            await order("coffee", 1)
            await order("tea", 2)
        elif name == "protocol-resume":
            await asyncio.wait_for(kettle.begun.get(), PATIENCE)
            first.cut()
            await nobody_is_connected(caplog)
            await order("tea", 3)
            kettle.boiled.set()
            await client.connect()
        elif name == "protocol-lost" and not kettle.begun.empty():
            kettle.begun.get_nowait()  # the one that was cancelled, which may not have begun at all
        await client.replay(name)
    last = client.wire
    assert last is not None
    last.send(struct.pack("!H", base.NORMAL), RawWebSocket.CLOSE)
    assert await last.receive() == (RawWebSocket.CLOSE, struct.pack("!H", base.NORMAL))
    await last.close()


@checks("protocol-handshake", "protocol-hello", "protocol-not-run")
async def test_a_server_that_shuts_down_refuses_calls_as_on_the_page(
    reader: Reader, bot: Any, kettle: Kettle, key: str
) -> None:
    client = Client(reader, bot.ipc.ws_url, key)
    wire = await client.connect()
    await client.replay("protocol-hello")
    wire.send(b'{"jsonrpc":"2.0","id":8,"method":"brew"}')
    await asyncio.wait_for(kettle.begun.get(), PATIENCE)
    ending = asyncio.create_task(bot.ipc.terminate_server())
    await client.replay("protocol-not-run")
    kettle.boiled.set()
    assert await wire.receive() == (RawWebSocket.BINARY, b'{"jsonrpc":"2.0","id":8,"result":"tea"}')
    code = struct.pack("!H", base.GOING_AWAY)
    opcode, came = await wire.receive()
    assert (opcode, came[:2]) == (RawWebSocket.CLOSE, code)
    wire.send(code, RawWebSocket.CLOSE)
    await ending
    wire.cut()


async def nobody_is_connected(caplog: pytest.LogCaptureFixture) -> None:
    """Waits until the bot has noticed that the connection is gone, and stopped writing to it."""
    await until(lambda: "The connection has ended: 'the connection broke'" in caplog.text)


async def open_multicast(bot: Any) -> RawWebSocket:
    """A WebSocket on the multicast port, without a key."""
    request = "GET / HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\n"
    request += "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    return await open_socket(bot.ipc.multicast_ws_url, request)


async def answer_to(wire: RawWebSocket, question: str) -> bytes:
    wire.send(question.encode(), RawWebSocket.TEXT)
    opcode, came = await wire.receive()
    assert opcode == RawWebSocket.TEXT
    return came


@checks("protocol-multicast-clear")
async def test_the_multicast_port_answers_as_on_the_page(reader: Reader, bot: Any, key: str) -> None:
    asked, answered = (line[2:] for line in reader.text("protocol-multicast-clear").splitlines())
    wire = await open_multicast(bot)
    for question, code in ((asked.replace("change me", key), 200), (asked, 403)):
        came = await answer_to(wire, question)
        assert json.loads(came)["code"] == code
        if code == 200:
            same(answered.encode(), came)
            assert json.loads(came)["port"] == bot.ipc.port
        else:
            assert "port" not in json.loads(came)
    await wire.close()


@checks("protocol-multicast", "protocol-proof", "protocol-proof-output")
async def test_the_proofs_of_the_page_are_those_of_the_multicast_port(
    reader: Reader, bot: Any, key: str
) -> None:
    await reader.run("protocol-proof")
    assert reader.output() == reader.text("protocol-proof-output") + "\n"
    asked, challenged, proving, answered = (
        line[2:] for line in reader.text("protocol-multicast").splitlines()
    )
    ours, theirs = json.loads(asked)["nonce"], json.loads(challenged)["nonce"]
    shown = [json.loads(line)["proof"] for line in (proving, answered)]
    assert shown == reader.text("protocol-proof-output").split()

    wire, proof = await open_multicast(bot), reader.names["proof"]
    came = await answer_to(wire, asked)
    nonce = json.loads(came)["nonce"]
    assert came == challenged.replace(theirs, nonce).encode()
    came = await answer_to(wire, proving.replace(shown[0], proof(key, "client", ours, nonce)))
    proven = proof(key, "server", ours, nonce, str(bot.ipc.port))
    same(answered.replace(shown[1], proven).encode(), came)
    assert json.loads(await answer_to(wire, proving))["code"] == 403
    assert json.loads(await answer_to(wire, asked.replace(ours, "short")))["code"] == 400
    await wire.close()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (("Authorization: change me", "Authorization: wrong"), 401),
        (("Authorization: ", "Authorization: Bearer "), 101),
        (("Authorization: change me", "Origin: https://example.org"), 403),
        (("Upgrade: websocket\n", ""), 426),
        (("Host: ", "Content-Length: 1\nHost: "), 400),
        (("Protocol: discord-tools.ipc.1", "Protocol: soap"), 400),
        (("Protocol: discord-tools.ipc.1", "Protocol: jsonrpc"), 101),
    ],
)
async def test_the_handshake_is_answered_as_the_page_says(
    every_block: dict[str, Block], bot: Any, key: str, change: tuple[str, str], status: int
) -> None:
    request = every_block["protocol-handshake"].text.replace(*change).replace("change me", key)
    wire = await open_socket(bot.ipc.ws_url, request)
    assert wire.status == status
    assert status == 101 or f"* - {status}\n" in PAGE
    await wire.close()


@checks("protocol-handshake")
async def test_the_right_key_works_after_many_wrong_ones(
    reader: Reader, bot: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discord_tools.ipc_server.brake.LONGEST_DELAY", 0.0)
    request = reader.text("protocol-handshake")
    assert "* - 429\n" in PAGE
    for number in range(REFUSED + 2):
        wire = await open_socket(bot.ipc.ws_url, request)
        assert wire.status == (401 if number < REFUSED else 429)
        await wire.close()
    wire = await open_socket(bot.ipc.ws_url, request.replace("change me", key))
    assert wire.status == 101
    await wire.close()


def test_every_method_and_code_of_the_protocol_is_on_the_page() -> None:
    methods = {
        value for name, value in vars(frames).items() if name.isupper() and str(value).startswith("rpc.")
    }
    assert set(re.findall(r"``(rpc\.\w*)``", PAGE)) == methods
    shown = {
        int(code): name
        for code, name in re.findall(r"\* - (-32\d+)\n     -(?: :exc:`~[\w.]+\.(\w+)`)?\n", PAGE)
    }
    classes = {
        cls.code: cls.__name__
        for name in ipc.__all__
        if inspect.isclass(cls := getattr(ipc, name)) and issubclass(cls, ipc.RemoteError)
        if cls not in (ipc.RemoteError, ipc.RouteError, ipc.UnknownObject)
    }
    others = {
        codes.PARSE_ERROR: ipc.DecodeError.__name__,
        codes.UNAUTHORIZED: "",
        codes.CONNECTION_LOST: ipc.ConnectionLost.__name__,
    }
    assert shown == {**classes, **others}
    closes = {int(code) for code in re.findall(r"\* - ([14]00\d)\n", PAGE)}
    ours = {value for name, value in vars(base).items() if name.isupper() and isinstance(value, int)}
    assert closes == ours | {aiohttp.WSCloseCode.MESSAGE_TOO_BIG}


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    limits = ipc.ServerLimits()
    mib = 1024 * 1024
    assert (peer.ACK_MESSAGES, peer.ACK_BYTES, peer.MAX_VIOLATIONS) == (32, 256 * 1024, 16)
    assert (limits.message_bytes, limits.calls, limits.call_bytes) == (4 * mib, 1024, 32 * mib)
    assert (limits.event_backlog, limits.event_backlog_bytes) == (1024, 4 * mib)
    assert (limits.event_replay, limits.event_replay_bytes, limits.event_replay_timeout) == (
        1024,
        4 * mib,
        300,
    )
    assert (limits.retained_bytes, limits.resume_timeout) == (8 * mib, 10)
    assert (limits.call_timeout, limits.handshake_timeout) == (60, 5)
    assert MAX_EVENTS == 256
    assert limits.total_bytes == 64 * mib
    assert (handshake.MAX_CLIENT_CHARS, handshake.MAX_HEADERS_BYTES) == (256, 8 * 1024)
    assert (handshake.MIN_MESSAGE_BYTES, handshake.MAX_REFUSED) == (4096, 16)
    assert (codec.MAX_PACK_BYTES, PACK_BYTES, jsonrpc.MAX_BATCH) == (512 * 1024, 256 * 1024, 1024)
    assert (MAX_CONTROL_FRAMES, REFUSED) == (32, 40)
