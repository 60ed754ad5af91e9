"""A route's signature: what it asks for, checked once at decoration, and the decoder for each request's data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from discord_tools.ipc.errors import Violation
from discord_tools.ipc.wire.codec import count_values
from discord_tools.ipc_server.parameters.annotations import evaluated, function_of, names_of, signature_of
from discord_tools.ipc_server.parameters.binding import MAX_VALUES, UNKNOWN, Binding, Source
from discord_tools.ipc_server.parameters.callables import item_of
from discord_tools.ipc_server.parameters.compiler import Compiler
from discord_tools.ipc_server.parameters.custom import ConverterNode
from discord_tools.ipc_server.parameters.faults import (
    MAX_FAULTS,
    QUOTED,
    UNREADABLE,
    bad_data,
    from_decoder,
    has_more_values,
)
from discord_tools.ipc_server.parameters.nodes import Node
from discord_tools.ipc_server.parameters.objects import Lookup
from discord_tools.ipc_server.parameters.patterns import repeats_patterns

if TYPE_CHECKING:
    from discord_tools.ipc_server.request import Request

__all__ = ("Signature",)

#: Maximum number of values in the data of a route with a parameter in which any number of texts are compared with a
#: pattern.
PATTERN_VALUES: Final = 10_000

#: Maximum number of values for ``**kwargs`` of a route. Those that are converted count as such.
MAX_KEYWORDS: Final = 10_000

#: Maximum number of values in data of which an error lists all faults. The data is decoded twice for that; of larger
#: data, the error has the first fault.
DETAILED_VALUES: Final = 10_000

Parts: TypeAlias = dict[str, msgspec.Raw] | list[msgspec.Raw]

_parts: msgspec.json.Decoder[Parts] = msgspec.json.Decoder(Parts)


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
        function = function_of(callback)
        name = getattr(callback, "__qualname__", getattr(function, "__qualname__", None)) or repr(callback)
        where = f"route {function.__module__}.{name}"
        #: Whether it is an asynchronous generator.
        self.streams: bool = inspect.isasyncgenfunction(callback)
        if not self.streams and not inspect.iscoroutinefunction(callback):
            raise TypeError(f"{where} must be a coroutine function (async def)")
        declared = signature_of(callback)
        parameters = list(declared.parameters.values())
        leading = parameters[: 1 + bound]
        if len(leading) != 1 + bound or any(p.kind not in _POSITIONAL for p in leading):
            expected = "(self, request, ...)" if bound else "(request, ...)"
            raise TypeError(f"{where} must take {expected}")
        self.bound: bool = bound
        # The data cannot have what is given by position already.
        self._taken = {p.name for p in leading if p.kind is not p.POSITIONAL_ONLY}
        #: What to call the route in errors.
        self._where = where
        #: What ``**kwargs`` takes.
        self._extra: Node | None = None
        #: Decoder of these values.
        self._extra_decoder: msgspec.json.Decoder[Any] | None = None
        #: Decoders of single parameters, to report everything that is wrong.
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        #: How the values of the parameters are made.
        self.nodes: dict[str, Node] = {}
        #: Names of the parameters without a default.
        self._required: set[str] = set()
        #: Defaults by parameter.
        self.defaults: dict[str, Any] = {}
        #: Where names in annotations are looked up.
        self._names = names_of(callback, namespace)
        #: Compiles annotations.
        self._compiler = Compiler(self._names)
        #: The annotation of the answer, or of the items of a stream.
        self.result: Any = self._result(declared.return_annotation)
        fields: list[tuple[str, Any, Any]] = []
        for parameter in parameters[1 + bound :]:
            if parameter.kind is parameter.VAR_KEYWORD:
                self._extra, self._extra_decoder = self._node(parameter)
            elif parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(
                    f"{where}: parameter {parameter.name!r} must be one that can be given by name"
                )
            else:
                fields.append(self._field(parameter))
        #: Names of the parameters, in order.
        self.names: tuple[str, ...] = tuple(name for name, _, _ in fields)
        #: Whether the data is checked: the route has parameters beyond the request.
        self.takes_data: bool = bool(fields) or self._extra is not None
        #: The parameter that is the guild, in which members, roles and channels are looked up.
        self._guild = next((name for name, node in self.nodes.items() if node.is_guild), "")
        #: The parameter that is the channel of messages that are given by an id alone.
        self._channel = next((name for name, node in self.nodes.items() if node.is_channel), "")
        self._check_guild()
        #: What is converted. The guild comes first: members, roles and channels are then looked for in it. Converters
        #: come last, so that they do not run where something else is wrong.
        self._conversions = sorted(
            ((name, node) for name, node in self.nodes.items() if node.converts), key=self._rank
        )
        #: Whether any number of texts are compared with a pattern.
        self._repeats_patterns = self._any_repeats_patterns()
        struct = msgspec.defstruct("Data", fields, kw_only=True, forbid_unknown_fields=True)
        #: Decodes all parameters at once.
        self._struct = msgspec.json.Decoder(struct, strict=False)

    @property
    def may_name_guild(self) -> bool:
        """:class:`bool`: Whether the data of a call may say which guild it is about."""
        if not self.takes_data or self._extra is not None or not {"guild", "guild_id"}.isdisjoint(self.nodes):
            return True
        return any(node.converts for node in self.nodes.values())

    @property
    def guild_parameter(self) -> tuple[str, int] | None:
        """Optional[Tuple[:class:`str`, :class:`int`]]: Name and place of the parameter that is the guild."""
        return (self._guild, self.names.index(self._guild)) if self._guild else None

    def bind(
        self, params: bytes, source: Source, request: Request | None = None
    ) -> dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]:
        """Makes the arguments of one call out of its data.

        Most calls get them at once. Where an object has to be fetched or a converter has to be awaited, a coroutine is
        returned that returns them. It raises :exc:`FetchFailed` and :exc:`Overloaded`, too.

        Raises
        ------
        BadData
            The data does not fit, with all that is wrong in it; :exc:`UnknownObject` where that is ids alone.
        NotReady
            An object is not in the cache, and the bot has not filled its cache yet.
        ConverterError
            A converter raised an exception.
        """
        violations: list[Violation] | None = None
        if self._repeats_patterns:
            _check_number(bytes(params))
        if self._extra is not None:
            values, violations = self._decode_each(params)
        else:
            try:
                data = self._struct.decode(params)
            except UNREADABLE as error:
                if not _is_detailed(bytes(params)):
                    raise bad_data([from_decoder(error)]) from None
                # Once more, to say all that is wrong and where.
                values, violations = self._decode_each(params)
            else:
                values = asdict(data)
                for name in self.defaults:
                    if values[name] is UNSET:
                        del values[name]
                if not self._conversions:
                    return values
        if not violations and not self._conversions and (self._extra is None or not self._extra.converts):
            return values
        binding = Binding(source, request)
        if violations:
            binding.faults, binding.only_unknown = violations, False
        arguments = self._convert(values, binding)
        return self._wait(values, binding) if binding.incomplete else arguments

    async def _wait(self, values: dict[str, Any], binding: Binding) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        while binding.incomplete:
            await binding.wait()
            arguments = self._convert(values, binding)
        return arguments

    def _convert(self, values: dict[str, Any], binding: Binding) -> dict[str, Any]:
        """Converts all values, in one pass. What it returns has no meaning while the binding is incomplete."""
        arguments = values.copy()
        # One that is missing although it is required is a fault already.
        binding.guild = UNKNOWN if self._guild in self._required and self._guild not in values else None
        binding.guild_name, binding.channel = self._guild, None
        try:
            for name, node in self._conversions:
                if name in values:
                    given = values[name]
                    arguments[name] = made = node.convert(given, binding, name)
                    if given is not None:
                        if name == self._guild:
                            binding.guild = UNKNOWN if made is None else made
                        elif name == self._channel:
                            binding.channel = UNKNOWN if made is None else made
            if self._extra is not None and self._extra.converts:
                for name in values.keys() - self.nodes.keys():
                    arguments[name] = self._extra.convert(values[name], binding, name)
        except RecursionError:
            binding.fault("", "is nested too deeply")
        binding.check()
        return arguments

    def _by_name(self, params: bytes) -> dict[str, msgspec.Raw]:
        """The parts of the data; the elements of an array belong to the parameters in their order."""
        try:
            values = _parts.decode(params)
        except UNREADABLE as error:
            raise bad_data([from_decoder(error)]) from None
        if not isinstance(values, list):
            return values
        if len(values) > len(self.names):
            message = f"takes at most {len(self.names)} values in order, got {len(values)}"
            raise bad_data([Violation(path="", message=message)])
        return dict(zip(self.names, values, strict=False))

    def _node(self, parameter: inspect.Parameter) -> tuple[Node, msgspec.json.Decoder[Any]]:
        name, annotation = parameter.name, parameter.annotation
        if annotation is parameter.empty:
            annotation = Any
        try:
            annotation = evaluated(annotation, self._names)
        except TypeError as error:
            reason = f"the annotation {parameter.annotation!r} of {name!r} cannot be evaluated: {error}"
            raise TypeError(f"{self._where}: {reason}") from error
        try:
            node = self._compiler.compile(annotation)
            return node, msgspec.json.Decoder(node.wire, strict=False)
        except TypeError as error:
            raise TypeError(f"{self._where}: parameter {name!r}: {error}") from error
        except RecursionError:
            raise TypeError(
                f"{self._where}: parameter {name!r}: the type refers to itself: use a dataclass for it"
            ) from None

    def _field(self, parameter: inspect.Parameter) -> tuple[str, Any, Any]:
        name = parameter.name
        node, self._decoders[name] = self._node(parameter)
        self.nodes[name] = node
        if parameter.default is parameter.empty:
            self._required.add(name)
            return (name, node.wire, msgspec.NODEFAULT)
        self.defaults[name] = parameter.default
        # The default stays with the function: what a request leaves out is not passed.
        return (name, node.wire | UnsetType if node.wire is not Any else Any, UNSET)

    def _rank(self, entry: tuple[str, Node]) -> tuple[bool, ...]:
        name, node = entry
        return isinstance(node, ConverterNode), name != self._guild, name != self._channel

    def _any_repeats_patterns(self) -> bool:
        nodes = (*self.nodes.values(), *(() if self._extra is None else (self._extra,)))
        return any(repeats_patterns(node.wire) for node in nodes)

    def _check_extra(self, number: int, extra: Node) -> None:
        """Raises :exc:`~discord_tools.ipc.BadData` for too many members that no parameter is named for."""
        most = MAX_VALUES if extra.converts else MAX_KEYWORDS
        if number > most:
            message = f"takes at most {most} values that it does not name, got {number}"
            raise bad_data([Violation(path="", message=message)])

    def _check_guild(self) -> None:
        for name, node in self.nodes.items():
            if node.needs_guild and not self._guild:
                what = "is" if isinstance(node, Lookup) else "has"
                raise TypeError(
                    f"{self._where}: {name!r} {what} a Member, so a parameter of type Guild must say of which guild"
                )

    def _result(self, annotation: Any) -> Any:
        """What the function says that it returns; anything where it says nothing, or nothing that can be evaluated.

        Answers are not checked against it, so it may as well name what is imported for type checkers only.
        """
        if annotation is inspect.Signature.empty:
            return Any
        try:
            found = evaluated(annotation, self._names)
        except TypeError:
            return Any
        return item_of(found) if self.streams else found

    def _decode_each(self, params: bytes) -> tuple[dict[str, Any], list[Violation]]:
        """Decodes one value after the other. Returns those that could be decoded, and what is wrong."""
        parts = self._by_name(params)
        if self._extra is not None:
            self._check_extra(len(parts) - sum(name in parts for name in self.nodes), self._extra)
        violations = [
            Violation(path=name, message="is required")
            for name in self.names
            if name in self._required - parts.keys()
        ]
        values: dict[str, Any] = {}
        for name, raw in parts.items():
            if len(violations) >= MAX_FAULTS:
                break  # the error lists no more
            decoder = self._decoders.get(name, self._extra_decoder)
            if decoder is None or name in self._taken:
                violations.append(Violation(path=name[:QUOTED], message="is not known to this route"))
                continue
            try:
                values[name] = decoder.decode(raw)
            except UNREADABLE as error:
                violations.append(from_decoder(error, name[:QUOTED]))
        return values, violations


def _is_detailed(params: bytes) -> bool:
    """Whether an error lists all faults of data. The values of an array get their names only then."""
    few = len(params) <= DETAILED_VALUES or sum(map(params.count, (b",", b"[", b"{"))) <= DETAILED_VALUES
    return few or params[:100].lstrip().startswith(b"[")


def _check_number(params: bytes) -> None:
    """Raises :exc:`~discord_tools.ipc.BadData` for data with too many values to compare with patterns."""
    if len(params) <= PATTERN_VALUES or count_values(params) <= PATTERN_VALUES:
        return
    try:
        data = msgspec.json.decode(params)  # commas in texts do not count
    except UNREADABLE as error:
        raise bad_data([from_decoder(error)]) from None
    if has_more_values(data, PATTERN_VALUES):
        message = f"a call of this route may have {PATTERN_VALUES} values: send less at a time"
        raise bad_data([Violation(path="", message=message)])


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
