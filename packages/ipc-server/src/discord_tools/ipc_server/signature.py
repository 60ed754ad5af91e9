"""A route's signature: what it asks for, checked once at decoration, and the decoder for each request's data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeAlias, get_type_hints

import discord
import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from discord_tools.ipc.errors import BadData, NotReady, Violation
from discord_tools.ipc_server.converters import Lookup, lookup_of

__all__ = ("Signature",)

Parts: TypeAlias = dict[str, msgspec.Raw] | list[msgspec.Raw]

_parts: msgspec.json.Decoder[Parts] = msgspec.json.Decoder(Parts)
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


class Signature:
    """What a route asks for beyond the request.

    Parameters
    ----------
    callback: Callable
        The route's function.
    bound: :class:`bool`
        Whether its first parameter is ``self``.
    namespace: Mapping[:class:`str`, Any]
        Where names in annotations are looked up after the function's globals.

    Raises
    ------
    TypeError
        The function cannot be a route; the text says why.
    """

    def __init__(self, callback: Callable[..., Any], *, bound: bool, namespace: Mapping[str, Any]) -> None:
        name = getattr(callback, "__qualname__", None) or repr(callback)
        where = f"route {callback.__module__}.{name}"
        #: Whether it is an asynchronous generator.
        self.streams: bool = inspect.isasyncgenfunction(callback)
        if not self.streams and not inspect.iscoroutinefunction(callback):
            raise TypeError(f"{where} must be a coroutine function (async def)")
        parameters = list(inspect.signature(callback).parameters.values())
        leading = parameters[: 1 + bound]
        if len(leading) != 1 + bound or any(p.kind not in _POSITIONAL for p in leading):
            expected = "(self, request, ...)" if bound else "(request, ...)"
            raise TypeError(f"{where} must take {expected}")
        self.bound: bool = bound
        # The data cannot have what is given by position already.
        self._taken = {p.name for p in leading if p.kind is not p.POSITIONAL_ONLY}
        #: What to call the route in errors.
        self._where = where
        #: Decoder of the values that ``**kwargs`` takes.
        self._extra: msgspec.json.Decoder[Any] | None = None
        #: Decoders of single parameters, to report everything that is wrong.
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        self._lookups: dict[str, Lookup] = {}
        #: Names of the parameters without a default.
        self._required: set[str] = set()
        #: Types of the parameters as they are sent: ids for Discord's objects.
        self.wire: dict[str, Any] = {}
        #: Defaults by parameter.
        self.defaults: dict[str, Any] = {}
        #: The annotation of the answer.
        self.result: Any = _result(callback, namespace)
        fields: list[tuple[str, Any, Any]] = []
        for parameter in parameters[1 + bound :]:
            annotation = _evaluate(parameter, callback, namespace, where)
            if parameter.kind is parameter.VAR_KEYWORD:
                self._extra = self._decoder(parameter.name, annotation)
            elif parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(
                    f"{where}: parameter {parameter.name!r} must be one that can be given by name"
                )
            else:
                fields.append(self._field(parameter, annotation))
        #: Names of the parameters, in order.
        self.names: tuple[str, ...] = tuple(name for name, _, _ in fields)
        #: Whether the data is checked: the route has parameters beyond the request.
        self.takes_data: bool = bool(fields) or self._extra is not None
        #: The parameter that is the guild, in which members, roles and channels are looked up.
        self._guild = next(
            (n for n, one in self._lookups.items() if one.classes == (discord.Guild,) and not one.many), None
        )
        for name, lookup in self._lookups.items():
            if lookup.needs_guild and self._guild is None:
                raise TypeError(
                    f"{where}: {name!r} is a Member, so a parameter of type Guild must say of which guild"
                )
        struct = msgspec.defstruct("Data", fields, kw_only=True, forbid_unknown_fields=True)
        #: Decodes all parameters at once.
        self._struct = msgspec.json.Decoder(struct, strict=False)

    @property
    def lookups(self) -> Mapping[str, Lookup]:
        """Mapping[:class:`str`, :class:`Lookup`]: The parameters that are Discord's objects."""
        return self._lookups

    def bind(self, params: bytes, client: discord.Client) -> dict[str, Any]:
        """Makes the arguments of one call out of its data.

        Raises
        ------
        BadData
            The data does not fit, with all that is wrong in it.
        NotReady
            An object is not in the cache, and the bot has not filled its cache yet.
        """
        if self._extra is not None:
            arguments = self._bind_each(params)
        else:
            try:
                data = self._struct.decode(params)
            except _UNREADABLE:
                arguments = self._bind_each(params)  # once more, to say all that is wrong and where
            else:
                arguments = asdict(data)
                for name in self.defaults:
                    if arguments[name] is UNSET:
                        del arguments[name]
        if self._lookups:
            self._look_up(arguments, client)
        return arguments

    def _by_name(self, params: bytes) -> dict[str, msgspec.Raw]:
        """The parts of the data; the elements of an array belong to the parameters in their order."""
        try:
            values = _parts.decode(params)
        except _UNREADABLE as error:
            raise _bad([_split(error)]) from None
        if not isinstance(values, list):
            return values
        if len(values) > len(self.names):
            message = f"takes at most {len(self.names)} values in order, got {len(values)}"
            raise _bad([Violation(path="", message=message)])
        return dict(zip(self.names, values, strict=False))

    def _field(self, parameter: inspect.Parameter, annotation: Any) -> tuple[str, Any, Any]:
        name = parameter.name
        try:
            lookup = lookup_of(annotation)
        except TypeError as error:
            raise TypeError(f"{self._where}: parameter {name!r}: {error}") from None
        if lookup is not None:
            self._lookups[name] = lookup
        wire = annotation if lookup is None else lookup.wire
        self._decoders[name] = self._decoder(name, wire)
        self.wire[name] = wire
        if parameter.default is not parameter.empty:
            self.defaults[name] = parameter.default
            # The default stays with the function: what a request leaves out is not passed.
            return (name, wire | UnsetType if wire is not Any else Any, UNSET)
        self._required.add(name)
        return (name, wire, msgspec.NODEFAULT)

    def _decoder(self, name: str, annotation: Any) -> msgspec.json.Decoder[Any]:
        try:
            decoder = msgspec.json.Decoder(annotation, strict=False)
            unknown = _custom_type(msgspec.inspect.type_info(annotation))
        except TypeError as error:
            raise TypeError(f"{self._where}: parameter {name!r}: {error}") from None
        if unknown is not None:
            raise TypeError(
                f"{self._where}: parameter {name!r}: {unknown.__qualname__} cannot be made from JSON"
            )
        return decoder

    def _bind_each(self, params: bytes) -> dict[str, Any]:
        values = self._by_name(params)
        violations = [
            Violation(path=name, message="is required")
            for name in self.names
            if name in self._required - values.keys()
        ]
        arguments: dict[str, Any] = {}
        for name, raw in values.items():
            decoder = self._decoders.get(name, self._extra)
            if decoder is None or name in self._taken:
                violations.append(Violation(path=name, message="is not known to this route"))
                continue
            try:
                arguments[name] = decoder.decode(raw)
            except _UNREADABLE as error:
                violations.append(_split(error, name))
        if violations:
            raise _bad(violations)
        return arguments

    def _look_up(self, arguments: dict[str, Any], client: discord.Client) -> None:
        guild: discord.Guild | None = None
        violations: list[Violation] = []
        # The guild comes first: members, roles and channels are then looked for in it.
        for name in sorted(self._lookups, key=lambda name: name != self._guild):
            lookup, value = self._lookups[name], arguments.get(name)
            if value is None:
                continue
            if lookup.needs_guild and guild is None:
                if arguments.get(self._guild or "") is None:
                    violations.append(Violation(path=name, message=f"needs {self._guild!r} to be given, too"))
                continue
            found = [lookup.find(client, guild, number) for number in (value if lookup.many else (value,))]
            for index, one in enumerate(found):
                if one is None:
                    path = f"{name}[{index}]" if lookup.many else name
                    violations.append(
                        Violation(path=path, message=f"no {lookup.noun} with this id is known to the bot")
                    )
            if name == self._guild:
                guild = found[0]
                if guild is not None and guild.unavailable:
                    raise NotReady("the guild is unavailable at present")
                if guild is None:
                    continue  # its id stays, and tells that one was given
            arguments[name] = found if lookup.many else found[0]
        if violations:
            if not client.is_ready() or any(one.unavailable for one in client.guilds):
                raise NotReady("the bot has not received all of its guilds")
            raise _bad(violations)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _evaluate(
    parameter: inspect.Parameter, callback: Callable[..., Any], namespace: Mapping[str, Any], where: str
) -> Any:
    annotation: Any = parameter.annotation
    if annotation is parameter.empty:
        return Any
    try:
        # One by one: what the request and the answer are annotated with may well be known to type checkers only.
        one = SimpleNamespace(__annotations__={parameter.name: annotation})
        names = getattr(inspect.unwrap(callback), "__globals__", {})
        return get_type_hints(one, names, dict(namespace), include_extras=True)[parameter.name]
    except Exception as error:
        reason = f"the annotation {annotation!r} of {parameter.name!r} cannot be evaluated: {error}"
        raise TypeError(f"{where}: {reason}; is its import under TYPE_CHECKING?") from error


def _result(callback: Callable[..., Any], namespace: Mapping[str, Any]) -> Any:
    """What the function says that it returns; anything where it says nothing, or nothing that can be evaluated.

    Answers are not checked against it, so it may as well name what is imported for type checkers only.
    """
    annotation: Any = inspect.signature(callback).return_annotation
    if annotation is inspect.Signature.empty:
        return Any
    if isinstance(annotation, str):
        try:
            return eval(annotation, inspect.unwrap(callback).__globals__, dict(namespace))
        except Exception:
            return Any
    return annotation


def _custom_type(info: Any) -> type | None:
    """The first type in an annotation that msgspec does not know, or ``None``."""
    if isinstance(info, msgspec.inspect.CustomType):
        return info.cls
    inner: list[Any] = list(getattr(info, "types", ()) or getattr(info, "item_types", ()))
    for attribute in ("item_type", "key_type", "value_type"):
        if (one := getattr(info, attribute, None)) is not None:
            inner.append(one)
    return next((found for one in inner if (found := _custom_type(one)) is not None), None)


def _split(error: Exception, name: str = "") -> Violation:
    """Takes msgspec's text apart: ``Expected `int`, got `str` - at `$[3].id```."""
    message, found, path = str(error).rpartition(" - at `$")
    return (
        Violation(path=name + path.removesuffix("`"), message=message)
        if found
        else Violation(path=name, message=path)
    )


def _bad(violations: list[Violation]) -> BadData:
    text = "; ".join(f"{v['path']}: {v['message']}" if v["path"] else v["message"] for v in violations[:5])
    return BadData(f"bad data: {text}", data=violations[:100])
