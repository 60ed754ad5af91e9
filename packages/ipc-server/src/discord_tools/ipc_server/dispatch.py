"""From a call to its answer: events, look-up, arguments, the handler, and its exceptions."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, Final

from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    ConverterError,
    DiscordError,
    InvalidRequest,
    RemoteError,
    RouteFailed,
    TooLarge,
    UnknownEndpoint,
)
from discord_tools.ipc.logs import Incidents
from discord_tools.ipc_server.call import IncomingCall, expired
from discord_tools.ipc_server.failures import typed
from discord_tools.ipc_server.forks import ADDED_LISTENERS, CLIENT_WITH_LISTENERS, OWN_DISPATCH, discord
from discord_tools.ipc_server.guard import GuardedCall, error_handlers
from discord_tools.ipc_server.openrpc import discovery
from discord_tools.ipc_server.parameters.binding import Source
from discord_tools.ipc_server.request import Request, World
from discord_tools.ipc_server.routes import Route, RouteTable

__all__ = ("Dispatcher",)

log = logging.getLogger(__name__)


_WRONG_KIND = {
    True: "this route streams: read it with ClientSession.stream()",
    False: "this route does not stream: call it with ClientSession.request()",
}


#: Names of listeners. Made once, since looking up an attribute by a new string costs ten times as much: the interpreter
#: caches look-ups by the string object.
_LISTENERS = {event: f"on_{event}" for event in ("raw_ipc_request", "ipc_request_completion")}


#: For routes without parameters.
_NO_ARGUMENTS: Final[dict[str, Any]] = {}


class Dispatcher:
    """Runs calls against the routes of one client."""

    def __init__(
        self,
        client: discord.Client,
        routes: RouteTable,
        events: Mapping[str, Any] | None = None,
        server: Any = None,
    ) -> None:
        self._client = client
        self._routes = routes
        #: Where the objects of discord.py come from that routes ask for.
        self._source = Source(client)
        #: Events by name, with what is known about them.
        self._events: Mapping[str, Any] = {} if events is None else events
        #: What requests know about the bot and the server.
        self._world = World(client, server)
        #: Logs what clients can cause any number of times.
        self._incidents = Incidents(log)
        #: Whether the client has listeners beside its own methods.
        self._has_listeners = isinstance(client, CLIENT_WITH_LISTENERS)
        #: Whether dispatching is discord.py's own.
        self._plain = type(client).dispatch in OWN_DISPATCH

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
                or (self._has_listeners and name in getattr(client, ADDED_LISTENERS))
                or not self._plain
                or "dispatch" in client.__dict__
            )
        except AttributeError:
            return True

    async def handle(self, call: IncomingCall) -> None:
        """Runs one call to its end. It is settled afterwards, whatever happens."""
        loop = asyncio.get_running_loop()
        request = Request.of(call, loop, self._world)
        ran: bool | GuardedCall = False
        done: bool | None = True
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
            if (route := self._routes.find(call.endpoint)) is None:
                raise self._unknown(call)
            signature = route.signature
            if signature.streams != call.streams:
                raise InvalidRequest(_WRONG_KIND[route.streams])
            # Without the methods in between, here and below: this is the path of every call.
            request._route = route  # pyright: ignore[reportPrivateUsage]
            if route._hooked or route.rules.guards:  # pyright: ignore[reportPrivateUsage]
                value = await (ran := GuardedCall(route, request, call, self)).run()
            else:
                if signature.takes_data:
                    arguments: Any = signature.bind(call.params, self._source, request)
                    if type(arguments) is not dict:
                        arguments = await arguments
                else:
                    # Decodes the data, so that what is no object is refused before the route runs.
                    len(request)
                    arguments = _NO_ARGUMENTS
                ran = True
                value = route._callback(*route._leading, request, **arguments)  # pyright: ignore[reportPrivateUsage]
                value = await (self._stream(value, call) if signature.streams else value)
            if (done := request._done) and value is not None:  # pyright: ignore[reportPrivateUsage]
                raise AlreadyResponded(call.endpoint)
            # A call that the caller or the deadline has ended is settled already.
            if not done and not call.settled and not call.answer(value):
                done = True  # it may change meanwhile
                await call.send_json(value)
        except asyncio.CancelledError:
            if not call.settled:
                call.fail(Cancelled("the route was cancelled"))
        except Exception as error:
            await self._recover(request, call, error)
        finally:
            request._done = True  # pyright: ignore[reportPrivateUsage]
            if done is not None:
                request.finish()
            if (ran if isinstance(ran, bool) else ran.close()) and self._is_heard("ipc_request_completion"):
                self.emit("ipc_request_completion", request)
            call.ended()

    # -- what guarded calls need

    def bind(
        self, route: Route[Any], request: Request, call: IncomingCall
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """Makes the arguments of the route out of the data of a call."""
        if route.signature.takes_data:
            return route.signature.bind(call.params, self._source, request)
        len(request)  # as above
        return {}

    def invoke(
        self, route: Route[Any], request: Request, call: IncomingCall, arguments: dict[str, Any]
    ) -> Awaitable[Any]:
        """Calls the function of the route."""
        running = route(request, **arguments)
        return self._stream(running, call) if route.streams else running

    def overdue(self, route: Route[Any], call: IncomingCall) -> None:
        """Takes note that a call has taken longer than its route allows."""
        caller = call.caller
        self._incidents.warning(
            f"{caller.account_label} {route.name:.200}",
            "Route %.200r was cancelled: it took longer than its timeout of %g s",
            route.name,
            route.timeout,
            label=caller.label,
        )

    # -- errors

    def _unknown(self, call: IncomingCall) -> UnknownEndpoint:
        caller = call.caller
        self._incidents.warning(
            caller.account_label, "There is no endpoint %.200r", call.endpoint, label=caller.label
        )
        nearest = self._routes.nearest(call.endpoint)
        if nearest is None:
            return UnknownEndpoint("there is no such endpoint")
        return UnknownEndpoint(f"there is no such endpoint: did you mean {nearest!r}?")

    async def _stream(self, items: AsyncGenerator[Any, None], call: IncomingCall) -> None:
        # Closing the generator runs its ``finally`` before anything else happens, even if it waits in a ``yield``.
        async with aclosing(items):
            async for item in items:
                await call.send_item(item)
                if call.settled:  # a generator that ignores its cancellation
                    return

    async def _recover(self, request: Request, call: IncomingCall, error: Exception) -> None:
        """Asks the error handlers of the route, one after the other, and fails the call where none has answered."""
        route, done = request.route, request.is_done()
        try:
            for handler in () if route is None else error_handlers(route):
                try:
                    value = handler(request, error)
                    if inspect.isawaitable(value):
                        value = await value
                    if value is not None:
                        await self._replace(request, call, value)
                    if value is not None or request.is_done() is not done:
                        return
                except Exception as problem:
                    error = problem
        except asyncio.CancelledError:
            if not call.settled:
                call.fail(Cancelled("the route was cancelled"))
            return
        self._fail(request, call, error)

    async def _replace(self, request: Request, call: IncomingCall, value: Any) -> None:
        """Answers with what an error handler returned."""
        if request.is_done():
            raise AlreadyResponded(call.endpoint)
        if call.settled:
            return
        if call.streams:
            await call.send_item(value)
            value = None
        if not call.settled and not call.answer(value):
            await call.send_json(value)

    def _fail(self, request: Request, call: IncomingCall, error: Exception) -> None:
        # One with an endpoint came from another bot that this route has called: it is not this call's answer.
        if isinstance(error, RemoteError) and error.endpoint is None and not call.settled:
            self._log_answer(call, error)
            self._answer(request, call, error)
            return
        failure = typed(error)
        if failure is None:
            self._failed(request, call, error)
            return
        if isinstance(failure, DiscordError):
            caller = call.caller
            self._incidents.warning(
                f"{caller.account_label} {call.endpoint:.200}",
                "Route %.200r: %.700r",
                call.endpoint,
                failure.message,
                label=caller.label,
            )
        else:
            self._log_answer(call, failure)
        failure.__cause__ = error  # older clients are told its class
        self._answer(request, call, failure)
        self.emit("ipc_error", request, error)

    def _log_answer(self, call: IncomingCall, error: RemoteError) -> None:
        log.debug("[%s] Route %.200r answers with an error: %.500r", call.caller.label, call.endpoint, error)

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
