"""Publishes events of discord.py to subscribers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import discord
from discord.ext import commands

__all__ = ("Forwarder",)

Listener: TypeAlias = Callable[..., Coroutine[Any, Any, None]]

#: Names of the arguments of events with more than one, from discord.py's documentation.
_NAMES: dict[str, tuple[str, ...]] = {
    "typing": ("channel", "user", "when"),
    "reaction_add": ("reaction", "user"),
    "reaction_remove": ("reaction", "user"),
    "member_ban": ("guild", "user"),
    "member_unban": ("guild", "user"),
    "guild_channel_pins_update": ("channel", "last_pin"),
    "guild_emojis_update": ("guild", "before", "after"),
    "guild_stickers_update": ("guild", "before", "after"),
    "voice_state_update": ("member", "before", "after"),
    "scheduled_event_user_add": ("event", "user"),
    "scheduled_event_user_remove": ("event", "user"),
}


class Forwarder:
    """Listens to events of one client while its server runs.

    Parameters
    ----------
    publish: Callable[[:class:`str`, Any], None]
        Hands an event to subscribers.
    """

    def __init__(self, client: discord.Client, publish: Callable[[str, Any], None]) -> None:
        self._client: Any = client
        self._publish = publish
        #: Our listeners by event.
        self._listeners: dict[str, Listener] = {}
        #: On a plain client: our handler, and the attribute that it replaced.
        self._wrapped: dict[str, tuple[Listener, Listener | None]] = {}
        #: Whether the server runs.
        self._active = False

    def add(self, event: str) -> None:
        """Publishes one more event."""
        event = event.removeprefix("on_")
        if event not in self._listeners:
            self._listeners[event] = self._listener(event)
            if self._active:
                self._listen(event)

    def start(self) -> None:
        """Starts listening."""
        self._active = True
        for event in self._listeners:
            self._listen(event)

    def stop(self) -> None:
        """Stops listening."""
        if not self._active:
            return
        self._active = False
        for event, listener in self._listeners.items():
            if isinstance(self._client, commands.bot.BotBase):
                self._client.remove_listener(listener, f"on_{event}")
                continue
            ours, own = self._wrapped.pop(event)
            # A handler that the user has registered since then has replaced ours, and stays.
            if self._client.__dict__.get(f"on_{event}") is ours:
                delattr(self._client, f"on_{event}")
                if own is not None:
                    setattr(self._client, f"on_{event}", own)

    def _listener(self, event: str) -> Listener:
        async def listener(*args: Any) -> None:
            self._publish(event, event_data(event, args))

        return listener

    def _listen(self, event: str) -> None:
        attribute, listener = f"on_{event}", self._listeners[event]
        if isinstance(self._client, commands.bot.BotBase):
            self._client.add_listener(listener, attribute)
            return
        # A plain client has one handler for an event, in an attribute. Ours calls it.
        own: Listener | None = self._client.__dict__.get(attribute)
        handler: Listener | None = getattr(self._client, attribute, None)

        async def both(*args: Any) -> None:
            try:
                await listener(*args)
            finally:  # the user's handler also gets an event that cannot be written as JSON
                if handler is not None:
                    await handler(*args)

        self._wrapped[event] = both, own
        setattr(self._client, attribute, both)


def event_data(event: str, args: tuple[Any, ...]) -> Any:
    """What is published for an event of discord.py.

    With one argument, that argument; with several, an object of them by name, and ``guild_id`` for filters.
    """
    if len(args) == 1:
        return args[0]
    if not args:
        return {}
    names = _NAMES.get(event)
    if names is None or len(names) != len(args):
        names = ("before", "after") if len(args) == 2 else tuple(f"arg{i}" for i in range(len(args)))
    data: dict[str, Any] = dict(zip(names, args, strict=True))
    for value in args:
        guild = value if isinstance(value, discord.Guild) else getattr(value, "guild", None)
        if isinstance(guild, discord.Guild):
            data["guild_id"] = str(guild.id)
            break
    return data
