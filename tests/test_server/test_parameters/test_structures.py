"""Structures with Discord's objects in them: all kinds, nested, generic and recursive."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import discord
import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc import BadData, Cached, Request, UnknownObject
from discord_tools.ipc_server.signature import Signature
from loopback import LoopbackDiscord
from test_server.test_parameters.calls import bind, bind_later, errors, signature_for, value

T = TypeVar("T")


@dataclasses.dataclass
class InDataclass:
    role: discord.Role
    name: str = "x"
    more: list[discord.Role] = dataclasses.field(default_factory=list)


@attrs.define
class InAttrs:
    role: discord.Role
    _name: str = "x"
    more: list[discord.Role] = attrs.field(factory=list)


class InStruct(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    role: discord.Role
    name: str = "x"
    more_roles: list[discord.Role] = []


class InTypedDict(TypedDict):
    role: discord.Role
    name: NotRequired[str]


class InNamedTuple(NamedTuple):
    role: discord.Role
    name: str = "x"


@dataclasses.dataclass
class Settings:
    """A settings form."""

    guild: discord.Guild
    owner: Annotated[discord.Member, Cached]
    log: discord.TextChannel | None
    inner: InDataclass
    by_name: dict[str, InTypedDict]
    pairs: list[tuple[discord.Role, int]]


@dataclasses.dataclass
class Box(Generic[T]):
    it: T
    many: list[T]


@dataclasses.dataclass
class RoleBox(Box[discord.Role], Generic[T]):
    """A box whose base has the same variable for something else."""

    other: T


@dataclasses.dataclass
class Tree:
    role: discord.Role
    children: list[Tree] = dataclasses.field(default_factory=list)
    above: Tree | None = None


@dataclasses.dataclass
class PlainTree:
    number: int
    children: list[PlainTree] = dataclasses.field(default_factory=list)


class Cat(msgspec.Struct, tag="cat"):
    role: discord.Role


class Dog(msgspec.Struct, tag="dog"):
    name: str


@dataclasses.dataclass
class Checked:
    role: discord.Role
    number: int = 0

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("the number must not be negative")
        assert isinstance(self.role, discord.Role)


@dataclasses.dataclass
class OfUser:
    user: discord.User
    role: discord.Role

    def __post_init__(self) -> None:
        assert isinstance(self.user, discord.User)


@pytest.fixture
def role(loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot) -> discord.Role:
    guild = loopback_bot.get_guild(loopback_discord.guilds[0].id)
    assert guild is not None
    return guild.roles[1]


async def test_a_dataclass_has_its_fields_converted(role: discord.Role, loopback_bot: commands.Bot) -> None:
    made = value(InDataclass, {"role": str(role.id)}, loopback_bot)
    assert made == InDataclass(role)
    made = value(InDataclass, {"role": role.id, "name": "y", "more": [role.id]}, loopback_bot)
    assert made == InDataclass(role, "y", [role])


async def test_an_attrs_class_has_its_fields_converted(
    role: discord.Role, loopback_bot: commands.Bot
) -> None:
    assert value(InAttrs, {"role": str(role.id), "_name": "y"}, loopback_bot) == InAttrs(role, "y")


async def test_a_struct_has_its_fields_converted_under_their_names_in_json(
    role: discord.Role, loopback_bot: commands.Bot
) -> None:
    given = {"role": role.id, "moreRoles": [role.id]}
    assert value(InStruct, given, loopback_bot) == InStruct(role, "x", [role])
    found = errors(signature_for(InStruct), loopback_bot, it={"role": role.id, "more_roles": []})
    assert "unknown field `more_roles`" in found["it"]


async def test_a_typed_dict_has_its_members_converted(role: discord.Role, loopback_bot: commands.Bot) -> None:
    assert value(InTypedDict, {"role": role.id}, loopback_bot) == {"role": role}
    assert value(InTypedDict, {"role": role.id, "name": "y"}, loopback_bot) == {"role": role, "name": "y"}


async def test_a_named_tuple_has_its_elements_converted(
    role: discord.Role, loopback_bot: commands.Bot
) -> None:
    assert value(InNamedTuple, [role.id], loopback_bot) == InNamedTuple(role)
    assert value(InNamedTuple, [role.id, "y"], loopback_bot) == InNamedTuple(role, "y")


async def test_structures_are_nested(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, role: discord.Role
) -> None:
    model = loopback_discord.guilds[0]
    given = {
        "guild": model.id,
        "owner": model.members[0].id,
        "log": model.channels[0].id,
        "inner": {"role": role.id},
        "by_name": {"a": {"role": role.id}},
        "pairs": [[role.id, 1]],
    }
    made = value(Settings, given, loopback_bot)
    guild = role.guild
    assert made == Settings(
        guild,
        guild.get_member(model.members[0].id),  # pyright: ignore[reportArgumentType]
        guild.get_channel(model.channels[0].id),  # pyright: ignore[reportArgumentType]
        InDataclass(role),
        {"a": {"role": role}},
        [(role, 1)],
    )


async def test_the_guild_of_a_structure_says_where_its_members_are(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, role: discord.Role
) -> None:
    one, other = loopback_discord.guilds
    # The guild beside the structure is another one.
    signature = signature_for(Settings, guild=discord.Guild)
    given = {
        "guild": one.id, "owner": one.members[0].id, "log": None,
        "inner": {"role": role.id}, "by_name": {}, "pairs": [],
    }  # fmt: skip
    made = bind(signature, loopback_bot, guild=other.id, it=given)["it"]
    assert made.owner.guild.id == one.id
    found = errors(signature, loopback_bot, guild=one.id, it={**given, "guild": other.id})
    assert set(found) == {"it.owner", "it.inner.role"}


async def test_a_structure_without_a_guild_is_looked_up_in_the_guild_around_it(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    @dataclasses.dataclass
    class OfMember:
        member: Annotated[discord.Member, Cached]

    async def callback(request: Request, it: OfMember, guild: discord.Guild) -> None: ...

    signature = Signature(callback, bound=False, namespace={"OfMember": OfMember})
    one, other = loopback_discord.guilds
    number = one.members[0].id
    made = bind(signature, loopback_bot, guild=one.id, it={"member": number})
    assert made["it"].member.guild is made["guild"]
    assert errors(signature, loopback_bot, guild=other.id, it={"member": number}, kind=UnknownObject)


async def test_the_guild_of_a_structure_holds_in_that_structure_only(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot
) -> None:
    @dataclasses.dataclass
    class Part:
        role: discord.Role
        guild: discord.Guild | None = None

    async def callback(
        request: Request, parts: list[Part], guild: discord.Guild, last: discord.Role
    ) -> None: ...

    signature = Signature(callback, bound=False, namespace={"Part": Part})
    one, other = loopback_discord.guilds
    own, foreign = one.roles[1].id, other.roles[1].id
    parts = [{"role": foreign, "guild": other.id}, {"role": own}]
    found = bind(signature, loopback_bot, guild=one.id, parts=parts, last=own)
    assert [part.role.id for part in found["parts"]] == [foreign, own]
    parts = [{"role": foreign, "guild": other.id}, {"role": foreign}]
    assert set(errors(signature, loopback_bot, guild=one.id, parts=parts, last=foreign)) == {
        "parts[1].role",
        "last",
    }


def test_a_member_in_a_structure_needs_a_guild() -> None:
    @dataclasses.dataclass
    class OfMember:
        member: discord.Member

    with pytest.raises(TypeError, match="'it' has a Member, so a parameter of type Guild must say"):
        signature_for(list[OfMember])


async def test_all_faults_in_structures_are_listed_with_their_places(loopback_bot: commands.Bot) -> None:
    signature = signature_for(Box[discord.Role], number=int, other=InDataclass)
    found = errors(
        signature, loopback_bot, kind=BadData,
        it={"it": "x", "many": [1, "y", True]}, number="z", other={"role": 5, "more": [-1]},
    )  # fmt: skip
    assert set(found) == {
        "it.it", "it.many[0]", "it.many[1]", "it.many[2]", "number", "other.role", "other.more[0]",
    }  # fmt: skip


async def test_a_generic_class_has_its_variables_replaced(
    role: discord.Role, loopback_bot: commands.Bot
) -> None:
    given = {"it": role.id, "many": [role.id]}
    assert value(Box[discord.Role], given, loopback_bot) == Box(role, [role])
    assert value(Box[list[discord.Role]], {"it": [role.id], "many": []}, loopback_bot) == Box([role], [])
    made = value(RoleBox[int], {**given, "other": "5"}, loopback_bot)
    assert made == RoleBox(role, [role], 5)


async def test_a_recursive_structure_is_converted_on_all_levels(
    role: discord.Role, loopback_bot: commands.Bot
) -> None:
    leaf = {"role": role.id}
    made = value(Tree, {"role": role.id, "children": [leaf, {**leaf, "above": leaf}]}, loopback_bot)
    assert made == Tree(role, [Tree(role), Tree(role, above=Tree(role))])
    signature = signature_for(Tree)
    found = errors(
        signature, loopback_bot, it={**leaf, "children": [leaf, {**leaf, "above": {"role": 5}}, {}]}
    )
    assert set(found) == {"it.children[1].above.role", "it.children[2]"}


def test_a_recursive_structure_of_plain_data_works_too() -> None:
    assert value(PlainTree, {"number": 1, "children": [{"number": 2}]}) == PlainTree(1, [PlainTree(2)])


async def test_data_that_is_nested_too_deeply_is_bad_data(
    role: discord.Role, loopback_bot: commands.Bot
) -> None:
    given: dict[str, Any] = {"role": role.id}
    for _ in range(400):
        given = {"role": role.id, "children": [given]}
    found = errors(signature_for(Tree), loopback_bot, it=given)
    assert set(found.values()) == {"is nested too deeply"}


async def test_structures_with_tags_are_told_apart(role: discord.Role, loopback_bot: commands.Bot) -> None:
    annotation = list[Cat | Dog]
    given = [{"type": "cat", "role": role.id}, {"type": "dog", "name": "rex"}]
    assert value(annotation, given, loopback_bot) == [Cat(role), Dog("rex")]
    assert errors(signature_for(annotation), loopback_bot, it=[{"type": "cow"}])


async def test_a_structure_that_refuses_its_values_is_bad_data(
    role: discord.Role, loopback_bot: commands.Bot
) -> None:
    found = errors(signature_for(list[Checked]), loopback_bot, it=[{"role": role.id, "number": -1}])
    assert found == {"it[0]": "the number must not be negative"}


async def test_a_structure_is_made_once_all_its_objects_are_fetched(
    loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot, role: discord.Role
) -> None:
    user = loopback_discord.add_user()
    signature = signature_for(list[OfUser])
    made = (await bind_later(signature, loopback_bot, it=[{"user": user.id, "role": role.id}]))["it"]
    assert made[0].user.id == user.id
    assert made[0].role is role


async def test_a_field_that_may_be_unset_is_left_out(role: discord.Role, loopback_bot: commands.Bot) -> None:
    class Patch(msgspec.Struct):
        role: discord.Role | msgspec.UnsetType = msgspec.UNSET

    async def callback(request: Request, it: Patch) -> None: ...

    signature = Signature(callback, bound=False, namespace={"Patch": Patch})
    assert bind(signature, loopback_bot, it={})["it"] == Patch()
    assert bind(signature, loopback_bot, it={"role": role.id})["it"] == Patch(role)


async def test_what_a_dataclass_passes_to_its_post_init_is_given_too(
    role: discord.Role, loopback_bot: commands.Bot
) -> None:
    @dataclasses.dataclass
    class Scaled:
        kind: ClassVar[str] = "scaled"
        role: discord.Role
        scale: dataclasses.InitVar[int]
        number: int = 1
        made: int = dataclasses.field(init=False, default=0)

        def __post_init__(self, scale: int) -> None:
            self.number *= scale

    async def callback(request: Request, it: Scaled) -> None: ...

    signature = Signature(callback, bound=False, namespace={"Scaled": Scaled})
    made = bind(signature, loopback_bot, it={"role": role.id, "scale": "3", "number": 2})["it"]
    assert (made.role, made.number) == (role, 6)
    assert set(errors(signature, loopback_bot, it={"role": role.id})) == {"it"}


def test_a_field_that_cannot_be_made_is_refused_at_decoration() -> None:
    @dataclasses.dataclass
    class OfWebhook:
        hook: discord.Webhook

    class Thing: ...

    @dataclasses.dataclass
    class OfThing:
        thing: Thing

    with pytest.raises(
        TypeError, match=r"'it': OfWebhook.hook: Webhook cannot be made from JSON: take its id"
    ):
        Signature(_callback(OfWebhook), bound=False, namespace=dict(locals()))
    with pytest.raises(TypeError, match=r"'it': OfThing.thing: .*Thing cannot be made from JSON: make it a"):
        Signature(_callback(OfThing), bound=False, namespace=dict(locals()))


def _callback(annotation: Any) -> Any:
    async def callback(request: Request, it: Any) -> None: ...

    callback.__annotations__ = {"it": annotation}
    return callback
