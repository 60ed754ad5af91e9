"""What has no form in JSON, with the reason and what to write instead."""

from __future__ import annotations

import io
import types
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Final

import msgspec

from discord_tools.ipc_server.forks import Typing, app_commands, commands, discord, ui
from discord_tools.ipc_server.values.errors import Unwritable

__all__ = ("REFUSED", "refusal", "refuse")

_CLIENT = "it is a connection to Discord, not data"
_COMMAND = "it is code: return its name"
_VIEW = "it is code: return message.components"
_FILE = "its content is bytes to send: return them, or a URL"
_VOICE = "it is a connection or a source of sound, not data"
_CONVERTER = "it turns arguments into values: return the value"
_CONTEXT = "return its message, author or guild"
_SETTING = "it is a setting of commands, not data"
_ABSTRACT = "it is the base of other classes: return an object of one of those"

#: discord.py's classes, with those that inherit from them.
REFUSED: Final[dict[Any, str]] = {
    discord.Client: _CLIENT,
    discord.AutoShardedClient: _CLIENT,
    discord.VoiceProtocol: _VOICE,
    discord.VoiceClient: _VOICE,
    discord.AudioSource: _VOICE,
    discord.File: _FILE,
    discord.InteractionResponse: _CONTEXT,
    discord.Component: _ABSTRACT,
    discord.BaseActivity: _ABSTRACT,
    discord.DiscordException: "return str(error), or let it out of the route",
    discord.abc.Snowflake: _ABSTRACT,
    discord.abc.User: _ABSTRACT,
    discord.abc.PrivateChannel: _ABSTRACT,
    discord.abc.GuildChannel: _ABSTRACT,
    discord.abc.Messageable: _ABSTRACT,
    discord.abc.Connectable: _ABSTRACT,
    Typing: _CONTEXT,
    ui.View: _VIEW,
    ui.LayoutView: _VIEW,
    ui.Modal: _VIEW,
    ui.Item: _VIEW,
    ui.DynamicItem: _VIEW,
    app_commands.Command: _COMMAND,
    app_commands.ContextMenu: _COMMAND,
    app_commands.Group: _COMMAND,
    app_commands.CommandTree: _COMMAND,
    app_commands.Parameter: _COMMAND,
    app_commands.Namespace: "return vars() of it",
    app_commands.Transformer: _CONVERTER,
    app_commands.Transform: _CONVERTER,
    app_commands.Range: _CONVERTER,
    app_commands.Timestamp: _CONVERTER,
    app_commands.Translator: _COMMAND,
    app_commands.TranslationContext: _CONTEXT,
    app_commands.locale_str: "return its message",
    app_commands.Cooldown: "return its rate and per",
    commands.Command: _COMMAND,
    commands.GroupMixin: _COMMAND,
    commands.Cog: _COMMAND,
    commands.CogMeta: _COMMAND,
    commands.HelpCommand: _COMMAND,
    commands.Paginator: "return its pages",
    commands.Context: _CONTEXT,
    commands.Converter: _CONVERTER,
    commands.Greedy: _CONVERTER,
    commands.Range: _CONVERTER,
    commands.Timestamp: _CONVERTER,
    commands.Parameter: _COMMAND,
    commands.Flag: _SETTING,
    commands.FlagConverter: "return dict() of it",
    commands.CooldownMapping: _SETTING,
    commands.MaxConcurrency: _SETTING,
}

_ROUTE = "make the route an async generator, so that it streams them, or return a list"

#: Everything else, by what its class inherits from; the first one counts.
_OTHERS: Final[list[tuple[Any, str]]] = [
    (io.IOBase, "return what it has, as bytes or text"),
    ((AsyncIterator, Iterator), _ROUTE),
    ((Awaitable,), "it has to be awaited"),
    (BaseException, "return str(error), or let it out of the route"),
    ((types.FunctionType, types.MethodType, types.BuiltinFunctionType), "call it"),
    (types.ModuleType, "return something of it"),
    (type, "return its name, or an object of it"),
    (msgspec.UnsetType, "leave it out"),
    ((complex,), "return its real and its imaginary part"),
    (type(discord.utils.MISSING), "it stands for an argument that was not given"),
]


def refusal(kind: type[Any]) -> Unwritable:
    """The error for objects of a class that have no form in JSON."""
    return Unwritable(f"objects of type {kind.__name__} cannot be written as JSON: {_advice(kind)}")


def refuse(value: Any) -> Any:
    """Takes the place of a writer for a class that the installed library has in another form."""
    raise refusal(type(value))  # pyright: ignore[reportUnknownArgumentType] (of Any)


def _advice(kind: type[Any]) -> str:
    """What to do about objects of a class that have no form in JSON."""
    for base in kind.__mro__:
        if base in REFUSED:
            return REFUSED[base]
    for classes, text in _OTHERS:
        if issubclass(kind, classes):
            return text
    return f"return what you need of it, or register an encoder with @server.encoder({kind.__name__})"
