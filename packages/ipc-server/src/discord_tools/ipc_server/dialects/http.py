"""The main port: one JSON-RPC message by ``POST /``, and ``GET /health``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from msgspec import Raw

from discord_tools.ipc.errors import Cancelled, TooLarge
from discord_tools.ipc.logs import connection_id
from discord_tools.ipc.wire.codes import PARSE_ERROR, UNAUTHORIZED
from discord_tools.ipc.wire.frames import ErrorObject
from discord_tools.ipc.wire.jsonrpc import read_body, refuse
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.dialects.jsonrpc import Exchange
from discord_tools.ipc_server.dialects.service import HTTP, DialectService
from discord_tools.ipc_server.gate import Refusal
from discord_tools.ipc_server.listeners.websocket import refuse_request

__all__ = ("HTTPDialect",)

JSON: Final = "application/json"

#: Seconds between checks that a caller is still connected: aiohttp does not report it.
CHECK_INTERVAL: Final = 0.5


class HTTPDialect:
    """Answers HTTP requests other than WebSocket handshakes.

    Parameters
    ----------
    ready: Callable[[], bool]
        Returns whether the bot is ready.
    """

    def __init__(self, service: DialectService, ready: Callable[[], bool]) -> None:
        self._service = service
        self._ready = ready

    def routes(self) -> list[web.RouteDef]:
        """The requests to add to the port; none where the dialect is switched off."""
        if HTTP not in self._service.dialects:
            return []
        return [web.post("/", self.post), web.get("/health", self.health)]

    async def health(self, request: web.Request) -> web.Response:
        """Answers ``GET /health``. It needs no key, so it tells nothing else."""
        ready = self._ready() and not self._service.admission.draining
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        body = b'{"status":"ready"}' if ready else b'{"status":"not ready"}'
        return web.Response(
            body=body, status=status, content_type=JSON, headers={hdrs.CACHE_CONTROL: "no-store"}
        )

    async def post(self, request: web.Request) -> web.Response:
        """Answers one ``POST /``."""
        connection = connection_id()
        caller = self._service.gate.enter(request.headers, request.remote, HTTP, connection)
        if isinstance(caller, Refusal):
            response = _error(caller.status, UNAUTHORIZED, caller.text)
            return await refuse_request(request, self._service.gate, caller, connection, response)
        limits = self._service.limits
        try:
            async with asyncio.timeout(limits.handshake_timeout):
                body = await _body(request, limits.message_bytes)
        except TimeoutError:
            return _error(HTTPStatus.REQUEST_TIMEOUT, PARSE_ERROR, "the request did not end in time")
        if body is None:
            text = f"the request has more than {limits.message_bytes} bytes"
            return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TooLarge.code, text)
        answer = await self._answer(request, caller, body)
        if answer is None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return web.Response(body=answer, content_type=JSON)

    async def _answer(self, request: web.Request, caller: Caller, body: bytes) -> bytes | None:
        answered: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def done(answer: bytes | None) -> None:
            if not answered.done():
                answered.set_result(answer)

        # Each request may come over a connection of its own, so a bound for each connection would be none.
        exchange = Exchange(self._service, caller, None, read_body(body, self._service.limits.calls), done)
        try:
            exchange.start()
            while not answered.done():
                await asyncio.wait((answered,), timeout=CHECK_INTERVAL)
                if request.transport is None or request.transport.is_closing():
                    break
        finally:
            exchange.abort(Cancelled("the caller has disconnected"))
        return answered.result()


async def _body(request: web.Request, most: int) -> bytes | None:
    """The body, or ``None`` where it is too large."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def _error(status: HTTPStatus, code: int, text: str) -> web.Response:
    return web.Response(body=refuse(Raw(b"null"), ErrorObject(code, text)), status=status, content_type=JSON)
