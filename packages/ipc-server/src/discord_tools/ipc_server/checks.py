"""Rules of routes and of their groups: checks, cooldowns, hooks and error handlers, and the decorators for them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, cast

from discord.ext import commands

from discord_tools.ipc_server.access import NO_SCOPES, checked_scopes
from discord_tools.ipc_server.cooldowns import Concurrency, CooldownRule, key_of
from discord_tools.ipc_server.request import Request
from discord_tools.ipc_server.requirements import Requirement

__all__ = (
    "AFTER_HOOK",
    "BEFORE_HOOK",
    "CHECK_HOOK",
    "ERROR_HOOK",
    "Hook",
    "Rules",
    "check",
    "checked_predicate",
    "checked_timeout",
    "cooldown",
    "decorated_with",
    "demands_of_class",
    "has_hooks",
    "mark_class",
    "max_concurrency",
    "rules_of",
)

T = TypeVar("T")

#: A function that decides whether a call may run. It may be a coroutine function.
Predicate: TypeAlias = Callable[[Request], Any]

#: Methods of a cog that are called for all of its routes.
CHECK_HOOK: Final = "cog_ipc_check"
BEFORE_HOOK: Final = "cog_ipc_before_invoke"
AFTER_HOOK: Final = "cog_ipc_after_invoke"
ERROR_HOOK: Final = "cog_ipc_error"

#: The attribute of a function that holds its rules until the function becomes a route.
_ATTRIBUTE: Final = "__ipc_rules__"

#: The attribute of a cog's class that holds what all of its routes demand of the acting user.
_DEMANDS: Final = "__ipc_demands__"


@dataclass(frozen=True, slots=True)
class Hook:
    """A function that runs before or after a route, or when the route fails.

    Attributes
    ----------
    function: Callable
        The function. It may be a coroutine function.
    method: :class:`bool`
        Whether the cog of the route comes first.
    """

    function: Callable[..., Any]
    method: bool

    def bound_to(self, cog: Any) -> Callable[..., Any]:
        """Returns the function with the cog as its first argument, if it takes one."""
        function = self.function
        return (lambda *args: function(cog, *args)) if self.method else function


def hook_of(function: Any, arguments: tuple[str, ...], what: str, method: bool | None) -> Hook:
    """Makes a hook of a function.

    ``method`` says whether the route is a method; ``None`` where its routes may be of either kind.

    Raises
    ------
    TypeError
        It is no coroutine function, or does not take these arguments.
    """
    name = getattr(function, "__qualname__", None) or f"{function!r:.100}"
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{what} {name} must be a coroutine function (async def)")
    signature = inspect.signature(function)
    alone, with_cog = (_takes(signature, count + len(arguments)) for count in (0, 1))
    if method and with_cog:
        return Hook(function, True)
    if alone:
        return Hook(function, False)
    if method is None and with_cog:
        return Hook(function, True)
    expected = ", ".join(("self", *arguments) if method else arguments)
    raise TypeError(f"{what} {name} must take ({expected})")


def _takes(signature: inspect.Signature, count: int) -> bool:
    """Whether a function can be called with that number of positional arguments."""
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


class Rules:
    """What applies to a route, or to all routes of a group, besides the data that it takes.

    Parameters
    ----------
    where: :class:`str`
        What to call the route or the group in errors.
    parent: Optional[:class:`Rules`]
        The rules of the group.
    method: Optional[:class:`bool`]
        Whether the route is a method. ``None`` for a group, whose routes may be of either kind.
    timeout: Optional[:class:`float`]
        How many seconds a call may take.
    scopes: Optional[Collection[:class:`str`]]
        What opens it to keys with scopes. ``None`` for the scopes of the group.
    may_name_guild: :class:`bool`
        Whether the data of a call may say which guild it is about.

    Raises
    ------
    TypeError
        The timeout or the scopes are of a wrong type.
    ValueError
        The timeout is not positive, or a scope has no usable name.
    """

    __slots__ = (
        *("_may_name_guild", "_method", "_where", "after", "before", "checks", "concurrency", "cooldowns"),
        *("error", "guards", "parent", "requirements", "scopes", "timeout"),
    )

    def __init__(
        self,
        where: str,
        parent: Rules | None = None,
        *,
        method: bool | None,
        timeout: float | None = None,
        scopes: Collection[str] | None = None,
        may_name_guild: bool = True,
    ) -> None:
        self._where = where
        self._method = method
        self._may_name_guild = may_name_guild
        self.parent: Rules | None = parent
        self.timeout: float | None = checked_timeout(timeout, where)
        own = checked_scopes(scopes, where)
        inherited = NO_SCOPES if parent is None else parent.scopes
        self.scopes: frozenset[str] = inherited if own is None else own
        #: Predicates, in the order in which they are asked.
        self.checks: tuple[Predicate, ...] = ()
        #: What is demanded of the acting user.
        self.requirements: tuple[Requirement, ...] = ()
        #: All of these have to allow a call.
        self.cooldowns: tuple[CooldownRule, ...] = ()
        #: Bounds the calls in progress.
        self.concurrency: Concurrency | None = None
        #: Runs before the route.
        self.before: Hook | None = None
        #: Runs after the route.
        self.after: Hook | None = None
        #: Handles errors of the route.
        self.error: Hook | None = None
        #: Whether a call needs more than the route. A group may get rules at any time.
        self.guards: bool = parent is not None or timeout is not None

    def add(self, rule: Any) -> None:
        """Adds a check, a requirement, a cooldown or a limit of concurrency. The one that was added last is asked
        first, so that those of decorators are asked from top to bottom.
        """
        if isinstance(rule, CooldownRule):
            self.cooldowns = (rule, *self.cooldowns)
        elif isinstance(rule, Requirement):
            if rule.needs_guild and not self._may_name_guild:
                raise TypeError(
                    f"{self._where} judges the acting user in a guild, and none of its parameters can say in which: "
                    "add one such as guild: discord.Guild"
                )
            self.requirements = (rule, *self.requirements)
        elif not isinstance(rule, Concurrency):
            self.checks = (rule, *self.checks)
        elif self.concurrency is None:
            self.concurrency = rule
        else:
            raise TypeError(f"{self._where} has a max_concurrency already")
        self.guards = True

    def set_before(self, function: Any) -> None:
        """Sets the function that runs before the route."""
        self._refuse_second("before_invoke", self.before)
        self.before = hook_of(function, ("request",), f"before_invoke of {self._where}:", self._method)
        self.guards = True

    def set_after(self, function: Any) -> None:
        """Sets the function that runs after the route."""
        self._refuse_second("after_invoke", self.after)
        self.after = hook_of(function, ("request",), f"after_invoke of {self._where}:", self._method)
        self.guards = True

    def set_error(self, function: Any) -> None:
        """Sets the function that handles errors."""
        self._refuse_second("error handler", self.error)
        what = f"the error handler of {self._where}:"
        self.error = hook_of(function, ("request", "error"), what, self._method)

    def _refuse_second(self, what: str, first: Hook | None) -> None:
        if first is not None:
            name = getattr(first.function, "__qualname__", None) or f"{first.function!r:.100}"
            raise TypeError(f"{self._where} has one {what} already: {name}")

    def outwards(self) -> Iterator[Rules]:
        """These rules, and those of the groups around them."""
        rules: Rules | None = self
        while rules is not None:
            yield rules
            rules = rules.parent

    def inwards(self) -> list[Rules]:
        """The same from the outermost group to these."""
        return [*self.outwards()][::-1]


def has_hooks(cog: Any) -> bool:
    """Whether a cog has something to run at each call of its routes."""
    return any(hasattr(cog, hook) for hook in (CHECK_HOOK, BEFORE_HOOK, AFTER_HOOK, _DEMANDS))


def mark_class(cls: type, requirement: Requirement) -> None:
    """Adds to what all routes of a cog demand."""
    setattr(cls, _DEMANDS, (requirement, *vars(cls).get(_DEMANDS, ())))


def demands_of_class(cog: Any) -> tuple[Requirement, ...]:
    """What all routes of a cog demand: its class, and all base classes of that."""
    return tuple(one for cls in type(cog).__mro__ for one in vars(cls).get(_DEMANDS, ()))


def rules_of(callback: Any) -> tuple[Any, ...]:
    """The rules that decorators have left on a function, in the order in which they were applied."""
    found: Any = callback
    while isinstance(found, partial) and not hasattr(cast("Any", found), _ATTRIBUTE):
        found = cast("partial[Any]", found).func
    return getattr(cast("Any", found), _ATTRIBUTE, ())


def checked_predicate(predicate: Any) -> Predicate | Requirement:
    """Returns a predicate, or the requirement of a decorator such as ``requires(manage_guild=True)``.

    Raises
    ------
    TypeError
        It cannot be called with the request.
    """
    requirement = getattr(predicate, "requirement", None)
    if isinstance(requirement, Requirement):
        return requirement
    name = getattr(predicate, "__qualname__", None) or f"{predicate!r:.100}"
    if not callable(predicate) or isinstance(getattr(predicate, "rules", None), Rules):
        raise TypeError(f"a check must be a function that decides, as in @check(is_admin), not {name}")
    try:
        signature = inspect.signature(predicate)
    except ValueError:  # a function in C may have none
        signature = None
    if signature is not None and not _takes(signature, 1):
        raise TypeError(f"the check {name} must take one argument, the request")
    return cast("Predicate", predicate)


def checked_timeout(timeout: Any, where: str) -> float | None:
    """Returns the timeout of a route. Raises :exc:`TypeError` or :exc:`ValueError` for one that cannot be."""
    if timeout is None:
        return None
    return _positive(timeout, f"{where}: timeout")


# -- decorators


def check(predicate: Predicate) -> Callable[[T], T]:
    """A decorator that has a function decide whether a call of a route may run.

    It stands above or below :func:`route`. Several checks are asked from top to bottom, and all of them must allow the
    call. Before them, the ``cog_ipc_check(self, request)`` of the cog is asked, and then the checks of the route's
    groups. Checks come before the data of the call is bound to the parameters of the route. They find it in the
    request.

    .. versionadded:: 1.2

    Parameters
    ----------
    predicate: Callable[[:class:`Request`], Any]
        The function, which may be a coroutine function. Where it returns something false, the caller gets
        :exc:`CheckFailed`. It may also raise an exception, as the route may: a :exc:`RemoteError` is the answer, and
        any other exception is a failure of the route.

    Raises
    ------
    TypeError
        The predicate cannot be called with the request, or what is decorated is neither a route nor its function.
    """
    return decorated_with("check", checked_predicate(predicate))


def cooldown(
    rate: int, per: float, type: commands.BucketType | Callable[[Request], Any] = commands.BucketType.default
) -> Callable[[T], T]:
    """A decorator that limits how often a route may be called, on the cooldowns of discord.py.

    Further calls are refused with :exc:`OnCooldown`, which says after how many seconds to try again. A route may have
    several cooldowns; a call that one of them refuses does not count for the others. Cooldowns come after checks, so a
    call that a check refuses does not count, and before the data is bound, so a call with bad data does.

    The counts belong to the route of a cog object: a cog that is reloaded begins again.

    .. versionadded:: 1.2

    Parameters
    ----------
    rate: :class:`int`
        Number of calls.
    per: :class:`float`
        In how many seconds.
    type: Union[:class:`~discord.ext.commands.BucketType`, Callable[[:class:`Request`], Any]]
        Which calls are counted together:

        - ``BucketType.default``: all of them. This is the default, as in discord.py.
        - ``BucketType.guild``: those with the same :attr:`Request.guild`. Calls without one count by their callers.
        - ``BucketType.user``: those of the same acting user. Calls without one count by their callers.
        - ``BucketType.member``: both of these together.
        - :func:`by_caller`: those of the same caller.
        - Any other function, which may be a coroutine function: those for which it returns the same. What it returns
          must be hashable.

    Raises
    ------
    TypeError
        An argument is of a wrong type, or what is decorated is neither a route nor its function.
    ValueError
        The rate or the time is not positive, or the type is one that needs a message.
    """
    where = "cooldown()"
    rule = CooldownRule(_count(rate, f"{where}: rate"), _positive(per, f"{where}: per"), key_of(type, where))
    return decorated_with("cooldown", rule)


def max_concurrency(
    number: int,
    per: commands.BucketType | Callable[[Request], Any] = commands.BucketType.default,
    *,
    wait: bool = False,
) -> Callable[[T], T]:
    """A decorator that limits how many calls of a route are in progress at the same time.

    A call is in progress from its checks to the end of the route, also after it was answered with
    :meth:`Request.respond`.

    .. versionadded:: 1.2

    Parameters
    ----------
    number: :class:`int`
        Maximum number of calls.
    per: Union[:class:`~discord.ext.commands.BucketType`, Callable[[:class:`Request`], Any]]
        Which calls are counted together; see :func:`cooldown`. Defaults to all of them.
    wait: :class:`bool`
        Whether further calls wait until one has ended, in their order and at most until their deadline. By default they
        are refused with :exc:`MaxConcurrencyReached`.

    Raises
    ------
    TypeError
        An argument is of a wrong type, the route has such a limit already, or what is decorated is neither a route nor
        its function.
    ValueError
        The number is not positive, or the type of ``per`` is one that needs a message.
    """
    where = "max_concurrency()"
    rule = Concurrency(_count(number, f"{where}: number"), key_of(per, where), bool(wait))
    return decorated_with("max_concurrency", rule)


def decorated_with(name: str, rule: Any) -> Callable[[T], T]:
    """Makes the decorator of that name, which adds a rule to a route, or to a function that becomes one."""

    def decorate(decorated: T) -> T:
        # The route does not see the static method around its function, nor the one around itself.
        target: Any = decorated
        if isinstance(target, staticmethod):
            target = cast("Any", target).__func__
        rules = getattr(target, "rules", None)
        if isinstance(rules, Rules):
            rules.add(rule)
            return decorated
        foreign = type(target).__module__.partition(".")[0] == "discord"
        if not callable(target) or isinstance(target, type) or foreign:
            raise TypeError(f"@{name}() is for routes and their functions, not for {target!r:.100}")
        try:
            # A new tuple: functools.wraps() gives the wrapped function and its wrapper the same one.
            setattr(target, _ATTRIBUTE, (*rules_of(target), rule))
        except AttributeError:
            raise TypeError(f"@{name}() cannot mark {target!r:.100}: put it above @route()") from None
        return decorated

    return decorate


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{where} must be a whole number, not {value!r:.100}")
    if value < 1:
        raise ValueError(f"{where} must be 1 or more, not {value!r:.100}")
    return value


def _positive(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where} must be a number of seconds, not {value!r:.100}")
    if not 0 < value < math.inf:
        raise ValueError(f"{where} must be a positive number of seconds, not {value!r:.100}")
    return cast("float", value)
