"""Whether calls may start: the bounds of each caller and the end of the server, in each dialect alike."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import NotReady, Overloaded, Request, ServerLimits
from discord_tools.ipc.wire.dialects import BETTER, FAMILY, JSONRPC
from discord_tools.ipc_server.admission import Account, Admission
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.caller import NATIVE
from discord_tools.ipc_server.dialects.service import HTTP
from equipment.until import until
from test_server.callers import CALLERS, MakeCaller, Outcome, elsewhere, in_each_dialect
from test_server.tools import CALLER, Failed, MemoryServer, caller, jsonrpc, memory_server

#: Data of a call that counts in bytes in each dialect.
LARGE = "x" * 60_000


def account(calls: int = 0, size: int = 0) -> Account:
    one = Account()
    one.calls, one.size = calls, size
    return one


def admission(limits: ServerLimits = ServerLimits(), held: int = 0) -> Admission:  # noqa: B008
    """What admits calls while ``held`` bytes are held for clients."""
    return Admission(limits, MemoryBudget(limits.total_bytes, tuple, lambda: held))


# -- the decision


def test_a_call_below_all_bounds_is_admitted() -> None:
    admits = admission(ServerLimits(calls=2, call_bytes=100))
    assert admits.refusal(account(), 0) is None
    assert admits.refusal(account(calls=1, size=99), 2**22) is None


def test_a_caller_with_the_maximum_number_of_calls_is_overloaded() -> None:
    refusal = admission(ServerLimits(calls=2)).refusal(account(calls=2), 0)
    assert isinstance(refusal, Overloaded)
    assert refusal.message == "2 of your calls are in progress"


def test_a_caller_with_the_maximum_size_of_data_is_overloaded() -> None:
    refusal = admission(ServerLimits(call_bytes=100)).refusal(account(calls=1, size=100), 0)
    assert isinstance(refusal, Overloaded)
    assert refusal.message == "your calls in progress have 100 bytes of data"


@pytest.mark.parametrize("busy", [account(), account(calls=5000, size=2**40)])
def test_while_draining_each_call_is_refused_with_the_note_that_it_did_not_run(busy: Account) -> None:
    draining = admission()
    draining.draining = True
    refusal = draining.refusal(busy, 0)
    assert isinstance(refusal, NotReady)
    assert refusal.data == {"ran": False}


# -- in each dialect


class Held:
    """A route whose handlers go on after their answer, until they are released."""

    def __init__(self, server: MemoryServer) -> None:
        self.running = 0
        self.started = 0
        self.release = asyncio.Event()
        server.add_route(self.hold)

    async def hold(self, request: Request, data: str = "") -> None:
        self.running += 1
        self.started += 1
        await request.respond("early")
        await self.release.wait()
        self.running -= 1

    async def finish(self) -> None:
        """Lets all handlers end, and waits until they have."""
        self.release.set()
        await until(lambda: not self.running)
        await asyncio.sleep(0)  # callbacks of a task that has ended run in the next turn
        self.release.clear()


@in_each_dialect
async def test_a_call_beyond_the_maximum_number_is_refused_and_does_not_run(
    bot: commands.Bot, make: MakeCaller
) -> None:
    async with memory_server(bot, ServerLimits(calls=2)) as server:
        held, client = Held(server), make(server, CALLER)
        assert [await client.call("hold") for _ in range(2)] == [Outcome("early")] * 2
        assert await client.call("hold") == Outcome(error="2 of your calls are in progress")
        assert held.started == 2
        await held.finish()
        assert await client.call("hold") == Outcome("early")
        await held.finish()


@in_each_dialect
async def test_a_call_beyond_the_maximum_size_is_refused_and_does_not_run(
    bot: commands.Bot, make: MakeCaller
) -> None:
    async with memory_server(bot, ServerLimits(call_bytes=100_000)) as server:
        held, client = Held(server), make(server, CALLER)
        # What is in progress counts, and not what is to be added: a single large call is never refused.
        assert [await client.call("hold", data=LARGE) for _ in range(2)] == [Outcome("early")] * 2
        refused = await client.call("hold", data="small")
        assert refused.error is not None
        assert refused.error.startswith("your calls in progress have 12")
        assert held.started == 2
        await held.finish()
        assert await client.call("hold", data=LARGE) == Outcome("early")
        await held.finish()


HEADERS = {"trace": LARGE}


async def test_headers_count_among_the_data_of_native_calls(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(call_bytes=100_000)) as server:
        held, native = Held(server), server.connect()
        await native.hello()
        for _ in range(2):
            assert await native.call("hold", headers=HEADERS) == "early"
        with pytest.raises(Failed, match="your calls in progress have 120"):
            await native.call("hold")
        assert held.started == 2
        await held.finish()
        assert native.conversation.held_bytes < 1000


async def test_headers_count_among_the_data_of_calls_of_dialects(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(call_bytes=100_000)) as server:
        held, client = Held(server), server.open_socket(CALLER)
        for number in range(2):
            await client.send(jsonrpc("hold", {}, number, headers=HEADERS))
            assert (await client.receive())["result"] == "early"
        await client.send(jsonrpc("hold", {}, 2))
        assert (await client.receive())["error"]["message"].startswith("your calls in progress have 12")
        assert server.service.calls.held_bytes > 120_000
        await held.finish()
        assert server.service.calls.held_bytes == 0


@in_each_dialect
async def test_while_draining_calls_are_refused_and_those_in_progress_go_on(
    bot: commands.Bot, make: MakeCaller
) -> None:
    async with memory_server(bot) as server:
        held, client = Held(server), make(server, CALLER)
        assert await client.call("hold") == Outcome("early")
        server.admission.draining = True
        refused = await client.call("hold")
        assert refused.error == "the bot is shutting down"
        # Older libraries know no data of errors.
        assert refused.data == (None if make in (CALLERS[FAMILY], CALLERS[BETTER]) else {"ran": False})
        assert (held.started, held.running) == (1, 1)
        server.admission.draining = False
        assert await client.call("hold") == Outcome("early")
        await held.finish()


# -- accounts


async def is_admitted(server: MemoryServer, dialect: str, address: str = CALLER.address) -> bool:
    """Whether another client may call while the bound of the first one is reached."""
    return (await CALLERS[dialect](server, elsewhere(address)).call("hold")).error is None


@pytest.mark.parametrize("dialect", [HTTP, FAMILY, BETTER])
async def test_clients_of_one_request_each_share_an_account_per_dialect_and_address(
    bot: commands.Bot, dialect: str
) -> None:
    async with memory_server(bot, ServerLimits(calls=1)) as server:
        held = Held(server)
        assert await is_admitted(server, dialect)
        assert not await is_admitted(server, dialect)
        assert await is_admitted(server, dialect, "192.0.2.2")
        for other in CALLERS:
            assert await is_admitted(server, other) is (other != dialect)
        await held.finish()
        assert await is_admitted(server, dialect)
        await held.finish()


async def test_posts_with_different_keys_have_different_accounts(bot: commands.Bot) -> None:
    async with memory_server(bot, ServerLimits(calls=1)) as server:
        held = Held(server)
        for key in ("one", "two"):
            assert await _post(server, key=key) == Outcome("early")
            assert await _post(server, key=key) == Outcome(error="1 of your calls are in progress")
        await held.finish()


async def _post(server: MemoryServer, **changes: Any) -> Outcome:
    return await CALLERS[HTTP](server, caller(**changes)).call("hold")


@pytest.mark.parametrize("dialect", [NATIVE, JSONRPC])
async def test_each_conversation_and_each_json_rpc_socket_has_an_account(
    bot: commands.Bot, dialect: str
) -> None:
    async with memory_server(bot, ServerLimits(calls=1)) as server:
        held = Held(server)
        one, two = (CALLERS[dialect](server, CALLER) for _ in range(2))
        for client in (one, two):
            assert await client.call("hold") == Outcome("early")
            assert await client.call("hold") == Outcome(error="1 of your calls are in progress")
        await held.finish()


@in_each_dialect
async def test_a_refused_call_does_not_count(bot: commands.Bot, make: MakeCaller) -> None:
    async with memory_server(bot, ServerLimits(calls=1)) as server:
        held, client = Held(server), make(server, CALLER)
        await client.call("hold")
        for _ in range(3):
            assert (await client.call("hold")).error is not None
        await held.finish()
        assert await client.call("hold") == Outcome("early")
        await held.finish()


@pytest.mark.parametrize("dialect", [HTTP, FAMILY, BETTER])
async def test_accounts_of_callers_without_calls_are_dropped(bot: commands.Bot, dialect: str) -> None:
    async with memory_server(bot) as server:
        held = Held(server)
        for n in range(20):
            assert await is_admitted(server, dialect, f"192.0.2.{n}")
        assert number_of_accounts() == 20
        await held.finish()
        assert number_of_accounts() == 0


def number_of_accounts() -> int:
    gc.collect()
    return sum(type(one) is Account for one in gc.get_objects())
