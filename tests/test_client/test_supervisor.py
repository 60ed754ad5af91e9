"""Connecting, losing, connecting again: the session's own view of it is in ``test_session``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
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
from discord_tools.ipc.connectors.websocket import WebSocketConnector
from discord_tools.ipc.conversation import Conversation
from discord_tools.ipc.supervisor import Supervisor
from test_client.scripts import KEY, QUICK, Bot, Talk, Vacant, echoing, listening, silence, until

LOG = "discord_tools.ipc.supervisor"


def talking(limits: ClientLimits, patience: float = 5.0) -> tuple[Callable[[], Conversation], float]:
    """What is said over the connections, and how long it waits for the next one."""
    return lambda: Conversation(limits, 30.0, {}), patience


@asynccontextmanager
async def supervising(
    port: int | None, limits: ClientLimits = QUICK, **more: Any
) -> AsyncIterator[Supervisor]:
    dialer = WebSocketConnector("127.0.0.1", port, more.get("multicast_port", 20000), more.get("key"), limits)
    async with aiohttp.ClientSession() as http:
        one = Supervisor(dialer, lambda: http, limits, *talking(limits, more.get("patience", 5.0)))
        try:
            yield one
        finally:
            await one.close()


async def echoed(one: Supervisor, word: str = "hello") -> None:
    conversation = await one.connected(5.0)
    assert await conversation.call("echo", Raw(f'"{word}"'.encode()), 5.0) == Raw(f'"{word}"'.encode())


async def test_a_connection_is_made_once_for_all_who_wait() -> None:
    async with Bot() as bot, supervising(bot.port) as one:
        connections = await asyncio.gather(*(one.connected(5.0) for _ in range(10)), one.first_attempt())
        assert len({id(connection) for connection in connections[:10]}) == 1
        assert len(bot.requests) == 1


async def test_the_first_attempt_ends_with_the_first_failure(vacant: Vacant) -> None:
    async with supervising(vacant.port) as one:
        async with asyncio.timeout(5):
            await one.first_attempt()
        assert one.conversation is None


async def test_without_a_bot_the_last_reason_and_the_time_are_told(vacant: Vacant) -> None:
    port = vacant.port
    async with supervising(port) as one:
        with pytest.raises(ConnectError, match=r"(?i)connect.*\(tried for 0\.2 s\)") as caught:
            await one.connected(0.2)
        assert caught.value.port == port
        assert isinstance(caught.value.__cause__, ConnectError)


async def test_without_a_multicast_port_the_error_is_a_resolution_error(vacant: Vacant) -> None:
    port = vacant.port
    async with supervising(None, multicast_port=port) as one:
        with pytest.raises(ResolutionError, match="tried for") as caught:
            await one.connected(0.2)
        assert caught.value.port == port


async def test_before_the_first_attempt_has_ended_the_error_says_so() -> None:
    async with listening(silence) as port, supervising(port) as one:
        with pytest.raises(ConnectError, match=r"no connection within 0\.05 s"):
            await one.connected(0.05)


async def test_attempts_go_on_until_the_bot_is_there(vacant: Vacant) -> None:
    port = vacant.port
    async with supervising(port) as one:
        with pytest.raises(ConnectError):
            await one.connected(0.1)
        vacant.leave()
        async with Bot(port=port):
            await echoed(one)


async def test_a_lost_connection_is_made_again() -> None:
    async with Bot() as bot, supervising(bot.port) as one:
        await echoed(one)
        for lost in range(1, 4):
            bot.break_off()
            await until(lambda lost=lost: len(bot.requests) == lost + 1)
            await echoed(one)


async def test_a_bot_that_hangs_up_after_the_upgrade_is_tried_again_and_a_connect_error() -> None:
    async def hang_up(talk: Talk) -> None:
        await talk.ws.close()

    async with Bot(hang_up) as bot, supervising(bot.port) as one:
        with pytest.raises(ConnectError, match="before the server said hello"):
            await one.connected(0.2)
        await until(lambda: len(bot.requests) > 2)
        bot.script = echoing
        await echoed(one)


async def test_a_hello_that_is_not_answered_in_time_is_a_connect_error() -> None:
    limits = ClientLimits(handshake_timeout=0.05, backoff_initial=0.01, backoff_max=0.02, close_timeout=0.1)
    async with Bot(Talk.ended) as bot, supervising(bot.port, limits) as one:
        with pytest.raises(ConnectError, match="before the server said hello") as caught:
            await one.connected(0.3)
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", bot.port)


async def test_a_bot_that_does_not_know_what_a_hello_is_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    async def plain(talk: Talk) -> None:
        error = {"code": -32601, "message": "what?"}
        await talk.say({"id": (await talk.read())["id"], "error": error})
        await talk.ended()

    async with Bot(plain) as bot, supervising(bot.port) as one:
        with pytest.raises(ProtocolError, match="what"):
            await one.connected(5.0)
        assert len(bot.requests) == 1
        assert "the next request tries again" in caplog.text


async def test_requests_are_given_up_when_the_bot_stays_away_for_longer_than_they_wait() -> None:
    async def script(talk: Talk) -> None:
        await talk.welcome(calls=1)
        await talk.call("sent")
        bot.break_off()

    async with Bot(script) as bot, supervising(bot.port, patience=0.1) as one:
        conversation = await one.connected(5.0)
        calls = [asyncio.create_task(conversation.call(name, Raw(b"{}"), None)) for name in ("sent", "not")]
        bot.status = 503
        async with asyncio.timeout(5):
            await asyncio.wait(calls)
        assert [type(call.exception()) for call in calls] == [ConnectionLost, ConnectError]
        assert "tried for 0.1 s" in str(calls[1].exception())


async def test_requests_are_not_given_up_when_the_bot_comes_back_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back, late = asyncio.Event(), asyncio.Event()

    async def first(talk: Talk) -> None:
        await talk.welcome()
        frame = await talk.call("slow")
        bot.script = partial(second, frame)
        bot.break_off()

    async def second(frame: dict[str, Any], talk: Talk) -> None:
        await talk.welcome(resumed=True, received=1)
        back.set()
        await late.wait()
        await talk.answer(frame, 1)
        await talk.ended()

    async with Bot(first) as bot, supervising(bot.port, patience=10.0) as one:
        conversation = await one.connected(5.0)
        call = asyncio.create_task(conversation.call("slow", Raw(b"{}"), None))
        await back.wait()
        await until(lambda: conversation.usable)
        loop = asyncio.get_running_loop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + 11.0)
        await asyncio.wait((call,), timeout=0.05)
        late.set()
        assert await call == Raw(b"1")


class Counting(Supervisor):
    """Keeps how many attempts had failed before each pause, and does not pause."""

    def _pause(self, attempt: int) -> float:
        self.failed: list[int] = [*getattr(self, "failed", ()), attempt]
        return 0.0


@pytest.mark.parametrize("words", [0, 5], ids=["at once", "later"])
async def test_pauses_grow_only_while_the_bot_hangs_up_at_once(words: int) -> None:
    async def hang_up(talk: Talk) -> None:
        await talk.welcome()
        # Less each time: what counts is each connection by itself.
        for _ in range(words - len(bot.requests) + 1):
            await talk.say({"method": "rpc.later"})

    limits = ClientLimits(backoff_max=60.0)
    async with Bot(hang_up) as bot, aiohttp.ClientSession() as http:
        dialer = WebSocketConnector("127.0.0.1", bot.port, 1, None, limits)
        one = Counting(dialer, lambda: http, limits, *talking(limits))
        one.start()
        await until(lambda: len(bot.requests) == 5)
        await one.close()
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
    async with Bot(key=KEY) as bot, supervising(bot.port, key="wrong") as one:
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


async def test_a_key_that_is_changed_while_nobody_asks_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Bot(key=KEY) as bot, supervising(bot.port, key=KEY) as one:
        await echoed(one)
        bot.key = "a new key"
        bot.break_off()
        await until(lambda: "the next request tries again" in caplog.text)
        assert one.conversation is None
        with pytest.raises(Unauthorized):
            await one.connected(5.0)


async def test_a_hello_answered_in_a_wrong_shape_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    async def wrong(talk: Talk) -> None:
        await talk.answer(await talk.read(), "welcome")
        await talk.ended()

    async with Bot(wrong) as bot, supervising(bot.port) as one:
        with pytest.raises(ProtocolError):
            await one.connected(5.0)
        assert "rpc.hello cannot be understood" in caplog.text
        bot.script = echoing
        await echoed(one)


async def test_a_fault_of_ours_is_logged_and_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    async with Bot() as bot, aiohttp.ClientSession() as http:
        faults = [KeyError("a fault")]

        def make() -> aiohttp.ClientSession:
            if faults:
                raise faults.pop()
            return http

        dialer = WebSocketConnector("127.0.0.1", bot.port, 1, None, QUICK)
        one = Supervisor(dialer, make, QUICK, *talking(QUICK))
        await echoed(one)
        assert "KeyError: 'a fault'" in caplog.text
        await one.close()


async def test_a_bot_that_is_down_is_one_warning_and_then_silence(
    caplog: pytest.LogCaptureFixture, vacant: Vacant
) -> None:
    caplog.set_level(logging.INFO, LOG)
    async with supervising(vacant.port) as one:
        with pytest.raises(ConnectError):
            await one.connected(0.3)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_losing_the_bot_is_a_warning_and_its_leave_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    async with Bot() as bot, supervising(bot.port) as one:
        await echoed(one)
        await bot.talks[0].ws.close(code=1001)
        await until(lambda: "Lost the bot" in caplog.text)
        assert {record.levelno for record in caplog.records} == {logging.INFO}
        await until(lambda: len(bot.requests) == 2)
        await echoed(one)
        bot.break_off()
        await until(lambda: caplog.text.count("Lost the bot") == 2)
        assert caplog.records[-1].levelno == logging.WARNING


async def test_while_the_bot_takes_its_leave_open_calls_are_answered_and_new_ones_wait() -> None:
    leave, leaving = asyncio.Event(), asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.welcome()
        frame = await talk.call("slow")
        await talk.say({"method": "rpc.bye", "params": {"reason": "restart"}})
        leaving.set()
        await leave.wait()
        await talk.answer(frame, "answer")

    async with Bot(script) as bot, supervising(bot.port) as one:
        conversation = await one.connected(5.0)
        slow = asyncio.create_task(conversation.call("slow", Raw(b"{}"), 5.0))
        await leaving.wait()
        await until(lambda: not conversation.usable)
        bot.script = echoing
        echo = asyncio.create_task(echoed(one))
        done, _ = await asyncio.wait((echo, slow), timeout=0.05)
        assert not done
        leave.set()
        assert await slow == Raw(b'"answer"')
        await echo
        assert len(bot.requests) == 2


# -- closing


async def test_closing_tells_whoever_waits(vacant: Vacant) -> None:
    async with supervising(vacant.port) as one:
        waiting = [asyncio.create_task(one.connected(5.0)) for _ in range(3)]
        await one.first_attempt()
        await one.close()
        await asyncio.wait(waiting)
        assert [type(task.exception()) for task in waiting] == [SessionClosed] * 3


async def test_closing_before_the_first_step_tells_whoever_waits(vacant: Vacant) -> None:
    async with supervising(vacant.port) as one:
        waiting = asyncio.create_task(one.first_attempt())
        closing = asyncio.create_task(one.close())
        async with asyncio.timeout(5):
            await closing
            with pytest.raises(SessionClosed):
                await waiting


@pytest.mark.parametrize("where", ["dialling", "hello", "pause"])
async def test_closing_ends_an_attempt_at_any_point(where: str, vacant: Vacant) -> None:
    limits = ClientLimits(backoff_initial=60.0, backoff_max=60.0, close_timeout=0.1)
    arrived = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await silence(reader, writer)

    async def stall_hello(talk: Talk) -> None:
        await talk.read()
        arrived.set()
        await talk.ended()

    async with listening(stall) as silent, Bot(stall_hello) as bot:
        port = {"dialling": silent, "hello": bot.port, "pause": vacant.port}[where]
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


async def test_closing_takes_leave_of_the_bot(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    frames: list[dict[str, Any]] = []

    async def script(talk: Talk) -> None:
        await talk.welcome()
        frames.append(await talk.read())
        await talk.ended()

    async with Bot(script) as bot, supervising(bot.port) as one:
        await one.connected(5.0)
        await one.close()
        await until(lambda: frames)
        assert (frames[0]["method"], frames[0]["params"]) == ("rpc.bye", {"reason": "the session is closed"})
    assert "Lost the bot" not in caplog.text


async def test_closing_does_not_dial_again_while_it_takes_leave() -> None:
    async def deaf(talk: Talk) -> None:
        await talk.welcome()
        await over.wait()

    over = asyncio.Event()
    limits = ClientLimits(backoff_initial=0, close_timeout=0.2)
    async with Bot(deaf) as bot, supervising(bot.port, limits) as one:
        await one.connected(5.0)
        await one.close()  # waits for an answer to its close frame, as long as that may take
        over.set()
        assert len(bot.requests) == 1


async def test_closing_that_is_cancelled_ends_the_attempts_all_the_same() -> None:
    async def deaf(talk: Talk) -> None:
        await talk.welcome()
        await over.wait()

    over = asyncio.Event()
    limits = ClientLimits(backoff_initial=0.01, backoff_max=0.01, close_timeout=1.0)
    async with Bot(deaf) as bot, supervising(bot.port, limits) as one:
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
