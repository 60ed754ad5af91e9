"""Raw sockets that do what no healthy client does. Only the standard library, so that an attacker starts quickly."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = (
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "NATIVE",
    "PING",
    "PONG",
    "TEXT",
    "Refused",
    "Target",
    "Web",
    "call",
    "dial",
    "enter",
    "exchange",
    "frame",
    "hello",
    "notification",
    "post",
    "unauthenticated",
)

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

#: Our own subprotocol.
NATIVE: Final = "discord-tools.ipc.1"

#: How long an attacker waits for an answer, in seconds.
PATIENCE: Final = 3.0


class Refused(Exception):
    """The bot does not go along: it closed the connection, or answered with another status."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status: int = status


@dataclass
class Target:
    """What is attacked, how long, and what came of it.

    ``faults`` are things that must not happen; ``counts`` are for the report.
    """

    port: int
    multicast_port: int
    key: str
    until: float
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def going(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.until

    def count(self, what: str, number: int = 1) -> None:
        """Counts something for the report."""
        self.counts[what] = self.counts.get(what, 0) + number

    def fault(self, what: str) -> None:
        """Notes what must not happen."""
        self.faults.append(what[:300])


def frame(opcode: int, payload: bytes = b"", *, end: bool = True) -> bytes:
    """One frame of a client. Its mask is 0, so the payload need not be changed."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([opcode | (0x80 if end else 0)]) + length + bytes(4) + payload


def dial(port: int, source: str | None = None) -> socket.socket:
    """A TCP connection, from another address where ``source`` names one."""
    address = None if source is None else (source, 0)
    opened = socket.create_connection(("127.0.0.1", port), PATIENCE, address)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


class Web:
    """A WebSocket, once the bot has accepted the handshake."""

    def __init__(
        self, port: int, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> None:
        self.tcp: socket.socket = dial(port, source)
        #: What was received and not read.
        self._buffer = b""
        lines = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **(headers or {}),
        }
        try:
            self.tcp.sendall(request_head("GET", "/", lines))
            head, self._buffer = read_head(self.tcp)
            status = int(head.split(b" ", 2)[1])
            if status != 101:
                raise Refused(f"HTTP {status}", status)
        except BaseException:
            self.close()
            raise

    def send(self, message: bytes | str | Any) -> None:
        """Sends a message as text; what is neither text nor bytes becomes JSON."""
        if not isinstance(message, bytes):
            message = (message if isinstance(message, str) else json.dumps(message)).encode()
        self.tcp.sendall(frame(TEXT, message))

    def receive(self) -> bytes:
        """The next message. Pings are not answered.

        Raises
        ------
        Refused
            The bot closed the connection.
        """
        while True:
            head = self._take(2)
            size = head[1] & 0x7F
            if size == 126:
                size = int.from_bytes(self._take(2), "big")
            elif size == 127:
                size = int.from_bytes(self._take(8), "big")
            payload = self._take(size)
            if head[0] & 0xF == CLOSE:
                raise Refused(payload[2:].decode(errors="replace"))
            if head[0] & 0xF in (TEXT, BINARY):
                return payload

    def close(self) -> None:
        """Closes the TCP connection."""
        self.tcp.close()

    def _take(self, size: int) -> bytes:
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            data = self.tcp.recv(1 << 18)
            if not data:
                raise Refused("the bot closed the connection")
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self._buffer = whole[size:]
        return whole[:size]


def request_head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The first lines of a request."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_head(tcp: socket.socket) -> tuple[bytes, bytes]:
    """The head of a response, and what followed it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = tcp.recv(1 << 16)
        if not more:
            raise Refused("the bot closed the connection")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def exchange(tcp: socket.socket, data: bytes) -> tuple[int, bytes]:
    """Sends one request and returns status and body of the response."""
    tcp.sendall(data)
    head, body = read_head(tcp)
    size = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    while len(body) < size:
        more = tcp.recv(1 << 18)
        if not more:
            raise Refused("the bot closed the connection")
        body += more
    return int(head.split(b" ", 2)[1]), body


def post(body: bytes, key: str | None, **headers: str) -> bytes:
    """A request by ``POST /``."""
    lines = {"Host": "127.0.0.1", "Content-Length": str(len(body)), "Content-Type": "application/json"}
    if key is not None:
        lines["Authorization"] = key
    return request_head("POST", "/", {**lines, **headers}) + body


def call(method: str, params: Any = None, number: int = 1, **members: Any) -> dict[str, Any]:
    """A call of JSON-RPC 2.0."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}, **members}


def notification(method: str, params: Any) -> dict[str, Any]:
    """A notification of JSON-RPC 2.0."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def hello(**members: Any) -> dict[str, Any]:
    """The first message on our own subprotocol."""
    return call("rpc.hello", {"client": "attacker", **members}, 0)


def _native(target: Target) -> Web:
    web = Web(target.port, {"Authorization": target.key, "Sec-WebSocket-Protocol": NATIVE})
    web.send(hello())
    web.receive()
    return web


def _jsonrpc(target: Target) -> Web:
    web = Web(target.port, {"Authorization": target.key})
    web.send(call("small"))
    web.receive()
    return web


def _older(target: Target) -> Web:
    web = Web(target.port)
    web.send({"endpoint": "small", "data": {}, "headers": {"Authorization": target.key}})
    web.receive()
    return web


def _better(target: Target) -> Web:
    web = Web(target.multicast_port)
    web.send({"endpoint": "small", "kwargs": {}, "secret": target.key})
    web.receive()
    return web


#: Ways to a socket. The first two show no key.
_WAYS: Final[Mapping[str, Callable[[Target], Web]]] = {
    "main": lambda target: Web(target.port),
    "multicast": lambda target: Web(target.multicast_port),
    "hello": lambda target: Web(target.port, {"Authorization": target.key, "Sec-WebSocket-Protocol": NATIVE}),
    "native": _native,
    "jsonrpc": _jsonrpc,
    "older": _older,
    "better": _better,
    "question": lambda target: Web(target.multicast_port, {"Authorization": target.key}),
}


def enter(target: Target, way: str) -> Web:
    """Opens a socket in one of the ways: ``main`` and ``multicast`` without the key, the others with it."""
    return _WAYS[way](target)


def unauthenticated(target: Target, port: str, address: str) -> Web:
    """Opens a socket at the ``main`` or the ``multicast`` port without the key, from some address."""
    return Web(target.port if port == "main" else target.multicast_port, source=address)
