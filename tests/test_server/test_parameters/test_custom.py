"""Converters of one's own, and models of pydantic."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import logging
import sys
from typing import Annotated, Any

import discord
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, ConverterError, Request, RouteError, UnknownObject
from discord_tools.ipc.wire.codes import remote_error
from discord_tools.ipc_server.parameters.custom import MODEL_FAULTS, MODEL_VALUES
from discord_tools.ipc_server.signature import Signature
from loopback import LoopbackDiscord
from test_server.test_parameters.calls import bind, bind_later, errors, fault, signature_for, value
from test_server.tools import Failed, RecordedEvents, native_client, records_with

pydantic: Any = pytest.importorskip("pydantic")


def minutes(request: Request, value: Any) -> datetime.timedelta:
    return datetime.timedelta(minutes=int(value))


async def later(request: Request, value: int) -> str:
    return f"{request.endpoint} {value + 1}"


def upper(request: Request, value: str) -> str:
    return value.upper()


def name_of(request: Request, value: discord.User) -> str:
    return value.name


def refuses(request: Request, value: Any) -> Any:
    raise BadData("no such colour", data=[{"path": "it", "message": "no such colour"}])


def raises(request: Request, value: Any) -> Any:
    raise LookupError("secret")


async def raises_later(request: Request, value: Any) -> Any:
    raise LookupError("secret")


@dataclasses.dataclass
class Duration:
    seconds: int

    @classmethod
    async def convert(cls, request: Request, value: str) -> Duration:
        return cls(int(value.removesuffix("s")))


class Shout:
    """A converter with state."""

    def __init__(self, mark: str = "!") -> None:
        self.mark = mark

    def convert(self, request: Request, value: str) -> str:
        return value + self.mark


def test_a_function_converts() -> None:
    assert value(Annotated[datetime.timedelta, minutes], "5") == datetime.timedelta(minutes=5)
    assert value(list[Annotated[str, upper]], ["a", "b"]) == ["A", "B"]
    assert value(Annotated[str | None, upper], "a") == "A"
    assert value(Annotated[str, upper] | None, None) is None
    assert value(Annotated[int, lambda request, value: value + 1], 5) == 6
    assert value(Annotated[int, functools.partial(lambda n, request, value: value + n, 2)], 5) == 7


async def test_a_coroutine_function_converts_and_gets_the_request() -> None:
    found = await bind_later(signature_for(Annotated[str, later]), it="5")
    assert found == {"it": "/test 6"}
    found = await bind_later(signature_for(list[Annotated[str, later]]), it=[1, 2])
    assert found == {"it": ["/test 2", "/test 3"]}
    awaitable = Annotated[str, lambda request, value: later(request, value)]
    assert await bind_later(signature_for(awaitable), it=1) == {"it": "/test 2"}


async def test_a_class_converts() -> None:
    assert (await bind_later(signature_for(Duration), it="5s"))["it"] == Duration(5)
    assert (await bind_later(signature_for(dict[str, Duration]), it={"a": "5s"}))["it"] == {"a": Duration(5)}
    assert value(Annotated[str, Shout], "a") == "a!"
    assert value(Annotated[str, Shout("?")], "a") == "a?"
    assert value(Shout, "a") == "a!"


def test_the_value_is_checked_against_the_annotation_of_the_converter() -> None:
    found = errors(signature_for(list[Annotated[str, upper]]), it=["a", 5])
    assert found == {"it[1]": "Expected `str`, got `int`"}


async def test_a_converter_may_ask_for_an_object_that_has_to_be_fetched(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    user = loopback_discord.add_user("hedy")
    signature = signature_for(Annotated[str, name_of])
    assert await bind_later(signature, loopback_bot, it=user.id) == {"it": "hedy"}


async def test_a_converter_runs_once_even_if_others_have_to_be_waited_for(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    ran: list[Any] = []

    def count(request: Request, value: Any) -> Any:
        ran.append(value)
        return value

    user = loopback_discord.add_user()
    signature = signature_for(Annotated[int, count], user=discord.User, other=Annotated[str, later])
    await bind_later(signature, loopback_bot, it=5, user=user.id, other=1)
    assert ran == [5]


async def test_a_converter_does_not_run_for_data_that_is_wrong_anyway() -> None:
    ran: list[Any] = []
    signature = signature_for(Annotated[int, lambda request, value: ran.append(value)], number=int)
    assert set(errors(signature, it=5, number="x")) == {"number"}
    assert not ran


async def test_a_converter_does_not_run_where_a_later_parameter_has_no_object(
    loopback_bot: commands.Bot,
) -> None:
    ran: list[Any] = []
    signature = signature_for(Annotated[int, lambda request, value: ran.append(value)], role=discord.Role)
    with pytest.raises(UnknownObject):
        await bind_later(signature, loopback_bot, it=5, role=1)
    assert not ran


def test_a_refusal_of_a_converter_passes_as_it_is() -> None:
    with pytest.raises(BadData, match="no such colour"):
        bind(signature_for(Annotated[int, refuses]), it=5)


def test_an_error_of_another_bot_that_a_converter_called_is_no_refusal() -> None:
    def asks(request: Request, value: Any) -> Any:
        raise remote_error("/other", 404, "secret", None)

    with pytest.raises(ConverterError) as caught:
        bind(signature_for(Annotated[int, asks]), it=5)
    assert isinstance(caught.value.original, RouteError)


@pytest.mark.parametrize("place", ["it", "it[1]"])
async def test_an_exception_of_a_converter_names_the_parameter(place: str) -> None:
    annotation, given = (
        (Annotated[int, raises], 5) if place == "it" else (tuple[int, Annotated[int, raises]], [1, 2])
    )
    with pytest.raises(ConverterError) as caught:
        bind(signature_for(annotation), it=given)
    assert caught.value.parameter == place
    assert isinstance(caught.value.original, LookupError)
    assert caught.value.__cause__ is caught.value.original
    with pytest.raises(ConverterError):
        await bind_later(signature_for(Annotated[int, raises_later]), it=5)


@pytest.mark.parametrize("converter", [raises, raises_later])
async def test_an_exception_of_a_converter_is_logged_with_the_route_and_named_to_the_caller(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture, converter: Any
) -> None:
    async def takes(request: Request, it: Any) -> None: ...

    takes.__annotations__ = {"it": Annotated[int, converter]}
    events = RecordedEvents(bot)
    async with native_client(bot) as native:
        native.add_route(takes)
        with pytest.raises(Failed) as caught:
            await native.call("takes", {"it": 5})
        assert await native.is_served()
    assert caught.value.message.startswith("the converter of 'it' failed; the bot's log has more under ")
    assert caught.value.data["parameter"] == "it"
    assert "secret" not in str(caught.value.data) + caught.value.message
    (record,) = records_with(caplog, "Route '/takes' failed")
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "ipc_error" in events.names


async def test_a_refusal_of_a_converter_reaches_the_caller(bot: commands.Bot) -> None:
    def refuse(request: Request, value: Any) -> Any:
        raise RouteError(404, "no such colour")

    async def takes(request: Request, it: Any) -> None: ...

    takes.__annotations__ = {"it": Annotated[int, refuse]}
    async with native_client(bot) as native:
        native.add_route(takes)
        with pytest.raises(Failed) as caught:
            await native.call("takes", {"it": 5})
    assert (caught.value.code, caught.value.message) == (404, "no such colour")


class Callable:
    async def __call__(self, request: Request, value: int) -> int:
        return value + 1


async def test_an_object_that_can_be_called_converts() -> None:
    signature = signature_for(Annotated[int, Callable()])
    assert await bind_later(signature, it="5") == {"it": 6}
    assert errors(signature, it="x") == {"it": "Expected `int`, got `str`"}


class NeedsArguments:
    def __init__(self, x: int) -> None: ...

    def convert(self, request: Request, value: Any) -> Any: ...


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Annotated[int, lambda value: value], r"must be a function \(request, value\)"),
        (Annotated[int, upper, minutes], "has 2 converters: give one"),
        (Annotated[int, NeedsArguments], "cannot be made without arguments .*: make convert a class method"),
        (
            Annotated[discord.Member, commands.MemberConverter],
            "MemberConverter is a converter of discord.py's",
        ),
        (Annotated[discord.Member, commands.MemberConverter()], "MemberConverter is a converter of"),
    ],
)
def test_a_wrong_converter_is_refused_at_decoration(annotation: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        signature_for(annotation)


# -- pydantic


class Inner(pydantic.BaseModel):
    number: int = pydantic.Field(gt=0)
    when: datetime.date = datetime.date(2024, 1, 1)


class Model(pydantic.BaseModel):
    name: str
    inner: list[Inner] = pydantic.Field(default_factory=list)


def test_a_model_of_pydantic_is_validated_by_pydantic() -> None:
    made = value(Model, {"name": "a", "inner": [{"number": "5", "when": "2024-05-17"}]})
    assert made == Model(name="a", inner=[Inner(number=5, when=datetime.date(2024, 5, 17))])
    assert value(list[Model] | None, [{"name": "a"}]) == [Model(name="a")]
    assert value(dict[str, Inner], {"a": {"number": 1}}) == {"a": Inner(number=1)}


def test_a_dataclass_and_the_metadata_of_pydantic_are_validated_by_pydantic() -> None:
    @pydantic.dataclasses.dataclass
    class Point:
        x: int

    assert value(Point, {"x": "1"}) == Point(1)
    positive = Annotated[int, pydantic.Field(gt=0)]
    assert value(positive, 5) == 5
    assert errors(signature_for(positive), it=0) == {"it": "Input should be greater than 0"}


def test_the_errors_of_pydantic_are_bad_data_with_their_places() -> None:
    signature = signature_for(list[Model], other=int)
    found = errors(
        signature,
        kind=BadData,
        it=[{"name": 5, "inner": [{"number": 1}, {"number": 0}]}, {"name": "a"}],
        other="x",
    )
    assert found == {
        "it[0].name": "Input should be a valid string",
        "it[0].inner[1].number": "Input should be greater than 0",
        "other": "Expected `int`, got `str`",
    }


class Numbers(pydantic.BaseModel):
    numbers: list[int] = pydantic.Field(default_factory=list)
    texts: dict[str, str] = pydantic.Field(default_factory=dict)


def test_data_of_a_model_with_too_many_values_is_refused_before_it_is_validated() -> None:
    assert len(value(Numbers, {"numbers": [1] * (MODEL_VALUES - 1)}).numbers) == MODEL_VALUES - 1
    text = {"texts": {"a": "[{," * MODEL_VALUES}}
    assert value(Numbers, text).texts == text["texts"]
    message = f"may have {MODEL_VALUES} values: send less at a time"
    assert fault(Numbers, {"numbers": [1] * MODEL_VALUES}) == message
    assert fault(Numbers, {"texts": {str(n): "" for n in range(MODEL_VALUES)}}) == message
    assert fault(Numbers, {"numbers": [[1] * 101] * 100}) == message


def test_many_faults_of_a_model_are_counted_not_listed() -> None:
    signature = signature_for(Numbers)
    assert len(errors(signature, it={"numbers": ["x"] * 50})) == 50
    assert errors(signature, it={"numbers": ["x"] * (MODEL_FAULTS + 1)}) == {
        "it": f"has {MODEL_FAULTS + 1} faults"
    }


def test_a_model_beside_objects_of_discord_is_validated(loopback_bot: commands.Bot) -> None:
    @dataclasses.dataclass
    class Both:
        model: Model
        thing: discord.Object

    made = value(Both, {"model": {"name": "a"}, "thing": 5})
    assert (made.model, made.thing.id) == (Model(name="a"), 5)


def test_a_model_in_a_recursive_structure_is_validated_on_all_levels() -> None:
    @dataclasses.dataclass
    class Tree:
        model: Inner
        thing: discord.Object
        below: Tree | None = None

    async def callback(request: Request, it: Tree) -> None: ...

    signature = Signature(callback, bound=False, namespace={"Tree": Tree})
    good = {"model": {"number": 1}, "thing": 5}
    assert bind(signature, it={**good, "below": good})["it"].below.model == Inner(number=1)
    found = errors(signature, it={**good, "below": {"model": {"number": 0}, "thing": 5}})
    assert set(found) == {"it.below.model.number"}


def test_a_model_with_objects_of_discord_is_refused_at_decoration() -> None:
    class WithRole(pydantic.BaseModel, arbitrary_types_allowed=True):
        role: discord.Role

    with pytest.raises(TypeError, match=r"WithRole\.role: pydantic cannot make a Role: use a dataclass"):
        signature_for(WithRole)


def test_pydantic_is_not_imported_by_the_server() -> None:
    import subprocess

    code = "import sys, discord_tools.ipc_server; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
