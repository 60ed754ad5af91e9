"""Groups of routes: names, checks, hooks and handlers, and that servers get all of their functions or none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc import (
    CheckFailed,
    DuplicateRoute,
    Request,
    RouteError,
    RouteFailed,
    RouteGroup,
    Server,
    check,
    cooldown,
    max_concurrency,
    route,
)
from test_server.tools import memory_server


async def ping(request: Request) -> str:
    return "pong"


def allow(request: Request) -> bool:
    return True


# -- names


@pytest.mark.parametrize("prefix", ["settings", "/settings", "settings/", "/settings/"])
@pytest.mark.parametrize("name", ["ping", "/ping", "ping/"])
def test_a_route_has_the_prefix_before_its_name(prefix: str, name: str) -> None:
    group = RouteGroup(prefix)
    assert group.prefix == "/settings"
    assert group.route(name)(ping).name == "/settings/ping"
    assert repr(group) == "<RouteGroup prefix='/settings'>"


def test_a_route_without_a_name_has_that_of_its_function() -> None:
    assert RouteGroup("settings").route()(ping).name == "/settings/ping"


def test_groups_inside_of_groups_add_up() -> None:
    outer = RouteGroup("a")
    inner = outer.group("b").group("c/d")
    made = inner.route()(ping)
    assert inner.prefix == "/a/b/c/d"
    assert made.name == "/a/b/c/d/ping"
    assert list(outer) == list(inner) == [made]


@pytest.mark.parametrize(
    ("prefix", "error", "text"),
    [
        ("", ValueError, "must not be empty"),
        ("//", ValueError, "must not be empty"),
        ("rpc.x", ValueError, "the prefix of a group must not begin with 'rpc.'.*: 'rpc.x'"),
        ("/rpc.x", ValueError, "which belongs to the protocol"),
        (None, TypeError, "must be a string, not None"),
        (5, TypeError, "must be a string, not 5"),
        (ping, TypeError, "must be a string"),
    ],
)
def test_a_wrong_prefix_is_refused(bot: commands.Bot, prefix: Any, error: type[Exception], text: str) -> None:
    for make in (RouteGroup, RouteGroup("x").group, Server(bot).group):
        with pytest.raises(error, match=text):
            make(prefix)


def test_an_error_about_a_group_inside_of_another_has_the_whole_prefix() -> None:
    inner = RouteGroup("settings").group("roles", checks=[lambda request: True])

    async def handle(request: Request, error: Exception) -> None: ...

    inner.error(handle)
    with pytest.raises(TypeError, match=r"^group /settings/roles has one error handler already"):
        inner.error(handle)
    with pytest.raises(TypeError, match=r"^before_invoke of group /settings/roles:"):
        inner.before_invoke(None)  # pyright: ignore[reportArgumentType, reportCallIssue] (that is the mistake)


@pytest.mark.parametrize("name", ["", "/", "//"])
def test_an_empty_name_is_refused(name: str) -> None:
    group = RouteGroup("settings")
    with pytest.raises(ValueError, match="must not be empty"):
        group.route(name)(ping)
    assert list(group) == []


def test_the_decorator_without_parentheses_says_so() -> None:
    with pytest.raises(TypeError, match="written with parentheses"):
        RouteGroup("x").route(ping)  # pyright: ignore[reportArgumentType]


def test_the_options_of_a_route_are_passed_on() -> None:
    made = RouteGroup("x").route(idempotent=True, timeout=5)(ping)
    assert made.idempotent
    assert made.timeout == 5


def test_annotations_may_name_classes_that_are_local() -> None:
    class Local(msgspec.Struct):
        x: int

    group = RouteGroup("x")

    @group.route()
    async def takes(request: Request, local: Local) -> None: ...

    assert takes.signature.takes_data


@pytest.mark.parametrize("decorator", [check(allow), cooldown(1, 5), max_concurrency(1)], ids=range(3))
def test_a_group_is_no_route(decorator: Any) -> None:
    with pytest.raises(TypeError, match="is for routes and their functions"):
        decorator(RouteGroup("x"))


# -- servers


def test_a_group_of_a_server_adds_its_functions_at_once(bot: commands.Bot) -> None:
    server = Server(bot)
    group = server.group("settings")
    made = group.route()(ping)
    inner = group.group("more").route()(ping)
    assert dict(server.routes) == {"/settings/ping": made, "/settings/more/ping": inner}


def test_a_group_is_added_with_all_of_its_functions_and_further_ones_follow(bot: commands.Bot) -> None:
    server = Server(bot)
    group = RouteGroup("settings")
    group.route()(ping)
    inner = group.group("more")
    inner.route()(ping)
    assert dict(server.routes) == {}
    server.add_group(group)
    inner.route("later")(ping)
    assert set(server.routes) == {"/settings/ping", "/settings/more/ping", "/settings/more/later"}


def test_a_group_of_which_one_name_is_taken_is_not_added(bot: commands.Bot) -> None:
    server = Server(bot)
    taken = server.add_route(ping, "settings/two")
    group = RouteGroup("settings")

    async def other(request: Request) -> None: ...

    for name in ("one", "two", "three"):
        group.route(name)(other)
    with pytest.raises(DuplicateRoute, match="/settings/two"):
        server.add_group(group)
    assert dict(server.routes) == {"/settings/two": taken}
    group.route("four")(other)
    assert dict(server.routes) == {"/settings/two": taken}


def test_two_routes_of_one_name_in_a_group_are_refused(bot: commands.Bot) -> None:
    async def other(request: Request) -> None: ...

    server, group = Server(bot), RouteGroup("settings")
    group.route("same")(ping)
    group.route("same")(other)
    with pytest.raises(DuplicateRoute):
        server.add_group(group)
    assert dict(server.routes) == {}


def test_a_name_that_is_taken_at_one_of_two_servers_is_added_to_none(bot: commands.Bot) -> None:
    async def other(request: Request) -> None: ...

    one, two, group = Server(bot), Server(bot), RouteGroup("settings")
    one.add_group(group)
    two.add_group(group)
    two.add_route(other, "settings/ping")
    with pytest.raises(DuplicateRoute):
        group.route()(ping)
    assert dict(one.routes) == {}
    assert list(group) == []


def test_a_group_is_removed_with_all_of_its_functions(bot: commands.Bot) -> None:
    server = Server(bot)
    group = server.group("settings")
    group.route()(ping)
    group.group("more").route()(ping)
    server.add_route(ping)
    server.remove_group(group)
    assert set(server.routes) == {"/ping"}
    group.route("later")(ping)
    assert set(server.routes) == {"/ping"}
    server.remove_group(group)
    server.add_group(group)
    assert len(server.routes) == 4


def test_several_routes_are_added_or_none(bot: commands.Bot) -> None:
    server = Server(bot)
    made = route()(ping)
    with pytest.raises(TypeError, match="is no Route"):
        server.add_routes([made, ping])  # pyright: ignore[reportArgumentType]
    assert dict(server.routes) == {}
    server.add_routes([made, route("two")(ping)])
    assert set(server.routes) == {"/ping", "/two"}


async def test_the_methods_of_a_group_come_and_go_with_their_cog(bot: commands.Bot) -> None:
    settings = RouteGroup("settings")

    class Cog(commands.Cog):
        @settings.route()
        async def get(self, request: Request) -> str:
            return "got"

    settings.route()(ping)
    server = Server(bot)
    server.add_group(settings)
    assert set(server.routes) == {"/settings/ping"}
    await bot.add_cog(Cog())
    assert set(server.routes) == {"/settings/ping", "/settings/get"}
    await bot.remove_cog("Cog")
    assert set(server.routes) == {"/settings/ping"}


# -- checks, hooks and handlers


async def test_the_checks_of_a_group_hold_for_all_routes_also_for_those_defined_before(
    bot: commands.Bot,
) -> None:
    group = RouteGroup("a", checks=[lambda request: request["one"]])
    inner = group.group("b")
    made = [group.route()(ping), inner.route()(ping)]

    @group.check
    def two(request: Request) -> bool:
        return request["two"]

    async with memory_server(bot) as server, server.session() as session:
        server.table.add_all(made)
        for name in ("a/ping", "a/b/ping"):
            assert await session.request(name, one=True, two=True) == "pong"
            for data in ({"one": True, "two": False}, {"one": False, "two": True}):
                with pytest.raises(CheckFailed):
                    await session.request(name, **data)


@pytest.mark.parametrize("predicate", [None, lambda: True])
def test_a_wrong_check_is_refused(predicate: Any) -> None:
    for add in (RouteGroup("x").check, lambda one: RouteGroup("x", checks=[one])):
        with pytest.raises(TypeError, match=r"check .*must"):
            add(predicate)


async def test_errors_go_from_the_route_outwards(bot: commands.Bot) -> None:
    log: list[str] = []
    outer = RouteGroup("a")
    inner = outer.group("b")

    @outer.error
    async def of_outer(request: Request, error: Exception) -> Any:
        log.append("outer")
        return request.get("answer")

    @inner.error
    async def of_inner(cog: Any, request: Request, error: Exception) -> None:
        log.append(f"inner of {cog.qualified_name}")

    class Cog(commands.Cog):
        async def cog_ipc_error(self, request: Request, error: Exception) -> None:
            log.append("cog")

        @inner.route()
        async def fail(self, request: Request) -> None:
            raise KeyError

        @fail.error
        async def failed(self, request: Request, error: Exception) -> None:
            log.append("route")

    await bot.add_cog(Cog())
    async with memory_server(bot) as server, server.session() as session:
        with pytest.raises(RouteFailed):
            await session.request("a/b/fail")
        assert log == ["route", "inner of Cog", "outer", "cog"]
        assert await session.request("a/b/fail", answer="sorry") == "sorry"
        assert log[4:] == ["route", "inner of Cog", "outer"]


async def test_hooks_of_a_group_run_around_its_routes(bot: commands.Bot) -> None:
    log: list[str] = []
    group = RouteGroup("a")

    @group.before_invoke
    async def before(request: Request) -> None:
        log.append("before")

    @group.after_invoke
    async def after(request: Request) -> None:
        log.append("after")

    @group.route()
    async def work(request: Request) -> None:
        log.append("route")
        raise RouteError(1, "no")

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(RouteError):
            await session.request("a/work")
    assert log == ["before", "route", "after"]


@pytest.mark.parametrize("name", ["error", "before_invoke", "after_invoke"])
def test_a_wrong_function_is_refused(name: str) -> None:
    async def nothing() -> None: ...

    for function in (nothing, None, allow):
        with pytest.raises(TypeError, match="must"):
            getattr(RouteGroup("x"), name)(function)
