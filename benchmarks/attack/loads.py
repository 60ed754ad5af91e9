"""With the key: messages, calls and answers that are as large or as many as can be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks.attack.crowd import Attack, crowd, keep
from benchmarks.attack.wire import Target, call, dial, enter, exchange, post

__all__ = ("MESSAGES", "garbage", "large_calls")

#: The largest message.
LARGEST: Final = 4 << 20


def _filled(pattern: str, size: int = LARGEST) -> bytes:
    return b"[" + b",".join([pattern.encode()] * (size // (len(pattern) + 1) - 1)) + b"]"


#: Messages of 4 MiB that mean nothing, or a little many times.
MESSAGES: Final[Mapping[str, Callable[[], bytes]]] = {
    "ones": lambda: _filled("1"),
    "lists": lambda: _filled("[]"),
    "objects": lambda: _filled("{}"),
    "deep": lambda: b"[" * (LARGEST - 1),
    "deep objects": lambda: b'{"a":' * (LARGEST // 5 - 1),
    "ones 500 KB": lambda: _filled("1", 500_000),
    "calls of nothing": lambda: _filled('{"jsonrpc":"2.0","method":"none","id":1}', 500_000),
    "not UTF-8": lambda: b'{"jsonrpc":"2.0","id":1,"method":"' + b"\xff" * (LARGEST - 64) + b'"}',
    "members": lambda: b"{" + b",".join(b'"k%d":1' % n for n in range(350_000)) + b"}",
}


def garbage(message: str, way: str, sockets: int = 1) -> Attack:
    """The same message again and again: in one of the ways, or by ``post``."""
    made: list[bytes] = []

    def work(target: Target) -> None:
        if not made:
            made.append(MESSAGES[message]())
        if way == "post":
            with dial(target.port) as tcp:
                status, _ = exchange(tcp, post(made[0], target.key))
                target.count(f"HTTP {status}")
            return
        web = enter(target, way)
        try:
            while target.going:
                web.send(made[0])
                target.count("messages")
                web.receive()
        finally:
            web.close()

    return crowd(sockets, work)


def padded(way: str, where: str, number: int = 1, size: int = LARGEST) -> bytes:
    """A call of the slow route that is as large as can be, with the padding in its data or beside it."""
    padding = "x" * (size - 512)
    data: dict[str, Any] = {"x": padding} if where == "data" else {}
    beside: dict[str, Any] = {where: {"x": padding} if where == "headers" else padding}
    if where == "data":
        beside = {}
    if way == "older":
        message = {"endpoint": "hold", "data": data, **beside}
        message["headers"] = {**message.get("headers", {}), "Authorization": "KEY"}
    elif way == "better":
        message = {"endpoint": "hold", "kwargs": data, "secret": "KEY", **beside}
    else:
        message = call("hold", data, number, **beside)
    return json.dumps(message).encode()


def large_calls(way: str, where: str = "data", connections: int = 4) -> Attack:
    """Calls of 4 MiB of a slow route, more and more of them in progress."""

    def by_post(target: Target) -> None:
        with dial(target.port) as tcp:
            tcp.sendall(post(padded(way, where), target.key))
            target.count("calls")
            keep(target, tcp)

    def by_socket(target: Target) -> None:
        web = enter(target, way)
        size = (500 << 10) if way in ("older", "better") else LARGEST
        try:
            message = padded(way, where, size=size).replace(b'"KEY"', json.dumps(target.key).encode())
            number = 1
            while target.going:
                number += 1
                web.send(message.replace(b'"id": 1', b'"id": %d' % number, 1))
                target.count("calls")
                time.sleep(0.01)
            keep(target, web.tcp)
        finally:
            web.close()

    # Over a connection for each call, where one connection carries one.
    return crowd(30, by_post) if way == "post" else crowd(connections, by_socket)
