"""The moderation log of one guild: what was edited, deleted and removed there, from the bot's events."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

from discord_tools.ipc import ClientSession, Event, Gap, IPCError, Subscription

from .models import Entry
from .words import explain

EVENTS = (
    "raw_message_edit",
    "raw_message_delete",
    "raw_bulk_message_delete",
    "member_ban",
    "member_unban",
    "audit_log_entry_create",
    "automod_action",
)
PAUSE = 5.0  # seconds after an error; only one that people have to fix gets here

log = logging.getLogger(__name__)


async def keep(ipc: ClientSession) -> None:
    """Subscribe to all guilds, so that the bot keeps the latest events for pages that are opened later."""
    while True:
        try:
            await ipc.wait_until_ready()
            async for _ in ipc.subscribe(*EVENTS):
                pass
        except IPCError as error:
            log.warning("%s Subscribing again in %g s.", explain(error)[1], PAUSE)
            await asyncio.sleep(PAUSE)


def follow(ipc: ClientSession, guild: str, channel: str | None) -> Subscription:
    """What the bot has kept about a guild, or about one of its channels, and then what happens.

    The bot filters: events of other guilds are not even sent to this process.
    """
    wanted = {"guild_id": guild} if channel is None else {"guild_id": guild, "channel_id": channel}
    return ipc.subscribe(*EVENTS, after=dict.fromkeys(EVENTS, 0), filter=wanted)


def entry(event: Event) -> Entry:
    if isinstance(event, Gap):
        return Entry(kind="missed", at=event.time.isoformat())
    found = Entry(kind=event.name, at=event.time.isoformat())
    found.update(dict(known(event.name, event.data)))  # pyright: ignore[reportArgumentType, reportCallIssue]
    return found


def known(name: str, data: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The members of an entry, as far as the event has them."""
    match name:
        case "raw_message_edit":
            yield "channel_id", data["channel_id"]
            yield "who", data["message"]["author"]["display_name"]
            yield "text", data["message"]["content"]
            if data["cached_message"] is not None:
                yield "before", data["cached_message"]["content"]
        case "raw_message_delete":
            yield "channel_id", data["channel_id"]
            if data["cached_message"] is not None:
                yield "who", data["cached_message"]["author"]["display_name"]
                yield "text", data["cached_message"]["content"]
        case "raw_bulk_message_delete":
            yield "channel_id", data["channel_id"]
            yield "count", len(data["ids"])
        case "member_ban" | "member_unban":
            yield "who", data["user"]["display_name"]
        case "automod_action":
            yield "channel_id", data.get("channel_id")
            yield "text", data.get("content")
        case _:
            yield "action", data.get("action_type")
            yield "text", data.get("reason")
