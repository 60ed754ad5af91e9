"""Publishes events of discord.py to subscribers."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import discord
from discord.ext import commands

from discord_tools.ipc.logs import Incidents
from discord_tools.ipc_server.event_table import EVENTS, GROUPS, EventSpec, custom, events_of, nearest
from discord_tools.ipc_server.events import Hub

__all__ = ("Custom", "Forwarder", "Listeners", "checked_events")

log = logging.getLogger(__name__)

#: Events that the bot dispatches itself: their names, or the names of their arguments by name.
Custom: TypeAlias = Collection[str] | Mapping[str, Sequence[str]]


class Listeners:
    """Listens to events of one client while its server runs, as :meth:`discord.Client.wait_for` does.

    discord.py evaluates the check of ``wait_for`` while it dispatches an event, before the next one changes the same
    objects. Other listeners have no influence on it, such as a handler that is registered later. Nor has it any on
    them: a bot still logs the errors of commands that have no listener.

    Parameters
    ----------
    client: :class:`discord.Client`
        The client.
    """

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        #: What is called for each event.
        self._callbacks: dict[str, Callable[..., None]] = {}
        #: Tasks that wait for them, while the server runs and the client has a loop.
        self._waiting: dict[str, asyncio.Task[Any]] = {}
        #: Whether the server runs.
        self._active = False

    def add(self, event: str, callback: Callable[..., None]) -> None:
        """Calls a function with the arguments of each event of this name. It must not raise."""
        self._callbacks.setdefault(event, callback)
        self.listen()

    def start(self) -> None:
        """Starts listening."""
        self._active = True
        self.listen()

    def listen(self) -> None:
        """Listens to the events that were added. Before log-in it does nothing, and is to be called again then."""
        loop: Any = self._client.loop
        # Before log-in the attribute is a sentinel of discord.py.
        if self._active and isinstance(loop, asyncio.AbstractEventLoop):
            for event, callback in self._callbacks.items():
                if event not in self._waiting:
                    self._waiting[event] = self._wait(loop, event, callback)

    def stop(self) -> None:
        """Stops listening."""
        self._active = False
        waiting, self._waiting = self._waiting, {}
        for task in waiting.values():
            task.cancel()

    def _wait(
        self, loop: asyncio.AbstractEventLoop, event: str, callback: Callable[..., None]
    ) -> asyncio.Task[Any]:
        def check(*args: Any) -> bool:
            # What waits no more is removed by discord.py with the next event.
            if self._waiting.get(event) is not task:
                return True
            callback(*args)
            return False

        client: Any = self._client
        task: asyncio.Task[Any] = loop.create_task(
            client.wait_for(event, check=check), name=f"ipc hears {event}"
        )
        return task


class ErrorHook:
    """Tells of exceptions in handlers of events. discord.py calls ``on_error`` directly, without dispatching it.

    Parameters
    ----------
    tell: Callable[..., None]
        Called with the name of the event and the exception.
    """

    def __init__(self, client: discord.Client, tell: Callable[..., None]) -> None:
        self._client: Any = client
        self._tell = tell
        #: What stands in place of the client's ``on_error``, while this is installed.
        self._ours: Callable[..., Awaitable[None]] | None = None
        #: The attribute of the instance before, if it had one.
        self._theirs: Any = None

    def install(self, *_: object) -> None:
        """Puts the hook before the client's own ``on_error``. Called again after that was replaced by another."""
        theirs: Any = self._client.__dict__.get("on_error")
        if self._ours is not None and theirs is self._ours:
            return
        handle: Callable[..., Awaitable[None]] = self._client.on_error

        async def both(event: str, /, *args: Any, **kwargs: Any) -> None:
            self._tell(event.removeprefix("on_"), sys.exc_info()[1])
            await handle(event, *args, **kwargs)

        self._theirs = theirs
        self._ours = self._client.on_error = both

    def remove(self) -> None:
        """Restores the client's own ``on_error``."""
        ours, self._ours = self._ours, None
        if ours is not None and self._client.__dict__.get("on_error") is ours:
            if self._theirs is None:
                del self._client.on_error  # the method of the class is back
            else:
                self._client.on_error = self._theirs


class Forwarder:
    """Publishes events of one client while its server runs.

    Parameters
    ----------
    client: :class:`discord.Client`
        The client.
    hub: :class:`~.events.Hub`
        Hands events to subscribers.
    """

    def __init__(self, client: discord.Client, hub: Hub) -> None:
        self._client = client
        self._hub = hub
        #: The events that are forwarded, by name.
        self._specs: dict[str, EventSpec] = {}
        #: Listens to the events.
        self._listeners = Listeners(client)
        #: Notices when the client's handler of errors was replaced, if errors are forwarded.
        self._keeping = Listeners(client)
        #: Tells of errors, if they are forwarded.
        self._errors: ErrorHook | None = None
        #: Whether the server runs.
        self._active = False
        #: Events that cannot happen and that were warned of.
        self._warned: set[str] = set()
        #: Logs events whose data cannot be written.
        self._incidents = Incidents(log)

    def add(self, specs: Iterable[EventSpec], named: Collection[str] = ()) -> None:
        """Publishes more events. Those in ``named`` were asked for by their own names, and not by that of a group."""
        specs = tuple(specs)
        for one in specs:
            new = one.name not in self._specs
            self._specs[one.name] = one
            self._hub.learn(one.name, one)
            if new:
                self._listen(one.name)
        self._warn(specs, named)

    def start(self) -> None:
        """Starts listening."""
        self._active = True
        self._listeners.start()
        self._keeping.start()
        if self._errors is not None:
            self._errors.install()

    def listen(self) -> None:
        """Listens to the events that were added before log-in."""
        self._listeners.listen()
        self._keeping.listen()

    def stop(self) -> None:
        """Stops listening."""
        self._active = False
        self._listeners.stop()
        self._keeping.stop()
        if self._errors is not None:
            self._errors.remove()

    def _listen(self, name: str) -> None:
        def publish(*args: Any) -> None:
            try:
                self._hub.forward(self._specs[name], args)
            except Exception as error:
                self._incidents.warning(
                    f"event {name:.100}", "It is left out, since its data cannot be written: %.500r", error
                )

        if name != "error":
            self._listeners.add(name, publish)
            return
        self._errors = ErrorHook(self._client, publish)
        # An event of the gateway comes before the handlers that may fail, so a handler that has replaced the hook is
        # noticed in time.
        self._keeping.add("socket_event_type", self._keep_error_hook)
        if self._active:
            self._errors.install()

    def _keep_error_hook(self, *_: object) -> None:
        if self._errors is not None:
            self._errors.install()

    def _warn(self, specs: Iterable[EventSpec], named: Collection[str]) -> None:
        """Warns of events that cannot happen, once of each."""
        new = [one for one in specs if one.name not in self._warned]
        lacking = {one.name: one.missing_intents(self._client.intents) for one in new}
        if texts := [f"{name} ({', '.join(intents)})" for name, intents in lacking.items() if intents]:
            log.warning(
                "The bot's intents keep these events from happening: %s. Switch the intents in brackets on, those "
                "that are privileged in Discord's developer portal, too",
                ", ".join(texts),
            )
        for one in new:
            if one.needs and one.name in named and not _fulfils(self._client, one.needs):
                log.warning("The event %s never happens: it needs %s", one.name, _NEEDS[one.needs])
        self._warned.update(one.name for one in new)


_NEEDS = {
    "commands": "a commands.Bot",
    "shards": "an AutoShardedClient or an AutoShardedBot",
    "enable_debug_events": "a client with enable_debug_events=True",
    "enable_raw_presences": "a client with enable_raw_presences=True",
}


def _fulfils(client: Any, needs: str) -> bool:
    """Whether a client has what an event needs, as far as its attributes tell."""
    if needs == "commands":
        return isinstance(client, commands.bot.BotBase)
    if needs == "shards":
        return isinstance(client, discord.AutoShardedClient)
    if needs == "enable_debug_events":
        return bool(getattr(client, "_enable_debug_events", True))
    return bool(getattr(getattr(client, "_connection", None), "raw_presence_flag", True))


def checked_events(names: Iterable[str], own: Custom) -> list[EventSpec]:
    """The events that names of events and groups stand for, and those that the bot dispatches itself.

    Raises
    ------
    TypeError
        A name is no string, or ``own`` is none of its types.
    ValueError
        There is no such event or group, or an event of the bot's own has the name of one of discord.py.
    """
    specs = [EVENTS[event] for name in names for event in _expanded(name)]
    if isinstance(own, str):
        raise TypeError(f"custom must be a list of names, or a dict, not the text {own[:100]!r}")
    named: Mapping[str, Any] = (
        cast("Mapping[str, Any]", own) if isinstance(own, Mapping) else dict.fromkeys(own, ())
    )
    for name, arguments in named.items():
        _check_custom(name)
        specs.append(custom(name.removeprefix("on_"), _checked_arguments(name, arguments)))
    return specs


def _expanded(name: Any) -> tuple[str, ...]:
    if not isinstance(name, str):
        raise TypeError(f"the name of an event must be a str, not {name!r:.100}")
    found = events_of(name)
    if found is None:
        similar = nearest(name.removeprefix("on_"), (*EVENTS, *GROUPS))
        hint = "." if similar is None else f"; did you mean {similar!r}?"
        raise ValueError(
            f"discord.py has no event {name[:100]!r}, nor is this a group of events{hint} "
            "For an event that the bot dispatches itself, use custom=[...]"
        )
    return found


def _check_custom(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of an event must be a str, not {name!r:.100}")
    event = name.removeprefix("on_")
    if events_of(name) is not None:
        raise ValueError(f"{event!r} is an event of discord.py or a group of them: give it without custom")
    if not event or event != event.lower():
        # wait_for() looks for names in lower case only.
        raise ValueError(f"the name of an event of the bot's own must be in lower case, not {name[:100]!r}")


def _checked_arguments(name: str, arguments: Any) -> tuple[str, ...]:
    if isinstance(arguments, str) or not all(isinstance(one, str) for one in arguments):
        raise TypeError(f"the arguments of {name[:100]!r} must be a list of names, not {arguments!r:.100}")
    names = tuple(cast("Iterable[str]", arguments))
    if len(set(names)) != len(names):
        raise ValueError(f"two arguments of {name[:100]!r} have the same name: {arguments!r:.100}")
    return names
