"""The main port for WebSockets without our subprotocol: which of them are accepted."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import Server
from equipment.key import KEY
from test_server.tools import jsonrpc, records_with, serving

KEYED = {"Authorization": KEY}


async def refused(http: aiohttp.ClientSession, url: str, **options: Any) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(url, **options)
    return caught.value.status


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"Authorization": "kex"}}, 401),
        ({"headers": {"Authorization": ""}}, 401),
        ({"headers": KEYED, "origin": "https://evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
    ],
)
async def test_a_refused_socket_is_logged_with_its_connection_and_its_status(
    bot: commands.Bot,
    http: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    status: int,
) -> None:
    async with serving(bot) as server:
        assert await refused(http, server.ws_url, **options) == status
    (record,) = records_with(caplog, "Refused with HTTP")
    assert re.fullmatch(rf"\[conn-\d+ 127\.0\.0\.1\] Refused with HTTP {status}", record.getMessage())
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


async def test_a_client_without_a_key_is_refused_where_no_older_library_is_served(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    async with serving(bot, dialects=("jsonrpc",)) as server:
        assert await refused(http, server.ws_url) == 401
        async with http.ws_connect(server.ws_url, headers=KEYED) as socket:
            await socket.send_json(jsonrpc("echo"))
            assert (await socket.receive_json())["result"] == {}


def url(server: Server[Any], port: str) -> str:
    return server.ws_url if port == "main" else server.multicast_ws_url


async def test_lines_about_a_socket_of_json_rpc_name_its_connection_its_address_and_its_key(
    bot: commands.Bot, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(bot) as server, http.ws_connect(server.ws_url, headers=KEYED) as socket:
        await socket.send_json(jsonrpc("nothing"))
        await asyncio.wait_for(socket.receive(), 5)
    (record,) = records_with(caplog, "There is no endpoint ")
    assert re.match(r"\[conn-\d+ 127\.0\.0\.1 key secret_key\] ", record.getMessage())
