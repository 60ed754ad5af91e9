"""What every side asks and answers: the same data, made by the same functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ("KEY", "NAP_SECONDS", "QUESTIONS", "ROUTES", "event", "members", "stats")

KEY: Final = "a key that only the benchmark knows"
NAP_SECONDS: Final = 0.05
GUILD: Final = 81384788765712384


def stats(guild: int, top: int = 10) -> dict[str, Any]:
    """A small answer, as for one guild on a dashboard: 150 bytes of JSON. Each call makes a new one."""
    return {
        "guild": str(guild),
        "name": "The Seventh Teapot",
        "members": 1234,
        "online": 321,
        "owner": "80351110224678912",
        "boosts": 3,
        "top": top,
        "available": True,
    }


def _member(number: int) -> dict[str, Any]:
    """A member as Discord writes one, 590 bytes."""
    joined = f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}T12:00:00.000000+00:00"
    user = {
        "id": str(100_000_000_000_000_000 + number * 7_919),
        "username": f"tea_member_{number:05}",
        "discriminator": "0",
        "global_name": f"Member number {number:05} of the Tea House",
        "avatar": f"{number:032x}",
        "bot": False,
        "public_flags": 64,
    }
    roles = [str(900_000_000_000_000_000 + number % 50 + step) for step in range(8)]
    return {
        "user": user,
        "nick": f"Tea drinker {number:05}",
        "avatar": None,
        "roles": roles,
        "joined_at": joined,
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 2,
        "pending": False,
        "communication_disabled_until": None,
    }


# Made once: what is measured is how answers travel, not how a bot finds them.
_PAGE: Final = [_member(number) for number in range(100)]
_GUILD: Final = [_member(number) for number in range(1_780)]


def members() -> list[dict[str, Any]]:
    """A hundred members, 59 kB of JSON."""
    return _PAGE


def everybody() -> list[dict[str, Any]]:
    """All members of a guild, 1 MiB of JSON."""
    return _GUILD


#: What can be asked, apart from ``nap``, which sleeps, and ``burst``, which publishes events.
ROUTES: Final[dict[str, Callable[..., Any]]] = {"stats": stats, "members": members, "everybody": everybody}

#: What each route is asked with.
QUESTIONS: Final[dict[str, dict[str, Any]]] = {
    "stats": {"guild": GUILD, "top": 10},
    "members": {},
    "everybody": {},
    "nap": {},
}


def event() -> dict[str, Any]:
    """An event, 150 bytes, with the time at which it was published."""
    return {
        "guild": str(GUILD),
        "member": "80351110224678912",
        "name": "A new member of the Tea House",
        "roles": ["900000000000000001"],
        # Linux, macOS and Windows count it from the start of the machine, so other processes can subtract.
        "at": time.perf_counter(),
    }
