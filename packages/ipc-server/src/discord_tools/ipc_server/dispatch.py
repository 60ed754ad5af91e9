"""From a call to its answer: events, look-up, arguments, the handler, and what becomes of its exceptions."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import aclosing
from typing import Any, Protocol

import discord
from discord.ext import commands

from discord_tools.ipc.errors import (
    AlreadyResponded,
    Cancelled,
    InvalidRequest,
    RemoteError,
    RouteFailed,
    TooLarge,
    UnknownEndpoint,
)
from discord_tools.ipc_server.openrpc import discovery
from discord_tools.ipc_server.request import Call, Request
from discord_tools.ipc_server.routes import RouteTable, normal

__all__ = ("Dispatcher", "IncomingCall", "settle")

log = logging.getLogger(__name__)


_WRONG_KIND = {
    True: "this route streams: read it with ClientSession.stream()",
    False: "this route does not stream: call it with ClientSession.request()",
}


#: The names of listeners, made once: looking up an attribute by a string that was just put together costs ten times as
#: much, since the interpreter remembers only look-ups of names that it knows.
_LISTENERS = {event: f"on_{event}" for event in ("raw_ipc_request", "ipc_request_completion")}


class IncomingCall(Call, Protocol):
    """A call that can fail, too. Once ``settled`` it takes no answer any more.

    One that ``streams`` reads items, and its answer only ends them.
    """

    settled: bool
    streams: bool
    task: asyncio.Task[None] | None

    def is_crowded(self) -> bool:
        """Whether an answer had better wait in :meth:`send_json` until others have been sent."""
        ...

    def answer(self, data: Any, /) -> None: ...
    async def send_item(self, data: Any, /) -> None: ...
    def fail(self, error: RemoteError) -> None: ...
    def ended(self) -> None:
        """Its handler has ended, which may be long after its answer."""
        ...


async def settle(
    calls: Iterable[IncomingCall],
    spared: Collection[asyncio.Task[Any]],
    seconds: float,
    others: Iterable[asyncio.Task[Any]] = (),
) -> None:
    """Waits for the handlers of calls, but those in ``spared``, and for other tasks; logs what takes longer."""
    running = {
        call.task: call.endpoint for call in calls if call.task is not None and call.task not in spared
    }
    tasks = {*running, *others}
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=seconds)
        if left:
            names = sorted({running[task] for task in left if task in running})
            log.warning("Still running after %g s: %s", seconds, ", ".join(names))


class Dispatcher:
    """Runs calls against the routes of one client."""

    def __init__(self, client: discord.Client, routes: RouteTable) -> None:
        self._client = client
        self._routes = routes
        self._is_bot = isinstance(client, commands.bot.BotBase)
        self._plain = type(client).dispatch in (discord.Client.dispatch, commands.bot.BotBase.dispatch)

    def discover(self) -> bytes:
        """Describes all routes of the moment, for ``rpc.discover``."""
        return discovery(self._routes.view())

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
        """Whether anybody may listen. Dispatching to nobody would cost as much as all the rest of a small call."""
        client: Any = self._client
        name = _LISTENERS[event]
        # What wait_for() waits for is known to discord.py alone; without its table, or with a dispatch of the user's
        # own, everything is dispatched.
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
        request = Request.of(call, asyncio.get_running_loop())
        called = False
        try:
            if self._is_heard("raw_ipc_request"):
                self.emit("raw_ipc_request", request)
                # Listeners begin in the next turn of the loop, and they come before the route.
                await asyncio.sleep(0)
            route = self._routes.find(call.endpoint)
            if route is None:
                log.warning("A client asked for the unknown endpoint %.200r", call.endpoint)
                raise UnknownEndpoint("there is no such endpoint")
            signature = route.signature
            if signature.streams != call.streams:
                raise InvalidRequest(_WRONG_KIND[route.streams])
            arguments: dict[str, Any] = {}
            if signature.takes_data:
                arguments = signature.bind(call.params, self._client)
            else:
                len(request)  # decodes the data, so that what is no object is refused before the route runs
            called = True
            # What calling the route does, without the way there: it is short, but this is the path of every call.
            running = route.callback(*route._leading, request, **arguments)  # pyright: ignore[reportPrivateUsage]
            value = await (self._stream(running, call) if signature.streams else running)
            if request.is_done():
                if value is not None:
                    raise AlreadyResponded(call.endpoint)
            elif not call.settled:  # otherwise nobody waits any more: the caller, or the deadline, ended it
                if call.is_crowded():
                    await call.send_json(value)
                else:
                    call.answer(value)
        except asyncio.CancelledError:
            if not call.settled:
                call.fail(Cancelled("the route was cancelled"))
        except RemoteError as error:
            # One with an endpoint came from another bot, whose caller this route is: not meant for ours.
            if error.endpoint is None and not call.settled:
                log.debug("Route %.200s is answered with an error: %.500s", call.endpoint, error)
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

    async def _stream(self, items: AsyncGenerator[Any, None], call: IncomingCall) -> None:
        # Closing the generator runs its ``finally`` before anything else happens, also when it waits in a ``yield``.
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
        log.error("Route %.200s failed (error id %s)", normal(call.endpoint), number, exc_info=error)
        failure = RouteFailed(
            f"the route failed; the bot's log has more under {number}", data={"error_id": number}
        )
        failure.__cause__ = error  # older clients are told its class
        call.fail(failure)
        self.emit("ipc_error", request, error)
