"""Groups of routes: a common prefix, checks, scopes, hooks and an error handler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from discord_tools.ipc.missing import MISSING
from discord_tools.ipc_server.checks import Rules, checked_predicate
from discord_tools.ipc_server.parameters.annotations import calling_frame
from discord_tools.ipc_server.requirements import Requirement
from discord_tools.ipc_server.routes import Decorator, Route, checked_name, make_route

__all__ = ("RouteGroup", "checked_functions")

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class Owner(Protocol):
    """Where the routes of a group are registered. Implemented by :class:`~.server.Server`."""

    def add_routes(self, routes: Iterable[Route[Any]], /) -> None:
        """Adds several routes, or none of them."""
        ...

    def remove_route(self, name: str, /) -> Any:
        """Removes a route."""
        ...


def checked_functions(routes: Iterable[Any]) -> list[Route[Any]]:
    """Returns routes that a server can add.

    Raises
    ------
    TypeError
        One of them is no route, or a method, which comes with its cog.
    """
    added = list(routes)
    for one in added:
        if not isinstance(one, Route):
            raise TypeError(f"{one!r:.100} is no Route: decorate it with @route(), or use add_route()")
        if one.cog is None and one.signature.bound:
            raise TypeError(
                f"{one.origin} is a method; it comes with its cog, or take it from an object of that class"
            )
    return added


class RouteGroup:
    """Routes with a common prefix, and with checks, hooks and an error handler for all of them.

    Its routes are methods of a cog, which come and go with the cog, or plain functions, which
    :meth:`Server.add_group` adds.

    .. versionadded:: 1.2

    .. container:: operations

        .. describe:: for ... in x

            Iterates through all routes of the group, those of the groups inside of it included.

    Parameters
    ----------
    prefix: :class:`str`
        What the names of its routes begin with: the route ``get`` of the group ``settings`` is ``/settings/get``.
    checks: Iterable[Callable[[:class:`Request`], Any]]
        Functions that decide whether a call may run, see :func:`check`, and what is demanded of the acting user, such
        as ``requires(manage_guild=True)``. Defaults to none.
    scopes: Optional[Collection[:class:`str`]]
        What opens its routes to keys with scopes; see :func:`route`. A route or a group inside of it that has scopes of
        its own has only those. Defaults to ``None``, no scopes.

    Raises
    ------
    TypeError
        The prefix is no string, a check cannot be called with the request, or the scopes are one string.
    ValueError
        The prefix is empty or begins with ``rpc.``, which belongs to the protocol, or a scope has no usable name.
    """

    __slots__ = ("_groups", "_owners", "_parent", "_prefix", "_routes", "_rules")

    def __init__(
        self,
        prefix: str,
        *,
        checks: Iterable[Callable[[Any], Any]] = (),
        scopes: Collection[str] | None = None,
    ) -> None:
        #: The group around this one.
        self._parent: RouteGroup | None = None
        self._prefix = f"/{checked_name(prefix, 'the prefix of a group').strip('/')}"
        #: Checks, scopes, hooks and an error handler.
        self._rules = Rules(f"group {self._prefix}", method=None, scopes=scopes)
        #: Routes in the order of their definition.
        self._routes: list[Route[Any]] = []
        #: Groups inside of this one.
        self._groups: list[RouteGroup] = []
        #: The servers that its functions belong to.
        self._owners: list[Owner] = []
        for predicate in checks:
            self.check(predicate)

    @property
    def prefix(self) -> str:
        """:class:`str`: What the names of its routes begin with, with the leading ``/``."""
        return self._prefix if self._parent is None else f"{self._parent.prefix}{self._prefix}"

    def __iter__(self) -> Iterator[Route[Any]]:
        yield from self._routes
        for group in self._groups:
            yield from group

    def __repr__(self) -> str:
        return f"<RouteGroup prefix={self.prefix!r}>"

    def group(
        self,
        prefix: str,
        *,
        checks: Iterable[Callable[[Any], Any]] = (),
        scopes: Collection[str] | None = None,
    ) -> RouteGroup:
        """Makes a group inside of this one. Its prefix, checks, hooks and error handler are added to those of this
        group.

        Parameters
        ----------
        prefix: :class:`str`
            What comes after the prefix of this group.
        checks: Iterable[Callable[[:class:`Request`], Any]]
            Functions that decide whether a call may run, and what is demanded of the acting user, both after those of
            this group.
        scopes: Optional[Collection[:class:`str`]]
            What opens its routes to keys with scopes. Defaults to ``None``, the scopes of this group.

        Returns
        -------
        :class:`RouteGroup`
            The group.
        """
        group = RouteGroup(prefix)
        group._parent, group._owners = self, list(self._owners)
        group._rules = Rules(f"group {group.prefix}", self._rules, method=None, scopes=scopes)
        for predicate in checks:
            group.check(predicate)
        self._groups.append(group)
        return group

    def route(
        self,
        name: str = MISSING,
        *,
        idempotent: bool = False,
        timeout: float | None = None,
        scopes: Collection[str] | None = None,
    ) -> Decorator:
        """A decorator that makes a coroutine function a route of this group; see :func:`route`.

        Parameters
        ----------
        name: :class:`str`
            The route name after the prefix. Defaults to the function name.
        idempotent: :class:`bool`
            Whether running it twice does no harm. Defaults to ``False``.
        timeout: Optional[:class:`float`]
            How many seconds a call may take. Defaults to ``None``, no limit of the route's own.
        scopes: Optional[Collection[:class:`str`]]
            What opens the route to keys with scopes. Defaults to ``None``, the scopes of the group.

        Raises
        ------
        TypeError
            The function cannot be a route; see :func:`route`.
        DuplicateRoute
            The group was added to a server, and the name is taken there.
        """
        make = make_route(name, idempotent, calling_frame(), timeout, scopes, (self.prefix, self._rules))

        def decorate(callback: Any) -> Route[Any]:
            made = make(callback)
            if not made.signature.bound:
                self._add(made)
            self._routes.append(made)
            return made

        return decorate

    def _add(self, route: Route[Any]) -> None:
        """Adds a function to all servers, or to none of them."""
        added: list[Owner] = []
        try:
            for owner in self._owners:
                owner.add_routes((route,))
                added.append(owner)
        except BaseException:
            for owner in added:
                owner.remove_route(route.name)
            raise

    def check(self, predicate: FunctionT, /) -> FunctionT:
        """A decorator that has a function decide whether calls of all routes of the group may run; see :func:`check`.

        Checks of a group are asked in the order of their definition, after the one of the cog and before those of the
        routes. ``requires(manage_guild=True)`` and its like can be given, too.

        Raises
        ------
        TypeError
            The predicate cannot be called with the request.
        """
        rule = checked_predicate(predicate)
        if isinstance(rule, Requirement):
            self._rules.requirements = (*self._rules.requirements, rule)
        else:
            self._rules.checks = (*self._rules.checks, rule)
        return predicate

    def error(self, function: FunctionT, /) -> FunctionT:
        """A decorator that has a coroutine function handle the errors of all routes of the group; see
        :meth:`Route.error`. It is called with the request and the exception, and with the cog before them if it takes
        three arguments.

        Raises
        ------
        TypeError
            It is no coroutine function, does not take these arguments, or the group has an error handler already.
        """
        self._rules.set_error(function)
        return function

    def before_invoke(self, function: FunctionT, /) -> FunctionT:
        """A decorator that has a coroutine function run before each call of all routes of the group; see
        :meth:`Route.before_invoke`. It is called with the request, and with the cog before it if it takes two
        arguments.

        Raises
        ------
        TypeError
            It is no coroutine function, does not take the request, or the group has such a function already.
        """
        self._rules.set_before(function)
        return function

    def after_invoke(self, function: FunctionT, /) -> FunctionT:
        """A decorator that has a coroutine function run after each call of all routes of the group; see
        :meth:`Route.after_invoke`. It is called with the request, and with the cog before it if it takes two
        arguments.

        Raises
        ------
        TypeError
            It is no coroutine function, does not take the request, or the group has such a function already.
        """
        self._rules.set_after(function)
        return function

    def functions(self) -> list[Route[Any]]:
        """The routes that are plain functions.

        :meta private:
        """
        return [route for route in self if not route.signature.bound]

    def join(self, owner: Owner) -> None:
        """Takes note that its functions belong to a server.

        :meta private:
        """
        if owner not in self._owners:
            self._owners.append(owner)
        for group in self._groups:
            group.join(owner)

    def leave(self, owner: Owner) -> None:
        """Takes note that its functions do not belong to a server any more.

        :meta private:
        """
        if owner in self._owners:
            self._owners.remove(owner)
        for group in self._groups:
            group.leave(owner)
