"""``rpc.discover``: the OpenRPC document of all routes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import aiohttp
import discord
import jsonschema
import msgspec
import pydantic
import pytest
from discord import app_commands
from discord.ext import commands

from discord_tools.ipc import Request, Server, __version__ as version
from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.event_table import Declared
from discord_tools.ipc_server.openrpc import DOCUMENTS, Discovery, describe
from test_dialects.openrpc import validate

Bot = commands.Bot
SNOWFLAKE = {"type": "string", "pattern": "^[0-9]+$"}


@dataclass
class Point:
    x: int
    y: int = 0


class Shape(msgspec.Struct):
    points: list[Point]
    kind: Literal["open", "closed"] = "open"


def described(server: Server[Any], name: str) -> dict[str, Any]:
    document = describe(server.routes, "1")
    validate(document)
    return next(method for method in document["methods"] if method["name"] == name)


@pytest.fixture
def empty(bot: Bot) -> Server[Bot]:
    return Server(bot)


async def test_the_document_of_a_running_bot_is_valid_openrpc(
    server: Server[Bot], keyed: aiohttp.ClientSession
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"})
        document = (await socket.receive_json())["result"]
    validate(document)
    assert document["info"] == {"title": "discord_tools.ipc", "version": version}
    assert [method["name"] for method in document["methods"]] == sorted(
        name.removeprefix("/") for name in server.routes
    )
    async with keyed.post(
        server.ws_url.replace("ws", "http"), json={"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}
    ) as response:
        assert (await response.json())["result"] == document


async def test_other_methods_of_the_protocol_are_unknown_on_a_plain_socket(
    server: Server[Bot], keyed: aiohttp.ClientSession
) -> None:
    async with keyed.ws_connect(server.ws_url) as socket:
        for method in ("rpc.hello", "rpc.cancel", "rpc."):
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": method})
            assert (await socket.receive_json())["error"]["code"] == -32601
        await socket.send_json({"jsonrpc": "2.0", "method": "rpc.discover"})
        await socket.send_json({"jsonrpc": "2.0", "id": 2, "method": "text"})
        assert (await socket.receive_json())["id"] == 2


def test_the_description_is_the_first_paragraph_of_the_docstring(empty: Server[Bot]) -> None:
    @empty.route()
    async def told(request: Request) -> None:
        """Says something
        about it.

        And more.
        """

    @empty.route()
    async def untold(request: Request) -> None: ...

    assert described(empty, "told")["summary"] == "Says something about it."
    assert "summary" not in described(empty, "untold")


def test_parameters_have_names_types_and_defaults(empty: Server[Bot]) -> None:
    @empty.route()
    async def ranked(
        request: Request,
        name: str,
        top: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10,
        kind: Literal["a", "b"] | None = None,
        anything=...,
    ) -> list[str]:
        return []

    method = described(empty, "ranked")
    assert method["params"] == [
        {"name": "name", "required": True, "schema": {"type": "string"}},
        {
            "name": "top",
            "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
        },
        {
            "name": "kind",
            "required": False,
            "schema": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}], "default": None},
        },
        {"name": "anything", "required": False, "schema": {}},
    ]
    assert method["paramStructure"] == "either"
    assert method["result"] == {"name": "result", "schema": {"type": "array", "items": {"type": "string"}}}


def test_discords_objects_are_asked_for_by_their_ids_as_strings(empty: Server[Bot]) -> None:
    @empty.route()
    async def gives(
        request: Request,
        guild: discord.Guild,
        member: discord.Member | None,
        roles: list[discord.Role],
        channel: discord.TextChannel | discord.Thread | None = None,
    ) -> discord.Member: ...

    method = described(empty, "gives")
    schemas = {param["name"]: param["schema"] for param in method["params"]}
    nullable = {"anyOf": [SNOWFLAKE, {"type": "null"}]}
    assert schemas == {
        "guild": SNOWFLAKE,
        "member": nullable,
        "roles": {"type": "array", "items": SNOWFLAKE},
        "channel": {**nullable, "default": None},
    }
    assert method["params"][3]["summary"] == "The id of a TextChannel or Thread"
    assert method["result"]["schema"] == {"$ref": "#/components/schemas/Member"}


@dataclasses.dataclass
class Form:
    roles: list[discord.Role]
    colour: discord.Colour = discord.Colour(5)  # noqa: RUF009
    inner: Form | None = None


@dataclasses.dataclass
class Team:
    roles: list[discord.Role]


class Place(NamedTuple):
    channel: discord.TextChannel
    name: str = ""


class Model(pydantic.BaseModel):
    name: str
    inner: Model | None = None


EMBED = discord.Embed(title="t", colour=5).to_dict()

#: Annotations, data that fits them, and data that does not by its structure.
DESCRIBED: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "id": (discord.Role, ["5"], ["x", True, None]),
    "set": (set[discord.Role], [["5"], []], ["5", ["x"]]),
    "tuple": (tuple[discord.Role, int], [["5", 1]], [["5"], ["5", 1, 2], ["5", "x"]]),
    "tuple of any length": (tuple[discord.Role, ...], [[], ["5", "6"]], [["x"]]),
    "constraint": (Annotated[list[discord.Role], msgspec.Meta(max_length=1)], [["5"]], [["5", "6"]]),
    "description": (Annotated[discord.Role, msgspec.Meta(description="a role")], ["5"], ["x"]),
    "dict": (dict[str, discord.Role], [{"a": "5"}], [{"a": "x"}, []]),
    "dict by id": (dict[discord.Role, int], [{"5": 1}], [{"x": 1}]),
    "message": (discord.Message, ["5-6", {"channel_id": "5", "id": "6"}], [5.5, {"id": "6"}]),
    "invite": (discord.Invite, ["tea"], [5]),
    "enum": (discord.Status, ["dnd", "do_not_disturb"], ["sleeping", 5]),
    "enum of numbers": (discord.ChannelType, [2, "voice"], ["sleeping", 99]),
    "permissions": (
        discord.Permissions,
        [5, "5", ["kick_members"], {"kick_members": True}],
        [["fly"], {"fly": True}],
    ),
    "colour": (discord.Colour, [5, "#5865f2"], [-1, []]),
    "emoji": (discord.PartialEmoji, ["x", {"name": "x", "id": "5"}], [5, {}]),
    "embed": (discord.Embed, [EMBED], [{"title": 5}, {"color": -1}, []]),
    "range": (commands.Range[int, 1, 10], [1, 10], [0, 11]),
    "range of text": (app_commands.Range[str, 1, 2], ["a"], ["", "abc"]),
    "structure": (
        Form,
        [{"roles": ["5"], "inner": {"roles": []}}],
        [{}, {"roles": ["x"]}, {"roles": [], "inner": {}}],
    ),
    "named tuple": (Place, [["5"], ["5", "x"]], [[], ["x"]]),
    "nullable": (list[Form] | None, [None, [{"roles": []}]], [[None]]),
    "pydantic": (Model, [{"name": "a", "inner": {"name": "b"}}], [{}, {"name": "a", "inner": {}}]),
    "converter": (Annotated[str, lambda request, value: value], ["x", 5], []),
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_schema_of_a_parameter_says_what_is_accepted(empty: Server[Bot], name: str) -> None:
    annotation, good, bad = DESCRIBED[name]

    async def takes(request: Request, it: Any) -> None: ...

    takes.__annotations__ = {"it": annotation}
    empty.add_route(takes)
    document = describe(empty.routes, "1")
    validate(document)
    schema = document["methods"][0]["params"][0]["schema"]
    checker = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    for value in good:
        assert checker.is_valid(value), value
    for value in bad:
        assert not checker.is_valid(value), value


def test_a_structure_has_a_schema_for_parameters_and_one_for_answers(empty: Server[Bot]) -> None:
    @empty.route()
    async def takes(request: Request, form: Team, forms: list[Team]) -> Team: ...

    @empty.route()
    async def also_takes(request: Request, form: Team) -> None: ...

    document = describe(empty.routes, "1")
    validate(document)
    schemas = document["components"]["schemas"]
    assert set(schemas) == {"Role", "Team", "TeamInput"}
    assert schemas["TeamInput"]["properties"]["roles"]["items"] == SNOWFLAKE
    assert schemas["Team"]["properties"]["roles"]["items"] == {"$ref": "#/components/schemas/Role"}


def test_structures_of_the_same_name_have_schemas_of_their_own(empty: Server[Bot]) -> None:
    def made(annotation: Any) -> Any:
        return dataclasses.make_dataclass("Same", [("it", annotation)])

    async def takes(request: Request, one: Any, other: Any) -> None: ...

    takes.__annotations__ = {"one": made(discord.Role), "other": made(discord.Colour)}
    empty.add_route(takes)
    document = describe(empty.routes, "1")
    one, other = (param["schema"]["$ref"] for param in document["methods"][0]["params"])
    assert one != other
    assert set(document["components"]["schemas"]) == {"SameInput", "SameInput2"}


def test_classes_are_described_once_and_referred_to(empty: Server[Bot]) -> None:
    @empty.route()
    async def draws(request: Request, shape: Shape, at: Point = Point(1)) -> dict[str, Point]: ...  # noqa: B008

    document = describe(empty.routes, "1")
    validate(document)
    assert set(document["components"]["schemas"]) == {"Shape", "Point"}
    method = document["methods"][0]
    assert method["params"][0]["schema"] == {"$ref": "#/components/schemas/Shape"}
    assert method["result"]["schema"]["additionalProperties"] == {"$ref": "#/components/schemas/Point"}


def test_an_answer_that_is_not_annotated_or_has_no_schema_may_be_anything(empty: Server[Bot]) -> None:
    @empty.route()
    async def silent(request: Request): ...

    @empty.route()
    async def either(request: Request) -> discord.Member | discord.User: ...

    @empty.route()
    async def odd(request: Request) -> aiohttp.ClientSession: ...

    @empty.route()
    async def hidden(request: Request) -> OnlyForCheckers: ...  # type: ignore[name-defined]  # noqa: F821

    for name in ("silent", "either", "odd", "hidden"):
        assert described(empty, name)["result"]["schema"] == {}

    @empty.route()
    async def nothing(request: Request) -> None: ...

    assert described(empty, "nothing")["result"]["schema"] == {"type": "null"}


def test_a_route_that_streams_is_marked_as_such_and_no_other(empty: Server[Bot]) -> None:
    @empty.route()
    async def items(request: Request) -> AsyncGenerator[int, None]:
        yield 1

    @empty.route()
    async def one(request: Request) -> int:
        return 1

    assert described(empty, "items")["x-streams"] is True
    assert "x-streams" not in described(empty, "one")


def test_answers_are_described_as_the_tables_of_their_classes_have_them(
    empty: Server[Bot],
) -> None:
    @empty.route()
    async def picture(request: Request) -> discord.Asset: ...

    @empty.route()
    async def allowed(request: Request) -> dict[str, discord.Permissions]: ...

    @empty.route()
    async def guild(request: Request) -> discord.Guild: ...

    assert described(empty, "picture")["result"]["schema"] == {"type": "string", "format": "uri"}
    assert described(empty, "allowed")["result"]["schema"]["additionalProperties"] == SNOWFLAKE
    assert described(empty, "guild")["result"]["schema"] == {"$ref": "#/components/schemas/Guild"}
    fields = describe(empty.routes, "1")["components"]["schemas"]["Guild"]["properties"]
    assert fields["id"] == SNOWFLAKE
    assert fields["name"] == {"type": ["string", "null"]}
    assert "members" not in fields


async def test_an_object_of_discord_fits_its_description(empty: Server[Bot], loopback_bot: Bot) -> None:
    @empty.route()
    async def members(request: Request) -> list[discord.Member]: ...

    @empty.route()
    async def message(request: Request) -> discord.Message: ...

    document = describe(empty.routes, "1")
    validate(document)
    schema = {**document["methods"][0]["result"]["schema"], "components": document["components"]}
    written = json.loads(encode_answer(list(loopback_bot.guilds[0].members)))
    jsonschema.validate(written, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{**written[0], "user": 5}], schema)


def test_parameters_whose_order_differs_from_the_document_go_by_name(empty: Server[Bot]) -> None:
    @empty.route()
    async def mixed(request: Request, *, first: int = 1, second: int) -> None: ...

    method = described(empty, "mixed")
    assert [param["name"] for param in method["params"]] == ["second", "first"]
    assert method["paramStructure"] == "by-name"


def test_the_check_of_documents_finds_faults(empty: Server[Bot]) -> None:
    empty.add_route(fine)
    for spoil in (
        lambda d: d.pop("info"),
        lambda d: d["methods"][0].pop("params"),
        lambda d: d["methods"][0]["params"][0].update(schema={"type": "nonsense"}),
        lambda d: d["methods"].append(d["methods"][0]),
        lambda d: d["methods"][0]["params"][0].update(schema={"$ref": "#/components/schemas/None"}),
    ):
        document = describe(empty.routes, "1")
        validate(document)
        spoil(document)
        with pytest.raises((jsonschema.ValidationError, AssertionError, KeyError)):
            validate(document)


async def fine(request: Request, number: int) -> None: ...


# -- names


@dataclass
class Role:
    of_the_bot: int
    real: discord.Role | None = None


@dataclass
class Inner:
    first: int


@dataclass
class Settings:
    inner: Inner
    next: Settings | None = None


class Other:
    """Classes of the same names in another place."""

    @dataclass
    class Inner:
        second: str

    @dataclass
    class Settings:
        inner: Other.Inner
        next: Other.Settings | None = None


class Models:
    """Models of the same names."""

    class Inner(pydantic.BaseModel):
        third: bool

    class Settings(pydantic.BaseModel):
        inner: Models.Inner


def result_of(document: dict[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """The name of the schema of a result, and the schema."""
    method = next(method for method in document["methods"] if method["name"] == name)
    found = method["result"]["schema"]["$ref"].removeprefix("#/components/schemas/")
    return found, document["components"]["schemas"][found]


@pytest.mark.parametrize("first", ["own", "theirs"])
def test_a_type_with_the_name_of_a_class_of_discord_has_another_name(empty: Server[Bot], first: str) -> None:
    async def own(request: Request) -> Role: ...
    async def theirs(request: Request) -> discord.Role: ...

    for function in (own, theirs):
        empty.add_route(function, "a" if function.__name__ == first else "b")
    document = describe(empty.routes, "1")
    validate(document)
    mine, its = ("a", "b") if first == "own" else ("b", "a")
    assert result_of(document, its)[0] == "Role"
    assert "permissions" in result_of(document, its)[1]["properties"]
    name, schema = result_of(document, mine)
    assert name == "Role2"
    assert schema["properties"]["of_the_bot"] == {"type": "integer"}
    assert {"$ref": "#/components/schemas/Role"} in schema["properties"]["real"]["anyOf"]


def test_a_name_that_no_class_of_discord_needs_is_free(empty: Server[Bot]) -> None:
    @dataclass
    class Team:
        x: int

    async def own(request: Request) -> Any: ...

    own.__annotations__["return"] = Team
    empty.add_route(own)
    assert result_of(describe(empty.routes, "1"), "own")[0] == "Team"


def test_types_of_equal_names_have_schemas_of_their_own(empty: Server[Bot]) -> None:
    kinds = {"first": Settings, "second": Other.Settings, "third": dict[str, Settings]}
    for name, kind in kinds.items():

        async def one(request: Request) -> Any: ...

        one.__annotations__["return"] = kind
        empty.add_route(one, name)

    @empty.route()
    async def takes(request: Request, form: Models.Settings) -> None: ...

    document = describe(empty.routes, "1")
    validate(document)
    schemas = document["components"]["schemas"]
    assert schemas.keys() == {"Settings", "Inner", "Settings2", "Inner2", "Inner3"}
    for name, inner, members in (("first", "Inner", {"first"}), ("second", "Inner2", {"second"})):
        _, schema = result_of(document, name)
        assert schema["properties"]["inner"]["$ref"] == f"#/components/schemas/{inner}"
        assert schemas[inner]["properties"].keys() == members
    # Each refers to itself.
    assert {"$ref": "#/components/schemas/Settings2"} in schemas["Settings2"]["properties"]["next"]["anyOf"]
    methods = {method["name"]: method for method in document["methods"]}
    assert methods["third"]["result"]["schema"]["additionalProperties"]["$ref"].endswith("/Settings")
    (param,) = methods["takes"]["params"]
    assert param["schema"]["properties"]["inner"]["$ref"] == "#/components/schemas/Inner3"
    assert schemas["Inner3"]["properties"].keys() == {"third"}
    assert describe(empty.routes, "1") == document


# -- the document is made once


def test_the_document_is_made_again_only_when_routes_or_events_have_changed(empty: Server[Bot]) -> None:
    @empty.route()
    async def one(request: Request) -> None: ...

    discovery = Discovery()
    events: dict[str, Any] = {}
    first = discovery.document(empty.routes, events)
    assert discovery.document(dict(empty.routes), dict(events)) is first
    empty.add_route(one.callback, "two")
    second = discovery.document(empty.routes, events)
    assert json.loads(second) == describe(empty.routes, version, events)
    assert len(json.loads(second)["methods"]) == 2
    empty.remove_route("two")
    assert discovery.document(empty.routes, events) is first
    empty.remove_route("one")
    empty.add_route(one.callback)  # another route of the same name
    third = discovery.document(empty.routes, events)
    assert third is not first
    events["tea"] = None
    assert len(json.loads(discovery.document(empty.routes, events))["x-events"]) == 1
    events["tea"] = Declared(int)
    assert json.loads(discovery.document(empty.routes, events))["x-events"][0]["data"] == {"type": "integer"}


def test_a_bounded_number_of_documents_is_kept(empty: Server[Bot]) -> None:
    discovery = Discovery()
    found = [discovery.document({}, {f"event{n}": None}) for n in range(DOCUMENTS + 1)]
    assert discovery.document({}, {"event1": None}) is found[1]
    assert discovery.document({}, {"event0": None}) is not found[0]
