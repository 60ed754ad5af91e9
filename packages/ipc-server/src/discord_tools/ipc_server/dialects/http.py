"""The main port: one JSON-RPC message by ``POST /``, and ``GET /health``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from msgspec import Raw

from discord_tools.ipc.errors import Cancelled, Overloaded, TooLarge
from discord_tools.ipc.logs import connection_id
from discord_tools.ipc.wire.codes import PARSE_ERROR, UNAUTHORIZED
from discord_tools.ipc.wire.frames import ErrorObject
from discord_tools.ipc.wire.jsonrpc import Body, read_body, refuse
from discord_tools.ipc_server.browsers import Refusal
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.dialects.jsonrpc import Exchange
from discord_tools.ipc_server.dialects.service import HTTP, DialectService
from discord_tools.ipc_server.listeners.websocket import refuse_request
from discord_tools.ipc_server.turns import LARGE_BYTES

__all__ = ("HTTPDialect", "RequestBody")

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
        return [
            web.post("/", self.post_and_share),
            web.options("/", self.preflight),
            web.get("/health", self.health),
        ]

    async def health(self, request: web.Request) -> web.Response:
        """Answers ``GET /health``. It needs no key, so it tells nothing else."""
        ready = self._ready() and not self._service.admission.draining
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        body = b'{"status":"ready"}' if ready else b'{"status":"not ready"}'
        headers = {hdrs.CACHE_CONTROL: "no-store", **self._service.gate.pages.shared_with(request.headers)}
        return web.Response(body=body, status=status, content_type=JSON, headers=headers)

    async def preflight(self, request: web.Request) -> web.Response:
        """Answers ``OPTIONS /``, with which browsers ask whether a page may post."""
        headers = self._service.gate.pages.preflight(request.headers)
        status = HTTPStatus.NO_CONTENT if headers else HTTPStatus.FORBIDDEN
        return web.Response(status=status, headers={"Allow": "GET, POST, OPTIONS", **headers})

    async def post_and_share(self, request: web.Request) -> web.Response:
        """Answers one ``POST /``, and lets the page of an allowed origin read the answer."""
        response = await self.post(request)
        if hdrs.ORIGIN in request.headers:
            response.headers.update(self._service.gate.pages.shared_with(request.headers))
        return response

    async def post(self, request: web.Request) -> web.Response:
        """Answers one ``POST /``."""
        connection = connection_id()
        caller = self._service.gate.enter(request.headers, request.remote, HTTP, connection)
        if isinstance(caller, Refusal):
            response = _error(caller.status, UNAUTHORIZED, caller.text)
            return await refuse_request(request, self._service.gate, caller, connection, response)
        limits = self._service.limits
        reading = RequestBody(self._service.budget)
        try:
            async with asyncio.timeout(limits.handshake_timeout) as reading.timeout:
                body = await reading.read(request, limits.message_bytes)
        except TimeoutError:
            if reading.evicted is not None:
                return _error(HTTPStatus.SERVICE_UNAVAILABLE, Overloaded.code, reading.evicted)
            return _error(HTTPStatus.REQUEST_TIMEOUT, PARSE_ERROR, "the request did not end in time")
        finally:
            reading.unfinished_bytes = 0
        if body is None:
            text = f"the request has more than {limits.message_bytes} bytes"
            return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TooLarge.code, text)
        if len(body) > LARGE_BYTES:
            await self._service.turns.take(len(body))
        message = read_body(body, limits.calls)
        del body  # it would stay for as long as the call takes, and it counts nowhere
        answer = await self._answer(request, caller, message)
        if answer is None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return web.Response(body=answer, content_type=JSON)

    async def _answer(self, request: web.Request, caller: Caller, message: Body) -> bytes | None:
        answered: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def done(answer: bytes | None) -> None:
            if not answered.done():
                answered.set_result(answer)

        # Each request may come over a connection of its own, so a bound for each connection would be none.
        exchange = Exchange(self._service, caller, None, message, done)
        try:
            await self._service.starts.take()
            await exchange.start()
            while not answered.done():
                await asyncio.wait((answered,), timeout=CHECK_INTERVAL)
                if request.transport is None or request.transport.is_closing():
                    break
        finally:
            exchange.abort(Cancelled("the caller has disconnected"))
        return answered.result()


class RequestBody:
    """The body of a request while it is received."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        #: Bytes that were received.
        self.unfinished_bytes: int = 0
        #: When the body began, by the loop's clock.
        self.receiving_since: float = asyncio.get_running_loop().time()
        #: Ends the wait for more of it.
        self.timeout: asyncio.Timeout | None = None
        #: Why it was given up, if it was.
        self.evicted: str | None = None

    async def read(self, request: web.Request, most: int) -> bytes | None:
        """Returns the body, or ``None`` where it is too large."""
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > most:
                return None
            self.unfinished_bytes = len(body)
            if len(body) > LARGE_BYTES:
                self._budget.receives(self, len(chunk))
        return bytes(body)

    def evict(self, reason: str) -> None:
        """Gives it up."""
        self.evicted = reason
        self.unfinished_bytes = 0
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time())


def _error(status: HTTPStatus, code: int, text: str) -> web.Response:
    return web.Response(body=refuse(Raw(b"null"), ErrorObject(code, text)), status=status, content_type=JSON)
