"""What decorators of discord.py leave on a function. Routes ignore it, so it is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final, cast

__all__ = ("is_mark", "refuse_mark", "refuse_marks", "watch_class", "wrapped_in")

#: Names of attributes that decorators of discord.py set on the function of a command, a listener or a component.
_MARK: Final = re.compile(r"__(?:commands|discord|cog|hybrid)_\w+__|__(?:before|after)_invoke__")

#: Number of wrappers around a function that are searched for marks.
_WRAPPERS: Final = 64

#: Number of frames between the decorator of a route and the body of its class: functions that decorate for others.
_FRAMES: Final = 8

#: The attribute of a class that is being made which looks for marks. It removes itself.
_WATCH: Final = "__ipc_marks__"

_CHECK = "use @check() of discord_tools.ipc, or cog_ipc_check of the cog"
_PARAMETER = "annotate the parameter instead, as the guide on routes describes"

#: Marks, what sets them, and what to use instead. Longer names come before their beginnings.
_INSTEAD: Final[tuple[tuple[str, str, str], ...]] = (
    ("__commands_checks__", "a check of discord.ext.commands", _CHECK),
    ("__commands_cooldown__", "a cooldown of discord.ext.commands", "use @cooldown() of discord_tools.ipc"),
    (
        "__commands_max_concurrency__",
        "max_concurrency of discord.ext.commands",
        "use @max_concurrency() of discord_tools.ipc",
    ),
    ("__before_invoke__", "before_invoke of discord.ext.commands", "use Route.before_invoke"),
    ("__after_invoke__", "after_invoke of discord.ext.commands", "use Route.after_invoke"),
    ("__discord_app_commands_checks__", "a check or cooldown of discord.app_commands", _CHECK),
    (
        "__discord_app_commands_guild_only__",
        "guild_only of discord.py",
        "give the route a parameter of type discord.Guild",
    ),
    ("__discord_app_commands_is_nsfw__", "is_nsfw of discord.py", _CHECK),
    ("__discord_app_commands_default_permissions__", "default_permissions of discord.app_commands", _CHECK),
    ("__discord_app_commands_default_guilds__", "guilds of discord.app_commands", _CHECK),
    ("__discord_app_commands_contexts__", "allowed_contexts of discord.app_commands", _CHECK),
    ("__discord_app_commands_installation_types__", "allowed_installs of discord.app_commands", _CHECK),
    ("__discord_app_commands_param_", "a decorator of discord.app_commands for parameters", _PARAMETER),
    ("__cog_listener", "Cog.listener of discord.ext.commands", "make the listener a method of its own"),
    ("__discord_ui_", "a decorator of discord.ui", "make the callback of the component a method of its own"),
)


def is_mark(name: str) -> bool:
    """Whether an attribute of that name is a mark of discord.py."""
    return _MARK.fullmatch(name) is not None


def refuse_mark(name: str, where: str) -> TypeError:
    """The error for a mark on a route."""
    for beginning, what, instead in _INSTEAD:
        if name.startswith(beginning):
            return TypeError(f"{where}: {what} has no effect on routes: {instead}")
    return TypeError(
        f"{where}: the decorator of discord.py that sets {name!r} has no effect on routes: remove it"
    )


def refuse_marks(callback: Any, where: str) -> None:
    """Raises :exc:`TypeError` for a command, and for a function with a mark of discord.py."""
    if type(callback).__module__.partition(".")[0] == "discord":
        kind = f"{type(callback).__module__}.{type(callback).__qualname__}"
        raise TypeError(
            f"{where}: a {kind} cannot be a route as well: write a coroutine function that both of them call"
        )
    for function in wrapped_in(callback):
        # A function may have any attributes, and a mock has all of them: only those that were set count.
        for name in getattr(function, "__dict__", ()):
            if isinstance(name, str) and is_mark(name):
                raise refuse_mark(name, where)


def wrapped_in(callback: Any) -> Iterator[Any]:
    """A function, and those that it wraps: by ``functools.wraps`` or ``functools.partial``, or as a bound method."""
    for _ in range(_WRAPPERS):
        yield callback
        attributes = ("__wrapped__", "func", "__func__")
        inner = next((one for name in attributes if (one := getattr(callback, name, None)) is not None), None)
        if not callable(inner):
            return
        callback = inner


class _Watch:
    """Looks at the static methods and class methods of a class when it is made.

    A decorator above ``@staticmethod`` leaves its mark on the static method, of which the route in it hears nothing.

    Parameters
    ----------
    kind: :class:`type`
        The class of routes.
    """

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind

    def __set_name__(self, owner: type[Any], name: str) -> None:
        # Python 3.11 raises a RuntimeError in place of what is raised here, with that as its cause.
        delattr(owner, name)
        for attribute, value in vars(owner).items():
            if isinstance(value, (staticmethod, classmethod)):
                method = cast("staticmethod[..., Any]", value)
                if isinstance(method.__func__, self._kind):
                    self._check(method, f"route {owner.__module__}.{owner.__qualname__}.{attribute}")

    def _check(self, method: Any, where: str) -> None:
        if type(method) is classmethod:
            raise TypeError(f"{where}: a class method cannot be a route: make it a method or a static method")
        attributes = cast("dict[str, Any]", vars(method))
        for name in attributes:
            if is_mark(name):
                raise refuse_mark(name, where)


def watch_class(frame: FrameType, kind: type[Any]) -> None:
    """Has the class in whose body a route is decorated refuse marks around static methods, once the class is made.

    Parameters
    ----------
    frame: :class:`types.FrameType`
        The frame of the decorator. Outside of the body of a class this does nothing.
    kind: :class:`type`
        The class of routes.
    """
    current: FrameType | None = frame
    for _ in range(_FRAMES):
        if current is None:
            return
        # The namespace of a body, which becomes the class, has both from its beginning.
        names = current.f_locals
        if names is not current.f_globals and "__module__" in names and "__qualname__" in names:
            names[_WATCH] = _Watch(kind)
            return
        current = current.f_back
