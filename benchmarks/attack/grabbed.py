"""A program that has taken the multicast port of a bot, and a dashboard with the right key that asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import aiohttp
from aiohttp import web

from benchmarks.attack.crowd import Attack
from benchmarks.attack.wire import Target

__all__ = ("ANSWERS", "Grabber", "grabbed", "judge_program", "relayed")

#: What the program answers to a question, and to which number of them on this connection.
Answer: TypeAlias = "Callable[[Grabber, dict[str, Any], int], Awaitable[Any]]"


class Grabber:
    """Listens on the multicast port, and on a port that it wants to be taken for the bot's. It keeps all that comes."""

    def __init__(self, target: Target, answer: Answer) -> None:
        self.target = target
        #: The port that dashboards should be sent to.
        self.trap: int = 0
        #: What an honest bot answered to a dashboard before.
        self.recorded: list[dict[str, Any]] = []
        #: All heads and messages that came.
        self.seen: list[str] = []
        #: Number of requests at the trap.
        self.trapped: int = 0
        #: A connection with the multicast port of the bot.
        self.bot: aiohttp.ClientWebSocketResponse | None = None
        self._answer = answer

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answers one connection at the multicast port."""
        self.seen.append(str(dict(request.headers)))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        number = 0
        async for message in socket:
            self.seen.append(str(message.data))
            await socket.send_json(await self._answer(self, json.loads(message.data), number))
            number += 1
        return socket

    async def catch(self, request: web.Request) -> web.StreamResponse:
        """Takes a dashboard that was sent to the trap."""
        self.trapped += 1
        self.seen.append(str(dict(request.headers)))
        return web.Response(status=401)

    async def relay(self, question: dict[str, Any]) -> dict[str, Any]:
        """Passes a message on to the bot, and returns its answer."""
        assert self.bot is not None
        await self.bot.send_json(question)
        return await self.bot.receive_json(timeout=5)


@asynccontextmanager
async def _serving(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[int]:
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


# ---------------------------------------------------------------- answers

_REFUSED: Final = {"error": "Invalid or no token provided.", "code": 403}
_NONCE: Final = {"nonce": "n" * 32}


def _port(grabber: Grabber, **more: Any) -> dict[str, Any]:
    return {"message": "Connection success", "port": grabber.trap, "code": 200, **more}


def _always(answer: dict[str, Any]) -> Answer:
    async def answers(grabber: Grabber, question: dict[str, Any], number: int) -> Any:
        return answer

    return answers


def _first(answer: dict[str, Any], then: Callable[[Grabber, dict[str, Any]], Any]) -> Answer:
    async def answers(grabber: Grabber, question: dict[str, Any], number: int) -> Any:
        return answer if number == 0 else then(grabber, question)

    return answers


async def _redirect(grabber: Grabber, question: dict[str, Any], number: int) -> Any:
    return _port(grabber)


async def _downgrade(grabber: Grabber, question: dict[str, Any], number: int) -> Any:
    """Is an older server with a key: it refuses a question without one."""
    return _port(grabber) if question.get("headers", {}).get("Authorization") else _REFUSED


async def _alter(grabber: Grabber, question: dict[str, Any], number: int) -> Any:
    """Passes the question on, and changes the port in the answer of the bot."""
    answer = await grabber.relay(question)
    return {**answer, "port": grabber.trap} if "port" in answer else answer


async def _relay(grabber: Grabber, question: dict[str, Any], number: int) -> Any:
    """Passes the question on and the answer back, and keeps it."""
    grabber.recorded.append(await grabber.relay(question))
    return grabber.recorded[-1]


async def _replay(grabber: Grabber, question: dict[str, Any], number: int) -> Any:
    return grabber.recorded[min(number, 1)]


async def _replay_altered(grabber: Grabber, question: dict[str, Any], number: int) -> Any:
    answer = grabber.recorded[min(number, 1)]
    return answer if number == 0 else {**answer, "port": grabber.trap}


#: What a program answers, none of which a dashboard may accept.
ANSWERS: Final[Mapping[str, Answer]] = {
    "asks": _always(_REFUSED),
    "asks-after-nonce": _first(_NONCE, lambda grabber, question: _REFUSED),
    "nonces-for-ever": _always(_NONCE),
    "bad-nonce": _always({"nonce": "\n" * 32}),
    "redirect": _redirect,
    "redirect-after-nonce": _first(_NONCE, lambda grabber, question: _port(grabber)),
    "redirect-guess": _first(_NONCE, lambda grabber, question: _port(grabber, proof="0" * 64)),
    "redirect-reflect": _first(_NONCE, lambda grabber, question: _port(grabber, proof=question.get("proof"))),
    "redirect-altered": _alter,
    "replay": _replay,
    "replay-altered": _replay_altered,
    "downgrade": _downgrade,
}


# ---------------------------------------------------------------- attacks


@asynccontextmanager
async def _at_the_bot(target: Target, answer: Answer) -> AsyncIterator[Grabber]:
    """A program with a connection to the multicast port of the bot, which it may pass questions on to."""
    grabber = Grabber(target, answer)
    url = f"ws://127.0.0.1:{target.multicast_port}"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as grabber.bot:
        yield grabber


async def _recorded(target: Target) -> list[dict[str, Any]]:
    """What the bot answers to an honest dashboard, whose question is passed on to it."""
    async with _at_the_bot(target, _relay) as grabber, _serving(grabber.ask) as port:
        await _call(target, port)
    judge_program(target, grabber)
    return grabber.recorded


async def _call(target: Target, multicast_port: int) -> None:
    """Does a request through the multicast port, as a dashboard with the right key."""
    from discord_tools.ipc import ClientSession

    async with ClientSession(
        "127.0.0.1",
        multicast_port=multicast_port,
        secret_key=target.key,
        connect_timeout=0.3,
        timeout=2.0,
    ) as session:
        await session.request("small", number=1)


def grabbed(name: str) -> Attack:
    """A dashboard asks a program that has the multicast port: it must neither show its key nor be sent elsewhere."""

    async def attacked(target: Target) -> None:
        from discord_tools.ipc import IPCError

        recorded = await _recorded(target)
        async with _at_the_bot(target, ANSWERS[name]) as grabber:
            grabber.recorded = recorded
            async with _serving(grabber.catch) as grabber.trap, _serving(grabber.ask) as port:
                try:
                    await _call(target, port)
                    target.fault("the dashboard took the program for the bot")
                except IPCError as error:
                    target.count(type(error).__name__)
        if not grabber.seen:
            target.fault("the dashboard did not ask the program")
        judge_program(target, grabber)

    return lambda target: asyncio.run(attacked(target))


def relayed(target: Target) -> None:
    """A program passes the question on and the answers back: the dashboard must end up at the bot."""

    target.count("relayed", len(asyncio.run(_recorded(target))))


def judge_program(target: Target, grabber: Grabber) -> None:
    """Notes what the program must not have got."""
    target.count("messages", len(grabber.seen))
    if grabber.trapped:
        target.fault(f"the dashboard was sent to another port {grabber.trapped} times")
    for text in grabber.seen:
        if target.key in text:
            target.fault(f"the program got the key: {text.replace(target.key, '<key>')}")
