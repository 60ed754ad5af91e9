"""TLS handshakes of new connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import web

from discord_tools.ipc.tls import renew
from discord_tools.ipc_server.connections import Unauthenticated

__all__ = ("HandshakeTLS", "TLS")

#: Seconds that a TLS handshake may take.
HANDSHAKE_TIMEOUT: Final = 10.0

#: Seconds to wait for the other side's end of TLS when a connection is closed.
SHUTDOWN_TIMEOUT: Final = 1.0


class TLS:
    """TLS of one listener: the context, and the handshakes in progress.

    asyncio's own servers report a connection after its handshake, so those that never end it could not be counted.
    """

    def __init__(self, context: ssl.SSLContext, handshakes: Unauthenticated) -> None:
        self.context: ssl.SSLContext = context
        #: Bounds the connections that have not ended their handshake.
        self.handshakes: Unauthenticated = handshakes
        #: The tasks of handshakes.
        self.tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Ends the handshakes in progress."""
        tasks = tuple(self.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class HandshakeTLS(asyncio.Protocol):
    """One connection until the end of its TLS handshake.

    Parameters
    ----------
    accept: Callable[[], :class:`aiohttp.web.RequestHandler`]
        Makes the HTTP connection that takes over.
    """

    def __init__(self, tls: TLS, accept: Callable[[], web.RequestHandler]) -> None:
        self._tls = tls
        self._accept = accept
        #: What arrived after the handshake and before the HTTP connection took over.
        self._early = bytearray()
        #: Whether the connection ended before that.
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plain = cast("asyncio.Transport", transport)
        plain.pause_reading()  # the first bytes are for TLS
        renew(self._tls.context)
        peer: Any = plain.get_extra_info("peername")
        self._tls.handshakes.add(plain.abort, str(peer[0]) if peer else None)
        task = asyncio.get_running_loop().create_task(self._run(plain), name="ipc TLS handshake")
        self._tls.tasks.add(task)
        task.add_done_callback(self._tls.tasks.discard)

    def data_received(self, data: bytes) -> None:
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    async def _run(self, plain: asyncio.Transport) -> None:
        try:
            secure = await asyncio.get_running_loop().start_tls(
                plain,
                self,
                self._tls.context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
            )
        except BaseException as error:
            plain.abort()
            # OSError: a failed handshake, ssl.SSLError included. RuntimeError: uvloop, of a closed transport.
            if not isinstance(error, OSError | RuntimeError):
                raise
            return
        finally:
            self._tls.handshakes.discard(plain.abort)
        if self._lost or secure is None or secure.is_closing():
            plain.abort()
            return
        connection = self._accept()
        secure.set_protocol(connection)
        connection.connection_made(secure)
        if self._early:
            connection.data_received(bytes(self._early))
