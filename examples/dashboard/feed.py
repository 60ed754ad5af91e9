"""What happens on the bot, as it happens. The rest of the dashboard only sees what comes out of here."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from discord_tools.ipc import ClientSession, Event, Gap, IPCError

from .models import Change, GuildCard, Update
from .words import explain

EVENTS = ("member_join", "member_remove", "message", "guild_join", "guild_update", "guild_remove")
GLANCE = 0.2  # seconds between two looks at the session, which cost nothing
PAUSE = 5.0  # seconds after an error; only one that people have to fix, such as a wrong key, gets here

log = logging.getLogger(__name__)


async def states(ipc: ClientSession) -> AsyncIterator[Update]:
    """Yield how the connection with the bot is, whenever that changes."""
    state = None
    while True:
        if state != ipc.state:
            state = ipc.state
            yield {"type": "state", "data": state}
        await asyncio.sleep(GLANCE)


async def changes(ipc: ClientSession) -> AsyncIterator[Update]:
    """Yield every change, and ``missed`` where some are not known.

    The subscription itself outlives lost connections and restarts of the bot.
    """
    while True:
        try:
            await ipc.wait_until_ready()  # a dashboard may be there before its bot
            async for event in ipc.subscribe(*EVENTS):
                if isinstance(event, Gap):
                    yield {"type": "missed", "data": None}
                else:
                    yield {"type": "change", "data": change(event)}
        except IPCError as error:
            log.warning("%s Subscribing again in %g s.", explain(error)[1], PAUSE)
            await asyncio.sleep(PAUSE)


def change(event: Event) -> Change:
    at = event.time.isoformat()
    if event.name.startswith("guild_"):
        guild = event.data["after"] if event.name == "guild_update" else event.data
        return Change(kind=event.name, at=at, guild=card(guild))
    return Change(kind=event.name, at=at, **event.data)


def card(guild: Any) -> GuildCard:
    """Of a guild as Discord describes it, what the page shows."""
    return GuildCard(
        id=guild["id"], name=guild["name"], icon_url=guild["icon_url"], member_count=guild["member_count"]
    )
