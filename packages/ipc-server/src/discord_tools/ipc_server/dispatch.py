"""From a call to its answer: events, look-up, arguments, the handler, and its exceptions."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import discord
from discord.ext import commands

from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    ConverterError,
    InvalidRequest,
    RemoteError,
    RouteFailed,
    TooLarge,
    UnknownEndpoint,
)
from discord_tools.ipc.logs import Incidents
from discord_tools.ipc_server.call import IncomingCall, expired
from discord_tools.ipc_server.openrpc import discovery
from discord_tools.ipc_server.parameters.binding import Source
from discord_tools.ipc_server.request import Request
from discord_tools.ipc_server.routes import RouteTable

__all__ = ("Dispatcher",)

log = logging.getLogger(__name__)


_WRONG_KIND = {
    True: "this route streams: read it with ClientSession.stream()",
    False: "this route does not stream: call it with ClientSession.request()",
}


#: Names of listeners. Made once, since looking up an attribute by a new string costs ten times as much: the interpreter
#: caches look-ups by the string object.
_LISTENERS = {event: f"on_{event}" for event in ("raw_ipc_request", "ipc_request_completion")}


class Dispatcher:
    """Runs calls against the routes of one client."""

    def __init__(
        self, client: discord.Client, routes: RouteTable, events: Mapping[str, Any] | None = None
    ) -> None:
        self._client = client
        self._routes = routes
        #: Where the objects of discord.py come from that routes ask for.
        self._source = Source(client)
        #: Events by name, with what is known about them.
        self._events: Mapping[str, Any] = {} if events is None else events
        #: Logs what clients can cause any number of times.
        self._incidents = Incidents(log)
        #: Whether the client has listeners beside its own methods.
        self._is_bot = isinstance(client, commands.bot.BotBase)
        #: Whether dispatching is discord.py's own.
        self._plain = type(client).dispatch in (discord.Client.dispatch, commands.bot.BotBase.dispatch)

    def discover(self) -> bytes:
        """Describes all present routes and events, for ``rpc.discover``."""
        return discovery(self._routes.view(), self._events)

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

    def _is_heard(self, event: str) -> bool:
        """Whether there may be a listener. Dispatching without one would cost as much as the rest of a small call."""
        client: Any = self._client
        name = _LISTENERS[event]
        # Only discord.py knows what wait_for() waits for. Without its table, or with a dispatch of the user's own,
        # everything is dispatched.
        try:
            return (
                event in client._listeners
                or hasattr(client, name)
                or (self._is_bot and name in client.extra_events)
                or not self._plain
                or "dispatch" in client.__dict__
            )
        except AttributeError:
            return True

    async def handle(self, call: IncomingCall) -> None:
        """Runs one call to its end. It is settled afterwards, whatever happens."""
        loop = asyncio.get_running_loop()
        request = Request.of(call, loop)
        called = False
        try:
            if waited := self._is_heard("raw_ipc_request"):
                self.emit("raw_ipc_request", request)
                # Listeners begin in the next turn of the loop, and they come before the route.
                await asyncio.sleep(0)
            if call.must_wait():
                await call.wait_to_start()
                waited = True
            if waited and call.deadline is not None and loop.time() > call.deadline:
                raise expired()  # the process was stopped since the call was read, so no timer has ended it
            route = self._routes.find(call.endpoint)
            if route is None:
                raise self._unknown(call)
            signature = route.signature
            if signature.streams != call.streams:
                raise InvalidRequest(_WRONG_KIND[route.streams])
            arguments: dict[str, Any] = {}
            if signature.takes_data:
                bound = signature.bind(call.params, self._source, request)
                arguments = bound if isinstance(bound, dict) else await bound
            else:
                len(request)  # decodes the data, so that what is no object is refused before the route runs
            called = True
            # The same as calling the route, without the method in between: this is the path of every call.
            running = route._callback(*route._leading, request, **arguments)  # pyright: ignore[reportPrivateUsage]
            value = await (self._stream(running, call) if signature.streams else running)
            if request.is_done():
                if value is not None:
                    raise AlreadyResponded(call.endpoint)
            # A call that the caller or the deadline has ended is settled already.
            elif not call.settled and not call.answer(value):
                await call.send_json(value)
        except asyncio.CancelledError:
            if not call.settled:
                call.fail(Cancelled("the route was cancelled"))
        except RemoteError as error:
            # One with an endpoint came from another bot that this route has called: it is not this call's answer.
            if error.endpoint is None and not call.settled:
                log.debug(
                    "[%s] Route %.200r answers with an error: %.500r", call.caller.label, call.endpoint, error
                )
                self._answer(request, call, error)
            else:
                self._failed(request, call, error)
        except Exception as error:
            self._failed(request, call, error)
        finally:
            request.finish()
            if called and self._is_heard("ipc_request_completion"):
                self.emit("ipc_request_completion", request)
            call.ended()

    def _unknown(self, call: IncomingCall) -> UnknownEndpoint:
        caller = call.caller
        self._incidents.warning(
            caller.account_label, "There is no endpoint %.200r", call.endpoint, label=caller.label
        )
        return UnknownEndpoint("there is no such endpoint")

    async def _stream(self, items: AsyncGenerator[Any, None], call: IncomingCall) -> None:
        # Closing the generator runs its ``finally`` before anything else happens, even if it waits in a ``yield``.
        async with aclosing(items):
            async for item in items:
                await call.send_item(item)
                if call.settled:  # a generator that ignores its cancellation
                    return

    def _answer(self, request: Request, call: IncomingCall, error: RemoteError) -> None:
        try:
            call.fail(error)
        except TooLarge as problem:
            call.fail(problem)
        except Exception as problem:
            # Its data, or its text, cannot be written as JSON.
            self._failed(request, call, problem)

    def _failed(self, request: Request, call: IncomingCall, error: Exception) -> None:
        number = secrets.token_hex(4)
        log.error(
            "[%s] Route %.200r failed (error id %s)", call.caller.label, call.endpoint, number, exc_info=error
        )
        what, data = "the route", {"error_id": number}
        if isinstance(error, ConverterError):
            what, data = f"the converter of {error.parameter!r}", {**data, "parameter": error.parameter}
        failure = RouteFailed(f"{what} failed; the bot's log has more under {number}", data=data)
        failure.__cause__ = error  # older clients are told its class
        call.fail(failure)
        self.emit("ipc_error", request, error)
