"""Many requests at a time, over one connection."""

from __future__ import annotations

import asyncio
import random

from discord.ext import commands

from discord_tools.ipc import ClientSession, Server
from equipment.processes import Program
from equipment.until import until
from test_end_to_end.conftest import Held


async def test_fifty_requests_of_one_process_run_at_the_same_time(discord_port: int) -> None:
    async with (
        Program("bot", loopback=discord_port) as bot,
        Program("dashboard", port=bot.ready["port"]) as dashboard,
    ):
        await dashboard.send("requests", times=50, each={"route": "hold", "data": {"name": "held"}})
        await until(lambda: bot.has_started(*["held"] * 50))
        await bot.command("release")
        done = await dashboard.answer()
        assert [answer["result"] for answer in done["answers"]] == ["held"] * 50
        await dashboard.finish()
        await bot.finish()


async def test_each_of_many_overlapping_requests_gets_its_own_answer(
    session: ClientSession, held: Held
) -> None:
    async def ask(number: int) -> int:
        return await session.request("echo", number=number, spread=0.05)

    numbers = range(5000)
    assert await asyncio.gather(*map(ask, numbers)) == list(numbers)


async def test_each_answer_goes_to_the_session_that_asked(
    server: Server[commands.Bot], session: ClientSession, held: Held
) -> None:
    # Ids are counted from 1 on every connection, so answers for one would fit the other, too.
    async with ClientSession(port=server.port, secret_key=str(server.secret_key)) as other:

        async def ask(of: ClientSession, name: str, number: int) -> bool:
            return await of.request("echo", number=f"{name}{number}", spread=0.02) == f"{name}{number}"

        asked = [ask(of, name, n) for n in range(500) for of, name in ((session, "a"), (other, "b"))]
        assert all(await asyncio.gather(*asked))


async def test_requests_cancelled_at_random_do_not_disturb_the_others(
    session: ClientSession, held: Held
) -> None:
    async def ask(number: int) -> int | None:
        if number % 3:
            return await session.request("echo", number=number, spread=0.03)
        try:
            async with asyncio.timeout(random.uniform(0, 0.03)):
                return await session.request("echo", number=number, spread=0.03)
        except TimeoutError:
            return number

    assert await asyncio.gather(*map(ask, range(2000))) == list(range(2000))


async def test_more_requests_than_the_server_takes_at_once_wait_their_turn(
    session: ClientSession, held: Held, server: Server[commands.Bot]
) -> None:
    names = [str(number) for number in range(server.limits.calls + 200)]
    asked = [asyncio.ensure_future(session.request("hold", name=name)) for name in names]
    await held.began(names[server.limits.calls - 1]).wait()
    assert len(held.started) == server.limits.calls
    held.release.set()
    assert await asyncio.gather(*asked) == names
