"""A real nginx between a session and a bot, set up rightly and wrongly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import ClientLimits, ClientSession, ConnectError, Request, Server, Unauthorized
from equipment.key import KEY
from equipment.ports import VacantPort, free_port
from equipment.programs import nginx_files, running
from equipment.serving import QUICK, serving

VERSION = "proxy_http_version 1.1;"
UPGRADE = "proxy_set_header Upgrade $http_upgrade;"
CONNECTION = 'proxy_set_header Connection "upgrade";'
FORWARDED = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
ALL = (VERSION, UPGRADE, CONNECTION, FORWARDED)


@asynccontextmanager
async def proxied(server: Server[Any], folder: Path, *lines: str, upstream: str = "") -> AsyncIterator[str]:
    """Starts a server and nginx in front of it, and returns the URL."""

    @server.route()
    async def ping(request: Request) -> str:
        return "pong"

    @server.route()
    async def slow(request: Request) -> str:
        await asyncio.sleep(2.5)
        return "done"

    port = free_port()
    async with server:
        block = (
            f"server {{ listen 127.0.0.1:{port}; location /ipc/ {{ "
            f"proxy_pass {upstream or f'http://127.0.0.1:{server.port}'}; {' '.join(lines)} }} }}"
        )
        async with running(nginx_files(folder, block), port, folder):
            yield f"ws://127.0.0.1:{port}/ipc/"


def session(url: str, **options: Any) -> ClientSession:
    return ClientSession(url=url, **{"secret_key": KEY, "limits": QUICK, "connect_timeout": 0, **options})


async def test_a_session_calls_a_bot_through_a_path_of_nginx(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    async with proxied(serving(loopback_bot, path="/ipc/"), tmp_path, *ALL) as url, session(url) as ipc:
        assert await ipc.request("ping") == "pong"


async def test_a_session_calls_a_bot_through_nginx_and_a_unix_socket(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    server = Server(loopback_bot, secret_key=KEY, path="/ipc/", unix=tmp_path / "bot.sock")
    upstream = f"http://unix:{tmp_path}/bot.sock:"
    async with proxied(server, tmp_path, *ALL, upstream=upstream) as url, session(url) as ipc:
        assert await ipc.request("ping") == "pong"


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ((), {VERSION, UPGRADE, CONNECTION}),
        ((VERSION,), {UPGRADE, CONNECTION}),
        ((VERSION, UPGRADE), {CONNECTION}),
        ((VERSION, CONNECTION), {UPGRADE}),
        ((UPGRADE, CONNECTION), {VERSION}),
    ],
)
async def test_the_error_says_which_lines_are_missing_in_nginx(
    loopback_bot: commands.Bot,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    lines: tuple[str, ...],
    missing: set[str],
) -> None:
    async with proxied(serving(loopback_bot, path="/ipc/"), tmp_path, *lines) as url, session(url) as ipc:
        with pytest.raises(ConnectError) as caught:
            await ipc.request("ping")
        assert {line for line in ALL if line in caught.value.reason} == missing
    warnings = [record for record in caplog.records if record.name == "discord_tools.ipc_server.gate"]
    assert len(warnings) == 1
    assert warnings[0].levelno == logging.WARNING
    assert "A reverse proxy does not pass the handshake" in warnings[0].getMessage()


async def test_a_client_without_the_key_is_not_told_which_lines_are_missing(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    async with proxied(serving(loopback_bot, path="/ipc/"), tmp_path) as url:
        ipc = session(url, secret_key="wrong")
        with pytest.raises(Unauthorized):
            await ipc.start()
        await ipc.close()


@pytest.mark.parametrize("proxies", [("127.0.0.1",), ()])
async def test_the_log_has_the_address_of_the_client_only_from_a_proxy_that_is_named(
    loopback_bot: commands.Bot, tmp_path: Path, caplog: pytest.LogCaptureFixture, proxies: tuple[str, ...]
) -> None:
    server = serving(loopback_bot, path="/ipc/", proxies=proxies)
    spoofed = "proxy_set_header X-Forwarded-For '198.51.100.1, 203.0.113.9';"
    async with proxied(server, tmp_path, VERSION, UPGRADE, CONNECTION, spoofed) as url:
        ipc = session(url, secret_key="wrong")
        with pytest.raises(Unauthorized):
            await ipc.start()
        await ipc.close()
    refused = [message for message in caplog.messages if "Refused with HTTP 401" in message]
    assert refused
    assert ("203.0.113.9" in refused[0]) is bool(proxies)
    assert "198.51.100.1" not in caplog.text


async def test_a_bot_that_does_not_run_behind_a_proxy_is_told_from_one_that_is_elsewhere(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    with VacantPort() as port:
        upstream = f"http://127.0.0.1:{port}"
        async with (
            proxied(serving(loopback_bot), tmp_path, *ALL, upstream=upstream) as url,
            session(url) as ipc,
        ):
            with pytest.raises(ConnectError, match=r"a proxy cannot reach the bot \(HTTP 502\)"):
                await ipc.request("ping")


async def test_pings_keep_a_connection_that_is_idle_for_longer_than_the_read_timeout_of_nginx(
    loopback_bot: commands.Bot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The same relation as 20 s and nginx's default of 60 s, in less time.
    assert ClientLimits().heartbeat * 3 <= 60
    server = serving(loopback_bot, path="/ipc/", heartbeat=0.3)
    timeouts = "proxy_read_timeout 1s; proxy_send_timeout 1s;"
    async with (
        proxied(server, tmp_path, *ALL, timeouts) as url,
        session(url, limits=ClientLimits(heartbeat=0.3)) as ipc,
    ):
        assert await ipc.request("slow") == "done"
    assert not [message for message in caplog.messages if "lost" in message.lower()]
