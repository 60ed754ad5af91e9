"""Refuses an installation in which two libraries named ``discord`` have overwritten each other."""

from __future__ import annotations

import os
from importlib.machinery import ModuleSpec, NamespaceLoader
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ("refuse_mixed", "refuse_mixed_at")

#: What the names of libraries with a package ``discord`` have in them, ``py-cord`` and ``discord.py-self`` for example.
_WORDS: Final = ("cord", "novus")

#: The file whose owners are looked for.
_FILE: Final = "discord/__init__.py"


def refuse_mixed() -> None:
    """Raises :exc:`ImportError` where the package ``discord`` is one library written over another.

    Nothing of ``discord`` is imported, since that may fail in any way. What cannot be read, in a program that was
    packed into one file say, is taken to be in order.
    """
    try:
        spec = find_spec("discord")
    except (ImportError, ValueError):
        return
    if spec is not None:
        refuse_mixed_at(spec)


def refuse_mixed_at(spec: ModuleSpec) -> None:
    """The same for the place where a package ``discord`` was found."""
    if not spec.submodule_search_locations:
        return
    folder = next(iter(spec.submodule_search_locations))
    # A namespace package has no loader before it is imported.
    if isinstance(spec.loader, NamespaceLoader | None) and os.path.isdir(folder):
        raise ImportError(
            f"{folder} is what is left of a library that another one named 'discord' had overwritten and that was "
            "uninstalled with it: run 'python -m pip uninstall --yes discord.py', "
            "then 'python -m pip install discord.py'",
            name="discord",
            path=folder,
        )
    folder = os.path.dirname(folder)
    owners = _owners(folder)
    if len(owners) > 1:
        names = " and ".join(owners)
        # Its requirement leads every installation of ipc-server to discord.py.
        keep = next((name for name in owners if name == "discord.py"), owners[0])
        raise ImportError(
            f"{names} are installed over each other in {folder}: each has a package named 'discord', and has "
            "overwritten files of the other. Keep one of them: run "
            f"'python -m pip uninstall --yes {' '.join(owners)}', then 'python -m pip install {keep}'",
            name="discord",
            path=folder,
        )


def _owners(folder: str) -> list[str]:
    """The names of the distributions in a folder that have put a package ``discord`` there."""
    try:
        found = [name for name in os.listdir(folder) if _may_own(name)]
    except OSError:
        return []
    # Nearly all installations end here, without a file being read.
    if len(found) < 2:
        return []
    names = {_name(Path(folder, each)) for each in found if _has_written(Path(folder, each))}
    return sorted(names)


def _may_own(name: str) -> bool:
    # Packages that extend such a library have the same words in their names: their lists of files tell.
    name = name.lower()
    return name.endswith(".dist-info") and any(word in name for word in _WORDS)


def _has_written(metadata: Path) -> bool:
    # An editable installation does not have the file in its list: its package is elsewhere.
    return any(line.startswith(f"{_FILE},") for line in _lines(metadata / "RECORD"))


def _name(metadata: Path) -> str:
    prefix = "Name: "
    given = (line.removeprefix(prefix) for line in _lines(metadata / "METADATA") if line.startswith(prefix))
    return next(given, metadata.name.partition("-")[0]).strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
