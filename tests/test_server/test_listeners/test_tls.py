"""TLS handshakes that do not end."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc.tls import client_context, server_context
from discord_tools.ipc_server.listeners import tls
from equipment.certificates import Certificates
from equipment.serving import serving


async def test_a_handshake_that_takes_too_long_is_ended(
    bot: commands.Bot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT", 0.05)
    context = server_context(Certificates(tmp_path).issue("localhost"))
    async with serving(bot, ssl=context) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        writer.close()


async def test_the_oldest_handshake_makes_way_where_there_are_too_many(
    bot: commands.Bot, tmp_path: Path
) -> None:
    context = server_context(Certificates(tmp_path).issue("localhost"))
    # Half of the connections, and eight that are refused.
    async with serving(bot, ssl=context, connections=2) as server:
        opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(10)]
        assert await asyncio.wait_for(opened[0][0].read(), 5) == b""
        assert not opened[-1][0].at_eof()
        for _, writer in opened:
            writer.close()


async def test_what_a_client_sends_together_with_the_end_of_its_handshake_is_read(
    bot: commands.Bot, tmp_path: Path
) -> None:
    cert = Certificates(tmp_path)
    async with serving(bot, ssl=server_context(cert.issue("localhost"))) as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = client_context(ca=cert.ca).wrap_bio(incoming, outgoing, server_hostname="localhost")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        answer = await exchange(secure, incoming, outgoing, reader, writer)
        assert answer.startswith(b"HTTP/1.1 ")
        writer.close()


async def exchange(
    secure: Any,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> bytes:
    """Ends a handshake and sends a request in the same packet."""
    while True:
        try:
            secure.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            await feed(incoming, reader)
    secure.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    writer.write(outgoing.read())
    while True:
        try:
            return secure.read(1000)
        except ssl.SSLWantReadError:
            await feed(incoming, reader)


async def feed(incoming: ssl.MemoryBIO, reader: asyncio.StreamReader) -> None:
    """Passes on what the server has sent. At the end of the file there is nothing to pass on."""
    data = await reader.read(65536)
    assert data
    incoming.write(data)


async def test_the_multicast_port_has_tls_too(bot: commands.Bot, tmp_path: Path) -> None:
    cert = Certificates(tmp_path)
    async with serving(bot, ssl=server_context(cert.issue("localhost")), multicast_port=0) as server:
        context = client_context(ca=cert.ca)
        _, writer = await asyncio.open_connection(
            "127.0.0.1", server.multicast_port, ssl=context, server_hostname="localhost"
        )
        writer.close()
        await writer.wait_closed()
