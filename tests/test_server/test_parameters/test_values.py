"""Colours, flags, enums, embeds and emojis."""

from __future__ import annotations

import datetime
import tracemalloc
from typing import Any

import discord
import pytest

from discord_tools.ipc import BadData
from test_server.test_parameters.calls import errors, fault, signature_for, source_of, value

# -- enums


@pytest.mark.parametrize("given", ["dnd", "do_not_disturb"], ids=repr)
def test_an_enum_of_text_is_given_by_value_or_name(given: str) -> None:
    assert value(discord.Status, given) is discord.Status.dnd


@pytest.mark.parametrize("given", [2, "2", "voice"], ids=repr)
def test_an_enum_of_numbers_is_given_by_value_or_name(given: Any) -> None:
    assert value(discord.ChannelType, given) is discord.ChannelType.voice


def test_an_enum_may_be_a_key_and_an_element() -> None:
    assert value(dict[discord.Status, int], {"online": 3}) == {discord.Status.online: 3}
    assert value(set[discord.Status], ["online", "idle"]) == {discord.Status.online, discord.Status.idle}
    assert value(discord.Status | None, None) is None


@pytest.mark.parametrize("given", ["sleeping", 1, True, 1.0, None], ids=repr)
def test_what_is_no_member_of_an_enum_is_bad_data_with_the_names(given: Any) -> None:
    assert fault(discord.Status, given).startswith(
        "expected one of Status by value or name (online, offline, idle, "
    )


@pytest.mark.parametrize("given", [True, 1.0, 99], ids=repr)
def test_a_number_that_equals_a_value_is_no_member(given: Any) -> None:
    assert "expected one of ChannelType by value or name" in fault(discord.ChannelType, given)


def test_the_names_of_a_large_enum_are_not_all_listed() -> None:
    assert "more)" in fault(discord.AuditLogAction, "x")
    assert len(fault(discord.AuditLogAction, "x" * 10_000)) < 1000


# -- flags


@pytest.mark.parametrize(
    "given",
    [
        3072,
        "3072",
        ["view_channel", "send_messages"],
        ["read_messages", "send_messages"],
        {"view_channel": True, "send_messages": True, "kick_members": False},
    ],
    ids=repr,
)
def test_permissions_are_given_as_a_number_or_by_name(given: Any) -> None:
    made = value(discord.Permissions, given)
    assert type(made) is discord.Permissions
    assert made == discord.Permissions(view_channel=True, send_messages=True)


@pytest.mark.parametrize("cls", [discord.MessageFlags, discord.SystemChannelFlags, discord.Intents])
def test_other_flags_are_given_the_same_way(cls: Any) -> None:
    assert value(cls, 5).value == 5
    assert value(cls, []).value == 0


def test_what_is_no_flag_is_bad_data_that_names_it() -> None:
    assert errors(signature_for(discord.Permissions), it=["kick_members", "fly", 5]) == {
        "it": "Permissions has no flag 'fly'",
        "it[2]": "expected the name of a flag, got 5",
    }
    assert fault(discord.Permissions, {"fly": True}) == "Permissions has no flag 'fly'"
    assert errors(signature_for(discord.Permissions), it={"kick_members": 1}) == {
        "it.kick_members": "expected true or false, got 1"
    }


@pytest.mark.parametrize("given", [-1, 2**64, "kick_members", 1.0, True, None], ids=repr)
def test_what_is_no_flags_is_bad_data(given: Any) -> None:
    assert fault(discord.Permissions, given).startswith(
        "expected Permissions as a number or a list of names, got "
    )


# -- colours


@pytest.mark.parametrize(
    "given", [0x5865F2, str(0x5865F2), "#5865f2", "0x5865F2", "rgb(88, 101, 242)"], ids=repr
)
def test_a_colour_is_given_as_a_number_or_as_in_css(given: Any) -> None:
    assert value(discord.Colour, given) == discord.Colour(0x5865F2)
    assert value(discord.Color, given) == discord.Colour(0x5865F2)


NO_COLOURS = ["", "blue", "#xyz", 0x1000000, -1, "16777216", 1.0, True, None, "#" * 1000]


@pytest.mark.parametrize("given", NO_COLOURS, ids=repr)
def test_what_is_no_colour_is_bad_data(given: Any) -> None:
    assert fault(discord.Colour, given).startswith(
        "expected a colour, a number up to 16777215 or text such as"
    )


# -- emojis


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("\N{THUMBS UP SIGN}", discord.PartialEmoji(name="\N{THUMBS UP SIGN}")),
        ("<:blob:500000000000000005>", discord.PartialEmoji(name="blob", id=500000000000000005)),
        (
            "<a:blob:500000000000000005>",
            discord.PartialEmoji(name="blob", id=500000000000000005, animated=True),
        ),
        ("blob:500000000000000005", discord.PartialEmoji(name="blob", id=500000000000000005)),
        (
            {"name": "blob", "id": "5", "animated": True},
            discord.PartialEmoji(name="blob", id=5, animated=True),
        ),
        ({"name": "\N{THUMBS UP SIGN}", "id": None}, discord.PartialEmoji(name="\N{THUMBS UP SIGN}")),
    ],
)
def test_an_emoji_is_given_as_in_a_message_or_as_an_object(given: Any, made: discord.PartialEmoji) -> None:
    found = value(discord.PartialEmoji, given)
    assert (found.name, found.id, found.animated) == (made.name, made.id, made.animated)


@pytest.mark.parametrize(
    "given",
    [
        "", "blob", ":blob:", 5, None, {}, {"name": "blob"}, {"name": "", "id": 5}, {"name": "b", "id": "x"},
        {"name": "b", "id": 5, "animated": 1}, "\N{THUMBS UP SIGN}" * 101, f"<:blob:{2**64}>",
    ], ids=repr)  # fmt: skip
def test_what_is_no_emoji_is_bad_data(given: Any) -> None:
    assert fault(discord.PartialEmoji, given).startswith(
        "expected an emoji, one of Unicode, <:name:id>, or an object"
    )


# -- embeds


def test_an_embed_has_discords_own_form() -> None:
    embed = discord.Embed(
        title="t",
        description="d",
        url="https://example.org",
        colour=5,
        timestamp=datetime.datetime(2024, 5, 17, 12, tzinfo=datetime.UTC),
    )
    embed.add_field(name="n", value="v", inline=False)
    embed.set_footer(text="f", icon_url="https://example.org/i")
    embed.set_author(name="a")
    embed.set_image(url="https://example.org/image")
    made = value(discord.Embed, embed.to_dict())
    assert made == embed
    assert value(discord.Embed, {"title": None, "fields": None}) == discord.Embed()
    assert [each.title for each in value(list[discord.Embed], [{"title": "a"}, {"title": "b"}])] == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"title": 5}, "it.title"),
        ({"title": "x" * 257}, "it.title"),
        ({"description": "x" * 4097}, "it.description"),
        ({"timestamp": "yesterday"}, "it.timestamp"),
        ({"color": -1}, "it.color"),
        ({"fields": [{"name": "n"}]}, "it.fields[0]"),
        ({"fields": [{"name": "n", "value": "v"}] * 26}, "it.fields"),
        ({"footer": {"text": 5}}, "it.footer.text"),
        ({"fields": [{"name": "n", "value": "v" * 1000}] * 7}, "it"),
        ("text", "it"),
        ([], "it"),
    ],
)
def test_what_is_no_embed_is_bad_data_that_says_where(given: Any, place: str) -> None:
    assert list(errors(signature_for(discord.Embed), it=given)) == [place]


# -- all of them


@pytest.mark.parametrize(
    "cls",
    [discord.Status, discord.Colour, discord.PartialEmoji, discord.Role, discord.Invite, discord.Message],
)
def test_arrays_in_the_place_of_a_value_are_refused_before_they_take_memory(cls: type) -> None:
    signature = signature_for(list[cls])
    params = b'{"it":[' + b",".join([b"[]"] * 1_000_000) + b"]}"
    client = discord.Client(intents=discord.Intents.none())
    tracemalloc.start()
    try:
        with pytest.raises(BadData, match=r"it\[0\]: Expected a number.*, got `array`"):
            signature.bind(params, source_of(client))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_000_000


def test_arrays_among_flags_are_refused_with_their_place() -> None:
    assert errors(signature_for(discord.Permissions), it=[[]]) == {
        "it[0]": "Expected a number or a string, got `array`"
    }
