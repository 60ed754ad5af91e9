"""What the bot answers. ``request`` checks answers against these types, and drops what they do not name."""

from typing import Any, Literal, NotRequired, TypedDict


class Person(TypedDict):
    id: str
    name: str
    avatar_url: str | None
    bot: bool


class Status(TypedDict):
    user: Person | None
    ready: bool
    latency_ms: float | None
    guilds: int
    members: int
    started_at: str


class GuildCard(TypedDict):
    id: str
    name: str
    icon_url: str | None
    member_count: int


class Channel(TypedDict):
    id: str
    name: str
    topic: str | None
    can_send: bool


class Guild(GuildCard):
    members: list[Person]
    channels: list[Channel]


class Message(TypedDict):
    id: str
    channel_id: str
    author: Person
    text: str
    at: str


class Change(TypedDict):
    kind: str  # the name of the event
    at: str
    guild: GuildCard
    member: NotRequired[Person]
    message: NotRequired[Message]


class Entry(TypedDict):
    """One line of the moderation log. What is not known is left out."""

    kind: str  # the name of the event, or "missed"
    at: str
    channel_id: NotRequired[str | None]
    who: NotRequired[str]
    text: NotRequired[str | None]
    before: NotRequired[str]
    count: NotRequired[int]
    action: NotRequired[int | None]


class Update(TypedDict):
    """What the page gets: the state of the connection with the bot, one change, or that it has missed some."""

    type: Literal["state", "change", "missed"]
    data: Any
