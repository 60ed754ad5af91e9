"""The aiohttp connector that makes an unmodified discord.py talk to the loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

HOST = "127.0.0.1"


class LoopbackConnector(aiohttp.BaseConnector):
    """Opens plain TCP to the loopback, whatever host and scheme a URL names.

    Pass it as ``connector=`` to :class:`discord.Client` or a subclass. A bot closes its connector, so
    every bot needs its own, made inside the running event loop.

    Parameters
    ----------
    port: :class:`int`
        The loopback's port. A bot in another process than the loopback needs nothing else.
    """

    def __init__(self, port: int) -> None:
        # Every shard holds a connection for as long as it lives, so a limit would be one on shards.
        super().__init__(limit=0)
        self._port = port

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        try:
            _, protocol = await self._loop.create_connection(self._factory, HOST, self._port)
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol
