"""A session and the event loops and processes that use it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiohttp import web

from discord_tools.ipc import ClientSession, SessionClosed, WrongEventLoop
from discord_tools.ipc.transports.base import Closed
from equipment.key import KEY
from equipment.serving import connecting
from equipment.until import until
from equipment.websites import website
from equipment.websockets import ScriptedWebSocket, WebSocketBot
from test_client import forking, forking_older

Use = Callable[[ClientSession], Awaitable[Any]]

USES: dict[str, Use] = {
    "request": lambda ipc: ipc.request("echo"),
    "call": lambda ipc: ipc("echo"),
    "start": lambda ipc: ipc.start(),
    "close": lambda ipc: ipc.close(),
    "wait_until_ready": lambda ipc: ipc.wait_until_ready(),
    "stream": lambda ipc: anext(ipc.stream("items")),
    "async with stream": lambda ipc: ipc.stream("items").__aenter__(),
    "subscribe": lambda ipc: anext(ipc.subscribe("tick")),
    "async with subscribe": lambda ipc: ipc.subscribe("tick").__aenter__(),
}


@contextmanager
def bot_in_a_thread(bot: WebSocketBot) -> Iterator[WebSocketBot]:
    """Runs a bot in a thread and a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(bot.__aenter__(), loop).result(10)
        yield bot
    finally:
        asyncio.run_coroutine_threadsafe(bot.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def in_another_loop(use: Use, ipc: ClientSession) -> Awaitable[Any]:
    """Uses a session in another thread with a loop of its own, while this one lives."""

    async def main() -> Any:
        return await use(ipc)

    return asyncio.to_thread(asyncio.run, main())


class Counting:
    """The script of a bot that echoes calls, and remembers their names and how its connections ended."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.ends: list[Closed] = []

    async def __call__(self, far: ScriptedWebSocket) -> None:
        await far.welcome()
        try:
            while True:
                frame = await far.read()
                self.calls.append(frame["method"])
                if "id" in frame and frame["method"] not in ("hold", "items", "rpc.subscribe"):
                    await far.answer(frame, frame["params"])
        except Closed as closed:
            self.ends.append(closed)
            raise


class Running:
    """A program in a process of its own, and what it writes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            line = (await self.process.stdout.readline()).decode().strip()
        if not line:
            assert self.process.stderr is not None
            self.process.kill()
            pytest.fail((await self.process.stderr.read()).decode())
        return line

    async def child_says(self, answer: str) -> None:
        who, _, said = (await self.line()).split(" ", 2)
        assert (who, said) == ("child", answer)

    async def ask_child(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()

    async def errors(self) -> str:
        """What both wrote to stderr, once both have ended."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        async with asyncio.timeout(20):
            return (await self.process.stderr.read()).decode()


@asynccontextmanager
async def program(*arguments: object) -> AsyncIterator[Running]:
    """Runs Python with some arguments. The end of stdin, or of this context, ends the program."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        # A child may still have it open.
        assert process.stdout is not None
        async with asyncio.timeout(20):
            await process.stdout.read()


def forked(port: int) -> AbstractAsyncContextManager[Running]:
    """The program that forks."""
    return program("-X", "dev", "-W", "ignore::DeprecationWarning", forking.__file__, port)


# -- one loop after another


def test_a_session_works_in_one_event_loop_after_another() -> None:
    script = Counting()
    with bot_in_a_thread(WebSocketBot(script)) as bot:
        ipc = connecting(bot.port)
        for number in range(4):
            assert asyncio.run(ipc.request("echo", number=number)) == {"number": number}
        asyncio.run(ipc.close())
        assert len(bot.requests) == 4
    assert len(script.ends) == 4


def test_a_session_is_started_and_streams_in_one_event_loop_after_another() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.expect_call("items")
        await far.send({"method": "rpc.item", "params": {"id": frame["id"], "items": [1, 2]}})
        await far.answer(frame)
        await far.ended()

    async def main() -> list[int]:
        await ipc.start()
        return [item async for item in ipc.stream("items", int)]

    with bot_in_a_thread(WebSocketBot(script)) as bot:
        ipc = connecting(bot.port)
        assert [asyncio.run(main()) for _ in range(3)] == [[1, 2]] * 3
        asyncio.run(ipc.close())


def test_calls_that_a_loop_left_behind_do_not_disturb_the_next_one() -> None:
    async def main() -> Any:
        waiting = [asyncio.create_task(ipc.request("hold")) for _ in range(3)]
        answer = await ipc.request("echo", x=1)
        assert not any(task.done() for task in waiting)
        return answer

    script = Counting()
    with bot_in_a_thread(WebSocketBot(script)) as bot:
        ipc = connecting(bot.port)
        assert [asyncio.run(main()) for _ in range(3)] == [{"x": 1}] * 3
        asyncio.run(ipc.close())
    assert script.calls.count("hold") == 9


def test_a_session_that_found_no_bot_in_one_loop_finds_it_in_the_next() -> None:
    with bot_in_a_thread(WebSocketBot()) as bot:
        port = bot.port
    ipc = connecting(port, connect_timeout=0)
    with pytest.raises(ConnectionError):
        asyncio.run(ipc.request("echo"))
    with bot_in_a_thread(WebSocketBot(port=port)):
        again = connecting(port)
        assert asyncio.run(again.request("echo", x=1)) == {"x": 1}
        asyncio.run(again.close())
    asyncio.run(ipc.close())


#: Uses a session in loops that are closed with everything in them still running, then in another one.
CLOSING_LOOPS = """
import asyncio, sys
from discord_tools.ipc import ClientSession

ipc = ClientSession("127.0.0.1", int(sys.argv[1]))

async def main(number):
    waiting = [asyncio.create_task(ipc.request("hold")) for _ in range(3)]
    return await ipc.request("echo", number=number), waiting

kept = []
for number in range(3):
    loop = asyncio.new_event_loop()
    answer, waiting = loop.run_until_complete(main(number))
    loop.close()
    kept.append(waiting)
    print(answer, flush=True)
print(asyncio.run(ipc.request("echo", number=3)), flush=True)
sys.stdin.readline()
"""


async def test_a_loop_that_was_closed_without_cancelling_anything_is_left_for_the_next_one() -> None:
    script = Counting()
    # In a process of its own, since Python reports all that such a loop leaves behind.
    async with WebSocketBot(script) as bot, program("-c", CLOSING_LOOPS, bot.port) as running:
        assert [await running.line() for _ in range(4)] == [f"{{'number': {number}}}" for number in range(4)]
        # The connections of those loops have ended, though the process still holds all that belongs to them.
        await until(lambda: len(script.ends) == 4, 20)
        assert running.process.returncode is None
        assert [closed.code for closed in script.ends[:3]] == [None] * 3
        assert Counter(script.calls) == {"hold": 9, "echo": 4}


def test_a_session_that_was_closed_in_one_loop_is_closed_in_the_next() -> None:
    with bot_in_a_thread(WebSocketBot()) as bot:
        ipc = connecting(bot.port)

        async def main() -> None:
            async with ipc:
                await ipc.request("echo")

        asyncio.run(main())
        for name in USES.keys() - {"close"}:
            with pytest.raises(SessionClosed):
                asyncio.run(in_this_loop(USES[name], ipc))
        asyncio.run(ipc.close())
        assert len(bot.requests) == 1


async def in_this_loop(use: Use, ipc: ClientSession) -> Any:
    return await use(ipc)


# -- two loops at a time


@pytest.mark.parametrize("name", USES)
async def test_a_session_is_refused_at_once_in_a_second_loop_while_the_first_one_lives(name: str) -> None:
    script = Counting()
    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        assert await ipc.request("echo", x=1) == {"x": 1}
        with pytest.raises(WrongEventLoop):
            await in_another_loop(USES[name], ipc)
        assert not ipc.is_closed()
        assert await ipc.request("echo", x=2) == {"x": 2}
        assert (script.calls, len(bot.requests)) == (["echo", "echo"], 1)


@pytest.mark.parametrize("name", USES)
async def test_a_second_loop_is_refused_while_the_first_one_is_still_connecting(name: str) -> None:
    welcome = asyncio.Event()
    script = Counting()

    async def late(far: ScriptedWebSocket) -> None:
        await welcome.wait()
        await script(far)

    async with WebSocketBot(late) as bot:
        ipc = connecting(bot.port)
        first = asyncio.create_task(ipc.request("echo", x=1))
        await until(lambda: bot.requests)
        with pytest.raises(WrongEventLoop):
            await in_another_loop(USES[name], ipc)
        welcome.set()
        assert await first == {"x": 1}
        await ipc.close()
        assert (script.calls[0], len(bot.requests)) == ("echo", 1)
        assert script.calls.count("echo") == 1


async def test_a_stream_that_has_begun_is_refused_in_another_loop_and_goes_on_in_its_own() -> None:
    async def script(far: ScriptedWebSocket) -> None:
        await far.welcome()
        frame = await far.expect_call("items")
        await far.send({"method": "rpc.item", "params": {"id": frame["id"], "items": [1, 2]}})
        await far.ended()

    async with WebSocketBot(script) as bot, connecting(bot.port) as ipc:
        items = ipc.stream("items", int)
        assert await anext(items) == 1
        with pytest.raises(WrongEventLoop):
            await in_another_loop(lambda _: anext(items), ipc)
        assert await anext(items) == 2
        await items.aclose()


async def test_sessions_of_two_loops_do_not_know_of_each_other() -> None:
    async with WebSocketBot() as bot, connecting(bot.port) as ipc:

        async def main() -> Any:
            async with connecting(bot.port) as other:
                return await other.request("echo", x=2)

        assert await asyncio.to_thread(asyncio.run, main()) == {"x": 2}
        assert await ipc.request("echo", x=1) == {"x": 1}


# -- two processes


class Holding:
    """The script of a bot that keeps calls open until it is to answer them, and records all frames."""

    def __init__(self) -> None:
        self.connections: list[list[dict[str, Any]]] = []
        self.sides: list[ScriptedWebSocket] = []
        self.ends: dict[int, Closed] = {}

    async def __call__(self, far: ScriptedWebSocket) -> None:
        frames: list[dict[str, Any]] = []
        number = len(self.connections)
        self.connections.append(frames)
        self.sides.append(far)
        await far.welcome(calls=100)
        try:
            while True:
                frame = await far.read()
                frames.append(frame)
                if "id" in frame and frame["method"] not in ("held", "items"):
                    await far.answer(frame, frame["params"])
        except Closed as closed:
            self.ends[number] = closed
            raise

    def methods(self, number: int) -> list[str]:
        return [frame["method"] for frame in self.connections[number]]

    async def answer_all(self) -> None:
        for frame in self.connections[0]:
            if frame["method"] == "held":
                await self.sides[0].answer(frame, frame["params"]["number"] * 10)
            elif frame["method"] == "items":
                await self.sides[0].send({"method": "rpc.item", "params": {"id": frame["id"], "items": [7]}})


SENT_BY_THE_PARENT = ["held"] * forking.CALLS + ["items", "sent"]
FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@FORK
async def test_parent_and_child_each_get_their_own_answers_after_a_fork() -> None:
    script = Holding()
    async with WebSocketBot(script) as bot, forked(bot.port) as running:
        await running.child_says("{'number': 0}")
        assert len(script.connections) == 2
        assert script.methods(0) == SENT_BY_THE_PARENT
        await script.answer_all()
        answers = [number * 10 for number in range(forking.CALLS)]
        assert await running.line() == f"parent {[*answers, 7]}"
        assert await running.line() == "parent more"
        await running.ask_child()
        await running.child_says("{'number': 1}")
        # Only what the parent has sent came over the connection that both had.
        assert [name for name in script.methods(0) if name != "rpc.more"] == [*SENT_BY_THE_PARENT, "more"]
        assert script.methods(1) == ["child", "child"]
        assert script.ends == {}
        running.process.kill()
        assert await running.errors() == ""


@FORK
async def test_the_end_of_a_child_leaves_the_connection_of_its_parent_open() -> None:
    script = Holding()
    async with WebSocketBot(script) as bot, forked(bot.port) as running:
        await running.child_says("{'number': 0}")
        assert running.process.stdin is not None
        running.process.stdin.close()
        await until(lambda: 1 in script.ends, 20)
        assert script.ends[1].clean
        assert script.methods(0) == SENT_BY_THE_PARENT
        await script.answer_all()
        await running.line()
        assert await running.line() == "parent more"
        assert 0 not in script.ends
        running.process.kill()
        assert await running.errors() == ""


@FORK
async def test_the_bot_sees_the_end_of_the_parent_although_the_child_lives() -> None:
    script = Holding()
    async with WebSocketBot(script) as bot, forked(bot.port) as running:
        await running.child_says("{'number': 0}")
        running.process.send_signal(signal.SIGKILL)
        await until(lambda: 0 in script.ends, 20)
        assert script.ends[0].code is None
        await running.ask_child()
        await running.child_says("{'number': 1}")
        assert 1 not in script.ends
        assert await running.errors() == ""
        await until(lambda: 1 in script.ends, 20)
        assert script.ends[1].clean


#: Forks with a connection that belongs to no session, as a bot has them. The child ends with the end of stdin.
FORKING_WITHOUT_SESSION = """
import asyncio, os, sys
import aiohttp
from discord_tools.ipc.transports.websocket import WebSocketTransport, tcp_of

async def main():
    async with aiohttp.ClientSession() as http:
        socket = await http.ws_connect("ws://127.0.0.1:" + sys.argv[1])
        transport = WebSocketTransport(socket, tcp=tcp_of(socket))
        if os.fork() == 0:
            print("child", flush=True)
            sys.stdin.readline()
            os._exit(0)
        await transport.receive()

asyncio.run(main())
"""


@FORK
async def test_a_child_does_not_keep_a_connection_of_its_parent_that_belongs_to_no_session() -> None:
    ended: list[Closed] = []

    async def script(far: ScriptedWebSocket) -> None:
        ended.append(await far.ended())

    async with WebSocketBot(script) as bot, program("-c", FORKING_WITHOUT_SESSION, bot.port) as running:
        assert await running.line() == "child"
        assert ended == []
        running.process.kill()
        await until(lambda: ended, 20)
        # The child has its stderr open as long as it lives.
        assert running.process.stderr is not None
        assert not running.process.stderr.at_eof()
        assert await running.errors() == ""
    assert ended[0].code is None


class OlderHolding:
    """A server of an older library. It holds the first requests until it is told to answer them."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        #: Number of requests of each socket that had any, and of those that were closed.
        self.requests: list[int] = []
        self.ended: set[int] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        number = -1
        async for _ in socket:
            if number < 0:
                number = len(self.requests)
                self.requests.append(0)
            self.requests[number] += 1
            if number < forking_older.CALLS and self.requests[number] == 1:
                waiting = asyncio.create_task(self._answer_later(socket, number))
                waiting.add_done_callback(asyncio.Task.result)
            else:
                await socket.send_str(f"{number}")
        if number >= 0:
            self.ended.add(number)
        return socket

    async def _answer_later(self, socket: web.WebSocketResponse, number: int) -> None:
        await self.held.wait()
        if not socket.closed:
            await socket.send_str(f"{number}")


@asynccontextmanager
async def forked_at_an_older_server() -> AsyncIterator[tuple[OlderHolding, Running]]:
    """A program that has forked, while an older server holds its requests. The child has its answer."""
    script, held = OlderHolding(), forking_older.CALLS
    arguments = ("-X", "dev", "-W", "ignore::DeprecationWarning", forking_older.__file__)
    async with website(script.handle) as port, program(*arguments, port, KEY) as running:
        await until(lambda: len(script.requests) == held, 20)
        await running.ask_child()  # it forks
        await running.child_says(f"{held}")
        try:
            yield script, running
        finally:
            script.held.set()


@FORK
async def test_a_child_neither_writes_to_nor_closes_the_connections_of_its_parent_to_an_older_server() -> (
    None
):
    held = forking_older.CALLS
    async with forked_at_an_older_server() as (script, running):
        await running.ask_child()  # it ends
        await until(lambda: held in script.ended, 20)
        assert script.requests == [1] * held + [1]
        assert script.ended == {held}
        script.held.set()
        assert await running.line() == f"parent {[*range(held)]}"
        assert (await running.line()).startswith("parent ")
        running.process.kill()
        assert await running.errors() == ""


@FORK
async def test_an_older_server_sees_the_end_of_the_parent_although_the_child_lives() -> None:
    held = forking_older.CALLS
    async with forked_at_an_older_server() as (script, running):
        running.process.kill()
        await until(lambda: script.ended >= {*range(held)}, 20)
        # The child has its stderr open as long as it lives.
        assert running.process.stderr is not None
        assert not running.process.stderr.at_eof()
        assert await running.errors() == ""
