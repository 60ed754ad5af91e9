"""Decorators for checks, cooldowns and concurrency: what they take, where they stand, and in which order they apply."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from discord.ext import commands
from discord.ext.commands import BucketType

from discord_tools.ipc import Request, Route, Server, by_caller, check, cooldown, max_concurrency, route
from discord_tools.ipc_server.checks import Rules


def allow(request: Request) -> bool:
    return True


def deny(request: Request) -> bool:
    return False


async def ping(request: Request) -> str:
    return "pong"


# -- where they stand


@pytest.mark.parametrize("order", ["above", "below"])
def test_a_decorator_stands_above_or_below_the_route(order: str) -> None:
    async def stats(request: Request) -> None: ...

    if order == "above":
        made: Route[Any] = max_concurrency(1)(cooldown(1, 5)(check(allow)(route()(stats))))
    else:
        made = route()(max_concurrency(1)(cooldown(1, 5)(check(allow)(stats))))
    assert made.rules.checks == (allow,)
    assert len(made.rules.cooldowns) == 1
    assert made.rules.concurrency is not None
    assert made.rules.guards


def test_checks_are_asked_from_top_to_bottom() -> None:
    predicates: list[Callable[[Request], bool]] = [lambda _, n=n: True for n in range(4)]  # pyright: ignore[reportUnknownLambdaType]

    @check(predicates[0])
    @check(predicates[1])
    @route()
    @check(predicates[2])
    @check(predicates[3])
    async def stats(request: Request) -> None: ...

    assert stats.rules.checks == tuple(predicates)


def test_a_route_without_rules_is_not_guarded(bot: commands.Bot) -> None:
    assert not route()(ping).rules.guards


def test_a_decorator_on_a_wrapper_does_not_change_what_it_wraps() -> None:
    async def inner(request: Request) -> None: ...

    check(allow)(inner)

    @check(deny)
    @functools.wraps(inner)
    async def outer(request: Request) -> None: ...

    assert route()(inner).rules.checks == (allow,)
    assert route()(outer).rules.checks == (deny, allow)


@pytest.mark.parametrize(
    "place", ["below both", "between, route above", "between, route below", "above both"]
)
async def test_a_check_of_a_static_method_holds_wherever_it_stands(bot: commands.Bot, place: str) -> None:
    async def stats(request: Request) -> None: ...

    if place == "below both":
        made: Any = route()(staticmethod(check(deny)(stats)))
    elif place == "between, route above":
        made = route()(check(deny)(staticmethod(stats)))
    elif place == "between, route below":
        made = staticmethod(check(deny)(route()(stats)))
    else:
        made = check(deny)(staticmethod(route()(stats)))
    cog = type("Stats", (commands.Cog,), {"stats": made})()
    await bot.add_cog(cog)
    found = Server(bot).routes["/stats"]
    assert found.cog is cog
    assert found.rules.checks == (deny,)


def test_a_mark_of_discord_py_on_a_static_method_is_refused() -> None:
    async def stats(request: Request) -> None: ...

    method: Any = staticmethod(stats)
    with pytest.raises(TypeError, match="has no effect on routes"):
        route()(commands.cooldown(1, 5)(method))


async def test_a_partial_function_keeps_the_checks_of_its_function() -> None:
    @check(allow)
    async def stats(days: int, request: Request) -> None: ...

    one = functools.partial(stats, 1)
    assert Route(functools.partial(one), "stats").rules.checks == (allow,)
    assert Route(check(deny)(one), "stats").rules.checks == (deny, allow)


def test_two_routes_of_one_function_have_rules_of_their_own() -> None:
    one, two = route("one")(ping), route("two")(ping)
    check(allow)(one)
    assert one.rules.checks == (allow,)
    assert two.rules.checks == ()


async def test_rules_that_are_added_to_the_class_hold_for_cogs_that_are_loaded(bot: commands.Bot) -> None:
    class Cog(commands.Cog):
        @route()
        async def stats(self, request: Request) -> None: ...

    server = Server(bot)
    await bot.add_cog(Cog())
    assert not server.routes["/stats"].rules.guards
    check(allow)(Cog.stats)
    assert server.routes["/stats"].rules.guards


class AnyClass: ...


@pytest.mark.parametrize(
    "decorator", [check(allow), cooldown(1, 5), max_concurrency(1)], ids=["check", "cooldown", "concurrency"]
)
@pytest.mark.parametrize("target", [AnyClass, 5, "text", commands.command()(ping), None])
def test_what_is_no_route_and_no_function_is_refused(decorator: Callable[[Any], Any], target: Any) -> None:
    with pytest.raises(TypeError, match="is for routes and their functions, not for"):
        decorator(target)


def test_a_bound_method_has_to_be_decorated_as_a_route() -> None:
    class Thing:
        async def stats(self, request: Request) -> None: ...

    with pytest.raises(TypeError, match=r"put it above @route\(\)"):
        check(allow)(Thing().stats)
    assert check(allow)(route()(Thing().stats)).rules.checks == (allow,)


# -- what they take


@pytest.mark.parametrize("predicate", [None, 5, "is_admin", route()(ping)], ids=repr)
def test_a_check_takes_a_function(predicate: Any) -> None:
    with pytest.raises(TypeError, match="must be a function that decides"):
        check(predicate)


@pytest.mark.parametrize(
    "predicate",
    [lambda: True, lambda a, b: True, lambda *, request: True],
    ids=["nothing", "two arguments", "a keyword"],
)
def test_a_check_takes_a_function_of_the_request_alone(predicate: Any) -> None:
    with pytest.raises(TypeError, match="must take one argument, the request"):
        check(predicate)


@pytest.mark.parametrize(
    "predicate",
    [lambda r: True, lambda *a: True, lambda r, b=1: True, bool, allow],
    ids=["one argument", "any number", "a default", "a class", "a function"],
)
def test_a_check_takes_any_function_that_can_be_called_with_the_request(predicate: Any) -> None:
    assert check(predicate)(route()(ping)).rules.checks == (predicate,)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((0, 5), ValueError, "rate must be 1 or more, not 0"),
        ((-1, 5), ValueError, "rate must be 1 or more, not -1"),
        ((1.5, 5), TypeError, r"rate must be a whole number, not 1\.5"),
        ((True, 5), TypeError, "rate must be a whole number, not True"),
        (("1", 5), TypeError, "rate must be a whole number, not '1'"),
        ((1, 0), ValueError, "per must be a positive number of seconds, not 0"),
        ((1, -5), ValueError, "per must be a positive number"),
        ((1, float("inf")), ValueError, "per must be a positive number"),
        ((1, float("nan")), ValueError, "per must be a positive number"),
        ((1, "5"), TypeError, "per must be a number of seconds, not '5'"),
        ((1, BucketType.guild), TypeError, "per must be a number of seconds"),
        ((1, 5, "guild"), TypeError, "'guild' is neither a commands.BucketType nor a function"),
        ((1, 5, None), TypeError, "None is neither"),
        ((1, 5, str), TypeError, "is neither"),
        ((1, 5, BucketType.channel), ValueError, "BucketType.channel needs a message"),
        ((1, 5, BucketType.role), ValueError, "needs a message"),
        ((1, 5, BucketType.category), ValueError, "needs a message"),
    ],
)
def test_a_wrong_cooldown_is_refused(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        cooldown(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((0,), ValueError, "number must be 1 or more, not 0"),
        ((2.0,), TypeError, r"number must be a whole number, not 2\.0"),
        ((1, 5), TypeError, "5 is neither a commands.BucketType nor a function"),
        ((1, BucketType.channel), ValueError, "needs a message"),
    ],
)
def test_a_wrong_limit_of_concurrency_is_refused(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        max_concurrency(*arguments)


def test_a_route_has_one_limit_of_concurrency() -> None:
    with pytest.raises(TypeError, match="has a max_concurrency already"):
        max_concurrency(1)(max_concurrency(2)(route()(ping)))


@pytest.mark.parametrize("kind", [BucketType.default, BucketType.guild, BucketType.user, BucketType.member])
def test_the_types_of_discord_py_that_need_no_message_are_taken(kind: BucketType) -> None:
    cooldown(1, 5, kind)
    cooldown(1, 5, type=kind)
    max_concurrency(1, kind)
    max_concurrency(1, per=by_caller, wait=True)


@pytest.mark.parametrize(
    ("timeout", "error", "text"),
    [
        (0, ValueError, "timeout must be a positive number of seconds, not 0"),
        (-1, ValueError, "must be a positive number"),
        (float("inf"), ValueError, "must be a positive number"),
        ("5", TypeError, "must be a number of seconds, not '5'"),
        (True, TypeError, "must be a number of seconds, not True"),
    ],
)
def test_a_wrong_timeout_is_refused(
    bot: commands.Bot, timeout: Any, error: type[Exception], text: str
) -> None:
    server = Server(bot)
    for decorate in (route, server.route):
        with pytest.raises(error, match=text):
            decorate(timeout=timeout)
    with pytest.raises(error, match=text):
        server.add_route(ping, timeout=timeout)
    assert dict(server.routes) == {}


def test_a_timeout_is_a_property_of_the_route(bot: commands.Bot) -> None:
    assert route(timeout=2.5)(ping).timeout == 2.5
    assert route()(ping).timeout is None
    assert Server(bot).add_route(ping, timeout=3).timeout == 3


# -- hooks and error handlers


async def handler(request: Request, error: Exception) -> None: ...


def test_a_handler_and_a_hook_are_returned_as_they_are() -> None:
    made = route()(ping)
    assert made.error(handler) is handler
    assert made.before_invoke(ping) is ping
    assert made.after_invoke(ping) is ping


@pytest.mark.parametrize("name", ["error", "before_invoke", "after_invoke"])
def test_a_second_one_is_refused_and_the_first_one_named(name: str) -> None:
    made = route()(ping)
    function = handler if name == "error" else ping
    getattr(made, name)(function)
    with pytest.raises(TypeError, match=f"has one .* already: {function.__name__}"):
        getattr(made, name)(function)


def test_a_partial_is_a_handler_too() -> None:
    async def logged(level: int, request: Request, error: Exception) -> None: ...

    made = route()(ping)
    made.error(functools.partial(logged, 5))
    with pytest.raises(TypeError, match=r"has one error handler already: functools\.partial"):
        made.error(functools.partial(logged, 5))


@pytest.mark.parametrize("name", ["error", "before_invoke", "after_invoke"])
@pytest.mark.parametrize("function", [lambda *_: None, None, 5], ids=["function", "none", "number"])
def test_what_is_no_coroutine_function_is_refused(name: str, function: Any) -> None:
    with pytest.raises(TypeError, match="must be a coroutine function"):
        getattr(route()(ping), name)(function)


async def of_cog(self: Any, request: Request) -> None: ...


async def error_of_cog(self: Any, request: Request, error: Exception) -> None: ...


async def nothing() -> None: ...


class Cog(commands.Cog):
    @route()
    async def stats(self, request: Request) -> None: ...


@pytest.mark.parametrize(
    ("decorate", "function", "expected"),
    [
        (route()(ping).error, error_of_cog, "(request, error)"),
        (route()(ping).error, ping, "(request, error)"),
        (route()(ping).before_invoke, of_cog, "(request)"),
        (route()(ping).after_invoke, nothing, "(request)"),
        (Cog.stats.error, ping, "(self, request, error)"),
        (Cog.stats.before_invoke, nothing, "(self, request)"),
    ],
    ids=range(6),
)
def test_other_arguments_are_refused(decorate: Any, function: Any, expected: str) -> None:
    with pytest.raises(TypeError) as caught:
        decorate(function)
    assert f"must take {expected}" in str(caught.value)


def test_a_method_may_have_a_handler_with_or_without_its_cog() -> None:
    for function, method in ((error_of_cog, True), (handler, False)):
        rules = Rules("x", method=True)
        rules.set_error(function)
        assert rules.error is not None
        assert rules.error.method is method
