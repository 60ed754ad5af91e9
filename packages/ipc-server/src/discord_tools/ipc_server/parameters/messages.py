"""Messages and invites, which are not found by one id alone."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

import discord
import msgspec

from discord_tools.ipc_server.parameters.binding import UNKNOWN, Binding
from discord_tools.ipc_server.parameters.faults import Path, shown
from discord_tools.ipc_server.parameters.fetching import MISS
from discord_tools.ipc_server.parameters.nodes import Node, Scalar, Schemas
from discord_tools.ipc_server.snowflakes import SNOWFLAKE_SCHEMA, snowflake

__all__ = ("InviteNode", "MessageNode")

#: What discord.py's commands take, too: a URL, or the ids of channel and message.
_URL: Final = re.compile(
    r"(?:https?://(?:(?:ptb|canary|www)\.)?discord(?:app)?\.com/channels/(?P<guild>[0-9]{1,20}|@me)/)?"
    r"(?P<channel>[0-9]{1,20})(?(guild)/|-)(?P<message>[0-9]{1,20})(?(guild)/?)",
    re.ASCII,
)

_INVITE: Final = re.compile(
    r"(?:(?:https?://)?(?:www\.)?discord(?:\.gg|(?:app)?\.com/invite)/)?(?P<code>[A-Za-z0-9_-]{1,100})/?",
    re.ASCII,
)


class MessagePlace(msgspec.Struct):
    """The members of a message that say which one it is."""

    channel_id: Scalar = None
    id: Scalar = None


class MessageNode(Node):
    """A message, by its URL, its channel's id and its own, or by its id beside a channel."""

    def __init__(self, cls: type, *, cached: bool = False) -> None:
        super().__init__(
            MessagePlace | Scalar,
            summary="A message: its URL, an object with channel_id and id, or its id beside a channel",
        )
        self.cached = cached
        #: Whether it is only a reference to the message.
        self._partial = cls is discord.PartialMessage

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        channel, number = self._place(value, binding, path)
        if channel is None or channel is UNKNOWN:
            return None
        if self._partial:
            return channel.get_partial_message(number)
        for message in _recent(binding, number):
            if message.channel.id == channel.id:
                return message
        key = ("Message", channel.id, number)
        found = MISS if self.cached else binding.obtain(key, partial(channel.fetch_message, number))
        if found is not MISS:
            return found
        binding.unknown(path, "Message", number)
        return None

    def _place(self, value: Any, binding: Binding, path: Path) -> tuple[Any, int]:
        """Returns the channel and the id of the message; no channel where something is wrong, which is a fault."""
        number = snowflake(value)
        if number >= 0:
            channel = binding.channel
            # A category has no messages, and neither has a forum itself.
            if channel is not UNKNOWN and not hasattr(channel, "get_partial_message"):
                message = "is an id alone: send the message's URL, or an object with channel_id and id"
                binding.fault(path, message)
                channel = None
            return channel, number
        where, guild = -1, None
        if isinstance(value, MessagePlace):
            where, number = snowflake(value.channel_id), snowflake(value.id)
        elif isinstance(value, str) and len(value) < 200 and (match := _URL.fullmatch(value)):
            where, number, guild = snowflake(match["channel"]), snowflake(match["message"]), match["guild"]
        if where < 0 or number < 0:
            message = f"expected a message's URL, or an object with channel_id and id, got {shown(value)}"
            binding.fault(path, message)
            return None, number
        channel = self._channel(where, binding, path)
        if channel is not None and guild is not None and guild != _guild_in_url(channel):
            binding.unknown(path, "Message", number)
            return None, number
        return channel, number

    def _channel(self, number: int, binding: Binding, path: Path) -> Any:
        guild = binding.guild
        if guild is None or guild is UNKNOWN:
            channel: Any = binding.client.get_channel(number)
        else:
            channel = guild.get_channel_or_thread(number)
        if channel is None or not hasattr(channel, "get_partial_message"):
            binding.unknown(path, "channel with messages", number)
            return None
        return channel

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        ids = {"channel_id": dict(SNOWFLAKE_SCHEMA), "id": dict(SNOWFLAKE_SCHEMA)}
        place = {"type": "object", "properties": ids, "required": list(ids)}
        return {"anyOf": [{"type": "string"}, place]}


def _guild_in_url(channel: Any) -> str:
    """What stands for the guild of a channel in the URLs of its messages."""
    guild = getattr(channel, "guild", None)
    return "@me" if guild is None else str(guild.id)


def _recent(binding: Binding, number: int) -> tuple[discord.Message, ...]:
    """The cached message of that id."""
    index = binding.outcome(("messages",))
    if index is None:
        index = {message.id: message for message in binding.client.cached_messages}
        binding.keep(("messages",), index)
    found = index.get(number)
    return () if found is None else (found,)


class InviteNode(Node):
    """An invite, by its code or its URL. It is always fetched: discord.py does not cache invites."""

    def __init__(self) -> None:
        super().__init__(Scalar, summary="The code or the URL of an invite")

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        match = _INVITE.fullmatch(value) if isinstance(value, str) and len(value) < 200 else None
        if match is None:
            binding.fault(path, f"expected the code or the URL of an invite, got {shown(value)}")
            return None
        code = match["code"]
        found = binding.obtain(("Invite", 0, code), partial(binding.client.fetch_invite, code))
        if found is not MISS:
            return found
        binding.unknown(path, "Invite", code)
        return None

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return {"type": "string"}
