"""How values are replaced and refused, and the encoders of users."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import sqlite3
from collections import Counter, deque, namedtuple
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple

import discord
import msgspec
import numpy as np
import pydantic
import pytest
from discord.ext import commands

from discord_tools.ipc import Server, TooLarge, full, only
from discord_tools.ipc_server.encoding import LARGE, SLICE, encode_answer, encode_large, encode_small
from discord_tools.ipc_server.values.encoder import Encoder
from discord_tools.ipc_server.values.sizes import ELEMENTS, LEVELS, WIDE
from discord_tools.ipc_server.values.tables import CLASSES
from loopback import LoopbackDiscord
from loopback.bots import running_bot
from test_server.test_fairness import Turns


async def unlimited(size: int) -> None:
    """Takes a turn of the event loop for a piece, of which there are enough."""


def written(value: Any, encoder: Encoder | None = None) -> Any:
    return json.loads(encode_answer(value, encoder or Encoder()))


class Word(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another word"


class Count(int):
    def __int__(self) -> int:
        return -1


class Names(list[Any]):
    pass


class Point(NamedTuple):
    x: Any
    y: Any = 0


class Warned:
    def __init__(self, user: int, points: int) -> None:
        self.user = user
        self.points = points


class WarnedTwice(Warned):
    pass


class Model(pydantic.BaseModel):
    name: str
    inner: Model | None = None
    state: Any = None


@dataclasses.dataclass(slots=True)
class Slotted:
    state: Any


@dataclasses.dataclass
class Report:
    rows: Any


class Struct(msgspec.Struct, tag="kind", rename="camel"):
    the_rows: Any


def rows() -> list[sqlite3.Row]:
    with sqlite3.connect(":memory:") as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("select 1 as id, 'a' as name union select 2, 'b'").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Word("a word"), "a word"),
        ({Word("key"): Word("value")}, {"key": "value"}),
        ([Count(5)], [5]),
        (Names([Point(1)]), [{"x": 1, "y": 0}]),
        ([[Point(Point(1))]], [[{"x": {"x": 1, "y": 0}, "y": 0}]]),
        (deque([discord.Status.idle]), ["idle"]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.items(), [["a", 1]]),
        (rows(), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]),
        (Model(name="a", inner=Model(name="b"), state=discord.Status.dnd),
         {"name": "a", "inner": {"name": "b", "inner": None, "state": None}, "state": "dnd"}),
        (Decimal("1.10"), "1.10"),
        ([np.int64(5), np.float32(0.5), np.bool_(True), np.str_("x")], [5, 0.5, True, "x"]),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        ({np.int64(5): np.array([1.5])}, {"5": [1.5]}),
        (Report(deque([Point(1)])), {"rows": [{"x": 1, "y": 0}]}),
        (Struct([discord.Status.idle]), {"type": "kind", "theRows": ["idle"]}),
        (Counter([discord.Status.idle, discord.Status.idle]), {"idle": 2}),
        ({discord.Object(5): {True: 1, None: 2, 2.5: 3}}, {"5": {"true": 1, "null": 2, "2.5": 3}}),
        ({discord.Locale.german: 1, discord.ChannelType.voice: 2}, {"de": 1, "2": 2}),
        (discord.PermissionOverwrite(send_messages=True, connect=False), {"allow": "2048", "deny": "1048576"}),
        (discord.AllowedMentions(users=[discord.Object(5)], everyone=False, roles=False, replied_user=False),
         {"parse": [], "users": ["5"]}),
    ],
)  # fmt: skip
def test_values_of_other_classes_are_written_whole(value: Any, expected: Any) -> None:
    assert written(value) == expected
    assert written({"in": [value]}) == {"in": [expected]}


def generator() -> Iterator[int]:
    yield 1


async def stream() -> AsyncIterator[int]:
    yield 1


class Iterable:
    def __iter__(self) -> Iterator[int]:
        return iter([1])


cyclic: dict[str, Any] = {"a": [1, {}]}
cyclic["a"][1]["b"] = cyclic
deep: list[Any] = []
for _ in range(100_000):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Iterable(), "objects of type Iterable cannot be written as JSON.*server.encoder"),
        ([{"id": 5}, SimpleNamespace(id=5)], r"^\[1\]: objects of type SimpleNamespace"),
        ({"members": [0, 1, 2, {"activity": object()}]}, r"^members\[3\]\.activity: objects of type object"),
        ({"a b": {"c": object()}}, r"^\['a b'\]\.c: "),
        (Report([object()]), r"^rows\[0\]: "),
        (Struct([object()]), r"^the_rows\[0\]: "),
        ({"rows": deque([Point(object())])}, r"^rows\[0\]\.x: "),
        (generator(), "generator.*async generator"),
        ([map(str, [1])], r"^\[0\]: .*map.*list"),
        (stream(), "async_generator.*async generator"),
        (io.BytesIO(b"x"), "BytesIO.*bytes or text"),
        (print, "call it"),
        (ValueError("x"), r"str\(error\)"),
        (discord.Status, "return its name"),
        ({"view": discord.ui.Button(label="x")}, "^view: objects of type Button.*message.components"),
        (discord.Client(intents=discord.Intents.none()), "objects of type Client .*not data"),
        (discord.utils.MISSING, "not given"),
        ({"a": msgspec.UNSET}, "^a: .*leave it out"),
        ({(1, 2): 3}, r"^\['\(1, 2\)'\]: objects of type tuple cannot be keys"),
        ({"a": {Point(1): 3}}, r"^a\[.*\]: objects of type Point cannot be keys"),
        ({discord.Colour(5): {discord.PollMedia(text="x", emoji=None): 1}}, "objects.*cannot be keys"),
        (cyclic, r"^a\[1\]\.b: an object of type dict contains itself"),
        (deep, "nested too deeply"),
        ({"a": ["\ud800"]}, r"^a\[0\]: '\\ud800' cannot be written"),
        ({"a": {"\ud800": 1}}, r"^a\['\\ud800'\]: "),
        (complex(1, 2), "real"),
    ],
)
def test_what_has_no_form_is_refused_with_its_place_and_advice(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        encode_answer(value)
    assert len(str(caught.value)) < 500


async def test_an_object_of_discord_with_something_unknown_in_it_is_refused_with_the_place(
    loopback_bot: commands.Bot,
) -> None:
    member = loopback_bot.guilds[0].members[0]
    member.activities = (discord.Game("x"), object())  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match=r"^members\[1\]\.activities\[1\]: objects of type object"):
        encode_answer({"members": [1, member]})


# -- encoders of users


def test_an_encoder_is_used_at_any_depth_and_for_classes_that_inherit() -> None:
    encoder = Encoder()
    calls: list[Warned] = []

    def encode(value: Warned) -> Any:
        calls.append(value)
        return {"user": value.user, "points": Point(value.points)}

    encoder.add(Warned, encode)
    value = {"a": [Warned(1, 2), {"b": WarnedTwice(3, 4)}], "c": Report(Warned(5, 6))}
    assert written(value, encoder) == {
        "a": [{"user": 1, "points": {"x": 2, "y": 0}}, {"b": {"user": 3, "points": {"x": 4, "y": 0}}}],
        "c": {"rows": {"user": 5, "points": {"x": 6, "y": 0}}},
    }
    assert len(calls) == 3  # each object once


def test_an_encoder_takes_the_place_of_the_usual_form() -> None:
    encoder = Encoder()
    encoder.add(Point, lambda point: f"{point.x}/{point.y}")
    encoder.add(discord.Colour, str)
    encoder.add(Struct, lambda struct: struct.the_rows)
    value = [Point(1, 2), discord.Colour(255), Struct(3), {Point(1, 2): 1}]
    assert written(value, encoder) == ["1/2", "#0000ff", 3, {"1/2": 1}]


async def test_an_encoder_of_a_class_of_discord_is_used_in_other_objects(loopback_bot: commands.Bot) -> None:
    encoder = Encoder()
    member = loopback_bot.guilds[0].members[0]
    encoder.add(discord.User, lambda user: user.name)
    assert written(member, encoder)["user"] == member.name
    assert written(member)["user"]["username"] == member.name


def test_an_encoder_that_raises_is_named_with_the_place() -> None:
    encoder = Encoder()
    encoder.add(Warned, lambda value: value.missing)
    with pytest.raises(TypeError, match=r"^a\[1\]: the encoder of Warned raised AttributeError: .*missing"):
        encode_answer({"a": [0, Warned(1, 2)]}, encoder)


def test_an_encoder_whose_result_cannot_be_written_is_refused() -> None:
    encoder = Encoder()
    encoder.add(Warned, lambda value: {"user": object()})
    with pytest.raises(TypeError, match=r"^\[0\]\.user: objects of type object"):
        encode_answer([Warned(1, 2)], encoder)


def test_an_encoder_that_returns_its_object_is_a_type_error() -> None:
    encoder = Encoder()
    encoder.add(Warned, lambda value: value)
    with pytest.raises(TypeError, match=r"nested too deeply|contains itself"):
        encode_answer([Warned(1, 2)], encoder)


def test_a_server_has_its_own_encoders() -> None:
    bot = discord.Client(intents=discord.Intents.none())
    server: Server[discord.Client] = Server(bot)
    other: Server[discord.Client] = Server(bot)

    @server.encoder(Warned)
    def encode(value: Warned) -> dict[str, int]:
        return {"user": value.user}

    assert encode(Warned(1, 2)) == {"user": 1}
    with pytest.raises(ValueError, match="Warned has an encoder already"):
        server.encoder(Warned)(encode)
    other.encoder(Warned)(encode)


@pytest.mark.parametrize("cls", ["Warned", None, str, dict, object, type])
def test_a_class_that_can_have_no_encoder_is_refused_at_decoration(cls: Any) -> None:
    server: Server[discord.Client] = Server(discord.Client(intents=discord.Intents.none()))
    with pytest.raises(TypeError):
        server.encoder(cls)


async def wait(value: Any) -> Any:
    return value


@pytest.mark.parametrize("function", [wait, None, "x"])
def test_a_function_that_can_be_no_encoder_is_refused_at_decoration(function: Any) -> None:
    server: Server[discord.Client] = Server(discord.Client(intents=discord.Intents.none()))
    with pytest.raises(TypeError):
        server.encoder(Warned)(function)


# -- wide values, which are checked level by level


def wide(inner: Any, number: int = WIDE) -> dict[str, Any]:
    """Lists and objects in each other, with one odd value at the end."""
    rows: list[Any] = [{"n": n, "more": [n, {"x": [n]}]} for n in range(number)]
    rows[-1]["more"][1]["x"].append(inner)
    return {f"k{n}": [n] for n in range(WIDE)} | {"rows": rows}


def odd_of(found: Any) -> Any:
    return found["rows"][-1]["more"][1]["x"][-1]


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (Point(1, 2), {"x": 1, "y": 2}),
        (discord.Status.idle, "idle"),
        (Count(5), 5),
        (Word("x"), "x"),
        (Names([1]), [1]),
        (deque([1]), [1]),
        (discord.Object(5), {"id": "5"}),
        ({None: [Point(1)]}, {"null": [{"x": 1, "y": 0}]}),
        ((1, (Point(1),)), [1, [{"x": 1, "y": 0}]]),
        ((1, [2], {3}), [1, [2], [3]]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_odd_value_deep_inside_of_a_wide_one_is_replaced(odd: Any, expected: Any) -> None:
    before = repr(wide(odd))
    value = wide(odd)
    assert odd_of(written(value)) == expected
    assert odd_of(json.loads(encode_small(value, Encoder()) or b"")) == expected
    assert repr(value) == before


def test_the_encoder_of_a_scalar_holds_in_a_wide_value() -> None:
    encoder = Encoder()
    encoder.add(Decimal, lambda value: "own")
    assert odd_of(written(wide(Decimal(1)), encoder)) == "own"


def test_a_wide_value_is_as_large_as_its_lists_and_objects_together() -> None:
    # Each row is one element and has six, those of its four lists and objects.
    assert 2 * 7 * LARGE < ELEMENTS < 4 * 7 * (LARGE - 1)
    nested: Any = [wide(1, LARGE - 1)["rows"] for _ in range(2)]
    assert encode_small([*nested, *range(WIDE)], Encoder()) is not None
    assert encode_small([*nested, *nested, *range(WIDE)], Encoder()) is None
    assert encode_small(wide(list(range(LARGE - 1))), Encoder()) is not None
    assert encode_small(wide(list(range(LARGE))), Encoder()) is None


def test_a_wide_value_that_contains_itself_is_refused() -> None:
    rows: list[Any] = [[n] for n in range(WIDE)]
    rows.append(rows)
    with pytest.raises(TypeError, match="contains itself"):
        encode_answer({"rows": rows})


def test_a_wide_value_that_is_deep_is_written() -> None:
    inner: Any = Point(1)
    for _ in range(2 * LEVELS):
        inner = [inner, [1]]
    found = written(wide(inner))
    assert json.dumps(found).count('{"x": 1, "y": 0}') == 1


# -- large values

LARGE_VALUES: dict[str, Any] = {
    "a list in a dict": {"n": 1, "all": list(range(3 * LARGE)), "m": 2},
    "a list in a dict in a list": [{"all": [{"n": n} for n in range(3 * LARGE)]}, 5],
    "a dict of lists": {f"k{n}": [1, 2, "x"] for n in range(3 * LARGE)},
    "a dict with odd keys": {discord.Object(n): {None: [n]} for n in range(3 * LARGE)},
    "a deque": deque(range(3 * LARGE)),
    "a set": set(range(3 * LARGE)),
    "a dataclass": Report(list(range(3 * LARGE))),
    "a Struct with a tag": Struct([{"n": n} for n in range(3 * LARGE)]),
    "rows": [Point(n, discord.Status.idle) for n in range(3 * LARGE)],
    "many small lists": [[list(range(40)) for _ in range(40)] for _ in range(10)],
}


@pytest.mark.parametrize("value", LARGE_VALUES.values(), ids=LARGE_VALUES)
async def test_a_large_value_at_any_depth_is_written_in_pieces(value: Any) -> None:
    encoder = Encoder()
    assert encode_small(value, encoder) is None
    with Turns() as turns:
        before = turns.count
        found = await encode_large(value, 2**30, unlimited, encoder)
        assert turns.count - before > 10
    assert json.loads(found) == written(value)


@pytest.mark.parametrize("value", LARGE_VALUES.values(), ids=LARGE_VALUES)
async def test_each_piece_and_the_whole_wait_for_a_turn(value: Any) -> None:
    taken: list[int] = []

    async def take(size: int) -> None:
        taken.append(size)

    found = await encode_large(value, 2**30, take)
    *pieces, whole = taken
    assert whole == len(found)
    assert len(found) / 2 < sum(pieces) < 3 * len(found)


async def test_no_more_is_written_without_a_turn() -> None:
    seen: list[int] = []
    encoder = Encoder()
    encoder.add(Warned, lambda value: seen.append(value.user) or value.user)
    turns: asyncio.Queue[None] = asyncio.Queue()

    async def take(size: int) -> None:
        await turns.get()

    value = {"all": [Warned(n, 0) for n in range(3 * LARGE)]}
    writing = asyncio.create_task(encode_large(value, 2**30, take, encoder))
    before = 0
    while not writing.done():
        turns.put_nowait(None)
        for _ in range(5):  # until it waits for the next one
            await asyncio.sleep(0)
        assert len(seen) - before <= SLICE
        before = len(seen)
    assert json.loads(await writing) == {"all": list(range(3 * LARGE))}


async def test_a_class_that_is_seen_first_in_a_large_value_is_not_lost() -> None:
    found = await encode_large(deque(range(3 * LARGE)), 2**30, unlimited, Encoder())
    assert json.loads(found) == list(range(3 * LARGE))


async def test_the_place_of_a_problem_in_a_large_value_is_the_same() -> None:
    value = {"all": [*range(3 * LARGE), {"x": object()}]}
    with pytest.raises(TypeError, match=rf"^all\[{3 * LARGE}\]\.x: objects of type object"):
        await encode_large(value, 2**30, unlimited)


async def test_a_large_list_in_a_dict_stops_when_it_is_too_large() -> None:
    seen: list[int] = []
    encoder = Encoder()
    encoder.add(Warned, lambda value: seen.append(value.user) or "x" * 100)
    with pytest.raises(TooLarge, match="stream it"):
        await encode_large({"all": [Warned(n, 0) for n in range(10 * LARGE)]}, 5000, unlimited, encoder)
    assert len(seen) < 2 * LARGE


async def test_full_writes_the_members_of_a_large_guild_in_pieces() -> None:
    async with LoopbackDiscord(guilds=1, members=2 * LARGE) as discord_, running_bot(discord_) as bot:
        guild = bot.guilds[0]
        with Turns() as turns:
            before = turns.count
            pieces = json.loads(await encode_large(full(guild, "members", "roles"), 2**30, unlimited))
            assert turns.count - before >= 2 * LARGE // 32
        whole = written(full(guild, "members", "roles"))
        assert pieces == whole
        assert len(whole["members"]) == 2 * LARGE
        few = only(list(guild.members), "nick", "user.id")
        assert json.loads(await encode_large(few, 2**30, unlimited)) == written(few)
        await asyncio.sleep(0)


def test_classes_that_a_program_makes_while_it_runs_take_bounded_memory() -> None:
    encoder = Encoder()
    rows = [namedtuple("Row", ["a"])(n) for n in range(CLASSES + 10)]
    assert json.loads(encoder.encode(rows)) == [{"a": n} for n in range(CLASSES + 10)]
    assert len(encoder._looks) <= CLASSES  # pyright: ignore[reportPrivateUsage]
    assert json.loads(encoder.encode(rows[:1])) == [{"a": 0}]


@pytest.mark.parametrize(
    "place",
    [lambda it: it, lambda it: [it], lambda it: {"a": (1, it)}],
    ids=["alone", "in a list", "in a dict"],
)
def test_a_ban_is_an_object_wherever_it_stands(place: Any) -> None:
    data: Any = {"id": "5", "username": "ada", "discriminator": "0", "avatar": None}
    user = discord.User(state=discord.Client(intents=discord.Intents.none())._connection, data=data)  # pyright: ignore[reportPrivateUsage] (users come from a state)
    expected = {"reason": "spam", "user": written(user)}
    assert written(place(discord.BanEntry("spam", user))) == written(place(expected))


def test_a_row_with_two_columns_of_one_name_is_refused_by_name() -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("select 1 as id, 2 as id").fetchone()
    connection.close()
    with pytest.raises(TypeError, match=r"rows\[0\]: the Row has several columns named 'id'"):
        encode_answer({"rows": [row]})


RECORD = np.array([(1, 2.5)], dtype=[("id", "i4"), ("share", "f4")])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (RECORD, [{"id": 1, "share": 2.5}]),
        (RECORD[0], {"id": 1, "share": 2.5}),
        (np.longdouble(1.5), 1.5),
        (np.array([1.5], dtype=np.longdouble), [1.5]),
        (np.datetime64("2024-01-01T00:00:00", "ns"), "2024-01-01T00:00:00.000000000"),
        (np.array([["2024-01-01"]], dtype="datetime64[ns]"), [["2024-01-01T00:00:00.000000000"]]),
        (np.timedelta64(5, "s"), "PT5S"),
    ],
    ids=str,
)
def test_records_and_times_of_numpy_keep_their_names_and_units(value: Any, expected: Any) -> None:
    assert written([value]) == [expected]


def test_a_duration_of_numpy_that_python_has_none_of_is_refused() -> None:
    with pytest.raises(TypeError, match=r"\[0\]: objects of type timedelta64 .* convert them"):
        encode_answer([np.timedelta64(5, "ns")])


@pytest.mark.parametrize(
    ("state", "form"),
    [
        ({discord.Status.dnd}, ["dnd"]),
        (frozenset({discord.Status.idle}), ["idle"]),
        (deque([discord.Status.dnd]), ["dnd"]),
        ((discord.Status.dnd, 5), ["dnd", 5]),
        (Slotted(discord.Status.dnd), {"state": "dnd"}),
        ({"a": [Slotted([discord.Status.dnd])]}, {"a": [{"state": ["dnd"]}]}),
        ({1, 2}, [1, 2]),
    ],
    ids=["set", "frozenset", "deque", "tuple", "slotted", "nested", "plain set"],
)
def test_enums_of_discord_keep_their_form_wherever_a_model_of_pydantic_has_them(
    state: Any, form: Any
) -> None:
    assert written(Model(name="a", state=state))["state"] == form
