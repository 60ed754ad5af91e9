"""The state of making the arguments of one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import discord

from discord_tools.ipc.errors import NotReady, Violation
from discord_tools.ipc_server.parameters.faults import Path, bad_data, path_text
from discord_tools.ipc_server.parameters.fetching import MISS, Fetcher, Key

if TYPE_CHECKING:
    from discord_tools.ipc_server.request import Request

__all__ = ("UNKNOWN", "Binding", "Source")

#: Maximum number of ids and other values of one call that are converted. Nothing else runs meanwhile: with this number
#: it takes some milliseconds. Plain data is not counted.
MAX_VALUES: Final = 2000

#: Maximum number of guilds that are asked for the objects of one call where none is given. A bot may have thousands.
SCANNED: Final = 50_000

#: Stands for a guild or a channel that was given, but is not known.
UNKNOWN: Final[Any] = object()

Job: TypeAlias = "Callable[[], Awaitable[Any]]"


class Source:
    """Where objects come from: a client's cache, and Discord itself.

    Parameters
    ----------
    client: :class:`discord.Client`
        The client.
    fetcher: :class:`Fetcher`
        Fetches what is not in the cache. Defaults to a new one.
    """

    def __init__(self, client: discord.Client, fetcher: Fetcher | None = None) -> None:
        self.client = client
        #: Fetches what is not in the cache.
        self.fetcher: Fetcher = Fetcher() if fetcher is None else fetcher


class Binding:
    """What is known so far about the values of one call.

    Values are converted in passes. A pass takes what is cached, and notes what is wrong and what has to be waited for.
    After the waiting comes another pass, which finds the outcome in ``results``. Most calls have one pass.
    """

    # Defaults of the class, since most calls never change these.
    #: The guild in which members, roles and channels are looked up; :data:`UNKNOWN` where its id is.
    guild: Any = None
    #: Name of the parameter or member for that guild.
    guild_name: str = ""
    #: The channel of messages that are given by their id alone.
    channel: Any = None
    #: All that is wrong.
    faults: list[Violation] | None = None
    #: Whether all faults are about objects that are not in the cache.
    only_unknown: bool = True
    #: What has to be fetched.
    wanted: dict[Key, Job] | None = None
    #: Converters that have to be awaited.
    jobs: dict[Hashable, Job] | None = None
    #: Outcomes of both.
    results: dict[Hashable, Any] | None = None
    #: Number of objects that were fetched.
    fetched: int = 0
    #: Number of values that this pass has converted.
    values: int = 0
    #: Number of guilds that this pass has asked for objects.
    scanned: int = 0

    def __init__(self, source: Source, request: Request | None) -> None:
        self.source = source
        #: The client of the source.
        self.client: discord.Client = source.client
        self.request = request

    @property
    def incomplete(self) -> bool:
        """:class:`bool`: Whether this pass gives no arguments: something is wrong or has to be waited for."""
        return self.faults is not None or self.wanted is not None or self.jobs is not None

    def count(self, number: int, path: Path) -> bool:
        """Counts values. Returns ``False`` where there are too many for one call, which is a fault."""
        self.values += number
        if self.values <= MAX_VALUES:
            return True
        self.fault(path, f"a call may have {MAX_VALUES} ids and converted values: send less at a time")
        return False

    def fault(self, path: Path, message: str) -> None:
        """Notes that a value is wrong."""
        self.only_unknown = False
        self._add(Violation(path=path_text(path), message=message))

    def unknown(self, path: Path, kind: str, number: int | str) -> None:
        """Notes that there is no such object."""
        what = "code" if isinstance(number, str) else "id"
        message = f"no {kind} with this {what} is known to the bot"
        self._add(Violation(path=path_text(path), message=message, kind=kind, id=str(number)))

    def _add(self, violation: Violation) -> None:
        if self.faults is None:
            self.faults = []
        self.faults.append(violation)

    def outcome(self, key: Hashable) -> Any:
        """Returns what an earlier pass has waited for, or ``None``."""
        return None if self.results is None else self.results.get(key)

    def obtain(self, key: Key, request: Job) -> Any:
        """Returns an object that was fetched, or :data:`~.fetching.MISS` where Discord has none. Otherwise returns
        ``None``, and notes that it has to be fetched.
        """
        outcome = self.outcome(key)
        if outcome is not None:
            return outcome
        if self.source.fetcher.is_miss(key):
            return MISS
        if self.wanted is None:
            self.wanted = {}
        self.wanted[key] = request
        return None

    def postpone(self, key: Hashable, job: Job) -> None:
        """Notes that a converter has to be awaited. Its outcome is found under the key, in a tuple."""
        if self.jobs is None:
            self.jobs = {}
        self.jobs[key] = job

    def keep(self, key: Hashable, value: Any) -> None:
        """Keeps an outcome for further passes."""
        if self.results is None:
            self.results = {}
        self.results[key] = value

    def check(self) -> None:
        """Raises what this pass has found to be wrong.

        Raises
        ------
        BadData
            The data does not fit. The exception has all faults.
        NotReady
            An object is not known, and the bot has not received all of its guilds.
        """
        if self.faults is not None:
            if self.only_unknown and (
                not self.client.is_ready() or any(guild.unavailable for guild in self.client.guilds)
            ):
                raise _not_ready()
            raise bad_data(self.faults)
        if self.wanted is not None and not self.client.is_ready():
            raise _not_ready()

    async def wait(self) -> None:
        """Waits for all that this pass has noted."""
        wanted, jobs = self.wanted or {}, self.jobs or {}
        self.wanted = self.jobs = None
        self.values = self.scanned = 0
        if wanted:
            outcomes = await self.source.fetcher.fetch(wanted, self.fetched)
            self.fetched += len(wanted)
            for key, outcome in outcomes.items():
                self.keep(key, outcome)
        for key, job in jobs.items():
            self.keep(key, (await job(),))


def _not_ready() -> NotReady:
    return NotReady("the bot has not received all of its guilds")
