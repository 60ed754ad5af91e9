"""Which annotations are understood, and in which containers."""

from __future__ import annotations

import collections
import typing
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from typing import Annotated, Any, NewType, Optional, TypeVar, Union

import discord
import msgspec
import pytest
from discord import app_commands
from discord.ext import commands
from msgspec import Meta

from loopback import LoopbackDiscord
from test_server.test_parameters.calls import errors, fault, signature_for, value

RoleAlias = NewType("RoleAlias", discord.Role)
Bound = TypeVar("Bound", bound=discord.Role)
OneOf = TypeVar("OneOf", discord.Role, discord.Emoji)


@pytest.fixture
def role(loopback_discord: LoopbackDiscord, loopback_bot: commands.Bot) -> discord.Role:
    guild = loopback_bot.get_guild(loopback_discord.guilds[0].id)
    assert guild is not None
    return guild.roles[1]


CONTAINERS: list[tuple[Any, Any, Any]] = [
    (list[discord.Role], ["?"], lambda role: [role]),
    (typing.List[discord.Role], ["?"], lambda role: [role]),  # noqa: UP006
    (Sequence[discord.Role], ["?"], lambda role: [role]),
    (Collection[discord.Role], ["?"], lambda role: [role]),
    (Iterable[discord.Role], ["?"], lambda role: [role]),
    (set[discord.Role], ["?", "?"], lambda role: {role}),
    (frozenset[discord.Role], ["?"], lambda role: frozenset({role})),
    (tuple[discord.Role, ...], ["?", "?"], lambda role: (role, role)),
    (tuple[discord.Role, int], ["?", 5], lambda role: (role, 5)),
    (dict[str, discord.Role], {"a": "?"}, lambda role: {"a": role}),
    (dict[discord.Role, int], {"?": 5}, lambda role: {role: 5}),
    (Mapping[str, discord.Role], {"a": "?"}, lambda role: {"a": role}),
    (MutableMapping[str, list[discord.Role]], {"a": ["?"]}, lambda role: {"a": [role]}),
    (list[list[discord.Role]], [["?"], []], lambda role: [[role], []]),
    (list[discord.Role | None], ["?", None], lambda role: [role, None]),
    (list[discord.Role] | None, ["?"], lambda role: [role]),
    (list[discord.Role] | None, None, lambda role: None),
    (Optional[discord.Role], "?", lambda role: role),  # noqa: UP045
    (Union[discord.Role, discord.Emoji, None], "?", lambda role: role),  # noqa: UP007
    (Annotated[discord.Role, "a role"], "?", lambda role: role),
    (Annotated[discord.Role | None, "a role"], "?", lambda role: role),
    (Annotated[list[discord.Role], Meta(max_length=1)], ["?"], lambda role: [role]),
    (RoleAlias, "?", lambda role: role),
    (list[Bound], ["?"], lambda role: [role]),
    (OneOf, "?", lambda role: role),
]  # fmt: skip


def _filled(given: Any, number: int) -> Any:
    if isinstance(given, list):
        return [_filled(one, number) for one in given]
    if isinstance(given, dict):
        return {(str(number) if key == "?" else key): _filled(one, number) for key, one in given.items()}
    return number if given == "?" else given


@pytest.mark.parametrize(("annotation", "given", "made"), CONTAINERS, ids=lambda one: str(one)[:60])
async def test_objects_are_looked_up_in_any_container(
    loopback_bot: commands.Bot, role: discord.Role, annotation: Any, given: Any, made: Any
) -> None:
    found = value(annotation, _filled(given, role.id), loopback_bot)
    expected = made(role)
    assert type(found) is type(expected)
    assert found == expected


async def test_faults_in_containers_have_their_places(loopback_bot: commands.Bot) -> None:
    found = errors(signature_for(dict[str, list[discord.Role]]), loopback_bot, it={"a": [1], "b": ["x", 2]})
    assert set(found) == {"it.a[0]", "it.b[0]", "it.b[1]"}
    assert set(errors(signature_for(tuple[discord.Role, int]), loopback_bot, it=["x", 5])) == {"it[0]"}
    assert set(errors(signature_for(dict[discord.Role, int]), loopback_bot, it={"x": 5})) == {"it.x"}
    found = errors(signature_for(list[dict[int, discord.Role]]), loopback_bot, it=[{"x": 5}])
    assert found == {"it[0]": "wrong key: Expected `int`, got `str`"}


async def test_constraints_of_containers_are_checked(loopback_bot: commands.Bot) -> None:
    annotation = Annotated[list[discord.Role], Meta(max_length=1)]
    assert "length <= 1" in fault(annotation, [1, 2], loopback_bot)


async def test_a_very_long_key_is_cut_in_the_place_of_a_fault(loopback_bot: commands.Bot) -> None:
    (place,) = errors(signature_for(dict[str, discord.Role]), loopback_bot, it={"k" * 10_000: 5})
    assert place == "it." + "k" * 100


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (commands.Range[int, 1, 10], [1, "10"], [0, 11, "x"]),
        (commands.Range[int, None, 10], [-5], [11]),
        (commands.Range[float, 0.5, 1.5], [0.5, "1.5"], [0.4, 1.6]),
        (commands.Range[str, 2, 3], ["ab", "abc"], ["a", "abcd", 5]),
        (app_commands.Range[int, 1, 10], [1, "10"], [0, 11, "x"]),
        (app_commands.Range[int, 1], [1, 10**9], [0]),
        (app_commands.Range[float, 0.5, 1.5], [0.5], [0.4, 1.6]),
        (app_commands.Range[str, 2, 3], ["ab", "abc"], ["a", "abcd", 5]),
    ],
)
def test_the_ranges_of_discord_py_are_checked(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    for given in good:
        value(annotation, given)
        assert value(annotation | None, given) == value(list[annotation], [given])[0]
    for given in bad:
        assert fault(annotation, given)
        assert fault(list[annotation], [given])


def test_a_range_in_quotes_is_understood() -> None:
    async def callback(
        request: Any, it: commands.Range[int, 1, 10], other: app_commands.Range[str, 1, 2]
    ) -> None: ...

    from discord_tools.ipc_server.signature import Signature

    signature = Signature(callback, bound=False, namespace={})
    assert set(errors(signature, it=11, other="abc")) == {"it", "other"}


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (discord.Role | int, "mixes Discord's objects with other types: use two parameters"),
        (discord.Role | discord.Colour, "mixes Discord's objects with other types"),
        (list[discord.Role | str], "mixes Discord's objects with other types"),
        (discord.Webhook, "Webhook cannot be made from JSON: take its id as an int"),
        (
            discord.AllowedMentions,
            r"AllowedMentions cannot be made from JSON: write Annotated\[AllowedMentions, con",
        ),
        (discord.Interaction, "Interaction cannot be made from JSON"),
        (commands.Context, "Context cannot be made from JSON"),
        (discord.ui.View, "View cannot be made from JSON"),
        (collections.deque[discord.Role], "use a list, set, tuple or dict"),
        (set[discord.Embed], "cannot be in a set, use a list"),
        (set[dict[str, discord.Role]], "its elements cannot be in a set"),
        (dict[discord.Embed, int], "keys are text or ids"),
        (commands.MemberConverter, "MemberConverter is a converter of discord.py's commands"),
        (app_commands.Transform[int, app_commands.Transformer], "converter of discord.py's commands"),
        (Annotated[discord.Role, Meta(max_length=5)], "constraints are for numbers, text and collections"),
        (list[threading_lock := type("Lock", (), {})], "Lock cannot be made from JSON: make it a dataclass"),
    ],
)
def test_what_cannot_be_made_is_refused_at_decoration_with_advice(annotation: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text) as caught:
        signature_for(annotation)
    assert "parameter 'it'" in str(caught.value)


def test_plain_data_needs_no_conversion() -> None:
    for annotation in (
        int,
        str,
        list[int],
        None,
        Any,
        dict[str, Any],
        msgspec.Raw,
        tuple[int, ...],
        int | str,
    ):
        assert not signature_for(annotation).nodes["it"].converts


@pytest.mark.parametrize(("annotation", "given"), [(bool, "on"), (int, ""), (float, ""), (bool, "")])
def test_what_html_forms_send_for_checkboxes_and_empty_numbers_is_refused(
    annotation: Any, given: str
) -> None:
    assert fault(annotation, given)
