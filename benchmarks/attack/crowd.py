"""Many threads of one attacker, each with sockets of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from benchmarks.attack.wire import Refused, Target, Web

__all__ = ("Attack", "crowd", "drain", "keep", "pour")

#: What attacks.
Attack: TypeAlias = Callable[[Target], None]

#: How long a write may wait before the attacker looks at the time again, in seconds.
STEP: Final = 0.1


def crowd(number: int, work: Attack, *, pause: float = 0.0) -> Attack:
    """Does the work in a number of threads, again and again until the time is over.

    That the bot refuses is what it should do: it is counted.
    """

    def again(target: Target) -> None:
        while target.going:
            try:
                work(target)
                target.count("rounds")
            except Refused as error:
                target.count(f"refused {error.status}" if error.status else "closed")
            except OSError as error:
                target.count(type(error).__name__)
            time.sleep(pause)

    def attack(target: Target) -> None:
        threads = [threading.Thread(target=again, args=(target,), daemon=True) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, target.until - time.monotonic()) + STEP)

    return attack


def pour(target: Target, web: Web, chunk: bytes, *, read: bool = True) -> None:
    """Writes the same again and again until the time is over. Raises :exc:`OSError` where the bot closes."""
    tcp, view, start = web.tcp, memoryview(chunk), 0
    tcp.settimeout(STEP)
    while target.going:
        try:
            sent = tcp.send(view[start:])
        except TimeoutError:
            sent = 0
        target.count("bytes", sent)
        start = (start + sent) % len(chunk)
        if read:
            drain(tcp)


def drain(tcp: socket.socket) -> int:
    """Reads and drops what is there. Raises :exc:`Refused` at the end of the connection."""
    size = 0
    tcp.setblocking(False)
    try:
        while True:
            data = tcp.recv(1 << 18)
            if not data:
                raise Refused("the bot closed the connection")
            size += len(data)
    except BlockingIOError:
        return size
    finally:
        tcp.settimeout(STEP)


def keep(target: Target, tcp: socket.socket) -> None:
    """Holds a connection until the bot closes it or the time is over."""
    tcp.settimeout(STEP)
    while target.going:
        try:
            if not tcp.recv(1 << 18):
                raise Refused("the bot closed the connection")
        except TimeoutError:
            continue
