"""Without the key, and with it: frames without an end, connections without a word, keys that are guessed."""

from __future__ import annotations

import gzip
import itertools
import socket
import time
from collections.abc import Mapping
from typing import Final

from benchmarks.attack.crowd import Attack, crowd, keep, pour
from benchmarks.attack.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Refused,
    Target,
    Web,
    dial,
    enter,
    exchange,
    frame,
    post,
    read_head,
    request_head,
)

__all__ = (
    "FRAMES",
    "bodies",
    "broken_headers",
    "foreign_subprotocols",
    "frames",
    "guesses",
    "half_requests",
    "held",
    "idle",
)

#: Size of what is written at a time.
CHUNK: Final = 1 << 16


def _many(one: bytes) -> bytes:
    return one * (CHUNK // len(one))


#: What can be sent without an end, as the bytes of one write. The first frame of ``fragments`` begins a message.
FRAMES: Final[Mapping[str, bytes]] = {
    "pings": _many(frame(PING)),
    "long pings": _many(frame(PING, b"x" * 125)),
    "pongs": _many(frame(PONG)),
    "tiny texts": _many(frame(TEXT, b"1")),
    "tiny binaries": _many(frame(BINARY, b"1")),
    "fragments": frame(TEXT, b"[", end=False) + _many(frame(CONTINUATION, b" ", end=False)),
    "empty fragments": frame(TEXT, b"[", end=False) + _many(frame(CONTINUATION, b"", end=False)),
    "fragments with pings": frame(TEXT, b"[", end=False)
    + _many(frame(CONTINUATION, b" ", end=False) + frame(PING)),
    "empty texts": _many(frame(TEXT)),
    "closes": _many(frame(CLOSE, b"\x03\xe8")),
}


def frames(kind: str, way: str, sockets: int) -> Attack:
    """Frames without an end, on so many sockets that come again where they are closed."""
    chunk = FRAMES[kind]

    def work(target: Target) -> None:
        web = enter(target, way)
        try:
            if chunk[0] & 0x80:
                pour(target, web, chunk)
            else:
                head = chunk[:7]
                web.tcp.sendall(head)
                pour(target, web, chunk[len(head) :])
        finally:
            web.close()

    return crowd(sockets, work)


def idle(number: int, multicast: bool = False, addresses: int = 1) -> Attack:
    """TCP connections that say nothing, and are opened again where they are closed."""

    def attack(target: Target) -> None:
        port = target.multicast_port if multicast else target.port
        held: list[socket.socket] = []
        names = itertools.cycle(f"127.0.0.{n + 1}" for n in range(addresses))
        while target.going:
            for _ in range(64):
                if len(held) < number and target.going:
                    try:
                        held.append(dial(port, next(names)))
                        target.count("opened")
                    except OSError as error:
                        target.count(type(error).__name__)
            held = [one for one in held if not _is_closed(one)]
            target.counts["held"] = max(target.counts.get("held", 0), len(held))
        for one in held:
            one.close()

    return attack


def half_requests(number: int) -> Attack:
    """Connections that begin a request and never end it, a byte now and then."""

    def work(target: Target) -> None:
        with dial(target.port) as tcp:
            tcp.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            while target.going:
                tcp.sendall(b"x")
                time.sleep(0.05)

    return crowd(number, work)


def _is_closed(tcp: socket.socket) -> bool:
    tcp.setblocking(False)
    try:
        ended = not tcp.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        ended = True
    if ended:
        tcp.close()
    return ended


def held(number: int, way: str, source: str | None = None) -> Attack:
    """WebSockets that are open and say nothing."""

    def work(target: Target) -> None:
        web = Web(target.port, source=source) if source else enter(target, way)
        target.count("opened")
        try:
            keep(target, web.tcp)
        finally:
            web.close()

    return crowd(number, work)


def broken_headers(multicast: bool, connections: int = 4) -> Attack:
    """Requests with a control character in a header."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\nX-Broken: a\x01b\r\n\r\n"

    def work(target: Target) -> None:
        with dial(target.multicast_port if multicast else target.port) as tcp:
            tcp.sendall(request)
            read_head(tcp)

    return crowd(connections, work)


def foreign_subprotocols(multicast: bool, connections: int = 4) -> Attack:
    """Handshakes with a subprotocol that nobody speaks."""

    def work(target: Target) -> None:
        port = target.multicast_port if multicast else target.port
        Web(port, {"Sec-WebSocket-Protocol": "FORGED line, another"}).close()

    return crowd(connections, work)


def bodies(method: str, path: str, *, compressed: bool, with_key: bool = False) -> Attack:
    """Bodies that nobody wants: 400 MiB of zeros in 400 KB, or as much of plain bytes as is taken."""
    body = b"".join([gzip.compress(bytes(1 << 20))] * 400) if compressed else bytes(4 << 20)
    headers = {"Host": "x", "Content-Length": str(len(body))}
    if compressed:
        headers["Content-Encoding"] = "gzip"

    def work(target: Target) -> None:
        lines = {**headers, "Authorization": target.key} if with_key else headers
        with dial(target.port) as tcp:
            status, _ = exchange(tcp, request_head(method, path, lines) + body)
            target.count(f"HTTP {status}")

    return crowd(2, work)


def guesses(way: str, connections: int = 8) -> Attack:
    """Keys that are guessed as quickly as the bot answers. ``answered`` counts the verdicts."""
    numbers = itertools.count()

    def by_post(target: Target) -> None:
        with dial(target.port) as tcp:
            while target.going:
                status, _ = exchange(tcp, post(b"{}", f"guess {next(numbers)}"))
                if status != 401:
                    raise Refused("too many", status)
                target.count("answered")

    def by_handshake(target: Target) -> None:
        port = target.multicast_port if way == "question header" else target.port
        headers = {"Authorization": f"guess {next(numbers)}"}
        if way == "handshake":
            headers["Sec-WebSocket-Protocol"] = "discord-tools.ipc.1"
        try:
            Web(port, headers).close()
        except Refused as error:
            if error.status == 401:
                target.count("answered")
            raise

    def by_message(target: Target) -> None:
        web = Web(target.multicast_port if way in ("question", "better") else target.port)
        try:
            while target.going:
                web.send(_GUESSES[way] % f"guess {next(numbers)}")
                web.receive()
                target.count("answered")
        finally:
            web.close()

    work = by_post if way == "post" else by_message if way in _GUESSES else by_handshake
    return crowd(connections, work)


#: Messages with a guessed key.
_GUESSES: Final[Mapping[str, str]] = {
    "older": '{"endpoint": "small", "data": {}, "headers": {"Authorization": "%s"}}',
    "better": '{"endpoint": "small", "kwargs": {}, "secret": "%s"}',
    "question": '{"connect": true, "headers": {"Authorization": "%s"}}',
}
