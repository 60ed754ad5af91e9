"""The same calls in each dialect, to a server without ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import pytest

from discord_tools.ipc.wire.dialects import BETTER, FAMILY, JSONRPC
from discord_tools.ipc_server.caller import NATIVE, Caller
from discord_tools.ipc_server.dialects.service import HTTP
from test_server.tools import CALLER, DialectClient, Failed, MemoryServer, better, family, jsonrpc


class Outcome(NamedTuple):
    """How a call ended: with a result, or with the message of an error. Older clients get no ``data`` with it."""

    result: Any = None
    error: str | None = None
    data: Any = None


class DialectCaller(Protocol):
    """A client in one dialect."""

    async def call(self, endpoint: str, **data: Any) -> Outcome:
        """Calls, perhaps while another call is in progress, and waits for the answer."""
        ...


class NativeCaller:
    """One conversation."""

    def __init__(self, server: MemoryServer, caller: Caller) -> None:
        self._native = server.connect(replace(caller, dialect=NATIVE))

    async def call(self, endpoint: str, **data: Any) -> Outcome:
        if self._native.carrying is None:
            await self._native.hello()
        try:
            return Outcome(await self._native.call(endpoint, data))
        except Failed as error:
            return Outcome(error=error.message, data=error.data)


class JsonRpcCaller:
    """One socket with JSON-RPC."""

    def __init__(self, server: MemoryServer, caller: Caller) -> None:
        self._socket = server.open_socket(replace(caller, dialect=JSONRPC))
        self._answers: dict[int, Any] = {}
        self._number = 0
        self._reading = asyncio.Lock()

    async def call(self, endpoint: str, **data: Any) -> Outcome:
        self._number = number = self._number + 1
        await self._socket.send(jsonrpc(endpoint, data, number))
        while number not in self._answers:
            async with self._reading:
                if number not in self._answers:
                    answer = await self._socket.receive()
                    self._answers[answer["id"]] = answer
        return _outcome(self._answers.pop(number))


class HttpCaller:
    """A POST for each call."""

    def __init__(self, server: MemoryServer, caller: Caller) -> None:
        self._server = server
        self._caller = replace(caller, dialect=HTTP)

    async def call(self, endpoint: str, **data: Any) -> Outcome:
        async with asyncio.timeout(5):
            return _outcome(await self._server.post(jsonrpc(endpoint, data), self._caller))


class _OlderCaller:
    """A socket for each request in progress: such clients get their answers in order."""

    def __init__(self, server: MemoryServer, caller: Caller) -> None:
        self._server = server
        self._address = caller.address
        #: Sockets without a request in progress.
        self._idle: list[DialectClient] = []

    async def ask(self, message: Any) -> Any:
        socket = self._idle.pop() if self._idle else self._server.open_socket(address=self._address)
        answer = await socket.ask(message)
        self._idle.append(socket)
        return answer


class FamilyCaller(_OlderCaller):
    """A client of discord-ext-ipc."""

    async def call(self, endpoint: str, **data: Any) -> Outcome:
        answer = await self.ask(family(endpoint, data))
        if isinstance(answer, dict) and set(answer) == {"error", "code"}:
            return Outcome(error=answer["error"])
        return Outcome(answer)


class BetterCaller(_OlderCaller):
    """A client of better-ipc."""

    async def call(self, endpoint: str, **data: Any) -> Outcome:
        answer = await self.ask(better(endpoint, data))
        if answer["code"] != 200:
            return Outcome(error=answer["error_details"])
        return Outcome(json.loads(answer["response"]) if answer["decoding"] else answer["response"])


def _outcome(answer: Any) -> Outcome:
    error = answer.get("error")
    return Outcome(answer["result"]) if error is None else Outcome(None, error["message"], error.get("data"))


#: Makes a client of a server.
MakeCaller = Callable[[MemoryServer, Caller], DialectCaller]

CALLERS: dict[str, MakeCaller] = {
    NATIVE: NativeCaller,
    JSONRPC: JsonRpcCaller,
    HTTP: HttpCaller,
    FAMILY: FamilyCaller,
    BETTER: BetterCaller,
}

#: Runs a test in each dialect, with ``make`` for its clients.
in_each_dialect = pytest.mark.parametrize("make", CALLERS.values(), ids=CALLERS)


def elsewhere(address: str = "192.0.2.99") -> Caller:
    """A caller at another address."""
    return replace(CALLER, address=address)


__all__ = ("CALLERS", "DialectCaller", "MakeCaller", "Outcome", "elsewhere", "in_each_dialect")
