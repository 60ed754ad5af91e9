"""From a call to its answer: events, look-up, arguments, the handler, and what becomes of its exceptions."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any, Protocol

import discord

from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    RemoteError,
    RouteFailed,
    TooLarge,
    UnknownEndpoint,
)
from discord_tools.ipc_server.request import Call, Request
from discord_tools.ipc_server.routes import Route, RouteTable

__all__ = ("Dispatcher", "IncomingCall")

log = logging.getLogger(__name__)


class IncomingCall(Call, Protocol):
    """A call that can fail, too. Once ``settled`` it takes no answer any more."""

    settled: bool

    def fail(self, error: RemoteError) -> None: ...


class Dispatcher:
    """Runs calls against the routes of one client."""

    def __init__(self, client: discord.Client, routes: RouteTable) -> None:
        self._client = client
        self._routes = routes

    def emit(self, event: str, *args: Any) -> None:
        """Dispatches an event of discord.py. Does nothing before the client has a loop and after it was closed."""
        # Before log-in and after close the attribute is a sentinel of discord.py, and dispatching would raise.
        loop: Any = self._client.loop
        if isinstance(loop, asyncio.AbstractEventLoop):
            try:
                self._client.dispatch(event, *args)
            except Exception:
                # Listeners run in tasks of their own. This is an overridden dispatch, or a check of wait_for.
                log.exception("Dispatching %s failed", event)

    def _has_listeners(self, event: str) -> bool:
        name = f"on_{event}"
        return hasattr(self._client, name) or bool(getattr(self._client, "extra_events", {}).get(name))

    async def handle(self, call: IncomingCall) -> None:
        """Runs one call to its end. It is settled afterwards, whatever happens."""
        request = Request.of(call, asyncio.get_running_loop())
        self.emit("raw_ipc_request", request)
        route = self._routes.find(call.endpoint)
        if route is None:
            log.warning("A client asked for the unknown endpoint %.200r", call.endpoint)
            call.fail(UnknownEndpoint("there is no such endpoint"))
            request.finish()
            return
        try:
            await self._run(route, request, call)
        finally:
            request.finish()

    async def _run(self, route: Route[Any], request: Request, call: IncomingCall) -> None:
        called = False
        try:
            if self._has_listeners("raw_ipc_request"):
                # Listeners begin in the next turn of the loop, and they come before the route.
                await asyncio.sleep(0)
            arguments = self._arguments(route, request, call)
            called = True
            value = await route(request, **arguments)
            if not request.is_done():
                if not call.settled:  # otherwise nobody waits any more: the caller, or the deadline, ended it
                    await request.respond(value)
            elif value is not None:
                raise AlreadyResponded(call.endpoint)
        except asyncio.CancelledError:
            if not call.settled:
                call.fail(Cancelled("the route was cancelled"))
        except RemoteError as error:
            # One with an endpoint came from another bot, whose caller this route is: not meant for ours.
            if error.endpoint is None and not call.settled:
                log.debug("Route %s answered with an error: %.500s", route.name, error)
                self._answer(route, request, call, error)
            else:
                self._failed(route, request, call, error)
        except Exception as error:
            self._failed(route, request, call, error)
        finally:
            if called:
                request.finish()
                self.emit("ipc_request_completion", request)

    def _arguments(self, route: Route[Any], request: Request, call: IncomingCall) -> dict[str, Any]:
        if not route.signature.takes_data:
            len(request)  # decodes the data, so that what is no object is refused before the route runs
            return {}
        return route.signature.bind(call.params, self._client)

    def _answer(self, route: Route[Any], request: Request, call: IncomingCall, error: RemoteError) -> None:
        try:
            call.fail(error)
        except TooLarge as problem:
            call.fail(problem)
        except Exception as problem:
            # Its data, or its text, cannot be written as JSON.
            self._failed(route, request, call, problem)

    def _failed(self, route: Route[Any], request: Request, call: IncomingCall, error: Exception) -> None:
        number = secrets.token_hex(4)
        log.error("Route %s failed (error id %s)", route.name, number, exc_info=error)
        failure = RouteFailed(
            f"the route failed; the bot's log has more under {number}", data={"error_id": number}
        )
        failure.__cause__ = error  # older clients are told its class
        call.fail(failure)
        self.emit("ipc_error", request, error)
