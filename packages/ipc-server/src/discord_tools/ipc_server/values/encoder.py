"""From values to JSON: looks at what a value consists of, replaces what msgspec does not know, and has it written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from gc import is_tracked
from typing import Any, Final, TypeAlias

import msgspec

from discord_tools.ipc.wire.frames import Id
from discord_tools.ipc_server.values.compiling import Form, Selection, Writer, compiled, id_of
from discord_tools.ipc_server.values.errors import Unwritable, step_of
from discord_tools.ipc_server.values.problems import problem
from discord_tools.ipc_server.values.python import (
    ARRAYS,
    BUILTIN,
    field_names,
    named_tuple,
    scalar_of,
    turn_of,
)
from discord_tools.ipc_server.values.refused import REFUSED, advice
from discord_tools.ipc_server.values.selecting import Chosen
from discord_tools.ipc_server.values.table import Table
from discord_tools.ipc_server.values.tables import TABLES, table_of

__all__ = ("LARGE", "SLICE", "Encoder", "Large", "Reply")

#: Number of elements of a list or an object from which on it is written in slices.
LARGE: Final = 256

#: Number of elements of a list that are written without a turn of the event loop.
SLICE: Final = 32

#: Number of elements of all lists and objects of an answer together from which on it is written in slices. It takes a
#: few milliseconds at most.
ELEMENTS: Final = 4096

#: An object of Discord counts as this number of elements, since it costs as much.
OBJECT: Final = 16

#: The types of the elements of a list of objects.
_DICTS: Final[set[type[Any]]] = {dict}

#: How many elements may still come before a value is large, in a list of one number.
Budget: TypeAlias = list[int]

#: Gets a value ready for msgspec. Returns the same one where nothing has to be replaced.
Look: TypeAlias = Callable[[Any, Budget], Any]


#: Number of classes about which something is kept. A program may make classes while it runs.
CLASSES: Final = 4096

#: Number of combinations of fields that are kept compiled. A route may let its callers choose them.
CHOICES: Final = 512

#: What tables are compiled to, where no class has an encoder of its own.
_COMPILED: Final[dict[type[Any] | Table, Writer]] = {}


class Large(Exception):
    """A value is too large to be written in one go."""


class Reply(msgspec.Struct, gc=False):
    """An answer to a call.

    Attributes
    ----------
    jsonrpc: :class:`str`
        Always ``"2.0"``.
    id
        Id of the call.
    result
        The answer.
    """

    jsonrpc: str
    id: Any
    result: Any


class Encoder:
    """Writes values as JSON, those of classes included that have an encoder of their own."""

    def __init__(self) -> None:
        #: Encoders of users, by class.
        self._own: dict[type[Any], Callable[[Any], Any]] = {}
        self._forget()
        #: Writes a value that is ready.
        self.json: Final = msgspec.json.Encoder(enc_hook=self._hook).encode

    def _forget(self) -> None:
        #: Types that are ready for msgspec.
        self.plain = set(BUILTIN.difference(self._own))
        #: What msgspec calls for the types that it does not know.
        self._writers: dict[type[Any], Writer] = {}
        #: How values get ready, by type.
        self._looks: dict[type[Any], Look] = {}
        #: What replaces a value, by type, for the looks that do so.
        self._turns: dict[type[Any], Callable[[Any], Any]] = {}
        #: Compiled tables. Encoders without classes of users have the same ones.
        self._compiled: dict[type[Any] | Table, Writer] = {} if self._own else _COMPILED
        #: The same for uses of `full` and `only`, by class and fields.
        self._choices: dict[Any, Writer] = {}

    def add(self, cls: type[Any], function: Callable[[Any], Any]) -> None:
        """Has objects of a class, and of those that inherit from it, written as what a function makes of them.

        Raises :exc:`ValueError` where the class has an encoder.
        """
        if cls in self._own:
            raise ValueError(f"{cls.__name__} has an encoder already")
        self._own[cls] = function
        self._forget()

    # -- the whole

    def encode(
        self, value: Any, number: Id | msgspec.UnsetType = msgspec.UNSET, *, small: bool = False
    ) -> bytes:
        """Writes a value, or a reply of JSON-RPC 2.0 with it.

        Parameters
        ----------
        value
            The value.
        number
            Id of the call that it answers. Without it the value is written alone.
        small: :class:`bool`
            Whether to refuse what has to be written in slices.

        Raises
        ------
        TypeError
            A part of it cannot be written as JSON.
        Large
            It has to be written in slices.
        """
        try:
            value = self._ready(value, [ELEMENTS if small else sys.maxsize])
            return self.json(value if number is msgspec.UNSET else Reply("2.0", number, value))
        except Large:
            raise
        except Exception as error:
            wrong = problem(value, error, self.json, self._writers)
            if wrong is error:
                raise
            raise wrong from error

    def turned(self, value: Any) -> Any:
        """Replaces an object that is not Discord's by the list or the object that it is written as."""
        while (turn := self._turns.get(type(value))) is not None:  # pyright: ignore[reportUnknownArgumentType]
            value = turn(value)
        return value

    # -- getting ready

    def _ready(self, value: Any, budget: Budget) -> Any:
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
        look = self._looks.get(kind) or self._look_of(kind)
        return look(value, budget)

    def _look_of(self, kind: type[Any]) -> Look:
        if len(self._looks) >= CLASSES:
            self._forget()
        look = self._looks[kind] = self._new_look(kind)
        return look

    def _new_look(self, kind: type[Any]) -> Look:
        """Finds out about a type. What users have registered comes first, then the nearest base class."""
        for base in kind.__mro__:
            if base in self._own:
                return self._turning(kind, self._checked(base))
            if base in TABLES:
                self._writers[kind] = self._writer(kind, None)
                return _object
            if base in REFUSED:
                raise _refusal(kind)
            if base in BUILTIN or base in ARRAYS or base is dict:
                break
        if kind in BUILTIN:
            return _leaf
        if kind is Chosen:
            return self._choice
        scalar = scalar_of(kind)
        if scalar is not None:
            self._writers[kind] = scalar
            self.plain.add(kind)
            return _leaf
        if issubclass(kind, dict):
            return self._dict
        if field_names(kind) is not None and not issubclass(kind, ARRAYS):
            return self._fields
        turn = turn_of(kind)
        if issubclass(kind, ARRAYS) and turn in (None, list):
            return self._array
        if turn is not None:
            return self._turning(kind, turn)
        raise _refusal(kind)

    def _turning(self, kind: type[Any], turn: Callable[[Any], Any]) -> Look:
        self._turns[kind] = turn

        def look(value: Any, budget: Budget) -> Any:
            return self._ready(turn(value), budget)

        return look

    def _checked(self, cls: type[Any]) -> Callable[[Any], Any]:
        """The encoder of a user with its exceptions explained."""
        function = self._own[cls]

        def turn(value: Any) -> Any:
            try:
                return function(value)
            except Exception as error:
                what = f"the encoder of {cls.__name__} raised {type(error).__name__}: {error!s:.200}"
                raise Unwritable(what) from error

        return turn

    def _array(self, items: Any, budget: Budget) -> Any:
        _count(len(items), budget)
        plain: set[type[Any]] = self.plain
        kinds: set[type[Any]] = set(map(type, items))
        if kinds <= plain:
            return items
        if kinds == _DICTS and not any(map(is_tracked, items)):
            _count(sum(map(len, items)), budget)  # pyright: ignore[reportUnknownArgumentType]
            return items
        changed = self._replaced(enumerate(items), budget)  # pyright: ignore[reportUnknownArgumentType]
        if not changed:
            return items
        items = list(items)
        for n, ready in changed.items():
            items[n] = ready
        return items

    def _dict(self, value: dict[Any, Any], budget: Budget) -> Any:
        _count(len(value), budget)
        changed = self._replaced(value.items(), budget) if is_tracked(value) else None
        return {**value, **changed} if changed else value

    def _replaced(self, items: Iterable[tuple[Any, Any]], budget: Budget) -> dict[Any, Any]:
        """What has to be replaced of the elements of an array or an object, by index or key."""
        plain, flat, looks = self.plain, self.plain.issuperset, self._looks
        changed: dict[Any, Any] = {}
        key: Any = None
        try:
            for key, item in items:
                kind: type[Any] = type(item)  # pyright: ignore[reportUnknownVariableType]
                if kind in plain:
                    continue
                # What has nothing but scalars needs no look of its own.
                if (kind is dict and not is_tracked(item)) or (kind is list and flat(map(type, item))):
                    left = budget[0] = budget[0] - len(item)
                    if left < 0 or (left < ELEMENTS and len(item) >= LARGE):
                        raise Large
                    continue
                ready = (looks.get(kind) or self._look_of(kind))(item, budget)
                if ready is not item:
                    changed[key] = ready
        except Unwritable as error:
            error.steps.append(key if type(key) is int else step_of(key))
            raise
        return changed

    def _fields(self, value: Any, budget: Budget) -> Any:
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
        names = field_names(kind) or ()
        fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
        _count(len(fields), budget)
        changed = self._replaced(fields.items(), budget)
        if not changed:
            return value
        # A Struct may have other names for its fields in JSON.
        if isinstance(value, msgspec.Struct):
            return msgspec.structs.replace(value, **changed)
        return {**fields, **changed}

    def _choice(self, choice: Chosen, budget: Budget) -> Any:
        if choice.is_collection:
            return self._ready(choice.each(), budget)
        budget[0] -= OBJECT * choice.size
        if budget[0] < 0:
            raise Large
        return self._chosen(choice)(choice.value)

    # -- objects of Discord

    def _hook(self, value: Any) -> Any:
        """msgspec calls it for objects that it does not know, and for keys that are no strings or numbers."""
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
        writer = self._writers.get(kind)
        if writer is None:
            writer = self._writers[kind] = self._other_writer(kind)
        return writer(value)

    def _other_writer(self, kind: type[Any]) -> Writer:
        """Of what has no writer, nearly all are keys. Lists, objects and ``None`` are, as they need none as values."""
        if kind is bool or kind is type(None):
            return {True: "true", False: "false", None: "null"}.__getitem__  # as in the standard library
        if issubclass(kind, Form):
            return _id_as_key
        if kind in ARRAYS or kind is dict:
            return _refused_key
        if kind not in self._looks:
            self._look_of(kind)
        if self._turns.get(kind) is named_tuple:
            return _refused_key
        # No look has seen this value, since the garbage collector does not track objects of its class.
        turn = self._turns.get(kind)
        if turn is not None:
            return lambda value: self._ready(turn(value), [sys.maxsize])
        return self._writers.get(kind) or _refused_key

    def _writer(self, cls: type[Any] | Table, selection: Selection | None) -> Writer:
        """The function that writes objects of a class."""
        if selection is not None:
            return self._compile(cls, selection)
        writer = self._compiled.get(cls)
        if writer is None:
            writer = self._compiled[cls] = self._compile(cls, None)
        return writer

    def _compile(self, cls: type[Any] | Table, selection: Selection | None) -> Writer:
        table = cls if isinstance(cls, Table) else table_of(cls)
        if table is None:
            return _refuse
        if table.variants:
            return self._alternatives(table, selection)
        for base in () if isinstance(cls, Table) else cls.__mro__:
            if base in self._own:
                turn = self._checked(base)
                return lambda value: self._ready(turn(value), [sys.maxsize])
            if base in TABLES:
                break
        fields = [
            field
            for field in table.fields
            if (not field.on_request if selection is None else field.name in selection)
        ]
        return compiled(table, fields, self._writer, selection)

    def _alternatives(self, table: Table, selection: Selection | None) -> Writer:
        usual = self._writer(table.classes[0], selection)
        others = [(cls, self._writer(other, selection)) for cls, other in table.variants]

        def write(value: Any) -> Any:
            for cls, writer in others:
                if isinstance(value, cls):
                    return writer(value)
            return usual(value)

        return write

    def _chosen(self, choice: Chosen) -> Writer:
        key: Any = (type(choice.value), choice.whole, frozenset(choice.names))
        writer = self._choices.get(key)
        if writer is None:
            table = choice.table
            assert table is not None  # others are collections
            fields = choice.fields()
            if not fields and choice.names:
                raise Unwritable(
                    f"objects of type {table.name} have none of the fields {choice.names!r:.200}"
                )
            if len(self._choices) >= CHOICES:
                self._choices.clear()
            writer = self._choices[key] = compiled(table, fields, self._writer, choice.tree())
        return writer


def _refusal(kind: type[Any]) -> Unwritable:
    return Unwritable(f"objects of type {kind.__name__} cannot be written as JSON: {advice(kind)}")


def _refuse(value: Any) -> Any:
    """Takes the place of a writer for a class that the installed library has in another form."""
    raise _refusal(type(value))  # pyright: ignore[reportUnknownArgumentType]


def _id_as_key(form: Form) -> str:
    found = id_of(form)
    if found is None:
        raise Unwritable("objects without an id cannot be keys of a JSON object: use texts")
    return found


def _count(number: int, budget: Budget) -> None:
    """Counts the elements of a list or an object. Without a bound the budget is greater than any number of them."""
    left = budget[0] = budget[0] - number
    if left < 0 or (number >= LARGE and left < ELEMENTS):
        raise Large


def _refused_key(value: Any) -> Any:
    kind = type(value).__name__
    raise Unwritable(f"objects of type {kind} cannot be keys of a JSON object: use texts")


def _leaf(value: Any, budget: Budget) -> Any:
    return value


def _object(value: Any, budget: Budget) -> Any:
    budget[0] -= OBJECT
    if budget[0] < 0:
        raise Large
    return value
