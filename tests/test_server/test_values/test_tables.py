"""Every class of discord.py has a table or a reason why not, and the tables agree with discord.py's own types."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import discord
import pytest
from discord import app_commands, ui
from discord.ext import commands
from discord.flags import BaseFlags

from discord_tools.ipc_server.values.refused import REFUSED
from discord_tools.ipc_server.values.table import Field, Table
from discord_tools.ipc_server.values.tables import SUBJECTS, TABLES
from test_server.test_values.exceptions import ABSENT, NAMES, OTHER_KINDS
from test_server.test_values.payloads import keys

#: Classes that are covered with all that inherit from them.
FAMILIES = (BaseFlags, BaseException, ui.Item, ui.View, ui.LayoutView, discord.AudioSource)


def public_classes() -> Iterator[type[Any]]:
    for module in (discord, discord.abc, app_commands, commands, ui):
        for name, cls in vars(module).items():
            if inspect.isclass(cls) and not name.startswith("_") and cls.__module__.startswith("discord."):
                yield cls


def is_covered(cls: type[Any]) -> bool:
    return (
        cls in TABLES
        or cls in REFUSED
        or isinstance(cls, type(discord.Status))  # all enums are written as their values
        or issubclass(cls, FAMILIES)
        # Code of the same kind as what it inherits from.
        or (cls.__module__.startswith("discord.ext.") and any(base in REFUSED for base in cls.__mro__))
    )


CLASSES = sorted({*public_classes()}, key=lambda cls: f"{cls.__module__}.{cls.__qualname__}")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_every_public_class_has_a_table_or_a_reason_to_be_refused(cls: type[Any]) -> None:
    assert is_covered(cls), f"add a table of {cls.__name__} in ipc_server/values, or a reason in refused.py"


def test_no_class_has_both_a_table_and_a_reason_to_be_refused() -> None:
    assert not TABLES.keys() & REFUSED.keys()


def test_no_class_has_two_tables() -> None:
    assert sum(len(table.classes) for tables in SUBJECTS.values() for table in tables) == len(TABLES)


# -- attributes


def attributes(cls: type[Any]) -> set[str]:
    """What objects of a class may have: what the class has, and what the class assigns to itself in its source."""
    found = set(dir(cls))
    for base in cls.__mro__:
        found.update(getattr(base, "__annotations__", ()))
        if base.__module__.startswith("discord"):
            source = inspect.getsource(base)
            found.update(word.split(":")[0].split(" ")[0] for word in source.split("self.")[1:])
    return found


def fields() -> Iterator[tuple[type[Any], Field]]:
    for cls, table in TABLES.items():
        for field in table.fields:
            yield cls, field


@pytest.mark.parametrize("cls", TABLES, ids=lambda cls: cls.__name__)
def test_every_attribute_that_a_table_names_is_one_of_its_class(cls: type[Any]) -> None:
    known = attributes(cls)
    for field in TABLES[cls].fields:
        first = field.path.partition(".")[0].rstrip("?")
        assert not first or first in known, field


@pytest.mark.parametrize("cls", TABLES, ids=lambda cls: cls.__name__)
def test_no_table_reads_a_token(cls: type[Any]) -> None:
    for field in TABLES[cls].fields:
        assert "token" not in field.path
        assert "token" not in field.name
        assert not (issubclass(cls, (discord.Webhook, discord.SyncWebhook)) and "url" in field.path)


# -- discord.py's types of payloads


def typed() -> Iterator[tuple[Table, dict[str, str]]]:
    for table in dict.fromkeys(TABLES.values()):
        if table.fields and table.types:
            known: dict[str, str] = {}
            for path in table.types:
                known |= keys(path)
            yield table, known


TYPED = list(typed())

#: The kinds of fields that are what discord.py's types call by these names.
KINDS: dict[str, set[str]] = {
    "snowflake": {"snowflake"},
    "str": {"text", "timestamp", "hash", "URL", "permissions", "enum", "base64"},
    "int": {"integer", "flags", "enum", "color"},
    "float": {"number"},
    "bool": {"boolean"},
}


def is_of(field: Field, theirs: str) -> bool:
    kind = field.kind
    if theirs == "list":
        return kind.many or kind.name == "JSON"
    if theirs in KINDS:
        return not kind.many and kind.name in KINDS[theirs]
    # An object, or a union.
    return theirs == "other" or kind.cls is not None or bool(kind.classes) or kind.name in ("object", "JSON")


@pytest.mark.parametrize(("table", "known"), TYPED, ids=[table.name for table, _ in TYPED])
def test_names_are_discords_and_none_is_missing(table: Table, known: dict[str, str]) -> None:
    ours = {field.name for field in table.fields if not field.extra}
    unknown = {name for name in ours - known.keys() if (table.name, name) not in NAMES}
    assert not unknown, "these are none of Discord's: mark them as extra, or give a reason in exceptions.py"
    missing = {name for name in known.keys() - ours if (table.name, name) not in ABSENT}
    assert not missing, "Discord has these: add them, or give a reason in exceptions.py"


@pytest.mark.parametrize(("table", "known"), TYPED, ids=[table.name for table, _ in TYPED])
def test_kinds_are_those_of_discords_types(table: Table, known: dict[str, str]) -> None:
    wrong = {
        field.name: (field.kind.name, known[field.name])
        for field in table.fields
        if field.name in known
        and not is_of(field, known[field.name])
        and (table.name, field.name) not in OTHER_KINDS
    }
    assert not wrong, "correct the kinds, or give a reason in exceptions.py"


@pytest.mark.parametrize(("table", "known"), TYPED, ids=[table.name for table, _ in TYPED])
def test_extras_have_names_that_discord_does_not_use(table: Table, known: dict[str, str]) -> None:
    assert not {field.name for field in table.fields if field.extra} & known.keys()


def test_no_exception_is_stale() -> None:
    ours = {(table.name, field.name) for table, _ in TYPED for field in table.fields}
    theirs = {(table.name, name) for table, known in TYPED for name in known}
    assert not ABSENT.keys() & ours
    assert ABSENT.keys() <= theirs
    assert NAMES.keys() <= ours
    assert not NAMES.keys() & theirs
