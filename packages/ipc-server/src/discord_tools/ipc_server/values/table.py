"""What a table of a class consists of: fields, each with Discord's name, discord.py's attribute and a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ("Field", "Function", "Kind", "Table")

#: Makes something of an attribute that no template can make.
Function = Callable[[Any], Any]


class Kind(NamedTuple):
    """How the value of an attribute is written.

    Attributes
    ----------
    name: :class:`str`
        What the documentation calls it.
    code: :class:`str`
        The expression that makes the JSON value; ``{}`` stands for the attribute. ``{}`` alone is written as it is.
    schema: Mapping[:class:`str`, Any]
        The JSON Schema of it, without classes.
    cls: Union[:class:`type`, :class:`Table`, None]
        The class whose table the value is written by, or that table.
    many: :class:`bool`
        Whether it is an array of what the other fields describe.
    function: Optional[Callable]
        What ``call`` in ``code`` is.
    classes: Tuple[:class:`type`, ...]
        The classes that the value may have, where it is written as its own class.
    """

    name: str
    code: str
    schema: Mapping[str, Any]
    cls: type | Table | None = None
    many: bool = False
    function: Function | None = None
    classes: tuple[type, ...] = ()


class Field(NamedTuple):
    """One member of the JSON object.

    Attributes
    ----------
    name: :class:`str`
        Discord's name.
    path: :class:`str`
        The attribute, or several of them with dots between. After ``?.`` the rest is only read if what comes before is
        not ``None``. With ``?`` at the end the attribute may be missing, which discord.py leaves unset in some objects.
        An empty path is the object itself.
    kind: :class:`Kind`
        How it is written.
    omit: :class:`bool`
        Whether it is left out where the attribute is ``None``. Otherwise it is null then.
    extra: :class:`bool`
        Whether Discord does not have it, so its name is not one of Discord's for this object.
    on_request: :class:`bool`
        Whether it is only written where :func:`full` or :func:`only` asks for it.
    prepare: Optional[Callable]
        Makes what is written by the kind of the attribute.
    """

    name: str
    path: str
    kind: Kind
    omit: bool = False
    extra: bool = False
    on_request: bool = False
    prepare: Function | None = None


class Table:
    """How objects of some classes are written.

    Parameters
    ----------
    classes: Union[:class:`type`, Tuple[:class:`type`, ...]]
        The classes. Subclasses that have no table of their own are written by the same one.
    fields: Tuple[:class:`Field`, ...]
        The members of the JSON object.
    types: Tuple[:class:`str`, ...]
        The types in ``discord.types`` that describe Discord's payloads, as ``module.Name``. Empty where there are none.
    scalar: Optional[:class:`Kind`]
        What the whole object is written as, where it is not an object in JSON.
    variants: Tuple[Tuple[:class:`type`, :class:`Table`, :class:`str`], ...]
        Other tables for objects of some classes, where an attribute may have several of them, each with the attribute
        of such an object that has one of the usual class.
    """

    def __init__(
        self,
        classes: type[Any] | tuple[type[Any], ...],
        *fields: Field,
        types: tuple[str, ...] = (),
        scalar: Kind | None = None,
        variants: tuple[tuple[type[Any], Table, str], ...] = (),
    ) -> None:
        self.classes: tuple[type[Any], ...] = classes if isinstance(classes, tuple) else (classes,)
        self.fields = fields
        self.types = types
        self.scalar = scalar
        self.variants = variants

    @property
    def name(self) -> str:
        """:class:`str`: The name of the first class."""
        return self.classes[0].__name__

    def field(self, name: str) -> Field | None:
        """The field with a name, or ``None``."""
        return next((field for field in self.fields if field.name == name), None)
