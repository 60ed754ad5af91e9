"""With the key: messages, calls and answers that are as large or as many as can be."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks.attack.crowd import Attack, crowd, keep
from benchmarks.attack.wire import (
    BINARY,
    NATIVE,
    TEXT,
    Refused,
    Target,
    Web,
    call,
    dial,
    enter,
    exchange,
    frame,
    hello,
    notification,
    post,
    unauthenticated,
)

__all__ = (
    "MESSAGES",
    "answers",
    "away",
    "endless_streams",
    "garbage",
    "hellos",
    "filters",
    "invented_names",
    "large_calls",
    "large_messages",
    "names",
    "notifications",
    "partial",
    "unknown_endpoints",
    "unread_answers",
    "violations",
)

#: The largest message, and the largest one of a client that shows its key in the message.
LARGEST: Final = 4 << 20
LARGEST_WITHOUT_KEY: Final = 512 << 10


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
    "lists in data": lambda: (
        b'{"jsonrpc":"2.0","id":1,"method":"take","params":{"x":' + _filled("[]", LARGEST - 128) + b"}}"
    ),
    "objects in data": lambda: (
        b'{"jsonrpc":"2.0","id":1,"method":"take","params":{"x":' + _filled('{"a":1}', LARGEST - 128) + b"}}"
    ),
    "lists in headers": lambda: (
        b'{"jsonrpc":"2.0","id":1,"method":"take","headers":{"x":' + _filled("[]", LARGEST - 128) + b"}}"
    ),
    "lists up to the bound": lambda: (
        b'{"jsonrpc":"2.0","id":1,"method":"take","params":{"x":' + _filled("[]", 146_000) + b"}}"
    ),
    "pack of lists": lambda: _filled(
        '{"jsonrpc":"2.0","id":1,"method":"take","params":{"x":' + _filled("[]", 8_000).decode() + "}}",
        500_000,
    ),
    "strings": lambda: (
        b'{"jsonrpc":"2.0","id":1,"method":"take","params":{"x":' + _filled('"a"', LARGEST - 128) + b"}}"
    ),
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


def asked(way: str, route: str, number: int, data: dict[str, Any] | None = None, key: str = "") -> Any:
    """A call of a route as it is written in one of the ways."""
    if way == "older":
        return {"endpoint": route, "data": data or {}, "headers": {"Authorization": key}}
    if way == "better":
        return {"endpoint": route, "kwargs": data or {}, "secret": key}
    return call(route, data, number)


def partial(way: str, connections: int, size: int = LARGEST, source: str | None = None) -> Attack:
    """Messages whose last part never comes. They come from addresses that ``source`` is a form of."""
    addresses = itertools.count(1)

    def work(target: Target) -> None:
        if way == "post":
            with dial(target.port) as tcp:
                tcp.sendall(post(b"x" * size, target.key)[:-1])
                target.count("messages")
                keep(target, tcp)
            return
        address = None if source is None else source.format(next(addresses) % 200 + 1)
        web = enter(target, way) if address is None else unauthenticated(target, way, address)
        try:
            data = frame(BINARY if way == "native" else TEXT, b"x" * (size - 1), end=False)
            web.tcp.sendall(data)
            target.count("messages")
            keep(target, web.tcp)
        finally:
            web.close()

    return crowd(connections, work, pause=0.1)


def large_messages(way: str, connections: int = 40) -> Attack:
    """Calls of 4 MiB of a quick route, from many clients at once."""

    def work(target: Target) -> None:
        web = enter(target, way)
        try:
            message = json.dumps(call("take", {"x": "x" * (LARGEST - 512)})).encode()
            while target.going:
                web.send(message)
                web.receive()
                target.count("calls")
        finally:
            web.close()

    return crowd(connections, work)


def unread_answers(way: str, clients: int = 40) -> Attack:
    """Clients that ask for 29 times 4 MB and never read."""

    def work(target: Target) -> None:
        web = enter(target, way)
        try:
            for number in range(29):
                web.send(asked(way, "big", number + 1, key=target.key))
                target.count("calls")
            while target.going:
                time.sleep(0.05)
                web.send(asked(way, "small", 99, key=target.key))
        finally:
            web.close()

    return crowd(clients, work)


def away(clients: int = 60) -> Attack:
    """Clients that get 8 MB, acknowledge nothing, disconnect and stay away."""

    def work(target: Target) -> None:
        web = enter(target, "native")
        try:
            for number in (1, 2):
                web.send(call("big", {"size": 3_900_000}, number))
                web.receive()
            target.count("away")
        finally:
            web.close()

    return crowd(min(clients, 8), work)


def hellos(members: Mapping[str, Any], *, must_fail: bool, connections: int = 4) -> Attack:
    """Hellos with such members, and a call after each that is accepted."""
    made: list[str] = []

    def work(target: Target) -> None:
        if not made:
            made.append(json.dumps(hello(**members)))
        web = Web(target.port, {"Authorization": target.key, "Sec-WebSocket-Protocol": NATIVE})
        try:
            web.send(made[0])
            answer = json.loads(web.receive())
            if must_fail and "result" in answer:
                target.fault(f"a hello was accepted with {str(members)[:80]}")
            target.count("hellos")
            web.send(call("small"))
            web.receive()
        finally:
            web.close()

    return crowd(connections, work)


def invented_names(subscriptions: int = 400, each: int = 256) -> Attack:
    """Subscriptions to names that nobody publishes."""

    def work(target: Target) -> None:
        web = enter(target, "native")
        try:
            for number in range(subscriptions):
                invented = [f"name {number} {n} {id(web)}" for n in range(each)]
                web.send(call("rpc.subscribe", {"events": invented}, number + 1, credit=10))
                target.count("subscriptions")
            keep(target, web.tcp)
        finally:
            web.close()

    return crowd(2, work)


def filters(subscriptions: int = 200, values: int = 1024) -> Attack:
    """Subscriptions whose filters have as many values as they may have, made and dropped again and again."""

    def work(target: Target) -> None:
        web = enter(target, "native")
        try:
            for number in range(subscriptions):
                wanted = {"guild_id": list(range(number * values, (number + 1) * values))}
                params = {"events": [f"name {number % 10}", "message"], "filter": wanted}
                web.send(call("rpc.subscribe", params, number + 1, credit=10))
                target.count("subscriptions")
        finally:
            web.close()

    return crowd(2, work)


def unknown_endpoints(way: str, make_name: Callable[[], str] = lambda: f"none {time.monotonic()}") -> Attack:
    """Calls of routes that do not exist, by default each of another name."""

    def work(target: Target) -> None:
        if way == "post":
            with dial(target.port) as tcp:
                while target.going:
                    exchange(tcp, post(json.dumps(call(make_name())).encode(), target.key))
            return
        web = enter(target, way)
        try:
            while target.going:
                for number in range(20):
                    web.send(asked(way, make_name(), number + 1, key=target.key))
                for _ in range(20 if way != "native" else 1):
                    web.receive()
                target.count("calls", 20)
        finally:
            web.close()

    return crowd(2, work)


def violations() -> Attack:
    """Messages that are not in the protocol, until the bot closes, and the same again."""

    def work(target: Target) -> None:
        web = enter(target, "native")
        try:
            for number in range(20):
                web.send({"jsonrpc": "1.0", "id": number, "method": f"FORGED {number}"})
            keep(target, web.tcp)
        finally:
            web.close()

    return crowd(4, work)


def names(way: str) -> Attack:
    """Routes whose names are long or would forge lines of the log."""
    forged = ("a\nFORGED line", "a\r\nFORGED line", "\u2028FORGED", "\x1b[31mFORGED", "x" * 400_000)

    def work(target: Target) -> None:
        web = enter(target, way)
        try:
            while target.going:
                for number, name in enumerate(forged):
                    web.send(asked(way, name, number + 1, key=target.key))
                    web.receive()
                    target.count("calls")
        finally:
            web.close()

    return crowd(1, work)


def notifications(kind: str) -> Attack:
    """Notifications of the protocol without an end, in packs; they need no answer."""
    made = {
        "more": notification("rpc.more", {"id": 1, "n": 1}),
        "cancel": notification("rpc.cancel", {"id": 77}),
        "clock": notification("rpc.clock", {"time": 1.0}),
        "unknown": notification("rpc.unknown", {}),
        "calls": call("small"),
    }[kind]
    message = _filled(json.dumps(made), 250_000)

    def work(target: Target) -> None:
        web = enter(target, "native")
        try:
            while target.going:
                web.send(message)
                target.count("messages")
                if kind == "calls":
                    web.receive()
        finally:
            web.close()

    return crowd(1, work)


def endless_streams(number: int = 199) -> Attack:
    """Streams without an end, whose reader takes all there is."""

    def work(target: Target) -> None:
        web = enter(target, "native")
        try:
            for one in range(number):
                web.send(call("endless", {}, one + 1, credit=10**9))
            while target.going:
                web.receive()
                target.count("messages")
        finally:
            web.close()

    return crowd(1, work)


def answers(way: str, pack: int = 1) -> Attack:
    """Answers of 3.7 MiB with 2,000 members, one or several for each message."""

    def work(target: Target) -> None:
        calls = [call("members", {}, number + 1) for number in range(pack)]
        if way == "post":
            with dial(target.port) as tcp:
                exchange(tcp, post(json.dumps(calls[0]).encode(), target.key))
            return
        web = enter(target, way)
        try:
            while target.going:
                web.send(calls if pack > 1 else asked(way, "members", 1, key=target.key))
                for _ in range(pack if way == "native" else 1):
                    web.receive()
                target.count("answers", pack)
        except Refused:
            target.count("closed")
            raise
        finally:
            web.close()

    return crowd(1, work)
