"""Tables of components of messages and modals."""

from __future__ import annotations

from typing import Final

from discord_tools.ipc_server.forks import discord
from discord_tools.ipc_server.values.kinds import (
    boolean,
    colour,
    enum,
    flags,
    integer,
    many,
    nested,
    one_of,
    snowflake,
    text,
)
from discord_tools.ipc_server.values.table import Table

__all__ = ("COMPONENTS", "TABLES")

#: What a message consists of.
COMPONENTS: Final = (
    discord.ActionRow,
    discord.Button,
    discord.SelectMenu,
    discord.SectionComponent,
    discord.TextDisplay,
    discord.ThumbnailComponent,
    discord.MediaGalleryComponent,
    discord.FileComponent,
    discord.SeparatorComponent,
    discord.Container,
)

_BASE: Final = (enum("type"), integer("id", omit=True))
_OPTION: Final = (text("label"), text("value"), text("description", omit=True), boolean("default"))
_CHOICES: Final = (integer("min_values"), integer("max_values"), boolean("required"))
_EMOJI: Final = one_of((discord.PartialEmoji,), "emoji", omit=True)
_CHILDREN: Final = many(one_of(COMPONENTS, "components", "children"))

TABLES: Final = (
    Table(discord.ActionRow, *_BASE, _CHILDREN, types=("components.ActionRow",)),
    Table(
        discord.Button,
        *_BASE,
        enum("style"),
        text("label", omit=True),
        _EMOJI,
        text("custom_id", omit=True),
        text("url", omit=True),
        snowflake("sku_id", omit=True),
        boolean("disabled"),
        types=("components.ButtonComponent",),
    ),
    Table(
        discord.SelectMenu,
        *_BASE,
        text("custom_id"),
        text("placeholder", omit=True),
        *_CHOICES,
        boolean("disabled"),
        many(nested(discord.SelectOption, "options")),
        many(enum("channel_types")),
        many(nested(discord.SelectDefaultValue, "default_values")),
        types=("components.SelectMenu",),
    ),
    Table(discord.SelectOption, *_OPTION, _EMOJI, types=("components.SelectOption",)),
    Table(
        discord.SelectDefaultValue, snowflake("id"), enum("type"), types=("components.SelectDefaultValues",)
    ),
    Table(
        discord.TextInput,
        *_BASE,
        text("custom_id"),
        enum("style"),
        text("label"),
        text("placeholder", omit=True),
        text("value", omit=True),
        boolean("required"),
        integer("min_length", omit=True),
        integer("max_length", omit=True),
        types=("components.TextInput",),
    ),
    Table(
        discord.SectionComponent,
        *_BASE,
        _CHILDREN,
        one_of(COMPONENTS, "accessory"),
        types=("components.SectionComponent",),
    ),
    Table(discord.TextDisplay, *_BASE, text("content"), types=("components.TextComponent",)),
    Table(
        discord.ThumbnailComponent,
        *_BASE,
        nested(discord.UnfurledMediaItem, "media"),
        text("description", omit=True),
        boolean("spoiler"),
        types=("components.ThumbnailComponent",),
    ),
    Table(
        discord.UnfurledMediaItem,
        text("url"),
        text("proxy_url"),
        integer("height"),
        integer("width"),
        text("content_type", omit=True),
        text("placeholder", omit=True),
        enum("loading_state", omit=True),
        snowflake("attachment_id", omit=True),
        flags("flags", omit=True),
        types=("components.UnfurledMediaItem",),
    ),
    Table(
        discord.MediaGalleryItem,
        nested(discord.UnfurledMediaItem, "media"),
        text("description", omit=True),
        boolean("spoiler"),
        types=("components.MediaGalleryItem",),
    ),
    Table(
        discord.MediaGalleryComponent,
        *_BASE,
        many(nested(discord.MediaGalleryItem, "items")),
        types=("components.MediaGalleryComponent",),
    ),
    Table(
        discord.FileComponent,
        *_BASE,
        nested(discord.UnfurledMediaItem, "file", "media"),
        boolean("spoiler"),
        text("name", omit=True),
        integer("size", omit=True),
        types=("components.FileComponent",),
    ),
    Table(
        discord.SeparatorComponent,
        *_BASE,
        boolean("divider", "visible"),
        enum("spacing"),
        types=("components.SeparatorComponent",),
    ),
    Table(
        discord.Container,
        *_BASE,
        _CHILDREN,
        colour("accent_color", "accent_colour", omit=True),
        boolean("spoiler"),
        types=("components.ContainerComponent",),
    ),
    Table(
        discord.LabelComponent,
        *_BASE,
        text("label"),
        text("description", omit=True),
        one_of(
            (
                discord.TextInput,
                discord.SelectMenu,
                discord.FileUploadComponent,
                discord.RadioGroupComponent,
                discord.CheckboxGroupComponent,
                discord.CheckboxComponent,
            ),
            "component",
        ),
        types=("components.LabelComponent",),
    ),
    Table(
        discord.FileUploadComponent,
        *_BASE,
        text("custom_id"),
        *_CHOICES,
        types=("components.FileUploadComponent",),
    ),
    Table(
        discord.RadioGroupComponent,
        *_BASE,
        text("custom_id"),
        boolean("required"),
        many(nested(discord.RadioGroupOption, "options")),
        types=("components.RadioGroupComponent",),
    ),
    Table(discord.RadioGroupOption, *_OPTION, types=("components.OptionBase",)),
    Table(
        discord.CheckboxGroupComponent,
        *_BASE,
        text("custom_id"),
        *_CHOICES,
        many(nested(discord.CheckboxGroupOption, "options")),
        types=("components.CheckboxGroupComponent",),
    ),
    Table(discord.CheckboxGroupOption, *_OPTION, types=("components.OptionBase",)),
    Table(
        discord.CheckboxComponent,
        *_BASE,
        text("custom_id"),
        boolean("default"),
        types=("components.CheckboxComponent",),
    ),
)
