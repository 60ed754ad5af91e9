"""One side of a conversation that does what a test says, frame by frame, over any transport."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

from discord_tools.ipc.transports.base import Closed, Transport
from discord_tools.ipc.wire.frames import ACK, HELLO
from equipment.until import PATIENCE

__all__ = ("ScriptedBot", "ScriptedClient", "ScriptedPeer", "welcome")


class ScriptedPeer:
    """What both sides have in common. Nothing happens by itself: no answers, no acknowledgements."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        #: The frames of each message that was read.
        self.messages: list[list[dict[str, Any]]] = []
        #: Frames of the last message that :meth:`read` has not returned.
        self._frames: deque[dict[str, Any]] = deque()

    async def send(self, *frames: dict[str, Any]) -> None:
        """Sends frames in one message."""
        whole = [{"jsonrpc": "2.0", **frame} for frame in frames]
        await self.send_bytes(json.dumps(whole if len(whole) > 1 else whole[0]).encode())

    async def send_bytes(self, message: bytes) -> None:
        """Sends a message as it is."""
        await self.transport.send(message)

    async def read(self) -> dict[str, Any]:
        """The next frame of any message. Acknowledgements may come at any time, and no script needs them."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while not self._frames:
                    message = json.loads(await self.transport.receive())
                    self.messages.append(message if isinstance(message, list) else [message])
                    self._frames.extend(self.messages[-1])
                frame = self._frames.popleft()
                if frame.get("method") != ACK:
                    return frame

    async def ended(self) -> Closed:
        """Reads until the connection ends, and returns how it did."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await self.transport.receive()
                except Closed as closed:
                    return closed


class ScriptedClient(ScriptedPeer):
    """The client's side of a conversation."""

    async def call(self, number: Any, method: str, params: Any = None, **members: Any) -> None:
        """Calls a method. ``members`` are further members of the frame."""
        await self.send(
            {"id": number, "method": method, "params": {} if params is None else params, **members}
        )

    async def answer_to(self, number: Any) -> dict[str, Any]:
        """The next answer to this call. Frames before it are dropped."""
        while (frame := await self.read()).get("id", ...) != number:
            pass
        return frame

    async def hello(self, **params: Any) -> dict[str, Any]:
        """Sends the hello and returns the welcome."""
        await self.call("hello", HELLO, {"client": "test", **params})
        return (await self.answer_to("hello"))["result"]


class ScriptedBot(ScriptedPeer):
    """The bot's side of a conversation."""

    async def expect_call(self, method: str) -> dict[str, Any]:
        """The next frame, which must be a call of this method."""
        frame = await self.read()
        assert frame["method"] == method
        assert "id" in frame
        return frame

    async def answer(self, call: dict[str, Any], result: Any = None) -> None:
        """Answers a call."""
        await self.send({"id": call["id"], "result": result})

    async def welcome(self, **grants: Any) -> dict[str, Any]:
        """Reads the hello, which it returns, and answers it; see :func:`welcome`."""
        hello = await self.expect_call(HELLO)
        await self.answer(hello, welcome(**grants))
        return hello

    async def echo(self) -> None:
        """Answers every call with its parameters, until the other side closes."""
        try:
            while True:
                frame = await self.read()
                if "id" in frame:
                    await self.answer(frame, frame["params"])
        except (Closed, TimeoutError):
            pass


def welcome(calls: int = 16, message_bytes: int = 1 << 20, **more: Any) -> dict[str, Any]:
    """The answer of a bot that does not know this client yet, unless ``more`` changes that."""
    return {
        "server": "script",
        "session": "a token",
        "resumed": False,
        "received": 0,
        "heartbeat": 20.0,
        "limits": {"calls": calls, "message_bytes": message_bytes},
        "ready": True,
        **more,
    }
