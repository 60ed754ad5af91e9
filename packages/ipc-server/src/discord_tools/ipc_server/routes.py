"""Routes, and the table of them. A cog's routes exist as long as the cog is loaded."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from operator import is_
from types import CodeType, FrameType, MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, overload
from weakref import WeakSet

from discord_tools.ipc.errors import DuplicateRoute
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc_server.access import checked_scopes
from discord_tools.ipc_server.call import normal
from discord_tools.ipc_server.checks import CHECK_HOOK, Rules, checked_timeout, has_hooks, rules_of
from discord_tools.ipc_server.cooldowns import Usage
from discord_tools.ipc_server.forks import CLIENT_WITH_COGS, discord
from discord_tools.ipc_server.marks import is_mark, refuse_mark, refuse_marks, watch_class, wrapped_in
from discord_tools.ipc_server.nearest import Nearest
from discord_tools.ipc_server.parameters.annotations import calling_frame, function_of, visible_names
from discord_tools.ipc_server.parameters.callables import unwrapped
from discord_tools.ipc_server.signature import Signature

__all__ = ("Route", "RouteTable", "checked_name", "make_route", "route")

log = logging.getLogger(__name__)

R = TypeVar("R")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class Route(Generic[R]):
    """Represents a server route. :func:`route`, :meth:`Server.route` and :meth:`Server.add_route` make them.

    .. versionadded:: 1.0

    .. container:: operations

        .. describe:: str(x)

            Returns this route name.

        .. describe:: await x(request, ...)

            Calls the function of the route as it stands in the code, without any checks.

    """

    __slots__ = (
        *("_callback", "_cog", "_hooked", "_idempotent", "_leading", "_name", "_usage"),
        *("rules", "signature"),
    )

    def __init__(
        self,
        callback: Callable[..., Any],
        name: str = MISSING,
        *,
        idempotent: bool = False,
        timeout: float | None = None,
        scopes: Collection[str] | None = None,
        namespace: Mapping[str, Any] | None = None,
        group: Rules | None = None,
    ) -> None:
        refuse_marks(callback, f"route {getattr(callback, '__qualname__', None) or repr(callback):.100}")
        callback, bound = unwrapped(callback)
        if name is MISSING:
            # A partial function has no name of its own.
            name = getattr(callback, "__name__", "") or getattr(function_of(callback), "__name__", "")
        self._name = normal(checked_name(name, "the name of a route"))
        self._callback = callback
        #: The cog, or the client, of a method.
        self._cog: Any = _owner(callback)
        self._idempotent = idempotent
        #: What the callback asks for beyond the request.
        self.signature: Signature = Signature(callback, bound=bound, namespace=namespace or {})
        #: Arguments before the request: the cog, for a method.
        self._leading: tuple[Any, ...] = ()
        where, may = f"route {self.origin}", self.signature.may_name_guild
        #: Checks, hooks and the like. All bound copies of a route share them.
        self.rules: Rules = Rules(
            where, group, method=self.signature.bound, timeout=timeout, scopes=scopes, may_name_guild=may
        )
        for rule in rules_of(callback):
            self.rules.add(rule)
        #: Whether the cog has something to run at each call.
        self._hooked = has_hooks(self._cog)
        #: Who has called it lately, once that is counted.
        self._usage: Usage | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Decorators of discord.py above @route() set what they set on functions.
        if is_mark(name):
            raise refuse_mark(name, f"route {self.origin}")
        object.__setattr__(self, name, value)

    def is_replaced_by(self, other: Route[Any]) -> bool:
        """Whether another route is this one after its module was reloaded: the same function of a new module, or, after
        a reload that failed, of this one.

        :meta private:
        """
        one, another = function_of(self.callback), function_of(other.callback)
        if self.origin != other.origin:
            return False
        if one is another or getattr(one, "__globals__", None) is not getattr(another, "__globals__", None):
            return True
        # discord.py runs the setup of the former module again where that of the new one failed, which defines the
        # functions in it again.
        code = getattr(one, "__code__", None)
        return code is not None and code is getattr(another, "__code__", None)

    def __get__(self, instance: Any, owner: type | None = None) -> Route[R]:
        return self if instance is None else self.bound_to(instance)

    def bound_to(self, cog: Any) -> Route[R]:
        """Returns the same route with its method bound to a cog.

        :meta private:
        """
        route: Route[R] = object.__new__(type(self))
        route._name, route._callback, route.signature = self._name, self._callback, self.signature
        route._idempotent, route.rules = self._idempotent, self.rules
        # A static method belongs to its cog, and does not get it.
        route._cog, route._leading = cog, (cog,) if self.signature.bound else ()
        route._hooked = has_hooks(cog)
        route._usage = None
        return route

    # -- what belongs to it

    def error(self, function: FunctionT, /) -> FunctionT:
        """A decorator that has a coroutine function handle the errors of the route.

        It is called with the request and the exception, and with the cog before them where it is a method. It gets
        every exception from the checks of the route on: refusals such as :exc:`OnCooldown`, :exc:`BadData`, and what
        the route raises.

        - What it returns is the answer, unless that is ``None``. If the route streams, it is the last item.
        - With ``None`` the next handler is called: those of the route's groups, then the ``cog_ipc_error(self, request,
          error)`` of the cog. If none has answered, the exception is the answer as if there were no handlers, and
          :func:`on_ipc_error` is dispatched for one that is no :exc:`RemoteError`. To answer ``null``, await
          :meth:`Request.respond`.
        - What it raises replaces the exception, for the next handler and for the answer.

        It is not called for calls that are cancelled or whose time is over: those have their answer.

        .. versionadded:: 1.2

        Raises
        ------
        TypeError
            It is no coroutine function, does not take these arguments, or the route has an error handler already.
        """
        self.rules.set_error(function)
        return function

    def before_invoke(self, function: FunctionT, /) -> FunctionT:
        """A decorator that has a coroutine function run before each call of the route.

        It is called with the request, and with the cog before it where it is a method, once the checks have passed and
        the data is bound. What it raises is treated like an exception of the route, which does not run then. The hooks
        of the route's groups and the ``cog_ipc_before_invoke(self, request)`` of the cog come after it.

        .. versionadded:: 1.2

        Raises
        ------
        TypeError
            It is no coroutine function, does not take the request, or the route has such a function already.
        """
        self.rules.set_before(function)
        return function

    def after_invoke(self, function: FunctionT, /) -> FunctionT:
        """A decorator that has a coroutine function run after each call of the route, before its answer is sent.

        It is called like that of :meth:`before_invoke`, even if the route has failed or was cancelled, but not where
        the route did not run. What it raises takes the place of the answer.

        .. versionadded:: 1.2

        Raises
        ------
        TypeError
            It is no coroutine function, does not take the request, or the route has such a function already.
        """
        self.rules.set_after(function)
        return function

    # -- what it is

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

    @property
    def timeout(self) -> float | None:
        """Optional[:class:`float`]: How many seconds a call may take, or ``None`` where the route sets no limit.

        .. versionadded:: 1.2
        """
        return self.rules.timeout

    @property
    def scopes(self) -> frozenset[str]:
        """frozenset[:class:`str`]: The scopes of which a key with scopes needs one. Keys without scopes need none.

        .. versionadded:: 1.2
        """
        return self.rules.scopes

    @property
    def usage(self) -> Usage:
        """Who has called it lately.

        :meta private:
        """
        if self._usage is None:
            self._usage = Usage()
        return self._usage

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


def route(
    name: str = MISSING,
    *,
    idempotent: bool = False,
    timeout: float | None = None,
    scopes: Collection[str] | None = None,
) -> Decorator:
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
    timeout: Optional[:class:`float`]
        How many seconds a call may take, its checks included. Then it is cancelled, and the caller gets
        :exc:`DeadlineExceeded`, even if the function ignores that it was cancelled. It never extends the time that the
        caller and :attr:`ServerLimits.call_timeout` allow. Streams, which have no other limit, end after it as well.
        Defaults to ``None``, no limit of the route's own.

        .. versionadded:: 1.2
    scopes: Optional[Collection[:class:`str`]]
        What opens the route to keys with scopes: those that have one of these. Keys without scopes open every route;
        see :class:`Key`. Defaults to ``None``, the scopes of the :class:`RouteGroup`, if any. A route without scopes is
        closed to keys with scopes.

        .. versionadded:: 1.2

    Raises
    ------
    TypeError
        The function cannot be a route: it is no coroutine function, has no parameter for the request, one of its
        annotations cannot be made from JSON, or it has a decorator of discord.py that has no effect on routes, such as
        a check or a cooldown. Such a decorator above ``@staticmethod`` is found when the class is made, where Python
        3.11 raises a :exc:`RuntimeError` with this one as its cause. The timeout is no number, or the scopes are one
        string.
    ValueError
        The name is empty or begins with ``rpc.``, which belongs to the protocol. The timeout is not positive, or a
        scope has no usable name.
    """
    return make_route(name, idempotent, calling_frame(), timeout, scopes)


def make_route(
    name: str,
    idempotent: bool,
    frame: FrameType,
    timeout: float | None = None,
    scopes: Collection[str] | None = None,
    group: tuple[str, Rules] | None = None,
) -> Decorator:
    """The decorator, for a call in ``frame``: names in annotations may be local to it.

    ``group`` has the prefix and the rules of the group.
    """
    if callable(name):
        raise TypeError("the decorator is written with parentheses: @route()")
    checked_timeout(timeout, "@route()")
    opening = checked_scopes(scopes, "@route()")
    make: partial[Route[Any]] = partial(Route, idempotent=idempotent, timeout=timeout, scopes=opening)

    def decorate(callback: Any) -> Route[Any]:
        full, rules = name, None
        if group is not None:
            prefix, rules = group
            full = getattr(callback, "__name__", "") if name is MISSING else name
            if isinstance(full, str) and full.strip("/"):  # pyright: ignore[reportUnnecessaryIsInstance]
                full = f"{prefix}/{full.strip('/')}"
        namespace = dict(visible_names(frame))
        watch_class(frame, Route)
        return make(callback, full, namespace=namespace, group=rules)

    return decorate


def checked_name(name: Any, what: str) -> str:
    """Returns the name of a route or the prefix of a group.

    Raises
    ------
    TypeError
        It is not a string.
    ValueError
        It is empty, or belongs to the protocol.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, not {name!r:.100}")
    if not name.strip("/"):
        raise ValueError(f"{what} must not be empty")
    if name.lstrip("/").startswith("rpc."):
        raise ValueError(f"{what} must not begin with 'rpc.', which belongs to the protocol: {name!r:.100}")
    return name


def _owner(callback: Any) -> Any:
    """The object whose bound method a function is, or ``None``: its hooks hold for the route, too."""
    for one in wrapped_in(callback):
        if inspect.ismethod(one) and not isinstance(one.__self__, type):
            return one.__self__
    return None


class RouteTable:
    """All routes of one server: its own, those of the client's class, and those of the client's cogs.

    The bot's public mapping of cogs is checked at each look-up, so there is no registry that could become outdated.
    """

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        #: The client, where it has cogs.
        self._bot = client if isinstance(client, CLIENT_WITH_COGS) else None
        #: Routes that were added to the server.
        self._own: dict[str, Route[Any]] = {}
        #: All routes, as of the last scan.
        self._all: dict[str, Route[Any]] = {}
        #: The cogs at the last scan; ``None`` where another scan is needed.
        self._known: tuple[Any, ...] | None = None
        #: The routes of the last scan, with the name under which the bot has their cog.
        self._found: dict[str, tuple[Route[Any], str | None]] = {}
        #: The routes of cogs, by the ids of what is in the class and of the cog. A bound route knows who has called it
        #: lately, so it stays the same while its cog is loaded.
        self._bound: dict[tuple[int, int], tuple[Route[Any], Route[Any]]] = {}
        #: Finds the nearest name to one that does not exist.
        self._nearest = Nearest()
        #: Classes of cogs whose checks for commands were reported.
        self._reported: WeakSet[type] = WeakSet()

    def add(self, route: Route[Any]) -> None:
        """Adds a route of the server's own.

        Raises
        ------
        DuplicateRoute
            The name is taken.
        """
        self.add_all((route,))

    def add_all(self, routes: Iterable[Route[Any]]) -> None:
        """Adds several routes, or none of them.

        Raises
        ------
        DuplicateRoute
            A name is taken.
        """
        self._current()
        added: dict[str, Route[Any]] = {}
        for route in routes:
            taken = added.get(route.name) or self._all.get(route.name)
            if taken is not None and not (taken is self._own.get(route.name) and taken.is_replaced_by(route)):
                raise DuplicateRoute(route.name, taken.origin, route.origin)
            added[route.name] = route
        self._own.update(added)
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

    def nearest(self, name: str) -> str | None:
        """Returns the name that is nearest to one that does not exist, or ``None`` where none is near."""
        return self._nearest.find(name, self._current())

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
        names: dict[CodeType, list[str]] = {}
        for one in self.known():
            code = getattr(function_of(one.callback), "__code__", None)
            if code is not None:
                names.setdefault(code, []).append(one.name)
        # Several routes may be partial objects of one function.
        return {
            code: first if not others else f"{first} or {len(others)} more of the same function"
            for code, (first, *others) in names.items()
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
            holders = {id(holder) for holder in (self._client, *cogs)}
            self._bound = {ids: one for ids, one in self._bound.items() if ids[1] in holders}
            places = {} if self._bot is None else {id(cog): name for name, cog in self._bot.cogs.items()}
            for name, route in self._all.items():
                self._found[name] = (route, places.get(id(route.cog)))
            for error in duplicates:
                log.error("%s; the cog of the second one has no routes", error)
            for cog in cogs:
                self._report_checks(cog)
        return self._all

    def _scan(self, cogs: tuple[Any, ...]) -> tuple[dict[str, Route[Any]], list[DuplicateRoute]]:
        routes = dict(self._own)
        duplicates: list[DuplicateRoute] = []
        for holder in (self._client, *cogs):
            # All routes of a cog or none, as discord.py does with its commands.
            found: dict[str, Route[Any]] = {}
            faults: list[DuplicateRoute] = []
            for definition in _routes_of(holder):
                route = self._bind(definition, holder)
                first = routes.get(route.name) or found.setdefault(route.name, route)
                if first is not route:
                    faults.append(DuplicateRoute(route.name, first.origin, route.origin))
            duplicates += faults
            if not faults:
                routes.update(found)
        return routes, duplicates

    def _bind(self, definition: Route[Any], holder: Any) -> Route[Any]:
        ids = id(definition), id(holder)
        bound = self._bound.get(ids)
        if bound is None:
            # It refers to both, so their ids cannot be taken by other objects meanwhile.
            bound = self._bound[ids] = definition, definition.bound_to(holder)
        return bound[1]

    def _report_checks(self, cog: Any) -> None:
        """Warns about a cog that checks commands and not routes, once for each class."""
        cls: type[Any] = cog.__class__
        if cls in self._reported or hasattr(cog, CHECK_HOOK) or not any(_routes_of(cog)):
            return
        hooks = ("cog_check", "interaction_check")
        found = [name for name in hooks if not hasattr(getattr(cls, name, None), "__cog_special_method__")]
        if found := [name for name in found if hasattr(cls, name)]:
            self._reported.add(cls)
            log.warning(
                "%s of %s.%s is for commands only, and is not asked for its routes: define %s(self, request)",
                *(" and ".join(found), cls.__module__, cls.__qualname__, CHECK_HOOK),
            )


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
                    yield value  # pyright: ignore[reportUnknownVariableType]
