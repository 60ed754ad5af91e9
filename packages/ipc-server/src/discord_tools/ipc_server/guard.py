"""Runs the calls of routes that have checks, limits, hooks or error handlers of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from discord_tools.ipc.errors import CheckFailed, DeadlineExceeded
from discord_tools.ipc_server.call import IncomingCall
from discord_tools.ipc_server.checks import AFTER_HOOK, BEFORE_HOOK, CHECK_HOOK, ERROR_HOOK, Hook
from discord_tools.ipc_server.parameters.callables import result_of
from discord_tools.ipc_server.request import Request
from discord_tools.ipc_server.routes import Route

__all__ = ("GuardedCall", "error_handlers")


class Runner(Protocol):
    """What runs a call, guarded or not. Implemented by :class:`~.dispatch.Dispatcher`."""

    def bind(
        self, route: Route[Any], request: Request, call: IncomingCall, /
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """Makes the arguments of the route out of the data of a call."""
        ...

    async def demand(
        self, route: Route[Any], request: Request, call: IncomingCall, arguments: dict[str, Any], /
    ) -> None:
        """Judges the acting user by what the route demands."""
        ...

    def invoke(
        self, route: Route[Any], request: Request, call: IncomingCall, arguments: dict[str, Any], /
    ) -> Awaitable[Any]:
        """Calls the function of the route."""
        ...

    def overdue(self, route: Route[Any], call: IncomingCall, /) -> None:
        """Takes note that a call has taken longer than its route allows."""
        ...


class GuardedCall:
    """Runs one call of a guarded route.

    Parameters
    ----------
    route: :class:`Route`
        The route.
    request: :class:`Request`
        The request of the call.
    call: :class:`~.call.IncomingCall`
        The call.
    runner: :class:`Runner`
        Binds the data, and calls the function.
    """

    __slots__ = ("_call", "_called", "_request", "_route", "_runner", "_timer")

    def __init__(self, route: Route[Any], request: Request, call: IncomingCall, runner: Runner) -> None:
        self._route = route
        self._request = request
        self._call = call
        self._runner = runner
        #: Ends the call when it takes longer than the route allows.
        self._timer: asyncio.TimerHandle | None = None
        #: Whether the route has run.
        self._called: bool = False
        if route.timeout is not None:
            request.limit(route.timeout)
            self._timer = asyncio.get_running_loop().call_later(route.timeout, self._expire, route.timeout)

    def close(self) -> bool:
        """Stops the timer, and returns whether the route has run."""
        if self._timer is not None:
            self._timer.cancel()
        return self._called

    async def run(self) -> Any:
        """Runs the checks, the hooks and the route, and returns what the route returns."""
        route, request, call, rules = self._route, self._request, self._call, self._route.rules
        await self._check()
        # As discord.py does: a call that has to wait for others does not count for the cooldown.
        done = None if rules.concurrency is None else await route.usage.start(rules.concurrency, request)
        try:
            if rules.cooldowns:
                await route.usage.count(rules.cooldowns, request)
            arguments = self._runner.bind(route, request, call)
            if not isinstance(arguments, dict):
                arguments = await arguments
            await self._runner.demand(route, request, call, arguments)
            for hook in _bound(route, "before", BEFORE_HOOK):
                await result_of(hook(request))
            self._called = True
            try:
                return await self._runner.invoke(route, request, call, arguments)
            finally:
                await self._after()
        finally:
            if done is not None:
                done()

    async def _check(self) -> None:
        predicates = [one for rules in self._route.rules.inwards() for one in rules.checks]
        of_cog = getattr(self._route.cog, CHECK_HOOK, None)
        for predicate in predicates if of_cog is None else (of_cog, *predicates):
            if not await result_of(predicate(self._request)):
                raise CheckFailed("a check of this route refused the call")

    async def _after(self) -> None:
        """Runs all hooks, and then raises the first exception of them."""
        error: Exception | None = None
        for hook in _bound(self._route, "after", AFTER_HOOK):
            try:
                await result_of(hook(self._request))
            except Exception as problem:
                error = error or problem
        if error is not None:
            raise error

    def _expire(self, timeout: float) -> None:
        if not self._call.settled:
            self._runner.overdue(self._route, self._call)
        self._call.abort(DeadlineExceeded(f"the route takes at most {timeout:g} s"))


def error_handlers(route: Route[Any]) -> Iterator[Callable[..., Any]]:
    """The functions that handle errors of a route: its own, those of its groups, and that of its cog."""
    return _bound(route, "error", ERROR_HOOK)


def _bound(route: Route[Any], kind: str, of_cog: str) -> Iterator[Callable[..., Any]]:
    for rules in route.rules.outwards():
        hook: Hook | None = getattr(rules, kind)
        if hook is not None:
            yield hook.bound_to(route.cog)
    hook_of_cog = getattr(route.cog, of_cog, None)
    if hook_of_cog is not None:
        yield hook_of_cog
