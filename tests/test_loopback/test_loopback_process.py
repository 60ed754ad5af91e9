"""The loopback as a process of its own."""

from __future__ import annotations

import asyncio
import datetime
import json
import signal
import sys
from pathlib import Path

import discord
import pytest
from discord.ext import commands

import loopback
from loopback.bots import running_bot
from loopback.process import LoopbackProcess


async def test_a_bot_runs_against_the_process() -> None:
    async def setup(bot: commands.Bot) -> None:
        @bot.command()
        async def ping(context: commands.Context[commands.Bot]) -> None:  # pyright: ignore[reportUnusedFunction]
            await context.send("pong")

    async with LoopbackProcess(guilds=3, members=4) as process:
        async with running_bot(process.port, setup=setup) as bot:
            assert [guild.id for guild in bot.guilds] == process.guild_ids
            guild = (await process.command("guild", guild=process.guild_ids[0]))["guild"]
            assert guild["member_count"] == 4

            joined = asyncio.ensure_future(bot.wait_for("member_join", timeout=5))
            joan = await process.command("join", guild=guild["id"], name="joan")
            member: discord.Member = await joined
            assert (str(member.id), member.name) == (joan["member"], "joan")
            assert discord.utils.utcnow() - member.created_at < datetime.timedelta(minutes=1)

            channel = guild["channels"][0]["id"]
            said = await process.command("say", channel=channel, member=joan["member"], text="!ping")
            answer = (await process.command("wait_sent"))["message"]
            assert (answer["content"], answer["channel_id"]) == ("pong", channel)
            assert int(answer["id"]) > int(said["message"])

            edited = asyncio.ensure_future(bot.wait_for("raw_message_edit", timeout=5))
            place = {"channel": channel, "member": joan["member"], "message": said["message"]}
            await process.command("edit", **place, text="!pong")
            assert (await edited).message.content == "!pong"
            deleted = asyncio.ensure_future(bot.wait_for("raw_message_delete", timeout=5))
            await process.command("delete", **place)
            assert str((await deleted).message_id) == said["message"]
            banned = asyncio.ensure_future(bot.wait_for("audit_log_entry_create", timeout=5))
            moderator, spammer = (each["user"]["id"] for each in guild["members"][:2])
            await process.command(
                "ban", guild=guild["id"], member=spammer, moderator=moderator, reason="spam"
            )
            assert (await banned).reason == "spam"

            left = asyncio.ensure_future(bot.wait_for("member_remove", timeout=5))
            await process.command("leave", guild=guild["id"], member=joan["member"])
            assert (await left).name == "joan"

            await process.command("drop_gateways")
            await process.command("wait_resumes", count=1)
            added = asyncio.ensure_future(bot.wait_for("guild_join", timeout=5))
            new = await process.command("add_guild", name="Late", members=2)
            assert (await added).name == "Late"
            removed = asyncio.ensure_future(bot.wait_for("guild_remove", timeout=5))
            await process.command("remove_guild", guild=new["guild"])
            assert (await removed).name == "Late"

            await process.command("drop_gateways", resumable=False)
            await process.command("wait_identifies", count=2)
        state = await process.command("state")
        assert [message["content"] for message in state["sent"]] == ["pong"]
        assert (state["identifies"], state["resumes"], state["unhandled"]) == (2, 1, [])
        assert await process.close() == 0


@pytest.mark.parametrize(
    ("op", "fields", "error"),
    [
        ("dance", {}, "no such op: dance"),
        ("join", {"guild": 1}, "no such guild"),
        ("join", {}, "guild"),
        ("say", {"channel": "1", "member": "1", "text": "hi"}, "no such channel"),
        ("add_guild", {"size": 3}, "size"),
    ],
)
async def test_a_command_that_cannot_be_done_gets_an_error(
    op: str, fields: dict[str, str], error: str
) -> None:
    async with LoopbackProcess(guilds=1) as process:
        with pytest.raises(ValueError, match=error):
            await process.command(op, **fields)
        assert (await process.command("state"))["ok"]


async def test_a_line_that_is_not_json_is_answered() -> None:
    process = await start()
    assert process.stdin
    assert process.stdout
    await process.stdout.readline()
    process.stdin.write(b"hello\n[]\n")
    for _ in range(2):
        assert json.loads(await process.stdout.readline())["ok"] is False
    process.stdin.close()
    assert await process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    process = await start()
    assert process.stdout
    assert json.loads(await process.stdout.readline())["port"] > 0
    process.send_signal(number)
    assert await process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_where_loops_handle_no_signals(number: signal.Signals) -> None:
    # As on Windows, whose loops have this method of their base class.
    program = (
        "import asyncio, sys; from loopback.__main__ import main; sys.argv[1:] = [];"
        "loop = asyncio.SelectorEventLoop;"
        "loop.add_signal_handler = asyncio.AbstractEventLoop.add_signal_handler; main()"
    )
    process = await start("-c", program)
    assert process.stdout
    assert json.loads(await process.stdout.readline())["port"] > 0
    process.send_signal(number)
    assert await process.wait() == 0


async def test_a_wrong_command_line_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="see its stderr"):
        async with LoopbackProcess(members=0):
            pytest.fail("it must not start")


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *(arguments or ("-m", "loopback"))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(loopback.__file__).parents[1],
    )
