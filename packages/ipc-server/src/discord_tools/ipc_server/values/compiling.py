"""Tables to functions: one for each class, without a loop over its fields, which costs a third of one with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from discord_tools.ipc_server.values.table import Field, Kind, Table

__all__ = ("Form", "Selection", "Writer", "compiled", "id_of")

#: Turns an object into what msgspec writes.
Writer: TypeAlias = Callable[[Any], Any]

#: The fields that are asked for, each with those of what is in it, or ``None`` for all.
Selection: TypeAlias = Mapping[str, "Selection | None"]


class Form(msgspec.Struct, gc=False):
    """The members of a JSON object. msgspec writes one twice as fast as a dict, since its names are made once."""


def id_of(form: Form) -> str | None:
    """The ``id`` of an object, or ``None`` where it has none."""
    found = getattr(form, "id", None)
    return found if isinstance(found, str) else None


def compiled(
    table: Table, fields: Iterable[Field], writer: Callable[[type | Table, Selection | None], Writer],
    selection: Selection | None = None,
) -> Writer:  # fmt: skip
    """Makes the function that writes objects by a table.

    Parameters
    ----------
    table: :class:`Table`
        The table.
    fields: Iterable[:class:`Field`]
        The fields of it to write.
    writer: Callable
        Finds the function for objects of another class, which are in fields of this one.
    selection: Optional[Mapping]
        What of these objects to write.
    """
    source = _Source(writer, selection or {})
    if table.scalar is not None:
        result = source.expression(table.scalar, "o", "")
    else:
        fields = tuple(fields)
        values = [f"        {source.value(field)},\n" for field in fields]
        # Names of msgspec's fields must be identifiers, which all of Discord's names are, with a keyword now and then.
        form = msgspec.defstruct(
            f"{table.name}Form",
            [(_identifier(field.name), Any) for field in fields],
            bases=(Form,),
            rename={_identifier(field.name): field.name for field in fields},
            gc=False,
        )
        result = f"Form(\n{''.join(values)}    )"
        source.names["Form"] = form
    text = f"def write(o):\n{source.head()}    return {result}\n"
    exec(compile(text, f"<table of {table.name}>", "exec"), source.names)
    return source.names["write"]


def _identifier(name: str) -> str:
    return f"{name}_" if name in {"from", "global", "in", "is", "not", "or"} else re.sub(r"\W", "_", name)


class _Source:
    """The text of one function."""

    def __init__(
        self, writer: Callable[[type | Table, Selection | None], Writer], selection: Selection
    ) -> None:
        self._writer = writer
        self._selection = selection
        #: What the function refers to.
        self.names: dict[str, Any] = {"UNSET": msgspec.UNSET}
        #: Attributes that several paths begin with, by the names of their variables.
        self._shared: dict[str, str] = {}

    def head(self) -> str:
        """The statements that read shared attributes."""
        return "".join(f"    {variable} = o.{path}\n" for path, variable in self._shared.items())

    def value(self, field: Field) -> str:
        """The expression for one field."""
        absent = "UNSET" if field.omit else "None"
        conditions: list[str] = []
        read, variable = "o", "o"
        if field.path.endswith("?"):
            # No `hasattr`: an attribute that is there is read once.
            read = f"getattr(o, {field.path[:-1]!r}, None)"
        elif field.path:
            *optional, last = field.path.split("?.")
            for part in optional:
                variable = "v" if variable != "v" else "w"
                conditions.append(f"({variable} := {self._attribute(read, part)}) is None")
                read = variable
            read = self._attribute(read, last)
        if field.prepare is not None:
            self.names[f"prepare_{field.name}"] = field.prepare
            read = f"prepare_{field.name}({read})"
        if read == "o":
            # Made of the whole object.
            result = self.expression(field.kind, "o", field.name)
            return f"UNSET if (x := {result}) is None else x" if field.omit else result
        result = self.expression(field.kind, "x", field.name)
        if result == "x" and not field.omit and not conditions:
            return read
        conditions.append(f"(x := {read}) is None")
        return f"{absent} if {' or '.join(conditions)} else {result}"

    def expression(self, kind: Kind, value: str, name: str) -> str:
        """The expression for a value of a kind that is there."""
        if kind.function is not None:
            self.names[f"call_{name}"] = kind.function
            return f"call_{name}({value})"
        if kind.many:
            one = self.expression(kind._replace(many=False), "i", name)
            return f"[{one} for i in {value}]" if one != "i" else f"list({value})"
        if kind.cls is not None:
            self.names[f"nested_{name}"] = self._writer(kind.cls, self._selection.get(name))
            return f"nested_{name}({value})"
        return kind.code.format(value)

    def _attribute(self, base: str, path: str) -> str:
        first, dot, rest = path.partition(".")
        if not dot or base != "o":
            return f"{base}.{path}"
        return f"{self._shared.setdefault(first, f'o_{first}')}.{rest}"
