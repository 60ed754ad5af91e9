"""Settings of sessions and servers from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from discord_tools.ipc.address import Address
from discord_tools.ipc.settings import MAX_KEY_BYTES

__all__ = ("client_settings", "server_settings")

URL: Final = "IPC_URL"
HOST: Final = "IPC_HOST"
PORT: Final = "IPC_PORT"
KEY: Final = "IPC_SECRET_KEY"
KEY_FILE: Final = "IPC_SECRET_KEY_FILE"


def client_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings for a session. Those in ``given`` replace those of variables.

    Raises
    ------
    ValueError
        A variable is not valid.
    """
    settings: dict[str, Any] = {}
    # With a connector, nothing of this is needed.
    if "connector" not in given:
        if given.keys().isdisjoint(("url", "host", "port")):
            settings |= _place()
        if "secret_key" not in given:
            settings |= _key()
    return {**settings, **given}


def server_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings for a server. Those in ``given`` replace those of variables.

    Raises
    ------
    ValueError
        A variable is not valid.
    """
    settings: dict[str, Any] = {}
    if given.keys().isdisjoint(("host", "port", "unix", "path")):
        settings |= _place()
        url = settings.pop("url", None)
        if url is not None:
            settings |= _listening(url, tls=given.get("ssl") is not None)
    if "secret_key" not in given:
        settings |= _key()
    return {**settings, **given}


def _listening(url: str, *, tls: bool) -> dict[str, Any]:
    address = Address.parse(url)
    if address.unix is not None:
        return {"unix": address.unix}
    if address.tls and not tls:
        raise ValueError(
            f"{URL} is {url!r:.200}, and TLS needs a certificate: give ssl=, or, if a reverse proxy has it, "
            f"set {HOST} and {PORT} for the bot and {URL} for its clients only"
        )
    if tls and not address.tls:
        raise ValueError(f"{URL} is {url!r:.200}, which is without TLS, and ssl is given: write wss://")
    return {"host": address.host, "port": address.port, "path": address.path}


def _place() -> dict[str, Any]:
    url, host, port = _variable(URL), _variable(HOST), _variable(PORT)
    if url is not None:
        if host is not None or port is not None:
            raise ValueError(f"{URL} replaces {HOST} and {PORT}: set either the one or the others")
        try:
            Address.parse(url)
        except ValueError as error:
            raise ValueError(f"{URL}: {error}") from None
        return {"url": url}
    settings: dict[str, Any] = {}
    if host is not None:
        settings["host"] = host
    if port is not None:
        if not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
            raise ValueError(f"{PORT} is {port!r:.100}: a port is a number from 1 to 65535")
        settings["port"] = int(port)
    return settings


def _key() -> dict[str, Any]:
    key, name = _variable(KEY), _variable(KEY_FILE)
    if key is not None and name is not None:
        raise ValueError(f"{KEY} and {KEY_FILE} are both set: set one of them")
    if name is not None:
        try:
            with open(name, encoding="utf-8") as file:
                # Longer than any key, so that a wrong path to a large file is not read whole.
                key = file.read(2 * MAX_KEY_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise ValueError(f"{KEY_FILE} is {name!r:.200}, which cannot be read: {reason}") from None
        # Editors and echo end a file with a newline.
        key = key.removesuffix("\n").removesuffix("\r")
        if not key.strip():
            raise ValueError(f"{KEY_FILE} is {name!r:.200}, which is empty")
    return {} if key is None else {"secret_key": key}


def _variable(name: str) -> str | None:
    value = os.environ.get(name)
    if value is not None and not value.strip():
        raise ValueError(f"{name} is set and empty: give it a value, or unset it")
    return value
