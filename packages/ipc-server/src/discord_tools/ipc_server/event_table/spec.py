"""What one event of discord.py carries: its arguments, the ids that filters compare, and the data that is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

__all__ = (
    "KEYS",
    "EventSpec",
    "Field",
    "Keys",
    "custom",
    "error",
    "frame",
    "ids",
    "permissions",
    "spec",
)

Keys: TypeAlias = Mapping[str, tuple[str | None, ...]]

#: Names of the ids that are kept beside the data of an event, the most selective one last.
KEYS: Final = ("guild_id", "channel_id", "user_id", "message_id")

#: What an id is called among the members of the data.
SNOWFLAKE: Final = "snowflake"

#: Maximum length of the text of an exception in an event. It may quote what a user wrote.
ERROR_TEXT: Final = 2000


@dataclass(frozen=True, slots=True)
class Field:
    """A member of the data whose value is written in a form of its own.

    Attributes
    ----------
    path: :class:`str`
        Where the value stands, beginning with the name of an argument.
    write: Callable[[Any], Any]
        Returns what is published in its place.
    """

    path: str
    write: Callable[[Any], Any]


Form: TypeAlias = Mapping[str, "str | Field | Form"]


@dataclass(frozen=True)
class EventSpec:
    """One event: a row of the table.

    Attributes
    ----------
    name: :class:`str`
        The name, without ``on_``.
    arguments: Mapping[:class:`str`, :class:`str`]
        Types of the arguments by their names, as discord.py documents them.
    groups: tuple[:class:`str`, ...]
        Groups that have this event.
    intents: tuple[:class:`str`, ...]
        Intents without which it never happens. ``a|b`` means that one of them is enough.
    paths: Mapping[:class:`str`, tuple[:class:`str`, ...]]
        Where the ids that filters compare stand. A path begins with the name of an argument; ``*`` means each element.
    has_all_keys: :class:`bool`
        Whether the ids at these paths are all that filters compare. If not, members of the data count, too.
    needs: :class:`str`
        What else the client has to be or to have. Empty for nothing.
    form: Optional[Form]
        Members of the data, each with the path of its value, a :class:`Field`, or members of its own. ``None`` for the
        argument itself, or for an object of several arguments by name.
    """

    name: str
    arguments: Mapping[str, str]
    groups: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    has_all_keys: bool = True
    needs: str = ""
    form: Form | None = None

    def keys(self, args: tuple[Any, ...]) -> Keys:
        """The ids that filters compare, as strings. A key without an id has ``None`` in its place."""
        places = dict(zip(self.arguments, args, strict=False))
        found: dict[str, tuple[str | None, ...]] = {}
        for key, paths in self.paths.items():
            values = dict.fromkeys(str(value) for path in paths for value in _each(_at(places, path)))
            found[key] = tuple(values) or (None,)
        return found

    def data(self, args: tuple[Any, ...], keys: Keys) -> Any:
        """What is published, for :func:`~.encoding.encode_answer`."""
        if self.form is None:
            if len(args) == 1:
                return args[0]
            data = self._named(args)
            guild = keys.get("guild_id", (None,))[0]
            return data if guild is None else {**data, "guild_id": guild}
        return _shaped(self._named(args), self.form)

    def members(self) -> dict[str, str]:
        """The members of the data with what they are: the name of a type, or nothing. Empty for a single argument."""
        if self.form is not None:
            return {name: self._kind(one) for name, one in self.form.items()}
        if len(self.arguments) < 2:
            return {}
        guild = {"guild_id": SNOWFLAKE} if "guild_id" in self.paths else {}
        return {**self.arguments, **guild}

    def _kind(self, one: str | Field | Form) -> str:
        if isinstance(one, Field):
            return SNOWFLAKE if one.write is _as_ids else ""
        return self.arguments.get(one, "") if isinstance(one, str) else ""

    def missing_intents(self, intents: Any) -> tuple[str, ...]:
        """The intents that a client lacks, as ``a|b`` where one of them is enough."""
        return tuple(
            one for one in self.intents if not any(getattr(intents, name, False) for name in one.split("|"))
        )

    def _named(self, args: tuple[Any, ...]) -> dict[str, Any]:
        names = [*self.arguments, *(f"arg{number}" for number in range(len(self.arguments), len(args)))]
        return dict(zip(names, args, strict=False))


@dataclass(frozen=True, slots=True)
class Declared:
    """An event that the bot publishes itself, with the type of its data."""

    type: Any


def spec(
    name: str, arguments: str = "", groups: str = "", intents: str = "", keys: str = "", **more: Any
) -> EventSpec:
    """Makes a row of the table from text.

    Parameters
    ----------
    arguments: :class:`str`
        ``before: Message, after: Message``.
    groups: :class:`str`
        Names of groups, with spaces between them.
    intents: :class:`str`
        Names of intents, with spaces between them.
    keys: :class:`str`
        ``guild=message.guild.id channel=message.channel.id``. A key may stand there several times.
    """
    paths: dict[str, tuple[str, ...]] = {}
    for one in keys.split():
        key, _, path = one.partition("=")
        paths[f"{key}_id"] = (*paths.get(f"{key}_id", ()), path)
    types = dict(one.split(": ") for one in arguments.split(", ") if one)
    return EventSpec(name, types, tuple(groups.split()), tuple(intents.split()), paths, **more)


class CustomEvent(EventSpec):
    """An event that the bot dispatches itself. Nothing is known about its arguments but their names."""

    def keys(self, args: tuple[Any, ...]) -> Keys:
        for value in args:
            guild = getattr(value, "guild", None)
            found = getattr(guild, "id", None)
            if isinstance(found, int):
                return {"guild_id": (str(found),)}
        return {}


def custom(name: str, arguments: Iterable[str] = ()) -> EventSpec:
    """An event that the bot dispatches itself. Its guild is that of the first argument that has one."""
    names = tuple(arguments)
    return CustomEvent(name, dict.fromkeys(names, "Any"), has_all_keys=False)


# -- values


def _at(places: Mapping[str, Any], path: str) -> Any:
    """The value at a path; ``None`` where a part of it is missing, and a list where it has a ``*``."""
    return _inner(places, path.split("."))


def _inner(value: Any, path: list[str]) -> Any:
    for number, name in enumerate(path):
        if value is None:
            return None
        if name == "*":
            rest = path[number + 1 :]
            return [one for each in value for one in _each(_inner(each, rest))]
        if type(value) is dict:
            value = cast("dict[str, Any]", value).get(name)
        else:
            value = getattr(value, name, None)
    return value


def _shaped(places: Mapping[str, Any], form: Form) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, one in form.items():
        if isinstance(one, str):
            data[name] = _at(places, one)
        elif isinstance(one, Field):
            data[name] = one.write(_at(places, one.path))
        else:
            data[name] = _shaped(places, one)
    return data


def _each(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return cast("Iterable[Any]", value) if isinstance(value, list | tuple | set | frozenset) else (value,)


# -- forms of single members


def ids(path: str) -> Field:
    """An id, or several, as Discord writes them: as strings."""
    return Field(path, _as_ids)


def error(path: str) -> Field:
    """An exception: its class and its text."""
    return Field(path, _as_error)


def frame(path: str) -> Field:
    """A message of the gateway without its data, which may hold the token of the bot or of an interaction."""
    return Field(path, _as_frame)


def permissions(path: str) -> Field:
    """Permissions of a command, as Discord writes them."""
    return Field(path, _as_permissions)


def _as_permissions(value: Any) -> Any:
    return [{"id": str(one.target.id), "type": one.type.value, "permission": one.permission} for one in value]


def _as_ids(value: Any) -> Any:
    if value is None:
        return None
    several = isinstance(value, list | tuple | set | frozenset)
    return [str(one) for one in sorted(cast("list[int]", value))] if several else str(value)


def _as_error(value: Any) -> Any:
    if value is None:
        return None
    text = str(value)
    if len(text) > ERROR_TEXT:
        text = f"{text[:ERROR_TEXT]} ({len(text) - ERROR_TEXT} more characters)"
    return {"type": type(value).__name__, "message": text}


def _as_frame(value: Any) -> Any:
    try:
        message: Any = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        message = {}
    members = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
    return {"op": members.get("op"), "t": members.get("t"), "s": members.get("s"), "length": len(value)}
