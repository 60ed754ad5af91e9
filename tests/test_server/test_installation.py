"""Two libraries named ``discord`` in one folder are recognised, and nothing else is taken for that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TypeAlias

import pytest

from discord_tools.ipc_server.installation import refuse_mixed, refuse_mixed_at

PACKAGE = ("discord/__init__.py", "discord/client.py")

Install: TypeAlias = Callable[..., ModuleSpec]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Installs distributions, given as folders of metadata with their files, and finds the package ``discord``."""

    def install(**distributions: tuple[str, ...] | None) -> ModuleSpec:
        for metadata, files in distributions.items():
            name, version = metadata.split("__")
            folder = tmp_path / f"{name}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(
                f"Metadata-Version: 2.4\nName: {name.replace('_', '.', 1)}\n\nText\n"
            )
            if files is not None:
                (folder / "RECORD").write_text("".join(f"{each},sha256=x,1\n" for each in files))
        package = tmp_path / "discord"
        package.mkdir()
        (package / "__init__.py").write_text("raise AssertionError('imported')")
        return found_in(tmp_path)

    return install


def found_in(folder: Path) -> ModuleSpec:
    spec = PathFinder.find_spec("discord", [str(folder)])
    assert spec is not None
    return spec


def test_two_libraries_in_one_folder_are_an_error_that_names_both_and_the_commands(
    install: Install, tmp_path: Path
) -> None:
    with pytest.raises(ImportError) as caught:
        refuse_mixed_at(install(discord_py__2=PACKAGE, py_cord__2=PACKAGE))
    text = str(caught.value)
    assert text.startswith(f"discord.py and py.cord are installed over each other in {tmp_path}: ")
    assert (
        "'python -m pip uninstall --yes discord.py py.cord', then 'python -m pip install discord.py'" in text
    )
    assert caught.value.name == "discord"


def test_any_two_libraries_are_recognised(install: Install) -> None:
    with pytest.raises(
        ImportError, match=r"discord\.py_self and novus and py\.cord .* pip install discord\.py_self'"
    ):
        refuse_mixed_at(install(discord_py_self__2=PACKAGE, novus__1=PACKAGE, py_cord__2=PACKAGE))


@pytest.mark.parametrize(
    "others",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"py_cord__2": None}, id="no list of files"),
        pytest.param({"py_cord__2": ("__editable__.py_cord.pth",)}, id="editable"),
        pytest.param({"nextcord__3": ("nextcord/__init__.py",)}, id="a name of its own"),
        pytest.param({"discord_ext-ipcx__1": ("discord/ext/ipcx/__init__.py",)}, id="extension"),
        pytest.param({"discord__2": ("discord-2.dist-info/METADATA",)}, id="mirror"),
        pytest.param({"discord_py__3": PACKAGE}, id="two versions"),
        pytest.param({"wavelink__2": PACKAGE}, id="another name"),
    ],
)
def test_one_library_is_accepted(install: Install, others: dict[str, tuple[str, ...] | None]) -> None:
    refuse_mixed_at(install(discord_py__2=PACKAGE, **others))


def test_a_library_in_another_folder_does_no_harm(install: Install, tmp_path: Path) -> None:
    install(discord_py__2=PACKAGE)
    first = tmp_path / "first"
    for folder in (first / "discord", first / "py_cord-2.dist-info"):
        folder.mkdir(parents=True)
    (first / "discord" / "__init__.py").touch()
    (first / "py_cord-2.dist-info" / "RECORD").write_text("discord/__init__.py,,\n")
    refuse_mixed_at(found_in(first))


def test_what_is_left_after_one_of_two_was_uninstalled_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "discord" / "app_commands").mkdir(parents=True)
    with pytest.raises(
        ImportError, match=r"discord is what is left of .* 'python -m pip install discord\.py'"
    ):
        refuse_mixed_at(found_in(tmp_path))


def test_a_package_without_a_place_is_accepted() -> None:
    refuse_mixed_at(ModuleSpec("discord", None, is_package=True))
    spec = ModuleSpec("discord", None, is_package=True)
    spec.submodule_search_locations = ["/nonexistent/archive.zip/discord"]
    refuse_mixed_at(spec)


def test_a_package_that_was_put_together_by_hand_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["discord"], "__spec__", None)
    refuse_mixed()


def test_importing_the_server_says_it_before_anything_imports_the_library(
    install: Install, tmp_path: Path
) -> None:
    install(discord_py__2=PACKAGE, py_cord__2=PACKAGE)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from discord_tools.ipc import ClientSession\n"
        "from discord_tools.ipc import Server\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ImportError: discord.py and py.cord are installed over each other" in ended.stderr
    assert "line 3" in ended.stderr
