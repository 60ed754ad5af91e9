"""Connects over WebSockets: finds the port, shakes hands, and turns every foreign error into one of this library."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp

from discord_tools.ipc.address import Address
from discord_tools.ipc.connectors.multicast import resolve
from discord_tools.ipc.connectors.refusals import explain, failure_at, refusal
from discord_tools.ipc.errors import ConnectError, IPCError, ResolutionError, Unauthorized, UnprovenServer
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.tls import renew
from discord_tools.ipc.transports.base import Transport
from discord_tools.ipc.transports.websocket import OpenSocket, WebSocketTransport, release, tcp_of
from discord_tools.ipc.wire.frames import SUBPROTOCOL

__all__ = ("WebSocketConnector",)

ResultT = TypeVar("ResultT")

#: What a server without our subprotocol is, and what to do about it.
_OLDER: Final = (
    "it does not speak the protocol of this library. Servers of older libraries want the secret key in clear with each "
    "request: if one of them runs there, give older_servers=True to the session"
)


class WebSocketConnector:
    """Opens WebSockets to one bot.

    Parameters
    ----------
    address: :class:`Address`
        Where the bot is. With port 0 the multicast port tells the port.
    multicast_port: :class:`int`
        The port to ask.
    secret_key: Optional[:class:`str`]
        The key to show.
    limits: :class:`ClientLimits`
        Sizes and timeouts.
    http: Optional[:class:`aiohttp.ClientSession`]
        The session to use, which is never closed. ``None`` makes one when it is needed.
    older_servers: :class:`bool`
        Whether servers of older libraries are shown the key in clear. Without a key there is nothing to show.
    tls: Optional[:class:`ssl.SSLContext`]
        How to check the server's certificate, and which one to show. ``None`` for aiohttp's default. It is not for a
        session that was given, which has its own.
    """

    def __init__(
        self,
        address: Address,
        multicast_port: int,
        secret_key: str | None,
        limits: ClientLimits,
        http: aiohttp.ClientSession | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        older_servers: bool = False,
    ) -> None:
        self._address = address
        self._tls = tls
        #: Where to ask for the port.
        self._multicast = replace(address, port=multicast_port)
        self._secret_key = secret_key
        self._limits = limits
        #: Whether servers of older libraries are shown the key in clear.
        self._older_servers = older_servers
        #: The session that was given.
        self._given = http
        #: The session that was made here.
        self._own: aiohttp.ClientSession | None = None
        #: The address with the port that the multicast port told, once it was asked.
        self._found: Address | None = None
        #: The last connection: a transport, or the bridge to an older server.
        self._last: OpenSocket | None = None
        #: What an older server answered to a request: the next attempt raises it.
        self._refused: Unauthorized | None = None

    @property
    def address(self) -> Address:
        """:class:`Address`: Where the bot is, or, while its port is not known, where to ask for it."""
        if self._address.is_complete:
            return self._address
        return self._found or self._multicast

    @property
    def label(self) -> str:
        """:class:`str`: Where it connects to, for the log."""
        return self.address.label

    def failure(self, reason: str) -> ConnectError:
        return failure_at(ConnectError, self.address, reason)

    def forget(self) -> None:
        """Asks for the port again next time."""
        self._found = None

    def abandon(self) -> None:
        self.forget()
        if self._last is not None:
            self._last.drop()
        own, self._own = self._own, None
        if own is not None:
            own.detach()  # it cannot be closed without its event loop

    async def close(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def connect(self) -> Transport:
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused
        # With a key, each connection is preceded by a proof: another program may have the port of a bot that ended.
        remembered = self._found is not None and self._secret_key is None
        try:
            if not self._address.is_complete and not remembered:
                self._found = await self._resolve()
            address = self.address
            return await self._within(lambda: self._connect(address), address, ConnectError)
        except IPCError as error:
            self.forget()  # the bot may have moved
            if remembered and isinstance(error, Unauthorized):
                return await self.connect()  # and another bot, with a key, may listen there now
            raise

    async def _resolve(self) -> Address:
        address = self._multicast
        port = await self._within(
            lambda: resolve(self._http(), address, self._secret_key, self._older_servers),
            address,
            ResolutionError,
        )
        return replace(address, port=port)

    async def _connect(self, address: Address) -> Transport:
        socket = await self._http().ws_connect(
            address.url,
            protocols=(SUBPROTOCOL,),
            headers={} if self._secret_key is None else {"Authorization": self._secret_key},
            max_msg_size=self._limits.message_bytes + 1,  # aiohttp takes less than that, not as much
            autoping=False,  # the transport answers pings
            timeout=aiohttp.ClientWSTimeout(ws_close=self._limits.close_timeout),  # pyright: ignore[reportCallIssue] (attrs)
            compress=0,
        )
        if socket.protocol != SUBPROTOCOL:
            # This socket leaves pings to its user. Requests get others, which do not.
            await socket.close()
            release(socket)
            if self._secret_key is not None and not self._older_servers:
                raise failure_at(UnprovenServer, address, _OLDER)
            return self._bridge(address)
        self._last = transport = WebSocketTransport(
            socket,
            lambda: release(socket),
            tcp=tcp_of(socket),
            heartbeat=self._limits.heartbeat,
            close_timeout=self._limits.close_timeout,
        )
        return transport

    def _bridge(self, address: Address) -> Transport:
        """Connects to a server that does not know our subprotocol, which those of older libraries do not."""
        from discord_tools.ipc.connectors.older import OlderBridge

        async def dial() -> aiohttp.ClientWebSocketResponse:
            return await self._http().ws_connect(
                address.url,
                max_msg_size=self._limits.message_bytes,
                timeout=aiohttp.ClientWSTimeout(ws_close=self._limits.close_timeout),  # pyright: ignore[reportCallIssue] (attrs)
                compress=0,
            )

        def refused(error: Unauthorized) -> None:
            self._refused = error

        self._last = bridge = OlderBridge(dial, address, self._secret_key, self._limits, refused)
        return bridge.open()

    async def _within(
        self, attempt: Callable[[], Awaitable[ResultT]], address: Address, failure: type[ConnectError]
    ) -> ResultT:
        """Bounds one attempt in time and maps what aiohttp and the system raise."""
        try:
            async with asyncio.timeout(self._limits.handshake_timeout):
                return await attempt()
        except TimeoutError as error:
            reason = f"no answer within {self._limits.handshake_timeout:g} s"
            raise failure_at(failure, address, reason) from error
        except aiohttp.ClientResponseError as error:
            # A given session with raise_for_status raises this one and not WSServerHandshakeError.
            status, headers = error.status, error.headers
        except IPCError:
            raise
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # ValueError: a host and port that make no URL. RuntimeError: the given session was closed.
            raise failure_at(failure, address, explain(error, address)) from error
        # Raised here, since aiohttp's error holds the headers of the request, and so the key.
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS):
            raise Unauthorized(*address.facts)
        raise failure_at(failure, address, refusal(status, headers, address))

    def _http(self) -> aiohttp.ClientSession:
        if self._given is not None:
            return self._given
        renew(self._tls)
        if self._own is None:
            self._own = aiohttp.ClientSession(connector=self._connector())
        return self._own

    def _connector(self) -> aiohttp.BaseConnector:
        if self._address.unix is not None:
            return aiohttp.UnixConnector(self._address.unix)
        return aiohttp.TCPConnector(ssl=True if self._tls is None else self._tls)
