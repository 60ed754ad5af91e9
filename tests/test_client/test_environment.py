"""Settings from environment variables, for sessions and servers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import discord
import pytest

from discord_tools.ipc import ClientSession, Server
from discord_tools.ipc.connectors.memory import MemoryConnector
from discord_tools.ipc.tls import client_context, server_context
from equipment.certificates import Certificates

VARIABLES = ("IPC_URL", "IPC_HOST", "IPC_PORT", "IPC_SECRET_KEY", "IPC_SECRET_KEY_FILE")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def server(**settings: Any) -> Server[discord.Client]:
    return Server.from_env(discord.Client(intents=discord.Intents.none()), **settings)


SIDES = [pytest.param(ClientSession.from_env, id="ClientSession"), pytest.param(server, id="Server")]
EACH_SIDE = pytest.mark.parametrize("side", SIDES)


@EACH_SIDE
def test_without_variables_the_defaults_hold(side: Any) -> None:
    made = side()
    assert (made.host, made.secret_key) == ("localhost", None)


@EACH_SIDE
def test_host_port_and_key_are_read(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_HOST", "127.0.0.2")
    monkeypatch.setenv("IPC_PORT", "8123")
    monkeypatch.setenv("IPC_SECRET_KEY", "the key")
    made = side()
    assert (made.host, made.port, made.secret_key) == ("127.0.0.2", 8123, "the key")


@EACH_SIDE
def test_settings_replace_variables(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_URL", "ws://127.0.0.2:8123/ipc/")
    monkeypatch.setenv("IPC_SECRET_KEY", "the key")
    made = side(port=8124, secret_key="another")
    assert (made.host, made.port, made.secret_key) == ("localhost", 8124, "another")


def test_a_session_takes_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_URL", "wss://bot.example/ipc/")
    assert ClientSession.from_env().url == "wss://bot.example:443/ipc"


def test_a_session_with_a_connector_needs_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_URL", "wss://bot.example/ipc/")
    monkeypatch.setenv("IPC_SECRET_KEY", "the key")
    assert ClientSession.from_env(connector=MemoryConnector(lambda _: None)).secret_key is None  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.2:8123/ipc/", "ws://127.0.0.2:8123/ipc"),
        ("http://[::1]:8123", "ws://[::1]:8123"),
        ("unix:///run/bot.sock", "unix:///run/bot.sock"),
    ],
)
def test_a_server_listens_at_the_url(monkeypatch: pytest.MonkeyPatch, url: str, expected: str) -> None:
    monkeypatch.setenv("IPC_URL", url)
    assert server().ws_url == expected


def test_a_server_does_not_take_a_url_with_tls_without_a_certificate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPC_URL", "wss://bot.example/ipc/")
    with pytest.raises(ValueError, match="TLS needs a certificate: give ssl="):
        server()
    context = server_context(Certificates(tmp_path).issue("bot.example"))
    assert server(ssl=context).ws_url == "wss://bot.example:443/ipc"
    monkeypatch.setenv("IPC_URL", "ws://bot.example/ipc/")
    with pytest.raises(ValueError, match="without TLS, and ssl is given"):
        server(ssl=context)


@EACH_SIDE
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_key_is_read_from_a_file_without_the_newline(
    side: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    (tmp_path / "key").write_bytes(f"the key{ending}".encode())
    monkeypatch.setenv("IPC_SECRET_KEY_FILE", str(tmp_path / "key"))
    assert side().secret_key == "the key"


@EACH_SIDE
@pytest.mark.parametrize("content", [b"", b"\n", b" \n", b"\xff", b"two\nlines\n", b"x" * 10_000])
def test_a_file_without_a_valid_key_is_refused_without_its_content(
    side: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("IPC_SECRET_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ValueError, match=r"IPC_SECRET_KEY_FILE|secret_key") as caught:
        side()
    assert not re.search("lines|xxx", str(caught.value))


@EACH_SIDE
def test_a_file_that_does_not_exist_is_named(
    side: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPC_SECRET_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="none', which cannot be read: No such file or directory"):
        side()


@EACH_SIDE
@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_named(
    side: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{name} is set and empty"):
        side()


@EACH_SIDE
@pytest.mark.parametrize("value", ["eight", "-1", "8000.0", "65536", "٨", "9" * 5000])
def test_a_port_that_is_none_is_quoted(side: Any, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("IPC_PORT", value)
    with pytest.raises(ValueError, match=r"^IPC_PORT is '") as caught:
        side()
    assert len(str(caught.value)) < 300


@EACH_SIDE
def test_an_invalid_url_is_named(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_URL", "bot.example")
    with pytest.raises(ValueError, match=r"^IPC_URL: 'bot\.example' must begin with"):
        side()


@EACH_SIDE
@pytest.mark.parametrize("other", ["IPC_HOST", "IPC_PORT"])
def test_a_url_beside_a_host_or_a_port_is_refused(
    side: Any, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    monkeypatch.setenv("IPC_URL", "ws://localhost:8000")
    monkeypatch.setenv(other, "8000")
    with pytest.raises(ValueError, match="IPC_URL replaces IPC_HOST and IPC_PORT"):
        side()


@EACH_SIDE
def test_a_key_and_a_file_with_a_key_are_refused(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_SECRET_KEY", "the key")
    monkeypatch.setenv("IPC_SECRET_KEY_FILE", "/run/secrets/key")
    with pytest.raises(ValueError, match="are both set") as caught:
        side()
    assert "the key" not in str(caught.value)


# -- what the constructor of a session refuses


@pytest.mark.parametrize("place", [{"host": "127.0.0.1"}, {"port": 8000}])
def test_a_url_excludes_host_and_port(place: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="url replaces host and port"):
        ClientSession(url="ws://localhost", **place)


def test_ssl_and_a_url_without_tls_exclude_each_other() -> None:
    for url in ("ws://localhost", "unix:///run/bot.sock"):
        with pytest.raises(ValueError, match="ssl is for TLS"):
            ClientSession(url=url, ssl=client_context())


@pytest.mark.parametrize("value", [True, "cert.pem", object()])
def test_ssl_has_to_be_a_context(value: Any) -> None:
    with pytest.raises(TypeError, match=r"ssl must be an ssl\.SSLContext"):
        ClientSession(ssl=value)
    with pytest.raises(TypeError, match=r"ssl must be an ssl\.SSLContext"):
        server(ssl=value)


def test_a_session_of_aiohttp_excludes_ssl_and_a_unix_socket() -> None:
    given: Any = object()
    for options in ({"ssl": client_context()}, {"url": "unix:///run/bot.sock"}):
        with pytest.raises(ValueError, match="session has its own connector"):
            ClientSession(session=given, **options)
