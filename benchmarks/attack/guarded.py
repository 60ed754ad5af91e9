"""Routes of the attacked bot whose parameters, rules, fields and events callers choose."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import discord
import pydantic
from discord.ext import commands
from msgspec import Meta

from discord_tools.ipc import Cached, Request, Server, check, cooldown, max_concurrency, only

__all__ = ("Guarded",)

#: Seconds between two events.
EVENT_PAUSE: Final = 0.02

#: The data of an event: about as large as a message with embeds, and objects in arrays in objects.
EVENT: Final[dict[str, Any]] = {
    "author": {"id": "1", "bot": False, "roles": [str(n) for n in range(50)]},
    "embeds": [{"fields": [{"name": f"f{n}", "value": "x" * 50} for n in range(25)]} for _ in range(10)],
}


class Model(pydantic.BaseModel):
    """A model of pydantic inside itself."""

    names: list[str] = pydantic.Field(default_factory=list[str])
    numbers: list[int] = pydantic.Field(default_factory=list[int])
    inner: Model | None = None


@dataclass
class Tree:
    """A structure inside itself, with objects of Discord."""

    users: list[discord.User] = field(default_factory=list[discord.User])
    inner: list[Tree] = field(default_factory=list["Tree"])


Word = Annotated[str, Meta(pattern="^[a-z]+$", max_length=20)]
Few = commands.Range[int, 0, 10]


def _by_key(request: Request) -> Any:
    return request["key"]


def _never(request: Request) -> bool:
    return False


class Guarded:
    """The routes. What they return is small."""

    def __init__(self, bot: discord.Client) -> None:
        self._bot = bot
        #: Requests to Discord in progress, and the most at a time.
        self._fetching = 0
        self.most_fetches: int = 0
        #: Publishes events, once they were asked for.
        self._publisher: asyncio.Task[None] | None = None
        http: Any = bot.http
        http.request = self._counted(http.request)

    def add_to(self, server: Server[Any]) -> None:
        """Adds them to a server."""
        for route in (
            *(self.where, self.members, self.cached_members, self.roles, self.messages, self.embeds),
            *(self.looks, self.model, self.limited, self.tree, self.keywords, self.refused),
            *(
                self.counted,
                self.counted_by_guild,
                self.queue,
                self.fields,
                self.fields_of_members,
                self.events,
            ),
        ):
            server.add_route(route, name=f"guarded {route.__name__}")

    def _counted(self, request: Any) -> Any:
        async def counted(*args: Any, **options: Any) -> Any:
            self._fetching += 1
            self.most_fetches = max(self.most_fetches, self._fetching)
            try:
                return await request(*args, **options)
            finally:
                self._fetching -= 1

        return counted

    async def where(self, request: Request) -> dict[str, str]:
        """Ids that exist."""
        guild = self._bot.guilds[0]
        ids = {"guild": guild.id, "channel": guild.text_channels[0].id, "member": guild.members[0].id}
        return {name: str(number) for name, number in ids.items()}

    # -- parameters

    async def members(self, request: Request, guild: discord.Guild, users: list[discord.Member]) -> int:
        """Looks members up, and fetches those that are not cached."""
        return len(users)

    async def cached_members(
        self, request: Request, guild: discord.Guild, users: list[Annotated[discord.Member, Cached]]
    ) -> int:
        """Looks members up."""
        return len(users)

    async def roles(self, request: Request, roles: list[discord.Role]) -> int:
        """Looks roles up in all guilds."""
        return len(roles)

    async def messages(self, request: Request, messages: list[discord.Message]) -> int:
        """Fetches messages."""
        return len(messages)

    async def embeds(self, request: Request, embeds: list[discord.Embed]) -> int:
        """Makes embeds."""
        return len(embeds)

    async def looks(
        self,
        request: Request,
        permissions: discord.Permissions | None = None,
        colours: list[discord.Colour] | None = None,
        emojis: list[discord.PartialEmoji] | None = None,
    ) -> int:
        """Makes values of discord.py."""
        return 0

    async def model(self, request: Request, model: Model) -> int:
        """Has pydantic validate data."""
        return len(model.names)

    async def limited(
        self, request: Request, words: list[Word] | None = None, numbers: list[Few] | None = None
    ) -> int:
        """Compares values with a pattern and a range."""
        return 0

    async def tree(self, request: Request, tree: Tree) -> int:
        """Makes a structure that may be deep."""
        return len(tree.users)

    async def keywords(self, request: Request, **things: discord.Object) -> int:
        """Takes objects of any names."""
        return len(things)

    # -- rules

    @check(_never)
    async def refused(self, request: Request) -> None:
        """Never runs."""

    @cooldown(5, 60, _by_key)
    async def counted(self, request: Request, key: Any) -> int:
        """Counts its calls by a key of the caller's."""
        return 0

    @cooldown(5, 60, commands.BucketType.guild)
    async def counted_by_guild(self, request: Request, guild_id: Any = None) -> int:
        """Counts its calls by guilds."""
        return 0

    @max_concurrency(2, _by_key, wait=True)
    async def queue(self, request: Request, key: Any) -> int:
        """Takes long, while others wait."""
        await asyncio.sleep(30)
        return 0

    # -- fields and events

    async def fields(self, request: Request, names: list[str]) -> Any:
        """Objects of several classes, with the fields that the caller wants."""
        guild = self._bot.guilds[0]
        return only([guild, guild.text_channels[0], guild.members[0]], *names)

    async def fields_of_members(self, request: Request, names: list[str]) -> Any:
        """One object, with the fields that the caller wants."""
        return only(self._bot.guilds[0], *names)

    async def events(self, request: Request) -> None:
        """Begins to publish events."""
        if self._publisher is None:
            self._publisher = asyncio.create_task(self._publish(request.server))

    async def _publish(self, server: Server[Any]) -> None:
        while True:
            await server.publish("tick", EVENT, guild_id=1)
            await asyncio.sleep(EVENT_PAUSE)
