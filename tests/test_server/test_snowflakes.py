"""Which values are ids, for parameters and for the guild of a request alike."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, Request
from discord_tools.ipc_server.snowflakes import snowflake
from test_server.test_parameters.calls import bind

WRONG: dict[str, Any] = {
    "a boolean": True,
    "a float": 5.0,
    "a negative number": -1,
    "a negative text": "-1",
    "a sign": "+1",
    "a space": " 1",
    "a line break": "1\n",
    "an underscore": "1_0",
    "digits of another script": "\u0661",
    "a superscript": "\u00b2",
    "a leading zero": "01",
    "two zeros": "00",
    "a number of more than 64 bits": 2**64,
    "a text of more than 64 bits": str(2**64),
    "a very long text": "9" * 5000,
    "an empty text": "",
    "a word": "x",
    "hexadecimal digits": "0x1",
    "nothing": None,
    "a list": [1],
    "an object": {"id": 1},
}


@pytest.mark.parametrize("value", [0, "0", 5, "5", 2**64 - 1, str(2**64 - 1)], ids=repr)
def test_an_id_is_a_number_or_its_digits(value: Any) -> None:
    assert snowflake(value) == int(value)


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_another_value_is_no_id(value: Any) -> None:
    assert snowflake(value) == -1


async def takes_guild(request: Request, guild: discord.Guild) -> None: ...


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
async def test_a_parameter_and_the_guild_of_a_request_refuse_it_alike(
    value: Any, loopback_bot: commands.Bot
) -> None:
    with pytest.raises(BadData, match=r"the id of a Guild|Expected"):
        bind(takes_guild, loopback_bot, guild=value)
    request = Request({"guild": value}, None, "/work", {}, asyncio.get_running_loop())
    assert request._guild_id() is None  # pyright: ignore[reportPrivateUsage] (what .guild looks up)
