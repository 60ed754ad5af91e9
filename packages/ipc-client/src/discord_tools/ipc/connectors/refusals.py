"""Why a WebSocket could not be opened, in words: TLS, proxies, and what else may listen at an address."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import aiohttp

from discord_tools.ipc.address import Address
from discord_tools.ipc.errors import ConnectError
from discord_tools.ipc.wire.frames import MISSING_HEADERS

__all__ = ("explain", "failure_at", "refusal")

#: The lines that nginx needs, by what is missing in a request without them.
_NGINX_LINES: Final = {
    "HTTP/1.1": "proxy_http_version 1.1;",
    "Upgrade": "proxy_set_header Upgrade $http_upgrade;",
    "Connection": 'proxy_set_header Connection "upgrade";',
}

#: What proxies answer instead of the bot.
_OF_PROXIES: Final = {
    HTTPStatus.BAD_GATEWAY: "a proxy cannot reach the bot (HTTP 502)",
    HTTPStatus.GATEWAY_TIMEOUT: "a proxy got no answer from the bot in time (HTTP 504)",
}

#: What OpenSSL says about a server that answers in clear text.
_NO_TLS: Final = (
    *("HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE"),
    "WRONG_VERSION_NUMBER",
)

#: OpenSSL's codes for a certificate whose issuer is not known: a self-signed one, alone and in a chain, and others.
_UNKNOWN_ISSUER: Final = (18, 19, 20, 21)


def failure_at(kind: type[ConnectError], address: Address, reason: str) -> ConnectError:
    """Makes the error about an address."""
    host, port, label = address.facts
    return kind(host, port, reason, label)


def explain(error: Exception, address: Address) -> str:
    """Tells what an exception of aiohttp or of the system means for a connection to ``address``."""
    cause = _tls_error(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = f"the server's certificate is not accepted: {cause.verify_message}"
        if cause.verify_code in _UNKNOWN_ISSUER:
            text += "; if your own authority signed it, give that as ssl=client_context(ca=...)"
        return text
    if cause is not None:
        reason = getattr(cause, "reason", None) or ""
        if reason in _NO_TLS:
            return "the server does not speak TLS there: write ws:// or leave ssl out, or start the server with ssl="
        if "CERTIFICATE" in reason:
            return (
                f"the server wants another client certificate: give ssl=client_context(cert=...) ({reason})"
            )
        return f"TLS failed: {reason or cause}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) and not isinstance(
        error, aiohttp.ClientConnectorError
    ):
        hint = "it may want a client certificate" if address.tls else "it may speak TLS only: write wss://"
        return f"the server closed the connection during the handshake; {hint}"
    if address.unix is not None and isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def refusal(status: int, headers: Mapping[str, str] | None, address: Address) -> str:
    """Tells what the status of an answer to a handshake means."""
    if status == HTTPStatus.FORBIDDEN:
        return "the server refuses this origin (HTTP 403)"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return "the server has too many connections or is shutting down (HTTP 503)"
    if status == HTTPStatus.UPGRADE_REQUIRED and headers is not None:
        shown = headers.get(MISSING_HEADERS, "").split(", ")
        missing = [name for name in _NGINX_LINES if name in shown]
        if missing:
            lines = " ".join(_NGINX_LINES[name] for name in missing)
            return (
                f"a proxy in between does not pass the handshake of a WebSocket on: {', '.join(missing)} is missing. "
                f"In nginx, add: {lines}"
            )
    if status in _OF_PROXIES:
        return _OF_PROXIES[HTTPStatus(status)]
    if status == HTTPStatus.NOT_FOUND:
        return (
            "something else listens there: it answers HTTP 404 to a WebSocket handshake. "
            f"Compare the path {address.path!r} with Server(path=...) and the proxy's"
        )
    if status == HTTPStatus.BAD_REQUEST and not address.tls:
        return "something else listens there, or it speaks TLS only: it answers HTTP 400 to a WebSocket handshake"
    return f"something else listens there: it answers HTTP {status} to a WebSocket handshake"


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The error of TLS behind one of aiohttp."""
    wrapped = (getattr(error, name, None) for name in ("os_error", "certificate_error", "__cause__"))
    # aiohttp's own classes inherit from that of ssl, too, and have none of its attributes.
    for one in (*wrapped, error):
        if isinstance(one, ssl.SSLError):
            return one
    return None
