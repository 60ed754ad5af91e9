"""Cooldowns and concurrency of routes: who has called a route lately, and whose calls are in progress."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeAlias, cast

from discord.ext import commands

from discord_tools.ipc.errors import MaxConcurrencyReached, OnCooldown
from discord_tools.ipc_server.parameters.callables import result_of
from discord_tools.ipc_server.request import Request

__all__ = ("Concurrency", "CooldownRule", "Key", "Usage", "by_caller", "key_of")

#: Maximum number of callers, guilds or users for which the calls of a route are counted apart. Further ones share one
#: count, until some of the others have not called for the length of the cooldown.
MAX_BUCKETS: Final = 4096

#: Maximum number of characters of a key that is kept as it is. Of a longer one, its hash is kept.
KEY_CHARS: Final = 64

#: A function that returns what calls have in common that are counted together.
Key: TypeAlias = Callable[[Request], Any]

#: Takes the place of all keys for which there is no bucket.
_OTHERS: Final = object()


# -- whose calls are counted together


def by_caller(request: Request) -> Hashable:
    """Counts the calls of each caller apart, for :func:`cooldown` and :func:`max_concurrency`.

    A caller is who has the same key at the same address.

    .. versionadded:: 1.2

    Parameters
    ----------
    request: :class:`Request`
        The request of a call.

    Returns
    -------
    Hashable
        What all calls of this caller have in common.
    """
    return request.caller_id


def _together(request: Request) -> Hashable:
    return None


def _by_user(request: Request) -> Hashable:
    user = request.user_id
    return by_caller(request) if user is None else user


def _by_guild(request: Request) -> Hashable:
    guild = request.guild
    # Only guilds of the bot count: a caller that makes ids up would get a fresh count with each.
    return by_caller(request) if guild is None else guild.id


def _by_member(request: Request) -> Hashable:
    guild = request.guild
    return None if guild is None else guild.id, _by_user(request)


_KEYS: Final[dict[commands.BucketType, Key]] = {
    commands.BucketType.default: _together,
    commands.BucketType.guild: _by_guild,
    commands.BucketType.user: _by_user,
    commands.BucketType.member: _by_member,
}


def key_of(kind: Any, where: str) -> Key:
    """Returns the function for a type of buckets.

    Raises
    ------
    TypeError
        It is neither a type of buckets nor a function.
    ValueError
        It is a type of buckets that needs a message.
    """
    if isinstance(kind, commands.BucketType):
        if kind not in _KEYS:
            raise ValueError(
                f"{where}: {kind} needs a message, and a request has none: use BucketType.default, guild, user or "
                'member, or a function such as lambda request: request["channel"]'
            )
        return _KEYS[kind]
    if not callable(kind) or isinstance(kind, type):
        raise TypeError(
            f"{where}: {kind!r:.100} is neither a commands.BucketType nor a function that takes the request"
        )
    return cast("Key", kind)


async def _key_for(key: Key, request: Request) -> Hashable:
    value: Any = await result_of(key(request))
    # Keys may come from the data of a request, of any size.
    if value is None or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, str) and len(value) <= KEY_CHARS:
        return value
    return "hash", hash(value)


# -- cooldowns


@dataclass(frozen=True, slots=True, eq=False)
class CooldownRule:
    """How often a route may be called.

    Attributes
    ----------
    rate: :class:`int`
        Number of calls.
    per: :class:`float`
        In how many seconds.
    key: Callable[[:class:`Request`], Any]
        Returns what calls have in common that are counted together.
    """

    rate: int
    per: float
    key: Key


class Buckets:
    """The cooldowns of one rule: one for each key that was used lately."""

    __slots__ = ("_cooldowns", "_rule")

    def __init__(self, rule: CooldownRule) -> None:
        self._rule = rule
        #: Cooldowns and the times of their last use, by key. The one that was not used for longest comes first.
        self._cooldowns: dict[Hashable, tuple[commands.Cooldown, float]] = {}

    def __len__(self) -> int:
        return len(self._cooldowns)

    def cooldown(self, key: Hashable, now: float) -> commands.Cooldown:
        """Returns the cooldown of a key."""
        cooldowns = self._cooldowns
        if key not in cooldowns:
            self._sweep(now)
            if len(cooldowns) >= MAX_BUCKETS:
                key = _OTHERS
        found = cooldowns.pop(key, None)
        cooldown = commands.Cooldown(self._rule.rate, self._rule.per) if found is None else found[0]
        cooldowns[key] = cooldown, now
        return cooldown

    def _sweep(self, now: float) -> None:
        # discord.py's own mapping searches all buckets at each call.
        while self._cooldowns:
            key = next(iter(self._cooldowns))
            if now <= self._cooldowns[key][1] + self._rule.per:
                return
            del self._cooldowns[key]


# -- concurrency


@dataclass(frozen=True, slots=True, eq=False)
class Concurrency:
    """How many calls of a route may be in progress.

    Attributes
    ----------
    number: :class:`int`
        Maximum number of calls with the same key.
    key: Callable[[:class:`Request`], Any]
        Returns what calls have in common that are counted together.
    wait: :class:`bool`
        Whether further calls wait. Otherwise they are refused.
    """

    number: int
    key: Key
    wait: bool


class Slots:
    """The calls of a route in progress, by key. Keys without calls are not kept."""

    __slots__ = ("_busy", "_rule", "_waiting")

    def __init__(self, rule: Concurrency) -> None:
        self._rule = rule
        #: Number of calls in progress by key.
        self._busy: dict[Hashable, int] = {}
        #: Calls that wait, by key, in their order. Admission bounds their number.
        self._waiting: dict[Hashable, dict[asyncio.Future[None], None]] = {}

    def __len__(self) -> int:
        return len(self._busy) + len(self._waiting)

    async def take(self, key: Hashable) -> None:
        """Takes a slot. Raises :exc:`~discord_tools.ipc.MaxConcurrencyReached` where there is none."""
        busy, rule = self._busy.get(key, 0), self._rule
        if busy < rule.number:
            self._busy[key] = busy + 1
            return
        if not rule.wait:
            calls = "1 call" if rule.number == 1 else f"{rule.number} calls"
            message = f"the route takes {calls} at a time: try again later"
            raise MaxConcurrencyReached(message, data={"number": rule.number})
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, {})[turn] = None
        try:
            await turn  # a call that ends leaves its slot to this one
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(key, turn)
            else:
                self.give_back(key)
            raise

    def give_back(self, key: Hashable) -> None:
        """Gives a slot back, to the call that has waited for longest."""
        while waiting := self._waiting.get(key):
            turn = next(iter(waiting))
            self._leave(key, turn)
            if not turn.done():  # it may have been cancelled in this turn of the loop
                turn.set_result(None)
                return
        if self._busy[key] > 1:
            self._busy[key] -= 1
        else:
            del self._busy[key]

    def _leave(self, key: Hashable, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.pop(turn, None)
            if not waiting:
                del self._waiting[key]


class Usage:
    """Who has called one route lately, and whose calls of it are in progress."""

    __slots__ = ("buckets", "slots")

    def __init__(self) -> None:
        #: Buckets by their rules.
        self.buckets: dict[CooldownRule, Buckets] = {}
        #: Calls in progress by their rules.
        self.slots: dict[Concurrency, Slots] = {}

    async def start(self, rule: Concurrency, request: Request) -> Callable[[], None]:
        """Takes a slot for a call, and returns the function that gives it back."""
        slots = self.slots.get(rule)
        if slots is None:
            slots = self.slots[rule] = Slots(rule)
        key = await _key_for(rule.key, request)
        await slots.take(key)
        return lambda: slots.give_back(key)

    async def count(self, rules: tuple[CooldownRule, ...], request: Request) -> None:
        """Counts a call.

        Raises
        ------
        OnCooldown
            There were too many calls for one of the rules. It is counted for none of them.
        """
        keys = [await _key_for(rule.key, request) for rule in rules]
        now = monotonic()  # discord.py uses the time of day by default, which may be set back
        cooldowns = [self._buckets(rule).cooldown(key, now) for rule, key in zip(rules, keys, strict=True)]
        waits = [
            (cooldown.get_retry_after(now), rule)
            for cooldown, rule in zip(cooldowns, rules, strict=True)
            if not cooldown.get_tokens(now)
        ]
        if waits:
            wait, rule = max(waits, key=lambda one: one[0])
            # Rounded up, since a call at the very end of the time still counts in it.
            after = math.ceil(wait * 1000 + 1) / 1000
            raise OnCooldown(
                f"the route is on cooldown: try again in {after:.2f} s",
                data={"retry_after": after, "rate": rule.rate, "per": rule.per},
            )
        for cooldown in cooldowns:
            cooldown.update_rate_limit(now)

    def _buckets(self, rule: CooldownRule) -> Buckets:
        buckets = self.buckets.get(rule)
        if buckets is None:
            buckets = self.buckets[rule] = Buckets(rule)
        return buckets
