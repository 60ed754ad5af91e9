"""Tables of activities and presences.

Paths that begin with an underscore are discord.py's own attributes, for parts that it keeps as Discord sent them.
"""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.forks import discord
from discord_tools.ipc_server.values.kinds import (
    INTEGER,
    TEXT,
    enum,
    integer,
    json,
    made,
    many,
    nested,
    one_of,
    snowflake,
    text,
)
from discord_tools.ipc_server.values.table import Field, Kind, Table

__all__ = ("ACTIVITIES", "OBJECT", "TABLES", "client_status")

ACTIVITIES: Final = (
    discord.Activity,
    discord.Game,
    discord.Streaming,
    discord.CustomActivity,
    discord.Spotify,
)

OBJECT: Final = Kind("object", "{}", {"type": "object"})


def client_status(holder: Any) -> dict[str, str]:
    """The devices that are in use, each with its status."""
    status = holder.client_status
    devices = {"desktop": status.desktop, "mobile": status.mobile, "web": status.web}
    return {device: state for device, state in devices.items() if state is not None}


def _timestamps(game: Any) -> dict[str, Any]:
    times = {"start": game._start, "end": game._end}
    return {name: time for name, time in times.items() if time}


def _custom_name(activity: Any) -> str | None:
    """Discord's name of a custom status, which discord.py replaces by its text."""
    return "Custom Status" if activity.name == activity.state else activity.name


def _created_at(activity: Any) -> int | None:
    """Milliseconds, which discord.py may keep as a float."""
    return None if activity._created_at is None else int(activity._created_at)


_CREATED_AT: Final = made(_created_at, INTEGER, "created_at", omit=True)
_EMOJI: Final[Field] = nested(discord.PartialEmoji, "emoji", omit=True)

TABLES: Final = (
    Table(
        discord.Activity,
        text("name"),
        enum("type"),
        text("url", omit=True),
        _CREATED_AT,
        text("state", omit=True),
        text("details", omit=True),
        json("timestamps", omit=True),
        text("platform", omit=True),
        json("assets", omit=True),
        json("party", omit=True),
        snowflake("application_id", omit=True),
        integer("flags", omit=True),
        _EMOJI,
        text("session_id", omit=True),
        text("sync_id", omit=True),
        many(text("buttons", omit=True)),
        text("state_url", omit=True),
        text("details_url", omit=True),
        enum("status_display_type", omit=True),
        types=("activity.Activity",),
    ),
    Table(
        discord.Game,
        text("name"),
        enum("type"),
        _CREATED_AT,
        made(_timestamps, OBJECT, "timestamps"),
        text("platform", omit=True),
        json("assets", omit=True),
        types=("activity.Activity",),
    ),
    Table(
        discord.Streaming,
        # discord.py calls the name a platform, and what is streamed a name and a game.
        text("name", "platform"),
        enum("type"),
        text("url"),
        _CREATED_AT,
        text("details", omit=True),
        text("state", "game", omit=True),
        json("assets", omit=True),
        types=("activity.Activity",),
    ),
    Table(
        discord.CustomActivity,
        made(_custom_name, TEXT, "name"),
        enum("type"),
        _CREATED_AT,
        text("state", omit=True),
        _EMOJI,
        types=("activity.Activity",),
    ),
    Table(
        discord.Spotify,
        text("name"),
        enum("type"),
        _CREATED_AT,
        made(lambda _: 48, INTEGER, "flags"),
        json("assets", "_assets"),
        json("party", "_party"),
        json("timestamps", "_timestamps"),
        text("details", "_details"),
        text("state", "_state"),
        text("session_id", "_session_id", omit=True),
        text("sync_id", "_sync_id"),
        types=("activity.Activity",),
    ),
    Table(
        discord.ClientStatus,
        text("desktop", omit=True),
        text("mobile", omit=True),
        text("web", omit=True),
        types=("activity.ClientStatus",),
    ),
    Table(
        discord.RawPresenceUpdateEvent,
        made(lambda event: {"id": str(event.user_id)}, OBJECT, "user"),
        snowflake("guild_id"),
        text("status", "client_status.raw_status"),
        many(one_of(ACTIVITIES, "activities")),
        made(client_status, OBJECT, "client_status"),
        types=("activity.PartialPresenceUpdate",),
    ),
)
