"""The cases of parameters, rules, fields, names and subscriptions."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.attack import hostile
from benchmarks.attack.case import MIB, Bounds, Case

__all__ = ("GUARDED_CASES",)

#: Requests to Discord at a time.
MOST_FETCHES: Final = 10


#: Data with which a route fails. Ten failures within a minute are logged, each with a traceback of some thirty lines.
FAILING: Final = (
    "cooldown key of lists",
    "cooldown no key",
    "fields not known",
    "fields 90000",
    "fields deep",
)
FAILURES: Final = Bounds(lines=400, line_bytes=48 << 10)


def _fetches(bot: dict[str, Any]) -> list[str]:
    most = bot["fetches"]
    return [f"{most} requests to Discord at a time (at most {MOST_FETCHES})"] if most > MOST_FETCHES else []


def _data_cases() -> list[Case]:
    return [
        Case(
            name=f"data-{name}".replace(" ", "-"),
            attack=hostile.data(name),
            bounds=FAILURES if name in FAILING else Bounds(),
            inspect=_fetches,
            group=f"data of {hostile.DATA[name][0]}",
        )
        for name in hostile.DATA
    ]


def _flood_cases() -> list[Case]:
    floods = [
        Case(
            name=f"flood-{name}".replace(" ", "-"),
            attack=hostile.flood(name),
            bounds=FAILURES if name in FAILING else Bounds(),
            group="many refused calls",
        )
        for name in ("refused", "cooldown keys", "cooldown one key", "cooldown guilds", "cooldown no key")
    ]
    fetched = hostile.flood("ids 25", sockets=8, together=10)
    return [
        *floods,
        Case(name="fetches", attack=fetched, inspect=_fetches, group="ids that exist nowhere, 25 in a call"),
        *(
            Case(
                name=f"many-callers-{way}-{sockets}",
                attack=hostile.many_callers(way, sockets),
                group="small calls from many connections",
            )
            for way in ("native", "jsonrpc")
            for sockets in (4, 40)
        ),
        Case(
            name="queue",
            attack=hostile.queues(),
            # Each call in progress takes more than the 4 KiB that it counts as, up to the server's limit for all.
            # The garbage collector looks at thousands of them, in one turn.
            bounds=Bounds(memory=160 * MIB, tolerance=5.0, ratio=30.0),
            group="calls that wait for others",
        ),
    ]


def _name_cases() -> list[Case]:
    return [
        Case(
            name=f"similar-names-{size}-{way}",
            attack=hostile.unknown_names(way, size),
            group="routes that do not exist, with names like one that does",
        )
        for way in ("native", "jsonrpc")
        for size in (30, 64, 100_000)
    ]


def _subscription_cases() -> list[Case]:
    cases = [
        Case(
            name=f"subscriptions-{name}".replace(" ", "-"),
            attack=hostile.subscriptions(name, lambda number: ["tick"]),
            bounds=Bounds(memory=96 * MIB),
            group="subscriptions while events come",
        )
        for name in hostile.FILTERS
    ]
    similar = hostile.subscriptions(
        "none", lambda number: [f"messagez{number}{n}" for n in range(8)], each=900
    )
    bounds = Bounds(memory=96 * MIB)
    return [*cases, Case(name="similar-events", attack=similar, bounds=bounds, group="names of events")]


GUARDED_CASES: Final = (*_data_cases(), *_flood_cases(), *_name_cases(), *_subscription_cases())
