"""The cases: what attacks, on which bot, and within which bounds it must stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.attack import floods, grabbed, leaks, loads
from benchmarks.attack.crowd import Attack

__all__ = ("CASES", "Bounds", "Case", "case_named")

MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What an attack may cost.

    Times are of a normal machine, and are stretched on a slower one. ``tolerance`` is a factor for the longest stall:
    the garbage collector may run in any turn of the loop, and the ticker counts up to 2 ms before it. ``ratio`` bounds
    the neighbour's p99 in relation to the quiet phase, and ``floor`` is what is well in any case: its call may wait
    for two turns of the loop that are as long as is allowed.
    """

    stall_cpu: float = 0.020
    tolerance: float = 1.5
    memory: int = 48 * MIB
    files: int = 200
    lines: int = 20
    line_bytes: int = 16 << 10
    ratio: float = 3.0
    floor: float = 0.040
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One attack.

    ``newcomer`` is how further honest clients connect meanwhile: by the ``port``, or by the ``multicast`` port.
    ``files`` is the number of files that the bot may open, and ``inspect`` finds faults in what the bot tells.
    """

    name: str
    attack: Attack
    bounds: Bounds = Bounds()
    newcomer: str | None = "port"
    files: int | None = None
    group: str = ""
    inspect: Callable[[dict[str, Any]], list[str]] = lambda bot: []


def _frame_cases() -> list[Case]:
    ways = {
        "main": "before the key, main port",
        "multicast": "before the key, multicast port",
        "hello": "with the key, before the hello",
        "native": "with the key",
        "jsonrpc": "with the key, JSON-RPC",
        "older": "with the key, older client",
        "better": "with the key, better-ipc",
    }
    return [
        Case(
            name=f"{kind} {'8 sockets ' if many else ''}{way}".replace(" ", "-"),
            attack=floods.frames(kind, way, 8 if many else 1),
            group=f"{kind}, {where}",
        )
        for way, where in ways.items()
        for kind in floods.FRAMES
        for many in (False, True)
        if not many or (kind in ("pings", "pongs") and way in ("main", "native"))
        if way in ("main", "multicast", "native") or kind in ("pings", "tiny texts", "fragments")
    ]


def _guess_cases() -> list[Case]:
    # Five are answered at once, then each later than the last one; 40 in all. Those of one address share the count.
    bounds = Bounds(counts={"answered": 40})
    ways = ("post", "handshake", "jsonrpc handshake", "question header", "older", "better", "question")
    return [
        Case(
            name=f"guesses {way}".replace(" ", "-"),
            attack=floods.guesses(way),
            group="keys are guessed",
            bounds=bounds,
        )
        for way in ways
    ]


def _connection_cases() -> list[Case]:
    idle = "TCP connections that say nothing"
    held = "WebSockets that show no key, while others connect"
    header = "header lines with control characters"
    foreign = "handshakes with a foreign subprotocol"
    body = "bodies that no handler reads"
    # 256 connections from one address that have sent nothing, and those that are being closed.
    bounds = Bounds(files=384)
    return [
        Case(name="idle-connections", attack=floods.idle(1150), files=1024, bounds=bounds, group=idle),
        Case(
            name="idle-connections-multicast",
            attack=floods.idle(1150, multicast=True),
            files=1024,
            newcomer="multicast",
            bounds=bounds,
            group=idle,
        ),
        Case(
            name="idle-connections-40-addresses",
            attack=floods.idle(1150, addresses=40),
            files=1024,
            bounds=bounds,
            group=idle,
        ),
        Case(name="half-requests", attack=floods.half_requests(200), files=1024, bounds=bounds, group=idle),
        Case(
            name="sockets-main-port-question",
            attack=floods.held(100, "main"),
            newcomer="multicast",
            group=held,
        ),
        Case(name="sockets-main", attack=floods.held(100, "main"), group=held),
        Case(
            name="sockets-multicast-port-question",
            attack=floods.held(100, "multicast"),
            newcomer="multicast",
            group=held,
        ),
        Case(name="sockets-multicast", attack=floods.held(100, "multicast"), group=held),
        Case(
            name="sockets-other-address-port-question",
            attack=floods.held(100, "main", "127.0.0.2"),
            newcomer="multicast",
            group=held,
        ),
        Case(name="control-character-main", attack=floods.broken_headers(False), group=header),
        Case(name="control-character-multicast", attack=floods.broken_headers(True), group=header),
        Case(name="foreign-subprotocol-main", attack=floods.foreign_subprotocols(False), group=foreign),
        Case(name="foreign-subprotocol-multicast", attack=floods.foreign_subprotocols(True), group=foreign),
        Case(name="gzip-get-health", attack=floods.bodies("GET", "/health", compressed=True), group=body),
        Case(name="gzip-get", attack=floods.bodies("GET", "/", compressed=True), group=body),
        Case(name="gzip-post", attack=floods.bodies("POST", "/", compressed=True), group=body),
        Case(name="body-get-health", attack=floods.bodies("GET", "/health", compressed=False), group=body),
        Case(name="body-post", attack=floods.bodies("POST", "/", compressed=False), group=body),
        Case(name="body-elsewhere", attack=floods.bodies("PUT", "/none", compressed=False), group=body),
        Case(
            name="gzip-post-with-key",
            attack=floods.bodies("POST", "/", compressed=True, with_key=True),
            group=body,
        ),
    ]


#: What a server holds for all its clients, encoded and decoded, and messages under way on a few connections.
HELD: Final = 2 * 64 * MIB + 96 * MIB


def _garbage_cases() -> list[Case]:
    ways = ("hello", "native", "jsonrpc", "post")
    return [
        Case(
            name=f"garbage {message} {way}".replace(" ", "-"),
            attack=loads.garbage(message, way),
            bounds=Bounds(memory=96 * MIB),
            group="4 MiB of garbage",
        )
        for message in loads.MESSAGES
        for way in ways
        if way in ("native", "jsonrpc") or message in ("ones", "lists", "deep", "objects in data")
    ]


def _memory_cases() -> list[Case]:
    bounds = Bounds(memory=HELD)
    calls = [
        Case(
            name=f"large-calls {where} {way}".replace(" ", "-"),
            attack=loads.large_calls(way, where),
            bounds=bounds,
            group="calls of 4 MiB of a slow route" + (f", padding in {where}" if where != "data" else ""),
        )
        for where, ways in {
            "data": ("native", "jsonrpc", "post", "older", "better"),
            "padding": ("native", "jsonrpc", "post", "older", "better"),
            "headers": ("native", "jsonrpc", "post", "older"),
        }.items()
        for way in ways
    ]
    unread = [
        Case(
            name=f"unread-answers-{way}",
            attack=loads.unread_answers(way),
            bounds=bounds,
            group="40 clients that ask for 29 times 4 MB and do not read",
        )
        for way in ("native", "jsonrpc", "older", "better")
    ]
    return [
        *calls,
        *unread,
        *(
            Case(
                name=f"partial-messages-{way}",
                attack=loads.partial(way, 60),
                bounds=bounds,
                group="messages of 4 MiB that are never complete",
            )
            for way in ("native", "jsonrpc", "post")
        ),
        *(
            Case(
                name=f"large-messages-{way}",
                attack=loads.large_messages(way),
                bounds=bounds,
                group="40 clients with calls of 4 MiB at once",
            )
            for way in ("native", "jsonrpc")
        ),
        Case(name="away-unacknowledged", attack=loads.away(), bounds=bounds, group="clients away with 8 MB"),
        Case(
            name="hello-headers",
            attack=loads.hellos({"headers": {"x": "x" * (4 * MIB - 200)}}, must_fail=True),
            bounds=Bounds(memory=96 * MIB),
            group="hellos with 4 MiB of headers",
        ),
        Case(name="invented-names", attack=loads.invented_names(), group="subscriptions to 102,400 names"),
        Case(name="filters", attack=loads.filters(), group="subscriptions with filters of 1,024 values"),
    ]


def _word_cases() -> list[Case]:
    row = "foreign words in the log"
    ways = ("native", "jsonrpc", "older", "better")
    cases = [
        Case(
            name=f"unknown-endpoints-{way}",
            attack=loads.unknown_endpoints(way),
            group="unknown endpoints in a row",
        )
        for way in (*ways, "post")
    ]
    cases.append(Case(name="violations", attack=loads.violations(), group="16 violations, then again"))
    cases += [Case(name=f"route-names-{way}", attack=loads.names(way), group=row) for way in ways]
    for name, client in {
        "newlines": "a\nFORGED line",
        "control": "\x1b[31mFORGED",
        "long": "x" * (4 * MIB - 200),
    }.items():
        hello = loads.hellos({"client": client}, must_fail=name == "long")
        cases.append(
            Case(name=f"client-name-{name}", attack=hello, bounds=Bounds(memory=96 * MIB), group=row)
        )
    cases += [
        Case(
            name=f"hello-message-bytes{size:+}",
            attack=loads.hellos({"message_bytes": size}, must_fail=True),
            group="hello.message_bytes that leaves no place for an answer",
        )
        for size in (1, 60, -5, 0)
    ]
    return cases


def _turn_cases() -> list[Case]:
    answer = "answers of 2,000 members"
    bounds = Bounds(memory=HELD)
    cases = [Case(name="endless-streams", attack=loads.endless_streams(), group="199 endless streams")]
    cases += [
        Case(name=f"large-answers-{way}", attack=loads.answers(way), bounds=bounds, group=answer)
        for way in ("native", "jsonrpc", "post", "older", "better")
    ]
    cases += [
        Case(name=f"large-answers-pack-{way}", attack=loads.answers(way, 10), bounds=bounds, group=answer)
        for way in ("native", "jsonrpc")
    ]
    cases += [
        Case(name=f"notifications-{kind}", attack=loads.notifications(kind), group="packs of notifications")
        for kind in ("more", "cancel", "clock", "unknown", "calls")
    ]
    return cases


def _leak_cases() -> list[Case]:
    row = "the key gets out"
    return [
        Case(
            name="leak-errors", attack=leaks.errors, bounds=Bounds(lines=40), group=f"{row}: errors and logs"
        ),
        Case(name="leak-refusals", attack=leaks.refusals, group=f"{row}: keys that no header can carry"),
        Case(name="leak-broken-keys", attack=leaks.broken_keys, group=f"{row}: the log of the bot"),
        *(
            Case(
                name=f"leak-headers-{way}",
                attack=leaks.headers(way),
                inspect=leaks.headers_seen,
                group=f"{row}: Request.headers",
            )
            for way in ("native", "jsonrpc", "post", "older", "better")
        ),
        *(
            Case(
                name=f"leak-port-{name}",
                attack=grabbed.grabbed(name),
                group=f"{row}: another program at the multicast port",
            )
            for name in grabbed.ANSWERS
        ),
        Case(
            name="leak-port-relay",
            attack=grabbed.relayed,
            group=f"{row}: another program at the multicast port",
        ),
    ]


CASES: Final = (
    *_frame_cases(),
    *_guess_cases(),
    *_connection_cases(),
    *_garbage_cases(),
    *_memory_cases(),
    *_word_cases(),
    *_turn_cases(),
    *_leak_cases(),
)


def case_named(name: str) -> Case:
    """Returns a case.

    Raises
    ------
    LookupError
        There is none of that name.
    """
    for case in CASES:
        if case.name == name:
            return case
    raise LookupError(f"no case {name!r}; --list shows them")
