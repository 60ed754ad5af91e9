"""A session and a server that meet by a URL, over TLS, at a Unix socket and over IPv6 only."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import (
    ClientSession,
    ConnectError,
    ListenError,
    Request,
    Server,
    Unauthorized,
    tls as tls_module,
)
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.tls import client_context, server_context
from equipment.certificates import Certificates
from equipment.key import KEY
from equipment.ports import free_port, needs_ipv6
from equipment.serving import QUICK, serving

needs_unix_sockets = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


def answering(server: Server[Any]) -> Server[Any]:
    @server.route()
    async def ping(request: Request) -> str:
        return "pong"

    return server


def session(**options: Any) -> ClientSession:
    return ClientSession(**{"secret_key": KEY, "limits": QUICK, "connect_timeout": 0, **options})


async def failure(**options: Any) -> ConnectError:
    async with session(**options) as ipc:
        with pytest.raises(ConnectError) as caught:
            await ipc.request("ping")
    assert KEY not in str(caught.value)
    return caught.value


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@pytest.fixture
async def secure(loopback_bot: commands.Bot, certificates: Certificates) -> AsyncIterator[Server[Any]]:
    """A server with TLS and a path."""
    server = serving(
        loopback_bot, path="/ipc/", ssl=server_context(certificates.issue("localhost", "127.0.0.1"))
    )
    async with answering(server):
        yield server


# -- paths


@pytest.mark.parametrize("path", ["/ipc/", "/ipc", "/a/b/"])
async def test_a_session_calls_a_server_with_a_path_by_its_url(loopback_bot: commands.Bot, path: str) -> None:
    async with answering(serving(loopback_bot, path=path)) as server:
        assert server.ws_url == f"ws://localhost:{server.port}{path.rstrip('/')}"
        async with session(url=server.ws_url) as ipc:
            assert await ipc.request("ping") == "pong"
            assert ipc.url == server.ws_url


async def test_the_error_about_another_path_names_the_path_that_was_tried(loopback_bot: commands.Bot) -> None:
    async with answering(serving(loopback_bot, path="/ipc/")) as server:
        url = f"ws://localhost:{server.port}/other/"
        error = await failure(url=url)
    assert "Compare the path '/other/'" in error.reason
    assert str(error).startswith(f"cannot connect to {url}: ")


# -- TLS


async def test_a_session_calls_a_server_over_tls(secure: Server[Any], certificates: Certificates) -> None:
    assert secure.ws_url == f"wss://localhost:{secure.port}/ipc"
    async with session(url=secure.ws_url, ssl=client_context(ca=certificates.ca)) as ipc:
        assert await ipc.request("ping") == "pong"


async def test_host_and_port_are_used_with_tls_where_ssl_is_given(
    loopback_bot: commands.Bot, certificates: Certificates
) -> None:
    server = serving(loopback_bot, multicast_port=0, ssl=server_context(certificates.issue("localhost")))
    async with answering(server):
        context = client_context(ca=certificates.ca)
        async with session(port=server.port, ssl=context) as ipc:
            assert await ipc.request("ping") == "pong"
        async with session(multicast_port=server.multicast_port, ssl=context) as ipc:
            assert await ipc.request("ping") == "pong"


async def test_a_certificate_of_another_name_is_refused_by_the_session_with_both_names(
    loopback_bot: commands.Bot, certificates: Certificates
) -> None:
    server = serving(loopback_bot, ssl=server_context(certificates.issue("other.example")))
    async with answering(server):
        error = await failure(port=server.port, ssl=client_context(ca=certificates.ca))
    assert "certificate is not accepted: Hostname mismatch" in error.reason
    assert "'localhost'" in error.reason


async def test_a_certificate_of_an_unknown_authority_is_refused_with_what_to_give(
    secure: Server[Any],
) -> None:
    error = await failure(url=secure.ws_url)
    assert "certificate is not accepted" in error.reason
    assert "ssl=client_context(ca=...)" in error.reason


async def test_clear_text_to_a_server_with_tls_is_told_to_use_tls(secure: Server[Any]) -> None:
    error = await failure(url=secure.ws_url.replace("wss:", "ws:"))
    assert "it may speak TLS only: write wss://" in error.reason


async def test_tls_to_a_server_without_it_is_told_to_use_clear_text(loopback_bot: commands.Bot) -> None:
    async with answering(serving(loopback_bot)) as server:
        error = await failure(url=f"wss://localhost:{server.port}")
    assert "does not speak TLS there: write ws://" in error.reason


async def test_a_client_certificate_is_needed_where_the_server_names_an_authority_for_them(
    loopback_bot: commands.Bot, certificates: Certificates, tmp_path: Path
) -> None:
    context = server_context(certificates.issue("localhost"), client_ca=certificates.ca)
    foreign = Certificates(tmp_path / "foreign").issue("dashboard")
    async with answering(serving(loopback_bot, ssl=context)) as server:
        cert = certificates.issue("dashboard", file="dashboard.pem")
        async with session(port=server.port, ssl=client_context(ca=certificates.ca, cert=cert)) as ipc:
            assert await ipc.request("ping") == "pong"
        none = await failure(port=server.port, ssl=client_context(ca=certificates.ca))
        other = await failure(port=server.port, ssl=client_context(ca=certificates.ca, cert=foreign))
    assert "client certificate" in none.reason
    assert "client certificate" in other.reason


async def test_a_renewed_certificate_is_taken_up_without_a_restart(
    loopback_bot: commands.Bot, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_module, "CHECK_INTERVAL", 0.0)
    cert = certificates.issue("other.example")
    async with answering(serving(loopback_bot, ssl=server_context(cert))) as server:
        context = client_context(ca=certificates.ca)
        await failure(port=server.port, ssl=context)
        certificates.issue("localhost")
        async with session(port=server.port, ssl=context) as ipc:
            assert await ipc.request("ping") == "pong"


async def test_a_renewed_certificate_that_is_broken_keeps_the_old_one_and_is_logged_once(
    loopback_bot: commands.Bot,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tls_module, "CHECK_INTERVAL", 0.0)
    cert = certificates.issue("localhost")
    async with answering(serving(loopback_bot, ssl=server_context(cert))) as server:
        cert.write_text("nothing", "utf-8")
        for _ in range(3):
            async with session(port=server.port, ssl=client_context(ca=certificates.ca)) as ipc:
                assert await ipc.request("ping") == "pong"
    assert sum("cannot be loaded" in message for message in caplog.messages) == 1


async def test_a_connection_that_never_ends_its_tls_handshake_is_closed_with_the_server(
    secure: Server[Any],
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", secure.port)
    writer.write(b"\x16\x03\x01")
    await writer.drain()
    await secure.terminate_server()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


# -- Unix sockets


@needs_unix_sockets
async def test_a_session_calls_a_server_at_a_unix_socket(loopback_bot: commands.Bot, tmp_path: Path) -> None:
    path = tmp_path / "bot.sock"
    async with answering(Server(loopback_bot, secret_key=KEY, unix=path)) as server:
        assert server.ws_url == f"unix://{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with session(url=server.ws_url) as ipc:
            assert await ipc.request("ping") == "pong"
            assert ipc.url == server.ws_url
        assert server.port == 0
    assert not path.exists()


@needs_unix_sockets
async def test_a_server_listens_on_unix_sockets_and_an_explicit_port_at_once(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    paths = [tmp_path / "one.sock", tmp_path / "two.sock"]
    async with answering(serving(loopback_bot, unix=paths, unix_mode=0o660, path="/ipc/")) as server:
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o660}
        for url in (server.ws_url, *(f"unix://{path}" for path in paths)):
            async with session(url=url) as ipc:
                assert await ipc.request("ping") == "pong"


@needs_unix_sockets
async def test_the_file_of_a_process_that_has_ended_is_replaced(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    path = tmp_path / "bot.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with (
        answering(Server(loopback_bot, secret_key=KEY, unix=path)),
        session(url=f"unix://{path}") as ipc,
    ):
        assert await ipc.request("ping") == "pong"


@needs_unix_sockets
async def test_a_socket_that_another_process_listens_on_is_refused_and_kept(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    path = tmp_path / "bot.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ListenError, match="another process listens there") as caught:
            await Server(loopback_bot, secret_key=KEY, unix=path).start()
        assert str(caught.value).startswith(f"cannot listen on unix:{path}: ")
        assert (caught.value.host, caught.value.port) == (str(path), 0)
        assert path.exists()


@needs_unix_sockets
async def test_a_file_that_is_no_socket_is_kept(loopback_bot: commands.Bot, tmp_path: Path) -> None:
    path = tmp_path / "bot.sock"
    path.write_text("mine", "utf-8")
    with pytest.raises(ListenError, match="a file that is no socket"):
        await Server(loopback_bot, secret_key=KEY, unix=path).start()
    assert path.read_text("utf-8") == "mine"


@needs_unix_sockets
async def test_a_folder_that_does_not_exist_is_an_error_that_names_the_path(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    path = tmp_path / "none" / "bot.sock"
    with pytest.raises(ListenError, match="No such file or directory") as caught:
        await Server(loopback_bot, secret_key=KEY, unix=path).start()
    assert f"unix:{path}" in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
@needs_unix_sockets
async def test_a_folder_that_cannot_be_written_to_is_an_error(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    os.chmod(tmp_path, 0o500)
    try:
        with pytest.raises(ListenError, match="Permission denied"):
            await Server(loopback_bot, secret_key=KEY, unix=tmp_path / "bot.sock").start()
    finally:
        os.chmod(tmp_path, 0o700)


@needs_unix_sockets
async def test_a_path_that_fails_frees_the_port_that_was_opened_before(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    port = free_port()
    with pytest.raises(ListenError):
        await serving(loopback_bot, port=port, unix=tmp_path / "none" / "bot.sock").start()
    async with answering(serving(loopback_bot, port=port)) as server:
        assert server.port == port


@needs_unix_sockets
async def test_the_error_about_a_socket_that_does_not_exist_names_it(tmp_path: Path) -> None:
    error = await failure(url=f"unix://{tmp_path}/bot.sock")
    assert str(error).startswith(f"cannot connect to unix:{tmp_path}/bot.sock: No such file or directory")
    assert (error.host, error.port) == (f"{tmp_path}/bot.sock", 0)


@needs_unix_sockets
async def test_a_wrong_key_at_a_unix_socket_names_the_socket(
    loopback_bot: commands.Bot, tmp_path: Path
) -> None:
    path = tmp_path / "bot.sock"
    async with answering(Server(loopback_bot, secret_key=KEY, unix=path)):
        ipc = session(url=f"unix://{path}", secret_key="wrong")
        with pytest.raises(Unauthorized, match=f"unix:{path} does not accept the secret key"):
            await ipc.start()
        await ipc.close()


@needs_unix_sockets
async def test_a_unix_socket_needs_no_key(loopback_bot: commands.Bot, tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "bot.sock"
    async with (
        answering(Server(loopback_bot, unix=path)),
        session(url=f"unix://{path}", secret_key=MISSING) as ipc,
    ):
        assert await ipc.request("ping") == "pong"
    assert not [message for message in caplog.messages if "no secret key" in message]


# -- IPv6


@needs_ipv6
async def test_a_session_calls_a_server_over_ipv6_only(
    loopback_bot: commands.Bot, certificates: Certificates
) -> None:
    tls = server_context(certificates.issue("::1"))
    async with answering(serving(loopback_bot, host="::1", ssl=tls)) as server:
        assert server.ws_url == f"wss://[::1]:{server.port}"
        async with session(url=server.ws_url, ssl=client_context(ca=certificates.ca)) as ipc:
            assert await ipc.request("ping") == "pong"
