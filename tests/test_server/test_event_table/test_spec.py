"""What one event carries: ids for filters, data, and nothing that is secret."""

from __future__ import annotations

import json
from types import SimpleNamespace as Thing
from typing import Any

import discord
import pytest

from discord_tools.ipc_server.encoding import encode_answer
from discord_tools.ipc_server.event_table import EVENTS, custom
from discord_tools.ipc_server.event_table.spec import ERROR_TEXT

GUILD = Thing(id=1)
MESSAGE = Thing(id=4, guild=GUILD, channel=Thing(id=2), author=Thing(id=3))


def carried(name: str, *args: Any) -> tuple[dict[str, Any], Any]:
    """The ids and the data of an event."""
    keys = EVENTS[name].keys(args)
    return dict(keys), EVENTS[name].data(args, keys)


def written(name: str, *args: Any) -> tuple[dict[str, Any], Any]:
    keys, data = carried(name, *args)
    return keys, json.loads(encode_answer(data))


def test_one_argument_is_the_data() -> None:
    keys, data = carried("message", MESSAGE)
    assert data is MESSAGE
    assert keys == {"guild_id": ("1",), "channel_id": ("2",), "user_id": ("3",), "message_id": ("4",)}


def test_several_arguments_are_an_object_of_them_with_the_guild() -> None:
    after = Thing(**{**vars(MESSAGE), "content": "new"})
    keys, data = carried("message_edit", MESSAGE, after)
    assert data == {"before": MESSAGE, "after": after, "guild_id": "1"}
    assert keys["message_id"] == ("4",)


def test_an_event_without_arguments_has_an_empty_object() -> None:
    assert carried("ready") == ({}, {})


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("reaction_clear", ["message", "reactions", "guild_id"]),
        ("guild_channel_pins_update", ["channel", "last_pin", "guild_id"]),
        ("scheduled_event_user_add", ["event", "user", "guild_id"]),
        ("voice_state_update", ["member", "before", "after", "guild_id"]),
    ],
)
def test_members_have_the_names_of_the_arguments(name: str, members: list[str]) -> None:
    guild = Thing(guild=GUILD, guild_id=1, id=2)
    args = (guild,) * len(EVENTS[name].arguments)
    assert list(carried(name, *args)[1]) == members


def test_a_private_channel_has_no_guild() -> None:
    keys, data = carried("private_channel_pins_update", Thing(id=2), None)
    assert keys == {"channel_id": ("2",)}
    assert list(data) == ["channel", "last_pin"]


def test_a_message_without_a_guild_has_the_id_none() -> None:
    keys, _ = carried("message", Thing(**{**vars(MESSAGE), "guild": None}))
    assert keys["guild_id"] == (None,)


def test_an_event_of_several_messages_has_the_ids_of_all() -> None:
    other = Thing(id=5, guild=GUILD, channel=Thing(id=2), author=Thing(id=3))
    keys, data = carried("bulk_message_delete", [MESSAGE, other])
    assert data == [MESSAGE, other]
    assert keys == {"guild_id": ("1",), "channel_id": ("2",), "user_id": ("3",), "message_id": ("4", "5")}


def test_a_change_of_channel_has_both_channels() -> None:
    keys, _ = carried(
        "voice_state_update", Thing(id=3, guild=GUILD), Thing(channel=Thing(id=7)), Thing(channel=None)
    )
    assert keys["channel_id"] == ("7",)
    keys, _ = carried(
        "voice_state_update", Thing(id=3, guild=GUILD), Thing(channel=Thing(id=7)), Thing(channel=Thing(id=8))
    )
    assert keys["channel_id"] == ("7", "8")


def test_a_thread_is_found_by_its_own_id_and_by_that_of_its_channel() -> None:
    keys, _ = carried("thread_create", Thing(id=8, parent_id=7, owner_id=3, guild=GUILD))
    assert keys["channel_id"] == ("8", "7")


# -- raw events


def test_a_deletion_that_was_not_cached_has_its_ids() -> None:
    payload = discord.RawMessageDeleteEvent({"id": "4", "channel_id": "2", "guild_id": "1"})
    keys, data = written("raw_message_delete", payload)
    assert data == {"id": "4", "channel_id": "2", "guild_id": "1", "cached_message": None}
    assert keys == {"guild_id": ("1",), "channel_id": ("2",), "user_id": (None,), "message_id": ("4",)}


def test_a_bulk_deletion_has_the_ids_in_their_order() -> None:
    payload = discord.RawBulkMessageDeleteEvent({"ids": ["30", "4"], "channel_id": "2", "guild_id": "1"})
    keys, data = written("raw_bulk_message_delete", payload)
    assert data == {"ids": ["4", "30"], "channel_id": "2", "guild_id": "1", "cached_messages": []}
    assert set(keys["message_id"]) == {"4", "30"}


def test_a_raw_reaction_has_the_emoji_and_who_did_it() -> None:
    payload = discord.RawReactionActionEvent(
        {
            "message_id": "4",
            "channel_id": "2",
            "user_id": "3",
            "guild_id": "1",
            "emoji": {"id": None, "name": "x"},
            "burst": True,
            "type": 1,
        },
        discord.PartialEmoji(name="x"),
        "REACTION_ADD",
    )
    keys, data = written("raw_reaction_add", payload)
    assert keys == {"guild_id": ("1",), "channel_id": ("2",), "user_id": ("3",), "message_id": ("4",)}
    assert data["emoji"]["name"] == "x"
    assert (data["burst"], data["type"], data["message_author_id"]) == (True, 1, None)


def test_a_removed_member_of_a_thread_is_the_user() -> None:
    payload = discord.RawThreadMembersUpdate(
        {"id": "8", "guild_id": "1", "member_count": 2, "removed_member_ids": ["3"]}
    )
    keys, data = written("raw_thread_member_remove", payload)
    assert keys["user_id"] == ("3",)
    assert data == {"id": "8", "guild_id": "1", "member_count": 2, "removed_member_ids": ["3"]}


def test_a_vote_has_the_number_of_its_answer() -> None:
    payload = discord.RawPollVoteActionEvent(
        {"user_id": "3", "channel_id": "2", "message_id": "4", "guild_id": "1", "answer_id": 6}
    )
    assert written("raw_poll_vote_add", payload)[1] == {
        "user_id": "3",
        "channel_id": "2",
        "message_id": "4",
        "guild_id": "1",
        "answer_id": 6,
    }


def test_permissions_of_a_command_are_written_as_discord_does() -> None:
    permission = Thing(target=Thing(id=9), type=discord.AppCommandPermissionType.role, permission=True)
    payload = Thing(target_id=5, application_id=6, guild=GUILD, permissions=[permission])
    keys, data = written("raw_app_command_permissions_update", payload)
    assert keys == {"guild_id": ("1",)}
    assert data["permissions"] == [{"id": "9", "type": 1, "permission": True}]


def test_a_raw_event_of_which_everything_is_missing_can_be_made() -> None:
    names = [name for name in EVENTS if name.startswith("raw_")]
    assert len(names) == 17
    for name in names:
        keys, data = carried(name, Thing(permissions=[]))
        assert all(value == (None,) for value in keys.values()), name
        assert isinstance(data, dict), name


# -- errors, commands and the gateway


def test_an_error_is_its_class_and_its_text() -> None:
    context = Thing(command=Thing(qualified_name="ban"), author=None, message=None, guild=GUILD, channel=None)
    _, data = carried("command_error", context, ValueError("no such member"))
    assert data["command"] == "ban"
    assert data["error"] == {"type": "ValueError", "message": "no such member"}


def test_the_text_of_an_error_is_bounded_and_says_so() -> None:
    _, data = carried("error", "message", ValueError("x" * (ERROR_TEXT + 7)))
    assert data["error"]["message"] == "x" * ERROR_TEXT + " (7 more characters)"
    assert data["event"] == "message"


@pytest.mark.parametrize(
    "frame",
    ['{"op": 2, "d": {"token": "secret"}}', '{"op":0,"t":"INTERACTION_CREATE","s":3,"d":{"token":"secret"}}'],
)
def test_messages_of_the_gateway_lose_their_data_which_has_tokens(frame: str) -> None:
    for name in ("socket_raw_receive", "socket_raw_send"):
        _, data = written(name, frame)
        assert "secret" not in json.dumps(data)
        assert data["frame"]["op"] == json.loads(frame)["op"]
        assert data["frame"]["length"] == len(frame)


@pytest.mark.parametrize("frame", ["no json", b"\xff", "[1]", "[" * 100_000])
def test_messages_of_the_gateway_that_cannot_be_read_are_no_error(frame: Any) -> None:
    assert carried("socket_raw_receive", frame)[1]["frame"]["op"] is None


# -- events of the bot's own


def test_an_event_of_the_bots_own_has_named_or_numbered_arguments() -> None:
    assert custom("level_up").data((1, 2), {}) == {"arg0": 1, "arg1": 2}
    assert custom("level_up", ["member", "level"]).data((1, 2, 3), {}) == {"member": 1, "level": 2, "arg2": 3}
    assert custom("level_up").data((1,), {}) == 1


def test_an_event_of_the_bots_own_has_the_guild_of_its_first_argument_with_one() -> None:
    event = custom("level_up", ["level", "member"])
    keys = event.keys((5, Thing(guild=GUILD)))
    assert keys == {"guild_id": ("1",)}
    assert event.data((5, "x"), keys) == {"level": 5, "member": "x", "guild_id": "1"}
    assert event.keys((5, Thing(guild=None))) == {}
