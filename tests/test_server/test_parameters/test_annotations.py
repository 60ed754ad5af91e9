"""Annotations are evaluated, whichever way they are written, and errors name what is not known."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any, Optional

import discord
import pytest

from discord_tools.ipc import Request
from discord_tools.ipc_server.parameters.annotations import function_of
from discord_tools.ipc_server.signature import Signature
from test_server.test_parameters.calls import bind

if TYPE_CHECKING:
    from somewhere import Unknown  # pyright: ignore[reportMissingImports]


def signature(callback: Any, **namespace: Any) -> Signature:
    return Signature(callback, bound=False, namespace=namespace)


def defined(code: str, name: str = "callback") -> Any:
    """Runs code without this module's ``from __future__ import annotations``, and returns what it defines."""
    namespace: dict[str, Any] = {"__name__": __name__, "discord": discord, "Any": Any}
    exec(compile(code, "<test>", "exec", dont_inherit=True), namespace)
    return namespace[name]


@dataclasses.dataclass
class OfUnknown:
    it: list[Unknown]


@pytest.mark.parametrize(
    ("annotation", "name"),
    [("Unknown", "Unknown"), ("list[Unknown]", "Unknown"), ("dict[str, discord.Nothing]", "Nothing")],
)
def test_a_name_that_only_type_checkers_know_is_an_error_that_names_it(annotation: str, name: str) -> None:
    async def callback(request: Request, it: Any) -> None: ...

    callback.__annotations__["it"] = annotation
    with pytest.raises(
        TypeError, match=f"the annotation .* of 'it' cannot be evaluated: .*'{name}'.*TYPE_CHECKING"
    ):
        signature(callback)


def test_a_reference_inside_an_annotation_is_an_error_that_names_it() -> None:
    async def callback(request: Request, it: Any) -> None: ...

    callback.__annotations__["it"] = Optional["Unknown"]
    with pytest.raises(TypeError, match="name 'Unknown' is not defined; is its import under TYPE_CHECKING"):
        signature(callback)


def test_a_field_with_such_a_name_is_an_error_that_names_class_and_name() -> None:
    async def callback(request: Request, it: OfUnknown) -> None: ...

    with pytest.raises(
        TypeError, match="the fields of OfUnknown cannot be evaluated: name 'Unknown' is not defined"
    ):
        signature(callback)


def test_the_request_and_the_answer_may_have_such_names() -> None:
    async def callback(request: Unknown, it: int) -> Unknown: ...

    assert bind(signature(callback), it="5") == {"it": 5}


def test_annotations_that_are_no_strings_are_understood() -> None:
    callback = defined("async def callback(request, it: int, other: list[discord.Object] = ()): ...")
    found = bind(signature(callback), it="5", other=[1])
    assert (found["it"], found["other"][0].id) == (5, 1)


def test_a_structure_that_is_local_to_a_function_is_found() -> None:
    @dataclasses.dataclass
    class Inner:
        number: int

    @dataclasses.dataclass
    class Outer:
        inner: Inner
        many: list[Inner]

    async def callback(request: Request, it: Outer) -> None: ...

    made = bind(signature(callback, Inner=Inner, Outer=Outer), it={"inner": {"number": "1"}, "many": []})
    assert made["it"] == Outer(Inner(1), [])


def test_the_function_of_a_callable_is_found_under_wrappers_and_parts() -> None:
    import functools

    class Holder:
        async def method(self) -> None: ...

    @functools.wraps(Holder().method)
    async def wrapper() -> None: ...

    assert function_of(functools.partial(wrapper)) is Holder.method
    assert function_of(staticmethod(wrapper)) is Holder.method


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are new in Python 3.12")
def test_type_statements_and_type_parameters_are_understood() -> None:
    code = """
from __future__ import annotations
import dataclasses
type Objects[T] = dict[str, list[T]]
type Id = discord.Object
@dataclasses.dataclass
class Box[T]:
    it: T
async def callback[T: int](request, one: Id, many: Objects[discord.Object], box: Box[Id], number: T): ...
"""
    made = bind(signature(defined(code)), one=1, many={"a": [2]}, box={"it": 3}, number="4")
    assert (made["one"].id, made["many"]["a"][0].id, made["box"].it.id, made["number"]) == (1, 2, 3, 4)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements are new in Python 3.12")
def test_a_type_that_refers_to_itself_is_refused_with_advice() -> None:
    code = """
type Tree = list[Tree] | discord.Object
async def callback(request, it: Tree): ...
"""
    with pytest.raises(TypeError, match="'it': the type refers to itself: use a dataclass"):
        signature(defined(code))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated lazily since Python 3.14")
def test_lazy_annotations_are_evaluated_one_by_one() -> None:
    code = """
async def callback(request: Unknown, it: int, other: list[discord.Object]) -> AlsoUnknown: ...
async def wrong(request, it: list[Unknown]): ...
"""
    found = bind(signature(defined(code)), it="5", other=[1])
    assert found["it"] == 5
    with pytest.raises(TypeError, match="'it' cannot be evaluated: name 'Unknown' is not defined"):
        signature(defined(code, "wrong"))
