"""Opens a connection to the bot: finds the port, shakes hands, and turns every foreign error into one of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp

from discord_tools.ipc.connectors.multicast import resolve
from discord_tools.ipc.errors import ConnectError, IPCError, ResolutionError, Unauthorized
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.transports.websocket import WebSocketTransport
from discord_tools.ipc.wire.frames import SUBPROTOCOL

__all__ = ("WebSocketConnector", "OlderServer", "release", "url_of")

ResultT = TypeVar("ResultT")


def url_of(host: str, port: int) -> str:
    """The WebSocket URL of an address; IPv6 addresses get their brackets."""
    return f"ws://[{host}]:{port}/" if ":" in host else f"ws://{host}:{port}/"


class OlderServer:
    """What was dialled does not know our subprotocol: a server of an older library, as far as can be told.

    Attributes
    ----------
    port: :class:`int`
        Its port.
    dial: Callable[[], Awaitable[:class:`aiohttp.ClientWebSocketResponse`]]
        Opens a socket as the clients of those libraries do. It never sends a ping.
    """

    def __init__(self, http: aiohttp.ClientSession, host: str, port: int, limits: ClientLimits) -> None:
        self._http = http
        self._url = url_of(host, port)
        self._limits = limits
        self.port: int = port

    async def dial(self) -> aiohttp.ClientWebSocketResponse:
        return await self._http.ws_connect(
            self._url,
            max_msg_size=self._limits.message_bytes,
            timeout=aiohttp.ClientWSTimeout(ws_close=self._limits.close_timeout),  # pyright: ignore[reportCallIssue] (attrs)
            compress=0,
        )


class WebSocketConnector:
    """Knows where the bot is and how to get in.

    Parameters
    ----------
    port: Optional[:class:`int`]
        The port to connect to, or ``None`` to ask the multicast port.
    """

    def __init__(
        self, host: str, port: int | None, multicast_port: int, secret_key: str | None, limits: ClientLimits
    ) -> None:
        self._host = host
        self._port = port
        self._multicast_port = multicast_port
        self._secret_key = secret_key
        self._limits = limits
        self._found: int | None = None

    @property
    def host(self) -> str:
        """:class:`str`: The host to connect to."""
        return self._host

    @property
    def secret_key(self) -> str | None:
        """Optional[:class:`str`]: The key to show."""
        return self._secret_key

    @property
    def port(self) -> int | None:
        """Optional[:class:`int`]: The port to connect to, if it is given or was found."""
        return self._port if self._port is not None else self._found

    def failure(self, reason: str) -> ConnectError:
        """An error that says where the bot was looked for."""
        return ConnectError(self._host, self._multicast_port if self.port is None else self.port, reason)

    def forget(self) -> None:
        """Asks for the port again next time: the bot may have moved."""
        self._found = None

    async def dial(self, http: aiohttp.ClientSession) -> WebSocketTransport | OlderServer:
        """Makes one attempt to connect.

        Raises
        ------
        ConnectError
            Nobody answers there, or somebody else does.
        ResolutionError
            The multicast port does not tell the bot's port.
        Unauthorized
            The server does not accept the secret key.
        """
        port, remembered = self.port, self._found is not None
        if port is None:
            port = self._found = await self._resolve(http)
        try:
            return await self._within(lambda: self._connect(http, port), port, ConnectError)
        except IPCError as error:
            self._found = None  # the bot may have moved
            if remembered and isinstance(error, Unauthorized):
                return await self.dial(http)  # and another bot, with another key, may have moved in
            raise

    async def _resolve(self, http: aiohttp.ClientSession) -> int:
        host, port = self._host, self._multicast_port
        return await self._within(
            lambda: resolve(http, url_of(host, port), host, port, self._secret_key), port, ResolutionError
        )

    async def _connect(self, http: aiohttp.ClientSession, port: int) -> WebSocketTransport | OlderServer:
        socket = await http.ws_connect(
            url_of(self._host, port),
            protocols=(SUBPROTOCOL,),
            headers={} if self._secret_key is None else {"Authorization": self._secret_key},
            max_msg_size=self._limits.message_bytes + 1,  # aiohttp takes less than that, not as much
            autoping=False,  # the transport does that
            timeout=aiohttp.ClientWSTimeout(ws_close=self._limits.close_timeout),  # pyright: ignore[reportCallIssue] (attrs)
            compress=0,
        )
        if socket.protocol != SUBPROTOCOL:
            # It leaves pings to its user. Requests get others, which do not.
            await socket.close()
            release(socket)
            return OlderServer(http, self._host, port, self._limits)
        return WebSocketTransport(
            socket,
            lambda: release(socket),
            wire=_wire(socket),
            heartbeat=self._limits.heartbeat,
            close_seconds=self._limits.close_timeout,
        )

    async def _within(
        self, attempt: Callable[[], Awaitable[ResultT]], port: int, failure: type[ConnectError]
    ) -> ResultT:
        """Bounds one attempt in time and maps what aiohttp and the system raise."""
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                return await attempt()
        except TimeoutError as error:
            reason = f"no answer within {self._limits.handshake_timeout:g} s"
            raise failure(self._host, port, reason) from error
        except aiohttp.ClientResponseError as error:
            # A given session with raise_for_status raises this one and not WSServerHandshakeError.
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise Unauthorized(self._host, port) from error
            raise failure(self._host, port, _refusal(error.status)) from error
        except IPCError:
            raise
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # ValueError: a host and port that make no URL. RuntimeError: the given session was closed.
            raise failure(self._host, port, str(error) or type(error).__name__) from error


def release(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Ends the connection at once and takes it out of the pool of its session.

    Closing would wait for what is still to be sent, for ever where the other side reads nothing any more. And aiohttp
    forgets to take it out where it was reset, until the garbage collector finds it: a hundred such cuts, and the pool
    has no connections left. There is no public way.
    """
    wire: Any = _wire(socket)
    if wire is not None:
        wire.abort()
    response: Any = getattr(socket, "_response", None)
    if response is not None:
        response.close()


def _wire(socket: aiohttp.ClientWebSocketResponse) -> asyncio.BaseTransport | None:
    """What is below a socket, while it is open."""
    response: Any = getattr(socket, "_response", None)
    connection = None if response is None else response.connection
    return None if connection is None else connection.transport


def _refusal(status: int) -> str:
    if status == HTTPStatus.FORBIDDEN:
        return "the server refuses this origin (HTTP 403)"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return "the server has too many connections or is shutting down (HTTP 503)"
    return f"something else listens there: it answers HTTP {status} to a WebSocket handshake"
