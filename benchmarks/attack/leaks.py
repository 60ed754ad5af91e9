"""Places that the secret key could get to: exceptions, logs, the headers of requests, refusals of constructors."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.attack.crowd import Attack
from benchmarks.attack.wire import (
    NATIVE,
    Refused,
    Target,
    Web,
    call,
    dial,
    exchange,
    hello,
    post,
    read_head,
    request_head,
)

__all__ = ("broken_keys", "errors", "found", "headers", "headers_seen", "refusals")

#: How far the search follows attributes.
DEPTH: Final = 8

#: Spellings of the header with the key.
SPELLINGS: Final = ("Authorization", "authorization", "AUTHORIZATION", "aUTHORIZATION")


def found(key: str, start: object) -> list[str]:
    """Paths to texts with the key, from an exception along causes, contexts, arguments and attributes."""
    paths: list[str] = []
    seen: set[int] = set()

    def look(value: object, path: str, depth: int) -> None:
        if isinstance(value, bytes | bytearray):
            value = bytes(value).decode("latin-1")
        if isinstance(value, str):
            if key in value:
                paths.append(path)
            return
        # A traceback holds the variables of this library, among them the key: no program shows those by itself.
        if depth > DEPTH or id(value) in seen or callable(value) or type(value).__name__ == "traceback":
            return
        seen.add(id(value))
        for name, part in _parts(value):
            look(part, f"{path}.{name}", depth + 1)

    look(start, type(start).__name__, 0)
    if isinstance(start, BaseException) and key in "".join(traceback.format_exception(start)):
        paths.append("its text with traceback")
    return paths


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, BaseException):
        yield "args", value.args
        yield "cause", value.__cause__
        yield "context", value.__context__
        yield "str", str(value)
        yield "repr", repr(value)
    if isinstance(value, Mapping):
        yield from ((str(name), part) for name, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((str(number), part) for number, part in enumerate(value))
    yield from getattr(value, "__dict__", {}).items()
    for cls in type(value).__mro__:
        slots = getattr(cls, "__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            yield name, getattr(value, name, None)


#: What a foreign server answers to a handshake; the last one closes at once.
FOREIGN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Broken: a\x01\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"",
)


@contextmanager
def foreign_server(answer: bytes) -> Iterator[int]:
    """A server that is no bot. Returns its port."""
    import socket

    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                tcp, _ = listening.accept()
            except OSError:
                return
            try:
                read_head(tcp)
                tcp.sendall(answer)
            except (OSError, Refused):
                pass
            tcp.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


class _Texts(logging.Handler):
    """Keeps all that is logged, debug lines included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


def errors(target: Target) -> None:
    """What a client raises and logs where it is refused or finds no bot."""
    texts = _Texts()
    logging.basicConfig(level=logging.DEBUG, handlers=[texts])
    key = f"leaked-{target.key}"  # wrong at the bot, and nowhere else
    asyncio.run(_refused(target, key, target.port, None))
    asyncio.run(_refused(target, key, None, target.multicast_port))
    asyncio.run(_refused(target, key, 1, None))
    asyncio.run(_refused(target, key, None, 1))
    for answer in FOREIGN:
        with foreign_server(answer) as port:
            asyncio.run(_refused(target, key, port, None))
            asyncio.run(_refused(target, key, None, port))
    target.count("lines", len(texts.texts))
    for text in texts.texts:
        if key in text:
            target.fault(f"the key is logged: {text.replace(key, '<key>')}")


async def _refused(target: Target, key: str, port: int | None, multicast_port: int | None) -> None:
    from discord_tools.ipc import ClientSession
    from discord_tools.ipc.missing import MISSING

    session = ClientSession(
        "127.0.0.1",
        MISSING if port is None else port,
        multicast_port=multicast_port or 20000,
        secret_key=key,
        connect_timeout=0.3,
        timeout=0.3,
    )
    try:
        async with session:
            await session.request("small")
        target.fault("a wrong key was accepted")
    except Exception as error:
        target.count(type(error).__name__)
        for path in found(key, error):
            target.fault(f"the key is in {path}")


def headers(way: str) -> Attack:
    """Calls with the key among their headers, in every spelling. :func:`headers_seen` judges what the route got."""

    def attack(target: Target) -> None:
        own = {"X-Kept": "kept", **dict.fromkeys(SPELLINGS, target.key)}
        if way == "post":
            with dial(target.port) as tcp:
                message = call("headers", headers=own)
                status, _ = exchange(tcp, post(_json(message), target.key, **{"X-Kept": "kept"}))
                target.count(f"HTTP {status}")
            return
        web = _Sockets[way](target)
        if way == "native":
            web.send(hello(headers=own))
            web.receive()
        if way == "older":
            message = {"endpoint": "headers", "data": {}, "headers": own}
        elif way == "better":
            message = {"endpoint": "headers", "kwargs": {}, "secret": target.key, "headers": own}
        else:
            message = call("headers", headers=own)
        web.send(message)
        target.count("answered", b"ok" in web.receive())
        if way == "native":  # those of the hello
            web.send(call("headers", {}, 2))
            web.receive()
        web.close()

    return attack


def _json(message: dict[str, Any]) -> bytes:
    import json

    return json.dumps(message).encode()


#: How the sockets are opened that show headers.
_Sockets: Final[Mapping[str, Callable[[Target], Web]]] = {
    "native": lambda target: Web(
        target.port, {"Authorization": target.key, "Sec-WebSocket-Protocol": NATIVE}
    ),
    "jsonrpc": lambda target: Web(target.port, {"Authorization": target.key}),
    "older": lambda target: Web(target.port),
    "better": lambda target: Web(target.multicast_port),
}


def headers_seen(bot: dict[str, Any]) -> list[str]:
    """What is wrong with the headers that routes got."""
    faults = [] if bot["headers"] else ["the route did not run"]
    for seen in bot["headers"]:
        faults += [
            f"Request.headers has {name!r}: {'the key' if str(value).startswith('key-') else 'no key'}"
            for name, value in seen.items()
            if name.lower() == "authorization" or str(value).startswith("key-")
        ]
    return faults


def broken_keys(target: Target) -> None:
    """Handshakes and posts with the key and something that no header may have, or far too long."""
    while target.going:
        for value in (f"{target.key}\x01", f"{target.key}\x7f", target.key * 250, f"{target.key}\r\n folded"):
            for method in ("GET", "POST"):
                try:
                    with dial(target.port) as tcp:
                        exchange(tcp, request_head(method, "/", {"Host": "x", "Authorization": value}))
                except (OSError, Refused):
                    target.count("closed")


def refusals(target: Target) -> None:
    """Keys that no header can carry: constructors refuse them, and do not tell them."""
    import discord

    from discord_tools.ipc import ClientSession, Server

    def server(key: Any) -> None:
        Server(discord.Client(intents=discord.Intents.none()), "127.0.0.1", 0, key)

    def client(key: Any) -> None:
        ClientSession("127.0.0.1", 1, secret_key=key)

    key = target.key
    bad: tuple[Any, ...] = (
        *(f"{key}\n", f"{key}\r\nX: y", f"{key}\x00", f"\t{key}", f"{key} ", f"{key}\x7f", f"{key}\ud800"),
        *(key * 250, key.encode(), [key], {key: key}),
    )
    for make in (server, client):
        for value in bad:
            try:
                make(value)
            except (TypeError, ValueError) as error:
                target.count("refused")
                for path in found(key, error):
                    target.fault(f"{make.__name__}: the key is in {path}")
            else:
                target.fault(f"{make.__name__}: accepted {str(value)[-12:]!r} at the end of a key")
