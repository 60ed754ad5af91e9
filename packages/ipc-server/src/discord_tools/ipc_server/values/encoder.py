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
from discord_tools.ipc_server.values.sizes import (
    ELEMENTS,
    LARGE,
    OBJECT,
    WIDE,
    Budget,
    Large,
    are_ready,
    count,
)
from discord_tools.ipc_server.values.table import Field, Table
from discord_tools.ipc_server.values.tables import CLASSES, TABLES, table_of

__all__ = ("Encoder", "Reply")

#: The types of the elements of a list of objects.
_DICTS: Final[set[type[Any]]] = {dict}

#: Gets a value ready for msgspec. Returns the same one where nothing has to be replaced.
Look: TypeAlias = Callable[[Any, Budget], Any]


#: Number of combinations of fields that are kept compiled. A route may let its callers choose them.
CHOICES: Final = 512

#: What tables are compiled to, where no class has an encoder of its own.
_COMPILED: Final[dict[type[Any] | Table, Writer]] = {}


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
        #: The encoders of users that types are written by, those that they inherit included. ``None`` for no encoder.
        self._inherited: dict[type[Any], Callable[[Any], Any] | None] = {}
        #: Types that are ready for msgspec.
        self.plain = {kind for kind in BUILTIN if self._own_of(kind) is None}
        #: Whether a dict may have something to replace. The garbage collector tracks no dict that has nothing but
        #: scalars, which is all that counts unless one of these has an encoder.
        self.is_mixed: Callable[[Any], bool] = is_tracked if self.plain >= BUILTIN else _always
        #: What msgspec calls for the types that it does not know.
        self._writers: dict[type[Any], Writer] = {}
        #: How values get ready, by type.
        self._looks: dict[type[Any], Look] = {}
        #: What replaces a value, by type, for the looks that do so.
        self._turns: dict[type[Any], Callable[[Any], Any]] = {}
        #: Compiled tables. Encoders without classes of users have the same ones.
        self._compiled: dict[type[Any] | Table, Writer] = {} if self._own else _COMPILED
        #: The same for uses of `full` and `only`, by class and fields, with the collections among these.
        self._choices: dict[Any, tuple[Writer, list[Field]]] = {}

    def add(self, cls: type[Any], function: Callable[[Any], Any]) -> None:
        """Has objects of a class, and of those that inherit from it, written as what a function makes of them.

        Raises :exc:`ValueError` where the class has an encoder.
        """
        if cls in self._own:
            raise ValueError(f"{cls.__name__} has an encoder already")
        self._own[cls] = function
        self._forget()

    def _own_of(self, kind: type[Any]) -> Callable[[Any], Any] | None:
        """The encoder of the nearest class that a type inherits from, or ``None``."""
        try:
            return self._inherited[kind]
        except KeyError:
            if len(self._inherited) >= CLASSES:
                self._inherited.clear()
            base = next((base for base in kind.__mro__ if base in self._own), None)
            own = self._inherited[kind] = None if base is None else self._checked(base)
            return own

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
        while (turn := self._turns.get(type(value))) is not None:  # pyright: ignore[reportUnknownArgumentType] (of Any)
            value = turn(value)
        return value

    # -- getting ready

    def _ready(self, value: Any, budget: Budget) -> Any:
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] (of Any)
        look = self._looks.get(kind) or self._look_of(kind)
        return look(value, budget)

    def _look_of(self, kind: type[Any]) -> Look:
        if len(self._looks) >= CLASSES:
            self._forget()
        look = self._looks[kind] = self._new_look(kind)
        return look

    def _new_look(self, kind: type[Any]) -> Look:
        """Finds out about a type. What users have registered comes first, then the nearest base class."""
        own = self._own_of(kind)
        if own is not None:
            return self._turning(kind, own)
        for base in kind.__mro__:
            if base in TABLES:
                self._writers[kind] = self._usual(kind)
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
        count(len(items), budget)
        plain: set[type[Any]] = self.plain
        kinds: set[type[Any]] = set(map(type, items))
        if kinds <= plain:
            return items
        if kinds == _DICTS and not any(map(self.is_mixed, items)):
            count(sum(map(len, items)), budget)  # pyright: ignore[reportUnknownArgumentType] (of Any)
            return items
        if len(items) >= WIDE and are_ready(items, plain, budget):
            return items
        changed = self._replaced(enumerate(items), budget)  # pyright: ignore[reportUnknownArgumentType] (of Any)
        if not changed:
            return items
        items = list(items)
        for n, ready in changed.items():
            items[n] = ready
        return items

    def _dict(self, value: dict[Any, Any], budget: Budget) -> Any:
        count(len(value), budget)
        if not self.is_mixed(value):
            return value
        if len(value) >= WIDE and are_ready(value.values(), self.plain, budget):
            return value
        changed = self._replaced(value.items(), budget)
        return {**value, **changed} if changed else value

    def _replaced(self, items: Iterable[tuple[Any, Any]], budget: Budget) -> dict[Any, Any]:
        """What has to be replaced of the elements of an array or an object, by index or key."""
        plain, flat, looks, is_mixed = self.plain, self.plain.issuperset, self._looks, self.is_mixed
        changed: dict[Any, Any] = {}
        key: Any = None
        try:
            for key, item in items:
                kind: type[Any] = type(item)  # pyright: ignore[reportUnknownVariableType] (of Any)
                if kind in plain:
                    continue
                # What has nothing but scalars needs no look of its own.
                if (kind is dict and not is_mixed(item)) or (kind is list and flat(map(type, item))):
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
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] (of Any)
        names = field_names(kind) or ()
        fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
        count(len(fields), budget)
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
        writer, collections = self._chosen(choice)
        budget[0] -= OBJECT * choice.size(collections)
        if budget[0] < 0:
            raise Large
        return writer(choice.value)

    # -- objects of Discord

    def _hook(self, value: Any) -> Any:
        """msgspec calls it for objects that it does not know, and for keys that are no strings or numbers."""
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] (of Any)
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
        """The function that writes what is in a field: by a table, or as users want its class written."""
        if selection is not None:
            return self._compile(cls, selection)
        usual = self._usual(cls)
        return self._replacing(usual) if self._own else usual

    def _usual(self, cls: type[Any] | Table) -> Writer:
        writer = self._compiled.get(cls)
        if writer is None:
            writer = self._compiled[cls] = self._compile(cls, None)
        return writer

    def _replacing(self, usual: Writer, part: str = "") -> Writer:
        """Writes objects, or a part of each, as users want their classes written, and others as usual."""
        whole = not part

        def write(value: Any) -> Any:
            item = value if whole else getattr(value, part)
            kind: type[Any] = type(item)  # pyright: ignore[reportUnknownVariableType] (of Any)
            own = self._own_of(kind)
            return usual(value) if own is None else self._ready(own(item), [sys.maxsize])

        return write

    def _compile(self, cls: type[Any] | Table, selection: Selection | None) -> Writer:
        table = cls if isinstance(cls, Table) else table_of(cls)
        assert table is not None
        if table.variants:
            return self._alternatives(table, selection)
        fields = [
            field
            for field in table.fields
            if (not field.on_request if selection is None else field.name in selection)
        ]
        return compiled(table, fields, self._writer, selection)

    def _alternatives(self, table: Table, selection: Selection | None) -> Writer:
        usual = self._writer(table.classes[0], selection)
        others: list[tuple[type[Any], Writer]] = []
        for cls, other, part in table.variants:
            writer = self._compile(other, selection)
            others.append((cls, self._replacing(writer, part) if self._own and selection is None else writer))

        def write(value: Any) -> Any:
            for cls, writer in others:
                if isinstance(value, cls):
                    return writer(value)
            return usual(value)

        return write

    def _chosen(self, choice: Chosen) -> tuple[Writer, list[Field]]:
        """The function that writes the fields of a choice, and the collections among them."""
        key: Any = (type(choice.value), choice.whole, frozenset(choice.names))
        found = self._choices.get(key)
        if found is None:
            table = choice.table
            assert table is not None  # others are collections
            fields = choice.fields()
            if not fields and choice.names:
                raise Unwritable(
                    f"objects of type {table.name} have none of the fields {choice.names!r:.200}"
                )
            if len(self._choices) >= CHOICES:
                self._choices.clear()
            writer = compiled(table, fields, self._writer, choice.tree())
            found = self._choices[key] = writer, choice.requested()
        return found


def _refusal(kind: type[Any]) -> Unwritable:
    return Unwritable(f"objects of type {kind.__name__} cannot be written as JSON: {advice(kind)}")


def _id_as_key(form: Form) -> str:
    found = id_of(form)
    if found is None:
        raise Unwritable("objects without an id cannot be keys of a JSON object: use texts")
    return found


def _refused_key(value: Any) -> Any:
    kind = type(value).__name__
    raise Unwritable(f"objects of type {kind} cannot be keys of a JSON object: use texts")


def _always(value: Any) -> bool:
    return True


def _leaf(value: Any, budget: Budget) -> Any:
    return value


def _object(value: Any, budget: Budget) -> Any:
    budget[0] -= OBJECT
    if budget[0] < 0:
        raise Large
    return value
