"""The guides to deployment and reverse proxies: each file is started in front of a bot."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import discord
import pytest

from discord_tools import ipc
from discord_tools.ipc.tls import client_context
from equipment.certificates import Certificates
from equipment.ports import free_port
from equipment.programs import nginx_files, program, running
from loopback import LoopbackDiscord
from test_docs.blocks import checks
from test_docs.reader import Reader


def nginx(text: str, folder: Path) -> list[str]:
    return nginx_files(folder, text)


def caddy(text: str, folder: Path) -> list[str]:
    path, file = program("caddy"), folder / "Caddyfile"
    file.write_text("{\n    admin off\n    auto_https disable_redirects\n}\n" + text, "utf-8")
    return [path, "run", "--adapter", "caddyfile", "--config", str(file)]


def haproxy(text: str, folder: Path) -> list[str]:
    path, file = program("haproxy"), folder / "haproxy.cfg"
    file.write_text(text + "\n", "utf-8")
    return [path, "-db", "-f", str(file)]


def unused() -> discord.Client:
    return discord.Client(intents=discord.Intents.none())


@checks("proxies-server", "proxies-session", "proxies-nginx", "proxies-caddy", "proxies-haproxy")
@pytest.mark.parametrize(
    ("name", "command"),
    [("nginx", nginx), ("caddy", caddy), ("haproxy", haproxy)],
    ids=["nginx", "caddy", "haproxy"],
)
async def test_a_session_reaches_the_bot_through_the_proxy_of_the_guide(
    reader: Reader,
    loopback: LoopbackDiscord,
    key: str,
    tmp_path: Path,
    name: str,
    command: Callable[[str, Path], list[str]],
) -> None:
    cert = Certificates(tmp_path / "certificates")
    port = free_port()
    names = {"key": key, "bot": unused(), "Server": ipc.Server, "ClientSession": ipc.ClientSession}
    exec(reader.text("proxies-server").replace("8000", "0"), names)
    server: ipc.Server[Any] = names["server"]

    @server.route()
    async def ping(request: ipc.Request) -> str:
        return "pong"

    files = {one: reader.text(f"proxies-{one}") for one in ("nginx", "caddy", "haproxy")}
    assert re.search(r"wss://bot\.example/ipc/", reader.text("proxies-session"))
    url = f"wss://localhost:{port}/ipc/"
    context = client_context(ca=cert.ca)
    async with server:
        # The port of the proxy first: the bot's port and the path of the certificate may have its digits, too.
        text = files[name].replace("443", str(port))
        text = text.replace("/etc/ssl/bot.example.pem", str(cert.issue("localhost")))
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        text = text.replace("bot.example {", f"https://localhost:{port} {{").replace(
            "bot.example", "localhost"
        )
        async with (
            running(command(text, tmp_path), port, tmp_path),
            ipc.ClientSession(url=url, secret_key=key, ssl=context) as session,
        ):
            assert await session.request("ping") == "pong"


@checks("deployment-env", "deployment-unix", "deployment-tls")
async def test_the_settings_of_the_checklist_are_valid(
    reader: Reader, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert = Certificates(tmp_path / "certificates")
    file = tmp_path / "key"
    file.write_text(f"{key}\n", "utf-8")
    monkeypatch.setenv("IPC_SECRET_KEY_FILE", str(file))
    names = {"key": key, "bot": unused(), "Server": ipc.Server, "ClientSession": ipc.ClientSession}
    exec(reader.text("deployment-env"), names)
    assert names["server"].secret_key == names["session"].secret_key == key
    exec(reader.text("deployment-unix").replace("/run", str(tmp_path)), names)
    async with names["server"], names["session"] as session:
        assert session.is_connected()
    text = re.sub(r"/etc/ssl/\S+?ca\.pem", str(cert.ca), reader.text("deployment-tls"))
    exec(re.sub(r"/etc/ssl/\w+\.pem", str(cert.issue("localhost")), text), names)
    assert names["server"].ws_url == "wss://0.0.0.0:8000"
