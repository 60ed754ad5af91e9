"""From a call to its answer: events, look-up, arguments, the handler, and its exceptions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Final

from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    DiscordError,
    Forbidden,
    InvalidRequest,
    RemoteError,
    TooLarge,
    UnknownEndpoint,
)
from discord_tools.ipc.logs import Incidents
from discord_tools.ipc.wire.frames import DISCOVER, TICKET
from discord_tools.ipc_server.access import NO_SCOPES, route_refusal
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.audit import entry_of, protocol_entry, subscription_entry
from discord_tools.ipc_server.call import IncomingCall, expired
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.demands import requirements_of
from discord_tools.ipc_server.failure_log import FailureLog
from discord_tools.ipc_server.failures import typed
from discord_tools.ipc_server.forks import ADDED_LISTENERS, CLIENT_WITH_LISTENERS, OWN_DISPATCH, discord
from discord_tools.ipc_server.guard import GuardedCall, error_handlers
from discord_tools.ipc_server.judge import Judge, unverified
from discord_tools.ipc_server.openrpc import Discovery
from discord_tools.ipc_server.parameters.binding import Source
from discord_tools.ipc_server.parameters.callables import result_of
from discord_tools.ipc_server.request import Request, World
from discord_tools.ipc_server.routes import Route, RouteTable

__all__ = ("Dispatcher",)

log = logging.getLogger(__name__)

_WRONG_KIND = {
    True: "this route streams: read it with ClientSession.stream()",
    False: "this route does not stream: call it with ClientSession.request()",
}

_COMPLETION: Final = "ipc_request_completion"
_ON_COMPLETION: Final = "on_ipc_request_completion"
#: The method that makes tickets, as calls name what they call.
_TICKET: Final = f"/{TICKET}"

_AUDIT: Final = "ipc_audit"
_ON_AUDIT: Final = "on_ipc_audit"

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
        event_scopes: Mapping[str, frozenset[str]] | None = None,
        issue: Callable[[bytes, Caller, ActingUser | None], str] | None = None,
    ) -> None:
        self._client = client
        self._routes = routes
        #: Where the objects of discord.py come from that routes ask for.
        self._source = Source(client)
        #: Judges acting users.
        self.judge: Judge = Judge(client, self._source.fetcher)
        #: Events by name, with what is known about them.
        self._events: Mapping[str, Any] = {} if events is None else events
        #: The scopes of those that name any.
        self._event_scopes: Mapping[str, frozenset[str]] = {} if event_scopes is None else event_scopes
        #: Describes the routes and the events.
        self._discovery = Discovery()
        #: Makes a ticket for a page; see :meth:`.Tickets.issue`.
        self._issue = issue
        #: What requests know about the bot and the server.
        self._world = World(client, server)
        #: Logs what clients can cause any number of times.
        self._incidents = Incidents(log)
        #: Logs failures of routes and of judging their users.
        self.failures: FailureLog = FailureLog()
        #: Whether the client has listeners beside its own methods.
        self._has_listeners = isinstance(client, CLIENT_WITH_LISTENERS)
        #: Whether dispatching is discord.py's own.
        self._plain = type(client).dispatch in OWN_DISPATCH

    def describe(self, method: str, caller: Caller) -> bytes:
        """Answers a call of ``rpc.discover``, with the present routes and events that a caller may use.

        Raises
        ------
        UnknownEndpoint
            It is another method, which the protocol does not have.
        """
        error = None if method == DISCOVER else UnknownEndpoint("there is no such method")
        if self._is_heard(_AUDIT, _ON_AUDIT):
            self.emit(_AUDIT, protocol_entry(caller, method, error))
        if error is not None:
            raise error
        routes, events, scopes = self._routes.view(), self._events, self._event_scopes
        if caller.scopes is not None:
            routes = {name: route for name, route in routes.items() if caller.opens(route.scopes)}
            events = {name: one for name, one in events.items() if caller.opens(scopes.get(name, NO_SCOPES))}
        return self._discovery.document(routes, events, scopes)

    def scopes(self) -> frozenset[str]:
        """All scopes that a route or an event names."""
        routes = (route.scopes for route in self._routes.view().values())
        return NO_SCOPES.union(*routes, *self._event_scopes.values())

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

    def _is_heard(self, event: str, name: str) -> bool:
        """Whether there may be a listener of that name, such as ``on_ipc_request_completion``.

        Dispatching without one would cost as much as the rest of a small call. The name is given since looking up an
        attribute by a new string costs ten times as much: the interpreter caches look-ups by the string object.
        """
        client: Any = self._client
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

    def handle(self, call: IncomingCall) -> Coroutine[Any, Any, None]:
        """Runs one call to its end. It is settled afterwards, whatever happens."""
        return self._audited(call) if self._is_heard(_AUDIT, _ON_AUDIT) else self._run(call)

    async def _audited(self, call: IncomingCall) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._run(call)
        finally:
            self._audit(call, Request.of(call, loop, self._world), loop.time() - began)

    async def _run(self, call: IncomingCall) -> None:
        request = Request.of(call, loop := asyncio.get_running_loop(), self._world)
        ran: bool | GuardedCall = False
        done: bool | None = True
        try:
            if waited := self._is_heard("raw_ipc_request", "on_raw_ipc_request"):
                self.emit("raw_ipc_request", request)
                # Listeners begin in the next turn of the loop, and they come before the route.
                await asyncio.sleep(0)
            if call.must_wait():
                await call.wait_to_start()
                waited = True
            if waited and call.deadline is not None and loop.time() > call.deadline:
                raise expired()  # the process was stopped since the call was read, so no timer has ended it
            route, caller = self._routes.find(call.endpoint), call.caller
            if call.acting is not None or caller.names_users:
                route = await self._identified(call, route)
            if route is None or (caller.scopes is not None and not caller.opens(route.scopes)):
                return await self._without_route(call, route)
            if (signature := route.signature).streams != call.streams:
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
            call.fail(Cancelled("the route was cancelled"))
        except Exception as error:
            await self._recover(request, call, error)
        finally:
            request._done = True  # pyright: ignore[reportPrivateUsage]
            if done is not None:
                request.finish()
            if (ran if ran is True else ran and ran.close()) and self._is_heard(_COMPLETION, _ON_COMPLETION):
                self.emit(_COMPLETION, request)
            call.ended()

    def refuse(self, call: IncomingCall, error: RemoteError) -> None:
        """Answers a call that is not admitted."""
        call.fail(error)
        if self._is_heard(_AUDIT, _ON_AUDIT):
            self._audit(call, None, 0.0)

    def subscribed(self, call: IncomingCall) -> None:
        """Takes note that a subscription has begun or was refused."""
        if self._is_heard(_AUDIT, _ON_AUDIT):
            self.emit(_AUDIT, subscription_entry(call))

    def _audit(self, call: IncomingCall, request: Request | None, duration: float) -> None:
        route = self._routes.find(call.endpoint)
        if request is not None:
            request._route = route  # pyright: ignore[reportPrivateUsage] (as below)
        self.emit(_AUDIT, entry_of(call, route, request, duration))

    # -- what guarded calls need

    def bind(
        self, route: Route[Any], request: Request, call: IncomingCall
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """Makes the arguments of the route out of the data of a call."""
        if route.signature.takes_data:
            return route.signature.bind(call.params, self._source, request)
        len(request)  # as above
        return {}

    async def demand(
        self, route: Route[Any], request: Request, call: IncomingCall, arguments: dict[str, Any]
    ) -> None:
        """Judges the acting user by what the route demands."""
        if requirements := requirements_of(route):
            await self.judge.judge(requirements, call.acting, request, arguments)

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

    async def _identified(self, call: IncomingCall, route: Route[Any] | None) -> Route[Any] | None:
        """Finds out the user of a call, and returns its route, which may have been replaced meanwhile. Nobody is asked
        about the user where the key does not open the route.
        """
        if route is None or not call.caller.opens(route.scopes):
            return route
        await self.judge.identify(call)
        return self._routes.find(call.endpoint)

    async def _without_route(self, call: IncomingCall, route: Route[Any] | None) -> None:
        """Answers a call of ``rpc.ticket``, the method of the protocol that may name a user. Refuses others."""
        if route is not None:
            raise self._refused(call.caller, route)
        if call.endpoint != _TICKET or call.streams or self._issue is None:
            raise self._unknown(call)
        await self.judge.identify(call)
        ticket = self._issue(call.params, call.caller, call.acting)
        if not call.settled and not call.answer(ticket):
            await call.send_json(ticket)

    def _unknown(self, call: IncomingCall) -> UnknownEndpoint:
        caller = call.caller
        self._incidents.warning(
            caller.account_label, "There is no endpoint %.200r", call.endpoint, label=caller.label
        )
        nearest = self._routes.nearest(call.endpoint)
        found = None if nearest is None else self._routes.find(nearest)
        # The names of routes that a key does not open are none of its business.
        if found is None or not caller.opens(found.scopes):
            return UnknownEndpoint("there is no such endpoint")
        return UnknownEndpoint(f"there is no such endpoint: did you mean {nearest!r}?")

    def refusal(self, call: IncomingCall, caller: Caller) -> Forbidden | None:
        """The error for a call in progress whose route the caller's key does not open any more, or not for its user."""
        route = self._routes.find(call.endpoint)
        if route is None or caller.opens(route.scopes):
            return unverified(call.acting, caller)
        return self._refused(caller, route)

    def _refused(self, caller: Caller, route: Route[Any]) -> Forbidden:
        error = route_refusal(caller, route.scopes)
        self._incidents.warning(
            f"{caller.account_label} {route.name:.200}",
            "Refused %.200r: %.500s",
            route.name,
            error.message,
            label=caller.label,
        )
        return error

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
                    value = await result_of(handler(request, error))
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
        failure = self.failures.failure(call, error)
        call.fail(failure)
        self.emit("ipc_error", request, error)
