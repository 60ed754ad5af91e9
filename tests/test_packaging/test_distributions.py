"""What the two distributions contain and require."""

import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from discord_tools.ipc import __version__

if TYPE_CHECKING:
    from test_packaging.conftest import Built

from equipment.checkout import ROOT

IMPORT_FOLDERS = {"ipc-client": "discord_tools/ipc/", "ipc-server": "discord_tools/ipc_server/"}


@pytest.fixture(params=sorted(IMPORT_FOLDERS))
def either(request: pytest.FixtureRequest) -> "Built":
    return request.getfixturevalue(request.param.removeprefix("ipc-"))


def requirements(lines: Iterable[str], extra: str = "") -> dict[str, Requirement]:
    """What is required, by name: without extras, or with one of them."""
    every = {parsed.name.replace(".", "-"): parsed for parsed in map(Requirement, lines)}
    environment = {"extra": extra, "platform_system": "Linux"}
    return {
        name: parsed
        for name, parsed in every.items()
        if parsed.marker is None or parsed.marker.evaluate(environment)
    }


def test_the_server_pins_the_minor_version_of_the_client() -> None:
    project = tomllib.loads((ROOT / "packages/ipc-server/pyproject.toml").read_text())["project"]
    version = Version(__version__)
    pin = requirements(project["dependencies"])["ipc-client"].specifier
    assert str(pin) == f"~={version.major}.{version.minor}.0"
    assert version in pin


def test_the_pin_refuses_the_unrelated_package_of_the_same_name(server: "Built") -> None:
    pin = requirements(server.metadata.get_all("Requires-Dist", []))["ipc-client"].specifier
    assert "0.0.1" not in pin


def test_both_distributions_have_the_version_of_the_version_file(either: "Built") -> None:
    assert either.metadata["Version"] == __version__


def test_both_offer_uvloop_as_an_extra(client: "Built", server: "Built") -> None:
    for built in (client, server):
        lines = built.metadata.get_all("Requires-Dist", [])
        assert set(requirements(lines, "uvloop")) - set(requirements(lines)) == {"uvloop"}


def test_the_client_requires_aiohttp_and_msgspec_only(client: "Built") -> None:
    assert set(requirements(client.metadata.get_all("Requires-Dist", []))) == {"aiohttp", "msgspec"}


def test_the_server_requires_discord_py_and_the_client_only(server: "Built") -> None:
    assert set(requirements(server.metadata.get_all("Requires-Dist", []))) == {"discord-py", "ipc-client"}


def test_a_wheel_says_that_it_is_typed(either: "Built") -> None:
    assert IMPORT_FOLDERS[either.name] + "py.typed" in either.files
    assert "Typing :: Typed" in either.metadata.get_all("Classifier", [])


def test_a_wheel_carries_the_licence_of_the_project(either: "Built") -> None:
    (name,) = (name for name in either.files if name.endswith(".dist-info/licenses/LICENSE"))
    with zipfile.ZipFile(either.wheel) as archive:
        assert archive.read(name).decode() == (ROOT / "LICENSE").read_text()
    assert either.metadata["License-Expression"] == "MIT"


def test_a_wheel_shows_the_readme_of_its_folder(either: "Built") -> None:
    assert either.metadata.get_payload() == (either.folder / "README.md").read_text()


def test_a_wheel_holds_every_module_of_its_source_and_nothing_else(either: "Built") -> None:
    source = either.folder / "src"
    expected = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert either.modules == {name for name in expected if "__pycache__" not in name}


def test_a_wheel_leaves_the_namespace_open(either: "Built") -> None:
    assert "discord_tools/__init__.py" not in either.files
    assert all(name.startswith(IMPORT_FOLDERS[either.name]) for name in either.modules)


def test_no_file_is_in_both_wheels(client: "Built", server: "Built") -> None:
    assert client.files & server.files == set()


def test_the_server_can_be_built_from_its_sdist(server: "Built", server_wheel_from_sdist: Path) -> None:
    with zipfile.ZipFile(server.wheel) as one, zipfile.ZipFile(server_wheel_from_sdist) as other:
        assert server_wheel_from_sdist.name == server.wheel.name
        assert {n: one.read(n) for n in one.namelist()} == {n: other.read(n) for n in other.namelist()}


def test_the_changelog_describes_the_current_version() -> None:
    assert f"## {__version__} " in (ROOT / "CHANGELOG.md").read_text()
