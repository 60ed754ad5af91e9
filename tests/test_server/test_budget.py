"""The memory for all clients together: when it is counted, and which clients are dropped where it is too much."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from discord.ext import commands

from discord_tools.ipc import Overloaded, Request, ServerLimits
from discord_tools.ipc.transports.base import Closed
from discord_tools.ipc_server import budget as budgets
from discord_tools.ipc_server.admission import SMALL_BYTES, Account, Admission
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.caller import Caller
from equipment.until import until
from test_server.tools import Failed, NativeClient, caller, memory_server, records_with

LIMIT = 1000


class Client:
    """Somebody that memory is held for."""

    def __init__(self, held: int, *, away: bool = False, calls: bool = False, blocked: bool = False) -> None:
        self.held_bytes = held
        self.is_away = away
        self.has_calls = calls
        self.is_blocked = blocked
        #: What was dropped, in order.
        self.dropped: list[Client] = []

    def evict(self, reason: str) -> None:
        self.dropped.append(self)
        self.held_bytes = 0


class Budget(MemoryBudget):
    """A budget of :data:`LIMIT` bytes, and how often all was counted."""

    def __init__(self, *clients: Client, others: int = 0) -> None:
        self.clients = clients
        self.dropped: list[Client] = []
        for client in clients:
            client.dropped = self.dropped
        self.others = others
        self.counted = 0
        super().__init__(LIMIT, self._each, lambda: self.others)

    def _each(self) -> Iterator[Client]:
        self.counted += 1
        yield from self.clients

    def evicted(self) -> list[int]:
        """The places of the clients that were dropped, in order."""
        return [self.clients.index(client) for client in self.dropped]


def test_all_is_counted_once_a_share_of_the_limit_was_added() -> None:
    budget = Budget()
    step = int(LIMIT * budgets.STEP)
    for _ in range(3):
        before = budget.counted
        for _ in range(step):
            budget.add(1)
        assert budget.counted == before
        budget.add(1)
        assert budget.counted == before + 1


def test_nobody_is_dropped_below_the_limit() -> None:
    budget = Budget(Client(400, away=True), Client(300, blocked=True), others=300)
    budget.check()
    assert budget.evicted() == []
    assert not budget.is_spent


def test_clients_that_are_away_without_calls_are_dropped_first_and_of_them_those_away_for_longest() -> None:
    budget = Budget(
        Client(200, away=True, calls=True),
        Client(200, away=True),
        Client(200, away=True),
        Client(700, blocked=True),
    )
    budget.check()
    assert budget.evicted() == [1, 2, 0]


def test_clients_that_do_not_read_are_dropped_after_those_that_are_away_and_the_largest_first() -> None:
    budget = Budget(
        Client(50, away=True, calls=True),
        Client(300, blocked=True, calls=True),
        Client(500, blocked=True),
        Client(400),
    )
    budget.check()
    assert budget.evicted() == [0, 2]
    assert not budget.is_spent


def test_memory_is_freed_until_a_quarter_of_the_limit_is_free() -> None:
    clients = [Client(100, away=True) for _ in range(11)]
    budget = Budget(*clients)
    budget.check()
    assert budget.evicted() == [0, 1, 2, 3]  # 700 bytes are left
    assert budgets.RELIEF == 0.75


def test_clients_that_hold_nothing_are_not_dropped() -> None:
    budget = Budget(Client(0, away=True), Client(0, blocked=True), Client(1001, blocked=True))
    budget.check()
    assert budget.evicted() == [2]


def test_the_log_tells_how_many_clients_were_dropped(caplog: pytest.LogCaptureFixture) -> None:
    Budget(Client(600, away=True), Client(600, away=True, calls=True)).check()
    (record,) = records_with(caplog, "were dropped")
    assert "More than 1000 bytes" in record.getMessage()
    assert "2 that were away" not in record.getMessage()
    assert ": 1 that were away" in record.getMessage()


async def test_clients_that_read_are_not_dropped_and_the_budget_is_spent_until_they_hold_less() -> None:
    client = Client(LIMIT + 1, calls=True)
    budget = Budget(client)
    budget.check()
    assert budget.is_spent
    assert budget.evicted() == []
    client.held_bytes = LIMIT
    budget.check()
    assert not budget.is_spent


async def test_a_spent_budget_is_counted_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RECOUNT", 0.0)
    client = Client(LIMIT + 1)
    budget = Budget(client)
    budget.check()
    await until(lambda: budget.counted > 2)
    assert budget.is_spent
    client.held_bytes = 0
    await until(lambda: not budget.is_spent)
    counted = budget.counted
    for _ in range(10):
        await asyncio.sleep(0)
    assert budget.counted == counted


async def test_a_budget_that_was_closed_is_neither_spent_nor_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RECOUNT", 0.0)
    budget = Budget(Client(LIMIT + 1))
    budget.check()
    budget.close()
    assert not budget.is_spent
    for _ in range(10):
        await asyncio.sleep(0)
    assert budget.counted == 1


async def test_while_the_budget_is_spent_only_calls_in_large_messages_are_refused() -> None:
    budget = Budget(others=LIMIT + 1)
    budget.check()
    admission = Admission(ServerLimits(), budget)
    assert admission.refusal(Account(), SMALL_BYTES) is None
    refusal = admission.refusal(Account(), SMALL_BYTES + 1)
    assert isinstance(refusal, Overloaded)
    assert "too much data" in refusal.message
    budget.others = 0
    budget.check()
    assert admission.refusal(Account(), SMALL_BYTES + 1) is None


# -- with conversations

#: What a client asks for that reads nothing.
SIZE = 100_000

LIMITS = ServerLimits(total_bytes=8 * SIZE)


def another(number: int) -> Caller:
    return caller(connection=f"conn-{number}", address=f"192.0.2.{number}")


async def large(request: Request, size: int) -> str:
    return "x" * size


async def ask_without_reading(native: NativeClient, count: int) -> None:
    for n in range(count):
        await native.send({"jsonrpc": "2.0", "id": n, "method": "large", "params": {"size": SIZE}})


async def test_a_client_that_reads_nothing_is_dropped_with_a_reason_and_its_neighbour_notices_nothing(
    bot: commands.Bot,
) -> None:
    async with memory_server(bot, LIMITS) as server:
        server.add_route(large)
        neighbour = server.connect(another(2))
        await neighbour.hello()
        native = server.connect(another(1), capacity=1)
        token = (await native.shake_hands())["session"]
        conversation = native.conversation
        with suppress(Closed):  # it may be dropped before the last of them
            await ask_without_reading(native, 9)
        await until(lambda: conversation.over)
        assert conversation.held_bytes == 0
        closed = await native.ended()
        assert closed.code == 1008
        assert "the bot holds too much for its clients" in closed.reason
        assert await neighbour.call("large", {"size": SIZE}) == "x" * SIZE
        assert neighbour.events == []
        again = server.connect(another(1))
        assert (await again.shake_hands(session=token))["resumed"] is False


async def test_a_client_that_is_away_is_dropped_before_one_that_reads_nothing(bot: commands.Bot) -> None:
    async with memory_server(bot, LIMITS) as server:
        server.add_route(large)
        away = server.connect(another(1), capacity=1)
        token = (await away.shake_hands())["session"]
        gone = away.conversation
        await ask_without_reading(away, 4)
        await until(lambda: gone.held_bytes > 3 * SIZE)
        await away.transport.close(1006)
        await away.serving
        blocked = server.connect(another(2), capacity=1)
        await blocked.shake_hands()
        reading = blocked.conversation
        await ask_without_reading(blocked, 5)
        await until(lambda: gone.over)
        assert gone.held_bytes == 0
        assert not reading.over
        again = server.connect(another(1))
        assert (await again.shake_hands(session=token))["resumed"] is False


async def test_while_calls_in_progress_hold_too_much_only_large_calls_are_refused(bot: commands.Bot) -> None:
    release = asyncio.Event()

    async def hold(request: Request, data: str) -> int:
        await release.wait()
        return len(data)

    async with memory_server(bot, LIMITS) as server:
        server.add_route(hold)
        native = server.connect()
        await native.hello()
        answers = [native.start_call("hold", {"data": "x" * SIZE}) for _ in range(8)]
        await until(lambda: server.budget.is_spent)
        with pytest.raises(Failed) as caught:
            await native.call("hold", {"data": "x" * 20_000})
        assert caught.value.code == Overloaded.code
        small = native.start_call("hold", {"data": "x"})
        release.set()
        assert await small == 1
        assert await asyncio.gather(*answers) == [SIZE] * 8
        server.budget.check()
        assert await native.call("hold", {"data": "x" * 20_000}) == 20_000


async def test_data_that_is_a_small_part_of_its_message_does_not_hold_the_message(bot: commands.Bot) -> None:
    release = asyncio.Event()
    running = 0

    async def hold(request: Request, data: str) -> int:
        nonlocal running
        running += 1
        await release.wait()
        return len(data) + len(request)

    async with memory_server(bot) as server:
        server.add_route(hold)
        native = server.connect()
        await native.hello()
        calls = [
            {"jsonrpc": "2.0", "id": f"call-{n}", "method": "hold", "params": {"data": "x" * 10_000}}
            for n in range(10)
        ]
        message = json.dumps(calls).encode()
        before = sys.getrefcount(message)
        await native.send(message)
        await until(lambda: running == len(calls))
        # Another message takes its place where the last one is kept.
        assert await native.is_served()
        assert sys.getrefcount(message) == before
        assert native.conversation.held_bytes < 2 * len(message)
        release.set()


class Unfinished:
    """A message that is not complete."""

    def __init__(self, size: int, since: float) -> None:
        self.unfinished_bytes = size
        self.receiving_since = since
        self.reason: str | None = None

    def evict(self, reason: str) -> None:
        self.reason = reason
        self.unfinished_bytes = 0


def without_key(monkeypatch: pytest.MonkeyPatch, *messages: tuple[str, Unfinished]) -> MemoryBudget:
    """A budget with connections without a key at some addresses, for which at most 1,000 bytes are held."""
    monkeypatch.setattr(budgets, "WITHOUT_KEY", 1000)
    monkeypatch.setattr(budgets, "REPORT_WITHOUT_KEY", 100)
    budget = MemoryBudget(1 << 30, list, lambda: 0)
    for address, message in messages:
        budget.without_key(message, address)
    return budget


def test_the_longest_message_of_the_address_that_has_sent_most_without_a_key_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other, newer, longest = Unfinished(450, 1.0), Unfinished(300, 3.0), Unfinished(240, 2.0)
    budget = without_key(monkeypatch, ("b", other), ("a", newer), ("a", longest))
    budget.receives(longest, 240)
    assert longest.reason is None
    newer.unfinished_bytes = 320
    budget.receives(newer, 20)
    assert longest.reason == "too many bytes of messages without a key"
    assert other.reason is newer.reason is None
    (record,) = records_with(caplog, "An unfinished message was dropped")
    assert record.getMessage().startswith("[a] ")


def test_small_messages_without_a_key_are_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = Unfinished(100, 0.0), Unfinished(950, 1.0)
    budget = without_key(monkeypatch, ("a", small), ("a", large))
    budget.receives(large, 950)
    assert small.reason is large.reason is None
    large.unfinished_bytes = 1001
    budget.receives(large, 51)
    assert small.reason is None
    assert large.reason is not None


def test_messages_of_connections_that_have_shown_a_key_do_not_count_as_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_key, without = Unfinished(900, 0.0), Unfinished(900, 1.0)
    budget = without_key(monkeypatch, ("a", with_key), ("a", without))
    budget.with_key(with_key)
    budget.receives(with_key, 900)
    budget.receives(without, 900)
    assert with_key.reason is without.reason is None
