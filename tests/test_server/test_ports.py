"""The ports of a server: the main port serves even without the multicast port."""

from __future__ import annotations

import logging
from typing import Any

import aiohttp
import pytest
from discord.ext import commands

from discord_tools.ipc import ClientSession
from equipment.key import KEY
from equipment.ports import free_port, taken_port
from test_server.tools import serving


async def test_a_taken_multicast_port_is_logged_with_advice_and_the_main_port_serves(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    with taken_port() as port:
        async with serving(bot, multicast_port=port) as server:

            @server.route()
            async def ping(request: Any) -> str:
                return "pong"

            assert server.is_running()
            async with ClientSession("127.0.0.1", server.port, secret_key=KEY) as session:
                assert await session.request("ping") == "pong"
    (record,) = [record for record in caplog.records if "No multicasting" in record.getMessage()]
    assert record.levelno == logging.WARNING
    for advice in (str(port), "multicast_port", "multicast=False", str(server.port)):
        assert advice in record.getMessage()


async def test_without_multicasting_only_one_port_is_bound(
    bot: commands.Bot, http: aiohttp.ClientSession
) -> None:
    port = free_port()
    async with serving(bot, multicast=False, multicast_port=port) as server:
        assert server.multicast_port == port
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.ws_connect(server.multicast_ws_url)
