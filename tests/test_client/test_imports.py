"""Imports in a program that has the client's distribution and not the server's."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import discord_tools.ipc
from discord_tools import ipc

SOURCE = Path(discord_tools.ipc.__file__).parents[2]
SERVER_NAMES = {"Request", "Route", "Server", "route"}

#: The finders of editable installs would bring the server's distribution back.
ALONE = f"""
import json, sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path[:] = [{str(SOURCE)!r}, *(path for path in sys.path if "ipc-server" not in path)]
import discord_tools
discord_tools.__path__ = [{str(SOURCE / "discord_tools")!r}]
"""


def alone(code: str) -> Any:
    """Runs code in a process that can import the client only, and returns what it prints as JSON."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE + code], capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_client_imports_neither_discord_nor_the_server() -> None:
    code = "import discord_tools.ipc\nprint(json.dumps(sorted(sys.modules)))"
    modules = set(alone(code))
    assert "aiohttp" in modules
    assert modules & {"discord", "discord_tools.ipc_server"} == set()


def test_importing_everything_of_the_client_needs_no_discord() -> None:
    names = [m.name for m in pkgutil.walk_packages(ipc.__path__, "discord_tools.ipc.")]
    assert "discord_tools.ipc.wire.peer" in names
    code = f"for name in {names!r}: __import__(name)\nprint(json.dumps('discord' in sys.modules))"
    assert alone(code) is False


def test_asking_the_client_alone_for_a_name_of_the_server_names_the_distribution() -> None:
    code = """
import discord_tools.ipc as ipc
said = {}
for name in ("Request", "Route", "Server", "route"):
    try:
        getattr(ipc, name)
    except ImportError as error:
        said[name] = [str(error), error.name, type(error.__cause__).__name__]
try:
    from discord_tools.ipc import Server
except ImportError as error:
    said["from"] = [str(error), error.name, type(error.__cause__).__name__]
print(json.dumps(said))
"""
    said = alone(code)
    assert set(said) == SERVER_NAMES | {"from"}
    for name, (text, module, cause) in said.items():
        assert ("Server" if name == "from" else name) in text
        assert "distribution ipc-server, which is not installed" in text
        assert (module, cause) == ("discord_tools.ipc_server", "ModuleNotFoundError")


def test_the_client_alone_exports_and_lists_only_what_it_has() -> None:
    code = """
from discord_tools.ipc import *
import discord_tools.ipc as ipc
print(json.dumps([sorted(set(globals()) & set(ipc.__all__)), sorted(ipc.__all__), dir(ipc)]))
"""
    imported, exported, listed = alone(code)
    assert imported == [name for name in exported if name in imported]
    assert {"ClientSession", "ClientLimits", "ServerLimits", "IPCError", "RouteError"} <= set(imported)
    assert set(exported) - set(imported) == set()
    assert SERVER_NAMES & (set(exported) | set(listed)) == set()


def test_a_module_that_the_server_needs_and_is_missing_is_named_in_the_error() -> None:
    server = SOURCE.parents[1] / "ipc-server" / "src" / "discord_tools"
    assert (server / "ipc_server").is_dir()
    code = f"""
class NoDiscord:
    def find_spec(self, name, path=None, target=None):
        if name == "discord":
            raise ModuleNotFoundError("No module named 'discord'", name="discord")
sys.meta_path.insert(0, NoDiscord())
discord_tools.__path__.append({str(server)!r})
import discord_tools.ipc as ipc
try:
    ipc.Server
except ImportError as error:
    print(json.dumps([type(error).__name__, error.name]))
"""
    assert alone(code) == ["ModuleNotFoundError", "discord"]


#: Imports what the client needs, and then the client. How long the latter takes is measured by the benchmark.
BEYOND_AIOHTTP = """
import aiohttp, aiohttp.web, msgspec
before = set(sys.modules)
import discord_tools.ipc
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture(scope="module")
def beyond_aiohttp() -> set[str]:
    return set(alone(BEYOND_AIOHTTP))


def test_the_client_imports_next_to_nothing_that_aiohttp_and_msgspec_do_not_import(
    beyond_aiohttp: set[str],
) -> None:
    assert "discord_tools.ipc.session" in beyond_aiohttp
    assert {name for name in beyond_aiohttp if not name.startswith("discord_tools")} <= {
        "dataclasses",
        "hmac",
    }


def test_the_client_does_not_import_what_few_programs_need(beyond_aiohttp: set[str]) -> None:
    rare = ("connectors.memory", "connectors.older", "transports.memory", "wire.dialects", "wire.jsonrpc")
    assert beyond_aiohttp.isdisjoint(f"discord_tools.ipc.{name}" for name in rare)


def test_with_both_distributions_the_names_of_the_server_are_those_of_its_package() -> None:
    server = importlib.import_module("discord_tools.ipc_server")
    assert set(ipc.__all__) >= SERVER_NAMES
    assert set(dir(ipc)) >= SERVER_NAMES
    for name in SERVER_NAMES:
        assert getattr(ipc, name) is getattr(server, name)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'discord_tools\.ipc' has no attribute 'nothing'"):
        ipc.nothing  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnusedExpression]


def test_every_module_exports_what_it_says() -> None:
    for module in pkgutil.walk_packages(ipc.__path__, "discord_tools.ipc."):
        loaded = importlib.import_module(module.name)
        missing = [name for name in getattr(loaded, "__all__", ()) if not hasattr(loaded, name)]
        assert missing == [], module.name


def test_the_version_is_a_version() -> None:
    assert all(part.isdigit() for part in ipc.__version__.split("."))


def test_the_distribution_says_that_it_is_typed() -> None:
    assert Path(ipc.__file__).with_name("py.typed").is_file()
