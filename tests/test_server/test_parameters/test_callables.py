"""Static methods, partial functions and wrappers as routes, and the annotations of streams."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import Request, Route, route
from discord_tools.ipc_server.parameters.callables import is_method
from discord_tools.ipc_server.routes import RouteTable
from loopback import LoopbackDiscord
from test_server.tools import Failed, native_client


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as many are."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


class Holder(commands.Cog):
    def __init__(self, word: str = "held") -> None:
        self.word = word

    async def method(self, request: Request, number: int) -> str:
        return f"{self.word} {number}"

    async def nameless(self, data, number: int) -> str:
        return f"{self.word} {number}"

    @staticmethod
    async def static(request: Request, number: int) -> str:
        return f"static {number}"

    @staticmethod
    async def without_the_name(data: Request, number: int) -> str:
        return f"static {number}"

    @staticmethod
    async def without_either(data, number: int) -> str:
        return f"static {number}"

    @classmethod
    async def of_class(cls, request: Request, number: int) -> str:
        return f"{cls.__name__} {number}"


class WithRoutes(commands.Cog):
    @route()
    @staticmethod
    async def below(request: Request, number: int) -> str:
        return f"below {number}"

    @staticmethod
    @route()
    async def above(request: Request, number: int) -> str:
        return f"above {number}"

    @route()
    @staticmethod
    async def without_the_name(data, number: int) -> str:
        return f"data {number}"

    @route()
    @passing
    async def wrapped(self, request: Request, number: int) -> str:
        return f"{type(self).__name__} {number}"


async def function(word: str, request: Request, number: int) -> str:
    return f"{word} {number}"


CALLABLES: dict[str, tuple[Any, str]] = {
    "a bound method": (Holder().method, "held 5"),
    "a static method": (Holder.static, "static 5"),
    "a static method of an object": (Holder().static, "static 5"),
    "a static method by its annotation": (Holder.without_the_name, "static 5"),
    "a static method by its class": (Holder.without_either, "static 5"),
    "a static method as it stands in the class": (vars(Holder)["static"], "static 5"),
    "a class method of the class": (Holder.of_class, "Holder 5"),
    "a wrapper around a bound method": (passing(Holder().method), "held 5"),
    "a wrapper whose request has another name": (passing(Holder().nameless), "held 5"),
    "two wrappers around a bound method": (passing(passing(Holder().method)), "held 5"),
    "a wrapper around a static method": (passing(Holder.static), "static 5"),
    "a partial function": (functools.partial(function, "part"), "part 5"),
    "a partial function of a partial function": (
        functools.partial(functools.partial(function, "part")),
        "part 5",
    ),
    "a partial function of a bound method": (functools.partial(Holder().method), "held 5"),
    "a partial function of a wrapper": (functools.partial(passing(function), "part"), "part 5"),
    "a wrapper around a partial function": (passing(functools.partial(function, "part")), "part 5"),
    "a partial function with a keyword": (functools.partial(Holder.static, number=7), "static 5"),
}


@pytest.mark.parametrize("name", CALLABLES)
async def test_a_callable_is_a_route_and_its_data_is_checked(bot: commands.Bot, name: str) -> None:
    callback, answer = CALLABLES[name]
    async with native_client(bot) as native:
        native.server.add_route(callback, "it")
        assert await native.call("it", {"number": "5"}) == answer
        with pytest.raises(Failed, match="bad data: number"):
            await native.call("it", {"number": "x"})


def test_a_partial_function_has_the_name_and_the_place_of_its_function() -> None:
    made = Route(functools.partial(function, "part"))
    assert made.name == "/function"
    assert made.origin == f"{__name__}.function"


async def test_static_methods_of_a_cog_are_its_routes(bot: commands.Bot) -> None:
    await bot.add_cog(WithRoutes())
    table = RouteTable(bot)
    for name, answer in {
        "/below": "below 5", "/above": "above 5", "/without_the_name": "data 5", "/wrapped": "WithRoutes 5",
    }.items():  # fmt: skip
        found = table.find(name)
        assert found is not None
        assert found.cog is bot.cogs["WithRoutes"]
        assert await found(None, number=5) == answer


def test_a_method_of_a_class_is_still_a_method() -> None:
    assert is_method(Holder.method)
    assert is_method(passing(Holder.method))
    assert not is_method(Holder().method)


def test_a_class_method_in_the_body_of_a_class_is_refused_with_advice() -> None:
    with pytest.raises(
        TypeError, match=r"Holder.of_class is a class method: make it a method or a static method"
    ):
        Route(vars(Holder)["of_class"])


# -- streams


async def generator(request: Request) -> AsyncGenerator[int, None]:
    yield 1


async def iterator(request: Request) -> AsyncIterator[int]:
    yield 1


async def iterable(request: Request) -> AsyncIterable[int]:
    yield 1


async def item(request: Request) -> int:  # pyright: ignore[reportInvalidReturnType]
    yield 1


async def nothing(request: Request):
    yield 1


async def bare(request: Request) -> AsyncIterator:  # pyright: ignore[reportMissingTypeArgument]
    yield 1


async def unknown(request: Request) -> AsyncIterator[Unknown]:  # noqa: F821 # pyright: ignore[reportUndefinedVariable]
    yield 1


class Streams:
    async def method(self, request: Request) -> AsyncIterator[int]:
        yield 1


def repeated(function: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for each in function(*args, **kwargs):
            yield each

    return wrapper


STREAMS: dict[str, tuple[Any, Any]] = {
    "AsyncGenerator": (generator, int),
    "AsyncIterator": (iterator, int),
    "AsyncIterable": (iterable, int),
    "the item": (item, int),
    "no annotation": (nothing, Any),
    "no item": (bare, Any),
    "a name that is not known": (unknown, Any),
    "a bound method": (Streams().method, int),
    "a wrapper": (repeated(iterator), int),
    "a partial function": (functools.partial(iterator), int),
    "a wrapper around a bound method": (repeated(Streams().method), int),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_is_described_by_its_items(name: str) -> None:
    callback, result = STREAMS[name]
    made = Route(callback)
    assert made.streams
    assert made.signature.result == result
    assert [each async for each in made(None)] == [1]


async def test_a_stream_takes_objects(loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot) -> None:
    async def names(request: Request, guilds: list[discord.Guild]) -> AsyncIterator[str]:
        for guild in guilds:
            yield guild.name

    ids = [guild.id for guild in loopback_discord.guilds]
    async with native_client(loopback_bot) as native:
        native.add_route(names)
        answer = native.start_call("names", {"guilds": ids}, credit=10)
        assert await answer is None
    assert Route(names).streams
