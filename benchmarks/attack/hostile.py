"""With the key: data that is hard to convert, to count and to compare, and names that do not exist."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from benchmarks.attack.crowd import Attack, crowd, keep, pour
from benchmarks.attack.loads import unknown_endpoints
from benchmarks.attack.wire import TEXT, Target, Web, call, enter, frame

__all__ = ("DATA", "FILTERS", "data", "flood", "many_callers", "queues", "subscriptions", "unknown_names")

#: Makes the data of a call, out of ids that exist and of the number of the call.
Make: TypeAlias = Callable[[Mapping[str, str], int], dict[str, Any]]

#: The first id that exists nowhere.
NOWHERE: Final = 10**17


def _nowhere(number: int, count: int) -> list[str]:
    return [str(NOWHERE + number * count + n) for n in range(count)]


def _deep(depth: int, inner: Any, name: str, *, many: bool) -> Any:
    for _ in range(depth):
        inner = {name: [inner] if many else inner}
    return inner


#: What is sent, by the name of a case: the route, and its data. A route stands for several cases.
DATA: Final[Mapping[str, tuple[str, Make]]] = {
    # Lists of ids, around the bound of 2,000.
    "ids 50000": ("members", lambda ids, n: {"guild": ids["guild"], "users": _nowhere(n, 50_000)}),
    "ids 2001": ("members", lambda ids, n: {"guild": ids["guild"], "users": _nowhere(n, 2_001)}),
    "ids 2000": ("members", lambda ids, n: {"guild": ids["guild"], "users": _nowhere(n, 2_000)}),
    "ids 25": ("members", lambda ids, n: {"guild": ids["guild"], "users": _nowhere(n, 25)}),
    "ids 26": ("members", lambda ids, n: {"guild": ids["guild"], "users": _nowhere(n, 26)}),
    "ids cached 2000": (
        "cached_members",
        lambda ids, n: {"guild": ids["guild"], "users": [ids["member"]] * 2_000},
    ),
    "ids not cached 2000": (
        "cached_members",
        lambda ids, n: {"guild": ids["guild"], "users": _nowhere(n, 2_000)},
    ),
    "ids wrong 2000": (
        "cached_members",
        lambda ids, n: {"guild": ids["guild"], "users": ["x" * 1_900] * 2_000},
    ),
    "roles 2000": ("roles", lambda ids, n: {"roles": _nowhere(n, 2_000)}),
    # Values of discord.py.
    "messages of urls": (
        "messages",
        lambda ids, n: {
            "messages": [f"https://discord.com/channels/{'1' * 20}/{'2' * 20}/{'3' * 60}"] * 2_000
        },
    ),
    "messages nowhere": (
        "messages",
        lambda ids, n: {"messages": [f"{ids['channel']}-{one}" for one in _nowhere(n, 2_000)]},
    ),
    "messages of objects": (
        "messages",
        lambda ids, n: {"messages": [{"channel_id": "x" * 500, "id": 1}] * 2_000},
    ),
    "embeds full": (
        "embeds",
        lambda ids, n: {
            "embeds": [
                {"description": "x" * 4_096, "fields": [{"name": "x" * 256, "value": "x" * 1_024}] * 25}
            ]
            * 76
        },
    ),
    "embeds empty": ("embeds", lambda ids, n: {"embeds": [{}] * 90_000}),
    "flags": ("looks", lambda ids, n: {"permissions": ["x" * 1_900] * 2_000}),
    "flags by name": ("looks", lambda ids, n: {"permissions": {f"flag {one}": 1 for one in range(2_000)}}),
    "colours": ("looks", lambda ids, n: {"colours": ["rgb(" + "9" * 40 + "%," + "9" * 40 + ",x)"] * 2_000}),
    "emojis": ("looks", lambda ids, n: {"emojis": ["<a:" + ":" * 90 + "1>"] * 2_000}),
    # Pydantic, patterns and ranges.
    "pydantic wrong 90000": ("model", lambda ids, n: {"model": {"numbers": ["x"] * 90_000}}),
    "pydantic right 90000": ("model", lambda ids, n: {"model": {"names": ["x"] * 90_000}}),
    "pydantic deep": ("model", lambda ids, n: {"model": _deep(900, {}, "inner", many=False)}),
    "pydantic not known": ("model", lambda ids, n: {"model": {f"k{one}": one for one in range(45_000)}}),
    "pattern 90000": ("limited", lambda ids, n: {"words": ["a" * 20] * 89_999 + ["A"]}),
    "range 90000": ("limited", lambda ids, n: {"numbers": [1] * 89_999 + [10**30]}),
    # Structures.
    "tree deep": ("tree", lambda ids, n: {"tree": _deep(450, {}, "inner", many=True)}),
    "tree deep wrong": (
        "tree",
        lambda ids, n: {"tree": _deep(60, {"users": ["x" * 100] * 1_800}, "inner", many=True)},
    ),
    "tree wide": ("tree", lambda ids, n: {"tree": {"inner": [{}] * 90_000}}),
    "not known 90000": ("limited", lambda ids, n: {f"k{one}": 1 for one in range(90_000)}),
    "keywords 90000": ("keywords", lambda ids, n: {f"k{one}": 1 for one in range(90_000)}),
    # Rules.
    "refused": ("refused", lambda ids, n: {}),
    "cooldown keys": ("counted", lambda ids, n: {"key": f"key {n}"}),
    "cooldown key of 100 kB": ("counted", lambda ids, n: {"key": f"{n}" + "x" * 100_000}),
    "cooldown one key": ("counted", lambda ids, n: {"key": 1}),
    "cooldown key of lists": ("counted", lambda ids, n: {"key": [n]}),
    "cooldown no key": ("counted", lambda ids, n: {}),
    "cooldown guilds": ("counted_by_guild", lambda ids, n: {"guild_id": str(NOWHERE + n)}),
    "cooldown guild of lists": ("counted_by_guild", lambda ids, n: {"guild_id": [[]] * 45_000}),
    # Fields.
    "fields not known": ("fields", lambda ids, n: {"names": [f"nam{n}" + "x" * 100_000]}),
    "fields 90000": ("fields", lambda ids, n: {"names": ["id"] * 90_000}),
    "fields of one 90000": ("fields_of_members", lambda ids, n: {"names": ["id"] * 90_000}),
    "fields different": (
        "fields_of_members",
        lambda ids, n: {"names": ["id", "name"][n % 2 :] + ["roles"] * (n % 9)},
    ),
    "fields deep": ("fields_of_members", lambda ids, n: {"names": [".".join(["roles.tags"] * 9_000)]}),
}


def data(name: str, sockets: int = 2) -> Attack:
    """The calls of a case of :data:`DATA`, each after the answer to the last one."""
    return flood(name, sockets, together=1)


def flood(name: str, sockets: int = 2, together: int = 50) -> Attack:
    """The same, many calls at a time, so that the bot has always something to do."""
    route, make = DATA[name]
    numbers = itertools.count()

    def work(target: Target) -> None:
        web, ids = _entered(target)
        try:
            while target.going:
                for one in range(together):
                    web.send(call(f"guarded {route}", make(ids, next(numbers)), one))
                for _ in range(together):
                    target.count(_outcome(web.receive()))
        finally:
            web.close()

    return crowd(sockets, work)


def queues(sockets: int = 4) -> Attack:
    """Calls that wait for others, under ever new keys, from connections that come and go."""
    numbers = itertools.count()

    def work(target: Target) -> None:
        web = enter(target, "native")
        try:
            for number in range(1, 900):
                key = f"key {number % 100}" if number % 2 else f"new key {next(numbers)}"
                web.send(call("guarded queue", {"key": key}, number))
                target.count("calls")
            web.send(call("small", {}, 1_000))
            web.receive()
        finally:
            web.close()

    return crowd(sockets, work)


def many_callers(way: str, sockets: int, pack: int = 100) -> Attack:
    """Small calls from many connections, several in each message, as fast as they are taken."""
    message = json.dumps([call("small", {}, number + 1) for number in range(pack)]).encode()

    def work(target: Target) -> None:
        web = enter(target, way)
        try:
            pour(target, web, frame(TEXT, message))
        finally:
            web.close()

    return crowd(sockets, work)


def _entered(target: Target) -> tuple[Web, dict[str, str]]:
    web = enter(target, "jsonrpc")
    web.send(call("guarded where"))
    return web, json.loads(web.receive())["result"]


def _outcome(answer: bytes) -> str:
    found = json.loads(answer)
    return "answers" if "result" in found else f"error {found['error']['code']}"


# -- names


def unknown_names(way: str, size: int) -> Attack:
    """Calls of routes that do not exist, whose names are like one that does: 1,000 that differ in some letters."""
    numbers = itertools.count()  # several threads share it, which a generator does not allow

    def similar() -> str:
        name = f"guarded cached_memberz{next(numbers) % 1000}"
        return name + "x" * (size - len(name))

    return unknown_endpoints(way, similar)


# -- subscriptions

#: Filters, by the name of a case. Each is of a subscription of its own, with its number.
FILTERS: Final[Mapping[str, Callable[[int], dict[str, Any]]]] = {
    "none": lambda n: {},
    "paths": lambda n: {f"embeds.fields.name{n}.{one}": f"x{n}" for one in range(32)},
    "same paths": lambda n: {
        **{f"embeds.fields.{one}": "f1" for one in "ab"},
        "embeds.fields.name": f"f{n % 25}",
    },
    "16 names": lambda n: {".".join(["embeds", "fields", *"abcdefghijklmn"]): n},
    "17 names": lambda n: {".".join(["a"] * 17): n},
    "empty names": lambda n: {"." * 10_000: n},
    "large value": lambda n: {"author.id": "x" * 60_000},
    "deep value": lambda n: {"author.id": json.loads("[" * 400 + "]" * 400)},
    "many values": lambda n: {"author.roles": [f"{n} {one}" for one in range(1_024)]},
    "ids that do not match": lambda n: {"guild_id": [*range(2, 1_000)], "author.bot": True},
}


def subscriptions(
    name: str, events: Callable[[int], list[str]], clients: int = 4, each: int = 1_000
) -> Attack:
    """Subscriptions while the bot publishes events."""
    make = FILTERS[name]

    def work(target: Target) -> None:
        web = enter(target, "native")
        try:
            web.send(call("guarded events", {}, 5_000))
            for number in range(each):
                if not target.going:
                    break
                params = {"events": events(number), "filter": make(number)}
                web.send(call("rpc.subscribe", params, number + 1, credit=10))
                target.count("subscriptions")
            keep(target, web.tcp)
        finally:
            web.close()

    return crowd(clients, work)
