"""Routes, and the table of them. A cog's routes exist as long as the cog is loaded."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import AsyncIterable, Callable, Coroutine, Iterator, Mapping
from operator import is_
from types import CodeType, FrameType, MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, overload

import discord
from discord.ext import commands

from discord_tools.ipc.errors import DuplicateRoute
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc_server.call import normal
from discord_tools.ipc_server.parameters.annotations import function_of
from discord_tools.ipc_server.parameters.callables import unwrapped
from discord_tools.ipc_server.signature import Signature

__all__ = ("Route", "RouteTable", "make_route", "route")

log = logging.getLogger(__name__)

R = TypeVar("R")


class Route(Generic[R]):
    """Represents a server route. :func:`route`, :meth:`Server.route` and :meth:`Server.add_route` make them.

    .. versionadded:: 1.0

    .. container:: operations

        .. describe:: str(x)

            Returns this route name.

        .. describe:: await x(request, ...)

            Calls the function of the route as it stands in the code, without any checks.

    """

    __slots__ = ("_callback", "_cog", "_idempotent", "_leading", "_name", "signature")

    def __init__(
        self,
        callback: Callable[..., Any],
        name: str = MISSING,
        *,
        idempotent: bool = False,
        namespace: Mapping[str, Any] | None = None,
    ) -> None:
        callback, bound = unwrapped(callback)
        if name is MISSING:
            # A partial function has no name of its own.
            name = getattr(callback, "__name__", "") or getattr(function_of(callback), "__name__", "")
        if not name.strip("/"):
            raise ValueError("the name of a route must not be empty")
        if name.startswith("rpc."):
            raise ValueError("names that begin with 'rpc.' belong to the protocol")
        self._name = normal(name)
        self._callback = callback
        #: The cog, or the client, of a method.
        self._cog: Any = None
        self._idempotent = idempotent
        #: What the callback asks for beyond the request.
        self.signature: Signature = Signature(callback, bound=bound, namespace=namespace or {})
        #: Arguments before the request: the cog, for a method.
        self._leading: tuple[Any, ...] = ()

    def is_replaced_by(self, other: Route[Any]) -> bool:
        """Whether another route is this one after its module was reloaded: the same function of a new module, or, after
        a reload that failed, of this one.

        :meta private:
        """
        one, another = function_of(self.callback), function_of(other.callback)
        # discord.py runs the setup of the former module again where that of the new one failed.
        return self.origin == other.origin and (
            one is another or getattr(one, "__globals__", None) is not getattr(another, "__globals__", None)
        )

    def __get__(self, instance: Any, owner: type | None = None) -> Route[R]:
        return self if instance is None else self.bound_to(instance)

    def bound_to(self, cog: Any) -> Route[R]:
        """Returns the same route with its method bound to a cog.

        :meta private:
        """
        route: Route[R] = object.__new__(type(self))
        route._name, route._callback, route.signature = self._name, self._callback, self.signature
        route._idempotent = self._idempotent
        # A static method belongs to its cog, and does not get it.
        route._cog, route._leading = cog, (cog,) if self.signature.bound else ()
        return route

    @property
    def name(self) -> str:
        """:class:`str`: The route name, always prefixed with ``/``."""
        return self._name

    @property
    def callback(self) -> Callable[..., Any]:
        """Callable[..., Coroutine[Any, Any, Any]]: The callback of the route, this is called when it receives a
        request.
        """
        return self._callback

    @property
    def cog(self) -> Any:
        """Any: The cog, or the client, whose method the callback is. ``None`` for a plain function."""
        return self._cog

    @property
    def idempotent(self) -> bool:
        """:class:`bool`: Whether running it twice does no harm, so that clients may repeat a call when they lost the
        answer.

        .. versionadded:: 1.1
        """
        return self._idempotent

    def __call__(self, request: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._callback(*self._leading, request, *args, **kwargs)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Route name={self.name!r} callback={self.origin}>"

    @property
    def streams(self) -> bool:
        """:class:`bool`: Whether the callback is an asynchronous generator, so that clients read it with
        :meth:`ClientSession.stream`.

        .. versionadded:: 1.1
        """
        return self.signature.streams

    @property
    def description(self) -> str:
        """:class:`str`: The first paragraph of the function's docstring, or an empty string."""
        text = (self.callback.__doc__ or "").strip().partition("\n\n")[0]
        return " ".join(text.split())

    @property
    def origin(self) -> str:
        """:class:`str`: Where the function is defined: its module and its qualified name."""
        function = self.callback if hasattr(self.callback, "__qualname__") else function_of(self.callback)
        return f"{function.__module__}.{getattr(function, '__qualname__', self.name)}"


class Decorator(Protocol):
    """What :func:`route` returns. Implemented by the function ``decorate`` in :func:`make_route`."""

    @overload
    def __call__(self, callback: Callable[..., Coroutine[Any, Any, R]], /) -> Route[R]: ...

    @overload
    def __call__(self, callback: Callable[..., AsyncIterable[R]], /) -> Route[R]: ...


def route(name: str = MISSING, *, idempotent: bool = False) -> Decorator:
    """A decorator that makes a coroutine function a route of the cog, or of the bot class, it is defined in.

    Route and cog come and go together: adding, removing and reloading a cog does the same to its routes. A plain
    function that is decorated so is handed to :meth:`Server.add_route`.

    Its first parameter after ``self`` is the :class:`Request`; further ones are taken from the request's data by
    name, checked against their annotations, and looked up in the bot's cache where they are Discord's objects. Members
    and users that are not in the cache are fetched from Discord, see :doc:`guides/parameters`.

    An asynchronous generator becomes a route that streams: what it yields is what clients read.

    .. versionadded:: 1.0

    .. versionchanged:: 1.1
        Asynchronous generators are accepted.

    .. versionchanged:: 1.2
        Static methods are accepted. Members and users are fetched.

    Parameters
    ----------
    name: :class:`str`
        The route name, with or without the leading ``/``. Defaults to the function name.
    idempotent: :class:`bool`
        Whether running it twice does no harm. Clients then repeat a call whose answer they lost because the bot was
        restarted, instead of raising :exc:`ConnectionLost`. Defaults to ``False``.

        .. versionadded:: 1.1

    Raises
    ------
    TypeError
        The function cannot be a route: it is no coroutine function, has no parameter for the request, or one of its
        annotations cannot be made from JSON.
    ValueError
        The name is empty or begins with ``rpc.``, which belongs to the protocol.
    """
    return make_route(name, idempotent, sys._getframe(1))  # pyright: ignore[reportPrivateUsage] (as typing and enum do)


def make_route(name: str, idempotent: bool, frame: FrameType) -> Decorator:
    """The decorator, for a call in ``frame``: names in annotations may be local to it."""
    if callable(name):
        raise TypeError("the decorator is written with parentheses: @route()")

    def decorate(callback: Any) -> Route[Any]:
        return Route(callback, name, idempotent=idempotent, namespace=dict(_visible(frame)))

    return decorate


def _visible(frame: FrameType) -> Iterator[tuple[str, Any]]:
    """The local names of the functions and classes around a decorator. The innermost come last and take precedence."""
    frames: list[FrameType] = []
    module: Mapping[str, Any] = frame.f_globals
    current: FrameType | None = frame
    while current is not None and current.f_globals is module:
        frames.append(current)
        current = current.f_back
    for one in reversed(frames):
        if one.f_locals is not module:
            yield from list(one.f_locals.items())


class RouteTable:
    """All routes of one server: its own, those of the client's class, and those of the client's cogs.

    The bot's public mapping of cogs is checked at each look-up, so there is no registry that could become outdated.
    """

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        #: The client, where it has cogs.
        self._bot = client if isinstance(client, commands.bot.BotBase) else None
        #: Routes that were added to the server.
        self._own: dict[str, Route[Any]] = {}
        #: All routes, as of the last scan.
        self._all: dict[str, Route[Any]] = {}
        #: The cogs at the last scan; ``None`` where another scan is needed.
        self._known: tuple[Any, ...] | None = None
        #: The routes of the last scan, with the name under which the bot has their cog.
        self._found: dict[str, tuple[Route[Any], str | None]] = {}

    def add(self, route: Route[Any]) -> None:
        """Adds a route of the server's own.

        Raises
        ------
        DuplicateRoute
            The name is taken.
        """
        self._current()
        taken = self._all.get(route.name)
        if taken is not None and not (taken is self._own.get(route.name) and taken.is_replaced_by(route)):
            raise DuplicateRoute(route.name, taken.origin, route.origin)
        self._own[route.name] = route
        self._forget()

    def remove(self, name: str) -> Route[Any] | None:
        """Removes a route of the server's own and returns it, or ``None`` where there is none of that name."""
        self._forget()
        return self._own.pop(normal(name), None)

    def find(self, name: str) -> Route[Any] | None:
        """Returns the route of that name, which has its leading slash, or ``None``."""
        found, known = self._found.get(name), self._known
        if found is not None and known is not None:
            route, place = found
            if self._bot is None:
                return route
            # Comparing all cogs for each call would cost more than the rest of the look-up. If their number is the same
            # and the cog of this route is still among them, this is still the first route of its name.
            cogs = self._bot.cogs
            if len(cogs) == len(known) and (place is None or cogs.get(place) is route.cog):
                return route
        return self._current().get(name)

    def check(self) -> None:
        """Raises :exc:`DuplicateRoute` where two routes have the same name."""
        _, duplicates = self._scan(self._cogs_now())
        if duplicates:
            raise duplicates[0]

    def view(self) -> Mapping[str, Route[Any]]:
        """All present routes by name."""
        return MappingProxyType(self._current())

    def known(self) -> list[Route[Any]]:
        """The routes of the last scan, for other threads: nothing is scanned."""
        return list(self._all.values())

    def codes(self) -> dict[CodeType, str]:
        """The code of the functions of these routes, with the names of the routes."""
        return {
            code: route.name
            for route in self.known()
            if (code := getattr(inspect.unwrap(route.callback), "__code__", None)) is not None
        }

    def _forget(self) -> None:
        self._known = None
        self._found.clear()

    def _cogs_now(self) -> tuple[Any, ...]:
        return () if self._bot is None else tuple(self._bot.cogs.values())

    def _current(self) -> dict[str, Route[Any]]:
        cogs = self._cogs_now()
        # Cogs may be equal without being the same: an old one and its reloaded self.
        known = self._known
        if known is None or len(cogs) != len(known) or not all(map(is_, cogs, known)):
            self._forget()
            self._all, duplicates = self._scan(cogs)
            self._known = cogs
            places = {} if self._bot is None else {id(cog): name for name, cog in self._bot.cogs.items()}
            for name, route in self._all.items():
                self._found[name] = (route, places.get(id(route.cog)))
            for error in duplicates:
                log.error("%s; the first one is used", error)
        return self._all

    def _scan(self, cogs: tuple[Any, ...]) -> tuple[dict[str, Route[Any]], list[DuplicateRoute]]:
        routes = dict(self._own)
        duplicates: list[DuplicateRoute] = []
        for holder in (self._client, *cogs):
            for route in _routes_of(holder):
                first = routes.setdefault(route.name, route)
                if first is not route:
                    duplicates.append(DuplicateRoute(route.name, first.origin, route.origin))
        return routes, duplicates


def _routes_of(holder: Any) -> Iterator[Route[Any]]:
    """The routes among the attributes of an object's class; a subclass hides what it overrides."""
    seen: set[str] = set()
    for cls in type(holder).__mro__:
        for attribute, value in vars(cls).items():
            if attribute not in seen:
                seen.add(attribute)
                if isinstance(value, staticmethod):
                    value = value.__func__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                if isinstance(value, Route):
                    yield value.bound_to(holder)  # pyright: ignore[reportUnknownMemberType]
