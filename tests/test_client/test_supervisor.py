"""Connecting, losing the connection, connecting again; see ``test_session`` for what a session shows of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from msgspec import Raw

from discord_tools.ipc import (
    ClientLimits,
    ConnectError,
    ConnectionLost,
    ProtocolError,
    ResolutionError,
    SessionClosed,
    Unauthorized,
)
from discord_tools.ipc.address import Address
from discord_tools.ipc.connectors.base import Connector
from discord_tools.ipc.connectors.websocket import WebSocketConnector
from discord_tools.ipc.conversation import Conversation
from discord_tools.ipc.supervisor import Supervisor
from discord_tools.ipc.transports.base import Transport
from equipment.clocks import LoopClock
from equipment.key import KEY
from equipment.ports import VacantPort, listening, silence, silence_after
from equipment.serving import QUICK
from equipment.until import settle, until
from equipment.websockets import ScriptedWebSocket, WebSocketBot, echoing

LOG = "discord_tools.ipc"


def make(
    connector: Connector,
    limits: ClientLimits,
    connect_timeout: float = 5.0,
    *,
    cls: type[Supervisor] = Supervisor,
) -> Supervisor:
    return cls(connector, limits, lambda: Conversation(limits, 30.0, {}), connect_timeout)


@asynccontextmanager
async def supervising(
    port: int | None,
    limits: ClientLimits = QUICK,
    *,
    multicast_port: int = 20000,
    key: str | None = None,
    connect_timeout: float = 5.0,
) -> AsyncIterator[Supervisor]:
    connector = WebSocketConnector(Address(host="127.0.0.1", port=port or 0), multicast_port, key, limits)
    one = make(connector, limits, connect_timeout)
    try:
        yield one
    finally:
        await one.close()
        await connector.close()


async def echoed(one: Supervisor, word: str = "hello") -> None:
    conversation = await one.connected(5.0)
    assert await conversation.call("echo", Raw(f'"{word}"'.encode()), 5.0) == Raw(f'"{word}"'.encode())


async def test_all_that_wait_share_one_connection() -> None:
    async with WebSocketBot() as bot, supervising(bot.port) as one:
        connections = await asyncio.gather(*(one.connected(5.0) for _ in range(10)), one.first_attempt())
        assert len({id(connection) for connection in connections[:10]}) == 1
        assert len(bot.requests) == 1


async def test_the_first_attempt_ends_with_the_first_failure(vacant: VacantPort) -> None:
    async with supervising(vacant.port) as one:
        async with asyncio.timeout(5):
            await one.first_attempt()
        assert one.conversation is None


async def test_without_a_bot_the_error_has_the_last_reason_and_the_time(vacant: VacantPort) -> None:
    port = vacant.port
    async with supervising(port) as one:
        with pytest.raises(ConnectError, match=r"(?i)connect.*\(tried for 0\.2 s\)") as caught:
            await one.connected(0.2)
        assert caught.value.port == port
        assert isinstance(caught.value.__cause__, ConnectError)


async def test_without_a_multicast_port_the_error_is_a_resolution_error(vacant: VacantPort) -> None:
    port = vacant.port
    async with supervising(None, multicast_port=port) as one:
        with pytest.raises(ResolutionError, match="tried for") as caught:
            await one.connected(0.2)
        assert caught.value.port == port


async def test_before_the_first_attempt_has_ended_the_error_says_so() -> None:
    async with listening(silence) as port, supervising(port) as one:
        with pytest.raises(ConnectError, match=r"no connection within 0\.05 s"):
            await one.connected(0.05)


async def test_attempts_go_on_until_the_bot_is_there(vacant: VacantPort) -> None:
    port = vacant.port
    async with supervising(port) as one:
        with pytest.raises(ConnectError):
            await one.connected(0.1)
        vacant.release()
        async with WebSocketBot(port=port):
            await echoed(one)


async def test_a_lost_connection_is_made_again() -> None:
    async with WebSocketBot() as bot, supervising(bot.port) as one:
        await echoed(one)
        for lost in range(1, 4):
            bot.disconnect_all()
            await until(lambda lost=lost: len(bot.requests) == lost + 1)
            await echoed(one)


async def test_a_bot_that_disconnects_after_the_upgrade_is_tried_again_and_a_connect_error() -> None:
    async def disconnect(far: ScriptedWebSocket) -> None:
        await far.socket.close()

    async with WebSocketBot(disconnect) as bot, supervising(bot.port) as one:
        with pytest.raises(ConnectError, match="before the server said hello"):
            await one.connected(0.2)
        await until(lambda: len(bot.requests) > 2)
        bot.script = echoing
        await echoed(one)


async def test_a_hello_that_is_not_answered_in_time_is_a_connect_error() -> None:
    limits = ClientLimits(handshake_timeout=0.05, backoff_initial=0.01, backoff_max=0.02, close_timeout=0.1)
    async with WebSocketBot(ScriptedWebSocket.ended) as bot, supervising(bot.port, limits) as one:
        with pytest.raises(ConnectError, match="before the server said hello") as caught:
            await one.connected(0.3)
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", bot.port)


async def test_a_bot_that_does_not_know_what_a_hello_is_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    async def plain(far: ScriptedWebSocket) -> None:
        error = {"code": -32601, "message": "what?"}
        await far.send({"id": (await far.read())["id"], "error": error})
        await far.ended()

    async with WebSocketBot(plain) as bot, supervising(bot.port) as one:
        with pytest.raises(ProtocolError, match="what"):
            await one.connected(5.0)
        assert len(bot.requests) == 1
        assert "the next request tries again" in caplog.text


async def test_requests_end_when_the_bot_stays_away_for_longer_than_the_connect_timeout() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome(calls=1)
        await far.expect_call("sent")
        bot.disconnect_all()

    async with WebSocketBot(script) as bot, supervising(bot.port, connect_timeout=0.1) as one:
        conversation = await one.connected(5.0)
        calls = [asyncio.create_task(conversation.call(name, Raw(b"{}"), None)) for name in ("sent", "not")]
        bot.status = 503
        async with asyncio.timeout(5):
            await asyncio.wait(calls)
        assert [type(call.exception()) for call in calls] == [ConnectionLost, ConnectError]
        assert "tried for 0.1 s" in str(calls[1].exception())


async def test_requests_do_not_end_when_the_bot_comes_back_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back, late = asyncio.Event(), asyncio.Event()

    async def first(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.expect_call("slow")
        bot.script = partial(second, frame)
        bot.disconnect_all()

    async def second(frame: dict[str, Any], far: ScriptedWebSocket) -> None:
        await far.welcome(resumed=True, received=1)
        back.set()
        await late.wait()
        await far.answer(frame, 1)
        await far.ended()

    async with WebSocketBot(first) as bot, supervising(bot.port, connect_timeout=10.0) as one:
        conversation = await one.connected(5.0)
        call = asyncio.create_task(conversation.call("slow", Raw(b"{}"), None))
        await back.wait()
        await until(lambda: conversation.usable)
        LoopClock(monkeypatch).ahead = 11.0
        await settle()
        assert not call.done()
        late.set()
        assert await call == Raw(b"1")


class Counting(Supervisor):
    """Keeps the number of failed attempts before each pause, and does not pause."""

    def _pause(self, attempt: int) -> float:
        self.failed: list[int] = [*getattr(self, "failed", ()), attempt]
        return 0.0


@pytest.mark.parametrize("words", [0, 5], ids=["at once", "later"])
async def test_pauses_grow_only_while_the_bot_disconnects_at_once(words: int) -> None:
    async def disconnect(far: ScriptedWebSocket) -> None:
        await far.welcome()
        # Fewer each time: each connection counts by itself.
        for _ in range(words - len(bot.requests) + 1):
            await far.send({"method": "rpc.later"})

    limits = ClientLimits(backoff_max=60.0)
    async with WebSocketBot(disconnect) as bot:
        connector = WebSocketConnector(Address(host="127.0.0.1", port=bot.port), 1, None, limits)
        one = make(connector, limits, cls=Counting)
        assert isinstance(one, Counting)
        one.start()
        await until(lambda: len(bot.requests) == 5)
        await one.close()
        await connector.close()
        assert one.failed[:4] == ([0, 0, 0, 0] if words else [1, 2, 3, 4])


async def test_pauses_double_up_to_a_limit_and_are_random() -> None:
    async with supervising(1, ClientLimits(backoff_initial=0.1, backoff_max=2.0)) as one:
        pauses = [[one._pause(attempt) for _ in range(300)] for attempt in range(9)]  # pyright: ignore[reportPrivateUsage]
    longest = [0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    for some, limit in zip(pauses, longest, strict=True):
        assert max(some) <= limit
        assert max(some) > limit * 0.9
        assert min(some) < limit * 0.1


async def test_pauses_are_limited_after_any_number_of_attempts() -> None:
    async with supervising(1) as one:
        assert one._pause(100_000) <= QUICK.backoff_max  # pyright: ignore[reportPrivateUsage]


async def test_a_wrong_key_ends_it_and_the_next_request_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    async with WebSocketBot(key=KEY) as bot, supervising(bot.port, key="wrong") as one:
        with pytest.raises(Unauthorized):
            await one.first_attempt()
        tried = len(bot.requests)
        assert tried == 1
        with pytest.raises(Unauthorized):
            await one.connected(5.0)
        assert len(bot.requests) == 2
        bot.key = "wrong"
        await echoed(one)
        assert (
            caplog.messages.count(f"{Unauthorized('127.0.0.1', bot.port)}; the next request tries again") == 2
        )


async def test_a_key_that_is_changed_while_there_are_no_requests_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with WebSocketBot(key=KEY) as bot, supervising(bot.port, key=KEY) as one:
        await echoed(one)
        bot.key = "a new key"
        bot.disconnect_all()
        await until(lambda: "the next request tries again" in caplog.text)
        assert one.conversation is None
        with pytest.raises(Unauthorized):
            await one.connected(5.0)


async def test_a_hello_answered_in_a_wrong_shape_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    async def wrong(far: ScriptedWebSocket) -> None:
        await far.answer(await far.read(), "welcome")
        await far.ended()

    async with WebSocketBot(wrong) as bot, supervising(bot.port) as one:
        with pytest.raises(ProtocolError):
            await one.connected(5.0)
        assert "rpc.hello cannot be understood" in caplog.text
        bot.script = echoing
        await echoed(one)


class Faulty(WebSocketConnector):
    """Fails once with an exception that no connector should raise."""

    failed = False

    async def connect(self) -> Transport:
        if not self.failed:
            self.failed = True
            raise KeyError("a fault")
        return await super().connect()


async def test_a_bug_in_this_library_is_logged_and_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    async with WebSocketBot() as bot:
        connector = Faulty(Address(host="127.0.0.1", port=bot.port), 1, None, QUICK)
        one = make(connector, QUICK)
        await echoed(one)
        assert f"The connection to the bot at 127.0.0.1:{bot.port} failed" in caplog.text
        assert "KeyError: 'a fault'" in caplog.text
        await one.close()
        await connector.close()


async def test_a_bot_that_is_down_is_one_warning_and_then_silence(
    caplog: pytest.LogCaptureFixture, vacant: VacantPort
) -> None:
    caplog.set_level(logging.INFO, LOG)
    async with supervising(vacant.port) as one:
        with pytest.raises(ConnectError):
            await one.connected(0.3)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_losing_the_bot_is_a_warning_unless_it_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    async with WebSocketBot() as bot, supervising(bot.port) as one:
        await echoed(one)
        await bot.connections[0].socket.close(code=1001)
        await until(lambda: "Lost the bot" in caplog.text)
        assert {record.levelno for record in caplog.records} == {logging.INFO}
        await until(lambda: len(bot.requests) == 2)
        await echoed(one)
        bot.disconnect_all()
        await until(lambda: caplog.text.count("Lost the bot") == 2)
        assert caplog.records[-1].levelno == logging.WARNING


async def test_while_the_bot_is_closing_open_calls_are_answered_and_new_ones_wait() -> None:
    close, closing = asyncio.Event(), asyncio.Event()

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.expect_call("slow")
        await far.send({"method": "rpc.bye", "params": {"reason": "restart"}})
        closing.set()
        await close.wait()
        await far.answer(frame, "answer")

    async with WebSocketBot(script) as bot, supervising(bot.port) as one:
        conversation = await one.connected(5.0)
        slow = asyncio.create_task(conversation.call("slow", Raw(b"{}"), 5.0))
        await closing.wait()
        await until(lambda: not conversation.usable)
        bot.script = echoing
        echo = asyncio.create_task(echoed(one))
        done, _ = await asyncio.wait((echo, slow), timeout=0.05)
        assert not done
        close.set()
        assert await slow == Raw(b'"answer"')
        await echo
        assert len(bot.requests) == 2


# -- closing


async def test_closing_ends_what_waits(vacant: VacantPort) -> None:
    async with supervising(vacant.port) as one:
        waiting = [asyncio.create_task(one.connected(5.0)) for _ in range(3)]
        await one.first_attempt()
        await one.close()
        await asyncio.wait(waiting)
        assert [type(task.exception()) for task in waiting] == [SessionClosed] * 3


async def test_closing_before_the_first_step_ends_what_waits(vacant: VacantPort) -> None:
    async with supervising(vacant.port) as one:
        waiting = asyncio.create_task(one.first_attempt())
        closing = asyncio.create_task(one.close())
        async with asyncio.timeout(5):
            await closing
            with pytest.raises(SessionClosed):
                await waiting


@pytest.mark.parametrize("where", ["connecting", "hello", "pause"])
async def test_closing_ends_an_attempt_at_any_point(where: str, vacant: VacantPort) -> None:
    limits = ClientLimits(backoff_initial=60.0, backoff_max=60.0, close_timeout=0.1)
    arrived = asyncio.Event()

    async def stall_hello(far: ScriptedWebSocket) -> None:
        await far.read()
        arrived.set()
        await far.ended()

    async with listening(silence_after(arrived)) as silent, WebSocketBot(stall_hello) as bot:
        port = {"connecting": silent, "hello": bot.port, "pause": vacant.port}[where]
        async with supervising(port, limits) as one:
            waiting = asyncio.create_task(one.connected(5.0))
            if where == "pause":
                await one.first_attempt()
            else:
                await arrived.wait()
            async with asyncio.timeout(5):
                await one.close()
                with pytest.raises(SessionClosed):
                    await waiting


async def test_closing_is_announced_to_the_bot(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    frames: list[dict[str, Any]] = []

    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frames.append(await far.read())
        await far.ended()

    async with WebSocketBot(script) as bot, supervising(bot.port) as one:
        await one.connected(5.0)
        await one.close()
        await until(lambda: frames)
        assert (frames[0]["method"], frames[0]["params"]) == ("rpc.bye", {"reason": "the session is closed"})
    assert "Lost the bot" not in caplog.text


async def test_closing_does_not_connect_again_while_it_waits_for_the_bot() -> None:
    async def not_reading(far: ScriptedWebSocket) -> None:
        await far.welcome()
        await over.wait()

    over = asyncio.Event()
    limits = ClientLimits(backoff_initial=0, close_timeout=0.2)
    async with WebSocketBot(not_reading) as bot, supervising(bot.port, limits) as one:
        await one.connected(5.0)
        await one.close()  # waits for an answer to its close frame, as long as that may take
        over.set()
        assert len(bot.requests) == 1


async def test_closing_that_is_cancelled_ends_the_attempts_all_the_same() -> None:
    async def not_reading(far: ScriptedWebSocket) -> None:
        await far.welcome()
        await over.wait()

    over = asyncio.Event()
    limits = ClientLimits(backoff_initial=0.01, backoff_max=0.01, close_timeout=1.0)
    async with WebSocketBot(not_reading) as bot, supervising(bot.port, limits) as one:
        await one.connected(5.0)
        closing = asyncio.create_task(one.close())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait((closing,))
        over.set()
        assert closing.cancelled()
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("ipc")] == []
        assert len(bot.requests) == 1


async def test_closing_what_never_started_does_nothing() -> None:
    async with supervising(1) as one:
        await one.close()
        await one.close()
