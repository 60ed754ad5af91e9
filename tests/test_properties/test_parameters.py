"""Whatever a caller sends, the data of a call becomes arguments or one of the errors that callers are told of."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, NamedTuple, TypedDict

import discord
import pydantic
import pytest
from discord import app_commands
from discord.ext import commands
from hypothesis import given, settings
from hypothesis.strategies import (
    booleans,
    dictionaries,
    floats,
    integers,
    lists,
    none,
    recursive,
    sampled_from,
    text,
)

from discord_tools.ipc import BadData, Cached, NotReady, Request, RouteError
from discord_tools.ipc_server.parameters.binding import Source
from discord_tools.ipc_server.signature import Signature


class InTypedDict(TypedDict, total=False):
    role: discord.Role
    flags: discord.Permissions


class InTuple(NamedTuple):
    colour: discord.Colour
    thing: discord.Object | None = None


@dataclasses.dataclass
class Tree:
    thing: discord.Object
    emoji: discord.PartialEmoji | None = None
    below: list[Tree] = dataclasses.field(default_factory=list)


class Model(pydantic.BaseModel):
    name: str
    id: int = 0


def convert(request: Request, value: discord.Object | None) -> Any:
    if value is None:
        raise RouteError(1, "none")
    return value.id


PARAMETERS: dict[str, Any] = {
    "guild": discord.Guild | None,
    "member": Annotated[discord.Member | None, Cached],
    "things": list[discord.Object],
    "unique": set[discord.Object] | None,
    "pair": tuple[discord.Object, int],
    "channel": discord.TextChannel | discord.Thread | None,
    "message": Annotated[discord.Message | None, Cached],
    "reference": discord.PartialMessage,
    "status": discord.Status,
    "kind": dict[discord.ChannelType, discord.Object],
    "flags": discord.Permissions,
    "colour": discord.Colour,
    "emoji": discord.PartialEmoji,
    "embed": list[discord.Embed],
    "number": commands.Range[int, 1, 10],
    "name": app_commands.Range[str, 1, 10] | None,
    "tree": Tree,
    "typed": InTypedDict,
    "tuple": InTuple,
    "model": Model,
    "own": Annotated[int, convert],
}

#: Names that lead beyond the first check.
NAMES = sampled_from(
    (
        *PARAMETERS,
        "thing",
        "below",
        "role",
        "name",
        "id",
        "channel_id",
        "title",
        "fields",
        "value",
        "kick_members",
    )
)
SCALARS = (
    none()
    | booleans()
    | integers()
    | floats(allow_nan=False, allow_infinity=False)
    | text(max_size=20)
    | sampled_from(("5", "5-6", "#5865f2", "dnd", "voice", "<:a:500000000000000000>", "\N{THUMBS UP SIGN}"))
    | sampled_from(
        ("rgb(1,2,3)", "https://discord.com/channels/1/2/3", "rgb(", "0x", "#", "-", 5, 2**64, -1, 10**30)
    )
)
VALUES = recursive(
    SCALARS,
    lambda inner: lists(inner, max_size=4) | dictionaries(NAMES | text(max_size=5), inner, max_size=4),
)


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(discord.Client(intents=discord.Intents.none()))


@pytest.fixture(scope="module")
def signatures() -> dict[str, Signature]:
    """A signature for each kind of parameter, and one with all of them."""

    def made(parameters: dict[str, Any]) -> Signature:
        namespace: dict[str, Any] = {"__name__": __name__}
        given = {"guild": PARAMETERS["guild"], **parameters}
        exec(f"async def callback(request, {', '.join(f'{name}=None' for name in given)}): ...", namespace)
        namespace["callback"].__annotations__ = given
        return Signature(namespace["callback"], bound=False, namespace={})

    return {**{name: made({name: kind}) for name, kind in PARAMETERS.items()}, "": made(PARAMETERS)}


def check(signature: Signature, source: Source, data: Any) -> None:
    refusal: BadData | None = None
    try:
        bound = signature.bind(json.dumps(data).encode(), source, None)
        assert isinstance(bound, dict), "nothing is fetched before the bot is ready"
    except BadData as error:
        refusal = error
    except (NotReady, RouteError):
        pass
    if refusal is not None:
        assert refusal.errors
        assert all(isinstance(one["path"], str) and one["message"] for one in refusal.errors)
        assert len(json.dumps(refusal.data)) < 100_000


deterministic = settings(max_examples=50, deadline=None, derandomize=True, database=None)


@deterministic
@given(value=VALUES)
@pytest.mark.parametrize("name", PARAMETERS)
def test_any_value_of_a_parameter_is_converted_or_refused(
    signatures: dict[str, Signature], source: Source, name: str, value: Any
) -> None:
    check(signatures[name], source, {name: value})


@deterministic
@given(data=dictionaries(NAMES, VALUES, max_size=8))
def test_any_data_of_a_call_is_converted_or_refused(
    signatures: dict[str, Signature], source: Source, data: dict[str, Any]
) -> None:
    check(signatures[""], source, data)
