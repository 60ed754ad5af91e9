"""What the dialects share: their names, and the advice to clients of older libraries."""

from __future__ import annotations

import logging

import pytest
from discord.ext import commands

from discord_tools.ipc_server.dialects.service import DIALECTS, checked_dialects
from test_server.tools import better, family, memory_server, records_with


def test_all_dialects_are_known_by_their_names() -> None:
    assert DIALECTS == ("jsonrpc", "http", "discord-ext-ipc", "better-ipc")
    assert checked_dialects(DIALECTS) == frozenset(DIALECTS)
    assert checked_dialects(()) == frozenset()


def test_an_unknown_dialect_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown dialect 'soap'; there are jsonrpc, http"):
        checked_dialects(("jsonrpc", "soap"))


def test_one_string_is_no_collection_of_dialects() -> None:
    with pytest.raises(TypeError, match="not one string"):
        checked_dialects("jsonrpc")


async def test_each_kind_of_older_client_is_mentioned_once_with_advice(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_server(bot) as server:
        for _ in range(3):
            for message in (family("x"), family("/x"), better("x")):
                await server.open_socket().ask(message)
    records = records_with(caplog, "is connected. It works, one request at a time. To migrate")
    assert [record.levelno for record in records] == [logging.WARNING] * 3
    for record, name in zip(records, ("discord-ext-ipc", "discord.py-tools", "better-ipc"), strict=True):
        assert record.getMessage().startswith(f"A client of {name}")


async def test_a_client_with_a_wrong_key_is_not_mentioned(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_server(bot) as server:
        await server.open_socket().ask(family("x", key="wrong"))
    assert "To migrate" not in caplog.text
