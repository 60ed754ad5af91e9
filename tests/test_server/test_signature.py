"""What a route's signature says: wrong ones fail at decoration, and data is checked against the rest."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, TypedDict

import discord
import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, Request
from discord_tools.ipc_server.parameters.binding import Source
from discord_tools.ipc_server.parameters.faults import MAX_FAULTS
from discord_tools.ipc_server.signature import DETAILED_VALUES, MAX_KEYWORDS, PATTERN_VALUES, Signature

if TYPE_CHECKING:
    from somewhere import Unknown  # pyright: ignore[reportMissingImports]


def signature(callback: Any, *, bound: bool = False, **namespace: Any) -> Signature:
    return Signature(callback, bound=bound, namespace=namespace)


def bind(callback: Any, data: Any, **namespace: Any) -> dict[str, Any]:
    """Binds data that needs no cache."""
    params = data if isinstance(data, bytes) else json.dumps(data).encode()
    return signature(callback, **namespace).bind(
        params, Source(discord.Client(intents=discord.Intents.none()))
    )


def errors(callback: Any, data: Any) -> dict[str, str]:
    with pytest.raises(BadData) as caught:
        bind(callback, data)
    return {error["path"]: error["message"] for error in caught.value.errors}


# -- wrong signatures


def plain(request: Request) -> None: ...


def yields(request: Request) -> Any:
    yield 1


async def nothing() -> None: ...


async def only_keywords(*, request: Request) -> None: ...


async def only_stars(*requests: Request) -> None: ...


async def stars(request: Request, *args: int) -> None: ...


async def positional_only(request: Request, x: int, /) -> None: ...


async def unknown_name(request: Request, x: Unknown) -> None: ...


async def unknown_class(request: Request, x: threading) -> None: ...  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


class Thing: ...


async def custom(request: Request, x: Thing) -> None: ...


async def custom_inside(request: Request, x: dict[str, list[Thing | None]]) -> None: ...


async def custom_tuple(request: Request, x: tuple[int, Thing]) -> None: ...


async def custom_extra(request: Request, **extra: Thing) -> None: ...


async def webhook(request: Request, x: discord.Webhook) -> None: ...


async def mixed(request: Request, x: discord.Guild | int) -> None: ...


async def member_without_guild(request: Request, x: discord.Member) -> None: ...


async def member_of_guilds(request: Request, guilds: list[discord.Guild], x: discord.Member) -> None: ...


async def impossible_union(request: Request, x: str | datetime.datetime) -> None: ...


@pytest.mark.parametrize(
    ("callback", "text"),
    [
        (plain, "must be a coroutine function"),
        (yields, "must be a coroutine function"),
        (nothing, r"must take \(request, ...\)"),
        (only_keywords, r"must take \(request, ...\)"),
        (only_stars, r"must take \(request, ...\)"),
        (stars, "parameter 'args' must be one that can be given by name"),
        (positional_only, "parameter 'x' must be one that can be given by name"),
        (unknown_name, "'Unknown' of 'x' cannot be evaluated.*TYPE_CHECKING"),
        (unknown_class, "'threading' of 'x' cannot be evaluated"),
        (custom, "'x': Thing cannot be made from JSON"),
        (custom_inside, "'x': Thing cannot be made from JSON"),
        (custom_tuple, "'x': Thing cannot be made from JSON"),
        (custom_extra, "'extra': Thing cannot be made from JSON"),
        (webhook, "'x': Webhook cannot be made from JSON: take its id as an int"),
        (mixed, "'x': .* mixes Discord's objects with other types"),
        (member_without_guild, "'x' is a Member, so a parameter of type Guild must say of which guild"),
        (member_of_guilds, "'x' is a Member, so a parameter of type Guild must say of which guild"),
        (impossible_union, "'x': "),
        (functools.partial(plain), "must be a coroutine function"),
        (Thing(), "must be a coroutine function"),
    ],
)
def test_a_wrong_signature_is_a_type_error_that_names_what_is_wrong(callback: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        signature(callback)


def test_only_an_asynchronous_generator_streams() -> None:
    async def items(request: Request, n: int) -> AsyncGenerator[int, None]:
        yield n

    async def answer(request: Request, n: int) -> int:
        return n

    assert signature(items).streams
    assert not signature(answer).streams


def test_the_error_names_the_function() -> None:
    with pytest.raises(TypeError, match=rf"^route {__name__}\.plain must"):
        signature(plain)


@pytest.mark.parametrize("parameters", ["self", "", "self, *, request"])
def test_a_method_needs_self_and_the_request(parameters: str) -> None:
    namespace: dict[str, Any] = {"__name__": "m"}
    exec(f"async def method({parameters}): ...", namespace)
    with pytest.raises(TypeError, match=r"must take \(self, request, ...\)"):
        signature(namespace["method"], bound=True)


def test_the_annotations_of_the_request_and_the_answer_need_not_be_known() -> None:
    async def callback(request: Unknown, top: int) -> Unknown: ...

    assert signature(callback).names == ("top",)


# -- annotations


def test_names_that_are_local_to_the_definition_of_the_function_are_found() -> None:
    class Local(msgspec.Struct):
        x: int

    async def callback(request: Request, local: Local, many: list[Local]) -> None: ...

    arguments = bind(callback, {"local": {"x": 1}, "many": [{"x": 2}]}, Local=Local)
    assert arguments == {"local": Local(1), "many": [Local(2)]}


def test_names_in_quotes_inside_annotations_are_found() -> None:
    async def callback(request, number, numbers): ...

    callback.__annotations__ = {"number": Optional["int"], "numbers": list["int"]}
    assert bind(callback, {"number": None, "numbers": ["1", 2]}) == {"number": None, "numbers": [1, 2]}


def test_discords_objects_in_quotes_inside_annotations_are_looked_up() -> None:
    async def callback(request, guild, guilds): ...

    callback.__annotations__ = {"guild": Optional["discord.Guild"], "guilds": list["discord.Guild"]}
    checked = signature(callback)
    assert checked.takes_data
    assert checked.names == ("guild", "guilds")


def test_annotations_that_are_no_strings_work_too() -> None:
    async def callback(request, number): ...

    callback.__annotations__ = {"number": int}
    assert bind(callback, {"number": 5}) == {"number": 5}


def test_a_function_that_wraps_another_has_the_signature_of_that() -> None:
    async def inner(request: Request, number: int) -> None: ...

    @functools.wraps(inner)
    async def outer(*args: Any, **kwargs: Any) -> None: ...

    assert bind(outer, {"number": "5"}) == {"number": 5}


# -- binding


class User(TypedDict):
    name: str


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


async def all_kinds(
    request: Request,
    number: int,
    text: str,
    anything,
    choice: Literal["a", "b"],
    user: User,
    point: Point,
    when: datetime.datetime,
    small: Annotated[int, msgspec.Meta(lt=10)],
    *,
    maybe: float | None,
    flag: bool = True,
) -> None: ...


FITTING: dict[str, Any] = {
    "number": 1,
    "text": "t",
    "anything": [1, {"a": None}],
    "choice": "a",
    "user": {"name": "ada"},
    "point": {"x": 1},
    "when": "2024-05-17T12:00:00Z",
    "small": 9,
    "maybe": None,
}


def test_data_becomes_the_types_of_the_parameters() -> None:
    assert bind(all_kinds, FITTING) == {
        **FITTING,
        "point": Point(1),
        "when": datetime.datetime(2024, 5, 17, 12, tzinfo=datetime.UTC),
    }


def test_bad_data_names_every_error_and_its_place() -> None:
    data = {**FITTING, "number": "x", "user": {"name": 5}, "point": {}, "small": 10, "unknown": 1}
    del data["text"]
    found = errors(all_kinds, data)
    assert set(found) == {"number", "text", "user.name", "point", "small", "unknown"}
    assert found["text"] == "is required"
    assert found["unknown"] == "is not known to this route"
    assert "Expected `str`, got `int`" in found["user.name"]


def test_the_text_of_bad_data_names_the_first_error() -> None:
    async def callback(request: Request, number: int) -> None: ...

    with pytest.raises(BadData, match="bad data: number: Expected `int`, got `array`"):
        bind(callback, {"number": []})


def test_bad_data_names_at_most_a_hundred_errors() -> None:
    async def callback(request: Request, number: int) -> None: ...

    assert len(errors(callback, {f"x{n}": n for n in range(500)})) == 100


def test_numbers_and_truth_may_come_as_text() -> None:
    async def callback(request: Request, number: int, real: float, flag: bool) -> None: ...

    data = {"number": "12", "real": "1.5", "flag": "true"}
    assert bind(callback, data) == {"number": 12, "real": 1.5, "flag": True}


def test_what_is_left_out_keeps_the_default_of_the_function() -> None:
    async def callback(request: Request, a: int = 1, b: Any = None, *, c: int | None = 3) -> None: ...

    assert bind(callback, {}) == {}
    assert bind(callback, {"b": 5, "c": None}) == {"b": 5, "c": None}


def test_an_array_belongs_to_the_parameters_in_their_order() -> None:
    async def callback(request: Request, a: int, b: str = "x") -> None: ...

    assert bind(callback, [1]) == {"a": 1}
    assert bind(callback, [1, "y"]) == {"a": 1, "b": "y"}
    assert errors(callback, [1, "y", 3]) == {"": "takes at most 2 values in order, got 3"}
    assert errors(callback, []) == {"a": "is required"}


@pytest.mark.parametrize(
    "data", [b"17", b"null", b'"x"', b"{", b"\xff", b"[" * 5000 + b"]" * 5000, b'{"a":"\xff"}']
)
def test_what_is_no_object_is_bad_data(data: bytes) -> None:
    async def callback(request: Request, a: int = 1) -> None: ...

    async def takes_all(request: Request, **extra: Any) -> None: ...

    assert errors(callback, data)
    assert errors(takes_all, data)


def test_more_names_go_to_the_keywords_of_a_function_that_takes_them() -> None:
    async def callback(request: Request, a: int, **extra: Any) -> None: ...

    assert bind(callback, {"a": "1", "b": [2]}) == {"a": 1, "b": [2]}
    assert errors(callback, {"b": 2}) == {"a": "is required"}


def test_the_keywords_are_checked_against_their_annotation() -> None:
    async def callback(request: Request, **extra: int) -> None: ...

    assert bind(callback, {"a": "1"}) == {"a": 1}
    assert set(errors(callback, {"a": 1, "b": "x"})) == {"b"}


def test_data_cannot_take_the_place_of_the_request() -> None:
    async def callback(request: Request, **extra: Any) -> None: ...

    assert errors(callback, {"request": 1}) == {"request": "is not known to this route"}


def test_data_cannot_take_the_place_of_self() -> None:
    async def method(self: Any, request: Request, **extra: Any) -> None: ...

    client = discord.Client(intents=discord.Intents.none())
    with pytest.raises(BadData):
        signature(method, bound=True).bind(b'{"self":1}', Source(client))


def test_a_name_that_is_taken_by_position_only_is_free_for_data() -> None:
    async def callback(request: Request, /, **extra: Any) -> None: ...

    assert bind(callback, {"request": 1}) == {"request": 1}


def test_a_function_without_parameters_beyond_the_request_takes_no_data() -> None:
    async def callback(request: Request) -> None: ...

    async def takes_all(request: Request, **extra: Any) -> None: ...

    assert not signature(callback).takes_data
    assert signature(takes_all).takes_data


def test_a_coroutine_method_that_is_bound_already_needs_no_self() -> None:
    class Holder:
        async def method(self, request: Request, number: int) -> None: ...

    assert bind(Holder().method, {"number": 1}) == {"number": 1}


def test_a_partial_function_can_be_a_signature_too() -> None:
    async def callback(greeting: str, request: Request, number: int) -> None: ...

    assert bind(functools.partial(callback, "hi"), {"number": 5}) == {"number": 5}


def test_checks_do_not_depend_on_commands(bot: commands.Bot) -> None:
    async def callback(request: Request, number: int) -> None: ...

    assert signature(callback).bind(b'{"number":1}', Source(bot)) == {"number": 1}


# -- bounds of hostile data

Word = Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]


@dataclasses.dataclass
class Sentence:
    words: list[Word]
    next: Sentence | None = None


def repeated(annotation: Any) -> Any:
    async def callback(request: Request, words: Any, text: str = "") -> None: ...

    callback.__annotations__["words"] = annotation
    return callback


@pytest.mark.parametrize(
    ("annotation", "many"),
    [
        (list[Word], ["a"] * PATTERN_VALUES),
        (dict[str, Word] | None, {str(n): "a" for n in range(PATTERN_VALUES)}),
        (dict[Word, int], {"a" * n: 1 for n in range(1, 150)} | {"x": [1] * PATTERN_VALUES}),
        (set[Word], ["a"] * PATTERN_VALUES),
        (Sentence, {"words": ["a"] * PATTERN_VALUES}),
        (list[tuple[int, Word]], [[1, "a"]] * PATTERN_VALUES),
    ],
)
def test_too_many_values_for_a_pattern_are_refused_before_they_are_compared(
    annotation: Any, many: Any
) -> None:
    found = errors(repeated(annotation), {"words": many})
    assert found == {"": f"a call of this route may have {PATTERN_VALUES} values: send less at a time"}


def test_as_many_values_as_may_be_compared_with_a_pattern_are_and_commas_in_texts_do_not_count() -> None:
    data = {"words": ["a"] * (PATTERN_VALUES - 2), "text": "[,{" * PATTERN_VALUES}
    assert len(bind(repeated(list[Word]), data)["words"]) == PATTERN_VALUES - 2
    assert errors(repeated(list[Word]), b'{"words": [' + b'"a",' * PATTERN_VALUES) != {}


def test_a_pattern_of_one_text_does_not_bound_other_values() -> None:
    async def callback(request: Request, word: Word, numbers: list[int]) -> None: ...

    assert len(bind(callback, {"word": "a", "numbers": [1] * 50_000})["numbers"]) == 50_000


def test_the_error_about_large_data_has_the_first_fault_with_its_place() -> None:
    async def callback(request: Request, a: list[int], b: int = 0) -> None: ...

    many = [1] * DETAILED_VALUES
    assert errors(callback, {"a": ["x", *many], "b": "x"}) == {"a[0]": "Expected `int`, got `str`"}
    assert errors(callback, {"a": ["x"], "b": "x"}).keys() == {"a[0]", "b"}
    # The values of an array belong to the parameters in their order.
    assert bind(callback, [many, 1]) == {"a": many, "b": 1}
    assert errors(callback, [many, "x"]) == {"b": "Expected `int`, got `str`"}


def test_members_that_a_route_does_not_know_are_listed_up_to_a_number() -> None:
    async def callback(request: Request, a: int = 0) -> None: ...

    assert len(errors(callback, {f"x{n}": n for n in range(1_000)})) == MAX_FAULTS


@pytest.mark.parametrize(("annotation", "most"), [(discord.Object, 2_000), (int, MAX_KEYWORDS)])
def test_the_number_of_keyword_arguments_is_bounded(annotation: Any, most: int) -> None:
    async def callback(request: Request, a: int, **others: Any) -> None: ...

    callback.__annotations__["others"] = annotation
    assert len(bind(callback, {"a": 1, **{f"x{n}": n for n in range(most)}})) == most + 1
    assert errors(callback, {"a": 1, **{f"x{n}": n for n in range(most + 1)}}) == {
        "": f"takes at most {most} values that it does not name, got {most + 1}"
    }
