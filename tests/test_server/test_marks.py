"""Decorators of discord.py on routes, which would have no effect, are refused in either order."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import discord
import pytest
from discord import app_commands, ui
from discord.app_commands import checks as app_checks
from discord.ext import commands, tasks

from discord_tools.ipc import Request, Route, Server, route

Decorator = Callable[[Any], Any]


async def hook(context: Any) -> None: ...


def predicate(context: Any) -> bool:
    return True


async def choices(interaction: Any, current: str) -> list[Any]:
    return []


#: Each decorator of discord.py that marks functions, as it is used, and a word of the advice.
DECORATORS: dict[str, tuple[Decorator, str]] = {
    "commands.after_invoke": (commands.after_invoke(hook), "Route.after_invoke"),
    "commands.before_invoke": (commands.before_invoke(hook), "Route.before_invoke"),
    "commands.bot_has_any_role": (commands.bot_has_any_role("a"), "@check"),
    "commands.bot_has_guild_permissions": (commands.bot_has_guild_permissions(ban_members=True), "@check"),
    "commands.bot_has_permissions": (commands.bot_has_permissions(ban_members=True), "@check"),
    "commands.bot_has_role": (commands.bot_has_role("a"), "@check"),
    "commands.check": (commands.check(predicate), "cog_ipc_check"),
    "commands.check_any": (commands.check_any(commands.is_owner()), "@check"),
    "commands.cooldown": (commands.cooldown(1, 5), "@cooldown"),
    "commands.dm_only": (commands.dm_only(), "@check"),
    "commands.dynamic_cooldown": (
        commands.dynamic_cooldown(lambda _: None, commands.BucketType.user),
        "@cooldown",
    ),
    "commands.guild_only": (commands.guild_only(), "@check"),
    "commands.has_any_role": (commands.has_any_role("a"), "@check"),
    "commands.has_guild_permissions": (commands.has_guild_permissions(ban_members=True), "@check"),
    "commands.has_permissions": (commands.has_permissions(ban_members=True), "@check"),
    "commands.has_role": (commands.has_role("a"), "@check"),
    "commands.is_nsfw": (commands.is_nsfw(), "@check"),
    "commands.is_owner": (commands.is_owner(), "@check"),
    "commands.max_concurrency": (commands.max_concurrency(1), "@max_concurrency"),
    "app_commands.allowed_contexts": (app_commands.allowed_contexts(guilds=True), "@check"),
    "app_commands.allowed_installs": (app_commands.allowed_installs(guilds=True), "@check"),
    "app_commands.autocomplete": (app_commands.autocomplete(x=choices), "annotate"),
    "app_commands.check": (app_commands.check(predicate), "@check"),
    "app_commands.choices": (app_commands.choices(x=[]), "annotate"),
    "app_commands.default_permissions": (app_commands.default_permissions(ban_members=True), "@check"),
    "app_commands.describe": (app_commands.describe(x="text"), "annotate"),
    "app_commands.dm_only": (app_commands.dm_only(), "@check"),
    "app_commands.guild_install": (app_commands.guild_install(), "@check"),
    "app_commands.guild_only": (app_commands.guild_only(), "discord.Guild"),
    "app_commands.guilds": (app_commands.guilds(1), "@check"),
    "app_commands.private_channel_only": (app_commands.private_channel_only(), "@check"),
    "app_commands.rename": (app_commands.rename(x="y"), "annotate"),
    "app_commands.user_install": (app_commands.user_install(), "@check"),
    "checks.bot_has_permissions": (app_checks.bot_has_permissions(ban_members=True), "@check"),
    "checks.cooldown": (app_checks.cooldown(1, 5), "@check"),
    "checks.dynamic_cooldown": (app_checks.dynamic_cooldown(lambda _: None), "@check"),
    "checks.has_any_role": (app_checks.has_any_role("a"), "@check"),
    "checks.has_permissions": (app_checks.has_permissions(ban_members=True), "@check"),
    "checks.has_role": (app_checks.has_role("a"), "@check"),
}

#: Decorators that make something else of a function.
MAKERS: dict[str, Decorator] = {
    "commands.command": commands.command(),
    "commands.group": commands.group(),
    "commands.hybrid_command": commands.hybrid_command(),
    "commands.hybrid_group": commands.hybrid_group(),
    "app_commands.command": app_commands.command(),
    "tasks.loop": tasks.loop(seconds=1),
}

EACH = pytest.mark.parametrize(("decorator", "advice"), DECORATORS.values(), ids=DECORATORS)


@EACH
def test_a_decorator_of_discord_py_under_the_route_says_what_to_use(
    decorator: Decorator, advice: str
) -> None:
    @decorator
    async def stats(request: Request, x: int = 1) -> None: ...

    with pytest.raises(TypeError, match="no effect on routes") as caught:
        route()(stats)
    assert advice in str(caught.value)
    assert "stats" in str(caught.value)


@EACH
def test_a_decorator_of_discord_py_above_the_route_says_what_to_use(
    decorator: Decorator, advice: str
) -> None:
    with pytest.raises(TypeError, match="no effect on routes") as caught:

        @decorator
        @route()
        async def stats(request: Request, x: int = 1) -> None: ...

    assert advice in str(caught.value)
    assert "stats" in str(caught.value)


def test_the_same_holds_for_routes_of_a_server_and_for_methods(bot: commands.Bot) -> None:
    server = Server(bot)
    with pytest.raises(TypeError, match="no effect on routes"):

        @server.route()
        @commands.is_owner()
        async def one(request: Request) -> None: ...

    with pytest.raises(TypeError, match="no effect on routes"):
        server.add_route(commands.is_owner()(hook))
    del hook.__commands_checks__  # pyright: ignore[reportFunctionMemberAccess]
    with pytest.raises(TypeError, match="no effect on routes"):

        class Cog(commands.Cog):
            @commands.has_permissions(ban_members=True)
            @route()
            async def ban(self, request: Request) -> None: ...

    assert dict(server.routes) == {}


def decorators_of(module: ModuleType) -> Iterator[str]:
    """The names of the functions of a module that return decorators of commands, as their documentation says."""
    for name in module.__all__:
        function = getattr(module, name)
        if inspect.isfunction(function) and "decorator" in (inspect.getdoc(function) or "").lower():
            yield name


@pytest.mark.parametrize(
    ("module", "prefix"),
    [(commands.core, "commands"), (app_commands.commands, "app_commands"), (app_checks, "checks")],
    ids=["commands", "app_commands", "checks"],
)
def test_no_decorator_of_the_installed_discord_py_is_missing_here(module: ModuleType, prefix: str) -> None:
    names = {f"{prefix}.{name}" for name in decorators_of(module)}
    assert names
    # A context menu has no name of its own before Discord knows it, and is an object like a command.
    assert names - set(DECORATORS) - set(MAKERS) <= {"app_commands.context_menu"}


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_command_cannot_be_a_route(maker: Decorator) -> None:
    async def stats(context: discord.Interaction) -> None:
        """A command."""

    with pytest.raises(TypeError, match="cannot be a route as well: write a coroutine function that both"):
        route()(maker(stats))


def test_a_listener_cannot_be_a_route() -> None:
    @commands.Cog.listener()
    async def on_message(message: Any) -> None: ...

    with pytest.raises(TypeError, match=r"Cog\.listener .* has no effect on routes: make the listener"):
        route()(on_message)


def test_the_callback_of_a_component_cannot_be_a_route() -> None:
    async def press(self: Any, interaction: Any, button: Any) -> None: ...

    with pytest.raises(TypeError, match=r"discord\.ui has no effect on routes"):
        route()(ui.button()(press))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda function: functools.partial(function, b=1),
        lambda function: functools.wraps(function)(functools.partial(function, b=1)),
    ],
    ids=["partial", "wraps"],
)
def test_a_mark_inside_of_a_wrapper_is_found(wrap: Any) -> None:
    @commands.is_owner()
    async def stats(request: Request, b: int) -> None: ...

    wrapped = wrap(stats)
    wrapped.__name__ = "stats"
    with pytest.raises(TypeError, match="no effect on routes"):
        route()(wrapped)


def test_a_mark_of_a_later_discord_py_is_refused_too() -> None:
    async def stats(request: Request) -> None: ...

    stats.__discord_app_commands_something_new__ = True  # pyright: ignore[reportFunctionMemberAccess]
    with pytest.raises(TypeError, match=r"'__discord_app_commands_something_new__' has no .*: remove it"):
        route()(stats)


def test_other_attributes_of_a_function_do_no_harm() -> None:
    async def stats(request: Request) -> None: ...

    stats.category = "x"  # pyright: ignore[reportFunctionMemberAccess]
    assert route()(stats).name == "/stats"


def test_other_attributes_cannot_be_set_on_a_route() -> None:
    async def stats(request: Request) -> None: ...

    with pytest.raises(AttributeError):
        route()(stats).category = "x"  # pyright: ignore[reportAttributeAccessIssue]


# -- decorators around static methods


@contextmanager
def refused_by_the_class(match: str) -> Iterator[None]:
    """Until Python 3.12 the interpreter raises its own error, with the one of the class as its cause."""
    with pytest.raises((TypeError, RuntimeError)) as caught:
        yield
    error: BaseException | None = caught.value
    if sys.version_info < (3, 12):
        error = caught.value.__cause__
    assert isinstance(error, TypeError)
    assert re.search(match, str(error)), error


@EACH
def test_a_decorator_of_discord_py_above_a_static_method_says_what_to_use(
    decorator: Decorator, advice: str
) -> None:
    with refused_by_the_class(f"Cog.stats: .* no effect on routes: .*{re.escape(advice)}"):

        class Cog(commands.Cog):
            @decorator
            @staticmethod
            @route()
            async def stats(request: Request, x: int = 1) -> None: ...


def test_the_same_holds_for_any_class_and_for_decorators_of_ones_own() -> None:
    def plain(function: Any) -> Any:
        return route()(function)

    with refused_by_the_class("Holder.one: .* no effect on routes"):

        class Holder:
            @commands.is_owner()
            @staticmethod
            @plain
            async def one(request: Request) -> None: ...


def test_a_class_method_around_a_route_is_refused() -> None:
    with refused_by_the_class("Cog.stats: a class method cannot be a route: make it a method or a static"):

        class Cog(commands.Cog):
            @classmethod
            @route()
            async def stats(cls, request: Request) -> None: ...


def test_a_static_method_without_marks_is_a_route_and_leaves_nothing_in_the_class() -> None:
    class Cog(commands.Cog):
        @staticmethod
        @route()
        async def stats(request: Request) -> None: ...

        @commands.is_owner()
        @staticmethod
        async def helper(request: Request) -> None: ...

    assert isinstance(Cog.stats, Route)
    assert [name for name in vars(Cog) if "ipc" in name] == []
