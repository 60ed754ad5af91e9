"""Values of discord.py that are no objects of Discord's: colours, flags, enums, embeds and emojis."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import discord
import msgspec
from discord.flags import BaseFlags
from msgspec import UNSET, Meta, UnsetType

from discord_tools.ipc_server.parameters.binding import Binding
from discord_tools.ipc_server.parameters.faults import Path, elements_of, members_of, shown
from discord_tools.ipc_server.parameters.nodes import Node, Scalar, Schemas
from discord_tools.ipc_server.snowflakes import SNOWFLAKE_SCHEMA, snowflake

__all__ = ("value_node",)

#: The largest colour.
_WHITE: Final = 0xFFFFFF

#: Maximum length of an emoji as text. Those of Unicode have some ten characters.
_EMOJI_LENGTH: Final = 100

#: Maximum number of names that an error lists.
_NAMES: Final = 20


def value_node(annotation: Any) -> Node | None:
    """Returns the node for such a class, or ``None`` for any other annotation."""
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, discord.Enum):
        return EnumNode(annotation)
    if issubclass(annotation, BaseFlags):
        return FlagsNode(annotation)
    if issubclass(annotation, discord.Colour):
        return ColourNode()
    if issubclass(annotation, discord.Embed):
        return EmbedNode()
    if issubclass(annotation, discord.PartialEmoji):
        return EmojiNode()
    return None


class EnumNode(Node):
    """A member of an enum of discord.py, by its value or its name."""

    def __init__(self, cls: Any) -> None:
        super().__init__(Scalar, summary=f"One of {cls.__name__}, by value or name")
        self.cls = cls
        #: By what is sent: names, values, and numbers as text, as HTML forms send them.
        self._members: dict[Any, Any] = {str(member.value): member for member in cls}
        # Names are told from values by their type, except in enums of strings, where Discord's values come first.
        self._members = {**cls.__members__, **self._members}
        #: By numbers.
        self._numbers: dict[int, Any] = {member.value: member for member in cls if type(member.value) is int}

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        # The types are compared: True and 1.0 equal 1.
        members: dict[Any, Any] = {}
        if type(value) is int:
            members = self._numbers
        elif type(value) is str:
            members = self._members
        if members and value in members:
            return members[value]
        names = list(self.cls.__members__)
        listed = ", ".join(names[:_NAMES]) + (
            f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        )
        binding.fault(
            path, f"expected one of {self.cls.__name__} by value or name ({listed}), got {shown(value)}"
        )
        return None

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        values = [member.value for member in self.cls]
        return {"enum": [*values, *(name for name in self.cls.__members__ if name not in values)]}


class FlagsNode(Node):
    """Flags, permissions say: their number, a list of names, or names with true or false."""

    def __init__(self, cls: Any) -> None:
        super().__init__(
            Scalar | list[Scalar] | dict[str, Scalar],
            hashable=cls.__hash__ is not None,
            summary=f"{cls.__name__}: their number, or the names of those that are set",
        )
        self.cls = cls
        # Aliases, such as read_messages for view_channel, are among these.
        self._names: dict[str, int] = dict(cls.VALID_FLAGS)

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        number = snowflake(value)
        if (members := members_of(value)) is not None:
            number = self._from_names(members, binding, path)
        elif (names := elements_of(value)) is not None:
            number = self._from_names(dict.fromkeys(self._strings(names, binding, path), True), binding, path)
        elif number < 0:
            message = f"expected {self.cls.__name__} as a number or a list of names, got {shown(value)}"
            binding.fault(path, message)
            return None
        flags = self.cls()
        flags.value = number
        return flags

    def _strings(self, value: list[Any], binding: Binding, path: Path) -> Iterator[str]:
        if binding.count(len(value), path):
            for index, name in enumerate(value):
                if isinstance(name, str):
                    yield name
                else:
                    binding.fault((path, index), f"expected the name of a flag, got {shown(name)}")

    def _from_names(self, value: Mapping[str, Any], binding: Binding, path: Path) -> int:
        number = 0
        if binding.count(len(value), path):
            for name, is_set in value.items():
                if name not in self._names:
                    binding.fault(path, f"{self.cls.__name__} has no flag {shown(name)}")
                elif is_set is True:
                    number |= self._names[name]
                elif is_set is not False:
                    binding.fault((path, name), f"expected true or false, got {shown(is_set)}")
        return number

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        name = {"enum": sorted(self._names)}
        table = {"type": "object", "propertyNames": name, "additionalProperties": {"type": "boolean"}}
        number = {"type": "integer", "minimum": 0}
        return {"anyOf": [number, dict(SNOWFLAKE_SCHEMA), {"type": "array", "items": name}, table]}


class ColourNode(Node):
    """A colour: its number, as Discord has it, or text as in CSS."""

    def __init__(self) -> None:
        super().__init__(Scalar, summary="A colour: a number, or text such as #5865f2")

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        number = snowflake(value)
        if 0 <= number <= _WHITE:
            return discord.Colour(number)
        if number < 0 and isinstance(value, str) and len(value) < 100 and value.isascii():
            try:
                return discord.Colour.from_str(value)
            except ValueError:
                pass
        message = f"expected a colour, a number up to {_WHITE} or text such as '#5865f2', got {shown(value)}"
        binding.fault(path, message)
        return None

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer", "minimum": 0, "maximum": _WHITE}, {"type": "string"}]}


class EmojiPlace(msgspec.Struct):
    """The members of an emoji that say which one it is."""

    name: Scalar = None
    id: Scalar = None
    animated: Scalar = False


class EmojiNode(Node):
    """An emoji: text, as in messages, or Discord's object of name and id."""

    def __init__(self) -> None:
        super().__init__(
            EmojiPlace | Scalar, summary="An emoji: one of Unicode, <:name:id>, or an object with name and id"
        )

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        if isinstance(value, str) and 0 < len(value) <= _EMOJI_LENGTH:
            emoji = discord.PartialEmoji.from_str(value)
            # Without an id, from_str() takes anything for an emoji of Unicode.
            if not value.isascii() if emoji.id is None else snowflake(emoji.id) >= 0:
                return emoji
        elif isinstance(value, EmojiPlace):
            name, given, animated = value.name, value.id, value.animated
            if isinstance(name, str) and 0 < len(name) <= _EMOJI_LENGTH and isinstance(animated, bool):
                number = None if given is None else snowflake(given)
                if not name.isascii() if number is None else number >= 0:
                    return discord.PartialEmoji(name=name, id=number, animated=animated)
        message = f"expected an emoji, one of Unicode, <:name:id>, or an object with name and id, got {shown(value)}"
        binding.fault(path, message)
        return None

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        parts = {"name": {"type": "string"}, "id": {"anyOf": [dict(SNOWFLAKE_SCHEMA), {"type": "null"}]}}
        named = {
            "type": "object",
            "properties": {**parts, "animated": {"type": "boolean"}},
            "required": ["name"],
        }
        return {"anyOf": [{"type": "string"}, named]}


# -- embeds, with the limits of Discord's documentation

Text = Annotated[str, Meta(max_length=256)]
Url = Annotated[str, Meta(max_length=2048)]


class EmbedMedia(msgspec.Struct):
    """An image, thumbnail or video of an embed."""

    url: Url | UnsetType = UNSET
    proxy_url: Url | UnsetType = UNSET
    height: int | UnsetType = UNSET
    width: int | UnsetType = UNSET


class EmbedFooter(msgspec.Struct):
    """The footer of an embed."""

    text: Annotated[str, Meta(max_length=2048)] | UnsetType = UNSET
    icon_url: Url | UnsetType = UNSET
    proxy_icon_url: Url | UnsetType = UNSET


class EmbedAuthor(msgspec.Struct):
    """The author or the provider of an embed."""

    name: Text | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    icon_url: Url | UnsetType = UNSET
    proxy_icon_url: Url | UnsetType = UNSET


class EmbedField(msgspec.Struct):
    """A field of an embed."""

    name: Text
    value: Annotated[str, Meta(max_length=1024)]
    inline: bool = True


class EmbedData(msgspec.Struct):
    """An embed, as Discord's API has it."""

    title: Text | UnsetType | None = UNSET
    type: str | UnsetType | None = UNSET
    description: Annotated[str, Meta(max_length=4096)] | UnsetType | None = UNSET
    url: Url | UnsetType | None = UNSET
    timestamp: datetime.datetime | UnsetType | None = UNSET
    color: Annotated[int, Meta(ge=0, le=_WHITE)] | UnsetType | None = UNSET
    footer: EmbedFooter | UnsetType | None = UNSET
    image: EmbedMedia | UnsetType | None = UNSET
    thumbnail: EmbedMedia | UnsetType | None = UNSET
    video: EmbedMedia | UnsetType | None = UNSET
    provider: EmbedAuthor | UnsetType | None = UNSET
    author: EmbedAuthor | UnsetType | None = UNSET
    fields: Annotated[list[EmbedField], Meta(max_length=25)] | UnsetType | None = UNSET
    flags: int | UnsetType = UNSET


#: Maximum number of characters of all texts of an embed together.
_EMBED_LENGTH: Final = 6000


class EmbedNode(Node):
    """An embed, in the form that Discord's API has for it."""

    def __init__(self) -> None:
        super().__init__(EmbedData, hashable=False)

    def convert(self, value: Any, binding: Binding, path: Path) -> Any:
        if not binding.count(1 + (len(value.fields) if value.fields else 0), path):
            return None
        data: dict[str, Any] = msgspec.to_builtins(value)
        given = {name: part for name, part in data.items() if part is not None}
        embed = discord.Embed.from_dict({"type": "rich", **given})
        if len(embed) > _EMBED_LENGTH:
            message = (
                f"the texts of an embed have at most {_EMBED_LENGTH} characters together, got {len(embed)}"
            )
            binding.fault(path, message)
        return embed

    def schema(self, schemas: Schemas) -> dict[str, Any]:
        return schemas.plain(EmbedData)
