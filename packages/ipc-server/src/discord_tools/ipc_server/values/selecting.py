"""What of an object to write: more than usual with :func:`full`, less with :func:`only`."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from discord_tools.ipc_server.values.compiling import Selection
from discord_tools.ipc_server.values.errors import Unwritable
from discord_tools.ipc_server.values.table import Field, Table
from discord_tools.ipc_server.values.tables import TABLES, table_of

__all__ = ("Chosen", "full", "only")


#: Collections whose elements are no objects of Discord.
_NO_LISTS: tuple[type[Any], ...] = (str, bytes, Mapping)


class Chosen:
    """An object, or a collection of objects, with the fields to write of it."""

    __slots__ = ("names", "value", "whole")

    def __init__(self, value: Any, names: tuple[str, ...], *, whole: bool) -> None:
        self.value = value
        self.names = names
        #: Whether the usual fields are written beside those that are named.
        self.whole = whole

    def __repr__(self) -> str:
        function = "full" if self.whole else "only"
        return f"{function}({', '.join([f'{self.value!r:.100}', *map(repr, self.names)])})"

    @property
    def table(self) -> Table | None:
        """The table of the object. ``None`` if it is several objects."""
        return _table(self.value)

    @property
    def is_collection(self) -> bool:
        """Whether it is several objects."""
        return self.table is None

    def size(self, collections: Iterable[Field]) -> int:
        """Number of objects that are written, with those in some collections."""
        return 1 + sum(map(len, map(self._found, collections)))

    def each(self) -> list[Any]:
        """The same fields of each object of a collection."""
        chosen: list[Any] = []
        for n, value in enumerate(self.value):
            if _table(value) is None:
                problem = Unwritable(f"only() takes objects of Discord, not of type {type(value).__name__}")
                problem.steps.append(n)
                raise problem
            chosen.append(Chosen(value, self.names, whole=self.whole))
        return chosen

    def without(self, left_out: Iterable[Field]) -> Chosen:
        """The same without some fields."""
        names = {field.name for field in left_out}
        kept = tuple(name for name in self.names if name.partition(".")[0] not in names)
        return Chosen(self.value, kept, whole=self.whole)

    def fields(self) -> tuple[Field, ...]:
        """The fields to write of an object."""
        table = self.table
        wanted = self.tree()
        return tuple(
            field
            for field in (table.fields if table else ())
            if field.name in wanted or (self.whole and not field.on_request)
        )

    def requested(self) -> list[Field]:
        """The collections among them."""
        return [field for field in self.fields() if field.on_request]

    def collection(self, field: Field) -> Any:
        """What a collection consists of, each object with the fields that are wanted of it."""
        found = self._found(field)
        if field.kind.function is not None:
            return found
        prefix = f"{field.name}."
        names = tuple(name.removeprefix(prefix) for name in self.names if name.startswith(prefix))
        whole = field.name in self.names or not names
        return found if whole else [Chosen(each, names, whole=False) for each in found]

    def _found(self, field: Field) -> list[Any]:
        make = field.kind.function
        return list(getattr(self.value, field.path)) if make is None else make(self.value)

    def tree(self) -> Selection:
        """The fields by name, each with what is wanted of it."""
        return _tree(self.names)


def _table(value: Any) -> Table | None:
    kind = cast("type[Any]", type(value))
    return table_of(kind)


def _tree(names: Iterable[str]) -> Selection:
    found: dict[str, list[str] | None] = {}
    for name in names:
        first, dot, rest = name.partition(".")
        inner = found.setdefault(first, [])
        if not dot or inner is None:
            found[first] = None
        else:
            inner.append(rest)
    return {name: _tree(inner) if inner else None for name, inner in found.items()}


def full(thing: Any, /, *names: str) -> Any:
    """Has an object of Discord written with collections that are left out otherwise.

    A guild of a thousand members is a hundred times as large as the guild alone, so its members are only written where
    somebody wants them: ``return full(guild, "roles", "channels")``.

    .. versionadded:: 1.2

    Parameters
    ----------
    thing
        The object. It has to be a :class:`discord.Guild`, a channel, a :class:`discord.Thread` or a
        :class:`discord.Role`.
    *names: :class:`str`
        Discord's names of the collections. Defaults to all that there are.

    Raises
    ------
    TypeError
        Objects of this class have no collections.
    ValueError
        They have none of that name.

    Returns
    -------
    Any
        What to return from a route, to yield, or to publish. It is written when that happens.
    """
    table = _table(thing)
    known = () if table is None else tuple(field.name for field in table.fields if field.on_request)
    if not known:
        raise TypeError(f"objects of type {type(thing).__name__} have no collections to ask for")
    _check(names, known)
    return Chosen(thing, tuple(dict.fromkeys(names or known)), whole=True)


def only(things: Any, /, *names: str) -> Any:
    """Has objects of Discord written with some of their fields.

    ``return only(guild.members, "user.id", "nick")`` needs a tenth of the bytes and of the time that whole members do.

    .. versionadded:: 1.2

    Parameters
    ----------
    things
        An object of Discord, or a list or another collection of them. Where they are of several classes, each is
        written with those of the fields that it has.
    *names: :class:`str`
        Discord's names of the fields, those of collections included. A dot leads to a field of what is in a field.

    Raises
    ------
    TypeError
        No names are given, or ``things`` is something else.
    ValueError
        No class has a field of that name.

    Returns
    -------
    Any
        What to return from a route, to yield, or to publish. It is written when that happens.
    """
    if not names:
        raise TypeError("only() needs the names of the fields to write")
    table = _table(things)
    if table is None and (not isinstance(things, Collection) or isinstance(things, _NO_LISTS)):
        raise TypeError(f"only() takes an object of Discord, or a list of them, not {things!r:.100}")
    for name in names:
        _check_way(name, set(TABLES.values()) if table is None else {table})
    return Chosen(things, tuple(dict.fromkeys(names)), whole=False)


def _check_way(name: Any, tables: set[Table]) -> None:
    """Checks a name with dots, which leads from an object of one of some tables to those of others."""
    for part in name.split(".") if isinstance(name, str) else [name]:
        _check([part], {field.name for table in tables for field in table.fields})
        kinds = [field.kind for table in tables if (field := table.field(part)) is not None]
        tables = {found for kind in kinds if (found := _within(kind.cls)) is not None}


def _within(cls: type[Any] | Table | None) -> Table | None:
    return table_of(cls) if isinstance(cls, type) else cls


def _check(names: Iterable[Any], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            # Callers may choose the name, and comparing takes time.
            near = difflib.get_close_matches(f"{name!s:.100}", known, 1)
            there = f"there are {', '.join(sorted(known)):.500}" if known else "there are none"
            hint = f"did you mean {near[0]!r}?" if near else there
            raise ValueError(f"there is no field {name!r:.100}; {hint}")
