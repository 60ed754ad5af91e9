"""One port with an HTTP server of aiohttp on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from discord_tools.ipc.errors import ListenError
from discord_tools.ipc_server.listeners.sockets import addresses_of, listen

__all__ = ("HTTPListener",)

log = logging.getLogger(__name__)


class HTTPListener:
    """Listens on a port and hands every ``GET /`` to a handler.

    Parameters
    ----------
    handler: Callable[[:class:`aiohttp.web.Request`], Awaitable[:class:`aiohttp.web.StreamResponse`]]
        Answers each request.
    more: Iterable[:class:`aiohttp.web.RouteDef`]
        Other requests that are answered on this port.
    """

    def __init__(
        self,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
        more: Iterable[web.RouteDef] = (),
    ) -> None:
        app = web.Application()
        app.router.add_get("/", handler)
        app.router.add_routes(more)
        # Conversations are ended by the server before this; whatever is still there has had its time.
        # A body that was refused is read on for a moment only, which its sender needs to see the refusal.
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=1.0, lingering_time=0.5
        )
        self._sites: list[web.SockSite] = []

    async def start(self, host: str, port: int) -> int:
        """Listens, and returns the port: the system's choice where ``port`` is 0.

        Raises
        ------
        ListenError
            The address cannot be had.
        """
        try:
            sockets = listen(await addresses_of(host), host, port)
        except OSError as error:
            if isinstance(error, ListenError):
                raise
            raise ListenError(host, port, error.strerror or str(error)) from error
        port = sockets[0].getsockname()[1]
        try:
            await self._runner.setup()
            for opened in sockets:
                site = web.SockSite(self._runner, opened)
                await site.start()
                self._sites.append(site)
        except BaseException:
            for opened in sockets:
                opened.close()
            await self._runner.cleanup()
            raise
        return port

    async def stop_listening(self) -> None:
        """Frees the port. Connections stay."""
        sites, self._sites = self._sites, []
        for site in sites:
            await site.stop()

    async def close(self) -> None:
        """Frees the port and ends all connections."""
        await self.stop_listening()
        await self._runner.cleanup()
        # Transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)
