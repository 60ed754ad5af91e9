"""Answers to JSON, Discord's objects included: Discord's own field names and types, ids and permissions as strings."""

from __future__ import annotations

import asyncio
import dataclasses
import marshal
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, cast

import discord
import msgspec

from discord_tools.ipc.errors import RemoteError, TooLarge
from discord_tools.ipc.wire.codec import encode
from discord_tools.ipc.wire.frames import ErrorObject, Frame, Id

__all__ = ("LARGE", "encode_answer", "encode_large", "encode_reply", "error_object", "reply_with")

_BRACKET = ord("[")

#: An array that begins with an identifier. An enum of discord.py is a tuple of its name and its value.
_like_an_enum = re.compile(rb'\["[A-Za-z_]').search

#: Number of elements of a list that are encoded without a turn of the event loop: less than a millisecond for objects
#: of Discord.
SLICE: Final = 32

#: Lists of at least this length are encoded in slices.
LARGE: Final = 256

#: What needs no second look.
_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


def encode_answer(value: Any) -> bytes:
    """Writes an answer as JSON.

    Raises
    ------
    TypeError
        A part of it cannot be written as JSON.
    """
    return _encode(value, value)


def encode_reply(number: Id, value: Any) -> bytes:
    """Writes a whole reply of JSON-RPC 2.0. In one go, since a large answer is copied each time it is passed on.

    Raises
    ------
    TypeError
        A part of it cannot be written as JSON.
    """
    return _encode(value, _Reply("2.0", number, value))


async def encode_large(
    value: list[Any] | tuple[Any, ...], limit: int, take: Callable[[int], Awaitable[None]]
) -> bytes:
    """Writes a long list as JSON in slices, with a turn of the event loop after each, so that the bot is not blocked.

    ``take`` waits for a turn in which a slice of that size may be encoded.

    Raises
    ------
    TypeError
        A part of it cannot be written as JSON.
    TooLarge
        It has more than ``limit`` bytes. The rest is not encoded.
    """
    parts: list[bytes] = []
    size = 1
    for start in range(0, len(value), SLICE):
        await take(size // max(start, 1) * SLICE)  # about as large as those before
        part = encode_answer(value[start : start + SLICE])[1:-1]
        size += len(part) + 1
        if size > limit:
            raise TooLarge(
                f"the answer has more than {limit} bytes, which the caller does not take: stream it"
            )
        parts.append(part)
        await asyncio.sleep(0)
    # Joining is copying, which large answers must not do in one turn all together.
    await take(size)
    return b"[" + b",".join(parts) + b"]"


def reply_with(number: Id, result: bytes) -> bytes:
    """Writes a reply around a result that is encoded already."""
    return encode(Frame("2.0", number, result=msgspec.Raw(result)))


def error_object(error: RemoteError) -> ErrorObject:
    """Makes the ``error`` member of a reply from an exception. Raises what :func:`encode_answer` raises."""
    data = msgspec.UNSET if error.data is None else msgspec.Raw(encode_answer(error.data))
    return ErrorObject(error.code, error.message, data)


class _Reply(msgspec.Struct, gc=False):
    jsonrpc: str
    id: Id
    result: Any


def _encode(value: Any, whole: Any) -> bytes:
    """Writes ``whole``, which is the value or a reply with it."""
    try:
        written = _write_json(whole)
        # Nearly no answer holds an enum, and what was written tells that sooner than the value does.
        if _BRACKET in written and _like_an_enum(written) and not _is_plain(value):
            plain = _without_enums(value)
            if plain is not value:
                return _write_json(plain if whole is value else _Reply("2.0", whole.id, plain))
        return written
    except (ValueError, RecursionError) as error:
        # ValueError: an integer or a string that JSON has no form for.
        raise TypeError(str(error)) from error


def _is_plain(value: Any) -> bool:
    """Whether a value is made of builtin types alone, all the way down, so that there is no enum in it."""
    try:
        # It refuses all other types, and looks at a large answer several times faster than Python code could. Version 2
        # keeps no table of what it has seen.
        marshal.dumps(value, 2)
    except ValueError:
        return False
    return True


def _without_enums(value: Any) -> Any:
    """Replaces discord.py's enum members, which are tuples and would be written as ``["text", 0]``.

    Returns the same object where there are none, which is nearly always.
    """
    kind = cast("type[Any]", type(value))
    if kind in _PLAIN:
        return value
    if issubclass(kind, dict):
        if _PLAIN.issuperset(map(type, value.values())):
            return value
        return {key: _without_enums(item) for key, item in value.items()}
    if issubclass(kind, tuple) and kind.__module__ == discord.enums.__name__:
        return value.value
    if issubclass(kind, (list, tuple, set, frozenset)):
        return value if _PLAIN.issuperset(map(type, value)) else [_without_enums(item) for item in value]
    # What msgspec knows by its fields never comes to _write, either.
    if issubclass(kind, msgspec.Struct):
        fields = _plain_fields(value, kind.__struct_fields__)
        return value if fields is None else msgspec.structs.replace(value, **fields)
    if dataclasses.is_dataclass(kind):
        return _plain_fields(value, [field.name for field in dataclasses.fields(kind)]) or value
    return value


def _plain_fields(value: Any, names: Iterable[str]) -> dict[str, Any] | None:
    """The fields without enums, or ``None`` where they have none."""
    fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
    plain = {name: _without_enums(field) for name, field in fields.items()}
    return None if all(plain[name] is fields[name] for name in fields) else plain


def _id(thing: Any) -> str | None:
    return None if thing is None else str(thing.id)


def _hash(asset: discord.Asset | None) -> str | None:
    return None if asset is None else asset.key


def _user(user: discord.abc.User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "username": user.name,
        "discriminator": user.discriminator,
        "global_name": getattr(user, "global_name", None),
        "avatar": _hash(user.avatar),
        "bot": user.bot,
        "display_name": user.display_name,
        "avatar_url": user.display_avatar.url,
    }


def _member(member: discord.Member) -> dict[str, Any]:
    return {
        "user": _user(member._user),  # pyright: ignore[reportPrivateUsage] (a member has no other way to its user)
        "guild_id": str(member.guild.id),
        "nick": member.nick,
        "avatar": _hash(member.guild_avatar),
        "roles": [str(role.id) for role in member.roles if not role.is_default()],
        "joined_at": member.joined_at,
        "premium_since": member.premium_since,
        "pending": member.pending,
        "communication_disabled_until": member.timed_out_until,
        "display_name": member.display_name,
        "avatar_url": member.display_avatar.url,
    }


def _guild(guild: discord.Guild) -> dict[str, Any]:
    return {
        "id": str(guild.id),
        "name": guild.name,
        "icon": _hash(guild.icon),
        "icon_url": guild.icon.url if guild.icon else None,
        "owner_id": None if guild.owner_id is None else str(guild.owner_id),
        "description": guild.description,
        "member_count": guild.member_count,
        "features": guild.features,
        "premium_tier": guild.premium_tier,
        "preferred_locale": guild.preferred_locale.value,
        "unavailable": guild.unavailable,
    }


def _role(role: discord.Role) -> dict[str, Any]:
    return {
        "id": str(role.id),
        "guild_id": str(role.guild.id),
        "name": role.name,
        "color": role.colour.value,
        "hoist": role.hoist,
        "position": role.position,
        "permissions": str(role.permissions.value),
        "managed": role.managed,
        "mentionable": role.mentionable,
    }


def _channel(channel: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"id": str(channel.id), "type": channel.type.value}
    guild = getattr(channel, "guild", None)
    if guild is not None:
        out["guild_id"] = str(guild.id)
    for name, field in _CHANNEL_FIELDS.items():
        if hasattr(channel, field):
            value = getattr(channel, field)
            out[name] = str(value) if name.endswith("_id") and value is not None else value
    return out


#: Discord's name of a field, and discord.py's.
_CHANNEL_FIELDS = {
    "name": "name",
    "position": "position",
    "parent_id": "category_id",
    "topic": "topic",
    "nsfw": "nsfw",
    "rate_limit_per_user": "slowmode_delay",
    "bitrate": "bitrate",
    "user_limit": "user_limit",
}


def _thread(thread: discord.Thread) -> dict[str, Any]:
    return {
        "id": str(thread.id),
        "type": thread.type.value,
        "guild_id": str(thread.guild.id),
        "name": thread.name,
        "parent_id": str(thread.parent_id),
        "owner_id": str(thread.owner_id),
        "message_count": thread.message_count,
        "member_count": thread.member_count,
        "rate_limit_per_user": thread.slowmode_delay,
    }


def _message(message: discord.Message) -> dict[str, Any]:
    return {
        "id": str(message.id),
        "channel_id": str(message.channel.id),
        "guild_id": _id(message.guild),
        "author": _user(message.author),
        "content": message.content,
        "timestamp": message.created_at,
        "edited_timestamp": message.edited_at,
        "type": message.type.value,
        "tts": message.tts,
        "pinned": message.pinned,
        "mention_everyone": message.mention_everyone,
        "attachments": message.attachments,
        "embeds": [embed.to_dict() for embed in message.embeds],
        "jump_url": message.jump_url,
    }


def _with_id_as_string(value: discord.Attachment | discord.PartialEmoji) -> dict[str, Any]:
    return {**value.to_dict(), "id": None if value.id is None else str(value.id)}


def _emoji(emoji: discord.Emoji) -> dict[str, Any]:
    return {
        "id": str(emoji.id),
        "name": emoji.name,
        "animated": emoji.animated,
        "managed": emoji.managed,
        "url": emoji.url,
    }


def _reaction(reaction: discord.Reaction) -> dict[str, Any]:
    return {
        "message_id": str(reaction.message.id),
        "channel_id": str(reaction.message.channel.id),
        "guild_id": _id(reaction.message.guild),
        # Discord's form of an emoji that is a character.
        "emoji": {"id": None, "name": reaction.emoji} if isinstance(reaction.emoji, str) else reaction.emoji,
        "count": reaction.count,
        "me": reaction.me,
    }


def _voice_state(state: discord.VoiceState) -> dict[str, Any]:
    return {
        "channel_id": _id(state.channel),
        "session_id": state.session_id,
        "deaf": state.deaf,
        "mute": state.mute,
        "self_deaf": state.self_deaf,
        "self_mute": state.self_mute,
        "self_stream": state.self_stream,
        "self_video": state.self_video,
        "suppress": state.suppress,
        "request_to_speak_timestamp": state.requested_to_speak_at,
    }


#: The first class that fits wins, so the narrower ones come first.
_WRITERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (discord.Member, _member),
    ((discord.User, discord.ClientUser), _user),
    (discord.Guild, _guild),
    (discord.Role, _role),
    (discord.Thread, _thread),
    ((discord.abc.GuildChannel, discord.abc.PrivateChannel), _channel),
    (discord.Message, _message),
    (discord.Emoji, _emoji),
    (discord.Reaction, _reaction),
    (discord.VoiceState, _voice_state),
    ((discord.Attachment, discord.PartialEmoji), _with_id_as_string),
    ((discord.Embed, discord.AllowedMentions), lambda value: value.to_dict()),
    (discord.Asset, lambda asset: asset.url),
    (discord.Colour, lambda colour: colour.value),
    (discord.Permissions, lambda permissions: str(permissions.value)),
    (discord.flags.BaseFlags, lambda flags: flags.value),
    (discord.utils.SequenceProxy, list),
    (Mapping, dict),
)


def _is_of_discord(kind: type) -> bool:
    return any(base.__module__.partition(".")[0] == discord.__name__ for base in kind.__mro__)


def _write(value: Any) -> Any:
    for cls, write in _WRITERS:
        if isinstance(value, cls):
            return _without_enums(write(value))
    # A thing of the bot's own that has an id is more than that, so this is for discord.py's only.
    if isinstance(value, discord.abc.Snowflake) and _is_of_discord(type(value)):
        return {"id": str(value.id)}
    if isinstance(value, Iterable):
        return _without_enums(list(cast("Iterable[Any]", value)))
    raise TypeError(f"objects of type {type(value).__name__} cannot be written as JSON")


_write_json = msgspec.json.Encoder(enc_hook=_write).encode
