"""The nearest name to one that does not exist: that it is found, and what looking for it may cost."""

from __future__ import annotations

from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request, UnknownEndpoint
from discord_tools.ipc_server import nearest
from discord_tools.ipc_server.nearest import NAME_CHARS, WORK_AT_ONCE, Nearest
from test_server.tools import memory_server

NAMES = ["/guild_stats", "/guilds", "/ping", "/members/list", "/settings/get", "/Ägypten", "/x"]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(nearest, "monotonic", clock)
    return clock


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/guild_stat", "/guild_stats"),
        ("/gild_stat", "/guild_stats"),
        ("/guildstats", "/guild_stats"),
        ("/guild-stats", "/guild_stats"),
        ("/guild/stats", "/guild_stats"),
        ("/GuildStats", "/guild_stats"),
        ("/get_guild_stats", "/guild_stats"),
        ("/pnig", "/ping"),
        ("/PING", "/ping"),
        ("/pings", "/ping"),
        ("/guild", "/guilds"),
        ("/member_list", "/members/list"),
        ("/settings_get", "/settings/get"),
        ("/ägypten", "/Ägypten"),
        ("//ping", "/ping"),
        ("/ping/", "/ping"),
    ],
)
def test_a_typo_finds_its_name(name: str, expected: str) -> None:
    assert Nearest().find(name, NAMES) == expected


@pytest.mark.parametrize("name", ["/nothing_like_it", "/", "", "/qqq", "/\u202e\x00", "/" + "ping" * 50])
def test_something_else_finds_none(name: str) -> None:
    assert Nearest().find(name, NAMES) is None


def test_without_names_there_is_none() -> None:
    assert Nearest().find("/ping", []) is None


def test_other_names_are_taken_note_of() -> None:
    found = Nearest()
    assert found.find("/pnig", ["/other"]) is None
    assert found.find("/pnig", ["/ping"]) == "/ping"


def test_names_that_were_added_to_the_same_object_are_taken_note_of() -> None:
    found = Nearest()
    names = {"/other": 1}
    assert found.find("/pnig", names) is None
    names["/ping"] = 2
    assert found.find("/pnig", names) == "/ping"


def test_a_long_name_is_neither_searched_for_nor_found() -> None:
    long = "/" + "a" * NAME_CHARS
    assert Nearest().find(long[:-2], [long]) is None
    found = Nearest()
    assert found.find(long, [long + "a"]) is None
    assert found.find("/" + "x" * 4_000_000, NAMES) is None
    assert found._work == WORK_AT_ONCE  # pyright: ignore[reportPrivateUsage]


def test_a_flood_of_typos_is_not_searched_for(clock: Clock) -> None:
    found = Nearest()
    names = [f"/route_{number}" for number in range(100)]
    answers = [found.find("/route_10x", names) for _ in range(1000)]
    answered = sum(answer is not None for answer in answers)
    # Names are compared as often as the work allows, then no more, and after some time again.
    assert answered == WORK_AT_ONCE // 300
    assert found.find("/route_10x", names) is None
    clock.now += 0.1
    assert found.find("/route_10x", names) is not None
    clock.now += 1000
    assert sum(found.find("/route_10x", names) is not None for _ in range(1000)) == answered


async def ping(request: Request) -> str:
    return "pong"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pnig", "there is no such endpoint: did you mean '/ping'?"),
        ("quite_different", "there is no such endpoint"),
    ],
)
async def test_a_caller_is_told_the_nearest_name(bot: commands.Bot, name: str, text: str) -> None:
    async with memory_server(bot) as server, server.session() as session:
        server.add_route(ping)
        with pytest.raises(UnknownEndpoint) as caught:
            await session.request(name)
    assert caught.value.message == text


async def test_the_names_are_the_current_ones(bot: commands.Bot) -> None:
    async with memory_server(bot) as server, server.session() as session:

        async def message() -> Any:
            with pytest.raises(UnknownEndpoint) as caught:
                await session.request("pnig")
            return caught.value.message

        assert "did you mean" not in await message()
        server.add_route(ping)
        assert "did you mean '/ping'" in await message()
        server.table.remove("ping")
        assert "did you mean" not in await message()
