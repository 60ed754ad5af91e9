"""Where a server is to listen, checked on construction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import discord
import pytest

from discord_tools.ipc import Server
from discord_tools.ipc.tls import server_context
from discord_tools.ipc_server.listening import DEFAULT_PORT
from equipment.certificates import Certificates


def server(**settings: Any) -> Server[discord.Client]:
    return Server(discord.Client(intents=discord.Intents.none()), **settings)


def test_the_default_port_prints_as_its_number() -> None:
    assert repr(DEFAULT_PORT) == "8000"


def test_a_unix_socket_replaces_the_port_and_not_one_that_is_given() -> None:
    assert server(unix="/run/bot.sock").port == 0
    assert server(unix="/run/bot.sock", port=8000).port == 8000
    assert server(unix=["/run/bot.sock"], port=8000).ws_url == "ws://localhost:8000"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"unix": "/run/bot.sock", "host": "0.0.0.0"}, "unix replaces the port, and host is '0.0.0.0'"),
        ({"unix": f"/run/{'x' * 120}"}, "has 125 bytes, the system takes 10"),
        ({"unix": "/run/a\0b"}, "null character"),
        ({"unix": ""}, "is no path of a Unix socket"),
        ({"unix": "/run/"}, "is no path of a Unix socket"),
        ({"unix": "unix:///run/bot.sock"}, "is no path of a Unix socket"),
        ({"unix": ["/run/bot.sock", "/run/../run/bot.sock"]}, "the same path twice"),
        ({"unix_mode": 660}, "unix_mode is 0o1224"),
        ({"unix_mode": 0o060}, "unix_mode is 0o60"),
        ({"path": ""}, "write the path of a URL that begins with /"),
        ({"path": "ipc"}, "write the path of a URL that begins with /"),
        ({"path": "/a?b"}, "write the path of a URL that begins with /"),
        ({"path": "//a"}, "write the path of a URL that begins with /"),
        ({"path": "/{a}"}, "write the path of a URL that begins with /"),
        ({"path": "/a b"}, "white space"),
        ({"proxies": ["nginx"]}, "no IP address, no network and not 'unix'"),
        ({"proxies": ["10.0.0.1/8"]}, "has host bits set"),
    ],
)
def test_a_setting_that_is_not_valid_is_a_value_error(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        server(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        *({"unix": value} for value in (5, None, b"/run/bot.sock", [5], [b"a"])),
        *({"unix_mode": value} for value in ("0o660", None, True)),
        *({"path": value} for value in (None, b"/", 5)),
        *({"proxies": value} for value in ("127.0.0.1", [5])),
    ],
)
def test_a_setting_of_a_wrong_type_is_a_type_error(settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        server(**settings)


def test_ssl_without_a_port_is_refused(tmp_path: Path) -> None:
    context = server_context(Certificates(tmp_path).issue("localhost"))
    with pytest.raises(ValueError, match="ssl is for the port"):
        server(unix="/run/bot.sock", ssl=context)


async def test_trusted_proxies_need_a_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="proxies are for clients from outside, so secret_key is needed"):
        await server(unix=str(tmp_path / "bot.sock"), proxies=["unix"]).start()
