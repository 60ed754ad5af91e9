"""Exceptions of discord.py that routes let through: what callers get, and what the log says."""

from __future__ import annotations

import logging
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands
from discord.ext.commands import BucketType, Cooldown

from discord_tools.ipc import (
    BadData,
    CheckFailed,
    DiscordError,
    MaxConcurrencyReached,
    OnCooldown,
    RemoteError,
    Request,
    check,
    route,
)
from discord_tools.ipc_server.failures import TEXT_CHARS, typed
from equipment.until import until
from test_server.callers import MakeCaller, in_each_dialect
from test_server.tools import (
    CALLER,
    FORGED,
    RecordedEvents,
    assert_bounded_lines,
    memory_server,
    records_with,
)


class Response:
    """What discord.py keeps of an answer of Discord."""

    def __init__(self, status: Any, reason: str = "reason") -> None:
        self.status = status
        self.reason = reason


def http(status: Any, message: Any, cls: type[discord.HTTPException] = discord.HTTPException) -> Any:
    return cls(Response(status), message)  # pyright: ignore[reportArgumentType]


def forbidden() -> discord.Forbidden:
    return http(403, {"code": 50013, "message": "Missing Permissions"}, discord.Forbidden)


async def raise_in_a_route(bot: commands.Bot, error: Exception) -> RemoteError:
    """What the caller of a route gets that raises this."""

    async def work(request: Request) -> None:
        raise error

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(RemoteError) as caught:
            await session.request("work")
    return caught.value


@pytest.mark.parametrize(
    ("error", "status", "code", "text"),
    [
        (forbidden(), 403, 50013, "Missing Permissions"),
        (
            http(404, {"code": 10003, "message": "Unknown Channel"}, discord.NotFound),
            404,
            10003,
            "Unknown Channel",
        ),
        (http(500, "", discord.DiscordServerError), 500, 0, ""),
        (http(400, None), 400, 0, ""),
        (http(400, "<html>"), 400, 0, "<html>"),
        (
            http(
                400,
                {
                    "code": 50035,
                    "message": "Invalid Form Body",
                    "errors": {"name": {"_errors": [{"code": "X", "message": "Too long"}]}},
                },
            ),
            400,
            50035,
            "Invalid Form Body\nIn name: Too long",
        ),
    ],
    ids=["forbidden", "not found", "server", "nothing", "text", "form"],
)
async def test_an_error_of_discord_arrives_with_its_status_code_and_text(
    bot: commands.Bot, error: discord.HTTPException, status: int, code: int, text: str
) -> None:
    caught = await raise_in_a_route(bot, error)
    assert type(caught) is DiscordError
    assert (caught.status, caught.discord_code, caught.text) == (status, code, text)
    assert caught.retry_after is None
    assert text in caught.message
    assert str(status) in caught.message


async def test_a_real_refusal_of_discord_arrives(loopback_bot: commands.Bot) -> None:
    async def work(request: Request) -> None:
        await loopback_bot.get_partial_messageable(5).send("text")

    async with memory_server(loopback_bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(DiscordError) as caught:
            await session.request("work")
    assert (caught.value.status, caught.value.discord_code) == (404, 10003)
    assert caught.value.text == "Unknown Channel"


async def test_a_long_text_is_shortened(bot: commands.Bot) -> None:
    caught = await raise_in_a_route(bot, http(400, {"code": 1, "message": "x" * 1_000_000}))
    assert isinstance(caught, DiscordError)
    assert len(caught.text) == TEXT_CHARS
    assert caught.text.endswith("x...")
    assert len(caught.message) < TEXT_CHARS + 100


async def test_an_answer_with_other_types_than_discords_does_no_harm(bot: commands.Bot) -> None:
    caught = await raise_in_a_route(bot, http("403", {"code": "50013", "message": "text"}))
    assert isinstance(caught, DiscordError)
    assert (caught.status, caught.discord_code, caught.text) == (0, 0, "text")


async def test_a_rate_limit_that_discord_py_does_not_wait_for_says_when_to_try_again(
    bot: commands.Bot,
) -> None:
    caught = await raise_in_a_route(bot, discord.RateLimited(12.5))
    assert isinstance(caught, DiscordError)
    assert (caught.status, caught.retry_after) == (429, 12.5)


async def test_an_error_of_discord_is_one_line_without_a_traceback(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = RecordedEvents(bot)
    error = forbidden()
    await raise_in_a_route(bot, error)
    await until(lambda: "ipc_error" in recorded.names)
    (record,) = records_with(caplog, "Route '/work': ")
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "status 403 (error code 50013): Missing Permissions" in record.getMessage()
    assert "Traceback" not in caplog.text
    assert [args[1] for name, args in recorded if name == "ipc_error"] == [error]


async def test_a_text_of_discord_cannot_forge_lines_and_a_flood_is_counted(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(request: Request) -> None:
        raise http(400, {"code": 1, "message": FORGED})

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        for _ in range(20):
            with pytest.raises(DiscordError):
                await session.request("work")
    assert len(records_with(caplog, "Route '/work': ")) == 1
    assert_bounded_lines(caplog)


async def test_the_lines_of_two_routes_are_counted_apart(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async def one(request: Request) -> None:
        raise forbidden()

    async def two(request: Request) -> None:
        raise forbidden()

    async with memory_server(bot) as server, server.session() as session:
        for each in (one, two):
            server.add_route(each)
            with pytest.raises(DiscordError):
                await session.request(each.__name__)
    assert len(records_with(caplog, "Missing Permissions")) == 2


def over(cls: Any) -> Any:
    cooldown = Cooldown(1, 60)
    return cls(cooldown, 12.5, BucketType.user) if cls is commands.CommandOnCooldown else cls(cooldown, 12.5)


def bad(error: Any, original: Exception) -> Any:
    """A command's error around another one."""
    made = error.__new__(error)
    Exception.__init__(made, "text")
    made.original = original
    return made


@pytest.mark.parametrize(
    ("error", "expected", "fields"),
    [
        (commands.CheckFailure("not for you"), CheckFailed, {"message": "not for you"}),
        (commands.CheckFailure(), CheckFailed, {"message": "a check of this route refused the call"}),
        (commands.NotOwner("You do not own this bot."), CheckFailed, {}),
        (
            commands.MissingPermissions(["ban_members"]),
            CheckFailed,
            {"message": "You are missing Ban Members permission(s) to run this command."},
        ),
        (app_commands.CheckFailure("not for you"), CheckFailed, {"message": "not for you"}),
        (app_commands.MissingRole(5), CheckFailed, {}),
        (over(commands.CommandOnCooldown), OnCooldown, {"retry_after": 12.5, "rate": 1, "per": 60}),
        (over(app_commands.CommandOnCooldown), OnCooldown, {"retry_after": 12.5, "rate": 1, "per": 60}),
        (commands.MaxConcurrencyReached(3, BucketType.user), MaxConcurrencyReached, {"number": 3}),
        (
            commands.MemberNotFound("ada"),
            BadData,
            {"errors": [{"path": "", "message": 'Member "ada" not found.'}]},
        ),
        (commands.BadArgument(), BadData, {}),
        (bad(commands.CommandInvokeError, forbidden()), DiscordError, {"status": 403}),
        (bad(app_commands.CommandInvokeError, forbidden()), DiscordError, {"status": 403}),
        (
            bad(commands.HybridCommandError, bad(app_commands.CommandInvokeError, forbidden())),
            DiscordError,
            {"status": 403},
        ),
    ],
    ids=range(14),
)
async def test_errors_of_commands_arrive_as_what_they_mean(
    bot: commands.Bot,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    expected: type[RemoteError],
    fields: dict[str, Any],
) -> None:
    recorded = RecordedEvents(bot)
    caught = await raise_in_a_route(bot, error)
    await until(lambda: "ipc_error" in recorded.names)
    assert type(caught) is expected
    assert {name: getattr(caught, name) for name in fields} == fields
    assert [args[1] for name, args in recorded if name == "ipc_error"] == [error]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_predicate_of_discord_py_that_refuses_is_a_check_that_failed(bot: commands.Bot) -> None:
    def no(request: Request) -> bool:
        raise commands.NotOwner("You do not own this bot.")

    @route()
    @check(no)
    async def work(request: Request) -> None: ...

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        with pytest.raises(CheckFailed, match="You do not own this bot"):
            await session.request("work")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        discord.DiscordException("x"),
        discord.InvalidData("x"),
        commands.CommandError("x"),
        commands.CommandNotFound("x"),
        bad(commands.CommandInvokeError, ValueError("x")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_failures_of_the_route(error: Exception) -> None:
    assert typed(error) is None


def test_errors_that_contain_each_other_end() -> None:
    one, two = (bad(commands.CommandInvokeError, ValueError()) for _ in range(2))
    one.original, two.original = two, one
    assert typed(one) is None


@in_each_dialect
async def test_an_error_of_discord_is_answered_in_each_dialect(bot: commands.Bot, make: MakeCaller) -> None:
    async def work(request: Request) -> None:
        raise forbidden()

    async with memory_server(bot) as server:
        server.add_route(work)
        outcome = await make(server, CALLER).call("work")
    # Clients of discord-ext-ipc are told the class of the exception, as ever.
    assert outcome.error == "IPC route raised error of type Forbidden" or "Missing" in str(outcome.error)


async def test_a_handler_gets_the_error_of_discord_itself(bot: commands.Bot) -> None:
    @route()
    async def work(request: Request) -> None:
        raise forbidden()

    @work.error
    async def failed(request: Request, error: Exception) -> Any:
        assert isinstance(error, discord.Forbidden)
        return error.code

    async with memory_server(bot) as server, server.session() as session:
        server.add_route(work)
        assert await session.request("work") == 50013
